//! [`ExportClient`].

use std::fmt;
use std::time::Duration;

use http::StatusCode;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest_middleware::RequestBuilder;
use serde::Deserialize;
use serde_json::{Value, json};
use tagtrail::{Disclose, Outbound, OutboundMiddleware};
use url::Url;

use super::{ExportClientError, ExportRequest};
use crate::client::http::{HttpClient, HttpError, MAX_DESCRIPTION, read_body};
use crate::model::export_status::{ExportState, ExportStatus};
use crate::model::scope::ExportScope;
use crate::model::time::Timestamp;

/// A client of the export API. Cloning it is cheap.
///
/// Its requests carry the current [`Trail`](tagtrail::Trail), so that exports are recorded themselves; downloads from
/// other hosts do not.
///
/// ```no_run
/// use tagtrail_querylog::Timestamp;
/// use tagtrail_querylog::client::{ExportClient, ExportOutcome};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let client = ExportClient::new("https://logs.example.com", "account key")?;
/// let (start, end): (Timestamp, Timestamp) = ("2024-05-10".parse()?, "2024-05-11".parse()?);
/// match client.export("us-std/ECommerce".parse()?, start, end).wait().await? {
///     ExportOutcome::Complete(file) => println!("{} lines", file.save("logs.jsonl.gz").await?.lines),
///     ExportOutcome::DoesNotExist(_) => println!("the range contains no records"),
///     other => println!("no file: {other:?}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct ExportClient {
    pub(super) http: HttpClient,
    base: Url,
    authorization: HeaderValue,
    pub(super) timeout: Duration,
}

impl ExportClient {
    /// Creates a client. `base` is the URL before the `/api/v1` of the API. Redirects are not followed.
    ///
    /// # Errors
    ///
    /// If the URL is not an HTTP URL, the key cannot be sent in a header, or TLS cannot be set up.
    pub fn new(base: &str, key: &str) -> Result<Self, ExportClientError> {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .build()
            .map_err(|error| ExportClientError::Http(HttpError::new(error)))?;
        let api = authority(&parse_base(base)?);
        // Files may be on another host, which does not get our tags.
        let outbound = Outbound::disclose_with(move |url| {
            let is_api = url.authority().is_some_and(|authority| Some(authority.as_str()) == api.as_deref());
            if is_api { Disclose::All } else { Disclose::Nothing }
        });
        let http = reqwest_middleware::ClientBuilder::new(http).with(OutboundMiddleware::new(outbound)).build();
        Self::with_http(http, base, key)
    }

    /// Creates a client that sends its requests with your own HTTP client: a `reqwest::Client`, or one with middleware,
    /// such as retries or another [`OutboundMiddleware`].
    ///
    /// # Errors
    ///
    /// If the URL is not an HTTP URL, or the key cannot be sent in a header.
    pub fn with_http(http: impl Into<HttpClient>, base: &str, key: &str) -> Result<Self, ExportClientError> {
        let base = parse_base(base)?;
        let mut authorization = HeaderValue::try_from(format!("Bearer {key}")).map_err(|_| ExportClientError::Key)?;
        authorization.set_sensitive(true);
        Ok(Self { http: http.into(), base, authorization, timeout: Duration::from_secs(10) })
    }

    /// Sets the time limit for each response, and for each chunk of a file; 10 seconds by default.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Creates a request for an export of the records that started in a range. The end is exclusive.
    ///
    /// To send it, call [`wait`](ExportRequest::wait) or [`send`](ExportRequest::send).
    pub fn export(&self, scope: ExportScope, start: Timestamp, end: Timestamp) -> ExportRequest {
        ExportRequest::new(self.clone(), scope, start, end)
    }

    /// Returns the status of an export.
    ///
    /// # Errors
    ///
    /// If there is no response, or the server rejects the request.
    pub async fn get(&self, request_id: &str) -> Result<ExportStatus, ExportClientError> {
        let mut url = self.url("");
        if let Ok(mut path) = url.path_segments_mut() {
            path.push(request_id);
        }
        url.set_query(Some("type=query"));
        self.send(self.http.get().get(url)).await
    }

    /// Returns a page of the exports that the key may see, newest first.
    ///
    /// `states` selects exports in these states; all, if it is empty. `next_token` is the one of the page before.
    ///
    /// # Errors
    ///
    /// If there is no response, or the server rejects the request.
    pub async fn list(
        &self,
        states: &[ExportState],
        next_token: Option<&str>,
    ) -> Result<ExportPage, ExportClientError> {
        let mut body = json!({ "next_token": next_token });
        if !states.is_empty() {
            body["states"] = json!(states);
        }
        self.post("/_list", &body).await
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/api/v1/logs{path}", self.base.path().trim_end_matches('/')));
        url
    }

    pub(super) async fn post<T: for<'de> Deserialize<'de>>(
        &self,
        path: &str,
        body: &Value,
    ) -> Result<T, ExportClientError> {
        let mut url = self.url(path);
        url.set_query(Some("type=query"));
        let request = self.http.get().post(url).header(CONTENT_TYPE, "application/json");
        self.send(request.body(body.to_string())).await
    }

    async fn send<T: for<'de> Deserialize<'de>>(&self, request: RequestBuilder) -> Result<T, ExportClientError> {
        let request = request.header(AUTHORIZATION, self.authorization.clone()).timeout(self.timeout);
        let response = request.send().await.map_err(|error| ExportClientError::Http(HttpError::new(error)))?;
        let status = response.status();
        let body = read_body(response, MAX_DESCRIPTION).await.map_err(ExportClientError::Http)?;
        let body = body.ok_or(ExportClientError::InvalidResponse)?;
        if status != StatusCode::OK {
            return Err(ExportClientError::rejected(status, &body, "there is no export API under this URL"));
        }
        serde_json::from_slice(&body).map_err(|_| ExportClientError::InvalidResponse)
    }
}

impl fmt::Debug for ExportClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExportClient").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

fn parse_base(base: &str) -> Result<Url, ExportClientError> {
    let url = Url::parse(base.trim_end_matches('/')).ok();
    url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host()).ok_or(ExportClientError::Url)
}

/// Returns the host of a URL, with the port if there is one.
fn authority(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

/// A page of exports.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct ExportPage {
    /// The exports.
    pub results: Vec<ExportStatus>,
    /// The token of the next page, or `None` if this is the last one.
    pub next_token: Option<String>,
}
