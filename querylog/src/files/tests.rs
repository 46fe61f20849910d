//! What the writer does when the disk does what it should not. The disk here is memory, and fails as it is told; what
//! it has after each step is what a crash would leave.

use std::collections::HashSet;
use std::convert::Infallible;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tagtrail::{Sample, Trail};
use tower::{Layer, ServiceExt, service_fn};

use crate::files::disk::{Disk, DiskFile, Place};
use crate::files::folder::Found;
use crate::files::log_files::LogFiles;
use crate::files::options::{Durability, Roll};
use crate::layer::query_log_layer::QueryLogLayer;
use crate::model::gap::Gap;
use crate::model::record::{Outcome, Record};
use crate::model::time::Timestamp;
use crate::queue::ack::AppendError;
use crate::queue::log::QueryLog;
use crate::queue::overload::Overload;
use crate::wire::gap::read_gap;
use crate::wire::line::read_record;

/// A disk in memory.
#[derive(Clone, Default)]
struct Memory(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    files: Vec<Data>,
    faults: Faults,
    stopped: bool,
    rolled: usize,
}

#[derive(Default)]
struct Data {
    bytes: Vec<u8>,
    /// So many of the bytes survive a power cut.
    safe: usize,
    /// The name of the file survives a power cut.
    named: bool,
    place: Option<Place>,
}

/// What fails, until it is taken back.
#[derive(Clone, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fault of its own")]
struct Faults {
    create: bool,
    /// Appending fails when the disk has so many bytes; what fits is written.
    full_at: Option<usize>,
    sync: bool,
    cut: bool,
    /// Syncing waits.
    slow: bool,
}

impl Memory {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap()
    }

    fn fail(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.state().faults);
        self.0.1.notify_all();
    }

    /// What a power cut now would leave.
    fn safe(&self) -> Vec<u8> {
        self.state().files.iter().filter(|file| file.named).flat_map(|file| file.bytes[..file.safe].to_vec()).collect()
    }

    fn text(&self) -> Vec<u8> {
        self.state().files.iter().flat_map(|file| file.bytes.clone()).collect()
    }

    /// How many files and records there are.
    fn counts(&self) -> (usize, usize) {
        let records = self.lines().0.len();
        (self.state().files.len(), records)
    }

    fn lines(&self) -> (Vec<Record>, Vec<Gap>) {
        lines_of(&self.text())
    }
}

/// Whole lines only: anything else is a failure.
fn lines_of(text: &[u8]) -> (Vec<Record>, Vec<Gap>) {
    let (mut records, mut gaps) = (Vec::new(), Vec::new());
    assert!(text.is_empty() || text.ends_with(b"\n"), "torn");
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        match read_record(line) {
            Ok(record) => records.push(record),
            Err(_) => gaps.push(read_gap(line).unwrap()),
        }
    }
    (records, gaps)
}

impl Disk for Memory {
    fn create(&mut self, _begin: Timestamp, synced: bool) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        if state.faults.create {
            return Err(ErrorKind::PermissionDenied.into());
        }
        state.files.push(Data { named: synced, ..Data::default() });
        Ok(Box::new(MemoryFile { disk: self.clone(), index: state.files.len() - 1 }))
    }

    fn rolled(&mut self) {
        self.state().rolled += 1;
    }

    fn stopped(&mut self) -> io::Result<()> {
        self.state().stopped = true;
        Ok(())
    }
}

struct MemoryFile {
    disk: Memory,
    index: usize,
}

impl DiskFile for MemoryFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        let used: usize = state.files.iter().map(|file| file.bytes.len()).sum();
        let room = state.faults.full_at.map_or(usize::MAX, |full| full.saturating_sub(used));
        let fits = &bytes[..bytes.len().min(room)];
        state.files[self.index].bytes.extend_from_slice(fits);
        if fits.len() < bytes.len() { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state();
        let end = Instant::now() + Duration::from_secs(20);
        while state.faults.slow && Instant::now() < end {
            state = self.disk.0.1.wait_timeout(state, Duration::from_millis(50)).unwrap().0;
        }
        if state.faults.sync {
            return Err(io::Error::other("the disk is broken"));
        }
        let file = &mut state.files[self.index];
        file.safe = file.bytes.len();
        Ok(())
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        if state.faults.cut {
            return Err(io::Error::other("the disk is broken"));
        }
        let file = &mut state.files[self.index];
        file.bytes.truncate(usize::try_from(length).unwrap());
        file.safe = file.safe.min(file.bytes.len());
        Ok(())
    }

    fn place(&self) -> io::Result<Place> {
        let mut state = self.disk.state();
        let file = &mut state.files[self.index];
        if file.place == Some(Place::Deleted) {
            file.bytes.clear();
        }
        Ok(file.place.unwrap_or(Place::Kept))
    }
}

/// How many bytes the queue has.
const QUEUE: usize = 64 << 10;

fn settings() -> LogFiles {
    LogFiles::new("")
        .durability(Durability::Synced)
        .queue_bytes(QUEUE)
        .gather(16 << 10, Duration::from_millis(1))
        .roll(Roll::at_bytes(1 << 20))
        .retry_for(Duration::from_secs(20))
}

fn open_with(disk: impl Disk + 'static, settings: LogFiles, gap: Option<Gap>) -> QueryLog {
    QueryLog::start(settings.start_on(Box::new(disk), Found { newest: Timestamp::MIN, gap }).unwrap())
}

fn open(disk: &Memory, settings: LogFiles) -> QueryLog {
    open_with(disk.clone(), settings, None)
}

fn log(disk: &Memory) -> QueryLog {
    open(disk, settings())
}

fn record() -> Record {
    let mut record = Record::new(&Trail::start(Sample::Always), "nightly/rollup");
    record.end(Duration::from_millis(1), Outcome::Complete);
    record
}

const SOON: Duration = Duration::from_secs(20);

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn an_acknowledgement_comes_after_the_sync_of_file_and_name() {
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
fn no_acknowledgement_comes_while_the_sync_runs() {
    let disk = Memory::default();
    let log = log(&disk);
    disk.fail(|faults| faults.slow = true);
    let ack = log.append(&record());
    assert_eq!(ack.wait(Duration::from_millis(100)), None);
    // Nor to a task, whose waker is told in the end.
    let mut polled = pin!(log.append(&record()));
    assert!(polled.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    disk.fail(|faults| faults.slow = false);
    assert_eq!(ack.wait(SOON), Some(Ok(())));
    wait_for("the future is ready", || {
        polled.as_mut().poll(&mut Context::from_waker(Waker::noop())) == std::task::Poll::Ready(Ok(()))
    });
}

#[test]
fn a_full_disk_leaves_no_torn_line_and_what_was_tried_is_written_when_there_is_room() {
    let disk = Memory::default();
    let log = log(&disk);
    // Full in the middle of a line.
    disk.fail(|faults| faults.full_at = Some(5_000));
    let acks: Vec<_> = (0..50).map(|_| log.append(&record())).collect();
    wait_for("the disk is full", || !disk.text().is_empty() || log.stats().queued > 0);
    std::thread::sleep(Duration::from_millis(100));
    // Each attempt is taken back at once, and the next one may be under way.
    wait_for("no torn line", || disk.text().is_empty() || disk.text().ends_with(b"\n"));
    disk.fail(|faults| faults.full_at = None);
    for ack in acks {
        assert_eq!(ack.wait(SOON), Some(Ok(())));
    }
    let (records, gaps) = disk.lines();
    let ids: HashSet<_> = records.iter().map(|record| record.id).collect();
    assert_eq!((records.len(), ids.len(), gaps), (50, 50, vec![]));
}

#[test]
fn what_a_full_disk_takes_for_too_long_is_counted_and_told() {
    let disk = Memory::default();
    let short = settings().retry_for(Duration::from_millis(50));
    let log = open(&disk, short.overload(Overload::Shed { wait: Duration::ZERO }));
    disk.fail(|faults| faults.full_at = Some(0));
    let begin = Timestamp::now();
    let acks: Vec<_> = (0..5).map(|_| log.append(&record())).collect();
    let appended = Timestamp::now();
    for ack in &acks {
        assert_eq!(ack.wait(SOON), Some(Err(AppendError::Failed(ErrorKind::StorageFull))));
    }
    wait_for("counted", || log.stats().failed == 5);
    // Long enough that the gap, too, is tried and given up.
    std::thread::sleep(Duration::from_millis(200));
    disk.fail(|faults| faults.full_at = None);
    log.append(&record()).wait(SOON).unwrap().unwrap();
    log.close_blocking(SOON).unwrap();
    let (records, gaps) = disk.lines();
    assert_eq!(records.len(), 1);
    let told: u64 = gaps.iter().map(|gap| gap.count.unwrap()).sum();
    assert_eq!(told, 5);
    assert!(gaps.iter().all(|gap| gap.why == "the file or store could not be written"));
    // Whoever looks for what is missing of a time finds it at the time of the records, not only when they were given up.
    let from = gaps.iter().map(|gap| gap.from).min().unwrap();
    let to = gaps.iter().map(|gap| gap.to).max().unwrap();
    assert!(begin <= from && from <= appended && appended < to, "{begin} {from} {appended} {to}");
    assert!(disk.state().stopped);
}

#[test]
fn after_a_failed_sync_the_lines_go_to_a_new_file() {
    let disk = Memory::default();
    let log = log(&disk);
    log.append(&record()).wait(SOON).unwrap().unwrap();
    disk.fail(|faults| faults.sync = true);
    let ack = log.append(&record());
    wait_for("a second attempt", || disk.state().files.len() > 2);
    disk.fail(|faults| faults.sync = false);
    assert_eq!(ack.wait(SOON), Some(Ok(())));
    let (records, _) = disk.lines();
    assert_eq!(records.len(), 2, "the first attempts are taken back");
    assert_eq!(lines_of(&disk.safe()).0.len(), 2);
    assert_eq!(lines_of(&disk.state().files[0].bytes).0.len(), 1);
}

#[test]
fn a_file_that_cannot_be_cut_is_left_torn_and_not_written_again() {
    let disk = Memory::default();
    let log = log(&disk);
    disk.fail(|faults| (faults.full_at, faults.cut) = (Some(100), true));
    let ack = log.append(&record());
    wait_for("a torn line that is left behind", || disk.state().files.len() > 1);
    disk.fail(|faults| *faults = Faults::default());
    assert_eq!(ack.wait(SOON), Some(Ok(())));
    let state = disk.state();
    assert_eq!(state.files[0].bytes.len(), 100);
    let (records, _) = lines_of(&state.files.last().unwrap().bytes);
    assert_eq!(records.len(), 1);
}

#[test]
fn no_file_can_be_made_and_then_it_can() {
    let disk = Memory::default();
    let log = log(&disk);
    disk.fail(|faults| faults.create = true);
    let ack = log.append(&record());
    assert_eq!(ack.wait(Duration::from_millis(100)), None);
    disk.fail(|faults| faults.create = false);
    assert_eq!(ack.wait(SOON), Some(Ok(())));
}

#[test]
fn lines_of_a_deleted_file_are_written_again_and_a_moved_one_has_them() {
    let disk = Memory::default();
    let log = log(&disk);
    log.append(&record()).wait(SOON).unwrap().unwrap();
    disk.state().files[0].place = Some(Place::Deleted);
    log.append(&record()).wait(SOON).unwrap().unwrap();
    assert_eq!(disk.counts(), (2, 1));
    disk.state().files[1].place = Some(Place::Moved);
    log.append(&record()).wait(SOON).unwrap().unwrap();
    log.append(&record()).wait(SOON).unwrap().unwrap();
    assert_eq!(disk.counts(), (3, 3));
}

#[test]
fn what_overload_sheds_is_counted_and_told_once_there_is_room() {
    let disk = Memory::default();
    let log = open(&disk, settings().overload(Overload::Shed { wait: Duration::ZERO }));
    disk.fail(|faults| faults.slow = true);
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
    disk.fail(|faults| faults.slow = false);
    log.close_blocking(SOON).unwrap();
    let (records, gaps) = disk.lines();
    assert_eq!(records.len() as u64, taken);
    assert_eq!(gaps.iter().map(|gap| gap.count.unwrap()).sum::<u64>(), shed);
    assert!(gaps.iter().all(|gap| gap.why == "overload: the queue was full"));
    assert_eq!(log.stats().written, taken);
}

#[test]
fn a_record_larger_than_the_queue_is_told_of() {
    let disk = Memory::default();
    let log = log(&disk);
    let mut large = record();
    large.request.path = "x".repeat(QUEUE);
    assert_eq!(log.append(&large).wait(SOON), Some(Err(AppendError::TooLarge)));
    log.append(&record()).wait(SOON).unwrap().unwrap();
    log.close_blocking(SOON).unwrap();
    let (records, gaps) = disk.lines();
    assert_eq!((records.len(), gaps.len(), gaps[0].count), (1, 1, Some(1)));
}

#[test]
fn closing_drains() {
    let disk = Memory::default();
    let log = log(&disk);
    let acks: Vec<_> = (0..100).map(|_| log.append(&record())).collect();
    log.close_blocking(SOON).unwrap();
    assert!(acks.iter().all(|ack| ack.wait(Duration::ZERO) == Some(Ok(()))));
    assert_eq!(disk.lines().0.len(), 100);
    assert!(disk.state().stopped);
    assert_eq!(log.append(&record()).wait(SOON), Some(Err(AppendError::Closed)));
    log.close_blocking(SOON).unwrap();
}

#[test]
fn closing_says_what_it_could_not_write_and_takes_no_longer_than_it_may() {
    for (faults, within) in [
        (Faults { full_at: Some(0), ..Faults::default() }, "full"),
        (Faults { slow: true, ..Faults::default() }, "stuck"),
        (Faults { create: true, ..Faults::default() }, "not writable"),
    ] {
        let disk = Memory::default();
        let log = log(&disk);
        disk.fail(|all| *all = faults);
        (0..7).for_each(|_| drop(log.append(&record())));
        let begin = Instant::now();
        let unwritten = log.close_blocking(Duration::from_millis(200)).unwrap_err();
        assert!(begin.elapsed() < Duration::from_secs(2), "{within}");
        assert_eq!(unwritten.records, 7, "{within}");
        assert!(!disk.state().stopped, "{within}: the next process is to say that something is missing");
        disk.fail(|all| *all = Faults::default());
    }
}

#[test]
fn dropping_the_last_handle_drains() {
    let disk = Memory::default();
    let log = log(&disk);
    let other = log.clone();
    drop(log);
    drop(other.append(&record()));
    drop(other);
    assert_eq!(disk.lines().0.len(), 1);
}

#[test]
fn an_unclean_stop_is_told_before_anything_else() {
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
    let acks: Vec<_> = (0..100).map(|_| log.append(&record())).collect();
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
    assert_eq!((records, state.rolled), (102, state.files.len() - 1));
}

#[test]
fn files_roll_by_time_though_nothing_is_written() {
    let disk = Memory::default();
    let log = open(&disk, settings().roll(Roll::default().every(Duration::from_secs(1))));
    log.append(&record()).wait(SOON).unwrap().unwrap();
    wait_for("rolled by the clock", || disk.state().rolled == 1);
    assert_eq!(Timestamp::now().as_micros() % 1_000_000 / 500_000, 0, "at the full second");
    log.append(&record()).wait(SOON).unwrap().unwrap();
    assert_eq!(disk.state().files.len(), 2);
}

#[test]
fn a_writer_that_panics_holds_nobody() {
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
    let log = open_with(Broken, settings(), None);
    let ack = log.append(&record());
    assert!(ack.wait(SOON).unwrap().is_err());
    wait_for("closed", || log.append(&record()).wait(SOON) == Some(Err(AppendError::Closed)));
    log.close_blocking(SOON).unwrap_err();
}

/// What requests are answered that come one after the other, while the disk is slow and then again when it is not.
async fn answers(overload: Overload) -> (Vec<u16>, u16, QueryLog, Memory) {
    let disk = Memory::default();
    let log = open(&disk, settings().overload(overload));
    let handler = service_fn(|_| async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) });
    let service = QueryLogLayer::new(log.clone()).standalone().layer(handler);
    let ask = || async {
        let request = Request::new(Full::<Bytes>::default());
        service.clone().oneshot(request).await.unwrap().status().as_u16()
    };
    disk.fail(|faults| faults.slow = true);
    let mut answers = Vec::new();
    for _ in 0..200 {
        answers.push(ask().await);
    }
    disk.fail(|faults| faults.slow = false);
    wait_for("room", || log.overload().is_none());
    (answers, ask().await, log, disk)
}

#[tokio::test]
async fn a_service_that_sheds_answers_all_and_the_log_says_how_many_it_misses() {
    let begin = Instant::now();
    let (answers, after, log, disk) = answers(Overload::Shed { wait: Duration::from_millis(2) }).await;
    assert!(answers.iter().all(|status| *status == 200) && after == 200);
    assert!(begin.elapsed() >= Duration::from_millis(100), "some have waited");
    log.close_blocking(SOON).unwrap();
    let (records, gaps) = disk.lines();
    let missing: u64 = gaps.iter().map(|gap| gap.count.unwrap()).sum();
    assert!(missing > 20, "{missing}");
    assert_eq!(records.len() as u64 + missing, 201);
    assert_eq!(log.stats().shed, missing);
}

#[tokio::test]
async fn a_service_that_must_not_lose_records_answers_503_and_loses_none() {
    let (answers, after, log, disk) = answers(Overload::Fail { wait: Duration::from_millis(1) }).await;
    assert_eq!(after, 200);
    let handled = answers.iter().filter(|status| **status == 200).count();
    assert!(answers[..handled].iter().all(|status| *status == 200));
    assert!(answers[handled..].iter().all(|status| *status == 503) && handled < 200);
    log.close_blocking(SOON).unwrap();
    let (records, gaps) = disk.lines();
    assert_eq!(records.len(), handled + 1);
    let refused: u64 = gaps.iter().map(|gap| gap.count.unwrap()).sum();
    assert_eq!(refused, 200 - handled as u64);
    assert!(gaps.iter().all(|gap| gap.why == "overload: rejected with 503"));
    let counters = log.stats();
    assert_eq!((counters.shed, counters.rejected), (0, refused));
}

#[tokio::test]
async fn a_request_that_waits_goes_on_as_soon_as_there_is_room() {
    let disk = Memory::default();
    let log = open(&disk, settings().overload(Overload::Fail { wait: SOON }));
    let handler = service_fn(|_| async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) });
    let service = QueryLogLayer::new(log.clone()).standalone().layer(handler);
    disk.fail(|faults| faults.slow = true);
    while log.overload().is_none() {
        drop(log.append(&record()));
    }
    let waiting: Vec<_> =
        (0..10).map(|_| tokio::spawn(service.clone().oneshot(Request::new(Full::<Bytes>::default())))).collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(waiting.iter().all(|task| !task.is_finished()));
    disk.fail(|faults| faults.slow = false);
    let freed = Instant::now();
    for task in waiting {
        assert_eq!(task.await.unwrap().unwrap().status(), 200);
    }
    assert!(freed.elapsed() < SOON / 2, "told, and not only at the end of the wait");
}
