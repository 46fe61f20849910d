//! The client of an audit log's REST API: [`AuditClient`].

use std::fmt;
use std::time::Duration;

use http::header::HeaderValue;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tagtrail::{Disclose, OutboundMiddleware};
use url::Url;

use crate::client::http::{HttpClient, HttpError};
use crate::client::response;
use crate::model::query_error::{QueryError, QueryErrorKind};

/// A client of the REST API of an audit log, which implements [`Questions`](crate::audit::Questions). Cloning it is
/// cheap.
///
/// Its requests carry the current [`Trail`](tagtrail::Trail).
///
/// ```no_run
/// use futures_util::TryStreamExt;
/// use tagtrail_querylog::{Timestamp, Window};
/// use tagtrail_querylog::audit::{Distinct, Latest, Order, Questions, RecordQuery, RequestFilter, Scan, Whose};
/// use tagtrail_querylog::client::AuditClient;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let client = AuditClient::new("http://127.0.0.1:8080/v1", "token")?;
///
/// // A page of the newest records of the environment.
/// let newest = Scan::new(RecordQuery::Environment, Window::ALL).order(Order::NewestFirst);
/// let page = client.records(&newest, 300).await?;
/// // All records of a name since then, page by page.
/// let since: Timestamp = "2025-04-01".parse()?;
/// let mut records = client.all_records(Scan::new(RecordQuery::OperationName("rollup".into()), since..), 300);
/// while let Some(record) = records.try_next().await? {
///     println!("{} {:?}", record.timestamp, record.execution_time);
/// }
/// // What the user ran last.
/// let names = client.latest(&Latest::new(Distinct::Names, Whose::Own, ..).read_at_most(5_000)).await?;
///
/// // The requests that failed on a route, and all that belongs to the trace of the first, across services.
/// let failed = RequestFilter::new().route("/pay/{id}").status("5xx".parse()?);
/// let failed = client.requests(&Scan::new(failed, ..).order(Order::NewestFirst), 100).await?;
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
    http: HttpClient,
    base: Url,
    authorization: HeaderValue,
}

/// The parameters of a query string.
pub(super) type Parameters = Vec<(&'static str, String)>;

impl AuditClient {
    /// Creates a client of the API under a URL, with a token. Redirects are not followed. The time limits are 10
    /// seconds to connect, and 30 seconds for each part of a response, which may have 256 MiB. For `https`, reqwest requires one of its TLS
    /// features, such as `rustls`.
    ///
    /// # Errors
    ///
    /// If the URL is not an HTTP URL, the token cannot be sent in a header, or TLS cannot be set up.
    pub fn new(base: &str, token: &str) -> Result<Self, AuditClientError> {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(Duration::from_secs(30));
        let http = http.build().map_err(|error| AuditClientError::Http(HttpError::new(error)))?;
        let http = reqwest_middleware::ClientBuilder::new(http).with(OutboundMiddleware::new(Disclose::All)).build();
        Self::with_http(http, base, token)
    }

    /// Creates a client that sends its requests with your own HTTP client, which may have other time limits, retries,
    /// or another [`OutboundMiddleware`].
    ///
    /// # Errors
    ///
    /// If the URL is not an HTTP URL, or the token cannot be sent in a header.
    pub fn with_http(http: impl Into<HttpClient>, base: &str, token: &str) -> Result<Self, AuditClientError> {
        let base = Url::parse(base.trim_end_matches('/')).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let base = base.ok_or(AuditClientError::Url)?;
        let authorization = HeaderValue::try_from(format!("Bearer {token}"));
        let mut authorization = authorization.map_err(|_| AuditClientError::Token)?;
        authorization.set_sensitive(true);
        Ok(Self { http: http.into(), base, authorization })
    }

    /// Returns the user of the token.
    ///
    /// # Errors
    ///
    /// If there is no response, or the server rejects the request.
    pub async fn user(&self) -> Result<UserInfo, QueryError> {
        self.get("/user/self", &[], QueryErrorKind::Unreachable).await
    }

    /// Returns the environment of the token.
    ///
    /// # Errors
    ///
    /// If there is no response, or the server rejects the request.
    pub async fn environment(&self) -> Result<EnvironmentInfo, QueryError> {
        self.get("/execution-env/self", &[], QueryErrorKind::Unreachable).await
    }

    /// Requests an escaped path. If the response is a 404, the error is of the kind `missing`.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: &[(&'static str, String)],
        missing: QueryErrorKind,
    ) -> Result<T, QueryError> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        if !parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(parameters);
        }
        let request = self.http.get().get(url).header(http::header::AUTHORIZATION, self.authorization.clone());
        let response = request.send().await.map_err(|error| response::unreachable(HttpError::new(error)))?;
        response::value(response, missing).await
    }
}

impl fmt::Debug for AuditClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditClient").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

/// A user, as the API reports it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct UserInfo {
    /// The id of the user.
    pub id: String,
    /// The name, if there is one.
    pub name: Option<String>,
    /// The e-mail address.
    pub email: String,
    /// The handle, if there is one.
    pub handle: Option<String>,
    /// The id of the user's environment.
    pub execution_environment_id: String,
}

/// An environment, as the API reports it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct EnvironmentInfo {
    /// The id of the environment.
    pub id: String,
    /// The name of the environment.
    pub name: String,
}

/// The error of creating an [`AuditClient`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditClientError {
    /// The base URL is not an HTTP URL.
    #[error("invalid base URL: expected an HTTP URL with the path of the API (example: http://127.0.0.1:8080/v1)")]
    Url,
    /// The token cannot be sent in a header.
    #[error("invalid token: it has characters that a header cannot have")]
    Token,
    /// The HTTP client cannot be set up.
    #[error("the HTTP client cannot be set up")]
    Http(#[source] HttpError),
}
