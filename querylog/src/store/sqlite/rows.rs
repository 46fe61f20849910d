//! Rows as parameters of statements, and back.

use rusqlite::{ToSql, params};

use crate::model::audit_record::AuditRecord;
use crate::model::record::Outcome;
use crate::model::time::Timestamp;
use crate::store::sql::{from_micros, whole_micros};
use crate::store::{Key, Members, Row};

/// Calls a function with the parameters that end a row.
pub(super) fn end_row<T>(row: &Row, write: impl FnOnce(&[&dyn ToSql]) -> T) -> T {
    let record = &row.record;
    write(params![
        record.id.as_str(),
        record.exec_env_id,
        record.user_email,
        record.udf_id,
        record.udf_name,
        record.shared_token,
        record.user_id,
        record.execution_engine,
        record.execution_time,
        record.cache,
        record.client_ip,
        record.stdout,
        record.stderr,
        record.udf_data,
        row.details,
        digest(&row.keys),
        record.timestamp.as_micros(),
        row.service,
        row.outcome.map(Outcome::as_str),
        row.status,
        row.duration.map(whole_micros),
    ])
}

/// Calls a function with the parameters that insert a row.
pub(super) fn write_row<T>(row: &Row, write: impl FnOnce(&[&dyn ToSql]) -> T) -> T {
    let record = &row.record;
    let (object, members) = row.object.as_ref().map_or((None, 0), |(object, members)| (Some(object), members.bits()));
    write(params![
        record.id.as_str(),
        record.timestamp.as_micros(),
        record.exec_env_id,
        record.user_id,
        record.user_email,
        record.udf_id,
        record.udf_name,
        record.execution_engine,
        record.execution_time,
        record.cache,
        record.shared_token,
        record.client_ip,
        object,
        members,
        row.ended,
        row.details,
        record.stdout,
        record.stderr,
        record.udf_data,
        row.service,
        row.outcome.map(Outcome::as_str),
        row.status,
        row.duration.map(whole_micros),
        digest(&row.keys),
    ])
}

/// Returns a number that identifies a set of keys.
fn digest(keys: &[Key]) -> i64 {
    let numbers = keys.iter().filter_map(|key| key.as_bytes().first_chunk()).map(|bytes| i64::from_ne_bytes(*bytes));
    numbers.fold(0, i64::wrapping_add)
}

pub(super) fn read_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let id: String = row.get(0)?;
    let id = id.try_into().map_err(|error| rusqlite::types::FromSqlError::Other(Box::new(error)))?;
    let object: Option<String> = row.get(12)?;
    let members = Members::from_bits(row.get(13)?);
    let record = AuditRecord {
        id,
        timestamp: Timestamp::from_micros(row.get(1)?),
        exec_env_id: row.get(2)?,
        user_id: row.get(3)?,
        user_email: row.get(4)?,
        udf_id: row.get(5)?,
        udf_name: row.get(6)?,
        execution_engine: row.get(7)?,
        execution_time: row.get(8)?,
        cache: row.get(9)?,
        stdout: row.get(16)?,
        stderr: row.get(17)?,
        udf_data: row.get(18)?,
        shared_token: row.get(10)?,
        client_ip: row.get(11)?,
    };
    let object = object.map(|object| (object, members));
    let outcome: Option<String> = row.get(20)?;
    let duration: Option<i64> = row.get(22)?;
    Ok(Row {
        object,
        details: row.get(15)?,
        service: row.get(19)?,
        outcome: outcome.and_then(|word| word.parse().ok()),
        status: row.get(21)?,
        duration: duration.map(from_micros),
        ..Row::of(record, row.get(14)?)
    })
}
