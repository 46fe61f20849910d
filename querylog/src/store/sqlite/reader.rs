//! The queries, each on one connection.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, ToSql, Transaction, params};

use crate::model::cursor::Cursor;
use crate::model::distinct::Distinct;
use crate::store::exported::PAGE_BYTES;
use crate::store::sql::{COLUMNS, many};
use crate::store::sqlite::rows::read_row;
use crate::store::sqlite::statements;
use crate::store::{ExportedRow, Hits, Key, Row, RowRange, Selection};

/// Reads the first rows of a range.
pub(super) fn read_range<T>(
    connection: &Connection,
    columns: &str,
    range: &RowRange<Selection>,
    limit: usize,
    read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    let (text, values) = statements::range(columns, range);
    let limit = many(limit);
    let RowRange { after, before, .. } = range;
    let mut parameters: Vec<&dyn ToSql> = vec![&after.micros, &after.id, &before.micros, &before.id, &limit];
    parameters.extend(values.iter().map(|value| value as &dyn ToSql));
    connection.prepare_cached(&text)?.query_map(&*parameters, read)?.collect()
}

/// Reads the first row of each value in a range.
pub(super) fn first_of_each(
    transaction: &Transaction<'_>,
    range: &RowRange<Selection>,
    of: Distinct,
    scan: usize,
) -> rusqlite::Result<Vec<Row>> {
    let columns = match of {
        Distinct::Names => "rowid, udf_name",
        Distinct::Ids => "rowid, udf_id",
    };
    let read = read_range(transaction, columns, range, scan, |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, Option<String>>(1)?))
    })?;
    let mut seen = HashSet::new();
    let mut select = transaction.prepare_cached(&format!("SELECT {COLUMNS} FROM record WHERE rowid = ?1"))?;
    let first = read.into_iter().filter(|(_, value)| value.as_ref().is_some_and(|v| seen.insert(v.clone())));
    first.map(|(rowid, _)| select.query_row([rowid], read_row)).collect()
}

/// Reads the rows in a range that have all of its keys.
pub(super) fn find(
    transaction: &Transaction<'_>,
    range: &RowRange<Vec<Key>>,
    limit: usize,
    scan: usize,
) -> rusqlite::Result<Hits> {
    let RowRange { of: keys, after, before, newest_first } = range;
    // One more than the limit shows whether there are more.
    let at_most = many(scan.saturating_add(1));
    let mut parameters: Vec<&dyn ToSql> = vec![&after.micros, &after.id, &before.micros, &before.id, &at_most];
    parameters.extend(keys.iter().map(|key| key.as_bytes() as &dyn ToSql));
    let mut entries = transaction.prepare_cached(&statements::entries(keys.len(), *newest_first))?;
    let mut entries = entries.query(&*parameters)?;
    let mut select = transaction.prepare_cached(&statements::short_row())?;
    let (mut rows, mut read, mut last) = (Vec::new(), 0, None);
    while let Some(entry) = entries.next()? {
        if rows.len() == limit || read == scan {
            return Ok(Hits { rows, behind: last });
        }
        let cursor = Cursor { micros: entry.get(0)?, id: entry.get(1)? };
        if entry.get(2)? {
            rows.extend(select.query_row(params![cursor.id, cursor.micros], read_row).optional()?);
        }
        (read, last) = (read + 1, Some(cursor));
    }
    Ok(Hits { rows, behind: None })
}

/// Reads a page of an export.
pub(super) fn exported(
    connection: &Connection,
    range: &RowRange<Key>,
    limit: usize,
) -> rusqlite::Result<Vec<ExportedRow>> {
    let RowRange { of: key, after, before, .. } = range;
    let parameters = params![key.as_bytes(), after.micros, after.id, before.micros, before.id, many(limit)];
    let read = |row: &rusqlite::Row<'_>| {
        let cursor = Cursor { micros: row.get(0)?, id: row.get(1)? };
        Ok(ExportedRow::new(cursor, row.get(2)?))
    };
    let (mut page, mut bytes) = (Vec::new(), 0);
    for row in connection.prepare_cached(statements::EXPORTED)?.query_map(parameters, read)? {
        let row = row?;
        bytes += row.details.as_ref().map_or(0, String::len);
        page.push(row);
        if bytes >= PAGE_BYTES {
            break;
        }
    }
    Ok(page)
}
