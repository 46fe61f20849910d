//! Reading rows: by range, by position, by keys.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::time::timeout;
use tokio_postgres::IsolationLevel::RepeatableRead;
use tokio_postgres::types::ToSql;

use crate::model::cursor::Cursor;
use crate::model::distinct::Distinct;
use crate::store::postgres::error::failed;
use crate::store::postgres::rows::{read_cursor, read_row};
use crate::store::postgres::server::Server;
use crate::store::postgres::statements::{self, INDEXED};
use crate::store::sql::{COLUMNS, many, short_columns};
use crate::store::{Hits, Key, Row, RowRange, Selection, StoreError};

/// The placeholder of a value that is not read.
pub(super) const NULL: &str = "NULL::BYTEA";

impl Server {
    pub(super) async fn range(
        self: &Arc<Self>,
        columns: &str,
        range: &RowRange<Selection>,
        limit: usize,
    ) -> Result<Vec<tokio_postgres::Row>, StoreError> {
        let (text, values) = statements::range(columns, range);
        let limit = many(limit);
        let RowRange { after, before, .. } = range;
        let (after_id, before_id) = (after.id.as_bytes(), before.id.as_bytes());
        let indexed: Vec<&[u8]> = values.iter().map(|value| &value[..value.len().min(INDEXED)]).collect();
        let mut parameters: Vec<&(dyn ToSql + Sync)> =
            vec![&after.micros, &after_id, &before.micros, &before_id, &limit];
        for (value, indexed) in values.iter().zip(&indexed) {
            parameters.extend([value as &(dyn ToSql + Sync), indexed]);
        }
        self.query(self.limits().query, &text, &parameters).await
    }

    /// Reads the rows at some positions, in the same order. Those that do not exist are left out.
    async fn rows_of(self: &Arc<Self>, columns: &str, cursors: &[Cursor]) -> Result<Vec<Row>, StoreError> {
        let times: Vec<i64> = cursors.iter().map(|cursor| cursor.micros).collect();
        let ids: Vec<&[u8]> = cursors.iter().map(|cursor| cursor.id.as_bytes()).collect();
        let rows = self.query(self.limits().query, &statements::rows_at(columns), &[&times, &ids]).await?;
        let rows = rows.iter().map(read_row).collect::<Result<Vec<_>, _>>()?;
        let mut rows: HashMap<_, _> = rows.into_iter().map(|row| (Cursor::of(&row.record), row)).collect();
        Ok(cursors.iter().filter_map(|cursor| rows.remove(cursor)).collect())
    }

    /// Reads the first rows of a range, at most `scan`, and returns the first row of each value.
    pub(super) async fn first_of_each(
        self: Arc<Self>,
        range: RowRange<Selection>,
        of: Distinct,
        scan: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let columns = match of {
            Distinct::Names => "timestamp, id, udf_name",
            Distinct::Ids => "timestamp, id, udf_id",
        };
        let read = self.range(columns, &range, scan).await?;
        let mut seen = HashSet::new();
        let first = read.iter().filter(|row| row.get::<_, Option<&[u8]>>(2).is_some_and(|value| seen.insert(value)));
        let cursors = first.map(read_cursor).collect::<Result<Vec<_>, _>>()?;
        self.rows_of(COLUMNS, &cursors).await
    }

    /// Reads the rows that have all keys of a range.
    pub(super) async fn find(
        self: Arc<Self>,
        range: RowRange<Vec<Key>>,
        limit: usize,
        scan: usize,
    ) -> Result<Hits, StoreError> {
        let RowRange { of: keys, after, before, newest_first } = &range;
        let (after_id, before_id) = (after.id.as_bytes(), before.id.as_bytes());
        let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes().as_slice()).collect();
        let (first_key, scan, one_more) =
            (keys.first().copied().unwrap_or_default(), many(scan), many(limit.saturating_add(1)));
        let mut parameters: Vec<&(dyn ToSql + Sync)> =
            vec![&after.micros, &after_id, &before.micros, &before_id, &first_key, &scan];
        let last = parameters.clone();
        parameters.push(&one_more);
        parameters.extend(keys.iter().skip(1).map(|key| key as &(dyn ToSql + Sync)));
        self.tables().await?;
        let mut lease = self.lease().await?;
        let found = timeout(self.limits().query, async {
            // Both queries see the same entries: otherwise, new ones would move the last one.
            let transaction = lease.build_transaction().isolation_level(RepeatableRead).read_only(true);
            let transaction = transaction.start().await?;
            let statement = transaction.prepare_cached(&statements::entries(keys.len(), *newest_first)).await?;
            let found = transaction.query(&statement, &parameters).await?;
            if found.len() > limit {
                return Ok((found, None));
            }
            let statement = transaction.prepare_cached(&statements::last_entry(*newest_first)).await?;
            let last = transaction.query(&statement, &last).await?;
            // Only if there is one after it.
            Ok((found, last.into_iter().rev().nth(1)))
        });
        let found = found.await.map(|found| found.map_err(failed));
        let (found, last) = lease.finish(found)?;
        let mut cursors = found.iter().map(read_cursor).collect::<Result<Vec<_>, _>>()?;
        let last = last.as_ref().map(read_cursor).transpose()?;
        let behind = if cursors.len() > limit {
            cursors.truncate(limit);
            cursors.last().cloned()
        } else {
            last
        };
        Ok(Hits { rows: self.rows_of(&short_columns(NULL), &cursors).await?, behind })
    }
}
