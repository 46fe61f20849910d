//! What must hold at the end of a run: [`judge`].

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use tagtrail_querylog::Timestamp;

use crate::ledger::{Promise, Request};

/// A record that was found in the store.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) id: String,
    /// The number of the request, if its path has one.
    pub(crate) number: Option<usize>,
    pub(crate) has_ended: bool,
}

/// A gap that the store reports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Missing {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
    /// `None` after an unclean stop.
    pub(crate) count: Option<u64>,
}

/// A service that was killed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kill {
    pub(crate) at: Timestamp,
    /// How much earlier the gap may start that it leaves.
    pub(crate) reach: Duration,
}

/// What is known at the end of a run.
pub(crate) struct Evidence {
    pub(crate) sent: Vec<Request>,
    pub(crate) found: Vec<Found>,
    pub(crate) gaps: Vec<Missing>,
    pub(crate) kills: Vec<Kill>,
}

/// What does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// An acknowledged request is not in the store, or without its end.
    Lost { number: usize, promise: Promise, without_end: bool },
    /// A request with a whole response is missing, and no gap says so.
    Silent { number: usize },
    /// There are two records of a request, or two with an id.
    Duplicate { id: String },
    /// A record of a request that nobody sent.
    Unknown { id: String },
}

impl Violation {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Lost { without_end: false, .. } => "acknowledged and missing",
            Self::Lost { .. } => "acknowledged and without end",
            Self::Silent { .. } => "missing and in no gap",
            Self::Duplicate { .. } => "duplicate",
            Self::Unknown { .. } => "unknown",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { number, promise, without_end: false } => {
                write!(f, "request {number} ({}) was acknowledged, and is missing", promise.path())
            }
            Self::Lost { number, promise, .. } => {
                write!(f, "request {number} ({}) was acknowledged, and has no end", promise.path())
            }
            Self::Silent { number } => {
                write!(f, "request {number} was responded to, and no gap says that it is missing")
            }
            Self::Duplicate { id } => write!(f, "record {id} is a duplicate"),
            Self::Unknown { id } => write!(f, "record {id} is of a request that nobody sent"),
        }
    }
}

/// Returns what does not hold: acknowledged requests that are missing; other missing ones that are in no gap; duplicate
/// and unknown records.
pub(crate) fn judge(evidence: &Evidence) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut ends: HashMap<usize, bool> = HashMap::with_capacity(evidence.found.len());
    let mut ids = HashSet::with_capacity(evidence.found.len());
    for found in &evidence.found {
        let id = || found.id.clone();
        match found.number.filter(|&number| number < evidence.sent.len()) {
            None => violations.push(Violation::Unknown { id: id() }),
            Some(number) => {
                let is_second = ends.insert(number, found.has_ended).is_some();
                if !ids.insert(found.id.as_str()) || is_second {
                    violations.push(Violation::Duplicate { id: id() });
                }
            }
        }
    }
    let mut unexcused = Vec::new();
    for (number, sent) in evidence.sent.iter().enumerate() {
        let Some(responded) = sent.responded else { continue };
        let end = ends.get(&number);
        let promise = sent.promise;
        if sent.is_acknowledged() && end.is_none() {
            violations.push(Violation::Lost { number, promise, without_end: false });
        } else if promise == Promise::Held && end == Some(&false) {
            violations.push(Violation::Lost { number, promise, without_end: true });
        } else if end.is_none() && !is_in_unclean_gap(sent.sent, responded, evidence) {
            unexcused.push((number, sent.sent, responded));
        }
    }
    violations.extend(uncounted(unexcused, &evidence.gaps).into_iter().map(|number| Violation::Silent { number }));
    violations
}

/// Whether a gap of unknown count covers the request. One that starts too long before a kill excuses nothing.
fn is_in_unclean_gap(sent: Timestamp, responded: Timestamp, evidence: &Evidence) -> bool {
    let is_of_a_kill = |gap: &Missing| {
        let mut kills = evidence.kills.iter();
        kills.any(|kill| kill.at.saturating_sub(kill.reach) <= gap.from && gap.from <= kill.at)
    };
    let unclean = evidence.gaps.iter().filter(|gap| gap.count.is_none());
    unclean.filter(|gap| gap.from <= responded && sent <= gap.to).any(is_of_a_kill)
}

/// Returns the requests that no counted gap covers, if each gap covers no more than it counts.
fn uncounted(mut requests: Vec<(usize, Timestamp, Timestamp)>, gaps: &[Missing]) -> Vec<usize> {
    let mut gaps: Vec<_> = gaps.iter().filter_map(|gap| Some((gap.from, gap.to, gap.count?))).collect();
    // The gap that ends first covers the fewest of the later requests.
    gaps.sort_by_key(|(_, to, _)| *to);
    requests.sort_by_key(|(_, _, responded)| *responded);
    let mut left = Vec::new();
    for (number, sent, responded) in requests {
        let covers = |gap: &&mut (Timestamp, Timestamp, u64)| gap.2 > 0 && gap.0 <= responded && sent <= gap.1;
        match gaps.iter_mut().find(covers) {
            Some((_, _, count)) => *count -= 1,
            None => left.push(number),
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_micros(millis * 1_000)
    }

    fn sent(promise: Promise, sent: i64, responded: Option<i64>) -> Request {
        Request { promise, service: 0, sent: at(sent), responded: responded.map(at) }
    }

    fn found(number: usize, has_ended: bool) -> Found {
        Found { id: format!("id{number}"), number: Some(number), has_ended }
    }

    fn gap(from: i64, to: i64, count: Option<u64>) -> Missing {
        Missing { from: at(from), to: at(to), count }
    }

    fn evidence(sent: Vec<Request>, found: Vec<Found>, gaps: Vec<Missing>) -> Evidence {
        let kills = vec![Kill { at: at(1_000), reach: Duration::from_millis(10) }];
        Evidence { sent, found, gaps, kills }
    }

    #[test]
    fn acknowledged_request_must_be_there_whatever_the_gaps_say() {
        let everything = vec![gap(0, 2_000, Some(9)), gap(995, 2_000, None)];
        for (promise, number_found, expected) in [
            (Promise::Started, None, Some(false)),
            (Promise::Started, Some(false), None),
            (Promise::Held, None, Some(false)),
            (Promise::Held, Some(false), Some(true)),
            (Promise::Held, Some(true), None),
        ] {
            let there = number_found.map(|has_ended| found(0, has_ended)).into_iter().collect();
            let evidence = evidence(vec![sent(promise, 996, Some(998))], there, everything.clone());
            let expected = expected.map(|without_end| Violation::Lost { number: 0, promise, without_end });
            assert_eq!(judge(&evidence), Vec::from_iter(expected));
        }
        // Without a whole response, nothing was promised.
        assert_eq!(judge(&evidence(vec![sent(Promise::Held, 0, None)], vec![], vec![])), []);
    }

    #[test]
    fn missing_request_must_be_in_a_gap_that_may_excuse_it() {
        let silent = vec![Violation::Silent { number: 0 }];
        for (gaps, is_excused) in [
            (vec![], false),
            (vec![gap(995, 2_000, None)], true),
            (vec![gap(999, 2_000, None)], false),
            // It starts too long before the kill, or after it.
            (vec![gap(900, 2_000, None)], false),
            (vec![gap(996, 996, None)], true),
            (vec![gap(990, 992, None)], false),
            (vec![gap(900, 2_000, Some(1))], true),
            (vec![gap(900, 2_000, Some(0))], false),
            (vec![gap(900, 990, Some(1))], false),
        ] {
            let evidence = evidence(vec![sent(Promise::Plain, 996, Some(998))], vec![], gaps.clone());
            assert_eq!(judge(&evidence), if is_excused { vec![] } else { silent.clone() }, "{gaps:?}");
        }
        let mut away = evidence(vec![sent(Promise::Plain, 500, Some(502))], vec![], vec![gap(495, 2_000, None)]);
        assert_eq!(judge(&away), silent);
        away.kills[0].reach = Duration::from_millis(505);
        assert_eq!(judge(&away), []);
    }

    #[test]
    fn counted_gaps_excuse_no_more_than_they_count() {
        let requests = || (0..4).map(|number| sent(Promise::Plain, number * 10, Some(number * 10 + 5))).collect();
        let missing = |gaps| judge(&evidence(requests(), vec![], gaps)).len();
        assert_eq!(missing(vec![gap(0, 100, Some(4))]), 0);
        assert_eq!(missing(vec![gap(0, 100, Some(3))]), 1);
        // The first gap covers only the first two.
        assert_eq!(missing(vec![gap(0, 100, Some(2)), gap(0, 12, Some(2))]), 0);
        assert_eq!(missing(vec![gap(0, 12, Some(4))]), 2);
    }

    #[test]
    fn each_record_is_of_one_request_that_was_sent() {
        let requests = vec![sent(Promise::Plain, 0, Some(5)), sent(Promise::Plain, 0, None)];
        let unknown = Found { number: Some(2), ..found(2, true) };
        let nameless = Found { number: None, ..found(3, true) };
        let again = Found { id: "other".into(), ..found(1, true) };
        let there = vec![found(0, true), found(1, false), again, unknown, nameless];
        let expected = [
            Violation::Duplicate { id: "other".into() },
            Violation::Unknown { id: "id2".into() },
            Violation::Unknown { id: "id3".into() },
        ];
        assert_eq!(judge(&evidence(requests, there, vec![])), expected);
    }
}
