//! Records that are missing from a log: [`Gap`].

use std::borrow::Cow;

use uuid::Uuid;

use crate::model::time::Timestamp;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
use crate::model::writer_status::WriterReport;

/// Records that are missing from a log, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// When the first of them was due: when its request ended, when it was rejected with 503, or when the log was
    /// closed while it was running. If a process was killed: in files, when the last record before that started; in a
    /// store, the time up to which it had written everything, at least to its [`Spool`](crate::Spool).
    pub from: Timestamp,
    /// When the last of them was dropped. After an unclean stop, when the log was reopened. If a writer no longer
    /// reports, when that was noticed.
    pub to: Timestamp,
    /// How many requests are missing; `None` if that is unknown, for example after an unclean stop.
    pub count: Option<u64>,
    /// Why they are missing.
    pub why: Cow<'static, str>,
}

#[cfg(any(feature = "postgres", feature = "sqlite"))]
impl Gap {
    /// Creates the gap between an earlier run of a writer, which had written its records until a time, and this one.
    pub(crate) fn of_unclean_stop(written_through: Option<i64>, report: &WriterReport) -> Self {
        let written_through = written_through.map_or(Timestamp::MIN, Timestamp::from_micros);
        Self::unclean_stop(written_through.max(report.kept_through).min(report.started), report.started)
    }
}

/// Why records may be missing of a writer that no longer reports.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) const NO_REPORTS: &str = "no more reports: the process was killed, or cannot reach the store";

/// Why records may be missing after a writer of a store ended without closing its log.
#[cfg(feature = "store")]
pub(crate) const UNCLEAN_STOP: &str = "unclean stop: the process ended without closing the log";

/// Why records are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The queue was full when the request ended.
    Overload,
    /// The queue was full when the request started, and it was rejected with 503.
    Unavailable,
    /// A record is larger than the queue.
    TooLarge,
    /// The destination could not be written before the log had to be closed.
    Failed,
    /// The store rejects the record.
    Rejected,
    /// Appended after the log was closed.
    Closed,
    /// The request had not ended when the log was closed.
    Open,
}

impl Why {
    const COUNT: usize = 7;

    fn words(self) -> &'static str {
        match self {
            Self::Overload => "overload: the queue was full",
            Self::Unavailable => "overload: rejected with 503",
            Self::TooLarge => "the record was larger than the queue",
            Self::Failed => "the file or store could not be written before the log was closed",
            Self::Rejected => "the store rejected the record",
            Self::Closed => "the log was closed",
            Self::Open => "not ended when the log was closed",
        }
    }
}

#[cfg(feature = "store")]
impl Gap {
    /// Records may be missing since a process ended without closing its log.
    pub(crate) fn unclean_stop(from: Timestamp, to: Timestamp) -> Self {
        Self { from, to, count: None, why: Cow::Borrowed(UNCLEAN_STOP) }
    }

    /// The store rejected requests, which came at about a time.
    pub(crate) fn rejected(from: Timestamp, count: u64) -> Self {
        let to = Timestamp::now();
        Self { from: from.min(to), to, count: Some(count), why: Cow::Borrowed(Why::Rejected.words()) }
    }

    /// There are more gaps than a coverage lists.
    pub(crate) fn not_listed(from: Timestamp, to: Timestamp) -> Self {
        let why = Cow::Borrowed("there are more gaps than are listed; ask for a shorter time range");
        Self { from: from.min(to), to, count: None, why }
    }

    /// Requests cannot be read from a spool.
    pub(crate) fn damaged_spool(from: Timestamp, to: Timestamp, count: Option<u64>) -> Self {
        Self { from, to, count, why: Cow::Borrowed("a part of the spool was damaged") }
    }
}

/// Gaps that are not written yet, one for each reason, each with the id under which it is stored.
#[derive(Debug, Default)]
pub(crate) struct Gaps([Option<(Uuid, Gap)>; Why::COUNT]);

impl Gaps {
    /// Counts requests that are missing as of now.
    pub(crate) fn note(&mut self, why: Why, count: u64) {
        self.note_since(Timestamp::MAX, why, count);
    }

    /// Counts requests that arrived since a time, and are now known to be missing.
    pub(crate) fn note_since(&mut self, from: Timestamp, why: Why, count: u64) {
        if count == 0 {
            return;
        }
        let to = Timestamp::now();
        let from = from.min(to);
        let gap = Gap { from, to, count: Some(count), why: Cow::Borrowed(why.words()) };
        self.add(why as usize, (Uuid::new_v4(), gap));
    }

    /// Adds earlier gaps, which may have been written: so they keep their ids.
    pub(crate) fn merge(&mut self, mut earlier: Self) {
        for (index, more) in std::mem::take(&mut self.0).into_iter().enumerate() {
            if let Some(more) = more {
                earlier.add(index, more);
            }
        }
        *self = earlier;
    }

    fn add(&mut self, index: usize, (id, more): (Uuid, Gap)) {
        match &mut self.0[index] {
            Some((_, gap)) => {
                gap.from = gap.from.min(more.from);
                gap.to = gap.to.max(more.to);
                gap.count = Some(gap.count.unwrap_or_default().saturating_add(more.count.unwrap_or_default()));
            }
            none => *none = Some((id, more)),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Uuid, Gap)> {
        self.0.iter().flatten()
    }

    pub(crate) fn first(&self) -> Option<&(Uuid, Gap)> {
        self.0.iter().flatten().next()
    }

    /// Removes the [`first`](Self::first) gap.
    pub(crate) fn forget_first(&mut self) {
        if let Some(gap) = self.0.iter_mut().find(|gap| gap.is_some()) {
            *gap = None;
        }
    }
}
