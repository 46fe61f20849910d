//! The jobs of exports in SQLite, and the records of one.

use async_trait::async_trait;
use rusqlite::types::FromSqlError;
use rusqlite::{CachedStatement, Connection, OptionalExtension, ToSql, TransactionBehavior, params};

use super::Sqlite;
use crate::model::export_status::ExportState;
use crate::model::scan::{Cursor, Scan};
use crate::model::window::Window;
use crate::store::exports::{DamagedJob, ExportStore, ExportedRow, FoundJob, Job, JobList, PAGE_BYTES};
use crate::store::job_statements::{self as statements, Listed};
use crate::store::{Key, StoreError, many};

/// Jobs of exports, and the index of requests that are open.
pub(super) const VERSION_3: &str = "
    CREATE TABLE export_job (
        id TEXT NOT NULL PRIMARY KEY,
        owner TEXT NOT NULL,
        token TEXT,
        scope TEXT NOT NULL,
        state TEXT NOT NULL,
        version INTEGER NOT NULL,
        created INTEGER NOT NULL,
        due INTEGER NOT NULL,
        body TEXT NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX export_job_of_token ON export_job (owner, token) WHERE token IS NOT NULL;
    CREATE INDEX export_job_by_time ON export_job (created, id);
    CREATE INDEX export_job_due ON export_job (due);
    CREATE INDEX record_open ON record (timestamp) WHERE ended = 0;
";

const OPEN: &str = "
    SELECT 1 FROM record INDEXED BY record_open
    WHERE ended = 0 AND timestamp BETWEEN ?1 AND ?2 AND details IS NOT NULL LIMIT 1";

const EXPORTED: &str = "
    SELECT entry.timestamp, entry.id, record.details
    FROM entry LEFT JOIN record ON record.id = entry.id AND record.timestamp = entry.timestamp
    WHERE entry.key = ?1 AND (entry.timestamp, entry.id) > (?2, ?3) AND (entry.timestamp, entry.id) < (?4, ?5)
    ORDER BY entry.timestamp, entry.id LIMIT ?6";

#[async_trait]
impl ExportStore for Sqlite {
    async fn add_job(&self, job: Job, since: i64, most: usize) -> Result<Option<Job>, StoreError> {
        let body = job.body_text()?;
        self.change(move |connection| add(connection, &job, &body, since, most)).await
    }

    async fn job(&self, id: &str) -> Result<Option<Job>, StoreError> {
        let id = id.to_owned();
        self.ask(move |connection| prepared(connection, &statements::of_id())?.query_row([id], read_job).optional())
            .await
    }

    async fn replace_job(&self, job: Job) -> Result<bool, StoreError> {
        let body = job.body_text()?;
        self.change(move |connection| {
            let parameters = params![job.id, job.version, job.state.as_str(), job.due, body];
            changes(connection, statements::REPLACE, parameters)
        })
        .await
    }

    async fn delete_job(&self, id: &str, version: i64) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.change(move |connection| changes(connection, statements::DELETE, params![id, version])).await
    }

    async fn put_off_job(&self, id: &str, version: i64, due: i64) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.change(move |connection| changes(connection, statements::PUT_OFF, params![id, version, due])).await
    }

    async fn jobs(&self, list: JobList, limit: usize) -> Result<Vec<FoundJob>, StoreError> {
        let Listed { text, before, limit, scopes } = statements::list(list, limit);
        self.ask(move |connection| {
            let mut parameters: Vec<&dyn ToSql> = vec![&before.micros, &before.id, &limit];
            parameters.extend(scopes.iter().map(|text| text as &dyn ToSql));
            prepared(connection, &text)?.query_map(&*parameters, find_job)?.collect()
        })
        .await
    }

    async fn due_jobs(
        &self,
        states: &[ExportState],
        now: i64,
        far: i64,
        limit: usize,
    ) -> Result<Vec<FoundJob>, StoreError> {
        let text = statements::due(states);
        self.ask(move |connection| {
            prepared(connection, &text)?.query_map(params![now, far, many(limit)], find_job)?.collect()
        })
        .await
    }

    async fn any_open(&self, window: Window) -> Result<bool, StoreError> {
        let (start, end) = (window.start.as_micros(), window.end.as_micros());
        self.ask(move |connection| connection.prepare_cached(OPEN)?.exists([start, end])).await
    }

    async fn exported(&self, range: Scan<Key>, limit: usize) -> Result<Vec<ExportedRow>, StoreError> {
        self.ask(move |connection| {
            let Scan { of: key, after, before, .. } = &range;
            let parameters = params![key.as_bytes(), after.micros, after.id, before.micros, before.id, many(limit)];
            let read = |row: &rusqlite::Row<'_>| {
                let place = Cursor { micros: row.get(0)?, id: row.get(1)? };
                Ok(ExportedRow { place, details: row.get(2)? })
            };
            let (mut page, mut bytes) = (Vec::new(), 0);
            for row in connection.prepare_cached(EXPORTED)?.query_map(parameters, read)? {
                let row = row?;
                bytes += row.details.as_ref().map_or(0, String::len);
                page.push(row);
                if bytes >= PAGE_BYTES {
                    break;
                }
            }
            Ok(page)
        })
        .await
    }
}

/// SQLite's parameters have a question mark.
fn prepared<'a>(connection: &'a Connection, text: &str) -> rusqlite::Result<CachedStatement<'a>> {
    connection.prepare_cached(&text.replace('$', "?"))
}

/// Whether it changes a row. It is committed when the statement has ended, behind the row that says so.
fn changes(connection: &Connection, text: &str, parameters: &[&dyn ToSql]) -> rusqlite::Result<bool> {
    let mut statement = prepared(connection, text)?;
    let mut rows = statement.query(parameters)?;
    let is_there = rows.next()?.is_some();
    if is_there {
        rows.next()?;
    }
    Ok(is_there)
}

fn add(connection: &mut Connection, job: &Job, body: &str, since: i64, most: usize) -> rusqlite::Result<Option<Job>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    prepared(&transaction, statements::FREE_TOKEN)?.execute(params![job.owner, job.token, since])?;
    let (later, is_later) = job.later();
    let waiting: i64 = prepared(&transaction, &statements::count_waiting())?
        .query_row(params![job.owner, later, is_later], |row| row.get(0))?;
    if waiting < many(most) {
        let (scope, state) = (job.scope.to_string(), job.state.as_str());
        let Job { id, owner, token, version, created, due, .. } = job;
        let columns = params![id, owner, token, scope, state, version, created, due, body];
        prepared(&transaction, &statements::insert())?.execute(columns)?;
    }
    let added = prepared(&transaction, &statements::of_id_or_token())?
        .query_row(params![job.id, job.owner, job.token], read_job)
        .optional()?;
    transaction.commit()?;
    Ok(added)
}

/// One of several.
fn find_job(row: &rusqlite::Row<'_>) -> rusqlite::Result<FoundJob> {
    let (id, version, created) = (row.get(0)?, row.get(5)?, row.get(6)?);
    Ok(read_job(row).map_err(|why| DamagedJob { id, version, created, why: StoreError::failed(why) }))
}

fn read_job(row: &rusqlite::Row<'_>) -> rusqlite::Result<Job> {
    let [scope, state, body]: [String; 3] = [row.get(3)?, row.get(4)?, row.get(8)?];
    let read = Job::read(&scope, &state, &body);
    let (scope, state, body) = read.map_err(|error| FromSqlError::Other(error.into()))?;
    Ok(Job {
        id: row.get(0)?,
        owner: row.get(1)?,
        token: row.get(2)?,
        scope,
        state,
        version: row.get(5)?,
        created: row.get(6)?,
        due: row.get(7)?,
        body,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::JobBody;
    use crate::store::sqlite::Synchronous;
    use crate::store::sqlite::connections::open_writer;

    fn job() -> Job {
        Job {
            id: "1".into(),
            owner: "owner".into(),
            token: None,
            scope: "us-std".parse().unwrap(),
            state: ExportState::Pending,
            version: 0,
            created: 1,
            due: 1,
            body: JobBody::default(),
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn no_job_is_taken_into_a_file_that_nobody_finds() {
        let folder = tempfile::tempdir().unwrap();
        let [path, away] = ["audit.db", "away.db"].map(|name| folder.path().join(name));
        let store = Sqlite::open(&path).unwrap();
        std::fs::rename(&path, &away).unwrap();
        let error = store.add_job(job(), 0, 10).await.unwrap_err().to_string();
        assert!(error.contains("bring it back"), "{error}");
        std::fs::rename(&away, &path).unwrap();
        assert_eq!(store.add_job(job(), 0, 10).await.unwrap(), Some(job()));
    }

    #[tokio::test]
    async fn a_change_that_is_not_committed_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.db");
        let store = Sqlite::open(&path).unwrap();
        let job = job();
        store.add_job(job.clone(), 0, 10).await.unwrap();
        // What fails at the end of the transaction, as a disk that is full does.
        let admin = Connection::open(&path).unwrap();
        let text = "CREATE TABLE parent (id INTEGER PRIMARY KEY);
            CREATE TABLE child (id INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
            CREATE TRIGGER updates AFTER UPDATE ON export_job BEGIN INSERT INTO child VALUES (1); END;
            CREATE TRIGGER deletes AFTER DELETE ON export_job BEGIN INSERT INTO child VALUES (1); END";
        admin.execute_batch(text).unwrap();
        assert!(store.replace_job(Job { due: 2, ..job.clone() }).await.is_err());
        assert!(store.put_off_job("1", 0, 2).await.is_err());
        assert!(store.delete_job("1", 0).await.is_err());
        assert_eq!(store.job("1").await.unwrap(), Some(job.clone()));
        // And where it does not fail, whether there was such a job.
        admin.execute_batch("DROP TRIGGER updates; DROP TRIGGER deletes").unwrap();
        for (version, is_there) in [(7, false), (0, true)] {
            assert_eq!(store.put_off_job("1", version, 2).await.unwrap(), is_there);
        }
        assert!(store.replace_job(Job { version: 1, ..job }).await.unwrap());
        assert!(store.delete_job("1", 2).await.unwrap());
        assert!(!store.delete_job("1", 2).await.unwrap());
    }

    #[test]
    fn records_of_an_export_are_read_by_their_index_and_without_sorting() {
        let folder = tempfile::tempdir().unwrap();
        let connection = open_writer(&folder.path().join("audit.db"), Synchronous::Full, false).unwrap();
        for (text, plan) in [
            (
                EXPORTED,
                "SEARCH entry USING PRIMARY KEY (key=? AND (timestamp,id)>(?,?) AND (timestamp,id)<(?,?)); \
                 SEARCH record USING INDEX sqlite_autoindex_record_1 (id=?) LEFT-JOIN",
            ),
            (OPEN, "SEARCH record USING INDEX record_open (timestamp>? AND timestamp<?)"),
        ] {
            let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {text}")).unwrap();
            let nulls = vec![None::<i64>; explain.parameter_count()];
            let steps = explain.query_map(rusqlite::params_from_iter(nulls), |row| row.get::<_, String>(3)).unwrap();
            assert_eq!(steps.map(Result::unwrap).collect::<Vec<_>>().join("; "), plan);
        }
    }
}
