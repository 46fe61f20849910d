//! The jobs of exports in PostgreSQL, and the records of one.

use async_trait::async_trait;
use tokio_postgres::types::ToSql;

use super::Postgres;
use super::rows::get;
use crate::model::export_status::ExportState;
use crate::model::scan::{Cursor, Scan};
use crate::model::time::Timestamp;
use crate::model::window::Window;
use crate::store::exports::{DamagedJob, ExportStore, ExportedRow, FoundJob, Job, JobList, PAGE_BYTES};
use crate::store::job_statements::{self as statements, Listed};
use crate::store::{Key, StoreError, many};

/// Jobs of exports, and the index of requests that are open.
pub(super) const VERSION_3: &str = "
    CREATE TABLE IF NOT EXISTS export_job (
        id BYTEA NOT NULL PRIMARY KEY,
        owner BYTEA NOT NULL,
        token BYTEA,
        scope BYTEA NOT NULL,
        state BYTEA NOT NULL,
        version BIGINT NOT NULL,
        created BIGINT NOT NULL,
        due BIGINT NOT NULL,
        body BYTEA NOT NULL
    );
    CREATE UNIQUE INDEX IF NOT EXISTS export_job_of_token ON export_job (owner, token) WHERE token IS NOT NULL;
    CREATE INDEX IF NOT EXISTS export_job_by_time ON export_job (created, id);
    CREATE INDEX IF NOT EXISTS export_job_due ON export_job (due);
    CREATE INDEX IF NOT EXISTS record_open ON record (timestamp) WHERE NOT ended;
";

/// The clock, and not the time at which a transaction began, which may be one of somebody else.
const NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::BIGINT";

const OPEN: &str =
    "SELECT 1 FROM record WHERE NOT ended AND timestamp BETWEEN $1 AND $2 AND details IS NOT NULL LIMIT 1";

/// Rows until those before have so many bytes. The length of a value is known without reading it, so all but the rows of
/// the page cost little. `OFFSET 0` keeps it a look-up for each entry.
pub(super) const EXPORTED: &str = "
    SELECT timestamp, id, details
    FROM (SELECT first.timestamp, first.id, row.details,
              sum(octet_length(row.details)) OVER (
                  ORDER BY first.timestamp, first.id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
              ) AS bytes_before
          FROM (SELECT timestamp, id FROM entry
                WHERE key = $1 AND (timestamp, id) > ($2, $3) AND (timestamp, id) < ($4, $5)
                    AND timestamp >= $2 AND timestamp <= $4
                ORDER BY timestamp, id LIMIT $6) AS first
          LEFT JOIN LATERAL
              (SELECT details FROM record WHERE timestamp = first.timestamp AND id = first.id OFFSET 0) AS row ON true
         ) AS page
    WHERE coalesce(bytes_before, 0) < $7
    ORDER BY timestamp, id";

#[async_trait]
impl ExportStore for Postgres {
    async fn now(&self) -> Result<Option<Timestamp>, StoreError> {
        let rows = self.query(NOW, &[]).await?;
        rows.first().map(|row| get(row, 0).map(Timestamp::from_micros)).transpose()
    }

    async fn add_job(&self, job: Job, since: i64, most: usize) -> Result<Option<Job>, StoreError> {
        let (body, scope, state) = (job.body_text()?, job.scope.to_string(), job.state.as_str());
        let (id, owner) = (job.id.as_bytes(), job.owner.as_bytes());
        let token = job.token.as_deref().map(str::as_bytes);
        // Each of these is right for itself, whatever others do between them.
        self.query(statements::FREE_TOKEN, &[&owner, &token, &since]).await?;
        let (scope, state, body) = (scope.as_bytes(), state.as_bytes(), body.as_bytes());
        let Job { version, created, due, .. } = &job;
        let (later, is_later) = job.later();
        let waiting = self.query(&statements::count_waiting(), &[&owner, &later, &is_later]).await?;
        let waiting: i64 = waiting.first().map(|row| get(row, 0)).transpose()?.unwrap_or_default();
        if waiting < many(most) {
            let columns: [&(dyn ToSql + Sync); 9] = [&id, &owner, &token, &scope, &state, version, created, due, &body];
            self.query(&statements::insert(), &columns).await?;
        }
        self.query(&statements::of_id_or_token(), &[&id, &owner, &token]).await?.first().map(read_job).transpose()
    }

    async fn job(&self, id: &str) -> Result<Option<Job>, StoreError> {
        self.query(&statements::of_id(), &[&id.as_bytes()]).await?.first().map(read_job).transpose()
    }

    async fn replace_job(&self, job: Job) -> Result<bool, StoreError> {
        let body = job.body_text()?;
        let (id, state, body) = (job.id.as_bytes(), job.state.as_str().as_bytes(), body.as_bytes());
        Ok(!self.query(statements::REPLACE, &[&id, &job.version, &state, &job.due, &body]).await?.is_empty())
    }

    async fn delete_job(&self, id: &str, version: i64) -> Result<bool, StoreError> {
        Ok(!self.query(statements::DELETE, &[&id.as_bytes(), &version]).await?.is_empty())
    }

    async fn put_off_job(&self, id: &str, version: i64, due: i64) -> Result<bool, StoreError> {
        Ok(!self.query(statements::PUT_OFF, &[&id.as_bytes(), &version, &due]).await?.is_empty())
    }

    async fn jobs(&self, list: JobList, limit: usize) -> Result<Vec<FoundJob>, StoreError> {
        let Listed { text, before, limit, scopes } = statements::list(list, limit);
        let (id, scopes): (_, Vec<&[u8]>) = (before.id.as_bytes(), scopes.iter().map(String::as_bytes).collect());
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&before.micros, &id, &limit];
        parameters.extend(scopes.iter().map(|text| text as &(dyn ToSql + Sync)));
        self.query(&text, &parameters).await?.iter().map(find_job).collect()
    }

    async fn due_jobs(
        &self,
        states: &[ExportState],
        now: i64,
        far: i64,
        limit: usize,
    ) -> Result<Vec<FoundJob>, StoreError> {
        self.query(&statements::due(states), &[&now, &far, &many(limit)]).await?.iter().map(find_job).collect()
    }

    async fn any_open(&self, window: Window) -> Result<bool, StoreError> {
        Ok(!self.query(OPEN, &[&window.start.as_micros(), &window.end.as_micros()]).await?.is_empty())
    }

    async fn exported(&self, range: Scan<Key>, limit: usize) -> Result<Vec<ExportedRow>, StoreError> {
        let Scan { of: key, after, before, .. } = &range;
        let (key, after_id, before_id) = (key.as_bytes().as_slice(), after.id.as_bytes(), before.id.as_bytes());
        let (limit, bytes) = (many(limit), many(PAGE_BYTES));
        let parameters: [&(dyn ToSql + Sync); 7] =
            [&key, &after.micros, &after_id, &before.micros, &before_id, &limit, &bytes];
        let found = self.query(EXPORTED, &parameters).await?;
        found.iter().map(read_exported).collect()
    }
}

fn read_exported(row: &tokio_postgres::Row) -> Result<ExportedRow, StoreError> {
    let details: Option<&[u8]> = get(row, 2)?;
    let details =
        details.map(|bytes| str::from_utf8(bytes).map(str::to_owned)).transpose().map_err(StoreError::failed)?;
    Ok(ExportedRow { place: Cursor { micros: get(row, 0)?, id: text(row, 1)? }, details })
}

fn text(row: &tokio_postgres::Row, place: usize) -> Result<String, StoreError> {
    String::from_utf8(get(row, place)?).map_err(StoreError::failed)
}

/// One of several.
fn find_job(row: &tokio_postgres::Row) -> Result<FoundJob, StoreError> {
    let (id, version, created) = (text(row, 0)?, get(row, 5)?, get(row, 6)?);
    Ok(read_job(row).map_err(|why| DamagedJob { id, version, created, why }))
}

fn read_job(row: &tokio_postgres::Row) -> Result<Job, StoreError> {
    let token: Option<Vec<u8>> = get(row, 2)?;
    let (scope, state, body) = Job::read(&text(row, 3)?, &text(row, 4)?, &text(row, 8)?)?;
    Ok(Job {
        id: text(row, 0)?,
        owner: text(row, 1)?,
        token: token.map(String::from_utf8).transpose().map_err(StoreError::failed)?,
        scope,
        state,
        version: get(row, 5)?,
        created: get(row, 6)?,
        due: get(row, 7)?,
        body,
    })
}
