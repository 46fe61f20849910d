//! Questions about requests, asked by the API: [`RequestsQuery`].

use futures_util::stream::{self, Stream, StreamExt, TryStreamExt};
use serde::Deserialize;
use tagtrail::TraceId;

use crate::client::audit::{AuditClient, ClientError};
use crate::model::record::Record;
use crate::model::status::StatusMatch;
use crate::model::time::Timestamp;
use crate::model::trace_tree::TraceTree;

impl AuditClient {
    /// A question about the requests of the caller's environment: all of them, until it says otherwise.
    pub fn requests(&self) -> RequestsQuery {
        RequestsQuery { client: self.clone(), parameters: Vec::new() }
    }

    /// The requests of a trace, across the services of the caller's environment, as a tree.
    ///
    /// # Errors
    ///
    /// If there is no answer, or it is a refusal.
    pub async fn trace(&self, trace_id: TraceId) -> Result<TraceTree, ClientError> {
        self.get("/traces/", Some(&trace_id.to_string()), &[]).await
    }
}

/// A question about requests: made by [`AuditClient::requests`], and asked by [`send`](Self::send), [`pages`](Self::pages)
/// or [`records`](Self::records). All that it says must be so.
#[derive(Clone, Debug)]
#[must_use]
pub struct RequestsQuery {
    client: AuditClient,
    parameters: Vec<(&'static str, String)>,
}

impl RequestsQuery {
    /// Says something else than before.
    fn with(mut self, name: &'static str, value: &impl ToString) -> Self {
        self.parameters.retain(|(other, _)| *other != name);
        self.parameters.push((name, value.to_string()));
        self
    }

    /// Those of a trace.
    pub fn trace(self, trace_id: TraceId) -> Self {
        self.with("trace", &trace_id)
    }

    /// Those with this tag. Repeat it for several, at most 25.
    pub fn tag(mut self, name: &str, value: &str) -> Self {
        self.parameters.push(("tag", format!("{name}={value}")));
        self
    }

    /// Those that were answered with this status.
    pub fn status(self, status: StatusMatch) -> Self {
        self.with("status", &status)
    }

    /// Those of a route, as the framework has it: `/posts/{id}`.
    pub fn route(self, route: &str) -> Self {
        self.with("route", &route)
    }

    /// Those that began at this moment or later.
    pub fn start(self, start: Timestamp) -> Self {
        self.with("start_timestamp", &start)
    }

    /// Those that began at this moment or before.
    pub fn end(self, end: Timestamp) -> Self {
        self.with("end_timestamp", &end)
    }

    /// How many a page has at most: 100 by default, 300 at most.
    pub fn limit(self, limit: u32) -> Self {
        self.with("limit", &limit)
    }

    /// The newest first; the oldest are by default.
    pub fn newest_first(self) -> Self {
        self.with("scan_forward", &false)
    }

    /// The page behind the one that has this token. All else that is asked, but the limit, must be the same.
    pub fn page_token(self, token: &str) -> Self {
        self.with("page_token", &token)
    }

    /// Asks for one page. It may have fewer requests than its limit, and others behind them.
    ///
    /// # Errors
    ///
    /// If there is no answer, or it is a refusal.
    pub async fn send(&self) -> Result<RequestsPage, ClientError> {
        self.client.get("/requests", None, &self.parameters).await
    }

    /// Asks for all pages, one after the other.
    pub fn pages(self) -> impl Stream<Item = Result<RequestsPage, ClientError>> + Send + Unpin {
        stream::try_unfold(Some(self), |query| async {
            let Some(query) = query else { return Ok(None) };
            let page = query.send().await?;
            let next = page.next_page_token.as_deref().map(|token| query.clone().page_token(token));
            Ok(Some((page, next)))
        })
        .boxed()
    }

    /// Asks for all pages, and gives their requests.
    pub fn records(self) -> impl Stream<Item = Result<Record, ClientError>> + Send + Unpin {
        self.pages().map_ok(|page| stream::iter(page.items.into_iter().map(Ok))).try_flatten()
    }
}

/// A page of requests: an answer of the API.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct RequestsPage {
    /// The requests, without what they printed.
    pub items: Vec<Record>,
    /// The limit that the server used.
    pub limit: u64,
    /// By which the next page is asked for; `None` as soon as nothing is left.
    pub next_page_token: Option<String>,
}
