//! The client of an audit log's REST API: [`AuditClient`].

use std::fmt;
use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt, TryStreamExt};
use http::StatusCode;
use http::header::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Response;
use reqwest_middleware::ClientWithMiddleware;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tagtrail::{Disclose, OutboundMiddleware};
use url::Url;

use crate::model::audit_record::AuditRecord;
use crate::model::distinct::Distinct;
use crate::model::time::Timestamp;

/// Asks an audit log, by its REST API. A clone is the same client.
///
/// Its requests carry the current [`Trail`](tagtrail::Trail).
///
/// ```no_run
/// use futures_util::TryStreamExt;
/// use tagtrail_querylog::{AuditClient, Distinct};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let client = AuditClient::new("http://127.0.0.1:8080/v1", "token")?;
///
/// // The newest records of the environment, a page of them.
/// let page = client.log().exec_env().newest_first().limit(300).send().await?;
/// // All records of a name since then, page by page.
/// let mut records = client.log().udf_name("rollup").start("2025-04-01".parse()?).records();
/// while let Some(record) = records.try_next().await? {
///     println!("{} {:?}", record.timestamp, record.execution_time);
/// }
/// // What was used last.
/// let names = client.log().distinct(Distinct::Names).max_records_to_scan(5_000).send().await?;
///
/// // The requests that failed on a route, and all that belongs to the trace of the first, across services.
/// let failed = client.requests().route("/pay/{id}").status("5xx".parse()?).newest_first().send().await?;
/// if let Some(request) = failed.items.first() {
///     let trace = client.trace(request.trace_id).await?;
///     println!("{} requests", trace.requests.len());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct AuditClient {
    http: ClientWithMiddleware,
    base: Url,
    authorization: HeaderValue,
}

impl AuditClient {
    /// A client of the API under this URL, with this token. Redirects are not followed. A server has 10 seconds to be
    /// connected to, and 30 seconds for each part of an answer. For `https` reqwest needs one of its features for TLS,
    /// such as `rustls`.
    ///
    /// # Errors
    ///
    /// If the URL is none of http, the token cannot be in a header, or TLS cannot be set up.
    pub fn new(base: &str, token: &str) -> Result<Self, ClientError> {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(Duration::from_secs(30));
        let http = http.build().map_err(|error| ClientError::Http(error.into()))?;
        let http = reqwest_middleware::ClientBuilder::new(http).with(OutboundMiddleware::new(Disclose::All)).build();
        Self::with_http(http, base, token)
    }

    /// The same, with an HTTP client of one's own: with other time limits, retries, or another
    /// [`OutboundMiddleware`].
    ///
    /// # Errors
    ///
    /// If the URL is none of http, or the token cannot be in a header.
    pub fn with_http(http: ClientWithMiddleware, base: &str, token: &str) -> Result<Self, ClientError> {
        let base = Url::parse(base.trim_end_matches('/')).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let base = base.ok_or(ClientError::Base)?;
        let mut authorization = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| ClientError::Token)?;
        authorization.set_sensitive(true);
        Ok(Self { http, base, authorization })
    }

    /// A question about records: the caller's own ones, until it says otherwise.
    pub fn log(&self) -> LogQuery {
        LogQuery {
            client: self.clone(),
            filters: Vec::new(),
            exec_env: false,
            distinct: None,
            start: None,
            end: None,
            limit: None,
            newest_first: false,
            page_token: None,
            max_records_to_scan: None,
        }
    }

    /// Who the caller is.
    ///
    /// # Errors
    ///
    /// If there is no answer, or it is a refusal.
    pub async fn user(&self) -> Result<UserInfo, ClientError> {
        self.get("/user/self", None, &[]).await
    }

    /// The caller's environment.
    ///
    /// # Errors
    ///
    /// If there is no answer, or it is a refusal.
    pub async fn environment(&self) -> Result<EnvironmentInfo, ClientError> {
        self.get("/execution-env/self", None, &[]).await
    }

    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        value: Option<&str>,
        query: &[(&'static str, String)],
    ) -> Result<T, ClientError> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}{}", self.base.path().trim_end_matches('/'), segment(value)?));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.http.get(url).header(http::header::AUTHORIZATION, self.authorization.clone());
        let answer = request.send().await.map_err(ClientError::Http)?;
        let status = answer.status();
        if status != StatusCode::OK {
            return Err(ClientError::Refused { status: status.as_u16(), detail: detail(answer).await });
        }
        let bytes = answer.bytes().await.map_err(|error| ClientError::Http(error.into()))?;
        serde_json::from_slice(&bytes).map_err(|_| ClientError::Answer)
    }
}

impl fmt::Debug for AuditClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditClient").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

/// A value as the rest of a path. Slashes need no escape, and get one, so that nothing on the way makes one of two.
fn segment(value: Option<&str>) -> Result<String, ClientError> {
    const ESCAPED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    match value {
        Some("." | "..") => Err(ClientError::Dots),
        Some(value) => Ok(utf8_percent_encode(value, &ESCAPED).to_string()),
        None => Ok(String::new()),
    }
}

/// The API itself answers all mistakes in JSON.
const NO_API: &str = "there is no such API under this URL";

/// Why a request was refused, as the server says it.
async fn detail(answer: Response) -> String {
    let status = answer.status();
    let bytes = answer.bytes().await.unwrap_or_default();
    match serde_json::from_slice::<Value>(&bytes) {
        Ok(Value::Object(mut object)) => match object.remove("detail") {
            Some(Value::String(text)) => text,
            Some(detail) => detail.to_string(),
            None => "it does not say why".to_owned(),
        },
        _ if status == StatusCode::NOT_FOUND => NO_API.to_owned(),
        _ => "it does not say why in JSON".to_owned(),
    }
}

/// A question about records: made by [`AuditClient::log`], and asked by [`send`](Self::send), [`pages`](Self::pages) or
/// [`records`](Self::records).
///
/// Of `id`, `udf_id`, `udf_name` and `shared_token` there may be one. `distinct` goes before all of them, and `id` before
/// the times and the limit.
#[derive(Clone, Debug)]
#[must_use]
pub struct LogQuery {
    client: AuditClient,
    filters: Vec<(&'static str, String)>,
    exec_env: bool,
    distinct: Option<Distinct>,
    start: Option<Timestamp>,
    end: Option<Timestamp>,
    limit: Option<u32>,
    newest_first: bool,
    page_token: Option<String>,
    max_records_to_scan: Option<u32>,
}

impl LogQuery {
    fn filter(mut self, path: &'static str, value: impl Into<String>) -> Self {
        self.filters.push((path, value.into()));
        self
    }

    /// The record of this id.
    pub fn id(self, id: impl Into<String>) -> Self {
        self.filter("/log/by-id/", id)
    }

    /// The records of an operation's id.
    pub fn udf_id(self, id: impl Into<String>) -> Self {
        self.filter("/log/by-udf-id/", id)
    }

    /// The records of an operation's name.
    pub fn udf_name(self, name: impl Into<String>) -> Self {
        self.filter("/log/by-udf-name/", name)
    }

    /// The records of a shared token.
    pub fn shared_token(self, token: impl Into<String>) -> Self {
        self.filter("/log/by-shared-token/", token)
    }

    /// Of everybody in the caller's environment, not of the caller alone.
    pub fn exec_env(self) -> Self {
        Self { exec_env: true, ..self }
    }

    /// The latest record of each value, not all of them.
    pub fn distinct(self, of: Distinct) -> Self {
        Self { distinct: Some(of), ..self }
    }

    /// From this moment on.
    pub fn start(self, start: Timestamp) -> Self {
        Self { start: Some(start), ..self }
    }

    /// Up to this moment, included.
    pub fn end(self, end: Timestamp) -> Self {
        Self { end: Some(end), ..self }
    }

    /// How many records a page has: 100 by default, 300 at most.
    pub fn limit(self, limit: u32) -> Self {
        Self { limit: Some(limit), ..self }
    }

    /// The newest first; the oldest are by default.
    pub fn newest_first(self) -> Self {
        Self { newest_first: true, ..self }
    }

    /// The page behind the one that has this token. All else that is asked, but the limit, must be the same.
    pub fn page_token(self, token: impl Into<String>) -> Self {
        Self { page_token: Some(token.into()), ..self }
    }

    /// How many records [`distinct`](Self::distinct) reads: 1,000 by default, 5,000 at most.
    pub fn max_records_to_scan(self, records: u32) -> Self {
        Self { max_records_to_scan: Some(records), ..self }
    }

    /// Asks for one page.
    ///
    /// # Errors
    ///
    /// If the question has more than one filter, there is no answer, or it is a refusal.
    pub async fn send(&self) -> Result<AuditPage, ClientError> {
        if self.filters.len() > 1 {
            return Err(ClientError::Filters);
        }
        let (path, value) = match (self.distinct, self.filters.first()) {
            (Some(Distinct::Names), _) if self.exec_env => ("/log/distinct-udf-names/exec-env/self", None),
            (Some(Distinct::Names), _) => ("/log/distinct-udf-names/self", None),
            (Some(Distinct::Ids), _) if self.exec_env => ("/log/distinct-udf-id/exec-env/self", None),
            (Some(Distinct::Ids), _) => ("/log/distinct-udf-id/self", None),
            (None, Some((path, value))) => (*path, Some(value.as_str())),
            (None, None) if self.exec_env => ("/log/exec-env/self", None),
            (None, None) => ("/log/self", None),
        };
        let mut query = Vec::new();
        let mut add = |name, value: Option<String>| query.extend(value.map(|value| (name, value)));
        add("start_timestamp", self.start.map(|moment| moment.to_string()));
        add("end_timestamp", self.end.map(|moment| moment.to_string()));
        if self.distinct.is_some() {
            add("max_records_to_scan", self.max_records_to_scan.map(|records| records.to_string()));
        } else {
            add("limit", self.limit.map(|limit| limit.to_string()));
            add("scan_forward", self.newest_first.then(|| "false".to_owned()));
            add("page_token", self.page_token.clone());
        }
        self.client.get(path, value, &query).await
    }

    /// Asks for all pages, one after the other.
    pub fn pages(self) -> impl Stream<Item = Result<AuditPage, ClientError>> + Send + Unpin {
        stream::try_unfold(Some(self), |request| async {
            let Some(request) = request else { return Ok(None) };
            let page = request.send().await?;
            let next = page.next_page_token.clone().map(|token| request.page_token(token));
            Ok(Some((page, next)))
        })
        .boxed()
    }

    /// Asks for all pages, and gives their records.
    pub fn records(self) -> impl Stream<Item = Result<AuditRecord, ClientError>> + Send + Unpin {
        self.pages().map_ok(|page| stream::iter(page.items.into_iter().map(Ok))).try_flatten()
    }
}

/// A page of records: an answer of the API.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct AuditPage {
    /// The records.
    pub items: Vec<AuditRecord>,
    /// The limit that the server used.
    pub limit: u64,
    /// By which the next page is asked for; `None` as soon as nothing is left.
    pub next_page_token: Option<String>,
}

/// Who a caller is, as the API says it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct UserInfo {
    /// The id of the user.
    pub id: String,
    /// The name, where there is one.
    pub name: Option<String>,
    /// The e-mail address.
    pub email: String,
    /// The handle, where there is one.
    pub handle: Option<String>,
    /// The id of the user's environment.
    pub execution_environment_id: String,
}

/// An environment, as the API says it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct EnvironmentInfo {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The base is no URL of http.
    #[error("the base of an audit log is a URL, such as http://127.0.0.1:8080/v1")]
    Base,
    /// The token cannot be in a header.
    #[error("the token has characters that a header cannot have")]
    Token,
    /// More than one filter.
    #[error("only one of id, udf_id, udf_name and shared_token can be asked for")]
    Filters,
    /// `.` and `..` mean something else in a URL.
    #[error("a value of one or two dots cannot be asked for: in a URL they mean a folder")]
    Dots,
    /// The request was not sent, or not answered.
    #[error("the audit log cannot be reached: {0}")]
    Http(#[source] reqwest_middleware::Error),
    /// The server refused.
    #[error("the audit log answers {status}: {detail}")]
    Refused {
        /// The status.
        status: u16,
        /// Why, as the server says it.
        detail: String,
    },
    /// The answer is no answer of this API.
    #[error("the answer is none of an audit log")]
    Answer,
}
