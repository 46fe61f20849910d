//! The records and gaps in a frame of a spool: lines of JSON.

use std::borrow::Cow;
use std::io;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use crate::model::audit_record::AuditRecord;
use crate::model::gap::Gap;
use crate::model::record::Record;
use crate::store::Row;
use crate::wire::gap::{read_gap, write_gap};
use crate::wire::line::Line;

/// A line: the columns of a record, and its other details.
#[derive(Serialize)]
struct Written<'a> {
    record: &'a AuditRecord,
    service: Option<&'a str>,
    details: &'a RawValue,
}

#[derive(Deserialize)]
struct Read<'a> {
    record: AuditRecord,
    service: Option<String>,
    #[serde(borrow)]
    details: &'a RawValue,
}

/// What a frame has.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) records: Vec<Record>,
    pub(super) gaps: Vec<(Uuid, Gap)>,
    /// How many lines cannot be read.
    pub(super) unreadable: u64,
}

/// Appends the line of a row, with these columns.
pub(super) fn write_row(record: &AuditRecord, row: &Row, to: &mut Vec<u8>) -> io::Result<()> {
    let details = serde_json::from_str(row.details.as_deref().unwrap_or("null"))?;
    serde_json::to_writer(&mut *to, &Written { record, service: row.service.as_deref(), details })?;
    to.push(b'\n');
    Ok(())
}

/// Appends the line of a gap: its id, and what files have of it.
pub(super) fn write_missing(id: Uuid, gap: &Gap, to: &mut Vec<u8>) -> io::Result<()> {
    to.extend_from_slice(id.to_string().as_bytes());
    to.push(b' ');
    write_gap(gap, to)
}

fn read_missing(line: &[u8]) -> Option<(Uuid, Gap)> {
    let (id, gap) = line.split_at_checked(Hyphenated::LENGTH)?;
    Some((Uuid::try_parse_ascii(id).ok()?, read_gap(gap).ok()?))
}

/// Reads the payload of a frame.
pub(super) fn read(payload: &[u8]) -> Entries {
    let mut entries = Entries::default();
    for line in payload.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        if let Ok(record) = read_record(line) {
            entries.records.push(record);
        } else if let Some(gap) = read_missing(line) {
            entries.gaps.push(gap);
        } else {
            entries.unreadable += 1;
        }
    }
    entries
}

fn read_record(line: &[u8]) -> Result<Record, serde_json::Error> {
    let Read { record, service, details } = serde_json::from_slice(line)?;
    Ok(Record { service: service.map(Cow::Owned), ..Line::read_stored(details.get(), record)? })
}

/// Returns the id of a gap. The same text has the same id, so a gap that is written again is stored once.
pub(super) fn id_of(text: &[u8]) -> Uuid {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&Sha256::digest(text)[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}
