//! A row of a store: [`Row`].

use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::model::audit_record::AuditRecord;
use crate::model::record::Outcome;

/// A row of a store, which holds one record.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Row {
    /// The record. Values that are kept in an object are `None`.
    pub record: AuditRecord,
    /// The name of the object that has long values of this record, and which values it has.
    pub object: Option<(String, Members)>,
    /// Whether the request has ended, as far as is known. If not, this is its start.
    pub ended: bool,
    /// The other details of a request, as JSON; `None` for a record that is not of a request.
    pub details: Option<String>,
    /// The service that handled the request.
    pub service: Option<String>,
    /// How the request ended; `None` if it never did.
    pub outcome: Option<Outcome>,
    /// The status of the response.
    pub status: Option<u16>,
    /// The duration of the request, whatever its outcome. Stores keep microseconds.
    pub duration: Option<Duration>,
    /// The keys of the index under which the row is found, at its timestamp, from its start on. A row that is read from
    /// a store has none.
    pub keys: Vec<Key>,
    /// The keys that the end of the request adds.
    pub end_keys: Vec<Key>,
}

impl Row {
    /// Creates the row of a record, without an object, details or keys.
    ///
    /// ```
    /// use tagtrail_querylog::store::Row;
    /// use tagtrail_querylog::Timestamp;
    /// use tagtrail_querylog::audit::AuditRecord;
    /// use uuid::Uuid;
    ///
    /// // Your own store has read this from its columns.
    /// let mut row = Row::of(AuditRecord::new(Uuid::now_v7(), Timestamp::now()), false);
    /// row.details = Some("{}".into());
    /// ```
    pub fn of(record: AuditRecord, ended: bool) -> Self {
        Self {
            record,
            object: None,
            ended,
            details: None,
            service: None,
            outcome: None,
            status: None,
            duration: None,
            keys: Vec::new(),
            end_keys: Vec::new(),
        }
    }
}

/// A key of the index of requests: a digest of what requests are found by, such as "status 404 in env1".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; 16]);

impl Key {
    /// Creates the key of some parts. Their boundaries count.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a &'a str>) -> Self {
        let mut digest = Sha256::new();
        for part in parts {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        let mut key = [0; 16];
        key.copy_from_slice(&digest.finalize()[..16]);
        Self(key)
    }

    /// Returns the bytes of the key.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Which long members of a record are kept in its object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Members {
    /// Whether the object has the output of the operation.
    pub stdout: bool,
    /// Whether the object has the errors that the operation printed.
    pub stderr: bool,
    /// Whether the object has the input or result of the operation.
    pub udf_data: bool,
}

#[cfg(any(feature = "postgres", feature = "sqlite"))]
impl Members {
    pub(super) fn bits(self) -> i64 {
        i64::from(self.stdout) | i64::from(self.stderr) << 1 | i64::from(self.udf_data) << 2
    }

    pub(super) fn from_bits(bits: i64) -> Self {
        Self { stdout: bits & 1 != 0, stderr: bits & 2 != 0, udf_data: bits & 4 != 0 }
    }
}

#[cfg(all(test, any(feature = "postgres", feature = "sqlite")))]
mod tests {
    use super::*;

    #[test]
    fn members_are_stored_as_one_bit_each() {
        for bits in 0..8 {
            let members = Members::from_bits(bits);
            assert_eq!(members.bits(), bits);
        }
        assert_eq!(Members { stdout: true, ..Members::default() }.bits(), 1);
        assert_eq!(Members { stderr: true, ..Members::default() }.bits(), 2);
        assert_eq!(Members { udf_data: true, ..Members::default() }.bits(), 4);
    }
}
