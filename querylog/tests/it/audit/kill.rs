//! A process that keeps its records in SQLite is killed at any moment, many times: each acknowledged record is stored
//! once, and with its end if that was acknowledged.

use std::collections::{HashMap, HashSet};
use std::env;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use futures_util::TryStreamExt;
use tagtrail::{Sample, Trail};
use tagtrail_querylog::audit::{Questions, RequestFilter, Scan};
use tagtrail_querylog::store::{Sqlite, Synchronous};
use tagtrail_querylog::{AuditLog, LogStore, Outcome, Record, Window};

use crate::support::killed::{report, reports_until_killed};

const PROCESSES: u32 = 40;

fn open(folder: &Path) -> AuditLog {
    // A kill keeps what the operating system has, so syncing is not tested here: it is slow.
    AuditLog::new(Sqlite::builder(folder.join("audit.db")).synchronous(Synchronous::Normal).open().unwrap())
}

/// The process that is killed: this test, started by the other one. Reports what is acknowledged.
#[test]
fn child() {
    let Ok(folder) = env::var("AUDIT_FOLDER") else { return };
    let log = LogStore::new(open(Path::new(&folder))).gather(4_000, Duration::from_millis(1)).open().unwrap();
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
        for (id, what) in acknowledged_until_killed(folder.path()) {
            if what == "ended" { &mut ended } else { &mut started }.insert(id);
        }
        let log = open(folder.path());
        let mut found = HashMap::new();
        let log = log.scoped("env1");
        let mut requests = log.all_requests(Scan::new(RequestFilter::new(), Window::ALL), 1_000);
        while let Some(request) = requests.try_next().await.unwrap() {
            let id = request.id.to_string();
            assert!(found.insert(id, request.response.outcome.is_some()).is_none(), "duplicate");
        }
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

fn acknowledged_until_killed(folder: &Path) -> Vec<(String, String)> {
    let reports = reports_until_killed("audit::kill::child", &[("AUDIT_FOLDER", folder.as_os_str())], 150);
    reports.iter().filter_map(|line| line.split_once(' ')).map(|(id, what)| (id.to_owned(), what.to_owned())).collect()
}
