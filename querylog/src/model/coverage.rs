//! What is missing from a window of a log: [`Coverage`], [`Behind`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::gap::Gap;
use crate::model::text;
use crate::model::time::Timestamp;
use crate::model::window::Window;
#[cfg(feature = "store")]
use crate::model::writer_status::{WriterState, WriterStatus};

/// What is missing from a window of an audit log, as far as the log knows. If nothing is missing, and there are no
/// records, there were no requests.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("audit.db");
/// use tagtrail_querylog::{AuditLog, Timestamp, Window};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn run(path: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
/// let log = AuditLog::open(path)?;
/// let coverage = log.coverage(Window::from("2025-04-01".parse::<Timestamp>()?..)).await?;
/// for gap in &coverage.gaps {
///     println!("{} to {}: {:?} requests are missing: {}", gap.from, gap.to, gap.count, gap.why);
/// }
/// for writer in &coverage.behind {
///     println!("no news from {:?} since {}", writer.service, writer.written_through);
/// }
/// assert!(coverage.is_whole());
/// # Ok(())
/// # }
/// # run(&path)?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Coverage {
    /// The gaps that overlap the window, in the order of time. If there are more than [`Coverage::MOST`], these are the
    /// last ones, and one more, of unknown count, stands for all others.
    ///
    /// Only callers that hold the store see counts: for an environment, or from a server, they are `None`.
    #[serde(with = "gaps")]
    pub gaps: Vec<Gap>,
    /// The writers that have not written all of the window yet, those that are furthest behind first.
    pub behind: Vec<Behind>,
}

/// A process that writes into a store and lives, but is more than 10 seconds short of having written all of a window: it
/// is slow, or cannot reach the store. For an environment, or from a server: all such processes of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Behind {
    /// The name of the service.
    pub service: Option<String>,
    /// The machine and the process. `None` for an environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Everything that was appended before this time is in the store. Later requests may be missing.
    #[serde(with = "text::required")]
    pub written_through: Timestamp,
    /// How many requests waited in its queue and its spool when it last reported. `None` for an environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<u64>,
}

/// How far a writer may be behind without being named: it reports every five seconds.
const ON_TIME: Duration = Duration::from_secs(10);

impl Coverage {
    /// The maximum number of gaps that are listed.
    pub const MOST: usize = 1_000;

    /// Creates a coverage, for implementations of [`Questions`](crate::audit::Questions).
    pub fn new(gaps: Vec<Gap>, behind: Vec<Behind>) -> Self {
        Self { gaps, behind }
    }

    /// Returns whether nothing is known to be missing.
    pub fn is_whole(&self) -> bool {
        self.gaps.is_empty() && self.behind.is_empty()
    }

    /// Returns what is missing from a part of the window.
    #[must_use]
    pub fn within(mut self, window: Window) -> Self {
        self.gaps.retain(|gap| gap.to >= window.start && gap.from <= window.end);
        let due = due(window, Timestamp::now());
        self.behind.retain(|behind| behind.written_through < due);
        self
    }

    /// Takes the last gaps of a window, one more than are listed, and the writers that the store knew at a time before
    /// its records were read.
    #[cfg(feature = "store")]
    pub(crate) fn of(mut gaps: Vec<Gap>, writers: Vec<WriterStatus>, window: Window, at: Timestamp) -> Self {
        gaps.sort_by_key(|gap| std::cmp::Reverse(gap.to));
        let more = gaps.split_off(gaps.len().min(Self::MOST));
        gaps.extend(more.first().map(|gap| Gap::not_listed(window.start, gap.to)));
        gaps.sort_by_key(|gap| (gap.from, gap.to));
        let due = due(window, at);
        let late =
            writers.into_iter().filter(|writer| writer.state == WriterState::Live && writer.written_through < due);
        let mut behind: Vec<_> = late
            .map(|WriterStatus { service, instance, written_through, waiting, .. }| Behind {
                service,
                instance,
                written_through,
                waiting: Some(waiting),
            })
            .collect();
        behind.sort_by_key(|behind| behind.written_through);
        Self { gaps, behind }
    }

    /// Adds what was known at another time.
    #[cfg(feature = "export")]
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.gaps.extend(other.gaps);
        self.behind.extend(other.behind);
        self
    }

    /// Leaves what an environment may see: no counts, no instances, and not how many there are.
    #[cfg(feature = "store")]
    pub(crate) fn for_environments(mut self) -> Self {
        self.gaps.sort_by(|one, other| (&one.why, one.from).cmp(&(&other.why, other.from)));
        let mut gaps: Vec<Gap> = Vec::new();
        for gap in self.gaps {
            match gaps.last_mut().filter(|last| last.why == gap.why && last.to >= gap.from) {
                Some(last) => last.to = last.to.max(gap.to),
                None => gaps.push(Gap { count: None, ..gap }),
            }
        }
        gaps.sort_by_key(|gap| (gap.from, gap.to));
        let mut services = std::collections::BTreeMap::new();
        for Behind { service, written_through, .. } in self.behind {
            let first = services.entry(service).or_insert(written_through);
            *first = written_through.min(*first);
        }
        let mut behind: Vec<_> = services
            .into_iter()
            .map(|(service, written_through)| Behind { service, instance: None, written_through, waiting: None })
            .collect();
        behind.sort_by_key(|behind| behind.written_through);
        Self { gaps, behind }
    }
}

/// Returns the time before which a writer must have written everything, to have all of a window.
fn due(window: Window, now: Timestamp) -> Timestamp {
    window.end.min(now).saturating_sub(ON_TIME)
}

/// Gaps in JSON. Those without a count have no such member.
mod gaps {
    use std::borrow::Cow;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::model::gap::Gap;
    use crate::model::text::Text;
    use crate::model::time::Timestamp;

    #[derive(Serialize, Deserialize)]
    struct Members<'a> {
        from: Text<Timestamp>,
        to: Text<Timestamp>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<u64>,
        why: Cow<'a, str>,
    }

    pub(super) fn serialize<S: Serializer>(gaps: &[Gap], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(gaps.iter().map(|Gap { from, to, count, why }| Members {
            from: Text(*from),
            to: Text(*to),
            count: *count,
            why: Cow::Borrowed(why),
        }))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Gap>, D::Error> {
        let gaps = Vec::<Members<'static>>::deserialize(deserializer)?;
        Ok(gaps
            .into_iter()
            .map(|Members { from, to, count, why }| Gap { from: from.0, to: to.0, count, why })
            .collect())
    }
}

#[cfg(all(test, feature = "store"))]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::writer_status::WriterReport;

    const SECOND: i64 = 1_000_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * SECOND)
    }

    fn gap(from: i64, to: i64, count: Option<u64>, why: &'static str) -> Gap {
        Gap { from: at(from), to: at(to), count, why: why.into() }
    }

    fn writer(service: &str, written_through: i64, state: WriterState) -> WriterStatus {
        let mut report = WriterReport::new(Uuid::now_v7(), at(0));
        (report.service, report.instance) = (Some(service.to_owned()), Some("host:7".to_owned()));
        (report.written_through, report.waiting) = (at(written_through), 5);
        WriterStatus { state, ..WriterStatus::new(&report, at(100)) }
    }

    fn behind(coverage: &Coverage) -> Vec<(&str, i64)> {
        let of = |behind: &Behind| behind.written_through.as_micros() / SECOND;
        coverage.behind.iter().map(|behind| (behind.service.as_deref().unwrap(), of(behind))).collect()
    }

    #[test]
    fn writer_is_behind_if_it_lives_and_has_not_written_the_window() {
        use WriterState::{Closed, Live, Lost};
        let writers = [("a", 89, Live), ("b", 90, Live), ("c", 10, Live), ("d", 10, Lost), ("e", 10, Closed)]
            .map(|(n, t, s)| writer(n, t, s));
        for (end, now, expected) in [
            (1_000, 100, &[("c", 10), ("a", 89)][..]),
            (100, 1_000, &[("c", 10), ("a", 89)]),
            (101, 1_000, &[("c", 10), ("a", 89), ("b", 90)]),
            (99, 1_000, &[("c", 10)]),
            (20, 1_000, &[]),
            (-5, 1_000, &[]),
        ] {
            let coverage = Coverage::of(Vec::new(), writers.to_vec(), Window::from(..=at(end)), at(now));
            assert_eq!(behind(&coverage), expected, "{end} {now}");
        }
        let all = Coverage::of(Vec::new(), writers.to_vec(), Window::ALL, at(1_000));
        assert_eq!(behind(&all.within(Window::from(..=at(99)))), [("c", 10)]);
    }

    #[test]
    fn environment_sees_neither_counts_nor_instances() {
        use WriterState::Live;
        let gaps = vec![
            gap(1, 5, Some(3), "overload"),
            gap(2, 3, Some(4), "overload"),
            gap(2, 9, None, "unclean stop"),
            gap(5, 6, Some(1), "overload"),
            gap(8, 9, Some(1), "overload"),
        ];
        let writers = vec![writer("shop", 20, Live), writer("shop", 10, Live), writer("blog", 15, Live)];
        let coverage = Coverage::of(gaps, writers, Window::ALL, at(100));
        assert_eq!(coverage.gaps.iter().filter_map(|gap| gap.count).sum::<u64>(), 9);
        let json = serde_json::to_string(&coverage.clone().for_environments()).unwrap();
        let gap = |from, to, why| format!(r#"{{"from":"{}","to":"{}","why":"{why}"}}"#, at(from), at(to));
        let gaps = [gap(1, 6, "overload"), gap(2, 9, "unclean stop"), gap(8, 9, "overload")].join(",");
        let behind = |name, time| format!(r#"{{"service":"{name}","written_through":"{}"}}"#, at(time));
        let expected = format!(r#"{{"gaps":[{gaps}],"behind":[{},{}]}}"#, behind("shop", 10), behind("blog", 15));
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_str::<Coverage>(&json).unwrap(), coverage.clone().for_environments());
        let json = serde_json::to_string(&coverage).unwrap();
        assert!(json.contains(r#""count":3"#) && json.contains(r#""waiting":5"#), "{json}");
        assert_eq!(serde_json::from_str::<Coverage>(&json).unwrap(), coverage);
    }

    #[test]
    fn one_gap_stands_for_those_that_are_not_listed() {
        let most = i64::try_from(Coverage::MOST).unwrap();
        let gaps = |count: i64| (0..count).map(|from| gap(from, from + 1, Some(1), "overload")).collect();
        let window = Window::from(at(-7)..);
        assert_eq!(Coverage::of(gaps(most), vec![], window, at(0)).gaps, gaps(most));
        let coverage = Coverage::of(gaps(most + 1), vec![], window, at(0));
        assert_eq!(coverage.gaps.len(), Coverage::MOST + 1);
        assert_eq!((coverage.gaps[0].from, coverage.gaps[0].to, coverage.gaps[0].count), (at(-7), at(1), None));
        assert_eq!(coverage.gaps[1..], gaps(most + 1)[1..]);
    }
}
