//! `tagtrail-log requests` and `trace`: query the requests of an audit log.

use std::error::Error;
use std::io::Write;

use clap::Args;
use tagtrail::TraceId;
use tagtrail_querylog::Entry;
use tagtrail_querylog::audit::{RequestFilter, Scan, StatusMatch};

use crate::filter::EndArgs;
use crate::options::{ListArgs, TimeArgs, trace_id, window};
use crate::out::{Format, Output, report};
use crate::query::show;
use crate::runtime::block_on;
use crate::source::SourceArgs;
use crate::table;

#[derive(Args)]
pub(crate) struct Requests {
    #[command(flatten)]
    source: SourceArgs,
    /// Show only requests of this trace: 32 hexadecimal digits
    #[arg(long, value_name = "ID", value_parser = trace_id)]
    trace: Option<TraceId>,
    /// Show only requests with this tag: `NAME=VALUE`; repeat to require several tags
    #[arg(long, value_name = "TAG", value_parser = tag)]
    tag: Vec<(String, String)>,
    /// Show only requests with this status: `404` or `5xx`
    #[arg(long)]
    status: Option<StatusMatch>,
    /// Show only requests of this route
    #[arg(long)]
    route: Option<String>,
    #[command(flatten)]
    ends: EndArgs,
    #[command(flatten)]
    times: TimeArgs,
    #[command(flatten)]
    shown: ListArgs,
}

#[derive(Args)]
pub(crate) struct Trace {
    /// Trace-id: 32 hexadecimal digits
    #[arg(value_name = "ID", value_parser = trace_id)]
    id: TraceId,
    #[command(flatten)]
    source: SourceArgs,
    /// Format of the output: a tree or a JSON object [default: table on a terminal, else json]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

fn tag(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// The maximum indentation in a tree.
const MAX_DEPTH: usize = 40;

impl Requests {
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        self.times.range()?;
        block_on(async move {
            let source = self.source.open(None).await?;
            let window = window(self.times.since(), self.times.last());
            let missing = source.missing(window).await?;
            let scan = Scan::new(self.filter(), window).order(self.shown.order());
            let found = source.questions.all_requests(scan, self.shown.page());
            let mut out = Output::new(self.shown.format);
            let mut last = None;
            let count = show(&mut out, found, Some(&self.shown), |out, record| {
                last = Some(record.start_time);
                out.show(Entry::Record(Box::new(record)))
            })
            .await?;
            let missing = missing.within(self.shown.shown(window, count, last));
            if out.json {
                missing.write_gaps(&mut out)?;
            }
            missing.report();
            Ok(())
        })
    }

    fn filter(&self) -> RequestFilter {
        let filter = self.tag.iter().fold(self.ends.filter(), |filter, (name, value)| filter.tag(name, value));
        let filter = self.trace.into_iter().fold(filter, RequestFilter::trace);
        let filter = self.status.into_iter().fold(filter, RequestFilter::status);
        self.route.iter().fold(filter, RequestFilter::route)
    }
}

impl Trace {
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        block_on(async move {
            let (trace, missing) = self.source.open(None).await?.trace(self.id).await?;
            let mut out = Output::new(self.format);
            if out.json {
                out.json(&trace)?;
            } else {
                for request in &trace.requests {
                    write!(out.writer, "{:1$}", "", 2 * request.depth.min(MAX_DEPTH))?;
                    table::record(&mut out.writer, &request.record, out.color)?;
                }
            }
            out.flush()?;
            if trace.requests.is_empty() {
                report("the environment has no requests of this trace");
            }
            if !trace.complete {
                report("the trace has more requests than these");
            }
            missing.report();
            Ok(())
        })
    }
}
