//! The tables of SQLite: those of earlier versions, the sequence of commits, and gaps.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use tagtrail::{Sample, Trail};
use tagtrail_querylog::audit::{AuditRecord, Questions, RecordQuery, RequestFilter, Scan};
use tagtrail_querylog::store::{Sqlite, Store, WriterReport};
use tagtrail_querylog::{AppendError, AuditLog, LogStore, Outcome, Record, Timestamp, Window};
use uuid::Uuid;

const LIMIT: Duration = Duration::from_secs(60);

fn request(path: &str) -> Record {
    let mut record = Record::new(&Trail::start(Sample::Always), path);
    record.notes.caller.exec_env_id = Some("env1".into());
    record
}

async fn requests(log: &AuditLog, filter: RequestFilter) -> Vec<Record> {
    log.scoped("env1").requests(&Scan::new(filter, Window::ALL), 100).await.unwrap().items
}

fn number(path: &Path, statement: &str) -> i64 {
    Connection::open(path).unwrap().query_row(statement, [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn store_of_version_3_is_read_and_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    Connection::open(&path).unwrap().execute_batch(include_str!("version_3.sql")).unwrap();
    let log = AuditLog::new(Sqlite::open(&path).unwrap());
    assert_eq!(number(&path, "PRAGMA user_version"), 5);

    let [panicked, open] = &*requests(&log, RequestFilter::new()).await else { panic!("expected two requests") };
    assert_eq!(panicked.start_time.to_string(), "2025-04-01T00:00:00.000001Z");
    assert_eq!((panicked.response.status, panicked.response.outcome), (Some(503), Some(Outcome::Panicked)));
    assert_eq!(panicked.duration, Some(Duration::from_micros(1_234)));
    assert_eq!(panicked.request.headers[0].1, "curl/8 \"x\"");
    assert_eq!(panicked.tags.to_string(), "project=blog,env=prod");
    assert_eq!(panicked.client_ip.unwrap().to_string(), "127.0.0.1");
    let notes = &panicked.notes;
    assert_eq!((notes.operation.name.as_deref(), notes.shape.as_deref()), (Some("posts"), Some("f()")));
    assert_eq!((&*notes.database, notes.counters[0].1), (&["shop".to_owned()][..], 3));
    assert_eq!((open.response.outcome, &*open.request.path), (None, "nightly/rollup"));
    let scan = Scan::new(RecordQuery::Environment, Window::ALL);
    let records = log.scoped("env1").records(&scan, 10).await.unwrap().items;
    assert_eq!(records.iter().map(|record| record.execution_time).collect::<Vec<_>>(), [None, None, Some(0.5)]);
    assert_eq!(records[0].stdout.as_deref(), Some("out"));
    // By the keys that the earlier version made.
    assert_eq!(requests(&log, RequestFilter::new().status("5xx".parse().unwrap())).await.len(), 1);
    assert_eq!(requests(&log, RequestFilter::new().tag("env", "prod")).await.len(), 2);

    // No row was rewritten, and one that ends now is.
    assert_eq!(number(&path, "SELECT count(*) FROM record WHERE outcome IS NOT NULL"), 0);
    let mut ended = open.clone();
    ended.response.status = Some(200);
    ended.end(Duration::from_millis(5), Outcome::Complete);
    log.put_requests(std::slice::from_ref(&ended)).await.unwrap();
    assert_eq!(requests(&log, RequestFilter::new()).await[1], ended);
    let summary = "SELECT count(*) FROM record WHERE (outcome, status, duration) = ('complete', 200, 5000)";
    assert_eq!(number(&path, summary), 1);
}

#[tokio::test]
async fn new_file_gives_pages_back_step_by_step() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    drop(Sqlite::open(&path).unwrap());
    assert_eq!(number(&path, "PRAGMA auto_vacuum"), 2, "incremental");
}

#[tokio::test]
async fn each_commit_has_a_number_and_the_rows_that_it_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    let log = AuditLog::new(Sqlite::open(&path).unwrap());
    let [mut first, second] = ["/first", "/second"].map(request);
    log.put_requests(std::slice::from_ref(&first)).await.unwrap();
    log.put_requests(std::slice::from_ref(&second)).await.unwrap();
    first.end(Duration::from_millis(5), Outcome::Complete);
    log.put_requests(std::slice::from_ref(&first)).await.unwrap();
    // What is there already is not changed.
    log.put_requests(std::slice::from_ref(&first)).await.unwrap();
    let connection = Connection::open(&path).unwrap();
    let mut select = connection.prepare("SELECT seq, id FROM committed ORDER BY seq, id").unwrap();
    let rows = select.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))).unwrap();
    let [first, second] = [first, second].map(|record| record.id.to_string());
    assert_eq!(rows.map(Result::unwrap).collect::<Vec<_>>(), [(1, first.clone()), (2, second), (3, first)]);
}

#[tokio::test]
async fn write_stops_if_another_process_has_brought_the_tables_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    let log = AuditLog::new(Sqlite::open(&path).unwrap());
    let put = || log.put(vec![AuditRecord::new(Uuid::now_v7(), Timestamp::now())]);
    put().await.unwrap();
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 1_000).unwrap();
    let error = put().await.unwrap_err().to_string();
    assert!(error.contains("a later version") && error.contains("update this program"), "{error}");
    assert_eq!(number(&path, "SELECT count(*) FROM record"), 1);
}

#[tokio::test]
async fn missing_records_are_kept_as_a_gap_in_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let audit = AuditLog::new(Sqlite::open(folder.path().join("audit.db")).unwrap());
    let log = LogStore::new(audit.clone()).queue_bytes(8 << 10).open().unwrap();
    let before = Timestamp::now();
    for _ in 0..3 {
        let mut large = request(&"x".repeat(8 << 10));
        large.end(Duration::from_millis(1), Outcome::Complete);
        let too_large = log.append(&large);
        assert_eq!(too_large.wait(LIMIT), Some(Err(AppendError::TooLarge)));
    }
    log.append(&request("/")).wait(LIMIT).unwrap().unwrap();
    log.close(LIMIT).await.unwrap();
    let gaps = audit.gaps(Window::ALL).await.unwrap();
    assert_eq!(gaps.iter().map(|gap| gap.count.unwrap()).sum::<u64>(), 3);
    assert!(gaps.iter().all(|gap| gap.why == "the record was larger than the queue" && gap.from >= before));
    assert_eq!(audit.gaps(Window::from(..before)).await.unwrap(), []);
}

#[tokio::test]
async fn store_of_version_4_keeps_its_gaps_and_has_writers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    Connection::open(&path).unwrap().execute_batch(include_str!("version_4.sql")).unwrap();
    let store = Sqlite::open(&path).unwrap();
    let log = AuditLog::new(store.clone());
    assert_eq!(number(&path, "PRAGMA user_version"), 5);
    let gaps = log.gaps(Window::ALL).await.unwrap();
    let [gap] = &*gaps else { panic!("expected one gap: {gaps:?}") };
    assert_eq!((gap.count, &*gap.why), (Some(7), "overload: the queue was full"));
    // A gap of that version has no id, and is not mistaken for another.
    store.put_gap(Uuid::now_v7(), gap).await.unwrap();
    assert_eq!(log.gaps(Window::ALL).await.unwrap().len(), 2);

    assert_eq!(log.writers().await.unwrap(), []);
    let report = WriterReport::new(Uuid::now_v7(), Timestamp::now());
    store.report(&report).await.unwrap();
    assert_eq!(log.writers().await.unwrap()[0].id, report.id);
    let [panicked, _] = &*requests(&log, RequestFilter::new()).await else { panic!("expected two requests") };
    log.put_requests(std::slice::from_ref(panicked)).await.unwrap();
    assert_eq!(number(&path, "SELECT last FROM sequence"), 3, "numbers of commits continue");
}
