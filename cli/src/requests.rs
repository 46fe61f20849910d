//! `tagtrail-log requests` and `tagtrail-log trace`: ask an audit log about requests, in a store or by its API.

use std::error::Error;
use std::io::Write;

use clap::Args;
use tagtrail::TraceId;
use tagtrail_querylog::Entry;
use tagtrail_querylog::audit::{RequestFilter, Scan, StatusMatch};

use crate::audit::{SourceArgs, block_on};
use crate::options::{ListArgs, TimeArgs, trace_id, window};
use crate::out::{self, Format, Output};
use crate::query::show;
use crate::table;

#[derive(Args)]
pub(crate) struct RequestsVerb {
    #[command(flatten)]
    source: SourceArgs,
    /// Requests of this trace: 32 hexadecimal digits.
    #[arg(long, value_name = "ID", value_parser = trace_id)]
    trace: Option<TraceId>,
    /// Requests with this tag: `NAME=VALUE`. Repeat it for several, which all must be there.
    #[arg(long, value_name = "TAG", value_parser = tag)]
    tag: Vec<(String, String)>,
    /// Requests with this status: `404`, or `5xx`.
    #[arg(long)]
    status: Option<StatusMatch>,
    /// Requests of this route.
    #[arg(long)]
    route: Option<String>,
    #[command(flatten)]
    times: TimeArgs,
    #[command(flatten)]
    shown: ListArgs,
}

#[derive(Args)]
pub(crate) struct TraceVerb {
    /// The trace-id: 32 hexadecimal digits.
    #[arg(value_name = "ID", value_parser = trace_id)]
    trace: TraceId,
    #[command(flatten)]
    source: SourceArgs,
    /// A tree for people, or a JSON object. By default a tree on a terminal, else JSON.
    #[arg(long, value_enum)]
    format: Option<Format>,
}

fn tag(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) =
        text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or("invalid tag: expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Requests that are deeper in a tree are indented no more than this.
const MAX_DEPTH: usize = 40;

impl RequestsVerb {
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        self.times.range()?;
        block_on(async move {
            let log = self.source.open(None).await?;
            let window = window(self.times.since(), self.times.last());
            let scan = Scan::new(self.filter(), window).order(self.shown.order());
            let found = log.all_requests(scan, self.shown.page());
            let mut out = Output::new(self.shown.format);
            show(&mut out, found, Some(&self.shown), |out, record| out.show(Entry::Record(Box::new(record)))).await
        })
    }

    fn filter(&self) -> RequestFilter {
        let filter = self.tag.iter().fold(RequestFilter::new(), |filter, (name, value)| filter.tag(name, value));
        let filter = self.trace.into_iter().fold(filter, RequestFilter::trace);
        let filter = self.status.into_iter().fold(filter, RequestFilter::status);
        self.route.iter().fold(filter, RequestFilter::route)
    }
}

impl TraceVerb {
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        block_on(async move {
            let trace = self.source.open(None).await?.trace(self.trace).await?;
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
                out::report("the environment has no requests of this trace");
            }
            if !trace.complete {
                out::report("the trace has more requests than these");
            }
            Ok(())
        })
    }
}
