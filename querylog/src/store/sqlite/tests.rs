//! The plans of the statements, the tables, and opening files.

use std::time::Duration;

use rusqlite::Connection;

use crate::model::window::Window;
use crate::store::sql::{COLUMNS, short_columns};
use crate::store::sqlite::connections::open_writer;
use crate::store::sqlite::reader::read_range;
use crate::store::sqlite::rows::read_row;
use crate::store::sqlite::{Sqlite, Synchronous, statements, tables};
use crate::store::{RowRange, Selection, StoreError};

/// Returns the plan of a range: the index, and whether it sorts.
fn plan(connection: &Connection, columns: &str, range: &RowRange<Selection>) -> String {
    explained(connection, &statements::range(columns, range).0)
}

fn explained(connection: &Connection, text: &str) -> String {
    let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {text}")).unwrap();
    let nulls = vec![None::<i64>; explain.parameter_count()];
    let steps = explain.query_map(rusqlite::params_from_iter(nulls), |row| row.get::<_, String>(3)).unwrap();
    steps.map(Result::unwrap).collect::<Vec<_>>().join("; ")
}

#[test]
fn ranges_are_read_by_their_indexes_without_sorting() {
    let folder = tempfile::tempdir().unwrap();
    let connection = open_writer(&folder.path().join("audit.db"), Synchronous::Full, Duration::ZERO, false).unwrap();
    let (environment, value) = ("e".to_owned(), "v".to_owned());
    for (of, expected) in [
        (Selection::User(value.clone()), "record_of_user (user_email=?"),
        (Selection::Environment(value.clone()), "record_of_env (exec_env_id=?"),
        (
            Selection::UdfId { environment: environment.clone(), value: value.clone() },
            "record_of_udf_id (exec_env_id=? AND udf_id=?",
        ),
        (
            Selection::UdfName { environment: environment.clone(), value: value.clone() },
            "record_of_udf_name (exec_env_id=? AND udf_name=?",
        ),
        (Selection::SharedToken { environment, value }, "record_of_shared_token (exec_env_id=? AND shared_token=?"),
    ] {
        for newest_first in [false, true] {
            let range = RowRange::new(of.clone(), Window::ALL).newest_first(newest_first);
            let expected =
                format!("SEARCH record USING INDEX {expected} AND (timestamp,id)>(?,?) AND (timestamp,id)<(?,?))");
            for columns in [COLUMNS, &short_columns("NULL")] {
                assert_eq!(plan(&connection, columns, &range), expected);
            }
            if matches!(of, Selection::User(_) | Selection::Environment(_)) {
                for columns in ["rowid, udf_name", "rowid, udf_id"] {
                    let plan = plan(&connection, columns, &range);
                    assert_eq!(plan, expected.replace("USING INDEX", "USING COVERING INDEX"));
                }
            }
        }
    }
}

#[cfg(unix)]
#[test]
fn files_are_private_to_owner_and_group() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let _connection = open_writer(&folder.path().join("audit.db"), Synchronous::Full, Duration::ZERO, false).unwrap();
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap()).collect();
    assert!(files.len() > 1, "{files:?}");
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o037, 0, "{file:?}");
    }
}

#[test]
fn requests_are_found_by_the_index_of_keys_without_sorting() {
    let folder = tempfile::tempdir().unwrap();
    let connection = open_writer(&folder.path().join("audit.db"), Synchronous::Full, Duration::ZERO, false).unwrap();
    for newest_first in [false, true] {
        let first = "SEARCH first USING PRIMARY KEY (key=? AND (timestamp,id)>(?,?) AND (timestamp,id)<(?,?))";
        let other = "; SEARCH entry USING PRIMARY KEY (key=? AND timestamp=? AND id=?)";
        assert_eq!(explained(&connection, &statements::entries(1, newest_first)), first);
        let expected = format!("{first}; CORRELATED SCALAR SUBQUERY 1{other}; CORRELATED SCALAR SUBQUERY 2{other}");
        assert_eq!(explained(&connection, &statements::entries(3, newest_first)), expected);
    }
    assert_eq!(
        explained(&connection, &statements::short_row()),
        "SEARCH record USING INDEX sqlite_autoindex_record_1 (id=?)"
    );
}

#[test]
fn exported_records_are_read_by_their_index_without_sorting() {
    let folder = tempfile::tempdir().unwrap();
    let connection = open_writer(&folder.path().join("audit.db"), Synchronous::Full, Duration::ZERO, false).unwrap();
    for (text, plan) in [
        (
            statements::EXPORTED,
            "SEARCH entry USING PRIMARY KEY (key=? AND (timestamp,id)>(?,?) AND (timestamp,id)<(?,?)); \
             SEARCH record USING INDEX sqlite_autoindex_record_1 (id=?) LEFT-JOIN",
        ),
        (statements::OPEN, "SEARCH record USING INDEX record_open (timestamp>? AND timestamp<?)"),
    ] {
        assert_eq!(explained(&connection, text), plan);
    }
}

#[test]
fn file_of_an_earlier_version_is_migrated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(tables::VERSION_1).unwrap();
    let row = "INSERT INTO record (id, timestamp, exec_env_id, object_members, ended) VALUES (?1, 5, 'e', 0, 1)";
    old.execute(row, ["0190163d-8694-739b-aea5-966c26f8ad91"]).unwrap();
    old.execute("INSERT INTO secret VALUES (1, ?1)", [[7_u8; 32]]).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    drop(old);
    for _ in 0..2 {
        let new = open_writer(&path, Synchronous::Full, Duration::ZERO, false).unwrap();
        let range = RowRange::new(Selection::Environment("e".into()), Window::ALL);
        let rows = read_range(&new, COLUMNS, &range, 10, read_row).unwrap();
        assert_eq!((rows.len(), rows[0].record.timestamp.as_micros(), &rows[0].details), (1, 5, &None));
        let secret: [u8; 32] = new.query_row("SELECT bytes FROM secret", [], |row| row.get(0)).unwrap();
        assert_eq!(secret, [7; 32], "page tokens stay valid");
        assert_eq!(new.query_row("SELECT count(*) FROM entry", [], |row| row.get::<_, i64>(0)).unwrap(), 0);
    }
    for number in 0..=2 {
        let path = folder.path().join(format!("other-{number}.db"));
        let other = Connection::open(&path).unwrap();
        other.execute_batch("CREATE TABLE post (text TEXT)").unwrap();
        other.pragma_update(None, "user_version", number).unwrap();
        let error = open_writer(&path, Synchronous::Full, Duration::ZERO, false).unwrap_err().to_string();
        assert!(error.contains("something else"), "{error}");
        let tables: i64 = other.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
        assert_eq!(tables, 1, "it stays as it is");
    }
    let later = Connection::open(&path).unwrap();
    later.pragma_update(None, "user_version", 1_000).unwrap();
    let error = open_writer(&path, Synchronous::Full, Duration::ZERO, false).unwrap_err().to_string();
    assert!(error.contains("later version") && error.contains("update this program"), "{error}");
}

#[test]
fn existing_creates_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    let existing = || Sqlite::builder(&path).existing().open();
    assert_eq!(existing().unwrap_err().to_string(), "the file does not exist");
    assert!(!path.exists());
    std::fs::write(&path, "").unwrap();
    let error = existing().unwrap_err().to_string();
    assert_eq!(error, "there is no audit log in this file yet");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "no other file is created");
    assert_eq!(path.metadata().unwrap().len(), 0);
    drop(Sqlite::open(&path).unwrap());
    existing().unwrap();
}

#[test]
fn database_in_memory_is_rejected() {
    for path in [":memory:", ""] {
        let error = Sqlite::open(path).unwrap_err().to_string();
        assert!(error.contains("expected a file"), "{error}");
    }
}

#[tokio::test]
async fn question_is_interrupted_if_it_takes_too_long_or_its_caller_is_gone() {
    const ENDLESS: &str = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n";
    let folder = tempfile::tempdir().unwrap();
    let settings = Sqlite::builder(folder.path().join("audit.db")).readers(1);
    let store = settings.query_timeout(Duration::from_millis(50)).open().unwrap();
    let endless = || store.read(|connection| connection.query_row(ENDLESS, [], |row| row.get::<_, i64>(0)));
    let result = endless().await;
    assert!(matches!(result, Err(StoreError::Overloaded)), "{result:?}");
    assert!(tokio::time::timeout(Duration::from_millis(20), endless()).await.is_err());
    // The only reader is free again.
    let mut count = None;
    while count.is_none() {
        let read = store.read(|connection| connection.query_row("SELECT count(*) FROM record", [], |row| row.get(0)));
        count = read.await.ok();
    }
    assert_eq!(count, Some(0_i64));
}
