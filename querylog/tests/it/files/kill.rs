//! A process that logs is killed at any moment, many times: no acknowledged record is missing, no line is torn, and no
//! record is duplicated.

use std::collections::HashSet;
use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tagtrail_querylog::{Durability, Entry, LogFiles, Roll};

use crate::support::common::{entries_in, files_in, record};
use crate::support::killed::{report, reports_until_killed};

const PROCESSES: u32 = 200;
/// The number of processes that use a folder, one after another.
const PROCESSES_PER_FOLDER: u32 = 10;

fn settings(folder: &Path, durability: &str) -> LogFiles {
    let durability = match durability {
        "buffered" => Durability::Buffered,
        "flushed" => Durability::Flushed,
        _ => Durability::Synced,
    };
    // Small files, so that some are being rolled and compressed when the process is killed.
    LogFiles::new(folder)
        .durability(durability)
        .roll(Roll::at_bytes(50_000))
        .gzip()
        .gather(4_000, Duration::from_millis(1))
}

/// The process that is killed: this test, started by the other one. Reports the id of each record that is acknowledged.
#[test]
fn child() {
    let (Ok(folder), Ok(durability)) = (env::var("QUERYLOG_FOLDER"), env::var("QUERYLOG_DURABILITY")) else { return };
    let log = settings(Path::new(&folder), &durability).open().unwrap();
    let (sender, receiver) = mpsc::sync_channel(1_000);
    for number in 0..3 {
        let (log, sender) = (log.clone(), sender.clone());
        thread::spawn(move || {
            loop {
                let mut record = record("child");
                // Lines of different lengths.
                record.request.path = "x".repeat(record.id.as_bytes()[15] as usize * 4 * number);
                sender.send((record.id, log.append(&record))).unwrap();
            }
        });
    }
    for (id, ack) in receiver {
        if ack.wait(Duration::from_secs(60)) == Some(Ok(())) {
            report(&id.to_string());
        }
    }
}

#[test]
fn acknowledged_record_survives_a_killed_process() {
    let next = AtomicU32::new(0);
    let total = AtomicUsize::new(0);
    // Most of the time is spent on the disk.
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let folder = next.fetch_add(1, Relaxed);
                    if folder >= PROCESSES / PROCESSES_PER_FOLDER {
                        return;
                    }
                    total.fetch_add(kill_in_folder(["synced", "flushed", "buffered"][folder as usize % 3]), Relaxed);
                }
            });
        }
    });
    let total = total.into_inner();
    println!("{total} acknowledged records of {PROCESSES} processes");
    // At least one in four reported something.
    assert!(total > PROCESSES as usize / 8, "the processes were killed before they did anything: {total}");
}

/// Returns the number of acknowledged records.
fn kill_in_folder(durability: &str) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = HashSet::new();
    for killed in 1..=PROCESSES_PER_FOLDER {
        acknowledged.extend(acknowledged_until_killed(folder.path(), durability));
        settings(folder.path(), durability).open().unwrap().close_blocking(Duration::from_secs(20)).unwrap();
        check(folder.path(), &acknowledged, killed);
    }
    acknowledged.len()
}

fn acknowledged_until_killed(folder: &Path, durability: &str) -> Vec<String> {
    let variables = [("QUERYLOG_FOLDER", folder.as_os_str()), ("QUERYLOG_DURABILITY", OsStr::new(durability))];
    reports_until_killed("files::kill::child", &variables, 60)
}

fn check(folder: &Path, acknowledged: &HashSet<String>, killed: u32) {
    let mut ids = HashSet::new();
    let mut unclean = 0;
    for entry in entries_in(folder) {
        match entry {
            Entry::Record(record) => assert!(ids.insert(record.id.to_string()), "duplicate"),
            Entry::Gap(gap) => unclean += u32::from(gap.count.is_none()),
            other => panic!("{other:?}"),
        }
    }
    let missing: Vec<_> = acknowledged.difference(&ids).collect();
    assert!(missing.is_empty(), "{} of {} are missing", missing.len(), acknowledged.len());
    // A child that was killed before it opened the log has written nothing.
    assert!(unclean <= killed);
    assert!(acknowledged.is_empty() || unclean > 0, "an unclean stop is reported");
    assert!(files_in(folder, ".tmp").len() <= 1);
}
