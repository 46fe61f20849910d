//! Long values: complete and inline at every endpoint, and kept in the object store instead of the row.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tagtrail_querylog::audit::{AuditRecord, QueryErrorKind, Questions};
use tagtrail_querylog::store::{Payloads, Row, Store, StoreError};
use tagtrail_querylog::{AuditLog, Timestamp};
use uuid::Uuid;

use crate::support::audit::{self, Server};

fn record(number: i64) -> AuditRecord {
    let mut record = AuditRecord::new(Uuid::now_v7(), Timestamp::from_micros(number));
    record.exec_env_id = Some("env1".into());
    record.user_email = Some("ada@example.com".into());
    record.udf_name = Some(format!("name {number}"));
    record.udf_id = Some("id".into());
    record.shared_token = Some("token".into());
    record.execution_time = Some(1.0);
    record
}

fn objects(server: &Server) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(server.folder.path().join("audit.db.payloads")).unwrap().map(|entry| entry.unwrap().path());
    let folders = entries.filter(|entry| entry.is_dir());
    folders.flat_map(|folder| fs::read_dir(folder).unwrap()).map(|file| file.unwrap().path()).collect()
}

async fn find(server: &Server, record: &AuditRecord) -> AuditRecord {
    server.log.scoped("env1").record(record.id.as_str()).await.unwrap()
}

fn age(path: &Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(std::time::SystemTime::now() - Duration::from_secs(7_200)).unwrap();
}

#[tokio::test]
async fn values_are_returned_complete_for_any_length() {
    let server = Server::start().await;
    // Two bytes per character: the limit counts bytes.
    for (number, (text, out)) in [
        ("é".repeat(51_199), 0),
        ("é".repeat(51_199) + "x", 0),
        ("é".repeat(51_200), 3),
        ("\0".repeat(102_401), 3),
        ("x".repeat(50_000_000), 3),
    ]
    .into_iter()
    .enumerate()
    {
        let before = objects(&server).len();
        let mut record = record(i64::try_from(number).unwrap());
        for member in [&mut record.stdout, &mut record.stderr, &mut record.udf_data] {
            *member = Some(text.clone());
        }
        server.log.put(vec![record.clone()]).await.unwrap();
        assert_eq!(objects(&server).len() - before, out, "{number}");
        let found = find(&server, &record).await;
        assert!(found == record, "{number}");
    }
    if let Ok(file) = fs::metadata(server.folder.path().join("audit.db")) {
        assert!(file.len() < 2_000_000, "{}", file.len());
    }
}

#[tokio::test]
async fn long_values_are_inline_at_every_endpoint() {
    let server = Server::start().await;
    let mut record = record(1);
    record.stderr = Some("e".repeat(102_400));
    server.log.put(vec![record.clone()]).await.unwrap();
    let expected = serde_json::to_value(&record).unwrap();
    let id = format!("/log/by-id/{}", record.id);
    for path in [
        "/log/self",
        "/log/exec-env/self",
        "/log/by-udf-id/id",
        "/log/by-udf-name/name%201",
        "/log/by-shared-token/token",
        "/log/distinct-udf-names/self",
        "/log/distinct-udf-names/exec-env/self",
        "/log/distinct-udf-id/self",
        "/log/distinct-udf-id/exec-env/self",
        &id,
    ] {
        assert!(server.get("ada", path).await.json["items"][0] == expected, "{path}");
    }
}

#[tokio::test]
async fn value_is_null_if_its_object_is_missing() {
    let server = Server::start().await;
    let (mut long, mut short) = (record(1), record(2));
    long.stdout = Some("x".repeat(200_000));
    long.stderr = Some("y".repeat(200_000));
    server.log.put(vec![long.clone()]).await.unwrap();
    let stdout = objects(&server).into_iter().find(|path| path.extension().unwrap() == "stdout").unwrap();
    short.stdout = Some(stdout.file_stem().unwrap().to_str().unwrap().to_owned());
    server.log.put(vec![short.clone()]).await.unwrap();

    fs::remove_file(&stdout).unwrap();
    let response = server.get("ada", "/log/self").await;
    assert_eq!(response.json["items"][0]["stdout"], Value::Null);
    assert_eq!(response.json["items"][0]["stderr"], long.stderr.unwrap());
    assert_eq!(response.json["items"][1]["stdout"], short.stdout.unwrap());

    fs::write(&stdout, b"\xff\xfe").unwrap();
    assert_eq!(server.get("ada", "/log/self").await.json["items"][0]["stdout"], Value::Null, "not UTF-8");
}

#[tokio::test]
async fn objects_without_a_record_are_swept() {
    let server = Server::start().await;
    let mut record = record(1);
    record.stdout = Some("x".repeat(200_000));
    server.log.put(vec![record.clone()]).await.unwrap();
    // The row stays as it is, so the second object has no row.
    server.log.put(vec![record.clone()]).await.unwrap();
    assert_eq!(objects(&server).len(), 2);
    let foreign = server.folder.path().join("audit.db.payloads/readme.txt");
    fs::write(&foreign, "not ours").unwrap();
    age(&foreign);

    assert_eq!(server.log.sweep(Duration::from_secs(3_600)).await.unwrap(), 0, "both are young");
    for path in objects(&server) {
        age(&path);
    }
    assert_eq!(server.log.sweep(Duration::from_secs(3_600)).await.unwrap(), 1);
    assert!(foreign.exists());
    assert!(find(&server, &record).await == record);
}

#[tokio::test]
async fn files_that_a_crash_left_incomplete_are_swept() {
    let server = Server::start().await;
    let mut record = record(1);
    record.stdout = Some("x".repeat(200_000));
    server.log.put(vec![record.clone()]).await.unwrap();
    let object = objects(&server).pop().unwrap();
    let staged = |suffix: &str| PathBuf::from(format!("{}{suffix}", object.display()));
    let (old, young, foreign) = (staged("#1"), staged("#2"), object.with_file_name("readme.txt#1"));
    for path in [&old, &young, &foreign] {
        fs::write(path, "part").unwrap();
    }
    age(&old);
    age(&foreign);
    assert_eq!(server.log.sweep(Duration::from_secs(3_600)).await.unwrap(), 1);
    assert!(!old.exists() && young.exists() && foreign.exists());
    assert!(find(&server, &record).await == record);
}

#[tokio::test]
async fn objects_are_swept_by_one_process_at_a_time() {
    let Some(store) = audit::postgres().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let log = AuditLog::new(store.clone()).payloads(Payloads::folder(folder.path()).unwrap());
    let mut record = record(1);
    record.stdout = Some("x".repeat(200_000));
    for _ in 0..2 {
        // The second object has no row.
        log.put(vec![record.clone()]).await.unwrap();
    }
    let other = Uuid::now_v7();
    let minute = Duration::from_secs(60);
    assert!(store.claim_sweep(other, minute).await.unwrap());
    assert!(store.claim_sweep(other, minute).await.unwrap(), "it renews its claim");
    assert_eq!(log.sweep(Duration::ZERO).await.unwrap(), 0);
    assert!(store.claim_sweep(other, Duration::ZERO).await.unwrap());
    assert_eq!(log.sweep(Duration::ZERO).await.unwrap(), 1);
    assert!(store.claim_sweep(Uuid::now_v7(), minute).await.unwrap(), "the sweep has released its claim");
}

#[cfg(unix)]
#[tokio::test]
async fn files_of_long_values_are_private_to_owner_and_group() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::start().await;
    let mut record = record(1);
    record.stdout = Some("x".repeat(200_000));
    server.log.put(vec![record]).await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let object = objects(&server).pop().unwrap();
    assert_eq!(mode(&object), 0o640);
    for folder in object.ancestors().skip(1).take(2) {
        assert_eq!(mode(folder), 0o750, "{folder:?}");
    }
}

#[tokio::test]
async fn long_value_is_stored_once_however_many_rows_are_rejected() {
    let server = Server::start().await;
    let [mut long, rejected] = [record(1), record(2)];
    long.stdout = Some("x".repeat(200_000));
    let mut rows: Vec<Row> = (3..20).map(|number| Row::of(record(number), true)).collect();
    rows.push(Row::of(long.clone(), true));
    rows.push(Row::of(rejected.clone(), true));
    let audit = rejecting(&server, rejected.id.as_str()).await;
    let result = audit.put_each(rows).await.unwrap();
    let [(18, StoreError::Rejected(_))] = &*result else { panic!("expected one rejection: {result:?}") };
    assert_eq!(objects(&server).len(), 1);
    assert!(audit.scoped("env1").record(long.id.as_str()).await.unwrap() == long);
    assert!(audit.put_each(Vec::new()).await.unwrap().is_empty());
}

/// Returns the log of a server, whose store rejects a row.
async fn rejecting(server: &Server, id: &str) -> AuditLog {
    let folder = server.folder.path();
    let path = folder.join("audit.db");
    if path.exists() {
        let trigger = format!(
            "CREATE TRIGGER rejects BEFORE INSERT ON record WHEN NEW.id = '{id}' BEGIN SELECT RAISE(ABORT, 'no'); END"
        );
        rusqlite::Connection::open(&path).unwrap().execute_batch(&trigger).unwrap();
        return server.log.clone();
    }
    let (settings, url) = audit::postgres_builder().await.unwrap();
    let store = settings.connect().await.unwrap();
    let (admin, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    admin.batch_execute(&format!("ALTER TABLE record ADD CHECK (id <> '{id}'::BYTEA)")).await.unwrap();
    AuditLog::new(store).payloads(Payloads::folder(folder.join("audit.db.payloads")).unwrap())
}

#[tokio::test]
async fn long_values_of_a_start_are_replaced_by_those_of_its_end() {
    let server = Server::start().await;
    for now in [None, Some("short".to_owned()), Some("y".repeat(200_000))] {
        let mut started = record(1);
        started.execution_time = None;
        started.udf_data = Some("x".repeat(200_000));
        let mut ended = record(1);
        (ended.id, ended.udf_data) = (started.id.clone(), now);
        server.log.begin(vec![started.clone()]).await.unwrap();
        assert!(find(&server, &started).await == started);
        server.log.put(vec![ended.clone()]).await.unwrap();
        assert!(find(&server, &started).await == ended);
    }
}

#[tokio::test]
async fn error_is_returned_if_the_object_store_is_gone() {
    let server = Server::start().await;
    let folder = server.folder.path().join("audit.db.payloads");
    fs::remove_dir_all(&folder).unwrap();
    fs::write(&folder, "a file").unwrap();
    let mut record = record(1);
    record.stdout = Some("x".repeat(200_000));
    assert!(server.log.put(vec![record.clone()]).await.is_err());
    let error = server.log.scoped("env1").record(record.id.as_str()).await.unwrap_err();
    assert_eq!(error.kind(), QueryErrorKind::NotFound, "no row is stored without its object");
}

#[cfg(not(feature = "s3"))]
#[test]
fn error_names_the_feature_that_an_object_store_requires() {
    use tagtrail_querylog::export::ExportFiles;

    let (url, expected) = ("s3://key:hunter2@bucket/folder", "requires the feature `s3`");
    for error in [Payloads::at(url).unwrap_err(), ExportFiles::at(url).unwrap_err()] {
        let message = error.to_string();
        assert!(
            message.contains(expected) && !message.contains("hunter2") && !message.contains("the store failed"),
            "{message}"
        );
    }
}
