//! `tagtrail-log requests` and `tagtrail-log trace`: ask an audit log about requests, in a store or by its API.

use std::error::Error;
use std::io::Write;
use std::pin::{Pin, pin};

use clap::Args;
use futures_util::stream::{self, Stream, StreamExt, TryStreamExt};
use tagtrail::TraceId;
use tagtrail_querylog::Scan;
use tagtrail_querylog::{AuditClient, AuditLog, Entry, Record, RequestFilter, StatusMatch};

use crate::audit::{Opened, SourceArgs, block_on, refused};
use crate::options::{ListArgs, TimeArgs, trace_id, window};
use crate::out::{self, Format, Output, counting};
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
    let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or("a tag is NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

type Records = Pin<Box<dyn Stream<Item = Result<Record, Box<dyn Error>>>>>;

/// What is deeper in a tree is shown as if it were so deep.
const DEEPEST: usize = 40;

impl RequestsVerb {
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        let limit = self.shown.limit();
        self.times.range()?;
        block_on(async move {
            let records = match self.source.open().await? {
                Opened::Store(log, environment) => self.of_store(log, environment),
                Opened::Server(client) => self.of_server(&client),
            };
            let mut records = pin!(records.take(limit));
            let mut out = Output::new(self.shown.format);
            let progress = counting();
            let mut count = 0;
            while let Some(record) = records.try_next().await? {
                count += 1;
                progress.inc(1);
                out.show(Entry::Record(Box::new(record)))?;
            }
            progress.finish_and_clear();
            out.flush()?;
            out::report_if_none(count > 0);
            self.shown.report_if_limited(count);
            Ok(())
        })
    }

    fn of_server(&self, client: &AuditClient) -> Records {
        let mut query = client.requests().limit(self.shown.page());
        if let Some(trace) = self.trace {
            query = query.trace(trace);
        }
        for (name, value) in &self.tag {
            query = query.tag(name, value);
        }
        if let Some(status) = self.status {
            query = query.status(status);
        }
        if let Some(route) = &self.route {
            query = query.route(route);
        }
        if let Some(since) = self.times.since() {
            query = query.start(since);
        }
        if let Some(last) = self.times.last() {
            query = query.end(last);
        }
        if self.shown.newest_first {
            query = query.newest_first();
        }
        query.records().map_err(refused).boxed_local()
    }

    fn of_store(&self, log: AuditLog, environment: String) -> Records {
        let mut requests = RequestFilter::of(environment);
        if let Some(trace) = self.trace {
            requests = requests.trace(trace);
        }
        for (name, value) in &self.tag {
            requests = requests.tag(name, value);
        }
        if let Some(status) = self.status {
            requests = requests.status(status);
        }
        if let Some(route) = &self.route {
            requests = requests.route(route);
        }
        let window = window(self.times.since(), self.times.last());
        let range = Scan::new(requests, window).newest_first(self.shown.newest_first);
        let page = self.shown.page() as usize;
        let pages = stream::try_unfold(Some((log, range)), move |state| async move {
            let Some((log, range)) = state else { return Ok(None) };
            let found = log.requests(range, page).await?;
            Ok::<_, Box<dyn Error>>(Some((found.requests, found.next.map(|next| (log, next)))))
        });
        pages.map_ok(|requests| stream::iter(requests.into_iter().map(Ok))).try_flatten().boxed_local()
    }
}

impl TraceVerb {
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        block_on(async move {
            let trace = match self.source.open().await? {
                Opened::Store(log, environment) => log.trace(&environment, self.trace).await?,
                Opened::Server(client) => client.trace(self.trace).await.map_err(refused)?,
            };
            let mut out = Output::new(self.format);
            if out.json {
                out.json(&trace)?;
            } else {
                for request in &trace.requests {
                    write!(out.writer, "{:1$}", "", 2 * request.depth.min(DEEPEST))?;
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
