//! Options that several commands share, and how their values are parsed.

use std::time::Duration;

use clap::Args;
use tagtrail::TraceId;
use tagtrail_querylog::audit::Order;
use tagtrail_querylog::{Timestamp, Window};

use crate::error::UsageError;
use crate::out::{Format, report};
use crate::times::{TimeExpression, ZoneArg};

/// When records started.
#[derive(Args)]
pub(crate) struct TimeArgs {
    /// Show only records that started at or after this time: `2024-05-10 18:05`, `15m`, `2 hours ago`, `yesterday`
    ///
    /// Also an ISO 8601 time with an offset or a time zone (`2024-05-10T18:05+02:00`, `2024-05-10 18:05[Europe/Berlin]`),
    /// `today`, a time of today (`18:05`), and seconds or milliseconds since 1970.
    #[arg(long, value_name = "TIME", alias = "start-timestamp")]
    since: Option<TimeExpression>,
    /// Show only records that started before this time
    #[arg(long, value_name = "TIME")]
    until: Option<TimeExpression>,
    #[command(flatten)]
    zone: ZoneArg,
}

impl TimeArgs {
    pub(crate) fn since(&self) -> Option<Timestamp> {
        self.since.as_ref().map(|since| self.zone.moment(since))
    }

    fn until(&self) -> Option<Timestamp> {
        self.until.as_ref().map(|until| self.zone.moment(until))
    }

    /// Returns another time, in the same zone.
    pub(crate) fn moment(&self, expression: &TimeExpression) -> Timestamp {
        self.zone.moment(expression)
    }

    /// Returns the last moment of the range.
    pub(crate) fn last(&self) -> Option<Timestamp> {
        self.until().map(|until| until.saturating_sub(Duration::from_micros(1)))
    }

    pub(crate) fn range(&self) -> Result<std::ops::Range<Timestamp>, UsageError> {
        in_order(self.since(), self.until())?;
        Ok(self.since().unwrap_or(Timestamp::MIN)..self.until().unwrap_or(Timestamp::MAX))
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

    /// Returns the part of a window in which all records were shown, up to the last one of so many.
    pub(crate) fn shown(&self, window: Window, count: usize, last: Option<Timestamp>) -> Window {
        match last.filter(|_| count == self.limit()) {
            Some(last) if self.newest_first => Window::from(last..=window.end),
            Some(last) => Window::from(window.start..=last),
            None => window,
        }
    }

    /// Reports that there may be more records, if the default limit was reached.
    pub(crate) fn report_if_limited(&self, shown: usize) {
        if self.limit.is_none() && shown == self.limit() {
            report(&format!("only the first {shown} records are shown; for more, use --all or --limit"));
        }
    }
}

pub(crate) fn trace_id(text: &str) -> Result<TraceId, &'static str> {
    text.parse().map_err(|_| "expected 32 lowercase hexadecimal digits, not all zero")
}
