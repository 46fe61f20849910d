//! A process that keeps its records in SQLite is killed at any moment, many times: each acknowledged record is stored
//! once, and with its end if that was acknowledged; also if the store was away, and the record in a spool.

use std::collections::{HashMap, HashSet};
use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use futures_util::TryStreamExt;
use tagtrail::{Sample, Trail};
use tagtrail_querylog::audit::{Questions, RequestFilter, Scan};
use tagtrail_querylog::store::{Sqlite, Synchronous};
use tagtrail_querylog::{AuditLog, Durability, LogStore, Outcome, Record, Spool, Window};

use crate::support::killed::{report, reports_until_killed};

const PROCESSES: u32 = 40;

fn open(folder: &Path) -> AuditLog {
    // A kill keeps what the operating system has, so syncing is not tested here: it is slow.
    AuditLog::new(Sqlite::builder(folder.join("audit.db")).synchronous(Synchronous::Normal).open().unwrap())
}

fn spool(folder: impl AsRef<Path>) -> Spool {
    Spool::new(folder.as_ref().join("spool")).after(Duration::from_millis(20)).durability(Durability::Flushed)
}

/// The process that is killed: this test, started by the other one. Reports what is acknowledged.
#[test]
fn child() {
    let Ok(folder) = env::var("AUDIT_FOLDER") else { return };
    let settings = LogStore::new(open(Path::new(&folder))).gather(4_000, Duration::from_millis(1));
    let settings = if env::var_os("AUDIT_SPOOL").is_some() { settings.spool(spool(&folder)) } else { settings };
    let log = settings.open().unwrap();
    let (sender, receiver) = mpsc::sync_channel(200);
    for number in 0..2 {
        let (log, sender) = (log.clone(), sender.clone());
        thread::spawn(move || {
            loop {
                let mut record = Record::new(&Trail::start(Sample::Always), "x".repeat(number * 3_000));
                record.notes.caller.exec_env_id = Some("env1".into());
                sender.send((record.id, "started", log.begin(&record))).unwrap();
                record.end(Duration::from_millis(1), Outcome::Complete);
                sender.send((record.id, "ended", log.append(&record))).unwrap();
            }
        });
    }
    for (id, what, ack) in receiver {
        if ack.wait(Duration::from_secs(60)) == Some(Ok(())) {
            report(&format!("{id} {what}"));
        }
    }
}

#[tokio::test]
async fn acknowledged_record_survives_a_killed_process() {
    let folder = tempfile::tempdir().unwrap();
    let (mut started, mut ended) = (HashSet::new(), HashSet::new());
    for _ in 0..PROCESSES {
        for (id, what) in acknowledged_until_killed(folder.path(), &[]) {
            if what == "ended" { &mut ended } else { &mut started }.insert(id);
        }
        let found = found(&open(folder.path())).await;
        assert!(started.iter().all(|id| found.contains_key(id)), "a start is missing");
        assert!(ended.iter().all(|id| found.get(id) == Some(&true)), "an end is missing");
    }
    println!("{} starts and {} ends were acknowledged by {PROCESSES} processes", started.len(), ended.len());
    // At least one in four reported something.
    assert!(
        started.len() > PROCESSES as usize / 8,
        "the processes were killed before they did anything: {}",
        started.len()
    );
}

/// Returns which records are there, and whether they have ended.
async fn found(log: &AuditLog) -> HashMap<String, bool> {
    let mut found = HashMap::new();
    let log = log.scoped("env1");
    let mut requests = log.all_requests(Scan::new(RequestFilter::new(), Window::ALL), 1_000);
    while let Some(request) = requests.try_next().await.unwrap() {
        let id = request.id.to_string();
        assert!(found.insert(id, request.response.outcome.is_some()).is_none(), "duplicate");
    }
    found
}

/// Another process has the write lock of the file, during none, all or a part of the life of the process that is killed.
#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_record_survives_a_killed_process_in_its_spool() {
    let folder = tempfile::tempdir().unwrap();
    let audit = open(folder.path());
    let mut acknowledged = HashSet::new();
    for number in 0..PROCESSES {
        let path = folder.path().join("audit.db");
        let locked = thread::spawn(move || {
            let other = rusqlite::Connection::open(path).unwrap();
            if number % 3 != 0 {
                thread::sleep(Duration::from_millis(u64::from(number) * 7 % 50));
                other.execute_batch("BEGIN IMMEDIATE").unwrap();
                thread::sleep(Duration::from_millis(if number % 3 == 1 { 400 } else { 60 }));
                other.execute_batch("COMMIT").unwrap();
            }
        });
        let spooled = [("AUDIT_SPOOL", OsStr::new("1"))];
        acknowledged.extend(acknowledged_until_killed(folder.path(), &spooled));
        locked.join().unwrap();
    }
    let left = std::fs::read_dir(folder.path().join("spool")).unwrap().count();
    let log = LogStore::new(audit.clone()).spool(spool(folder.path())).open().unwrap();
    log.close(Duration::from_secs(60)).await.unwrap();
    assert_eq!(log.stats().spooled, 0);
    let found = found(&audit).await;
    for (id, what) in &acknowledged {
        assert!(found.get(id).is_some_and(|ended| *ended || what == "started"), "{id} {what} is missing");
    }
    println!("{} acknowledged; the last process left {} segments", acknowledged.len(), left - 1);
    assert!(acknowledged.len() > PROCESSES as usize, "the processes were killed before they did anything");
}

fn acknowledged_until_killed(folder: &Path, variables: &[(&str, &OsStr)]) -> Vec<(String, String)> {
    let variables: Vec<_> = [("AUDIT_FOLDER", folder.as_os_str())].iter().chain(variables).copied().collect();
    let reports = reports_until_killed("audit::kill::child", &variables, 150);
    reports.iter().filter_map(|line| line.split_once(' ')).map(|(id, what)| (id.to_owned(), what.to_owned())).collect()
}
