//! What a log writes when it is closed.

use std::time::{Duration, Instant};

use crate::files::memory::{Failures, Memory, SOON, log, record, wait_for};
use crate::queue::ack::AppendError;
use crate::queue::log::QueryLog;

#[test]
fn closing_writes_what_is_queued() {
    let disk = Memory::default();
    let log = log(&disk);
    // As many as the queue holds, whether or not the writer takes some of them meanwhile.
    let acks: Vec<_> = (0..50).map(|_| log.append(&record())).collect();
    log.close_blocking(SOON).unwrap();
    assert!(acks.iter().all(|ack| ack.wait(Duration::ZERO) == Some(Ok(()))));
    assert_eq!(disk.lines().0.len(), 50);
    assert!(disk.state().stopped);
    assert_eq!(log.append(&record()).wait(SOON), Some(Err(AppendError::Closed)));
    log.close_blocking(SOON).unwrap();
}

#[test]
fn closing_reports_what_is_not_written_when_its_time_is_over() {
    for (failures, within) in [
        (Failures { full_at: Some(0), ..Failures::default() }, "full"),
        (Failures { slow: true, ..Failures::default() }, "stuck"),
        (Failures { create: true, ..Failures::default() }, "not writable"),
    ] {
        let disk = Memory::default();
        let log = log(&disk);
        disk.fail(|all| *all = failures);
        (0..7).for_each(|_| drop(log.append(&record())));
        let start = Instant::now();
        let unwritten = log.close_blocking(Duration::from_millis(200)).unwrap_err();
        assert!(start.elapsed() < SOON, "{within}");
        assert_eq!(unwritten.records, 7, "{within}");
        assert!(!disk.state().stopped, "{within}: the next process must report that something is missing");
        disk.fail(|all| *all = Failures::default());
    }
}

#[test]
fn closing_waits_as_long_as_it_takes_if_the_limit_is_the_longest_duration() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let close_async = |log: QueryLog| runtime.block_on(log.close(Duration::MAX));
    for close in [&close_async as &(dyn Fn(QueryLog) -> _ + Sync), &|log| log.close_blocking(Duration::MAX)] {
        let disk = Memory::default();
        let log = log(&disk);
        disk.fail(|failures| failures.slow = true);
        let ack = log.append(&record());
        std::thread::scope(|scope| {
            let closing = scope.spawn(|| close(log.clone()));
            wait_for("it closes", || log.append(&record()).wait(Duration::ZERO) == Some(Err(AppendError::Closed)));
            assert_eq!((ack.wait(Duration::ZERO), closing.is_finished()), (None, false));
            disk.fail(|failures| failures.slow = false);
            closing.join().unwrap().unwrap();
        });
        assert_eq!(disk.lines().0.len() as u64, log.stats().written);
    }
}

#[test]
fn closing_leaves_a_gap_for_what_it_did_not_write() {
    let disk = Memory::default();
    let log = log(&disk);
    disk.fail(|failures| failures.slow = true);
    let hung = log.append(&record());
    wait_for("the first is being written", || log.stats().queued == 1 && !disk.text().is_empty());
    let queued: Vec<_> = (0..5).map(|_| log.append(&record())).collect();
    log.close_blocking(Duration::from_millis(50)).unwrap_err();
    // Nobody waits for the disk any longer.
    for ack in queued.iter().chain([&hung]) {
        assert_eq!(ack.wait(SOON), Some(Err(AppendError::Closed)));
    }
    disk.fail(|failures| failures.slow = false);
    wait_for("the gap", || !disk.lines().1.is_empty());
    assert_eq!(disk.lines().1.iter().map(|gap| gap.count.unwrap()).sum::<u64>(), 5);
    wait_for("the writer is gone", || log.stats().queued == 0);
    assert_eq!((log.stats().written, log.stats().failed), (1, 5));
    assert!(!disk.state().stopped, "the next process must report that something is missing");
}
