//! The records of an export in PostgreSQL, and the tables of its jobs.

use tokio_postgres::types::ToSql;

use super::Postgres;
use super::rows::get;
use crate::model::cursor::Cursor;
use crate::model::window::Window;
use crate::store::exported::{ExportedRow, PAGE_BYTES};
use crate::store::{Key, RowRange, StoreError, many};

/// The jobs of exports, and the index of open requests.
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

const OPEN: &str =
    "SELECT 1 FROM record WHERE NOT ended AND timestamp BETWEEN $1 AND $2 AND details IS NOT NULL LIMIT 1";

/// Rows until those before have this many bytes. The length of a value is known without reading it, so all but the rows of
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

impl Postgres {
    pub(super) async fn read_any_open(&self, window: Window) -> Result<bool, StoreError> {
        Ok(!self.query(OPEN, &[&window.start.as_micros(), &window.end.as_micros()]).await?.is_empty())
    }

    pub(super) async fn read_exported(
        &self,
        range: RowRange<Key>,
        limit: usize,
    ) -> Result<Vec<ExportedRow>, StoreError> {
        let RowRange { of: key, after, before, .. } = &range;
        let (key, after_id, before_id) = (key.as_bytes().as_slice(), after.id.as_bytes(), before.id.as_bytes());
        let (limit, bytes) = (many(limit), many(PAGE_BYTES));
        let parameters: [&(dyn ToSql + Sync); 7] =
            [&key, &after.micros, &after_id, &before.micros, &before_id, &limit, &bytes];
        self.query(EXPORTED, &parameters).await?.iter().map(read_row).collect()
    }
}

fn read_row(row: &tokio_postgres::Row) -> Result<ExportedRow, StoreError> {
    let id = String::from_utf8(get(row, 1)?).map_err(StoreError::failed)?;
    let details: Option<Vec<u8>> = get(row, 2)?;
    let details = details.map(String::from_utf8).transpose().map_err(StoreError::failed)?;
    Ok(ExportedRow::new(Cursor { micros: get(row, 0)?, id }, details))
}
