//! A record as an exported line: a flat object of members in capitals, for what loads logs into a warehouse.

use std::collections::BTreeMap;
use std::io;

use serde::Serialize;
use tagtrail::TraceParent;

#[cfg(feature = "export")]
use crate::audit::AuditRecord;
#[cfg(feature = "export")]
use crate::details::Details;
#[cfg(feature = "export")]
use crate::export_scope::ExportScope;
use crate::line::{TagMember, write_line};
use crate::record::{Record, counters};
#[cfg(feature = "export")]
use crate::store::ExportedRow;
#[cfg(feature = "export")]
use crate::time::Timestamp;

/// Appends the line of a record, with its line feed.
pub(crate) fn write_record(record: &Record, api_version: &str, line: &mut Vec<u8>) -> io::Result<()> {
    write_line(&Exported::of(record, api_version)?, line)
}

/// Appends the line of a request as a store has it, if it is in the scope; and whether it is. What is damaged is left
/// out, and the log of the process says so.
#[cfg(feature = "export")]
pub(crate) fn write_details(
    row: &ExportedRow,
    scope: &ExportScope,
    api_version: &str,
    line: &mut Vec<u8>,
) -> io::Result<bool> {
    let Some(details) = &row.details else { return Ok(false) };
    let audit = AuditRecord::new(uuid::Uuid::nil(), Timestamp::from_micros(row.place.micros));
    let record = match Details::record(details, audit) {
        Ok(record) => record,
        Err(error) => {
            tracing::error!(%error, "export: the details of a request are damaged, and it is left out");
            return Ok(false);
        }
    };
    let is_in = record.notes.region_group.as_ref().is_some_and(|group| scope.has(group, &record.notes.database));
    if is_in {
        write_record(&record, api_version, line)?;
    }
    Ok(is_in)
}

/// The members of a line, in their order.
#[derive(Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
struct Exported<'a> {
    api_version: &'a str,
    bytes_in: u64,
    bytes_out: u64,
    byte_read_ops: u64,
    byte_write_ops: u64,
    compute_ops: u64,
    database: &'a [String],
    query_time_ms: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rate_limits_hit: Vec<&'static str>,
    region_group: &'a str,
    request_headers: String,
    request_method: &'a str,
    response_code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    shape: Option<&'a str>,
    tags: TagMember,
    traceparent: String,
    ts: String,
    txn_retries: u64,
}

const LIMITS: [(&str, &str); 3] = [
    ("read", counters::READ_LIMITS_HIT),
    ("write", counters::WRITE_LIMITS_HIT),
    ("compute", counters::COMPUTE_LIMITS_HIT),
];

impl<'a> Exported<'a> {
    fn of(record: &'a Record, api_version: &'a str) -> io::Result<Self> {
        let Record { request, response, notes, .. } = record;
        let headers: BTreeMap<_, _> =
            request.headers.iter().map(|(name, value)| (name.as_str().replace('-', "_"), value)).collect();
        let hit = LIMITS.iter().filter(|(_, counter)| notes.counter(counter) > 0);
        Ok(Self {
            api_version,
            bytes_in: request.body_bytes,
            bytes_out: response.body_bytes,
            byte_read_ops: notes.counter(counters::BYTE_READ_OPS),
            byte_write_ops: notes.counter(counters::BYTE_WRITE_OPS),
            compute_ops: notes.counter(counters::COMPUTE_OPS),
            database: &notes.database,
            query_time_ms: record.duration.map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            rate_limits_hit: hit.map(|(name, _)| *name).collect(),
            region_group: notes.region_group.as_deref().unwrap_or_default(),
            request_headers: serde_json::to_string(&headers)?,
            request_method: request.method.as_str(),
            response_code: response.status.unwrap_or_default().to_string(),
            shape: notes.shape.as_deref(),
            tags: TagMember(record.tags.clone()),
            traceparent: TraceParent::new(record.trace_id, record.operation_id, record.flags).to_string(),
            ts: record.begin.exported(),
            txn_retries: notes.counter(counters::TXN_RETRIES),
        })
    }
}
