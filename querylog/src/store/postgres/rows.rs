//! Rows as parameters of statements, and back.

use tokio_postgres::types::{FromSql, ToSql};

use crate::model::audit_record::AuditRecord;
use crate::model::cursor::Cursor;
use crate::model::gap::Gap;
use crate::model::record::Outcome;
use crate::model::time::Timestamp;
use crate::store::postgres::error::failed;
use crate::store::sql::{from_micros, whole_micros};
use crate::store::{ExportedRow, Members, Row, StoreError};

/// The columns of some rows.
#[derive(Default)]
pub(super) struct Columns<'a> {
    texts: [Vec<Option<&'a [u8]>>; 15],
    timestamps: Vec<i64>,
    times: Vec<Option<f64>>,
    caches: Vec<Option<bool>>,
    members: Vec<i64>,
    ended: Vec<bool>,
    outcomes: Vec<Option<&'static str>>,
    statuses: Vec<Option<i16>>,
    durations: Vec<Option<i64>>,
}

impl<'a> Columns<'a> {
    pub(super) fn of(rows: &[&'a Row]) -> Self {
        let mut columns = Self::default();
        for row in rows {
            let record = &row.record;
            let object = row.object.as_ref();
            let texts = [
                Some(record.id.as_str()),
                record.exec_env_id.as_deref(),
                record.user_id.as_deref(),
                record.user_email.as_deref(),
                record.udf_id.as_deref(),
                record.udf_name.as_deref(),
                record.execution_engine.as_deref(),
                record.shared_token.as_deref(),
                record.client_ip.as_deref(),
                object.map(|(name, _)| name.as_str()),
                row.details.as_deref(),
                record.stdout.as_deref(),
                record.stderr.as_deref(),
                record.udf_data.as_deref(),
                row.service.as_deref(),
            ];
            for (column, text) in columns.texts.iter_mut().zip(texts) {
                column.push(text.map(str::as_bytes));
            }
            columns.timestamps.push(record.timestamp.as_micros());
            columns.times.push(record.execution_time);
            columns.caches.push(record.cache);
            columns.members.push(object.map_or(0, |(_, members)| members.bits()));
            columns.ended.push(row.ended);
            columns.outcomes.push(row.outcome.map(Outcome::as_str));
            columns.statuses.push(row.status.and_then(|status| status.try_into().ok()));
            columns.durations.push(row.duration.map(whole_micros));
        }
        columns
    }

    /// Returns the columns in the order of [`COLUMNS`](crate::store::sql::COLUMNS).
    pub(super) fn parameters(&self) -> [&(dyn ToSql + Sync); 23] {
        let [id, env, user, email, udf_id, udf_name, engine, token, ip, object, details, stdout, stderr, data, service] =
            &self.texts;
        let Self { timestamps, times, caches, members, ended, outcomes, statuses, durations, .. } = self;
        [
            id, timestamps, env, user, email, udf_id, udf_name, engine, times, caches, token, ip, object, members,
            ended, details, stdout, stderr, data, service, outcomes, statuses, durations,
        ]
    }
}

pub(super) fn read_row(row: &tokio_postgres::Row) -> Result<Row, StoreError> {
    let text = |index: usize| -> Result<Option<String>, StoreError> {
        let bytes: Option<Vec<u8>> = get(row, index)?;
        bytes.map(String::from_utf8).transpose().map_err(StoreError::failed)
    };
    let id = text(0)?.unwrap_or_default().try_into().map_err(StoreError::failed)?;
    let members = Members::from_bits(get(row, 13)?);
    let record = AuditRecord {
        id,
        timestamp: Timestamp::from_micros(get(row, 1)?),
        exec_env_id: text(2)?,
        user_id: text(3)?,
        user_email: text(4)?,
        udf_id: text(5)?,
        udf_name: text(6)?,
        execution_engine: text(7)?,
        execution_time: get(row, 8)?,
        cache: get(row, 9)?,
        stdout: text(16)?,
        stderr: text(17)?,
        udf_data: text(18)?,
        shared_token: text(10)?,
        client_ip: text(11)?,
    };
    let object = text(12)?.map(|object| (object, members));
    let outcome: Option<&str> = get(row, 20)?;
    let (status, duration): (Option<i16>, Option<i64>) = (get(row, 21)?, get(row, 22)?);
    Ok(Row {
        object,
        details: text(15)?,
        service: text(19)?,
        outcome: outcome.and_then(|word| word.parse().ok()),
        status: status.map(i16::unsigned_abs),
        duration: duration.map(from_micros),
        ..Row::of(record, get(row, 14)?)
    })
}

/// Reads the position of a row whose first columns are a timestamp and an id.
pub(super) fn read_cursor(row: &tokio_postgres::Row) -> Result<Cursor, StoreError> {
    let id = String::from_utf8(get(row, 1)?).map_err(StoreError::failed)?;
    Ok(Cursor { micros: get(row, 0)?, id })
}

pub(super) fn read_gap(row: &tokio_postgres::Row) -> Result<Gap, StoreError> {
    let (count, why): (Option<i64>, &[u8]) = (get(row, 2)?, get(row, 3)?);
    Ok(Gap {
        from: Timestamp::from_micros(get(row, 0)?),
        to: Timestamp::from_micros(get(row, 1)?),
        count: count.map(i64::unsigned_abs),
        why: String::from_utf8_lossy(why).into_owned().into(),
    })
}

/// Reads a row of [`EXPORTED`](crate::store::postgres::statements::EXPORTED).
pub(super) fn read_exported(row: &tokio_postgres::Row) -> Result<ExportedRow, StoreError> {
    let id = String::from_utf8(get(row, 1)?).map_err(StoreError::failed)?;
    let details: Option<Vec<u8>> = get(row, 2)?;
    let details = details.map(String::from_utf8).transpose().map_err(StoreError::failed)?;
    Ok(ExportedRow::new(Cursor { micros: get(row, 0)?, id }, details))
}

pub(super) fn get<'a, T: FromSql<'a>>(row: &'a tokio_postgres::Row, index: usize) -> Result<T, StoreError> {
    row.try_get(index).map_err(failed)
}
