//! The client of exports: [`ExportClient`], from the request for one to its last line.

mod download;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use http::header::{AUTHORIZATION, HeaderValue};
use reqwest_middleware::{ClientWithMiddleware, RequestBuilder};
use serde::Deserialize;
use serde_json::{Value, json};
use tagtrail::{Disclose, Outbound, OutboundMiddleware};
use tokio::time::sleep;
use url::Url;
use uuid::Uuid;

pub use self::download::{Download, Downloaded};
use crate::model::export_status::{ExportState, ExportStatus};
use crate::model::scope::ExportScope;
use crate::model::time::Timestamp;

/// Exports the log of a service, by its REST API. A clone is the same client.
///
/// Its requests carry the current [`Trail`](tagtrail::Trail), so that an export is on record itself; a download from
/// another host does not.
///
/// ```no_run
/// use tagtrail_querylog::{ExportClient, Exported, Timestamp};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let client = ExportClient::new("https://logs.example.com", "account key")?;
/// let (start, end): (Timestamp, Timestamp) = ("2024-05-10".parse()?, "2024-05-11".parse()?);
/// match client.export("us-std/ECommerce".parse()?, start, end).wait().await? {
///     Exported::Complete(file) => println!("{} lines", file.save("logs.jsonl.gz").await?.lines),
///     Exported::DoesNotExist(_) => println!("there are no records in this range"),
///     Exported::Failed(export) | Exported::TimedOut(export) => println!("ask again: {}", export.request_id),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct ExportClient {
    http: ClientWithMiddleware,
    base: Url,
    authorization: HeaderValue,
    timeout: Duration,
}

impl ExportClient {
    /// A client of the API at this URL, before the `/api/v1` of its paths, with this account key. Redirects are not
    /// followed.
    ///
    /// # Errors
    ///
    /// If the URL is none of HTTP, the key cannot be in a header, or TLS cannot be set up.
    pub fn new(base: &str, key: &str) -> Result<Self, ExportError> {
        let redirects = reqwest::redirect::Policy::none();
        let http = reqwest::Client::builder()
            .redirect(redirects)
            .connect_timeout(Duration::from_secs(10))
            .build()
            .map_err(|error| ExportError::Http(error.into()))?;
        let own = host(&base_of(base)?);
        // A file may be at a host that has no business with our tags.
        let outbound = Outbound::disclose_with(move |url| {
            let is_own = url.authority().is_some_and(|authority| Some(authority.as_str()) == own.as_deref());
            if is_own { Disclose::All } else { Disclose::Nothing }
        });
        let http = reqwest_middleware::ClientBuilder::new(http).with(OutboundMiddleware::new(outbound)).build();
        Self::with_http(http, base, key)
    }

    /// The same, with an HTTP client of one's own: with retries, or another [`OutboundMiddleware`].
    ///
    /// # Errors
    ///
    /// If the URL is none of HTTP, or the key cannot be in a header.
    pub fn with_http(http: ClientWithMiddleware, base: &str, key: &str) -> Result<Self, ExportError> {
        let base = base_of(base)?;
        let mut authorization = HeaderValue::try_from(format!("Bearer {key}")).map_err(|_| ExportError::Key)?;
        authorization.set_sensitive(true);
        Ok(Self { http, base, authorization, timeout: Duration::from_secs(10) })
    }

    /// How long an answer may take, and each piece of a file; 10 seconds by default.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// An export of what began in a range, its end not included: to be [waited for](ExportRequest::wait).
    pub fn export(&self, scope: ExportScope, start: Timestamp, end: Timestamp) -> ExportRequest {
        ExportRequest {
            client: self.clone(),
            scope,
            start,
            end,
            token: Uuid::new_v4(),
            every: Duration::from_secs(1),
            patience: Duration::from_secs(300),
            told: Arc::new(|_| {}),
            told_again: Arc::new(|_| {}),
        }
    }

    /// How far an export is.
    ///
    /// # Errors
    ///
    /// If there is no answer, or it is a refusal.
    pub async fn get(&self, request_id: &str) -> Result<ExportStatus, ExportError> {
        let mut url = self.url("");
        if let Ok(mut path) = url.path_segments_mut() {
            path.push(request_id);
        }
        url.set_query(Some("type=query"));
        self.send(self.http.get(url)).await
    }

    /// Exports that the key may see, the newest first, a page of them. What is `None` is not asked for.
    ///
    /// # Errors
    ///
    /// If there is no answer, or it is a refusal.
    pub async fn list(&self, states: &[ExportState], next_token: Option<&str>) -> Result<ExportPage, ExportError> {
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

    async fn post<T: for<'de> Deserialize<'de>>(&self, path: &str, body: &Value) -> Result<T, ExportError> {
        let mut url = self.url(path);
        url.set_query(Some("type=query"));
        let request = self.http.post(url).header(http::header::CONTENT_TYPE, "application/json");
        self.send(request.body(body.to_string())).await
    }

    async fn send<T: for<'de> Deserialize<'de>>(&self, request: RequestBuilder) -> Result<T, ExportError> {
        let request = request.header(AUTHORIZATION, self.authorization.clone()).timeout(self.timeout);
        let answer = request.send().await.map_err(ExportError::Http)?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(|error| ExportError::Http(error.into()))?;
        if status != StatusCode::OK {
            return Err(refused(status, &bytes, "there is no such API under the /api/v1 of this URL"));
        }
        serde_json::from_slice(&bytes).map_err(|_| ExportError::Answer)
    }
}

impl fmt::Debug for ExportClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExportClient").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

fn base_of(base: &str) -> Result<Url, ExportError> {
    let url = Url::parse(base.trim_end_matches('/')).ok();
    url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host()).ok_or(ExportError::Base)
}

/// The host of a URL, and the port where it has one.
fn host(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

/// Why a request was refused, as the server says it; or what it means that nothing is there, where another one answers.
fn refused(status: StatusCode, bytes: &[u8], missing: &str) -> ExportError {
    #[derive(Deserialize)]
    struct Body {
        code: String,
        reason: String,
    }
    // The API itself answers all mistakes in JSON.
    let other = if status == StatusCode::NOT_FOUND { missing } else { "it does not say why" };
    let Body { code, reason } =
        serde_json::from_slice(bytes).unwrap_or_else(|_| Body { code: String::new(), reason: other.to_owned() });
    ExportError::Refused { status: status.as_u16(), code, reason }
}

/// A page of exports: an answer of the API.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct ExportPage {
    /// The exports.
    pub results: Vec<ExportStatus>,
    /// By which the next page is asked for; `None` where nothing is left.
    pub next_token: Option<String>,
}

/// An export that is to be asked for: made by [`ExportClient::export`].
#[derive(Clone)]
#[must_use]
pub struct ExportRequest {
    client: ExportClient,
    scope: ExportScope,
    start: Timestamp,
    end: Timestamp,
    token: Uuid,
    every: Duration,
    patience: Duration,
    told: Arc<dyn Fn(&ExportStatus) + Send + Sync>,
    told_again: Arc<dyn Fn(&ExportError) + Send + Sync>,
}

impl ExportRequest {
    /// With this token: for 24 hours, the same one is answered with the same export. By default one is made anew, so that
    /// to ask again, since no answer came, is harmless.
    pub fn idempotency_token(self, token: Uuid) -> Self {
        Self { token, ..self }
    }

    /// How often it is asked how far it is; every second by default.
    pub fn poll_every(self, every: Duration) -> Self {
        Self { every, ..self }
    }

    /// For how long that is asked; 300 seconds by default.
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Tells of each answer that came.
    pub fn on_answer(self, told: impl Fn(&ExportStatus) + Send + Sync + 'static) -> Self {
        Self { told: Arc::new(told), ..self }
    }

    /// Tells of each error after which it is asked again: that the server is not there, say.
    pub fn on_retry(self, told: impl Fn(&ExportError) + Send + Sync + 'static) -> Self {
        Self { told_again: Arc::new(told), ..self }
    }

    /// Asks for it, and does not wait.
    ///
    /// # Errors
    ///
    /// If there is no answer, or it is a refusal.
    pub async fn send(&self) -> Result<ExportStatus, ExportError> {
        let of = if self.scope.database().is_empty() { "region_group" } else { "database" };
        let mut body = json!({
            "time_start": self.start.to_string(),
            "time_end": self.end.to_string(),
            "idempotency_token": self.token,
        });
        body[of] = self.scope.to_string().into();
        self.client.post("", &body).await
    }

    /// Asks for it, and waits until it is in a final state. A server that is not there, or fails, is asked again.
    ///
    /// # Errors
    ///
    /// If the server refuses it, or nothing final was answered in time.
    pub async fn wait(&self) -> Result<Exported, ExportError> {
        let begin = Instant::now();
        let mut last: Option<ExportStatus> = None;
        loop {
            let asked = match &last {
                None => self.send().await,
                Some(export) => self.client.get(&export.request_id).await,
            };
            let answer = match asked {
                Err(error) if !error.is_passing() => return Err(error),
                answer => answer,
            };
            if let Ok(export) = &answer {
                (self.told)(export);
                if let Some(exported) = Exported::of(&self.client, export) {
                    return Ok(exported);
                }
            }
            if begin.elapsed() + self.every > self.patience {
                let last = answer.as_ref().ok().or(last.as_ref());
                return Err(match (last, answer.as_ref().err()) {
                    (Some(export), _) => ExportError::Unfinished { last: Box::new(export.clone()) },
                    _ => answer.err().unwrap_or(ExportError::Answer),
                });
            }
            if let Err(error) = &answer {
                (self.told_again)(error);
            }
            last = answer.ok().or(last);
            sleep(self.every).await;
        }
    }
}

impl fmt::Debug for ExportRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExportRequest")
            .field("client", &self.client)
            .field("scope", &self.scope)
            .field("start", &self.start)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

/// What became of an export.
#[derive(Clone, Debug)]
#[must_use]
pub enum Exported {
    /// There is a file.
    Complete(ExportedFile),
    /// There are no records in the range.
    DoesNotExist(ExportStatus),
    /// It was not made; the log of the server says why.
    Failed(ExportStatus),
    /// It took too long, and was given up.
    TimedOut(ExportStatus),
}

impl Exported {
    fn of(client: &ExportClient, export: &ExportStatus) -> Option<Self> {
        let export = export.clone();
        match export.state {
            ExportState::Complete => Some(Self::Complete(ExportedFile { client: client.clone(), export })),
            ExportState::DoesNotExist => Some(Self::DoesNotExist(export)),
            ExportState::Failed => Some(Self::Failed(export)),
            ExportState::TimedOut => Some(Self::TimedOut(export)),
            ExportState::Pending | ExportState::Requested | ExportState::CreatingNewUrl => None,
        }
    }
}

/// The file of an export, at the server.
#[derive(Clone, Debug)]
#[must_use]
pub struct ExportedFile {
    client: ExportClient,
    export: ExportStatus,
}

/// Why there is no export.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The base is no URL of HTTP.
    #[error("the base of exports is a URL, such as https://logs.example.com")]
    Base,
    /// The key cannot be in a header.
    #[error("the account key has characters that a header cannot have")]
    Key,
    /// A request was not sent, or not answered.
    #[error("the server of exports cannot be reached: {0}")]
    Http(#[source] reqwest_middleware::Error),
    /// The server refused.
    #[error("the server of exports answers {status}{}{code}: {reason}", if code.is_empty() { "" } else { ", " })]
    Refused {
        /// The status.
        status: u16,
        /// The code of the API; empty where the answer has none, since it is not of this API.
        code: String,
        /// Why, as the server says it.
        reason: String,
    },
    /// No answer came in time.
    #[error("the server of exports takes too long to answer")]
    Slow,
    /// The answer is no answer of this API.
    #[error("the answer is none of exports")]
    Answer,
    /// It was not waited for any longer.
    #[error("the export {} was not finished in time: it is {}", last.request_id, last.state)]
    Unfinished {
        /// What was known of it last.
        last: Box<ExportStatus>,
    },
    /// The file broke off again and again, or changed meanwhile.
    #[error("the file does not come whole: {0}")]
    Broken(&'static str),
    /// What was downloaded cannot be kept, or is no gzip.
    #[error("what is downloaded cannot be kept: {0}")]
    Io(#[from] std::io::Error),
}

impl ExportError {
    /// Whether the next answer may be another.
    fn is_passing(&self) -> bool {
        match self {
            Self::Http(error) => !error.is_builder() && !matches!(error, reqwest_middleware::Error::Middleware(_)),
            Self::Slow => true,
            Self::Refused { status, .. } => *status == 429 || *status >= 500,
            _ => false,
        }
    }
}
