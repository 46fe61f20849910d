//! A log in a store that is away for a long time: nothing is dropped, and nothing is written twice.

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tagtrail::{Sample, Trail};
use tagtrail_querylog::audit::{Questions, RequestFilter, Scan};
use tagtrail_querylog::store::{Payloads, Sqlite};
use tagtrail_querylog::{AuditLog, LogStore, Outcome, QueryLog, Record, Window};

use crate::support::faulty::{Faulty, Mode};

const LIMIT: Duration = Duration::from_secs(60);

/// Starts and ends a request.
fn request(log: &QueryLog, output: Option<String>) {
    let mut record = Record::new(&Trail::start(Sample::Always), "/");
    record.notes.caller.exec_env_id = Some("env1".into());
    drop(log.begin(&record));
    record.notes.stdout = output;
    record.end(Duration::from_millis(1), Outcome::Complete);
    drop(log.append(&record));
}

async fn found(audit: &AuditLog) -> Vec<Record> {
    let scan = Scan::new(RequestFilter::new(), Window::ALL);
    audit.scoped("env1").requests(&scan, 10_000).await.unwrap().items
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes 25 seconds: run cargo test -- --include-ignored"]
async fn nothing_is_lost_while_another_process_locks_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    let audit = AuditLog::new(Sqlite::builder(&path).busy_timeout(Duration::from_millis(100)).open().unwrap());
    let log = LogStore::new(audit.clone()).open().unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    (0..500).for_each(|_| request(&log, None));
    tokio::time::sleep(Duration::from_secs(25)).await;
    assert_eq!((log.stats().written, log.stats().queued, log.stats().failed), (0, 500, 0));
    other.execute_batch("COMMIT").unwrap();
    log.close(LIMIT).await.unwrap();
    let found = found(&audit).await;
    assert_eq!(found.iter().map(|record| record.id).collect::<HashSet<_>>().len(), 500);
    assert!(found.len() == 500 && found.iter().all(|record| record.duration.is_some()));
    assert_eq!(audit.gaps(Window::ALL).await.unwrap(), []);
}

/// Returns the number of files in a folder and those below it.
fn files(folder: &Path) -> usize {
    let count = |path: std::path::PathBuf| if path.is_dir() { files(&path) } else { 1 };
    std::fs::read_dir(folder).unwrap().map(|entry| count(entry.unwrap().path())).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn long_value_is_stored_once_however_often_its_batch_is_retried() {
    let folder = tempfile::tempdir().unwrap();
    let payloads = folder.path().join("payloads");
    let store = Faulty::new(Sqlite::open(folder.path().join("audit.db")).unwrap());
    let audit = AuditLog::new(store.clone()).payloads(Payloads::folder(&payloads).unwrap());
    let log = LogStore::new(audit.clone()).open().unwrap();
    store.set(Mode::Away);
    request(&log, Some("x".repeat(200_000)));
    let before = store.attempts.load(Relaxed);
    while store.attempts.load(Relaxed) < before + 10 || log.stats().queued == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(files(&payloads), 1);
    store.set(Mode::Works);
    log.close(LIMIT).await.unwrap();
    let [record] = &*found(&audit).await else { panic!("one record") };
    let whole = audit.scoped("env1").record(&record.id.to_string()).await.unwrap();
    assert_eq!((whole.stdout.map(|text| text.len()), files(&payloads)), (Some(200_000), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn close_waits_for_the_store_as_long_as_it_takes() {
    let folder = tempfile::tempdir().unwrap();
    let store = Faulty::new(Sqlite::open(folder.path().join("audit.db")).unwrap());
    let audit = AuditLog::new(store.clone());
    let log = LogStore::new(audit.clone()).open().unwrap();
    store.set(Mode::Away);
    (0..100).for_each(|_| request(&log, None));
    let closing = tokio::spawn({
        let log = log.clone();
        async move { log.close(Duration::MAX).await }
    });
    let before = store.attempts.load(Relaxed);
    while store.attempts.load(Relaxed) < before + 10 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(!closing.is_finished());
    store.set(Mode::Works);
    closing.await.unwrap().unwrap();
    assert_eq!(found(&audit).await.len(), 100);
}
