//! The jobs of exports in SQLite, and the records of one.

use async_trait::async_trait;
use rusqlite::types::{FromSqlError, Type};
use rusqlite::{Connection, OptionalExtension, ToSql, TransactionBehavior, params};

use super::Sqlite;
use crate::export_state::ExportState;
use crate::store::exports::{ExportStore, ExportedRow, Job, JobList, beneath};
use crate::store::{Key, Place, Range, StoreError};
use crate::window::Window;

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

/// How many bytes of details a page of an export has, but for its last row.
const PAGE_BYTES: usize = 8 << 20;

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
    async fn add_job(&self, job: Job, since: i64) -> Result<Job, StoreError> {
        let body = job.body_text()?;
        self.change(move |connection| add(connection, &job, &body, since)).await
    }

    async fn job(&self, id: &str) -> Result<Option<Job>, StoreError> {
        let id = id.to_owned();
        self.ask(move |connection| {
            let text = format!("SELECT {} FROM export_job WHERE id = ?1", Job::COLUMNS);
            connection.prepare_cached(&text)?.query_row([id], read_job).optional()
        })
        .await
    }

    async fn replace_job(&self, job: Job) -> Result<bool, StoreError> {
        let body = job.body_text()?;
        self.change(move |connection| {
            let text = "UPDATE export_job SET state = ?3, version = version + 1, due = ?4, body = ?5 \
                        WHERE id = ?1 AND version = ?2";
            let parameters = params![job.id, job.version, job.state.as_str(), job.due, body];
            Ok(connection.prepare_cached(text)?.execute(parameters)? == 1)
        })
        .await
    }

    async fn delete_job(&self, id: &str, version: i64) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.change(move |connection| {
            let text = "DELETE FROM export_job WHERE id = ?1 AND version = ?2";
            Ok(connection.prepare_cached(text)?.execute(params![id, version])? == 1)
        })
        .await
    }

    async fn jobs(&self, list: JobList, limit: usize) -> Result<Vec<Job>, StoreError> {
        self.ask(move |connection| jobs(connection, &list, limit)).await
    }

    async fn due_jobs(&self, states: &[ExportState], now: i64, far: i64, limit: usize) -> Result<Vec<Job>, StoreError> {
        let states = words(states);
        self.ask(move |connection| {
            let text = format!(
                "SELECT {} FROM export_job WHERE (due <= ?1 OR due > ?2) AND state IN ({states}) ORDER BY created LIMIT ?3",
                Job::COLUMNS
            );
            connection.prepare_cached(&text)?.query_map(params![now, far, many(limit)], read_job)?.collect()
        })
        .await
    }

    async fn any_open(&self, window: Window) -> Result<bool, StoreError> {
        let (start, end) = (window.start.as_micros(), window.end.as_micros());
        self.ask(move |connection| connection.prepare_cached(OPEN)?.exists([start, end])).await
    }

    async fn exported(&self, range: Range<Key>, limit: usize) -> Result<Vec<ExportedRow>, StoreError> {
        self.ask(move |connection| {
            let Range { of: key, after, before, .. } = &range;
            let parameters = params![key.as_bytes(), after.micros, after.id, before.micros, before.id, many(limit)];
            let read = |row: &rusqlite::Row<'_>| {
                let place = Place { micros: row.get(0)?, id: row.get(1)? };
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

fn add(connection: &mut Connection, job: &Job, body: &str, since: i64) -> rusqlite::Result<Job> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let old = "UPDATE export_job SET token = NULL WHERE owner = ?1 AND token = ?2 AND created <= ?3";
    transaction.execute(old, params![job.owner, job.token, since])?;
    let insert = format!(
        "INSERT INTO export_job ({}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO NOTHING",
        Job::COLUMNS
    );
    let state = job.state.as_str();
    let scope = job.scope.to_string();
    transaction.execute(
        &insert,
        params![job.id, job.owner, job.token, scope, state, job.version, job.created, job.due, body],
    )?;
    let select = format!(
        "SELECT {} FROM export_job WHERE id = ?1 OR (owner = ?2 AND token = ?3) ORDER BY id = ?1 LIMIT 1",
        Job::COLUMNS
    );
    let added = transaction.query_row(&select, params![job.id, job.owner, job.token], read_job)?;
    transaction.commit()?;
    Ok(added)
}

fn jobs(connection: &Connection, list: &JobList, limit: usize) -> rusqlite::Result<Vec<Job>> {
    let places = list.scopes.iter().enumerate().map(|(place, _)| 4 + 3 * place);
    let scopes = places.map(|n| format!("scope = ?{n} OR (scope >= ?{} AND scope < ?{})", n + 1, n + 2));
    let scopes = scopes.collect::<Vec<_>>().join(" OR ");
    let states = if list.states.is_empty() { words(&ExportState::ALL) } else { words(&list.states) };
    let text = format!(
        "SELECT {} FROM export_job WHERE (created, id) < (?1, ?2) AND ({}) AND state IN ({states}) \
         ORDER BY created DESC, id DESC LIMIT ?3",
        Job::COLUMNS,
        if scopes.is_empty() { "false" } else { &scopes },
    );
    let end = Place { micros: i64::MAX, id: String::new() };
    let before = list.before.as_ref().unwrap_or(&end);
    let texts: Vec<String> = list
        .scopes
        .iter()
        .flat_map(|scope| {
            let [first, behind] = beneath(scope);
            [scope.to_string(), first, behind]
        })
        .collect();
    let limit = many(limit);
    let mut parameters: Vec<&dyn ToSql> = vec![&before.micros, &before.id, &limit];
    parameters.extend(texts.iter().map(|text| text as &dyn ToSql));
    connection.prepare(&text)?.query_map(&*parameters, read_job)?.collect()
}

fn words(states: &[ExportState]) -> String {
    states.iter().map(|state| format!("'{state}'")).collect::<Vec<_>>().join(", ")
}

fn many(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn read_job(row: &rusqlite::Row<'_>) -> rusqlite::Result<Job> {
    let damaged = |column, error: Box<dyn std::error::Error + Send + Sync>| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, FromSqlError::Other(error).into())
    };
    let (scope, state, body): (String, String, String) = (row.get(3)?, row.get(4)?, row.get(8)?);
    Ok(Job {
        id: row.get(0)?,
        owner: row.get(1)?,
        token: row.get(2)?,
        scope: scope.parse().map_err(|error| damaged(3, Box::new(error)))?,
        state: state.parse().map_err(|error| damaged(4, Box::new(error)))?,
        version: row.get(5)?,
        created: row.get(6)?,
        due: row.get(7)?,
        body: serde_json::from_str(&body).map_err(|error| damaged(8, error.into()))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::Synchronous;
    use crate::store::sqlite::connections::open_writer;

    #[test]
    fn records_of_an_export_are_read_by_their_index_and_without_sorting() {
        let folder = tempfile::tempdir().unwrap();
        let connection = open_writer(&folder.path().join("audit.db"), Synchronous::Full).unwrap();
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
