//! `tagtrail-log query`: queries the records of an audit log.

use std::error::Error;
use std::io::{self, Write};

use clap::{ArgGroup, Args, ValueEnum};
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use tagtrail_querylog::audit::{AuditRecord, Distinct, Latest, QueryError, Questions, RecordQuery, Scan, Whose};
use tagtrail_querylog::record::printable;
use tagtrail_querylog::{Timestamp, Window};

use crate::error::UsageError;
use crate::options::{ListArgs, TimeArgs, window};
use crate::out::{Output, counting, report_if_none};
use crate::runtime::block_on;
use crate::source::SourceArgs;
use crate::table;
use crate::times::TimeExpression;

#[derive(Args)]
#[command(group(ArgGroup::new("filter").args(["id", "operation_id", "operation", "shared_token"])))]
pub(crate) struct Query {
    #[command(flatten)]
    source: SourceArgs,
    /// E-mail address of the user on whose behalf a store is queried; a server knows it from the token
    #[arg(long, value_name = "EMAIL", conflicts_with = "server", visible_alias = "user-email")]
    user: Option<String>,

    /// Show the record with this id
    #[arg(long)]
    id: Option<String>,
    /// Show only records of the operation with this id
    #[arg(long, value_name = "ID", visible_alias = "udf-id")]
    operation_id: Option<String>,
    /// Show only records of the operation with this name: the one that the handler set, or the route
    #[arg(long, value_name = "NAME", visible_alias = "udf-name")]
    operation: Option<String>,
    /// Show only records with this shared token
    #[arg(long, value_name = "TOKEN")]
    shared_token: Option<String>,
    /// Show the records of everyone in the environment, not only the user's own
    #[arg(long, visible_alias = "exec-env")]
    everyone: bool,
    /// Show the latest record of each operation, whatever --id, --operation, --operation-id and --shared-token say
    #[arg(long, requires = "distinct_type")]
    distinct: bool,
    /// Whether --distinct compares the names or the ids of operations
    #[arg(long, value_enum)]
    distinct_type: Option<DistinctBy>,
    #[command(flatten)]
    times: TimeArgs,
    /// Show only records that started at or before this time
    #[arg(long, value_name = "TIME", conflicts_with = "until")]
    end_timestamp: Option<TimeExpression>,
    /// How many of the newest records --distinct reads, at most 5000
    #[arg(long, default_value_t = 1_000, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    max_records_to_scan: u32,
    #[command(flatten)]
    shown: ListArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum DistinctBy {
    Names,
    Ids,
}

impl From<DistinctBy> for Distinct {
    fn from(by: DistinctBy) -> Self {
        match by {
            DistinctBy::Names => Self::Names,
            DistinctBy::Ids => Self::Ids,
        }
    }
}

impl Query {
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        self.check()?;
        block_on(async move {
            let source = self.source.open(self.user.as_deref()).await?;
            let missing = source.missing(self.window()).await?;
            let records = self.ask(&*source.questions).await?;
            let of = (!self.distinct).then_some(&self.shown);
            let mut out = Output::new(self.shown.format);
            let mut last = None;
            let count = show(&mut out, records, of, |out, record| {
                last = Some(record.timestamp);
                if out.json { out.json(&record) } else { writeln!(out.writer, "{}", line(&record)) }
            })
            .await?;
            // A record by its id is there, or is not found.
            if self.distinct {
                missing.report();
            } else if self.id.is_none() {
                missing.within(self.shown.shown(self.window(), count, last)).report();
            }
            Ok(())
        })
    }

    fn check(&self) -> Result<(), UsageError> {
        self.times.range()?;
        if self.times.since().zip(self.end_timestamp()).is_some_and(|(first, last)| first > last) {
            return Err(UsageError::new("--since must not be after --end-timestamp"));
        }
        let own = (self.distinct || self.id.is_none()) && self.whose() == Whose::Own && self.of_operation().is_none();
        if own && self.user.is_none() && !self.source.is_server() {
            return Err(UsageError::new("--user is required, or --everyone for the whole environment"));
        }
        Ok(())
    }

    async fn ask<'a>(
        &self,
        log: &'a dyn Questions,
    ) -> Result<BoxStream<'a, Result<AuditRecord, QueryError>>, QueryError> {
        let found = |records: Vec<_>| stream::iter(records.into_iter().map(Ok)).boxed();
        if let Some(by) = self.distinct_type.filter(|_| self.distinct) {
            let question = Latest::new(by.into(), self.whose(), self.window());
            return Ok(found(log.latest(&question.read_at_most(self.max_records_to_scan as usize)).await?));
        }
        if let Some(id) = &self.id {
            return Ok(found(vec![log.record(id).await?]));
        }
        let query = self.of_operation().unwrap_or(self.whose().into());
        Ok(log.all_records(Scan::new(query, self.window()).order(self.shown.order()), self.shown.page()))
    }

    fn whose(&self) -> Whose {
        if self.everyone { Whose::Environment } else { Whose::Own }
    }

    fn of_operation(&self) -> Option<RecordQuery> {
        let id = self.operation_id.clone().map(RecordQuery::OperationId);
        let name = || self.operation.clone().map(RecordQuery::OperationName);
        id.or_else(name).or_else(|| self.shared_token.clone().map(RecordQuery::SharedToken))
    }

    fn window(&self) -> Window {
        window(self.times.since(), self.times.last().or(self.end_timestamp()))
    }

    fn end_timestamp(&self) -> Option<Timestamp> {
        self.end_timestamp.as_ref().map(|end| self.times.moment(end))
    }
}

/// Shows records as they are found, and returns how many. Reports if there are none, or if there may be more than
/// `shown` allows.
pub(crate) async fn show<T>(
    out: &mut Output,
    found: BoxStream<'_, Result<T, QueryError>>,
    shown: Option<&ListArgs>,
    mut write: impl FnMut(&mut Output, T) -> io::Result<()>,
) -> Result<usize, Box<dyn Error>> {
    let progress = counting();
    let mut found = found.take(shown.map_or(usize::MAX, ListArgs::limit));
    let mut count = 0;
    while let Some(item) = found.try_next().await? {
        count += 1;
        progress.inc(1);
        write(out, item)?;
    }
    progress.finish_and_clear();
    out.flush()?;
    report_if_none(count > 0);
    if let Some(shown) = shown {
        shown.report_if_limited(count);
    }
    Ok(count)
}

/// Returns time, duration, user, operation, and the first line of the errors.
fn line(record: &AuditRecord) -> String {
    let time = record.execution_time.map_or_else(|| "never ended".to_owned(), |seconds| format!("{seconds:.3} s"));
    let or_dash = |text: &Option<String>| printable(text.as_deref().unwrap_or("-")).into_owned();
    let error = record.stderr.as_deref().unwrap_or_default().trim().lines().next().unwrap_or_default();
    let (who, what) = (or_dash(&record.user_email), or_dash(&record.udf_name));
    let (who, what) = (table::left(&who, 24), table::left(&what, 32));
    format!("{}  {time:>12}  {who}  {what}  {}", record.timestamp, printable(error)).trim_end().to_owned()
}
