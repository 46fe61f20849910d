//! What the writer does when the disk fails.

mod closing;

use std::collections::HashSet;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use crate::files::disk::{Disk, DiskFile, Place};
use crate::files::memory::{
    Failures, Memory, QUEUE, SOON, lines_of, log, nothing_found, open, open_with, record, settings, wait_for,
};
use crate::files::options::Roll;
use crate::model::gap::Gap;
use crate::model::time::Timestamp;
use crate::queue::ack::AppendError;
use crate::queue::log::QueryLog;
use crate::queue::overload::Overload;

#[test]
fn acknowledgement_comes_after_file_and_name_are_synced() {
    let disk = Memory::default();
    let log = log(&disk);
    for number in 0..200 {
        let record = record();
        log.append(&record).wait(SOON).unwrap().unwrap();
        let (safe, _) = lines_of(&disk.safe());
        assert_eq!(safe.last().map(|record| record.id), Some(record.id), "record {number}");
    }
}

#[test]
fn acknowledgement_waits_while_the_sync_runs() {
    let disk = Memory::default();
    let log = log(&disk);
    disk.fail(|failures| failures.slow = true);
    let ack = log.append(&record());
    assert_eq!(ack.wait(Duration::from_millis(100)), None);
    // The same for a task, which is woken in the end.
    let mut polled = pin!(log.append(&record()));
    assert!(polled.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    disk.fail(|failures| failures.slow = false);
    assert_eq!(ack.wait(SOON), Some(Ok(())));
    wait_for("the future is ready", || {
        polled.as_mut().poll(&mut Context::from_waker(Waker::noop())) == std::task::Poll::Ready(Ok(()))
    });
}

#[test]
fn full_disk_leaves_no_torn_line_and_records_are_written_once_there_is_room() {
    let disk = Memory::default();
    let log = log(&disk);
    // Full in the middle of a line.
    disk.fail(|failures| failures.full_at = Some(5_000));
    let acks: Vec<_> = (0..50).map(|_| log.append(&record())).collect();
    wait_for("the disk is full", || !disk.text().is_empty() || log.stats().queued > 0);
    std::thread::sleep(Duration::from_millis(100));
    // Each attempt is taken back at once, and the next one may be under way.
    wait_for("no torn line", || disk.text().is_empty() || disk.text().ends_with(b"\n"));
    disk.fail(|failures| failures.full_at = None);
    for ack in acks {
        assert_eq!(ack.wait(SOON), Some(Ok(())));
    }
    let (records, gaps) = disk.lines();
    let ids: HashSet<_> = records.iter().map(|record| record.id).collect();
    assert_eq!((records.len(), ids.len(), gaps), (50, 50, vec![]));
}

#[test]
fn records_wait_while_the_disk_is_full_and_are_dropped_only_when_the_log_is_closed() {
    let disk = Memory::default();
    let log = open(&disk, settings().overload(Overload::Shed { wait: Duration::ZERO }));
    disk.fail(|failures| failures.full_at = Some(0));
    let start = Timestamp::now();
    let acks: Vec<_> = (0..5).map(|_| log.append(&record())).collect();
    let appended = Timestamp::now();
    wait_for("an attempt", || !disk.state().files.is_empty());
    assert_eq!((log.stats().queued, log.stats().failed), (5, 0));
    let error = log.close_blocking(Duration::from_millis(50)).unwrap_err();
    assert_eq!((error.records, log.stats().failed), (5, 5));
    for ack in &acks {
        assert_eq!(ack.wait(SOON), Some(Err(AppendError::Failed(ErrorKind::StorageFull))));
    }
    assert!(Timestamp::now() > appended && appended >= start && !disk.state().stopped);
}

#[test]
fn gap_of_dropped_records_starts_when_they_came() {
    let disk = Memory::default();
    let log = log(&disk);
    disk.fail(|failures| failures.slow = true);
    let first = log.append(&record());
    wait_for("the first is being written", || !disk.text().is_empty());
    let start = Timestamp::now();
    let acks: Vec<_> = (0..5).map(|_| log.append(&record())).collect();
    let appended = Timestamp::now();
    std::thread::scope(|scope| {
        let closing = scope.spawn(|| log.close_blocking(Duration::from_millis(50)));
        wait_for("it is too late", || acks.iter().all(|ack| ack.wait(Duration::ZERO).is_some()));
        disk.fail(|failures| failures.slow = false);
        assert!(closing.join().unwrap().is_err());
    });
    assert_eq!(first.wait(SOON).map(|_| ()), Some(()));
    wait_for("the gap is written", || !disk.lines().1.is_empty());
    let gaps = disk.lines().1;
    let [gap] = &*gaps else { panic!("{gaps:?}") };
    assert_eq!((gap.count, &*gap.why), (Some(5), "the file or store could not be written before the log was closed"));
    assert!(start <= gap.from && gap.from <= appended && appended < gap.to, "{start} {appended} {gap:?}");
}

#[test]
fn lines_go_to_a_new_file_after_a_failed_sync() {
    let disk = Memory::default();
    let log = log(&disk);
    log.append(&record()).wait(SOON).unwrap().unwrap();
    disk.fail(|failures| failures.sync = true);
    let ack = log.append(&record());
    wait_for("a second attempt", || disk.state().files.len() > 2);
    disk.fail(|failures| failures.sync = false);
    assert_eq!(ack.wait(SOON), Some(Ok(())));
    let (records, _) = disk.lines();
    assert_eq!(records.len(), 2, "the first attempts are taken back");
    assert_eq!(lines_of(&disk.safe()).0.len(), 2);
    assert_eq!(lines_of(&disk.state().files[0].bytes).0.len(), 1);
}

#[test]
fn file_stays_torn_and_unwritten_if_it_cannot_be_truncated() {
    let disk = Memory::default();
    let log = log(&disk);
    disk.fail(|failures| (failures.full_at, failures.cut) = (Some(100), true));
    let ack = log.append(&record());
    wait_for("a torn line that is left behind", || disk.state().files.len() > 1);
    disk.fail(|failures| *failures = Failures::default());
    assert_eq!(ack.wait(SOON), Some(Ok(())));
    let state = disk.state();
    assert_eq!(state.files[0].bytes.len(), 100);
    let (records, _) = lines_of(&state.files.last().unwrap().bytes);
    assert_eq!(records.len(), 1);
}

#[test]
fn record_is_written_once_a_file_can_be_created() {
    let disk = Memory::default();
    let log = log(&disk);
    disk.fail(|failures| failures.create = true);
    let ack = log.append(&record());
    assert_eq!(ack.wait(Duration::from_millis(100)), None);
    disk.fail(|failures| failures.create = false);
    assert_eq!(ack.wait(SOON), Some(Ok(())));
}

#[test]
fn lines_are_written_again_if_their_file_was_deleted_but_not_if_it_was_moved() {
    let disk = Memory::default();
    let log = log(&disk);
    log.append(&record()).wait(SOON).unwrap().unwrap();
    disk.state().files[0].place = Some(Place::Deleted);
    log.append(&record()).wait(SOON).unwrap().unwrap();
    assert_eq!(disk.counts(), (2, 1));
    let gaps = disk.lines().1;
    let [gap] = &*gaps else { panic!("what was in the file is missing: {gaps:?}") };
    assert_eq!((gap.count, &*gap.why), (Some(1), "a file of the log was deleted"));
    disk.state().files[1].place = Some(Place::Moved);
    log.append(&record()).wait(SOON).unwrap().unwrap();
    log.append(&record()).wait(SOON).unwrap().unwrap();
    assert_eq!((disk.counts(), disk.lines().1.len()), ((3, 3), 1));
}

#[test]
fn shed_records_are_counted_and_reported_once_there_is_room() {
    let disk = Memory::default();
    let log = open(&disk, settings().overload(Overload::Shed { wait: Duration::ZERO }));
    disk.fail(|failures| failures.slow = true);
    let mut acks = Vec::new();
    let (mut taken, mut shed) = (0, 0);
    for _ in 0..1_000 {
        let ack = log.append(&record());
        match ack.wait(Duration::ZERO) {
            None => taken += 1,
            Some(result) => {
                assert_eq!(result, Err(AppendError::Shed));
                shed += 1;
            }
        }
        acks.push(ack);
    }
    assert_eq!((log.stats().queued, log.stats().shed), (taken, shed));
    assert!(shed > 0 && taken * 500 <= QUEUE as u64, "bounded: {taken} taken, {shed} shed");
    disk.fail(|failures| failures.slow = false);
    log.close_blocking(SOON).unwrap();
    let (records, gaps) = disk.lines();
    assert_eq!(records.len() as u64, taken);
    assert_eq!(gaps.iter().map(|gap| gap.count.unwrap()).sum::<u64>(), shed);
    assert!(gaps.iter().all(|gap| gap.why == "overload: the queue was full"));
    assert_eq!(log.stats().written, taken);
}

#[test]
fn record_is_reported_if_it_is_larger_than_the_queue() {
    let disk = Memory::default();
    let log = open(&disk, settings().queue_bytes(4_096));
    let mut large = record();
    large.request.path = "x".repeat(8_000);
    assert_eq!(log.append(&large).wait(SOON), Some(Err(AppendError::TooLarge)));
    log.append(&record()).wait(SOON).unwrap().unwrap();
    log.close_blocking(SOON).unwrap();
    let (records, gaps) = disk.lines();
    assert_eq!((records.len(), gaps.len(), gaps[0].count), (1, 1, Some(1)));
}

#[test]
fn dropping_the_last_clone_writes_what_is_queued() {
    let disk = Memory::default();
    let log = log(&disk);
    let other = log.clone();
    drop(log);
    drop(other.append(&record()));
    drop(other);
    assert_eq!(disk.lines().0.len(), 1);
}

#[test]
fn unclean_stop_is_reported_before_anything_else() {
    let disk = Memory::default();
    let gap =
        Gap { from: Timestamp::from_micros(1), to: Timestamp::from_micros(2), count: None, why: "unclean stop".into() };
    let log = open_with(disk.clone(), settings(), Some(gap.clone()));
    log.append(&record()).wait(SOON).unwrap().unwrap();
    log.append(&record()).wait(SOON).unwrap().unwrap();
    let text = disk.text();
    assert!(text.starts_with(br#"{"gap":{"from":"1970-01-01T00:00:00.000001Z","to":"1970-01-01T00:00:00.000002Z","count":null,"why":"unclean stop"}}"#));
    assert_eq!(lines_of(&text), (lines_of(&text).0, vec![gap]));
}

#[test]
fn files_roll_by_size_at_the_end_of_a_line() {
    let disk = Memory::default();
    let log = open(&disk, settings().roll(Roll::at_bytes(2_000)));
    let acks: Vec<_> = (0..50).map(|_| log.append(&record())).collect();
    for ack in acks {
        assert_eq!(ack.wait(SOON), Some(Ok(())));
    }
    let mut large = record();
    large.request.path = "x".repeat(5_000);
    log.append(&large).wait(SOON).unwrap().unwrap();
    log.append(&record()).wait(SOON).unwrap().unwrap();
    let state = disk.state();
    let sizes: Vec<_> = state.files.iter().map(|file| file.bytes.len()).collect();
    let [full @ .., not_full, large, _] = &sizes[..] else { panic!("{sizes:?}") };
    assert!(full.iter().all(|size| (1_000..=2_000).contains(size)), "{sizes:?}");
    assert!(*not_full <= 2_000 && *large > 5_000, "{sizes:?}");
    let records: usize = state.files.iter().map(|file| lines_of(&file.bytes).0.len()).sum();
    assert_eq!((records, state.rolled), (52, state.files.len() - 1));
}

#[test]
fn files_roll_by_time_even_if_nothing_is_written() {
    let disk = Memory::default();
    let log = open(&disk, settings().roll(Roll::default().every(Duration::from_secs(1))));
    log.append(&record()).wait(SOON).unwrap().unwrap();
    wait_for("rolled by the clock", || disk.state().rolled == 1);
    log.append(&record()).wait(SOON).unwrap().unwrap();
    assert_eq!(disk.state().files.len(), 2);
}

/// A disk that makes the writer panic.
struct Broken;
impl Disk for Broken {
    fn create(&mut self, _: Timestamp, _: bool) -> io::Result<Box<dyn DiskFile>> {
        panic!("a mistake in the writer");
    }
    fn rolled(&mut self) {}
    fn stopped(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn nobody_waits_if_the_writer_panics() {
    let log = open_with(Broken, settings(), None);
    let ack = log.append(&record());
    assert!(ack.wait(SOON).unwrap().is_err());
    wait_for("closed", || log.append(&record()).wait(SOON) == Some(Err(AppendError::Closed)));
    log.close_blocking(SOON).unwrap_err();
}

#[test]
fn flush_has_everything_written_without_waiting_for_the_batch_to_grow() {
    let disk = Memory::default();
    let log = open(&disk, settings().gather(1 << 20, Duration::from_secs(3_600)));
    assert_eq!(log.flush().wait(SOON), Some(Ok(())), "nothing is queued");
    let ack = log.append(&record());
    assert_eq!(ack.wait(Duration::from_millis(20)), None);
    assert_eq!(log.flush().wait(SOON), Some(Ok(())));
    assert_eq!(ack.wait(Duration::ZERO), Some(Ok(())));
    assert_eq!(disk.lines().0.len(), 1);
}

#[test]
fn stats_and_acknowledgements_agree_if_the_writer_panics() {
    let log = open_with(Broken, settings().overload(Overload::Fail { wait: Duration::ZERO }), None);
    assert_eq!(log.append(&record()).wait(SOON), Some(Err(AppendError::Closed)));
    wait_for("the writer is gone", || log.overload().is_some());
    assert_eq!((log.stats().queued, log.stats().failed), (0, 1));
}

#[test]
fn dropping_a_log_drains_a_destination_if_the_writer_of_another_panicked() {
    let disk = Memory::default();
    let disks: [Box<dyn Disk>; 2] = [Box::new(Broken), Box::new(disk.clone())];
    let linger = || settings().gather(16 << 10, Duration::from_millis(500));
    let log = QueryLog::start(disks.map(|disk| linger().start_on(disk, nothing_found()).unwrap()));
    drop(log.append(&record()));
    log.flush().wait(SOON).unwrap().unwrap_err();
    disk.fail(|failures| failures.slow = true);
    drop(log.append(&record()));
    let healing = std::thread::spawn({
        let disk = disk.clone();
        move || {
            std::thread::sleep(Duration::from_millis(300));
            disk.fail(|failures| failures.slow = false);
        }
    });
    drop(log);
    healing.join().unwrap();
    assert_eq!(disk.lines().0.len(), 2);
}
