//! SQLite while another process keeps it locked: calls fail within their limits, and say that they may be repeated.

use std::time::Duration;

use tagtrail_querylog::audit::AuditRecord;
use tagtrail_querylog::export::ExportFiles;
use tagtrail_querylog::store::{Row, Sqlite, Store, StoreError, WriterReport};
use tagtrail_querylog::{AuditLog, Timestamp, Window};
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::support::export::{Server, range};

fn row() -> Row {
    Row::of(AuditRecord::new(Uuid::now_v7(), Timestamp::now()), true)
}

#[tokio::test]
async fn write_fails_as_overloaded_while_the_file_is_locked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    let store = Sqlite::builder(&path).busy_timeout(Duration::from_millis(50)).open().unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let report = WriterReport::new(Uuid::now_v7(), Timestamp::now());
    let blocking = {
        let (store, runtime) = (store.clone(), Handle::current());
        tokio::task::spawn_blocking(move || store.put_blocking(&[row()].into(), None, &runtime))
    };
    let results = [
        store.put([row()].into(), Some(&report)).await,
        blocking.await.unwrap(),
        store.report(&report).await,
        store.jobs().unwrap().delete("1", 0).await.map(drop),
    ];
    assert!(results.iter().all(|result| matches!(result, Err(StoreError::Overloaded))), "{results:?}");
    assert_eq!(store.gaps(Window::ALL, 10).await.unwrap(), [], "readers do not wait");
    let locked = Sqlite::builder(&path).busy_timeout(Duration::from_millis(50)).open().unwrap_err();
    assert!(matches!(locked, StoreError::Failed(_)), "{locked}");
    other.execute_batch("COMMIT").unwrap();
    store.put([row()].into(), None).await.unwrap();
}

#[tokio::test]
async fn export_is_rejected_with_503_while_the_file_is_locked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    let log = AuditLog::new(Sqlite::builder(&path).busy_timeout(Duration::from_millis(50)).open().unwrap());
    let files = ExportFiles::folder(folder.path().join("exports")).unwrap();
    let server = Server::of(folder, log, files, |builder| builder.arrival(Duration::ZERO)).await;
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let response = server.ask("us", &range("us-std", 0, 1)).await;
    assert_eq!((response.status.as_u16(), response.json["code"].as_str()), (503, Some("internal_error")));
    assert_eq!(response.headers["retry-after"], "1");
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(server.ask("us", &range("us-std", 0, 1)).await.status, 200);
}
