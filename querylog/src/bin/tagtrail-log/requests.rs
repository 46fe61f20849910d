//! `tagtrail-log requests` and `tagtrail-log trace`: ask an audit log about requests, in a store or by its API.

use std::error::Error;
use std::io::{self, Write};
use std::pin::{Pin, pin};
use std::time::Duration;

use clap::Args;
use futures_util::stream::{self, Stream, StreamExt, TryStreamExt};
use tagtrail::TraceId;
use tagtrail_querylog::store::Range;
use tagtrail_querylog::{AuditClient, AuditLog, Entry, Record, Requests, Status, Timestamp, Window};

use crate::audit::{Opened, Source, block_on};
use crate::filter::moment;
use crate::query::counting;
use crate::{Format, Out, table};

#[derive(Args)]
pub(crate) struct RequestsVerb {
    #[command(flatten)]
    source: Source,
    /// Requests of this trace: 32 hexadecimal digits.
    #[arg(long, value_name = "ID")]
    trace: Option<TraceId>,
    /// Requests with this tag: `NAME=VALUE`. Repeat it for several, which all must be there.
    #[arg(long, value_name = "TAG", value_parser = tag)]
    tag: Vec<(String, String)>,
    /// Requests with this status: `404`, or `5xx`.
    #[arg(long)]
    status: Option<Status>,
    /// Requests of this route.
    #[arg(long)]
    route: Option<String>,
    /// Requests that began at this time or later: in ISO 8601, or so long ago: `90s`, `15m`, `2h`, `7d`.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Requests that began before this time.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    /// The newest first.
    #[arg(long)]
    newest_first: bool,
    /// How many, at most.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "all")]
    limit: u64,
    /// All of them, page by page.
    #[arg(long)]
    all: bool,
    /// A table for people, or lines of JSON. By default a table on a terminal, else JSON.
    #[arg(long, value_enum)]
    format: Option<Format>,
}

#[derive(Args)]
pub(crate) struct TraceVerb {
    /// The trace-id: 32 hexadecimal digits.
    #[arg(value_name = "ID")]
    trace: TraceId,
    #[command(flatten)]
    source: Source,
    /// A tree for people, or a JSON object. By default a tree on a terminal, else JSON.
    #[arg(long, value_enum)]
    format: Option<Format>,
}

fn tag(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("a tag is NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

type Records = Pin<Box<dyn Stream<Item = Result<Record, Box<dyn Error>>>>>;

/// What is deeper in a tree is shown as if it were so deep.
const DEEPEST: usize = 40;

/// So many requests are asked for at a time.
const PAGE: u32 = 300;

impl RequestsVerb {
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        let limit = if self.all { usize::MAX } else { usize::try_from(self.limit)? };
        block_on(async move {
            let records = match self.source.open().await? {
                Opened::Store(log, environment) => self.of_store(log, environment),
                Opened::Server(client) => self.of_server(&client),
            };
            let mut records = pin!(records.take(limit));
            let mut out = Out::new(self.format);
            let progress = counting(&io::stdout());
            while let Some(record) = records.try_next().await? {
                progress.inc(1);
                out.show(Entry::Record(Box::new(record)))?;
            }
            progress.finish_and_clear();
            Ok(out.flush()?)
        })
    }

    /// The last moment.
    fn end(&self) -> Option<Timestamp> {
        self.until.map(|until| until.minus(Duration::from_micros(1)))
    }

    /// How many are asked for at a time, so that no more are than are shown.
    fn page(&self) -> u32 {
        if self.all { PAGE } else { u32::try_from(self.limit).unwrap_or(PAGE).min(PAGE) }
    }

    fn of_server(&self, client: &AuditClient) -> Records {
        let mut query = client.requests().limit(self.page());
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
        if let Some(since) = self.since {
            query = query.start(since);
        }
        if let Some(end) = self.end() {
            query = query.end(end);
        }
        if self.newest_first {
            query = query.newest_first();
        }
        query.records().map_err(Box::from).boxed_local()
    }

    fn of_store(&self, log: AuditLog, environment: String) -> Records {
        let mut requests = Requests::of(environment);
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
        let window = Window { start: self.since.unwrap_or(Timestamp::MIN), end: self.end().unwrap_or(Timestamp::MAX) };
        let range = Range::new(requests, window).newest_first(self.newest_first);
        let page = self.page() as usize;
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
                Opened::Server(client) => client.trace(self.trace).await?,
            };
            let mut out = Out::new(self.format);
            if out.json {
                serde_json::to_writer(&mut out.writer, &trace).map_err(io::Error::from)?;
                writeln!(out.writer)?;
            } else {
                for request in &trace.requests {
                    write!(out.writer, "{:1$}", "", 2 * request.depth.min(DEEPEST))?;
                    table::record(&mut out.writer, &request.record, out.colour)?;
                }
            }
            out.flush()?;
            if !trace.complete {
                eprintln!("tagtrail-log: the trace has more requests than these");
            }
            Ok(())
        })
    }
}
