//! `tagtrail-log stats`: counts and latencies of all records, and by group.

use std::collections::HashMap;
use std::io::{self, Write};
use std::str::FromStr;

use hdrhistogram::Histogram;
use serde_json::json;
use tagtrail_querylog::record::printable;
use tagtrail_querylog::{Entry, Outcome, Record};

/// The limit of groups, so that memory use is bounded. Further values are summed up as one group.
const MAX_GROUPS: usize = 10_000;
const OTHER: &str = "(other)";

/// What records are grouped by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Route,
    Path,
    Status,
    GrpcStatus,
    Outcome,
    /// Each name and value.
    Tags,
    /// The values of one name.
    Tag(String),
}

impl FromStr for By {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "route" => Ok(Self::Route),
            "path" => Ok(Self::Path),
            "status" => Ok(Self::Status),
            "grpc-status" => Ok(Self::GrpcStatus),
            "outcome" => Ok(Self::Outcome),
            "tag" => Ok(Self::Tags),
            _ => match text.strip_prefix("tag:") {
                Some(name) if !name.is_empty() => Ok(Self::Tag(name.to_owned())),
                _ => Err("expected route, path, status, grpc-status, outcome, tag or tag:NAME".to_owned()),
            },
        }
    }
}

impl By {
    fn title(&self) -> String {
        match self {
            Self::Route => "route".into(),
            Self::Path => "path".into(),
            Self::Status => "status".into(),
            Self::GrpcStatus => "grpc-status".into(),
            Self::Outcome => "outcome".into(),
            Self::Tags => "tag".into(),
            Self::Tag(name) => format!("tag:{name}"),
        }
    }

    /// Returns the groups that a record belongs to.
    fn groups(&self, record: &Record) -> Vec<String> {
        match self {
            Self::Route => vec![record.request.route.clone().unwrap_or_else(|| "(no route)".into())],
            Self::Path => vec![record.request.path.clone()],
            Self::Status => vec![record.response.status.map_or("(none)".into(), |status| status.to_string())],
            Self::GrpcStatus => record.response.grpc_status.iter().map(u16::to_string).collect(),
            Self::Outcome => vec![record.response.outcome.map_or("(none)".into(), |outcome| outcome.to_string())],
            Self::Tags => record.tags.iter().map(|(name, value)| format!("{name}={value}")).collect(),
            Self::Tag(name) => record.tags.get(name).map(str::to_owned).into_iter().collect(),
        }
    }
}

/// Sums over entries.
pub(crate) struct Stats {
    all: Group,
    by: Vec<(By, HashMap<String, Group>)>,
    missing: u64,
    unknown_gaps: u64,
    foreign: u64,
}

#[derive(Default)]
struct Group {
    count: u64,
    /// Requests that failed, as [`Record::has_failed`] defines it.
    failed: u64,
    refused: u64,
    bytes_out: u64,
    /// Microseconds; `None` until there is one.
    times: Option<Histogram<u64>>,
}

impl Group {
    fn add(&mut self, record: &Record) {
        self.count += 1;
        self.failed += u64::from(record.has_failed());
        self.refused += u64::from(record.response.outcome == Some(Outcome::Refused));
        self.bytes_out += record.response.body_bytes;
        if let Some(duration) = record.duration {
            // Two significant digits.
            self.times = self.times.take().or_else(|| Histogram::new(2).ok());
            if let Some(times) = &mut self.times {
                // A histogram that resizes itself accepts every duration.
                let _ = times.record(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
            }
        }
    }

    /// Returns the p50, p90, p99 and maximum in milliseconds.
    fn latencies(&self) -> [f64; 4] {
        [0.5, 0.9, 0.99, 1.0]
            .map(|quantile| self.times.as_ref().map_or(0.0, |times| millis(times.value_at_quantile(quantile))))
    }
}

#[allow(clippy::cast_precision_loss, reason = "a latency is no more precise than its histogram")]
fn millis(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}

impl Stats {
    pub(crate) fn new(by: Vec<By>) -> Self {
        let by = by.into_iter().map(|by| (by, HashMap::new())).collect();
        Self { all: Group::default(), by, missing: 0, unknown_gaps: 0, foreign: 0 }
    }

    pub(crate) fn add(&mut self, entry: &Entry) {
        match entry {
            Entry::Record(record) => {
                self.all.add(record);
                for (by, groups) in &mut self.by {
                    for name in by.groups(record) {
                        let is_full = groups.len() >= MAX_GROUPS && !groups.contains_key(&name);
                        let name = if is_full { OTHER.to_owned() } else { name };
                        groups.entry(name).or_default().add(record);
                    }
                }
            }
            Entry::Gap(gap) => match gap.count {
                Some(count) => self.missing += count,
                None => self.unknown_gaps += 1,
            },
            _ => self.foreign += 1,
        }
    }

    /// Writes the sums, largest groups first.
    pub(crate) fn show(&self, out: &mut impl Write, top: usize, as_json: bool) -> io::Result<()> {
        if as_json { self.show_json(out, top) } else { self.show_table(out, top) }
    }

    fn sorted(&self, top: usize) -> impl Iterator<Item = (String, Vec<(&String, &Group)>)> {
        self.by.iter().map(move |(by, groups)| {
            let mut sorted: Vec<_> = groups.iter().collect();
            sorted.sort_by(|(one, a), (other, b)| b.count.cmp(&a.count).then_with(|| one.cmp(other)));
            sorted.truncate(top);
            (by.title(), sorted)
        })
    }

    fn show_json(&self, out: &mut impl Write, top: usize) -> io::Result<()> {
        let line = |title: &str, name: Option<&str>, group: &Group| {
            let [p50, p90, p99, max] = group.latencies();
            json!({
                "by": title, "value": name, "count": group.count, "failed": group.failed, "refused": group.refused,
                "bytes_out": group.bytes_out, "p50_ms": p50, "p90_ms": p90, "p99_ms": p99, "max_ms": max,
            })
        };
        let mut all = line("all", None, &self.all);
        // Not 0, if it is unknown.
        all["missing"] = (self.missing > 0 || self.unknown_gaps == 0).then_some(self.missing).into();
        all["unknown_gaps"] = self.unknown_gaps.into();
        all["foreign_lines"] = self.foreign.into();
        writeln!(out, "{all}")?;
        for (title, groups) in self.sorted(top) {
            for (name, group) in groups {
                writeln!(out, "{}", line(&title, Some(name), group))?;
            }
        }
        Ok(())
    }

    fn show_table(&self, out: &mut impl Write, top: usize) -> io::Result<()> {
        let heads = ["count", "failed", "p50 ms", "p90 ms", "p99 ms", "max ms"];
        let head = |out: &mut dyn Write, title: &str| {
            write!(out, "{:>9} {:>7}", heads[0], heads[1])?;
            heads[2..].iter().try_for_each(|head| write!(out, " {head:>10}"))?;
            writeln!(out, "  {title}")
        };
        let line = |out: &mut dyn Write, name: &str, group: &Group| {
            write!(out, "{:>9} {:>7}", group.count, group.failed)?;
            group.latencies().iter().try_for_each(|time| write!(out, " {time:>10.3}"))?;
            writeln!(out, "  {}", printable(name))
        };
        head(out, "")?;
        line(out, "all", &self.all)?;
        for (title, groups) in self.sorted(top).filter(|(_, groups)| !groups.is_empty()) {
            writeln!(out)?;
            head(out, &format!("by {}", printable(&title)))?;
            for (name, group) in groups {
                line(out, name, group)?;
            }
        }
        match (self.missing, self.unknown_gaps) {
            (0, 0) => {}
            (missing, 0) => writeln!(out, "\nrequests missing: {missing}")?,
            (0, gaps) => writeln!(out, "\nrequests missing: unknown, in {gaps} gaps")?,
            (missing, gaps) => writeln!(out, "\nrequests missing: {missing}, and unknown in {gaps} more gaps")?,
        }
        if self.foreign > 0 {
            writeln!(out, "\n{} lines are not records", self.foreign)?;
        }
        Ok(())
    }
}
