//! Records on their way into a store: begun, completed, put twice, cut off.

use std::sync::Arc;
use std::time::Duration;

use crate::support::audit;
use crate::support::audit::Server;
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
async fn a_record_is_completed_once_and_putting_it_twice_is_harmless() {
    let Server { folder: _folder, log, .. } = Server::start().await;
    let begun = record();
    let mut ended = begun.clone();
    ended.execution_time = Some(1.5);
    ended.udf_name = Some("name".into());
    ended.stderr = Some("e".repeat(200_000));
    let mut other = ended.clone();
    other.udf_name = Some("other".into());

    log.begin(vec![begun.clone()]).await.unwrap();
    log.begin(vec![begun.clone()]).await.unwrap();
    assert_eq!(all(&log).await, std::slice::from_ref(&begun));
    for again in [&ended, &ended, &other] {
        log.put(vec![again.clone()]).await.unwrap();
        assert_eq!(all(&log).await, std::slice::from_ref(&ended));
    }
    log.begin(vec![begun.clone()]).await.unwrap();
    assert_eq!(all(&log).await, std::slice::from_ref(&ended), "a begin that comes late changes nothing");

    // The first end stays, where neither has a long value too.
    let kept = AuditRecord { execution_time: Some(1.0), ..record() };
    for time in [Some(1.0), Some(2.0), None] {
        log.put(vec![AuditRecord { execution_time: time, ..kept.clone() }]).await.unwrap();
        assert_eq!(all(&log).await, [ended.clone(), kept.clone()]);
    }

    // One that ended without a time, in one batch with its begin, and one that is completed by another source later.
    let (first, mut second) = (record(), record());
    second.stderr = Some("cut off".into());
    let mut whole = second.clone();
    whole.execution_time = Some(2.0);
    log.put(vec![first.clone(), second.clone(), first.clone()]).await.unwrap();
    log.put(vec![whole.clone()]).await.unwrap();
    assert_eq!(all(&log).await, [ended, kept, first, whole]);
}

#[tokio::test]
async fn an_end_may_say_anew_who_asked_and_what_was_run() {
    let Server { folder: _folder, log, .. } = Server::start().await;
    let members: [fn(&mut AuditRecord) -> &mut Option<String>; 5] = [
        |record| &mut record.exec_env_id,
        |record| &mut record.user_email,
        |record| &mut record.udf_id,
        |record| &mut record.udf_name,
        |record| &mut record.shared_token,
    ];
    for member in members {
        let mut begun = record();
        *member(&mut begun) = None;
        let mut ended = AuditRecord { execution_time: Some(1.0), ..begun.clone() };
        *member(&mut ended) = Some("new".into());
        log.begin(vec![begun]).await.unwrap();
        log.put(vec![ended.clone()]).await.unwrap();
        let environment = ended.exec_env_id.clone().unwrap();
        assert_eq!(log.scoped(environment).record(ended.id.as_str()).await.unwrap(), ended);
    }
}

#[tokio::test]
async fn what_was_put_is_there_when_the_file_is_opened_again() {
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
    let layer = QueryLogLayer::new(log)
        .caller(|_| Caller { exec_env_id: Some("env1".into()), ..Caller::default() })
        .with_inbound(Admit::Restart);
    Router::new().route("/slow/{x}", get(slow)).route("/panic", get(panics)).layer(layer)
}

async fn panics() -> &'static str {
    panic!("on purpose")
}

async fn send(service: Router, path: &str) -> bytes::Bytes {
    let answer = service.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    answer.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn a_request_is_on_record_before_its_handler_does_what_it_does() {
    let Server { folder, log: audit, .. } = Server::start().await;
    let files = LogFiles::new(folder.path().join("files"));
    let log = QueryLog::builder().to(LogStore::new(audit.clone())).to(files).open().unwrap();
    let gate = Arc::new(Notify::new());
    let running = tokio::spawn({
        let service = service(log.clone(), Arc::clone(&gate));
        async move { send(service, "/slow/1?q=secret").await }
    });
    let begun = loop {
        if let [record] = &*all(&audit).await {
            break record.clone();
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    assert_eq!((begun.execution_time, begun.udf_id.as_deref()), (None, None));
    assert_eq!((begun.udf_name.as_deref(), begun.exec_env_id.as_deref()), (Some("/slow/{x}"), Some("env1")));

    gate.notify_one();
    assert_eq!(running.await.unwrap(), "done");
    let panics = service(log.clone(), gate);
    assert!(tokio::spawn(async move { send(panics, "/panic").await }).await.is_err());
    log.close(LIMIT).await.unwrap();

    let [ended, panicked] = &*all(&audit).await else { panic!("two records") };
    assert!(ended.id == begun.id && ended.timestamp == begun.timestamp && ended.execution_time.unwrap() > 0.0);
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
async fn the_longest_duration_is_one_and_others_beside_it_are_stored() {
    let Server { folder: _folder, log: audit, .. } = Server::start().await;
    let log = LogStore::new(audit.clone()).retry_for(Duration::ZERO).open().unwrap();
    let records: Vec<_> = [Duration::from_secs(1), Duration::MAX]
        .map(|duration| {
            let mut record = Record::new(&Trail::start(Sample::Always), "/");
            record.notes.caller.exec_env_id = Some("env1".into());
            record.end(duration, Outcome::Complete);
            record
        })
        .into();
    for record in &records {
        // Not awaited, so that both are in one batch.
        drop(log.append(record));
    }
    log.close(LIMIT).await.unwrap();
    let scan = Scan::new(RequestFilter::new(), Window::ALL);
    assert_eq!(audit.scoped("env1").requests(&scan, 10).await.unwrap().items, records);
}

/// Stores that take no record of the name `refused`.
async fn refusing(folder: &std::path::Path) -> Vec<AuditLog> {
    let path = folder.join("audit.db");
    let mut logs = vec![AuditLog::new(Sqlite::open(&path).unwrap())];
    let trigger = "CREATE TRIGGER refuses BEFORE INSERT ON record WHEN NEW.udf_name = 'refused'
                   BEGIN SELECT RAISE(ABORT, 'refused'); END";
    rusqlite::Connection::open(&path).unwrap().execute_batch(trigger).unwrap();
    if let Some((settings, url)) = audit::postgres_builder().await {
        logs.push(AuditLog::new(settings.connect().await.unwrap()));
        let (admin, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let check = "ALTER TABLE record ADD CHECK (udf_name IS DISTINCT FROM 'refused'::BYTEA)";
        admin.batch_execute(check).await.unwrap();
    }
    logs
}

#[tokio::test]
async fn a_record_that_the_store_refuses_takes_no_other_with_it() {
    let folder = tempfile::tempdir().unwrap();
    for audit in refusing(folder.path()).await {
        let log = LogStore::new(audit.clone()).gather(1 << 20, Duration::from_millis(300)).open().unwrap();
        let begin = std::time::Instant::now();
        let (mut expected, mut acks) = (Vec::new(), Vec::new());
        for number in 0..200 {
            let refused = [3, 70, 71, 199].contains(&number);
            let mut record = Record::new(&Trail::start(Sample::Always), "/");
            record.notes.caller.exec_env_id = Some("env1".into());
            record.notes.operation.name = Some(if refused { "refused" } else { "taken" }.into());
            record.end(Duration::from_micros(1), Outcome::Complete);
            // Not awaited, so that all are in one batch.
            acks.push((refused, log.append(&record)));
            if !refused {
                expected.push(record.id);
            }
        }
        let refused = log.close(LIMIT).await;
        assert!(begin.elapsed() < Duration::from_secs(5), "what is refused for good is not tried again");
        let scan = Scan::new(RequestFilter::new(), Window::ALL);
        let mut found = audit.scoped("env1").requests(&scan, 1_000).await.unwrap().items;
        found.sort_by_key(|record| record.id);
        expected.sort_unstable();
        assert_eq!(found.iter().map(|record| record.id).collect::<Vec<_>>(), expected);
        assert_eq!((log.stats().written, log.stats().failed), (196, 4));
        assert!(refused.is_err(), "it is said");
        for (refused, ack) in acks {
            let known = if refused { Err(AppendError::Rejected) } else { Ok(()) };
            assert_eq!((ack.wait(LIMIT), ack.await), (Some(known), known));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_puts_a_record_that_is_refused_is_told_so_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    for audit in refusing(folder.path()).await {
        // Many at the same time, which SQLite puts into one transaction.
        let puts = (0..60).map(|number| {
            let audit = audit.clone();
            let name = if number % 30 == 20 { "refused" } else { "taken" };
            let record = AuditRecord { udf_name: Some(name.into()), ..record() };
            async move { (name, audit.put(vec![record]).await) }
        });
        for (name, put) in futures_util::future::join_all(puts).await {
            match put {
                Ok(()) => assert_eq!(name, "taken"),
                Err(error) => assert!(name == "refused" && matches!(error, StoreError::Rejected(_)), "{name}: {error}"),
            }
        }
        assert_eq!(all(&audit).await.len(), 58);
    }
}

#[tokio::test]
async fn a_thousand_requests_at_a_time_are_each_on_record() {
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
    assert_eq!(log.stats().written, 2_000);
}
