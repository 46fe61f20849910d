//! PostgreSQL is killed and restarted during writes.
//!
//! Requires a server: `TAGTRAIL_TEST_POSTGRES` is its URL, and `TAGTRAIL_TEST_POSTGRES_RESTART` the command that kills
//! and restarts it, such as `pg_ctl restart -m immediate …`. If the first is set, the other tests of the audit log also
//! use the server instead of SQLite.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use crate::support::audit;
use futures_util::TryStreamExt;
use tagtrail::{Sample, Trail};
use tagtrail_querylog::audit::{AuditRecord, Questions, RecordQuery, Scan};
use tagtrail_querylog::{AuditLog, LogStore, Outcome, Record, Timestamp, Window};
use uuid::Uuid;

const LIMIT: Duration = Duration::from_secs(60);

async fn all(log: &AuditLog) -> Vec<AuditRecord> {
    let scan = Scan::new(RecordQuery::Environment, Window::ALL);
    log.scoped("env1").all_records(scan, 1_000).try_collect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: run .ci/with-postgres cargo test -- --include-ignored"]
async fn acknowledged_records_survive_when_the_server_restarts() {
    let store = audit::postgres().await.expect("TAGTRAIL_TEST_POSTGRES has no URL of a server");
    let _server = crate::SERVER.lock().await;
    let audit = AuditLog::new(store);
    let log = LogStore::new(audit.clone()).open().unwrap();

    // One task writes by hand, and notes what is acknowledged. Another uses a query log, which retries by itself.
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let by_hand = tokio::spawn({
        let (audit, acknowledged) = (audit.clone(), Arc::clone(&acknowledged));
        async move {
            let mut put = Vec::new();
            let mut failed = 0;
            while acknowledged.load(Relaxed) < 300 {
                let mut record = AuditRecord::new(Uuid::now_v7(), Timestamp::from_micros(1));
                record.exec_env_id = Some("env1".into());
                record.execution_time = Some(1.0);
                if audit.put(vec![record.clone()]).await.is_ok() {
                    put.push(record);
                    acknowledged.fetch_add(1, Relaxed);
                } else {
                    failed += 1;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            (put, failed)
        }
    });
    let by_log = tokio::spawn({
        let log = log.clone();
        async move {
            for _ in 0..2_000 {
                let mut record = Record::new(&Trail::start(Sample::Always), "work");
                record.notes.caller.exec_env_id = Some("env1".into());
                log.begin(&record);
                record.end(Duration::from_millis(1), Outcome::Complete);
                log.append(&record);
                tokio::time::sleep(Duration::from_micros(500)).await;
            }
        }
    });
    while acknowledged.load(Relaxed) < 50 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    crate::shell(crate::restart()).await;

    let (put, failed) = by_hand.await.unwrap();
    by_log.await.unwrap();
    log.close(LIMIT).await.unwrap();
    assert!(failed > 0, "the restart happened during writes");
    let found = all(&audit).await;
    for record in &put {
        assert!(found.contains(record), "acknowledged, but not found");
    }
    let by_log: Vec<_> = found.iter().filter(|record| record.timestamp > Timestamp::from_micros(1)).collect();
    assert_eq!(by_log.len(), 2_000, "each record once");
    assert!(by_log.iter().all(|record| record.execution_time.is_some()), "all records are completed");
}
