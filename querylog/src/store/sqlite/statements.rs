//! The SQL of queries and writes.

use crate::store::sql::{COLUMNS, REPLACED, short_columns};
use crate::store::{RowRange, Selection};

/// Returns the statement that reads a range, and its parameters apart from the two positions and the limit: the values
/// that columns of the index must equal. The index is named, since SQLite would otherwise choose another one, whose
/// pages it must filter.
pub(super) fn range<'a>(columns: &str, range: &'a RowRange<Selection>) -> (String, Vec<&'a str>) {
    let (index, value, values): (_, _, Vec<&str>) = match &range.of {
        Selection::User(email) => ("record_of_user", "user_email", vec![email]),
        Selection::Environment(id) => ("record_of_env", "exec_env_id", vec![id]),
        Selection::UdfId { environment, value } => ("record_of_udf_id", "udf_id", vec![value, environment]),
        Selection::UdfName { environment, value } => ("record_of_udf_name", "udf_name", vec![value, environment]),
        Selection::SharedToken { environment, value } => {
            ("record_of_shared_token", "shared_token", vec![value, environment])
        }
    };
    let environment = if values.len() > 1 { " AND exec_env_id = ?7" } else { "" };
    let order = if range.newest_first { "timestamp DESC, id DESC" } else { "timestamp, id" };
    let text = format!(
        "SELECT {columns} FROM record INDEXED BY {index} WHERE {value} = ?6{environment} \
         AND (timestamp, id) > (?1, ?2) AND (timestamp, id) < (?3, ?4) ORDER BY {order} LIMIT ?5"
    );
    (text, values)
}

/// Returns the statement that reads the entries of the first key, and whether their rows have the other keys too.
pub(super) fn entries(keys: usize, newest_first: bool) -> String {
    let order = if newest_first { "timestamp DESC, id DESC" } else { "timestamp, id" };
    let others = (1..keys).map(|index| {
        let number = 6 + index;
        format!(" AND EXISTS (SELECT 1 FROM entry WHERE (key, timestamp, id) = (?{number}, first.timestamp, first.id))")
    });
    format!(
        "SELECT timestamp, id, 1{} FROM entry AS first WHERE key = ?6 AND (timestamp, id) > (?1, ?2) \
         AND (timestamp, id) < (?3, ?4) ORDER BY {order} LIMIT ?5",
        others.collect::<String>()
    )
}

/// Returns the statement that reads a row without its output, by id and time: a row that existed before keeps its time.
pub(super) fn short_row() -> String {
    format!("SELECT {} FROM record WHERE id = ?1 AND timestamp = ?2", short_columns("NULL"))
}

/// Ends a row for which no index changes. This is the most common write, at half of the cost.
pub(super) const END: &str = "
    UPDATE record SET user_id = ?7, execution_engine = ?8, execution_time = ?9, cache = ?10, client_ip = ?11, stdout = ?12,
        stderr = ?13, udf_data = ?14, details = coalesce(?15, details), ended = 1, service = coalesce(?18, service),
        outcome = coalesce(?19, outcome), status = coalesce(?20, status), duration = coalesce(?21, duration)
    WHERE id = ?1 AND ended = 0 AND exec_env_id IS ?2 AND user_email IS ?3 AND udf_id IS ?4 AND udf_name IS ?5
        AND shared_token IS ?6 AND keys = ?16 AND timestamp = ?17 AND object IS NULL";

/// Takes the next number of the commit sequence.
pub(super) const NEXT_COMMIT: &str = "UPDATE sequence SET last = last + 1 RETURNING last";

/// Notes that a row was put or replaced by a commit.
pub(super) const COMMITTED: &str = "INSERT OR IGNORE INTO committed (seq, id, timestamp) VALUES (?1, ?2, ?3)";

pub(super) const PUT_GAP: &str = "
    INSERT INTO gap (id, from_time, to_time, count, why) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (id) DO UPDATE
    SET (from_time, to_time, count, why) = (excluded.from_time, excluded.to_time, excluded.count, excluded.why)";

/// Reads the last gaps of a window, and those of writers that are silent and not marked as lost yet.
pub(super) const GAPS: &str = "
    SELECT from_time, to_time, count, why FROM gap WHERE to_time >= ?1 AND from_time <= ?2
    UNION ALL
    SELECT min(written_through, ?4), ?4, NULL, ?6 FROM writer
    WHERE state = 'live' AND seen < ?5 AND ?4 >= ?1 AND min(written_through, ?4) <= ?2
    ORDER BY 2 DESC LIMIT ?3";

/// Finds a request of a window that has not ended.
pub(super) const OPEN: &str = "
    SELECT 1 FROM record INDEXED BY record_open
    WHERE ended = 0 AND timestamp BETWEEN ?1 AND ?2 AND details IS NOT NULL LIMIT 1";

/// Reads entries of a key, with what exports need of their rows.
pub(super) const EXPORTED: &str = "
    SELECT entry.timestamp, entry.id, record.details
    FROM entry LEFT JOIN record ON record.id = entry.id AND record.timestamp = entry.timestamp
    WHERE entry.key = ?1 AND (entry.timestamp, entry.id) > (?2, ?3) AND (entry.timestamp, entry.id) < (?4, ?5)
    ORDER BY entry.timestamp, entry.id LIMIT ?6";

/// Adds an entry to the index of keys, at the time of its row. When the end of a request is put, the entries of its
/// start exist.
pub(super) const ENTRY: &str = "INSERT OR IGNORE INTO entry (key, timestamp, id) VALUES (?1, ?2, ?3)";

/// Returns the statement that inserts a row, unless it exists.
pub(super) fn new_text() -> String {
    format!(
        "INSERT INTO record ({COLUMNS}, keys)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20,
            ?21, ?22, ?23, ?24)
        ON CONFLICT (id) DO NOTHING"
    )
}

/// Returns the statement that inserts or replaces a row, and returns its time, which is expensive.
pub(super) fn put_text() -> String {
    let new = new_text();
    let new = new.trim_end_matches("DO NOTHING");
    format!(
        "{new} DO UPDATE SET {REPLACED}, keys = excluded.keys
        WHERE record.ended < excluded.ended OR (record.execution_time IS NULL AND excluded.execution_time IS NOT NULL)
        RETURNING timestamp"
    )
}
