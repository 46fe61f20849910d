//! Which entries are shown.

use std::ops::RangeInclusive;
use std::time::Duration;

use clap::Args;
use tagtrail::TraceId;
use tagtrail_querylog::{Entry, Record, Timestamp};

/// All that is given must be so.
#[derive(Args)]
#[command(next_help_heading = "Filters")]
pub(crate) struct Filter {
    /// Records with this tag: `NAME=VALUE`, or `NAME` with any value. Repeat it for several, which all must be there.
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Records of this trace: 32 hexadecimal digits.
    #[arg(long, value_name = "ID")]
    trace: Option<TraceId>,
    /// Records with this status: `404`, `5xx`, or `400-499`. Repeat it for several, of which one must be so.
    #[arg(long, value_name = "STATUS", value_parser = status)]
    status: Vec<RangeInclusive<u16>>,
    /// Records whose path begins so.
    #[arg(long = "path", value_name = "PREFIX")]
    prefix: Option<String>,
    /// Records of this route.
    #[arg(long)]
    route: Option<String>,
    /// Records that began at this time or later: in ISO 8601, or so long ago: `90s`, `15m`, `2h`, `7d`.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Records that began before this time.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
}

impl Filter {
    pub(crate) fn range(&self) -> std::ops::Range<Timestamp> {
        self.since.unwrap_or(Timestamp::MIN)..self.until.unwrap_or(Timestamp::MAX)
    }

    /// Whether an entry is shown. Gaps and foreign lines are, unless the filter asks for certain records.
    pub(crate) fn passes(&self, entry: &Entry) -> bool {
        match entry {
            Entry::Record(record) => self.passes_record(record),
            // Nobody knows whether what is missing would pass.
            _ => true,
        }
    }

    fn passes_record(&self, record: &Record) -> bool {
        let status = record.response.status;
        self.tag.iter().all(|tag| has_tag(record, tag))
            && self.trace.is_none_or(|trace| record.trace_id == trace)
            && (self.status.is_empty()
                || status.is_some_and(|status| self.status.iter().any(|range| range.contains(&status))))
            && self.prefix.as_ref().is_none_or(|prefix| record.request.path.starts_with(prefix.as_str()))
            && self.route.as_ref().is_none_or(|route| record.request.route.as_ref() == Some(route))
    }
}

fn has_tag(record: &Record, tag: &str) -> bool {
    match tag.split_once('=') {
        Some((name, value)) => record.tags.get(name) == Some(value),
        None => record.tags.get(tag).is_some(),
    }
}

fn status(text: &str) -> Result<RangeInclusive<u16>, String> {
    let number = |text: &str| text.parse().ok().filter(|status| (100..1_000).contains(status));
    let range = match text.strip_suffix("xx") {
        Some(class) => {
            class.parse().ok().filter(|class| (1..10).contains(class)).map(|class: u16| class * 100..=class * 100 + 99)
        }
        None => match text.split_once('-') {
            Some((first, last)) => number(first).zip(number(last)).map(|(first, last)| first..=last),
            None => number(text).map(|status| status..=status),
        },
    };
    range.ok_or_else(|| "a status is 404, 5xx or 400-499".to_owned())
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_a_number_a_class_or_a_range() {
        assert_eq!(status("404"), Ok(404..=404));
        assert_eq!(status("5xx"), Ok(500..=599));
        assert_eq!(status("400-499"), Ok(400..=499));
        for text in ["", "xx", "5x", "0xx", "99", "1000", "4xx-5xx", "-", "400-", "é"] {
            assert!(status(text).is_err(), "{text}");
        }
    }

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
