//! Options that several subcommands have, and how their values are read.

use std::time::Duration;

use clap::Args;
use tagtrail::TraceId;
use tagtrail_querylog::{Order, Timestamp, Window};

use crate::out::{self, Format, Misuse};

/// When records began.
#[derive(Args)]
pub(crate) struct Times {
    /// Those that began at this time or later: in ISO 8601, or so long ago: `90s`, `15m`, `2h`, `7d`.
    #[arg(long, value_name = "TIME", value_parser = moment, alias = "start-timestamp")]
    since: Option<Timestamp>,
    /// Those that began before this time.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
}

impl Times {
    pub(crate) fn since(&self) -> Option<Timestamp> {
        self.since
    }

    /// The last moment that is asked for.
    pub(crate) fn last(&self) -> Option<Timestamp> {
        self.until.map(|until| until.minus(Duration::from_micros(1)))
    }

    pub(crate) fn range(&self) -> Result<std::ops::Range<Timestamp>, Misuse> {
        in_order(self.since, self.until)?;
        Ok(self.since.unwrap_or(Timestamp::MIN)..self.until.unwrap_or(Timestamp::MAX))
    }
}

/// Nothing can begin in a time that ends before it begins: whoever asks so has mistaken one of its ends.
pub(crate) fn in_order(since: Option<Timestamp>, until: Option<Timestamp>) -> Result<(), Misuse> {
    match since.zip(until) {
        Some((since, until)) if since >= until => Err(Misuse::new("--since is not before --until")),
        _ => Ok(()),
    }
}

/// From the first moment to the last, both of which belong to it.
pub(crate) fn window(first: Option<Timestamp>, last: Option<Timestamp>) -> Window {
    Window { start: first.unwrap_or(Timestamp::MIN), end: last.unwrap_or(Timestamp::MAX) }
}

/// How many records are shown, from which end, and how.
#[derive(Args)]
pub(crate) struct Shown {
    /// The newest first.
    #[arg(long)]
    newest_first: bool,
    /// How many, at most; 100 by default.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "all")]
    limit: Option<u64>,
    /// All of them, page by page.
    #[arg(long)]
    all: bool,
    /// A table for people, or lines of JSON. By default a table on a terminal, else JSON.
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
}

/// So many records are shown where nothing is said.
const LIMIT: u64 = 100;

/// So many records are asked for at a time.
const PAGE: usize = 300;

impl Shown {
    pub(crate) fn most(&self) -> usize {
        if self.all { usize::MAX } else { usize::try_from(self.limit.unwrap_or(LIMIT)).unwrap_or(usize::MAX) }
    }

    /// How many records are asked for at a time: no more than are shown.
    pub(crate) fn page(&self) -> usize {
        self.most().min(PAGE)
    }

    pub(crate) fn order(&self) -> Order {
        if self.newest_first { Order::NewestFirst } else { Order::OldestFirst }
    }

    /// Says that these may not be all, to those who did not choose how many.
    pub(crate) fn tell_of_more(&self, shown: usize) {
        if self.limit.is_none() && shown == self.most() {
            out::tell(&format!("these are the first {shown}, and there may be more: see --all and --limit"));
        }
    }
}

/// A moment, or how long ago it was.
pub(crate) fn moment(text: &str) -> Result<Timestamp, String> {
    if let Some(ago) = ago(text) {
        return Ok(Timestamp::now().minus(ago));
    }
    text.parse().map_err(|error| format!("{error}; or how long ago, such as 15m"))
}

fn ago(text: &str) -> Option<Duration> {
    let unit = match text.chars().next_back()? {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    let count: u64 = text[..text.len() - 1].parse().ok()?;
    Some(Duration::from_secs(count.saturating_mul(unit)))
}

pub(crate) fn trace_id(text: &str) -> Result<TraceId, &'static str> {
    text.parse().map_err(|_| "a trace-id is 32 hexadecimal digits in lower case, not all of them zero")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_moment_or_how_long_ago() {
        assert_eq!(ago("15m"), Some(Duration::from_secs(900)));
        assert_eq!(ago("7d"), Some(Duration::from_secs(604_800)));
        assert_eq!(moment("2024-05-10").unwrap().to_string(), "2024-05-10T00:00:00.000000Z");
        assert!(moment("2h").unwrap() < Timestamp::now().minus(Duration::from_secs(7_100)));
        for text in ["", "m", "15", "-1h", "1.5h", "15é"] {
            assert!(moment(text).is_err(), "{text}");
        }
    }
}
