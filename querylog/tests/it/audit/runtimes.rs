//! PostgreSQL from any runtime: the store has its own, and outlives those of its callers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tagtrail::{Sample, Trail};
use tagtrail_querylog::audit::{AuditRecord, Questions, RecordQuery, RequestFilter, Scan};
use tagtrail_querylog::store::{Postgres, StoreError};
use tagtrail_querylog::{AuditLog, LogStore, Outcome, Record, Timestamp, Window};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

use crate::support::audit;

const LIMIT: Duration = Duration::from_secs(60);

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

async fn store() -> Postgres {
    audit::postgres().await.expect("TAGTRAIL_TEST_POSTGRES has no URL of a server")
}

fn request() -> Record {
    let mut record = Record::new(&Trail::start(Sample::Always), "/");
    record.notes.caller.exec_env_id = Some("env1".into());
    record.end(Duration::from_millis(1), Outcome::Complete);
    record
}

async fn count(log: &AuditLog) -> usize {
    let scan = Scan::new(RequestFilter::new(), Window::ALL);
    log.scoped("env1").requests(&scan, 300).await.unwrap().items.len()
}

#[test]
#[ignore = "needs PostgreSQL: run .ci/with-postgres cargo test -- --include-ignored"]
fn log_that_is_dropped_on_the_only_thread_writes_everything() {
    let audit = current_thread().block_on(async {
        let audit = AuditLog::new(store().await);
        let log = LogStore::new(audit.clone()).open().unwrap();
        let acks: Vec<_> = (0..100).map(|_| log.append(&request())).collect();
        // Blocks the thread until everything is written.
        drop(log);
        for ack in acks {
            assert_eq!(ack.wait(Duration::ZERO), Some(Ok(())));
        }
        audit
    });
    assert_eq!(current_thread().block_on(count(&audit)), 100, "on another runtime");
}

#[test]
#[ignore = "needs PostgreSQL: run .ci/with-postgres cargo test -- --include-ignored"]
fn store_outlives_the_runtimes_of_its_callers() {
    let put = |audit: &AuditLog| {
        let audit = audit.clone();
        async move { audit.put_requests(&[request()]).await.unwrap() }
    };
    let first = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let audit = first.block_on(async { AuditLog::new(store().await) });
    first.block_on(put(&audit));
    first.shutdown_background();
    // Without a runtime.
    let log = LogStore::new(audit.clone()).open().unwrap();
    assert_eq!(log.append(&request()).wait(LIMIT), Some(Ok(())));
    drop(log);
    for _ in 0..3 {
        current_thread().block_on(put(&audit));
    }
    current_thread().block_on(async move {
        assert_eq!(count(&audit).await, 5);
        // The last clone, in an async function.
        drop(audit);
    });
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: run .ci/with-postgres cargo test -- --include-ignored"]
async fn log_that_ends_does_not_affect_others_of_its_store() {
    let audit = AuditLog::new(store().await);
    audit.put_requests(&[request()]).await.unwrap();
    let is_done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (audit, is_done) = (audit.clone(), Arc::clone(&is_done));
            tokio::spawn(async move {
                while !is_done.load(Relaxed) {
                    let scan = Scan::new(RecordQuery::Environment, Window::ALL);
                    audit.scoped("env1").records(&scan, 10).await.unwrap();
                }
            })
        })
        .collect();
    for _ in 0..20 {
        let log = LogStore::new(audit.clone()).open().unwrap();
        drop(log.append(&request()));
        log.close(LIMIT).await.unwrap();
    }
    is_done.store(true, Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
    assert_eq!(count(&audit).await, 21);
}

#[tokio::test]
async fn lazy_store_is_connected_to_once_for_all_callers_that_wait() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://ada@{}/audit", listener.local_addr().unwrap());
    let settings = Postgres::builder(&url).connect_timeout(Duration::from_millis(200));
    let audit = AuditLog::new(settings.connect_lazy().unwrap());
    let puts = (0..100).map(|_| audit.put(vec![AuditRecord::new(Uuid::now_v7(), Timestamp::MIN)]));
    let mut connections = 0;
    let accepting = async {
        let mut accepted = Vec::new();
        loop {
            // A server that accepts a connection, and never responds.
            accepted.push(listener.accept().await.unwrap());
            connections = accepted.len();
        }
    };
    let results = tokio::select! {
        results = futures_util::future::join_all(puts) => results,
        () = accepting => unreachable!(),
    };
    for result in results {
        assert!(matches!(result, Err(StoreError::Failed(_) | StoreError::Overloaded)), "{result:?}");
    }
    assert_eq!(connections, 1);
}

#[test]
fn lazy_store_rejects_an_invalid_url_at_once_and_needs_no_runtime() {
    let error = Postgres::builder("mysql://u:hunter2@h/d").connect_lazy().unwrap_err();
    assert_eq!(error.to_string(), "not a PostgreSQL URL");
    drop(Postgres::builder("postgres://127.0.0.1:1/audit").connect_lazy().unwrap());
}
