//! Records on their way into a store: started, completed, put twice, interrupted.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::Request;
use http_body_util::BodyExt;
use tagtrail::{Admit, Sample, Trail};
use tagtrail_querylog::audit::{AuditRecord, Questions, RecordQuery, RequestFilter, Scan};
use tagtrail_querylog::store::{Sqlite, StoreError};
use tagtrail_querylog::{
    AppendError, AuditLog, Caller, Entry, LogFiles, LogReader, LogStore, Outcome, QueryLog, QueryLogLayer, Record,
    RecordHandle, Timestamp, Window,
};
use tokio::sync::Notify;
use tower::ServiceExt;
use uuid::Uuid;

use crate::support::audit;
use crate::support::audit::Server;

const LIMIT: Duration = Duration::from_secs(10);

fn record() -> AuditRecord {
    let mut record = AuditRecord::new(Uuid::now_v7(), Timestamp::from_micros(1));
    record.exec_env_id = Some("env1".into());
    record
}

async fn all(log: &AuditLog) -> Vec<AuditRecord> {
    log.scoped("env1").records(&Scan::new(RecordQuery::Environment, Window::ALL), 1_000).await.unwrap().items
}

#[tokio::test]
async fn record_is_completed_once_when_it_is_put_twice() {
    let Server { folder: _folder, log, .. } = Server::start().await;
    let started = record();
    let mut ended = started.clone();
    ended.execution_time = Some(1.5);
    ended.udf_name = Some("name".into());
    ended.stderr = Some("e".repeat(200_000));
    let mut other = ended.clone();
    other.udf_name = Some("other".into());

    log.begin(vec![started.clone()]).await.unwrap();
    log.begin(vec![started.clone()]).await.unwrap();
    assert_eq!(all(&log).await, std::slice::from_ref(&started));
    for again in [&ended, &ended, &other] {
        log.put(vec![again.clone()]).await.unwrap();
        assert_eq!(all(&log).await, std::slice::from_ref(&ended));
    }
    log.begin(vec![started.clone()]).await.unwrap();
    assert_eq!(all(&log).await, std::slice::from_ref(&ended), "a late start changes nothing");

    // The first end stays, even if neither has a long value.
    let kept = AuditRecord { execution_time: Some(1.0), ..record() };
    for time in [Some(1.0), Some(2.0), None] {
        log.put(vec![AuditRecord { execution_time: time, ..kept.clone() }]).await.unwrap();
        assert_eq!(all(&log).await, [ended.clone(), kept.clone()]);
    }

    // One that ended without a duration, in one batch with its start, and one that another source completes later.
    let (first, mut second) = (record(), record());
    second.stderr = Some("cut off".into());
    let mut whole = second.clone();
    whole.execution_time = Some(2.0);
    log.put(vec![first.clone(), second.clone(), first.clone()]).await.unwrap();
    log.put(vec![whole.clone()]).await.unwrap();
    assert_eq!(all(&log).await, [ended, kept, first, whole]);
}

#[tokio::test]
async fn end_may_change_the_caller_and_the_operation() {
    let Server { folder: _folder, log, .. } = Server::start().await;
    let members: [fn(&mut AuditRecord) -> &mut Option<String>; 5] = [
        |record| &mut record.exec_env_id,
        |record| &mut record.user_email,
        |record| &mut record.udf_id,
        |record| &mut record.udf_name,
        |record| &mut record.shared_token,
    ];
    for member in members {
        let mut started = record();
        *member(&mut started) = None;
        let mut ended = AuditRecord { execution_time: Some(1.0), ..started.clone() };
        *member(&mut ended) = Some("new".into());
        log.begin(vec![started]).await.unwrap();
        log.put(vec![ended.clone()]).await.unwrap();
        let environment = ended.exec_env_id.clone().unwrap();
        assert_eq!(log.scoped(environment).record(ended.id.as_str()).await.unwrap(), ended);
    }
}

#[tokio::test]
async fn record_is_found_when_the_file_is_reopened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    let log = AuditLog::open(&path).unwrap();
    let put: Vec<_> = (0..50).map(|_| record()).collect();
    log.put(put.clone()).await.unwrap();
    drop(log);
    assert_eq!(all(&AuditLog::open(&path).unwrap()).await, put);
}

fn service(log: QueryLog, gate: Arc<Notify>) -> Router {
    let slow = move |record: RecordHandle| async move {
        record.started().await.unwrap();
        record.update(|notes| notes.operation.id = Some("id".into()));
        gate.notified().await;
        "done"
    };
    let layer = QueryLogLayer::new(log).caller(|_| Caller::in_environment("env1")).with_inbound(Admit::Restart);
    Router::new().route("/slow/{x}", get(slow)).route("/panic", get(panics)).layer(layer)
}

async fn panics() -> &'static str {
    panic!("on purpose")
}

async fn send(service: Router, path: &str) -> bytes::Bytes {
    let response = service.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    response.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn request_is_recorded_before_its_handler_ends() {
    let Server { folder, log: audit, .. } = Server::start().await;
    let files = LogFiles::new(folder.path().join("files"));
    let log = QueryLog::builder().to(LogStore::new(audit.clone())).to(files).open().unwrap();
    let gate = Arc::new(Notify::new());
    let running = tokio::spawn({
        let service = service(log.clone(), Arc::clone(&gate));
        async move { send(service, "/slow/1?q=secret").await }
    });
    let started = loop {
        if let [record] = &*all(&audit).await {
            break record.clone();
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    assert_eq!((started.execution_time, started.udf_id.as_deref()), (None, None));
    assert_eq!((started.udf_name.as_deref(), started.exec_env_id.as_deref()), (Some("/slow/{x}"), Some("env1")));

    gate.notify_one();
    assert_eq!(running.await.unwrap(), "done");
    let panics = service(log.clone(), gate);
    assert!(tokio::spawn(async move { send(panics, "/panic").await }).await.is_err());
    log.close(LIMIT).await.unwrap();

    let [ended, panicked] = &*all(&audit).await else { panic!("two records") };
    assert!(ended.id == started.id && ended.timestamp == started.timestamp && ended.execution_time.unwrap() > 0.0);
    assert_eq!(ended.udf_id.as_deref(), Some("id"));
    assert_eq!((panicked.udf_name.as_deref(), panicked.execution_time), (Some("/panic"), None));
    let in_files: Vec<_> = LogReader::open(folder.path().join("files"))
        .unwrap()
        .map(|entry| match entry.unwrap() {
            Entry::Record(record) => record.id.to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(in_files, [ended.id.to_string(), panicked.id.to_string()]);
}

#[tokio::test]
async fn record_with_the_longest_duration_is_stored_with_others() {
    let Server { folder: _folder, log: audit, .. } = Server::start().await;
    let log = LogStore::new(audit.clone()).open().unwrap();
    let records: Vec<_> = [Duration::from_secs(1), Duration::MAX]
        .map(|duration| {
            let mut record = Record::new(&Trail::start(Sample::Always), "/");
            record.notes.caller.exec_env_id = Some("env1".into());
            record.end(duration, Outcome::Complete);
            record
        })
        .into();
    for record in &records {
        // Not awaited, so that both are in the same batch.
        drop(log.append(record));
    }
    log.close(LIMIT).await.unwrap();
    let scan = Scan::new(RequestFilter::new(), Window::ALL);
    assert_eq!(audit.scoped("env1").requests(&scan, 10).await.unwrap().items, records);
}

/// Returns stores that reject records with the name `rejected`.
async fn rejecting(folder: &std::path::Path) -> Vec<AuditLog> {
    let path = folder.join("audit.db");
    let mut logs = vec![AuditLog::new(Sqlite::open(&path).unwrap())];
    let trigger = "CREATE TRIGGER rejects BEFORE INSERT ON record WHEN NEW.udf_name = 'rejected'
                   BEGIN SELECT RAISE(ABORT, 'rejected'); END";
    rusqlite::Connection::open(&path).unwrap().execute_batch(trigger).unwrap();
    if let Some((settings, url)) = audit::postgres_builder().await {
        logs.push(AuditLog::new(settings.connect().await.unwrap()));
        let (admin, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let check = "ALTER TABLE record ADD CHECK (udf_name IS DISTINCT FROM 'rejected'::BYTEA)";
        admin.batch_execute(check).await.unwrap();
    }
    logs
}

#[tokio::test]
async fn record_is_dropped_without_the_others_if_the_store_rejects_it() {
    let folder = tempfile::tempdir().unwrap();
    for audit in rejecting(folder.path()).await {
        let aside = folder.path().join("set-aside.jsonl");
        let settings = LogStore::new(audit.clone()).rejected_file(&aside);
        let log = settings.gather(1 << 20, Duration::from_millis(300)).open().unwrap();
        let start = std::time::Instant::now();
        let (mut expected, mut acks) = (Vec::new(), Vec::new());
        for number in 0..200 {
            let rejected = [3, 70, 71, 199].contains(&number);
            let mut record = Record::new(&Trail::start(Sample::Always), "/");
            record.notes.caller.exec_env_id = Some("env1".into());
            record.notes.operation.name = Some(if rejected { "rejected" } else { "accepted" }.into());
            record.end(Duration::from_micros(1), Outcome::Complete);
            // Not awaited, so that all are in the same batch.
            acks.push((rejected, log.append(&record)));
            if !rejected {
                expected.push(record.id);
            }
        }
        let rejected = log.close(LIMIT).await;
        assert!(start.elapsed() < Duration::from_secs(5), "a rejected record is not retried");
        let scan = Scan::new(RequestFilter::new(), Window::ALL);
        let mut found = audit.scoped("env1").requests(&scan, 1_000).await.unwrap().items;
        found.sort_by_key(|record| record.id);
        expected.sort_unstable();
        assert_eq!(found.iter().map(|record| record.id).collect::<Vec<_>>(), expected);
        assert_eq!((log.stats().written, log.stats().failed), (196, 4));
        assert!(rejected.is_err(), "the rejection is reported");
        let set_aside = std::fs::read_to_string(&aside).unwrap();
        std::fs::remove_file(&aside).unwrap();
        assert_eq!(set_aside.lines().count(), 4);
        for line in set_aside.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["record"]["operation"]["name"], "rejected");
            assert!(!line["rejected"].as_str().unwrap().is_empty());
        }
        let gaps = audit.gaps(Window::ALL).await.unwrap();
        assert_eq!(
            gaps.iter().map(|gap| (gap.count, &*gap.why)).collect::<Vec<_>>(),
            [(Some(4), "the store rejected the record")]
        );
        for (rejected, ack) in acks {
            let known = if rejected { Err(AppendError::Rejected) } else { Ok(()) };
            assert_eq!((ack.wait(LIMIT), ack.await), (Some(known), known));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rejection_is_returned_only_to_the_caller_that_put_the_record() {
    let folder = tempfile::tempdir().unwrap();
    for audit in rejecting(folder.path()).await {
        // Many at the same time, which SQLite writes in one transaction.
        let puts = (0..60).map(|number| {
            let audit = audit.clone();
            let name = if number % 30 == 20 { "rejected" } else { "accepted" };
            let record = AuditRecord { udf_name: Some(name.into()), ..record() };
            async move { (name, audit.put(vec![record]).await) }
        });
        for (name, put) in futures_util::future::join_all(puts).await {
            match put {
                Ok(()) => assert_eq!(name, "accepted"),
                Err(error) => {
                    assert!(name == "rejected" && matches!(error, StoreError::Rejected(_)), "{name}: {error}");
                }
            }
        }
        assert_eq!(all(&audit).await.len(), 58);
    }
}

#[tokio::test]
async fn requests_are_all_recorded_if_a_thousand_run_at_a_time() {
    let Server { folder: _folder, log: audit, .. } = Server::start().await;
    let log = LogStore::new(audit.clone()).open().unwrap();
    let gate = Arc::new(Notify::new());
    let requests: Vec<_> = (0..1_000)
        .map(|number| {
            let service = service(log.clone(), Arc::clone(&gate));
            tokio::spawn(async move { send(service, &format!("/slow/{number}")).await })
        })
        .collect();
    let opener = tokio::spawn(async move {
        loop {
            gate.notify_waiters();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    for request in requests {
        assert_eq!(request.await.unwrap(), "done");
    }
    opener.abort();
    log.close(LIMIT).await.unwrap();
    let records = all(&audit).await;
    assert_eq!(records.len(), 1_000);
    assert!(records.iter().all(|record| record.execution_time.is_some()));
    assert_eq!(log.stats().written, 1_000, "its start and end are one request");
}
