//! Stores lines in batches.

use tagtrail_querylog::AuditLog;
use tagtrail_querylog::store::StoreError;

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
///
/// A rejected batch is split into halves until the rejected records are alone, so that all others are stored.
pub(super) async fn put<'a>(
    log: &AuditLog,
    lines: &'a [ImportLine],
) -> Result<Vec<(&'a ImportLine, StoreError)>, StoreError> {
    let mut rejected = Vec::new();
    let mut rest = vec![lines];
    while let Some(lines) = rest.pop() {
        match (put_batch(log, lines).await, lines) {
            (Err(error @ StoreError::Rejected(_)), [line]) => rejected.push((line, error)),
            (Err(StoreError::Rejected(_)), _) => {
                let (first, second) = lines.split_at(lines.len() / 2);
                rest.extend([second, first]);
            }
            (stored, _) => stored?,
        }
    }
    Ok(rejected)
}

async fn put_batch(log: &AuditLog, lines: &[ImportLine]) -> Result<(), StoreError> {
    let (mut records, mut requests) = (Vec::new(), Vec::new());
    for line in lines {
        match &line.record {
            ImportRecord::Audit(record) => records.push((**record).clone()),
            ImportRecord::Request(request) => requests.push((**request).clone()),
        }
    }
    log.put(records).await?;
    log.put_requests(&requests).await
}
