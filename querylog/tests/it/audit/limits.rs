//! A store that is overloaded: calls fail within their limits, and say that they may be repeated.

use std::sync::Arc;
use std::time::Duration;

use tagtrail_querylog::access::Tokens;
use tagtrail_querylog::audit::AuditRecord;
use tagtrail_querylog::export::ExportFiles;
use tagtrail_querylog::server::AuditApi;
use tagtrail_querylog::store::{Postgres, Row, Sqlite, Store, StoreError, WriterReport};
use tagtrail_querylog::{AuditLog, Timestamp, Window};
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::support::audit;
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

/// A role that may have no connection stands for a server that has too many.
#[tokio::test]
#[ignore = "needs PostgreSQL: run .ci/with-postgres cargo test -- --include-ignored"]
async fn request_is_rejected_while_the_server_has_too_many_connections() {
    let (_, url) = audit::postgres_builder().await.expect("TAGTRAIL_TEST_POSTGRES has no URL of a server");
    let (admin, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let role = format!("role_{}", Uuid::now_v7().simple());
    let schema: String = admin.query_one("SELECT current_schema()::TEXT", &[]).await.unwrap().get(0);
    admin.batch_execute(&format!("CREATE ROLE {role} LOGIN; ALTER SCHEMA {schema} OWNER TO {role}")).await.unwrap();
    let log = AuditLog::new(Postgres::connect(&url.replacen("postgres@", &format!("{role}@"), 1)).await.unwrap());
    let api = AuditApi::new(log.clone(), audit::TOKENS.parse::<Tokens>().unwrap()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let files = ExportFiles::folder(folder.path().join("exports")).unwrap();
    let exports = Server::of(folder, log.clone(), files, |builder| builder.arrival(Duration::ZERO)).await;
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let server = audit::Server { log, router: api.router_with_fallback(), folder };
    assert_eq!(server.get("ada", "/log/self").await.status, 200);
    admin.batch_execute(&format!("ALTER ROLE {role} CONNECTION LIMIT 0")).await.unwrap();
    let end = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = $1";
    admin.execute(end, &[&role]).await.unwrap();
    // Connections that have ended may fail once more.
    let mut response = server.get("ada", "/log/self").await;
    for _ in 0..100 {
        if response.status != 500 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        response = server.get("ada", "/log/self").await;
    }
    assert_eq!(response.status, 429, "{}", response.json);
    assert_eq!(response.headers["retry-after"], "1");
    let response = exports.ask("us", &range("us-std", 0, 1)).await;
    assert_eq!((response.status.as_u16(), response.json["code"].as_str()), (503, Some("internal_error")));
    admin.batch_execute(&format!("ALTER ROLE {role} CONNECTION LIMIT -1")).await.unwrap();
    assert_eq!(server.get("ada", "/log/self").await.status, 200);
}
