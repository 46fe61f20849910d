//! Stores lines in batches.

use tagtrail_querylog::AuditLog;
use tagtrail_querylog::store::{Row, StoreError};

use super::line::{ImportLine, ImportRecord};

/// A batch is full if it has this many records, or this many bytes.
const MAX_RECORDS: usize = 2_000;
const MAX_BYTES: usize = 32 << 20;

/// Lines that are stored together.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) lines: Vec<ImportLine>,
    bytes: usize,
}

impl Batch {
    pub(super) fn push(&mut self, line: ImportLine) {
        self.bytes += line.text.len();
        self.lines.push(line);
    }

    pub(super) fn is_full(&self) -> bool {
        self.lines.len() >= MAX_RECORDS || self.bytes >= MAX_BYTES
    }
}

/// Stores lines, and returns those that the store rejects.
pub(super) async fn put<'a>(
    log: &AuditLog,
    lines: &'a [ImportLine],
) -> Result<Vec<(&'a ImportLine, StoreError)>, StoreError> {
    let row = |line: &ImportLine| match &line.record {
        ImportRecord::Audit(record) => Row::of((**record).clone(), true),
        ImportRecord::Request(request) => Row::from((**request).clone()),
    };
    let rejected = log.put_each(lines.iter().map(row).collect()).await?;
    Ok(rejected.into_iter().filter_map(|(index, error)| Some((lines.get(index)?, error))).collect())
}
