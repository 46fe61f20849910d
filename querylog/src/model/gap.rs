//! What a log does not have: [`Gap`].

use std::borrow::Cow;

use crate::model::time::Timestamp;

/// Records that a log does not have, and why: a line of its own in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// When the first of them came, at the end of its request, or when it was answered with 503, or the log was closed
    /// before it ended; after an unclean stop, when the last record before it began.
    pub from: Timestamp,
    /// When the last of them was given up; after an unclean stop, when the log was opened again.
    pub to: Timestamp,
    /// How many there are; `None` where nobody knows, after an unclean stop.
    pub count: Option<u64>,
    /// Why.
    pub why: Cow<'static, str>,
}

/// Why records are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The queue was full when the request ended.
    Overload,
    /// The queue was full when the request began, and it was answered with 503.
    Refused,
    /// A record is larger than the queue.
    TooLarge,
    /// The file could not be written for as long as the writer tries.
    Failed,
    /// The store does not take the record.
    NotTaken,
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
            Self::Refused => "overload: answered with 503",
            Self::TooLarge => "record larger than the queue",
            Self::Failed => "the file could not be written",
            Self::NotTaken => "the store refused the record",
            Self::Closed => "the log was closed",
            Self::Open => "not ended when the log was closed",
        }
    }
}

/// Gaps that are not written yet: one for each reason.
#[derive(Debug, Default)]
pub(crate) struct Gaps([Option<Gap>; Why::COUNT]);

impl Gaps {
    /// Counts records that are missed now.
    pub(crate) fn note(&mut self, why: Why, count: u64) {
        self.note_since(Timestamp::MAX, why, count);
    }

    /// Counts records that came from a time on, and are known to be missed now.
    pub(crate) fn note_since(&mut self, from: Timestamp, why: Why, count: u64) {
        let to = Timestamp::now();
        let from = from.min(to);
        self.add(why as usize, Gap { from, to, count: Some(count), why: Cow::Borrowed(why.words()) });
    }

    /// Counts what `others` has.
    pub(crate) fn merge(&mut self, others: Self) {
        for (index, gap) in others.0.into_iter().enumerate() {
            if let Some(gap) = gap {
                self.add(index, gap);
            }
        }
    }

    fn add(&mut self, index: usize, more: Gap) {
        match &mut self.0[index] {
            Some(gap) => {
                gap.from = gap.from.min(more.from);
                gap.to = gap.to.max(more.to);
                gap.count = Some(gap.count.unwrap_or_default().saturating_add(more.count.unwrap_or_default()));
            }
            none => *none = Some(more),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// Takes out so many of those that [`iter`](Self::iter) has.
    pub(crate) fn forget_first(&mut self, count: usize) {
        self.0.iter_mut().filter(|gap| gap.is_some()).take(count).for_each(|gap| *gap = None);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Gap> {
        self.0.iter().flatten()
    }
}
