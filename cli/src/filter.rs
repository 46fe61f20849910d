//! Filters of the commands that read a log's files.

use std::ops::RangeInclusive;

use clap::Args;
use tagtrail::TraceId;
use tagtrail_querylog::audit::RequestFilter;
use tagtrail_querylog::{Entry, Outcome, Record, Timestamp};

use crate::error::UsageError;
use crate::options::{TimeArgs, trace_id};

/// Filters, which a record must all pass.
#[derive(Args)]
#[command(next_help_heading = "Filters")]
pub(crate) struct Filter {
    /// Show only records with this tag: `NAME=VALUE`, or `NAME` for any value; repeat to require several tags
    #[arg(long, value_name = "TAG", value_parser = tag)]
    tag: Vec<String>,
    /// Show only records of this trace: 32 hexadecimal digits
    #[arg(long, value_name = "ID", value_parser = trace_id)]
    trace: Option<TraceId>,
    /// Show only records with this status: `404`, `5xx` or `400-499`; repeat to allow several
    #[arg(long, value_name = "STATUS", value_parser = status)]
    status: Vec<RangeInclusive<u16>>,
    /// Show only records whose path starts with this prefix
    #[arg(long = "path", value_name = "PREFIX")]
    prefix: Option<String>,
    /// Show only records of this route
    #[arg(long)]
    route: Option<String>,
    #[command(flatten)]
    ends: EndArgs,
    #[command(flatten)]
    times: TimeArgs,
}

/// How requests ended, and whom they asked.
#[derive(Args)]
pub(crate) struct EndArgs {
    /// Show only requests that failed: by their outcome, a status of 5xx, or a gRPC status of a server's error
    #[arg(long)]
    failed: bool,
    /// Show only requests that ended in this way: `complete`, `aborted`, `failed`, `panicked`,
    /// `refused` or `upgraded`
    #[arg(long)]
    outcome: Option<Outcome>,
    /// Show only requests with this gRPC status: `14` for UNAVAILABLE
    #[arg(long, value_name = "NUMBER")]
    grpc_status: Option<u16>,
    /// Show only requests for this host and port: `shop.example:8080`
    #[arg(long, value_name = "HOST")]
    authority: Option<String>,
}

impl EndArgs {
    pub(crate) fn filter(&self) -> RequestFilter {
        let filter = if self.failed { RequestFilter::new().failed(true) } else { RequestFilter::new() };
        let filter = self.outcome.into_iter().fold(filter, RequestFilter::outcome);
        let filter = self.grpc_status.into_iter().fold(filter, RequestFilter::grpc_status);
        self.authority.iter().fold(filter, RequestFilter::authority)
    }
}

impl Filter {
    pub(crate) fn range(&self) -> Result<std::ops::Range<Timestamp>, UsageError> {
        self.times.range()
    }

    /// Returns whether an entry is shown. Gaps and lines that are not records always are.
    pub(crate) fn passes(&self, entry: &Entry) -> bool {
        match entry {
            Entry::Record(record) => self.passes_record(record),
            // It is unknown whether missing records would pass.
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
            && self.ends.filter().matches(record)
    }
}

fn has_tag(record: &Record, tag: &str) -> bool {
    match tag.split_once('=') {
        Some((name, value)) => record.tags.get(name) == Some(value),
        None => record.tags.get(tag).is_some(),
    }
}

fn tag(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || text.starts_with('=') { Err("expected NAME=VALUE or NAME") } else { Ok(text.to_owned()) }
}

fn status(text: &str) -> Result<RangeInclusive<u16>, String> {
    let number = |text: &str| text.parse().ok().filter(|status| (100..1_000).contains(status));
    let range = match text.strip_suffix("xx") {
        Some(class) => {
            class.parse().ok().filter(|class| (1..10).contains(class)).map(|class: u16| class * 100..=class * 100 + 99)
        }
        None => match text.split_once('-') {
            Some((first, last)) => {
                number(first).zip(number(last)).filter(|(first, last)| first <= last).map(|(first, last)| first..=last)
            }
            None => number(text).map(|status| status..=status),
        },
    };
    range.ok_or_else(|| "expected a status (404), a class (5xx) or a range (400-499)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_a_number_a_class_or_a_range() {
        assert_eq!(status("404"), Ok(404..=404));
        assert_eq!(status("5xx"), Ok(500..=599));
        assert_eq!(status("400-499"), Ok(400..=499));
        for text in ["", "xx", "5x", "0xx", "99", "1000", "4xx-5xx", "-", "400-", "é", "499-400"] {
            assert!(status(text).is_err(), "{text}");
        }
    }

    #[test]
    fn tag_requires_a_name() {
        assert!(tag("a").is_ok() && tag("a=b").is_ok() && tag("a=").is_ok());
        assert!(tag("").is_err() && tag("=b").is_err());
    }
}
