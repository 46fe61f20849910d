//! The text in the lock of a spool: who has it, and which processes did not close their logs.
//!
//! ```text
//! 32dbc471-cd3b-4654-ba3a-a970837f357b open 2026-11-28T01:58:11.252266Z
//! unclean 2026-11-28T01:57:02.000000Z 2026-11-28T01:58:11.252266Z
//! ```

use std::fmt;

use uuid::Uuid;

use crate::model::time::Timestamp;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The id of the writer to which the spool belongs.
    pub(crate) writer: Uuid,
    /// Since when a process has the log open; `None` if it is closed.
    pub(crate) since: Option<Timestamp>,
    /// The processes that did not close it, and of which the store does not know yet.
    pub(crate) unclean: Vec<Unclean>,
}

/// A process that did not close its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unclean {
    /// When it opened the log, or wrote the last frame,
    pub(crate) from: Timestamp,
    /// and when the next process opened the log.
    pub(crate) to: Timestamp,
}

/// More are not kept: they are joined.
const MAX_UNCLEAN: usize = 100;

impl Mark {
    /// Reads a mark. One that is absent or damaged is that of a new writer.
    pub(crate) fn read(text: &str) -> Self {
        let mut lines = text.lines();
        let mut words = lines.next().unwrap_or_default().split(' ');
        let writer = words.next().and_then(|id| id.parse().ok());
        let is_open = writer.is_some() && words.next() == Some("open");
        let since = words.next().and_then(|since| since.parse().ok()).unwrap_or(Timestamp::MIN);
        let unclean = lines.filter_map(|line| {
            let (from, to) = line.strip_prefix("unclean ")?.split_once(' ')?;
            Some(Unclean { from: from.parse().ok()?, to: to.parse().ok()? })
        });
        Self {
            writer: writer.unwrap_or_else(Uuid::new_v4),
            since: is_open.then_some(since),
            unclean: unclean.collect(),
        }
    }

    /// Returns the mark of a process that opens the log now. The last frame in the spool was written at `last`.
    pub(crate) fn opened(mut self, last: Timestamp, now: Timestamp) -> Self {
        if let Some(since) = self.since.replace(now) {
            self.unclean.push(Unclean { from: since.max(last).min(now), to: now });
        }
        if self.unclean.len() > MAX_UNCLEAN {
            let joined = self.unclean.remove(0);
            self.unclean[0].from = joined.from;
        }
        self
    }
}

/// Writes the text of a lock.
impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.since {
            Some(since) => writeln!(f, "{} open {since}", self.writer)?,
            None => writeln!(f, "{} closed", self.writer)?,
        }
        self.unclean.iter().try_for_each(|Unclean { from, to }| writeln!(f, "unclean {from} {to}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    #[test]
    fn mark_is_read_as_it_was_written() {
        let mark = Mark {
            writer: Uuid::from_u128(7),
            since: Some(at(3)),
            unclean: vec![Unclean { from: at(1), to: at(2) }, Unclean { from: at(2), to: at(3) }],
        };
        assert_eq!(Mark::read(&mark.to_string()), mark);
        let closed = Mark { since: None, unclean: Vec::new(), ..mark };
        assert_eq!(Mark::read(&closed.to_string()), closed);
        for damaged in ["", "\n", "open", "x open 2026-11-28"] {
            let new = Mark::read(damaged);
            assert_eq!((new.since, new.unclean.len()), (None, 0), "{damaged}");
        }
    }

    #[test]
    fn process_that_did_not_close_its_log_is_kept_until_the_store_knows_of_it() {
        let mut mark = Mark::read("").opened(Timestamp::MIN, at(10));
        assert_eq!((mark.since, mark.unclean.len()), (Some(at(10)), 0));
        mark = mark.opened(at(12), at(20)).opened(at(12), at(30));
        let unclean = [Unclean { from: at(12), to: at(20) }, Unclean { from: at(20), to: at(30) }];
        assert_eq!(mark.unclean, unclean);
        mark.since = None;
        assert_eq!(mark.opened(at(31), at(40)).unclean, unclean);
        let mut many = Mark::read("");
        for micros in 0..300 {
            many = many.opened(Timestamp::MIN, at(micros));
        }
        assert_eq!((many.unclean.len(), many.unclean[0].from, many.unclean[99].to), (100, at(0), at(299)));
    }
}
