//! `tagtrail-log query`: asks an audit log, in a store or by its API.

use std::error::Error;
use std::io::Write;
use std::pin::{Pin, pin};

use clap::{ArgGroup, Args, ValueEnum};
use futures_util::stream::{self, Stream, StreamExt, TryStreamExt};
use tagtrail_querylog::store::Selection;
use tagtrail_querylog::{AuditClient, AuditLog, AuditRecord, Distinct, LogQuery, Timestamp, printable};
use tagtrail_querylog::{Cursor, Scan};

use crate::audit::{Opened, SourceArgs, block_on, refused};
use crate::error::UsageError;
use crate::options::{ListArgs, TimeArgs, moment, window};
use crate::out::{self, Output, counting};
use crate::table;

#[derive(Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[command(group(ArgGroup::new("filter").args(["id", "udf_id", "udf_name", "shared_token"])))]
pub(crate) struct Query {
    #[command(flatten)]
    source: SourceArgs,
    /// The user to ask a store about: whose own records are shown where neither --exec-env nor a value is asked for.
    #[arg(long, value_name = "EMAIL", conflicts_with = "server")]
    user_email: Option<String>,

    /// The record of this id.
    #[arg(long)]
    id: Option<String>,
    /// The records of this operation's id, which the API calls `udf`.
    #[arg(long)]
    udf_id: Option<String>,
    /// The records of this operation's name: what the handler noted, else the route.
    #[arg(long)]
    udf_name: Option<String>,
    /// The records of this shared token.
    #[arg(long)]
    shared_token: Option<String>,
    /// Those of everybody in the environment, not of the user alone.
    #[arg(long)]
    exec_env: bool,
    /// The latest record of each value; goes before all other filters.
    #[arg(long, requires = "distinct_type")]
    distinct: bool,
    /// Of which value.
    #[arg(long, value_enum)]
    distinct_type: Option<Kind>,
    #[command(flatten)]
    times: TimeArgs,
    /// Those that began at this time or before it.
    #[arg(long, value_name = "TIME", value_parser = moment, conflicts_with = "until")]
    end_timestamp: Option<Timestamp>,
    /// How many of the newest records `--distinct` reads, at most 5,000.
    #[arg(long, default_value_t = 1_000, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    max_records_to_scan: u32,
    #[command(flatten)]
    shown: ListArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Names,
    Ids,
}

type Records = Pin<Box<dyn Stream<Item = Result<AuditRecord, Box<dyn Error>>>>>;

impl Query {
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        let limit = if self.distinct { usize::MAX } else { self.shown.limit() };
        self.times.range()?;
        if self.times.since().zip(self.end_timestamp).is_some_and(|(first, last)| first > last) {
            return Err(UsageError::new("--since is after --end-timestamp").into());
        }
        block_on(async move {
            let records = match self.source.open().await? {
                Opened::Store(log, environment) => self.of_store(log, environment).await?,
                Opened::Server(client) => self.of_server(&client),
            };
            self.show(records.take(limit)).await
        })
    }

    /// The last moment that is asked for.
    fn last(&self) -> Option<Timestamp> {
        self.times.last().or(self.end_timestamp)
    }

    fn of_server(&self, client: &AuditClient) -> Records {
        let mut request = client.log().limit(self.shown.page());
        for (value, filter) in [
            (&self.id, LogQuery::id as fn(_, String) -> _),
            (&self.udf_id, LogQuery::udf_id),
            (&self.udf_name, LogQuery::udf_name),
            (&self.shared_token, LogQuery::shared_token),
        ] {
            if let Some(value) = value {
                request = filter(request, value.clone());
            }
        }
        if self.exec_env {
            request = request.exec_env();
        }
        if let Some(kind) = self.distinct_type.filter(|_| self.distinct) {
            let of = if kind == Kind::Names { Distinct::Names } else { Distinct::Ids };
            request = request.distinct(of).max_records_to_scan(self.max_records_to_scan);
        }
        if let Some(start) = self.times.since() {
            request = request.start(start);
        }
        if let Some(end) = self.last() {
            request = request.end(end);
        }
        if self.shown.newest_first {
            request = request.newest_first();
        }
        let by_id = self.id.is_some();
        request.records().map_err(move |error| if by_id { error.into() } else { refused(error) }).boxed_local()
    }

    async fn of_store(&self, log: AuditLog, environment: String) -> Result<Records, Box<dyn Error>> {
        let window = window(self.times.since(), self.last());
        let scope = || match &self.user_email {
            _ if self.exec_env => Ok(Selection::Environment(environment.clone())),
            Some(email) => Ok(Selection::User(email.clone())),
            None => Err(UsageError::new("--user-email is needed, or --exec-env for the whole environment")),
        };
        if let Some(kind) = self.distinct_type.filter(|_| self.distinct) {
            let of = if kind == Kind::Names { Distinct::Names } else { Distinct::Ids };
            let scan = self.max_records_to_scan.min(5_000) as usize;
            let records = log.latest(scope()?, window, of, scan).await?;
            return Ok(stream::iter(records.into_iter().map(Ok)).boxed_local());
        }
        if let Some(id) = &self.id {
            let record = log.get_in(&environment, id).await?.ok_or("no record of the environment has this id")?;
            return Ok(stream::iter([Ok(record)]).boxed_local());
        }
        let selection = match (&self.udf_id, &self.udf_name, &self.shared_token) {
            (Some(value), _, _) => Selection::UdfId { environment: environment.clone(), value: value.clone() },
            (_, Some(value), _) => Selection::UdfName { environment: environment.clone(), value: value.clone() },
            (_, _, Some(value)) => Selection::SharedToken { environment: environment.clone(), value: value.clone() },
            (None, None, None) => scope()?,
        };
        let range = Scan::new(selection, window).newest_first(self.shown.newest_first);
        let page = self.shown.page() as usize;
        let pages = stream::try_unfold(Some((log, range)), move |state| async move {
            let Some((log, range)) = state else { return Ok(None) };
            let found = log.page(range.clone(), page).await?;
            let last = found.records.last().filter(|_| found.more);
            let next = last.map(|last| range.behind(Cursor::of(last)));
            Ok::<_, Box<dyn Error>>(Some((found.records, next.map(|range| (log, range)))))
        });
        Ok(pages.map_ok(|records| stream::iter(records.into_iter().map(Ok))).try_flatten().boxed_local())
    }

    async fn show(
        &self,
        records: impl Stream<Item = Result<AuditRecord, Box<dyn Error>>>,
    ) -> Result<(), Box<dyn Error>> {
        let mut out = Output::new(self.shown.format);
        let progress = counting();
        let mut records = pin!(records);
        let mut count = 0;
        while let Some(record) = records.try_next().await? {
            count += 1;
            progress.inc(1);
            if out.json {
                out.json(&record)?;
            } else {
                writeln!(out.writer, "{}", line(&record))?;
            }
        }
        progress.finish_and_clear();
        out.flush()?;
        out::report_if_none(count > 0);
        if !self.distinct {
            self.shown.report_if_limited(count);
        }
        Ok(())
    }
}

/// When, how long, who, what, and the first line of what went wrong.
fn line(record: &AuditRecord) -> String {
    let time = record.execution_time.map_or_else(|| "never ended".to_owned(), |seconds| format!("{seconds:.3} s"));
    let or_dash = |text: &Option<String>| printable(text.as_deref().unwrap_or("-")).into_owned();
    let error = record.stderr.as_deref().unwrap_or_default().trim().lines().next().unwrap_or_default();
    let (who, what) = (or_dash(&record.user_email), or_dash(&record.udf_name));
    let (who, what) = (table::left(&who, 24), table::left(&what, 32));
    format!("{}  {time:>12}  {who}  {what}  {}", record.timestamp, printable(error)).trim_end().to_owned()
}
