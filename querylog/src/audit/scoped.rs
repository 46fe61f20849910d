//! What an environment may ask of an audit log: [`ScopedAuditLog`].

use async_trait::async_trait;
use tagtrail::TraceId;

use crate::audit::backend::Backend;
use crate::audit::keys::keys_of_filter;
use crate::audit::row::request_of;
use crate::model::audit_record::AuditRecord;
use crate::model::coverage::Coverage;
use crate::model::cursor::Cursor;
use crate::model::distinct::Latest;
use crate::model::page::Page;
use crate::model::query_error::{QueryError, QueryErrorKind};
use crate::model::questions::Questions;
use crate::model::record::Record;
use crate::model::record_query::RecordQuery;
use crate::model::request_filter::RequestFilter;
use crate::model::scan::{Order, Scan};
use crate::model::trace_tree::TraceTree;
use crate::model::window::Window;
use crate::store::{Hits, Row, RowRange, Selection, StoreError};

/// An audit log as one environment, and one of its users, may ask it: [`AuditLog::scoped`](crate::AuditLog::scoped) returns it, and
/// [`Questions`] are what it can be asked. A clone is the same.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("audit.db");
/// use std::time::Duration;
/// use futures_util::TryStreamExt;
/// use tagtrail::{Sample, Trail};
/// use tagtrail_querylog::{AuditLog, Outcome, Record, Window};
/// use tagtrail_querylog::audit::{Questions, RequestFilter, Scan};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn run(path: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
/// let mut record = Record::new(&Trail::start(Sample::Always), "nightly/rollup");
/// record.notes.caller.exec_env_id = Some("env1".into());
/// record.response.status = Some(503);
/// record.end(Duration::from_secs(1), Outcome::Complete);
///
/// let log = AuditLog::open(path)?;
/// log.put_requests(std::slice::from_ref(&record)).await?;
///
/// let failed = Scan::new(RequestFilter::new().status("5xx".parse()?), Window::ALL);
/// let found: Vec<_> = log.scoped("env1").all_requests(failed.clone(), 100).try_collect().await?;
/// assert_eq!(found, [record]);
/// assert!(log.scoped("env2").requests(&failed, 100).await?.items.is_empty());
/// # Ok(())
/// # }
/// # run(&path)?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ScopedAuditLog {
    backend: Backend,
    environment: String,
    user_email: Option<String>,
}

/// How many entries of an index are read for one page of requests.
const MAX_ENTRIES: usize = 5_000;

impl ScopedAuditLog {
    pub(super) fn new(backend: Backend, environment: String) -> Self {
        Self { backend, environment, user_email: None }
    }

    /// Sets the user who asks, by e-mail address. Without one, [`RecordQuery::Own`] is
    /// [`Forbidden`](QueryErrorKind::Forbidden).
    #[must_use]
    pub fn of_user(self, email: impl Into<String>) -> Self {
        Self { user_email: Some(email.into()), ..self }
    }

    fn selection(&self, query: &RecordQuery) -> Result<Selection, QueryError> {
        let environment = self.environment.clone();
        Ok(match query.clone() {
            RecordQuery::Own => Selection::User(self.user_email.clone().ok_or_else(no_user)?),
            RecordQuery::Environment => Selection::Environment(environment),
            RecordQuery::OperationId(value) => Selection::UdfId { environment, value },
            RecordQuery::OperationName(value) => Selection::UdfName { environment, value },
            RecordQuery::SharedToken(value) => Selection::SharedToken { environment, value },
        })
    }

    async fn hits<Q>(&self, scan: &Scan<Q>, filter: &RequestFilter, limit: usize) -> Result<Hits, QueryError> {
        // After a page of none there would be no place to continue from.
        let limit = limit.max(1);
        let keys = keys_of_filter(&self.environment, filter);
        if !keys.is_empty() {
            return Ok(self.backend.store.find(range_of(scan, keys)?, limit, MAX_ENTRIES).await?);
        }
        let range = range_of(scan, Selection::Environment(self.environment.clone()))?;
        let (rows, behind) = cut(self.backend.store.short_page(range, limit.saturating_add(1)).await?, limit);
        Ok(Hits { rows, behind })
    }

    /// Returns the requests of rows that were found. An entry of the index may be of what was known when the request
    /// started.
    fn requests_of(&self, rows: Vec<Row>, filter: &RequestFilter) -> Vec<Record> {
        let is_ours = |record: &Record| record.notes.caller.exec_env_id.as_ref() == Some(&self.environment);
        rows.into_iter().filter_map(request_of).filter(|record| is_ours(record) && filter.matches(record)).collect()
    }
}

#[async_trait]
impl Questions for ScopedAuditLog {
    async fn records(&self, scan: &Scan<RecordQuery>, limit: usize) -> Result<Page<AuditRecord>, QueryError> {
        let limit = limit.max(1);
        let range = range_of(scan, self.selection(&scan.query)?)?;
        let (rows, next) = cut(self.backend.store.page(range, limit.saturating_add(1)).await?, limit);
        Ok(Page::new(self.backend.whole(rows).await?, next.map(Into::into)))
    }

    async fn record(&self, id: &str) -> Result<AuditRecord, QueryError> {
        let row = self.backend.store.get(id).await?;
        let row = row.filter(|row| row.record.exec_env_id.as_ref() == Some(&self.environment));
        let record = self.backend.whole(row.into_iter().collect()).await?.pop();
        record.ok_or_else(|| QueryError::new(QueryErrorKind::NotFound, "no record in the environment has this id"))
    }

    async fn latest(&self, question: &Latest) -> Result<Vec<AuditRecord>, QueryError> {
        let selection = self.selection(&question.whose.into())?;
        let range = RowRange::new(selection, question.window).newest_first(true);
        let count = question.read_at_most.clamp(1, Latest::MAX_READ);
        let rows = self.backend.store.first_of_each(range, question.of, count).await?;
        Ok(self.backend.whole(rows).await?)
    }

    async fn requests(&self, scan: &Scan<RequestFilter>, limit: usize) -> Result<Page<Record>, QueryError> {
        let coverage = self.coverage(scan.window).await?;
        let Hits { rows, behind } = self.hits(scan, &scan.query, limit).await?;
        Ok(Page::new(self.requests_of(rows, &scan.query), behind.map(Into::into)).coverage(coverage))
    }

    async fn trace(&self, trace_id: TraceId) -> Result<TraceTree, QueryError> {
        let writers = self.backend.writers().await?;
        let filter = RequestFilter::new().trace(trace_id);
        let Hits { rows, behind } = self.hits(&Scan::new((), Window::ALL), &filter, TraceTree::MOST).await?;
        // They may be thousands: not on a thread that others wait for.
        let scoped = self.clone();
        let trace = move || TraceTree::of(scoped.requests_of(rows, &filter), behind.is_none());
        let mut trace = tokio::task::spawn_blocking(trace).await.map_err(StoreError::failed)?;
        trace.coverage = self.backend.coverage_with(writers, trace.window()).await?.for_environments();
        Ok(trace)
    }

    async fn coverage(&self, window: Window) -> Result<Coverage, QueryError> {
        Ok(self.backend.coverage(window).await?.for_environments())
    }
}

/// The first rows, and the place of the last one if there are more after it.
fn cut(mut rows: Vec<Row>, limit: usize) -> (Vec<Row>, Option<Cursor>) {
    let is_more = rows.len() > limit;
    rows.truncate(limit);
    let place = rows.last().filter(|_| is_more).map(|row| Cursor::of(&row.record));
    (rows, place)
}

fn range_of<Q, Of>(scan: &Scan<Q>, of: Of) -> Result<RowRange<Of>, QueryError> {
    let range = RowRange::new(of, scan.window).newest_first(scan.order == Order::NewestFirst);
    let Some(token) = &scan.after else { return Ok(range) };
    let invalid = || QueryError::new(QueryErrorKind::Rejected, "invalid page token: expected one of this audit log");
    Ok(range.resume(token.cursor().ok_or_else(invalid)?))
}

fn no_user() -> QueryError {
    QueryError::new(QueryErrorKind::Forbidden, "a user is required for a query for their own records")
}

impl From<StoreError> for QueryError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Overloaded => {
                Self::new(QueryErrorKind::Overloaded, "the audit log is overloaded; retry shortly")
            }
            error => Self::new(QueryErrorKind::Failed, "the audit log failed").with_source(error),
        }
    }
}
