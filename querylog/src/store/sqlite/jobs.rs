//! The jobs of exports in SQLite.

use async_trait::async_trait;
use rusqlite::types::FromSqlError;
use rusqlite::{CachedStatement, Connection, OptionalExtension, ToSql, params};

use crate::model::export_status::ExportState;
use crate::model::time::Timestamp;
use crate::store::StoreError;
use crate::store::job::Job;
use crate::store::job_statements::{self as statements, Insert, List};
use crate::store::jobs::{DamagedJob, FoundJob, JobLimit, JobList, Jobs};
use crate::store::sql::many;
use crate::store::sqlite::store::Sqlite;

#[async_trait]
impl Jobs for Sqlite {
    async fn insert(&self, job: Job, limit: JobLimit) -> Result<bool, StoreError> {
        let (body, scope) = (job.body_text()?, job.scope.to_string());
        let Insert { text, most, bounds } = statements::insert(&limit);
        self.change(move |connection| {
            let (state, created, due) = (job.state.as_str(), job.created.as_micros(), job.due.as_micros());
            let Job { id, owner, token, version, .. } = &job;
            let mut parameters: Vec<&dyn ToSql> =
                vec![id, owner, token, &scope, &state, version, &created, &due, &body, &most];
            parameters.extend(bounds.iter().map(|bound| bound as &dyn ToSql));
            changes(connection, &text, &parameters)
        })
        .await
    }

    async fn by_id(&self, id: &str) -> Result<Option<Job>, StoreError> {
        let id = id.to_owned();
        self.read(move |connection| prepared(connection, &statements::of_id())?.query_row([id], read_job).optional())
            .await
    }

    async fn by_token(&self, owner: &str, token: &str) -> Result<Option<Job>, StoreError> {
        let of = [owner, token].map(str::to_owned);
        self.read(move |connection| prepared(connection, &statements::of_token())?.query_row(of, read_job).optional())
            .await
    }

    async fn release_token(&self, owner: &str, token: &str, created: Timestamp) -> Result<(), StoreError> {
        let [owner, token] = [owner, token].map(str::to_owned);
        self.change(move |connection| {
            let parameters = params![owner, token, created.as_micros()];
            prepared(connection, statements::RELEASE_TOKEN)?.execute(parameters).map(drop)
        })
        .await
    }

    async fn list(&self, list: JobList, limit: usize) -> Result<Vec<FoundJob>, StoreError> {
        let List { text, before, limit, scopes } = statements::list(list, limit);
        self.read(move |connection| {
            let mut parameters: Vec<&dyn ToSql> = vec![&before.micros, &before.id, &limit];
            parameters.extend(scopes.iter().map(|text| text as &dyn ToSql));
            prepared(connection, &text)?.query_map(&*parameters, find_job)?.collect()
        })
        .await
    }

    async fn due(
        &self,
        states: &[ExportState],
        now: Timestamp,
        far: Timestamp,
        limit: usize,
    ) -> Result<Vec<FoundJob>, StoreError> {
        let text = statements::due(states);
        self.read(move |connection| {
            let parameters = params![now.as_micros(), far.as_micros(), many(limit)];
            prepared(connection, &text)?.query_map(parameters, find_job)?.collect()
        })
        .await
    }

    async fn compare_and_swap(&self, job: Job) -> Result<bool, StoreError> {
        let body = job.body_text()?;
        self.change(move |connection| {
            let parameters = params![job.id, job.version, job.state.as_str(), job.due.as_micros(), body];
            changes(connection, statements::COMPARE_AND_SWAP, parameters)
        })
        .await
    }

    async fn postpone(&self, id: &str, version: i64, due: Timestamp) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.change(move |connection| changes(connection, statements::POSTPONE, params![id, version, due.as_micros()]))
            .await
    }

    async fn delete(&self, id: &str, version: i64) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.change(move |connection| changes(connection, statements::DELETE, params![id, version])).await
    }
}

/// Prepares a statement. SQLite's parameters have a question mark.
fn prepared<'a>(connection: &'a Connection, text: &str) -> rusqlite::Result<CachedStatement<'a>> {
    connection.prepare_cached(&text.replace('$', "?"))
}

/// Runs a statement, and returns whether it changed a row. The change is committed at the end of the statement, which
/// comes after the row that it returns.
fn changes(connection: &Connection, text: &str, parameters: &[&dyn ToSql]) -> rusqlite::Result<bool> {
    let mut statement = prepared(connection, text)?;
    let mut rows = statement.query(parameters)?;
    let is_changed = rows.next()?.is_some();
    if is_changed {
        rows.next()?;
    }
    Ok(is_changed)
}

/// Reads one of several jobs.
fn find_job(row: &rusqlite::Row<'_>) -> rusqlite::Result<FoundJob> {
    let (id, version, created): (String, _, _) = (row.get(0)?, row.get(5)?, Timestamp::from_micros(row.get(6)?));
    Ok(read_job(row).map_err(|why| DamagedJob::new(id, version, created, StoreError::failed(why))))
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
        created: Timestamp::from_micros(row.get(6)?),
        due: Timestamp::from_micros(row.get(7)?),
        body,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Job {
        Job::new("1", "owner", "us-std".parse().unwrap(), Timestamp::from_micros(1))
    }

    fn limit(most: usize) -> JobLimit {
        JobLimit { most, counted: Vec::new() }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn insert_fails_while_the_file_is_moved_away() {
        let folder = tempfile::tempdir().unwrap();
        let [path, away] = ["audit.db", "away.db"].map(|name| folder.path().join(name));
        let store = Sqlite::open(&path).unwrap();
        std::fs::rename(&path, &away).unwrap();
        let error = store.insert(job(), limit(10)).await.unwrap_err().to_string();
        assert!(error.contains("restore it"), "{error}");
        std::fs::rename(&away, &path).unwrap();
        assert!(store.insert(job(), limit(10)).await.unwrap());
        assert_eq!(store.by_id("1").await.unwrap(), Some(job()));
    }

    #[tokio::test]
    async fn change_fails_if_it_cannot_be_committed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.db");
        let store = Sqlite::open(&path).unwrap();
        let job = job();
        let later = Timestamp::from_micros(2);
        store.insert(job.clone(), limit(10)).await.unwrap();
        // These triggers fail at the end of the transaction, as a full disk does.
        let admin = Connection::open(&path).unwrap();
        let text = "CREATE TABLE parent (id INTEGER PRIMARY KEY);
            CREATE TABLE child (id INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
            CREATE TRIGGER inserts AFTER INSERT ON export_job BEGIN INSERT INTO child VALUES (1); END;
            CREATE TRIGGER updates AFTER UPDATE ON export_job BEGIN INSERT INTO child VALUES (1); END;
            CREATE TRIGGER deletes AFTER DELETE ON export_job BEGIN INSERT INTO child VALUES (1); END";
        admin.execute_batch(text).unwrap();
        assert!(store.insert(Job { id: "2".into(), ..job.clone() }, limit(10)).await.is_err());
        assert!(store.compare_and_swap(Job { due: later, ..job.clone() }).await.is_err());
        assert!(store.postpone("1", 0, later).await.is_err());
        assert!(store.delete("1", 0).await.is_err());
        assert_eq!(store.by_id("1").await.unwrap(), Some(job.clone()));
        assert_eq!(store.by_id("2").await.unwrap(), None);
        admin.execute_batch("DROP TRIGGER inserts; DROP TRIGGER updates; DROP TRIGGER deletes").unwrap();
        for (version, is_changed) in [(7, false), (0, true)] {
            assert_eq!(store.postpone("1", version, later).await.unwrap(), is_changed);
        }
        assert!(store.compare_and_swap(Job { version: 1, ..job }).await.unwrap());
        assert!(store.delete("1", 2).await.unwrap());
        assert!(!store.delete("1", 2).await.unwrap());
    }
}
