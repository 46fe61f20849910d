//! A record as an exported line: a flat object with names in capitals, for loading into a warehouse.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use serde::Serialize;
use tagtrail::TraceParent;

use crate::model::record::{Record, export_counters};
use crate::wire::json::write_line;
use crate::wire::members::TagMember;

/// Appends the line of a record, with a line feed.
pub(crate) fn write_record(record: &Record, api_version: &str, line: &mut Vec<u8>) -> io::Result<()> {
    write_line(&from_record(record, api_version)?, line)
}

/// The members of a line, in their order.
#[derive(Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) struct Exported<'a, Tags> {
    pub(crate) api_version: &'a str,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) byte_read_ops: u64,
    pub(crate) byte_write_ops: u64,
    pub(crate) compute_ops: u64,
    pub(crate) database: Vec<&'a str>,
    pub(crate) query_time_ms: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) rate_limits_hit: Vec<&'static str>,
    pub(crate) region_group: &'a str,
    pub(crate) request_headers: String,
    pub(crate) request_method: &'a str,
    pub(crate) response_code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shape: Option<&'a str>,
    pub(crate) tags: Tags,
    pub(crate) traceparent: String,
    pub(crate) ts: String,
    pub(crate) txn_retries: u64,
}

const LIMITS: [(&str, &str); 3] = [
    ("read", export_counters::READ_LIMITS_HIT),
    ("write", export_counters::WRITE_LIMITS_HIT),
    ("compute", export_counters::COMPUTE_LIMITS_HIT),
];

/// Returns which limits were hit, by the counters of a request.
pub(crate) fn limits_hit(counter: impl Fn(&str) -> u64) -> Vec<&'static str> {
    LIMITS.iter().filter(|(_, name)| counter(name) > 0).map(|(limit, _)| *limit).collect()
}

/// Returns headers as JSON in a string, with underscores in their names.
pub(crate) fn headers<'a>(headers: impl Iterator<Item = (&'a str, &'a str)>) -> io::Result<String> {
    let headers: BTreeMap<_, _> = headers.map(|(name, value)| (name.replace('-', "_"), value)).collect();
    Ok(serde_json::to_string(&headers)?)
}

pub(crate) fn whole_millis(duration: Option<Duration>) -> u64 {
    duration.map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

fn from_record<'a>(record: &'a Record, api_version: &'a str) -> io::Result<Exported<'a, TagMember>> {
    let Record { request, response, notes, .. } = record;
    Ok(Exported {
        api_version,
        bytes_in: request.body_bytes,
        bytes_out: response.body_bytes,
        byte_read_ops: notes.counter(export_counters::BYTE_READ_OPS),
        byte_write_ops: notes.counter(export_counters::BYTE_WRITE_OPS),
        compute_ops: notes.counter(export_counters::COMPUTE_OPS),
        database: notes.database.iter().map(String::as_str).collect(),
        query_time_ms: whole_millis(record.duration),
        rate_limits_hit: limits_hit(|name| notes.counter(name)),
        region_group: notes.region_group.as_deref().unwrap_or_default(),
        request_headers: headers(request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())))?,
        request_method: request.method.as_str(),
        response_code: response.status.unwrap_or_default().to_string(),
        shape: notes.shape.as_deref(),
        tags: TagMember(record.tags.clone()),
        traceparent: TraceParent::new(record.trace_id, record.span_id, record.flags).to_string(),
        ts: record.start_time.exported(),
        txn_retries: notes.counter(export_counters::TXN_RETRIES),
    })
}
