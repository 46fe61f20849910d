//! Options that several commands share, and how their values are parsed.

use std::time::Duration;

use clap::Args;
use jiff::{Span, SpanRelativeTo};
use tagtrail::TraceId;
use tagtrail_querylog::audit::Order;
use tagtrail_querylog::{Timestamp, Window};

use crate::error::UsageError;
use crate::out::{Format, report};

/// When records started.
#[derive(Args)]
pub(crate) struct TimeArgs {
    /// Show only records that started at or after this time: ISO 8601, or a duration ago, such as `15m` or `7d`
    #[arg(long, value_name = "TIME", value_parser = moment, alias = "start-timestamp")]
    since: Option<Timestamp>,
    /// Show only records that started before this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
}

impl TimeArgs {
    pub(crate) fn since(&self) -> Option<Timestamp> {
        self.since
    }

    /// Returns the last moment of the range.
    pub(crate) fn last(&self) -> Option<Timestamp> {
        self.until.map(|until| until.saturating_sub(Duration::from_micros(1)))
    }

    pub(crate) fn range(&self) -> Result<std::ops::Range<Timestamp>, UsageError> {
        in_order(self.since, self.until)?;
        Ok(self.since.unwrap_or(Timestamp::MIN)..self.until.unwrap_or(Timestamp::MAX))
    }
}

/// Rejects a range that cannot contain a record: one of its ends must be a mistake.
pub(crate) fn in_order(since: Option<Timestamp>, until: Option<Timestamp>) -> Result<(), UsageError> {
    match since.zip(until) {
        Some((since, until)) if since >= until => Err(UsageError::new("--since must be before --until")),
        _ => Ok(()),
    }
}

/// Returns the window from the first moment to the last, both inclusive.
pub(crate) fn window(first: Option<Timestamp>, last: Option<Timestamp>) -> Window {
    Window::from(first.unwrap_or(Timestamp::MIN)..=last.unwrap_or(Timestamp::MAX))
}

/// How many records are shown, in which order and format.
#[derive(Args)]
pub(crate) struct ListArgs {
    /// Show the newest records first
    #[arg(long)]
    newest_first: bool,
    /// Show at most this many records [default: 100]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "all")]
    limit: Option<u64>,
    /// Show all records, page by page
    #[arg(long)]
    all: bool,
    /// Format of the output [default: table on a terminal, else json]
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
}

/// How many records are shown by default.
const DEFAULT_LIMIT: u64 = 100;

/// How many records are requested at a time.
const PAGE: usize = 300;

impl ListArgs {
    pub(crate) fn limit(&self) -> usize {
        if self.all { usize::MAX } else { usize::try_from(self.limit.unwrap_or(DEFAULT_LIMIT)).unwrap_or(usize::MAX) }
    }

    /// Returns how many records to request at a time: no more than are shown.
    pub(crate) fn page(&self) -> usize {
        self.limit().min(PAGE)
    }

    pub(crate) fn order(&self) -> Order {
        if self.newest_first { Order::NewestFirst } else { Order::OldestFirst }
    }

    /// Reports that there may be more records, if the default limit was reached.
    pub(crate) fn report_if_limited(&self, shown: usize) {
        if self.limit.is_none() && shown == self.limit() {
            report(&format!("only the first {shown} records are shown; for more, use --all or --limit"));
        }
    }
}

/// Parses a time: ISO 8601, or a duration ago.
pub(crate) fn moment(text: &str) -> Result<Timestamp, &'static str> {
    match duration(text) {
        Some(ago) => Ok(Timestamp::now().saturating_sub(ago)),
        None => text.parse().map_err(
            |_| "expected an ISO 8601 time, such as 2024-05-10T18:05:42Z, or a duration ago, such as 15m, 7d or 1h30m",
        ),
    }
}

/// Parses a duration in jiff's friendly format. Days have 24 hours.
fn duration(text: &str) -> Option<Duration> {
    let span: Span = text.parse().ok()?;
    span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?.try_into().ok()
}

pub(crate) fn trace_id(text: &str) -> Result<TraceId, &'static str> {
    text.parse().map_err(|_| "expected 32 lowercase hexadecimal digits, not all zero")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_has_one_or_more_units() {
        for (text, seconds) in [
            ("90s", 90),
            ("15m", 900),
            ("2h", 7_200),
            ("7d", 604_800),
            ("1h30m", 5_400),
            ("1h 30m", 5_400),
            ("1.5h", 5_400),
            ("2w", 1_209_600),
            ("1 day, 2 hours", 93_600),
            ("365d", 31_536_000),
            ("0s", 0),
            ("0000015m", 900),
        ] {
            assert_eq!(duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "m", "15", "-1h", "1mo", "1y", "15é", "1h30", "h1"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn moment_is_a_time_or_a_duration_ago() {
        assert_eq!(moment("2024-05-10").unwrap().to_string(), "2024-05-10T00:00:00.000000Z");
        let (ago, two_hours) = (moment("2h").unwrap(), Duration::from_secs(7_200));
        let now = Timestamp::now();
        assert!(now.saturating_sub(two_hours + Duration::from_secs(60)) < ago && ago <= now.saturating_sub(two_hours));
        for text in ["", "m", "15", "-1h", "yesterday", "15é", "1mo"] {
            assert!(moment(text).unwrap_err().starts_with("expected an ISO 8601 time"), "{text}");
        }
    }
}
