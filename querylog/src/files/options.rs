//! What you decide about the files of a log: [`LineFormat`], [`Roll`], [`Keep`].

use std::time::Duration;

use crate::model::time::Timestamp;

/// The format of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineFormat {
    /// The format that [`LogReader`](crate::LogReader) and `tagtrail-log` read: all of a record except its shared token,
    /// its shape, and its output (`stdout`, `stderr` and `payload`).
    ///
    /// The members are, in this order: `id`, `ts`, `trace`, `sent`, `tags`, `request`, `response`, `stats`, `caller`,
    /// `operation`, `database`, `region_group`, `client_ip`, `host`, `service`, `authority`, `grpc_status`, `error` and
    /// `cut`. Those that have nothing are null, or empty. Later versions may add members after these. Readers accept
    /// members that they do not know, and lines without those after `host`.
    #[default]
    Full,
    /// The same with the output, if there is any.
    WithOutput,
    /// The format of exported logs: a flat object, to be loaded into a warehouse. It has no record id, path, caller or
    /// operation, so it is not read back.
    Exported {
        /// The member `API_VERSION`.
        api_version: String,
    },
}

/// When a file is full and the next one is started.
///
/// ```
/// use std::time::Duration;
/// use tagtrail_querylog::Roll;
///
/// // At 16 MB, and each hour.
/// let roll = Roll::at_bytes(16_000_000).every(Duration::from_secs(3600));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Roll {
    pub(crate) bytes: u64,
    every: Option<Duration>,
}

impl Roll {
    /// Rolls at this size. A file is never larger, unless a single record is.
    pub fn at_bytes(bytes: u64) -> Self {
        Self { bytes, every: None }
    }

    /// Also rolls by time: at each whole multiple of the duration, in UTC. An hour is each full hour, a day is each
    /// midnight. The duration is at least a second.
    pub fn every(self, every: Duration) -> Self {
        Self { every: Some(every.max(Duration::from_secs(1))), ..self }
    }

    /// The number of the period that `now` is in, if files are rolled by time.
    pub(crate) fn period(self, now: Timestamp) -> i64 {
        self.period_micros().map_or(0, |every| now.as_micros().div_euclid(every))
    }

    pub(crate) fn period_micros(self) -> Option<i64> {
        self.every.map(|every| i64::try_from(every.as_micros()).unwrap_or(i64::MAX))
    }
}

/// At 128 MB.
impl Default for Roll {
    fn default() -> Self {
        Self::at_bytes(128_000_000)
    }
}

/// How long files that are rolled are kept. By default forever. The file that is being written is never deleted.
///
/// ```
/// use std::time::Duration;
/// use tagtrail_querylog::Keep;
///
/// let keep = Keep::all().at_most_bytes(10_000_000_000).for_at_most(Duration::from_secs(30 * 24 * 3600));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Keep {
    pub(crate) age: Option<Duration>,
    pub(crate) files: Option<usize>,
    pub(crate) bytes: Option<u64>,
}

impl Keep {
    /// Keeps all files.
    pub fn all() -> Self {
        Self::default()
    }

    /// Deletes files that were last written longer ago than this.
    pub fn for_at_most(self, age: Duration) -> Self {
        Self { age: Some(age), ..self }
    }

    /// Keeps this many files, the newest ones, including the one that is being written.
    pub fn at_most_files(self, files: usize) -> Self {
        Self { files: Some(files), ..self }
    }

    /// Keeps the newest files that have this many bytes together. The one that is being written counts as a full one.
    pub fn at_most_bytes(self, bytes: u64) -> Self {
        Self { bytes: Some(bytes), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_of_one_length_before_1970_too() {
        let roll = Roll::default().every(Duration::from_secs(1));
        let periods =
            [-1_000_001, -1_000_000, -1, 0, 999_999, 1_000_000].map(|now| roll.period(Timestamp::from_micros(now)));
        assert_eq!(periods, [-2, -1, -1, 0, 0, 1]);
    }
}
