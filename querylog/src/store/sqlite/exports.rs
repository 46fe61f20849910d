//! The records of an export in SQLite, and the tables of its jobs.

use super::Sqlite;
use crate::model::cursor::Cursor;
use crate::model::window::Window;
use crate::store::exported::{ExportedRow, PAGE_BYTES};
use crate::store::{Key, RowRange, StoreError, many};

/// The jobs of exports, and the index of open requests.
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

impl Sqlite {
    pub(super) async fn read_any_open(&self, window: Window) -> Result<bool, StoreError> {
        let (start, end) = (window.start.as_micros(), window.end.as_micros());
        self.ask(move |connection| connection.prepare_cached(OPEN)?.exists([start, end])).await
    }

    pub(super) async fn read_exported(
        &self,
        range: RowRange<Key>,
        limit: usize,
    ) -> Result<Vec<ExportedRow>, StoreError> {
        self.ask(move |connection| {
            let RowRange { of: key, after, before, .. } = &range;
            let parameters =
                rusqlite::params![key.as_bytes(), after.micros, after.id, before.micros, before.id, many(limit)];
            let read = |row: &rusqlite::Row<'_>| {
                let place = Cursor { micros: row.get(0)?, id: row.get(1)? };
                Ok(ExportedRow::new(place, row.get(2)?))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::Synchronous;
    use crate::store::sqlite::connections::open_writer;

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
