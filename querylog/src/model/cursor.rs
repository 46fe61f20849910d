//! A position in the order of records: [`Cursor`].

use crate::model::audit_record::AuditRecord;

/// A position in the order of records: by time, and then by id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Cursor {
    /// The time, in microseconds since 1970 (UTC).
    pub micros: i64,
    /// The id. The empty id comes before all others.
    pub id: String,
}

impl Cursor {
    /// Creates the position of a time, in microseconds since 1970 (UTC), and an id.
    pub fn new(micros: i64, id: impl Into<String>) -> Self {
        Self { micros, id: id.into() }
    }

    /// Returns the position of a record.
    pub fn of(record: &AuditRecord) -> Self {
        Self { micros: record.timestamp.as_micros(), id: record.id.as_str().to_owned() }
    }
}
