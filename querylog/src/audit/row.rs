//! Conversion between requests and rows.

use std::borrow::Cow;

use crate::audit::keys::keys_of;
use crate::model::audit_record::AuditRecord;
use crate::model::record::Record;
use crate::store::Row;
use crate::wire::line::{Line, stored};

/// The row of a request: with all that is known of it. A request that has no outcome has only started.
impl From<Record> for Row {
    fn from(record: Record) -> Self {
        row_of(record)
    }
}

/// Returns the row of a request.
pub(crate) fn row_of(record: Record) -> Row {
    let [keys, end_keys] = keys_of(&record);
    let (details, has_ended) = (stored(&record), record.has_ended());
    let (outcome, status, duration) = (record.response.outcome, record.response.status, record.duration);
    let service = record.service.clone().map(Cow::into_owned);
    Row {
        details: Some(details),
        service,
        outcome,
        status,
        duration,
        keys,
        end_keys,
        ..Row::of(record.into_audit(), has_ended)
    }
}

/// Returns the request of a row, without its output; `None` if the row is not of a request.
pub(crate) fn request_of(row: Row) -> Option<Record> {
    let columns = AuditRecord { stdout: None, stderr: None, udf_data: None, ..row.record };
    let request = Line::read_stored(row.details.as_deref()?, columns);
    let request = request.map(|record| Record { service: row.service.map(Cow::Owned), ..record });
    request.inspect_err(|error| tracing::error!(%error, "audit log: the details of a request are damaged")).ok()
}
