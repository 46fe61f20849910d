//! The queries of an audit log, by its REST API.

use std::borrow::Cow;

use async_trait::async_trait;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use tagtrail::TraceId;

use crate::client::audit::{AuditClient, Parameters};
use crate::client::response;
use crate::model::audit_record::AuditRecord;
use crate::model::coverage::Coverage;
use crate::model::distinct::{Distinct, Latest};
use crate::model::page::{Page, PageToken};
use crate::model::query_error::{QueryError, QueryErrorKind};
use crate::model::questions::Questions;
use crate::model::record::Record;
use crate::model::record_query::{RecordQuery, Whose};
use crate::model::request_filter::RequestFilter;
use crate::model::scan::{Order, Scan};
use crate::model::time::Timestamp;
use crate::model::trace_tree::TraceTree;
use crate::model::window::Window;

/// The body of a response with items.
#[derive(Deserialize)]
struct PageBody<T> {
    items: Vec<T>,
    next_page_token: Option<PageToken>,
    /// Of requests.
    #[serde(flatten)]
    coverage: Option<Coverage>,
}

impl<T> From<PageBody<T>> for Page<T> {
    fn from(response: PageBody<T>) -> Self {
        Self { coverage: response.coverage, ..Self::new(response.items, response.next_page_token) }
    }
}

#[async_trait]
impl Questions for AuditClient {
    async fn records(&self, scan: &Scan<RecordQuery>, limit: usize) -> Result<Page<AuditRecord>, QueryError> {
        let path: Cow<'_, str> = match &scan.query {
            RecordQuery::Own => "/log/self".into(),
            RecordQuery::Environment => "/log/exec-env/self".into(),
            RecordQuery::OperationId(id) => with_value("/log/by-udf-id/", id)?,
            RecordQuery::OperationName(name) => with_value("/log/by-udf-name/", name)?,
            RecordQuery::SharedToken(token) => with_value("/log/by-shared-token/", token)?,
        };
        let items: PageBody<_> = self.get(&path, &of_scan(scan, limit), QueryErrorKind::Unreachable).await?;
        Ok(items.into())
    }

    async fn record(&self, id: &str) -> Result<AuditRecord, QueryError> {
        let path = with_value("/log/by-id/", id)?;
        let found: PageBody<_> = self.get(&path, &[], QueryErrorKind::NotFound).await?;
        found.items.into_iter().next().ok_or_else(response::foreign)
    }

    async fn latest(&self, question: &Latest) -> Result<Vec<AuditRecord>, QueryError> {
        let path = match (question.of, question.whose) {
            (Distinct::Names, Whose::Own) => "/log/distinct-udf-names/self",
            (Distinct::Names, Whose::Environment) => "/log/distinct-udf-names/exec-env/self",
            (Distinct::Ids, Whose::Own) => "/log/distinct-udf-id/self",
            (Distinct::Ids, Whose::Environment) => "/log/distinct-udf-id/exec-env/self",
        };
        let mut parameters = of_window(question.window);
        parameters.push(("max_records_to_scan", question.read_at_most.max(1).to_string()));
        let found: PageBody<_> = self.get(path, &parameters, QueryErrorKind::Unreachable).await?;
        Ok(found.items)
    }

    async fn requests(&self, scan: &Scan<RequestFilter>, limit: usize) -> Result<Page<Record>, QueryError> {
        let parameters = [scan.query.parameters(), of_scan(scan, limit)].concat();
        let items: PageBody<_> = self.get("/requests", &parameters, QueryErrorKind::Unreachable).await?;
        Ok(items.into())
    }

    async fn trace(&self, trace_id: TraceId) -> Result<TraceTree, QueryError> {
        self.get(&format!("/traces/{trace_id}"), &[], QueryErrorKind::Unreachable).await
    }

    async fn coverage(&self, window: Window) -> Result<Coverage, QueryError> {
        self.get("/gaps", &of_window(window), QueryErrorKind::NotFound).await
    }
}

fn of_scan<Q>(scan: &Scan<Q>, limit: usize) -> Parameters {
    let mut parameters = of_window(scan.window);
    parameters.push(("limit", limit.max(1).to_string()));
    parameters.extend((scan.order == Order::NewestFirst).then(|| ("scan_forward", "false".to_owned())));
    parameters.extend(scan.after.as_ref().map(|token| ("page_token", token.to_string())));
    parameters
}

fn of_window(window: Window) -> Parameters {
    let start = (window.start != Timestamp::MIN).then(|| ("start_timestamp", window.start.to_string()));
    let end = (window.end != Timestamp::MAX).then(|| ("end_timestamp", window.end.to_string()));
    start.into_iter().chain(end).collect()
}

/// Returns a path that ends with a value. The slashes of a value are escaped, so that no proxy merges two into one.
fn with_value(path: &str, value: &str) -> Result<Cow<'static, str>, QueryError> {
    const ESCAPED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    match value {
        "" => Err(QueryError::new(QueryErrorKind::Rejected, "invalid value: expected at least one character")),
        // In a URL, these are path segments with a special meaning.
        "." | ".." => {
            Err(QueryError::new(QueryErrorKind::Rejected, "invalid value: `.` and `..` cannot be sent in a URL"))
        }
        value => Ok(format!("{path}{}", utf8_percent_encode(value, &ESCAPED)).into()),
    }
}
