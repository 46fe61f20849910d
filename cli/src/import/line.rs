//! A line of an imported file.

use serde_json::Value;
use serde_json::error::Category;
use tagtrail_querylog::Record;
use tagtrail_querylog::audit::AuditRecord;

/// A line that is a record.
pub(super) struct ImportLine {
    pub(super) number: u64,
    pub(super) text: Vec<u8>,
    pub(super) record: ImportRecord,
}

pub(super) enum ImportRecord {
    /// As the API returns it.
    Audit(Box<AuditRecord>),
    /// From a log's files.
    Request(Box<Record>),
}

impl ImportLine {
    pub(super) fn parse(number: u64, text: &[u8]) -> serde_json::Result<Self> {
        let record = match serde_json::from_slice(text) {
            Ok(record) => ImportRecord::Audit(record),
            Err(error) => ImportRecord::Request(serde_json::from_slice(text).map_err(|_| error)?),
        };
        Ok(Self { number, text: text.to_owned(), record })
    }

    pub(super) fn has_no_environment(&self) -> bool {
        match &self.record {
            ImportRecord::Audit(record) => record.exec_env_id.is_none(),
            ImportRecord::Request(request) => request.notes.caller.exec_env_id.is_none(),
        }
    }
}

/// Returns whether a line of a log's files is a gap.
pub(super) fn is_gap(line: &[u8]) -> bool {
    serde_json::from_slice(line).is_ok_and(|line: Value| line["gap"].is_object())
}

/// Describes an error without showing the line.
pub(super) fn describe(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        Category::Syntax | Category::Io => "invalid JSON",
        Category::Eof => "incomplete JSON",
        Category::Data => "not a record: members are missing or have other types",
    };
    format!("{what} (column {})", error.column())
}
