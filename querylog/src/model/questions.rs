//! The queries of an audit log, local or remote: [`Questions`].

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use tagtrail::TraceId;

use crate::model::audit_record::AuditRecord;
use crate::model::coverage::Coverage;
use crate::model::distinct::Latest;
use crate::model::page::Page;
use crate::model::query_error::QueryError;
use crate::model::record::Record;
use crate::model::record_query::RecordQuery;
use crate::model::request_filter::RequestFilter;
use crate::model::scan::Scan;
use crate::model::trace_tree::TraceTree;
use crate::model::window::Window;

/// The queries of an audit log. A [`ScopedAuditLog`](crate::audit::ScopedAuditLog) queries a store, and an
/// [`AuditClient`](crate::client::AuditClient) a server. Code that takes a `&dyn Questions` works with both.
///
/// ```
/// use futures_util::TryStreamExt;
/// use tagtrail_querylog::Window;
/// use tagtrail_querylog::audit::{Order, QueryError, Questions, RecordQuery, Scan};
///
/// /// Returns the newest error that an operation printed.
/// async fn newest_error(log: &dyn Questions, operation: &str) -> Result<Option<String>, QueryError> {
///     let query = RecordQuery::OperationName(operation.into());
///     let mut records = log.all_records(Scan::new(query, Window::ALL).order(Order::NewestFirst), 300);
///     while let Some(record) = records.try_next().await? {
///         if record.stderr.is_some() {
///             return Ok(record.stderr);
///         }
///     }
///     Ok(None)
/// }
/// ```
///
/// # Errors
///
/// Each method fails with a [`QueryError`], whose [kind](QueryError::kind) says what a caller can do.
#[async_trait]
pub trait Questions: Send + Sync {
    /// Returns a page of at most `limit` records. A limit of 0 counts as 1. A server returns at most 300.
    async fn records(&self, scan: &Scan<RecordQuery>, limit: usize) -> Result<Page<AuditRecord>, QueryError>;

    /// Returns the record with an id in the environment, or fails with
    /// [`NotFound`](crate::audit::QueryErrorKind::NotFound).
    async fn record(&self, id: &str) -> Result<AuditRecord, QueryError>;

    /// Returns the latest record of each operation, newest first.
    async fn latest(&self, question: &Latest) -> Result<Vec<AuditRecord>, QueryError>;

    /// Returns a page of at most `limit` requests of the environment, without their output. A page may have fewer
    /// requests than the limit even if more follow, since the number of records that are read for it is bounded. A
    /// limit of 0 counts as 1. A server returns at most 300.
    async fn requests(&self, scan: &Scan<RequestFilter>, limit: usize) -> Result<Page<Record>, QueryError>;

    /// Returns the requests of a trace in the environment, as a tree.
    async fn trace(&self, trace_id: TraceId) -> Result<TraceTree, QueryError>;

    /// Returns what is missing from a window of the log, of all environments: without counts, and without the instances
    /// of services. Ask this first, and then for records: what is stored meanwhile is then at worst said to be missing.
    ///
    /// Fails with [`NotFound`](crate::audit::QueryErrorKind::NotFound) if a server does not say it.
    async fn coverage(&self, window: Window) -> Result<Coverage, QueryError>;

    /// Returns all records of a scan, fetched in pages of `limit`.
    fn all_records(&self, scan: Scan<RecordQuery>, limit: usize) -> BoxStream<'_, Result<AuditRecord, QueryError>> {
        let pages = stream::try_unfold(Some(scan), move |scan| async move {
            let Some(scan) = scan else { return Ok(None) };
            let page = self.records(&scan, limit).await?;
            Ok::<_, QueryError>(Some(items_and_rest(page, scan)))
        });
        pages.try_flatten().boxed()
    }

    /// Returns all requests of a scan, fetched in pages of `limit`.
    fn all_requests(&self, scan: Scan<RequestFilter>, limit: usize) -> BoxStream<'_, Result<Record, QueryError>> {
        let pages = stream::try_unfold(Some(scan), move |scan| async move {
            let Some(scan) = scan else { return Ok(None) };
            let page = self.requests(&scan, limit).await?;
            Ok::<_, QueryError>(Some(items_and_rest(page, scan)))
        });
        pages.try_flatten().boxed()
    }
}

type Items<T> = stream::Iter<std::iter::Map<std::vec::IntoIter<T>, fn(T) -> Result<T, QueryError>>>;

/// Returns the items of a page, and the scan that continues after it.
fn items_and_rest<Q, T>(page: Page<T>, scan: Scan<Q>) -> (Items<T>, Option<Scan<Q>>) {
    let items = page.items.into_iter().map(Ok as fn(T) -> Result<T, QueryError>);
    (stream::iter(items), page.next.map(|token| scan.after(token)))
}
