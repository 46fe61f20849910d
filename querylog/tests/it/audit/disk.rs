//! SQLite when it cannot write: a full disk, a file that another process locks, and one that is deleted.

use std::fs;
use std::time::Duration;

use tagtrail::{Sample, Trail};
use tagtrail_querylog::audit::{Questions, RequestFilter, Scan};
use tagtrail_querylog::store::Sqlite;
use tagtrail_querylog::{AuditLog, LogStore, Outcome, Record, Window};

use crate::support::common::SmallDisk;

fn request() -> Record {
    let mut record = Record::new(&Trail::start(Sample::Always), "/");
    record.notes.caller.exec_env_id = Some("env1".into());
    record.end(Duration::from_millis(1), Outcome::Complete);
    record
}

async fn count(log: &AuditLog) -> usize {
    log.scoped("env1").requests(&Scan::new(RequestFilter::new(), Window::ALL), 10_000).await.unwrap().items.len()
}

#[tokio::test]
async fn put_fails_while_the_disk_is_full_and_succeeds_afterwards() {
    let directory = tempfile::tempdir().unwrap();
    let Some(_disk) = SmallDisk::mount(directory.path()) else {
        eprintln!("left out: this process may not mount a disk");
        return;
    };
    let audit = AuditLog::new(Sqlite::open(directory.path().join("audit.db")).unwrap());
    let filler = directory.path().join("filler");
    audit.put_requests(&[request()]).await.unwrap();
    assert!(fs::write(&filler, vec![0; 2 << 20]).is_err(), "full");
    let many: Vec<_> = (0..500).map(|_| request()).collect();
    let error = audit.put_requests(&many).await.unwrap_err().to_string();
    assert!(error.contains("full"), "{error}");
    assert_eq!(count(&audit).await, 1, "a batch is written as a whole or not at all");

    // A query log retries until there is room.
    let log = LogStore::new(audit.clone()).open().unwrap();
    let ack = log.append(&request());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(log.stats().written, 0);
    fs::remove_file(&filler).unwrap();
    ack.await.unwrap();
    // What waits when the log has to be closed is counted as missing.
    fs::write(&filler, vec![0; 2 << 20]).unwrap_err();
    let acks: Vec<_> = many.iter().map(|request| log.append(request)).collect();
    let error = log.close(Duration::from_millis(100)).await.unwrap_err();
    let mut lost = 0;
    for ack in acks {
        lost += u64::from(ack.await.is_err());
    }
    fs::remove_file(&filler).unwrap();
    assert!(lost > 0 && error.records == lost, "{lost} {error:?}");
    assert_eq!(count(&audit).await as u64, 2 + many.len() as u64 - lost);
}

#[tokio::test(flavor = "multi_thread")]
async fn put_waits_while_another_process_locks_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    let audit = AuditLog::new(Sqlite::open(&path).unwrap());
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let put = tokio::spawn({
        let audit = audit.clone();
        async move { audit.put_requests(&[request()]).await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!put.is_finished());
    assert_eq!(count(&audit).await, 0, "readers do not wait");
    other.execute_batch("COMMIT").unwrap();
    put.await.unwrap().unwrap();
    assert_eq!(count(&audit).await, 1);
}

#[tokio::test]
async fn put_fails_if_the_file_is_deleted_or_moved() {
    let folder = tempfile::tempdir().unwrap();
    let (path, moved) = (folder.path().join("audit.db"), folder.path().join("moved.db"));
    let audit = AuditLog::new(Sqlite::open(&path).unwrap());
    audit.put_requests(&[request()]).await.unwrap();
    fs::rename(&path, &moved).unwrap();
    let error = audit.put_requests(&[request()]).await.unwrap_err().to_string();
    assert!(error.contains("deleted or moved") && error.contains("reopen the log"), "{error}");
    // Another file in its place does not count.
    fs::copy(&moved, &path).unwrap();
    assert!(audit.put_requests(&[request()]).await.is_err());
    fs::rename(&moved, &path).unwrap();
    audit.put_requests(&[request()]).await.unwrap();
    assert_eq!(count(&audit).await, 2);
}
