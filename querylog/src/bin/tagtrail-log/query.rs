//! `tagtrail-log query`: asks an audit log, in a store or by its API.

use std::error::Error;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::pin::{Pin, pin};

use clap::{ArgGroup, Args, ValueEnum};
use futures_util::stream::{self, Stream, StreamExt, TryStreamExt};
use indicatif::{ProgressBar, ProgressStyle};
use tagtrail_querylog::store::{Distinct, Place, Range, Selection};
use tagtrail_querylog::{AuditClient, AuditLog, AuditRecord, DistinctType, Timestamp, Window};

use crate::Format;
use crate::audit::{Opened, Source, block_on};

#[derive(Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[command(group(ArgGroup::new("filter").args(["id", "udf_id", "udf_name", "shared_token"])))]
pub(crate) struct Query {
    #[command(flatten)]
    source: Source,
    /// The user to ask a store about; needed where it is neither for the environment nor for a value.
    #[arg(long, value_name = "EMAIL", requires = "store")]
    user_email: Option<String>,

    /// The record of this id.
    #[arg(long)]
    id: Option<String>,
    /// The records of this operation's id.
    #[arg(long)]
    udf_id: Option<String>,
    /// The records of this operation's name.
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
    /// The first moment, in ISO 8601.
    #[arg(long, value_name = "TIME")]
    start_timestamp: Option<Timestamp>,
    /// The last moment, included.
    #[arg(long, value_name = "TIME")]
    end_timestamp: Option<Timestamp>,
    /// The newest first.
    #[arg(long)]
    newest_first: bool,
    /// How many records, at most.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "all")]
    limit: u64,
    /// All records, page by page.
    #[arg(long)]
    all: bool,
    /// How many of the newest records `--distinct` reads, at most 5,000.
    #[arg(long, default_value_t = 1_000, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    max_records_to_scan: u32,
    /// A table for people, or lines of JSON. By default a table on a terminal, else JSON.
    #[arg(long, value_enum)]
    format: Option<Format>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Names,
    Ids,
}

type Records = Pin<Box<dyn Stream<Item = Result<AuditRecord, Box<dyn Error>>>>>;

/// So many records are asked for at a time.
const PAGE: u32 = 300;

impl Query {
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        let limit = if self.all || self.distinct { usize::MAX } else { usize::try_from(self.limit)? };
        let format = self.format;
        block_on(async move {
            let records = match self.source.open().await? {
                Opened::Store(log, environment) => self.of_store(log, environment).await?,
                Opened::Server(client) => self.of_server(&client),
            };
            show(records.take(limit), format).await
        })
    }

    fn of_server(&self, client: &AuditClient) -> Records {
        let mut request = client.log().limit(self.page());
        for (value, filter) in [
            (&self.id, tagtrail_querylog::LogRequest::id as fn(_, String) -> _),
            (&self.udf_id, tagtrail_querylog::LogRequest::udf_id),
            (&self.udf_name, tagtrail_querylog::LogRequest::udf_name),
            (&self.shared_token, tagtrail_querylog::LogRequest::shared_token),
        ] {
            if let Some(value) = value {
                request = filter(request, value.clone());
            }
        }
        if self.exec_env {
            request = request.exec_env();
        }
        if let Some(kind) = self.distinct_type.filter(|_| self.distinct) {
            let of = if kind == Kind::Names { DistinctType::Names } else { DistinctType::Ids };
            request = request.distinct(of).max_records_to_scan(self.max_records_to_scan);
        }
        if let Some(start) = self.start_timestamp {
            request = request.start(start);
        }
        if let Some(end) = self.end_timestamp {
            request = request.end(end);
        }
        if self.newest_first {
            request = request.newest_first();
        }
        request.records().map_err(Box::from).boxed_local()
    }

    async fn of_store(&self, log: AuditLog, environment: String) -> Result<Records, Box<dyn Error>> {
        let window = Window {
            start: self.start_timestamp.unwrap_or(Timestamp::MIN),
            end: self.end_timestamp.unwrap_or(Timestamp::MAX),
        };
        let scope = || match &self.user_email {
            _ if self.exec_env => Ok(Selection::Environment(environment.clone())),
            Some(email) => Ok(Selection::User(email.clone())),
            None => Err("--user-email is needed, or --exec-env for the whole environment"),
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
        let range = Range::new(selection, window).newest_first(self.newest_first);
        let page = self.page() as usize;
        let pages = stream::try_unfold(Some((log, range)), move |state| async move {
            let Some((log, range)) = state else { return Ok(None) };
            let found = log.page(range.clone(), page).await?;
            let last = found.records.last().filter(|_| found.more);
            let next = last.map(|last| range.behind(Place::of(last)));
            Ok::<_, Box<dyn Error>>(Some((found.records, next.map(|range| (log, range)))))
        });
        Ok(pages.map_ok(|records| stream::iter(records.into_iter().map(Ok))).try_flatten().boxed_local())
    }

    /// How many records a page has, so that no more are asked for than are shown.
    fn page(&self) -> u32 {
        if self.all { PAGE } else { u32::try_from(self.limit).unwrap_or(PAGE).min(PAGE) }
    }
}

async fn show(
    records: impl Stream<Item = Result<AuditRecord, Box<dyn Error>>>,
    format: Option<Format>,
) -> Result<(), Box<dyn Error>> {
    let stdout = io::stdout().lock();
    let json = format.map_or(!stdout.is_terminal(), |format| format == Format::Json);
    let progress = counting(&stdout);
    let mut out = BufWriter::new(stdout);
    let mut records = pin!(records);
    while let Some(record) = records.try_next().await? {
        progress.inc(1);
        if json {
            serde_json::to_writer(&mut out, &record).map_err(io::Error::from)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{}", line(&record))?;
        }
    }
    progress.finish_and_clear();
    Ok(out.flush()?)
}

/// Counts records on the standard error, where the records themselves are not on the terminal.
pub(crate) fn counting(stdout: &impl IsTerminal) -> ProgressBar {
    let progress = if stdout.is_terminal() { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
    match ProgressStyle::with_template("{spinner} {human_pos} records, {per_sec}") {
        Ok(style) => progress.with_style(style),
        Err(_) => progress,
    }
}

/// When, how long, who, what, and the first line of what went wrong.
fn line(record: &AuditRecord) -> String {
    let time = record.execution_time.map_or_else(|| "never ended".to_owned(), |seconds| format!("{seconds:.3} s"));
    let shown = |text: &Option<String>| text.as_deref().unwrap_or("-").escape_debug().to_string();
    let error = record.stderr.as_deref().unwrap_or_default().trim().lines().next().unwrap_or_default();
    let (who, what) = (shown(&record.user_email), shown(&record.udf_name));
    format!("{}  {time:>12}  {who:<24}  {what:<32}  {}", record.timestamp, error.escape_debug())
}
