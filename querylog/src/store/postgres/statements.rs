//! The SQL of queries and writes.

use crate::store::postgres::partitions::Partition;
use crate::store::postgres::tables;
use crate::store::sql::{COLUMNS, REPLACED};
use crate::store::{RowRange, Selection};

/// How many bytes of a text an index has.
pub(super) const INDEXED: usize = 200;

/// The condition of rows between two positions. The times alone select the partitions.
const BETWEEN: &str =
    "(timestamp, id) > ($1, $2) AND (timestamp, id) < ($3, $4) AND timestamp >= $1 AND timestamp <= $3";

/// Returns the statement that reads a range, and its parameters apart from the two positions and the limit: the texts
/// that columns must equal.
pub(super) fn range<'a>(columns: &str, range: &'a RowRange<Selection>) -> (String, Vec<&'a [u8]>) {
    let (names, values): (&[&str], Vec<&str>) = match &range.of {
        Selection::User(email) => (&["user_email"], vec![email]),
        Selection::Environment(id) => (&["exec_env_id"], vec![id]),
        Selection::UdfId { environment, value } => (&["exec_env_id", "udf_id"], vec![environment, value]),
        Selection::UdfName { environment, value } => (&["exec_env_id", "udf_name"], vec![environment, value]),
        Selection::SharedToken { environment, value } => (&["exec_env_id", "shared_token"], vec![environment, value]),
    };
    let equal = names.iter().enumerate().map(|(index, name)| {
        let (whole, indexed) = (6 + 2 * index, 7 + 2 * index);
        format!("{name} = ${whole} AND substr({name}, 1, {INDEXED}) = ${indexed} AND ")
    });
    let equal: String = equal.collect();
    let order = order(range.newest_first);
    let text = format!("SELECT {columns} FROM record WHERE {equal}{BETWEEN} ORDER BY {order} LIMIT $5");
    (text, values.into_iter().map(str::as_bytes).collect())
}

/// Returns the statement that inserts or replaces rows, and returns the ids and times of those that it changed.
pub(super) fn put(partition: Option<Partition>) -> String {
    let key = tables::record_key(partition);
    let insert = insert(&format!(
        "ON CONFLICT ({key}) DO UPDATE SET {REPLACED}
        WHERE (NOT record.ended AND excluded.ended)
            OR (record.execution_time IS NULL AND excluded.execution_time IS NOT NULL)"
    ));
    committing(&insert, "ON CONFLICT DO NOTHING")
}

/// Returns the statement that inserts the rows that do not exist, and returns their ids and times.
pub(super) fn put_new(partition: Option<Partition>) -> String {
    committing(&insert(&format!("ON CONFLICT ({}) DO NOTHING", tables::record_key(partition))), "")
}

/// The statement that ends rows which have started, and returns their ids and times. To update a row costs less than to
/// find out that it cannot be inserted.
pub(super) fn end() -> String {
    let set = REPLACED.replace("excluded.", "new.");
    let update = format!(
        "UPDATE record SET {set} FROM {ROWS} AS new ({COLUMNS})
        WHERE record.id = new.id AND record.timestamp = new.timestamp AND NOT record.ended
        RETURNING record.id, record.timestamp"
    );
    committing(&update, "")
}

fn insert(conflict: &str) -> String {
    format!("INSERT INTO record ({COLUMNS}) SELECT * FROM {ROWS} {conflict} RETURNING id, timestamp")
}

/// Notes each row that a statement puts or replaces, under the number of the transaction. `conflict` is for a row that
/// was put by an earlier statement of the transaction.
fn committing(put: &str, conflict: &str) -> String {
    format!(
        "WITH put AS ({put}), noted AS (
            INSERT INTO committed (seq, id, timestamp)
            SELECT (SELECT seq_base FROM about) + txid_current(), id, timestamp FROM put {conflict}
        )
        SELECT id, timestamp FROM put"
    )
}

/// Rows, column by column.
const ROWS: &str = "
    unnest($1::BYTEA[], $2::BIGINT[], $3::BYTEA[], $4::BYTEA[], $5::BYTEA[], $6::BYTEA[], $7::BYTEA[], $8::BYTEA[],
        $9::DOUBLE PRECISION[], $10::BOOLEAN[], $11::BYTEA[], $12::BYTEA[], $13::BYTEA[], $14::BIGINT[], $15::BOOLEAN[],
        $16::BYTEA[], $17::BYTEA[], $18::BYTEA[], $19::BYTEA[], $20::BYTEA[], $21::TEXT[], $22::SMALLINT[],
        $23::BIGINT[])";

pub(super) const PUT_GAP: &str = "
    INSERT INTO gap (id, from_time, to_time, count, why) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO UPDATE
    SET (from_time, to_time, count, why) = (excluded.from_time, excluded.to_time, excluded.count, excluded.why)";

/// Claims the sweep for some microseconds, unless another process has it.
pub(super) const CLAIM_SWEEP: &str = "
    UPDATE about SET sweeper = $1, swept_until = (extract(epoch FROM clock_timestamp()) * 1000000)::BIGINT + $2
    WHERE sweeper = $1 OR swept_until <= (extract(epoch FROM clock_timestamp()) * 1000000)::BIGINT RETURNING 1";

/// Finds a request of a window that has not ended.
pub(super) const OPEN: &str =
    "SELECT 1 FROM record WHERE NOT ended AND timestamp BETWEEN $1 AND $2 AND details IS NOT NULL LIMIT 1";

/// Reads entries of a key and the details of their rows, until the rows before have this many bytes. The length of a
/// value is known without reading it, so rows that are not in the page cost little. `OFFSET 0` keeps it a lookup for
/// each entry.
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

/// Inserts the entries of new rows.
pub(super) const PUT_NEW_ENTRIES: &str =
    "INSERT INTO entry (key, timestamp, id) SELECT * FROM unnest($1::BYTEA[], $2::BIGINT[], $3::BYTEA[])";

/// Adds entries to the index of keys. When the end of a request is put, the entries of its start exist.
pub(super) const PUT_ENTRIES: &str = "
    INSERT INTO entry (key, timestamp, id) SELECT * FROM unnest($1::BYTEA[], $2::BIGINT[], $3::BYTEA[])
    ON CONFLICT (key, timestamp, id) DO NOTHING";

/// Returns the statement that reads rows by position. `OFFSET 0` keeps it a lookup for each position, whatever the
/// planner assumes about the table.
pub(super) fn rows_at(columns: &str) -> String {
    format!(
        "SELECT found.* FROM unnest($1::BIGINT[], $2::BYTEA[]) AS place (micros, name) CROSS JOIN LATERAL \
         (SELECT {columns} FROM record WHERE timestamp = place.micros AND id = place.name OFFSET 0) AS found"
    )
}

/// Returns the statement that reads the entries of the first key.
fn first_entries(newest_first: bool) -> String {
    let order = order(newest_first);
    format!("SELECT timestamp, id FROM entry WHERE key = $5 AND {BETWEEN} ORDER BY {order}")
}

/// Returns the statement that finds the last entry within the limit, if there are that many, and the one after it.
pub(super) fn last_entry(newest_first: bool) -> String {
    format!("{} LIMIT 2 OFFSET $6::BIGINT - 1", first_entries(newest_first))
}

/// Returns the statement that reads entries whose rows have the other keys too. `OFFSET 0` keeps it a lookup for each
/// entry: a join would read all entries of another key if the planner assumes that they are few.
pub(super) fn entries(keys: usize, newest_first: bool) -> String {
    let others = (1..keys).map(|index| {
        let number = 7 + index;
        format!(
            " AND EXISTS \
             (SELECT 1 FROM entry WHERE key = ${number} AND timestamp = first.timestamp AND id = first.id OFFSET 0)"
        )
    });
    let (first, others) = (first_entries(newest_first), others.collect::<String>());
    let order = order(newest_first);
    format!("SELECT timestamp, id FROM ({first} LIMIT $6) AS first WHERE true{others} ORDER BY {order} LIMIT $7")
}

fn order(newest_first: bool) -> &'static str {
    if newest_first { "timestamp DESC, id DESC" } else { "timestamp, id" }
}
