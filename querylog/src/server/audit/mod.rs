//! The REST API of the audit log: [`AuditApi`], an axum router.

mod answer;
mod parameters;
mod requests;

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde_json::json;

use self::answer::{Fault, Problem};
use self::parameters::Parameters;
use crate::access::authenticator::Authenticator;
use crate::access::bearer::bearer_token;
use crate::access::principal::Principal;
use crate::audit::log::AuditLog;
use crate::model::distinct::Distinct;
use crate::model::scan::{Cursor, Scan};
use crate::model::window::Window;
use crate::server::page_token::Signer;
use crate::server::{self, Unanswered, ok};
use crate::store::{Selection, StoreError};

const DEFAULT_LIMIT: usize = 100;
const MOST_LIMIT: usize = 300;
const DEFAULT_SCAN: usize = 1_000;
const MOST_SCAN: usize = 5_000;

/// What comes before a token.
const SCHEMES: [&str; 4] = ["Bearer", "Fused-Service-Token", "Fused-Env-Bearer", "Fused-Rtenv-Bearer"];

/// The REST API of an audit log: an axum router.
///
/// | `GET` | answers |
/// | --- | --- |
/// | `/log/self` | the caller's own records, by e-mail address, whatever the environment |
/// | `/log/exec-env/self` | the records of the caller's environment |
/// | `/log/by-id/X` | one record |
/// | `/log/by-udf-id/X`, `/log/by-udf-name/X`, `/log/by-shared-token/X` | the records of that value, in the caller's environment |
/// | `/log/distinct-udf-names/self`, `/log/distinct-udf-names/exec-env/self` | the latest record of each name |
/// | `/log/distinct-udf-id/self`, `/log/distinct-udf-id/exec-env/self` | the latest record of each id |
/// | `/requests` | the requests of the caller's environment, with all that is known of them |
/// | `/traces/X` | those of a trace, as a tree |
/// | `/user/self`, `/execution-env/self` | who the caller is |
/// | `/openapi.json` | the description of all this, for which no token is needed |
///
/// Pages take `start_timestamp` and `end_timestamp` (ISO 8601, both included), `limit` (100 by default, 300 at most),
/// `scan_forward` (`true` by default: the oldest first) and `page_token`. Distinct ones take the timestamps and
/// `max_records_to_scan` (1,000 by default, 5,000 at most).
///
/// X is all of the rest of the path, with its escapes undone once: it may have slashes.
///
/// `/requests` takes the parameters of a page, and `tag` (`name=value`; repeat it for several, which all must be there),
/// `status` (`404`, or a class: `5xx`), `route` (`/posts/{id}`) and `trace` (a trace-id). Its items have the form of the
/// lines of a log, without what was printed: [`Record`](crate::Record). A page of it reads 5,000 records at most, and
/// leaves out those that are no requests, or have not all that is asked for: it may have fewer than its limit, or none,
/// and a token all the same.
/// `/traces/X` is a list of `depth`, `parent` (the place of it in the list) and `request`, each request before those that
/// it sent; `complete` is false where a trace has more than 5,000: [`TraceTree`](crate::TraceTree).
///
/// Each answer is JSON, those to mistakes too.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("audit.db");
/// use tagtrail_querylog::store::Sqlite;
/// use tagtrail_querylog::{AuditApi, AuditLog, Tokens};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn run(path: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
/// let log = AuditLog::new(Sqlite::open(path)?);
/// let tokens: Tokens = r#"{"tokens": []}"#.parse()?;
/// let api = AuditApi::new(log, tokens).await?;
/// let app: axum::Router = axum::Router::new().merge(api.router());
/// # Ok(())
/// # }
/// # run(&path)?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct AuditApi {
    shared: Arc<Shared>,
    bases: Vec<String>,
}

struct Shared {
    log: AuditLog,
    authenticator: Box<dyn Authenticator>,
    signer: Signer,
}

impl AuditApi {
    /// The API of this log, for the callers that the authenticator knows, under `/v1` and `/server/v1`.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked for the key that page tokens are signed with.
    pub async fn new(log: AuditLog, authenticator: impl Authenticator) -> Result<Self, StoreError> {
        let signer = Signer::new(&log.secret().await?);
        let shared = Arc::new(Shared { log, authenticator: Box::new(authenticator), signer });
        Ok(Self { shared, bases: vec!["/v1".to_owned(), "/server/v1".to_owned()] })
    }

    /// Under these paths instead: each begins with a slash and does not end with one; the empty one is the root.
    pub fn under(self, bases: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { bases: bases.into_iter().map(Into::into).collect(), ..self }
    }

    /// A router to be merged with the one of a service, or nested in it. All under the paths of the API is answered by
    /// it, nothing else.
    ///
    /// # Panics
    ///
    /// Where a path that was given to [`under`](Self::under) is none, or was given twice, as axum's routers do.
    pub fn router(&self) -> Router {
        let shared = Arc::clone(&self.shared);
        server::router(&self.bases, &["", "/", "/{*rest}"], move |base, request: Request| {
            let shared = Arc::clone(&shared);
            async move { shared.answer(base, &request.into_parts().0).await }
        })
    }

    /// A router for a server that has nothing else: what is under no path of the API is answered with a 404 in JSON too.
    ///
    /// # Panics
    ///
    /// As [`router`](Self::router) does.
    pub fn server(&self) -> Router {
        self.router().fallback(|| async { Problem::NoPath })
    }
}

impl fmt::Debug for AuditApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditApi").field("log", &self.shared.log).field("bases", &self.bases).finish_non_exhaustive()
    }
}

/// What is asked.
enum Question {
    Description,
    User,
    Environment,
    Record(String),
    /// Records, and the name of the endpoint.
    Page(&'static str, Whose),
    RequestFilter,
    Trace(String),
    Latest(Distinct, Whose),
}

/// Whose records.
enum Whose {
    Own,
    Environment,
    UdfId(String),
    UdfName(String),
    SharedToken(String),
}

impl Question {
    /// Reads the path behind the base. It begins with any number of slashes.
    fn read(path: &str) -> Result<Self, Problem> {
        let path = path.trim_start_matches('/');
        Ok(match path {
            "openapi.json" => Self::Description,
            "user/self" => Self::User,
            "execution-env/self" => Self::Environment,
            "requests" => Self::RequestFilter,
            "log/self" => Self::Page("self", Whose::Own),
            "log/exec-env/self" => Self::Page("exec-env", Whose::Environment),
            "log/distinct-udf-names/self" => Self::Latest(Distinct::Names, Whose::Own),
            "log/distinct-udf-names/exec-env/self" => Self::Latest(Distinct::Names, Whose::Environment),
            "log/distinct-udf-id/self" => Self::Latest(Distinct::Ids, Whose::Own),
            "log/distinct-udf-id/exec-env/self" => Self::Latest(Distinct::Ids, Whose::Environment),
            _ => {
                let found = WITH_VALUE.iter().find_map(|(prefix, make)| Some((path.strip_prefix(prefix)?, make)));
                let (value, make) = found.filter(|(value, _)| !value.is_empty()).ok_or(Problem::NoPath)?;
                make(percent_decode_str(value).decode_utf8().map_err(|_| Problem::NoText)?.into_owned())
            }
        })
    }
}

/// What a value makes of a path that ends with it.
type Make = fn(String) -> Question;

const WITH_VALUE: [(&str, Make); 5] = [
    ("log/by-id/", Question::Record),
    ("log/by-udf-id/", |value| Question::Page("by-udf-id", Whose::UdfId(value))),
    ("log/by-udf-name/", |value| Question::Page("by-udf-name", Whose::UdfName(value))),
    ("log/by-shared-token/", |value| Question::Page("by-shared-token", Whose::SharedToken(value))),
    ("traces/", Question::Trace),
];

impl Whose {
    fn selection(self, caller: &Principal) -> Result<Selection, Problem> {
        let environment = caller.exec_env_id().to_owned();
        Ok(match self {
            Self::Own => match caller {
                Principal::User(user) => Selection::User(user.email.clone()),
                Principal::Service(_) => return Err(Problem::Forbidden),
            },
            Self::Environment => Selection::Environment(environment),
            Self::UdfId(value) => Selection::UdfId { environment, value },
            Self::UdfName(value) => Selection::UdfName { environment, value },
            Self::SharedToken(value) => Selection::SharedToken { environment, value },
        })
    }
}

/// An answer with records, or with requests.
#[derive(Serialize)]
struct Page<T> {
    items: Vec<T>,
    limit: usize,
    next_page_token: Option<String>,
}

impl Shared {
    async fn answer(&self, base: usize, head: &Parts) -> Result<Response, Problem> {
        let question = Question::read(head.uri.path().get(base..).unwrap_or_default())?;
        if head.method != Method::GET && head.method != Method::HEAD {
            return Err(Problem::Method);
        }
        if matches!(question, Question::Description) {
            return Ok(server::json(StatusCode::OK, include_str!("openapi.json")));
        }
        let caller = self.caller(&head.headers).await?;
        let parameters = Parameters::new(head.uri.query());
        match question {
            Question::Description => Err(Problem::NoPath),
            Question::User => user(&caller),
            Question::Environment => {
                let id = caller.exec_env_id();
                ok(&json!({ "id": id, "name": caller.exec_env_name().unwrap_or(id) }))
            }
            Question::Record(id) => self.record(&caller, &id).await,
            Question::Page(endpoint, whose) => {
                self.page(&caller, endpoint, whose.selection(&caller)?, parameters).await
            }
            Question::RequestFilter => self.requests(&caller, parameters).await,
            Question::Trace(id) => self.trace(&caller, &id).await,
            Question::Latest(distinct, whose) => self.latest(whose.selection(&caller)?, distinct, parameters).await,
        }
    }

    async fn caller(&self, headers: &HeaderMap) -> Result<Principal, Problem> {
        let token = bearer_token(headers, &SCHEMES).ok_or(Problem::Unknown)?;
        let found = self.authenticator.principal(token).await.map_err(|error| {
            tracing::error!(%error, "audit log: it cannot be found out who the caller is");
            Unanswered::Failed
        })?;
        found.ok_or(Problem::Unknown)
    }

    async fn record(&self, caller: &Principal, id: &str) -> Result<Response, Problem> {
        let environment = caller.exec_env_id();
        let found = self.log.get_in(environment, id).await?.ok_or(Problem::NoRecord)?;
        ok(&Page { items: vec![found], limit: 1, next_page_token: None })
    }

    async fn page(
        &self,
        caller: &Principal,
        endpoint: &str,
        of: Selection,
        mut parameters: Parameters,
    ) -> Result<Response, Problem> {
        let window = parameters.window();
        let limit = parameters.count("limit", DEFAULT_LIMIT, MOST_LIMIT);
        let forward = parameters.boolean("scan_forward", true);
        let asked = asked(caller, endpoint, &[value(&of)], window, forward);
        let mut range = Scan::new(of, window).newest_first(!forward);
        if let Some(place) = self.page_token(&asked, &mut parameters) {
            range = range.behind(place);
        }
        parameters.check()?;
        let found = self.log.page(range, limit).await?;
        let last = found.records.last().filter(|_| found.more);
        let next_page_token = last.map(|record| self.signer.write(&asked, &Cursor::of(record)));
        ok(&Page { items: found.records, limit, next_page_token })
    }

    /// The place that a page token names, where there is one.
    fn page_token(&self, asked: &[String], parameters: &mut Parameters) -> Option<Cursor> {
        let place = self.signer.read(asked, parameters.last("page_token")?);
        if place.is_none() {
            parameters.fault(Fault::new(
                "page_token",
                "the next_page_token of the page before is needed, with the same question by the same caller",
                "value_error",
            ));
        }
        place
    }

    async fn latest(&self, of: Selection, distinct: Distinct, mut parameters: Parameters) -> Result<Response, Problem> {
        let window = parameters.window();
        let limit = parameters.count("max_records_to_scan", DEFAULT_SCAN, MOST_SCAN);
        parameters.check()?;
        let items = self.log.latest(of, window, distinct, limit).await?;
        ok(&Page { items, limit, next_page_token: None })
    }
}

fn user(caller: &Principal) -> Result<Response, Problem> {
    let Principal::User(user) = caller else { return Err(Problem::Forbidden) };
    ok(&json!({
        "id": user.id,
        "name": user.name,
        "email": user.email,
        "handle": user.handle,
        "execution_environment_id": user.exec_env_id,
    }))
}

/// The value that a selection asks for; whose environment it is, the caller says.
fn value(of: &Selection) -> &str {
    match of {
        Selection::User(value) | Selection::Environment(value) => value,
        Selection::UdfId { value, .. } | Selection::UdfName { value, .. } | Selection::SharedToken { value, .. } => {
            value
        }
    }
}

/// All that a page token is bound to.
fn asked(caller: &Principal, endpoint: &str, values: &[&str], window: Window, forward: bool) -> Vec<String> {
    let who = match caller {
        Principal::User(user) => ["user", &user.id, &user.email, &user.exec_env_id],
        Principal::Service(service) => ["service", "", "", &service.exec_env_id],
    };
    let window = [window.start, window.end].map(|moment| moment.as_micros().to_string());
    let direction = if forward { "forward" } else { "backward" };
    let question = [endpoint, direction, &window[0], &window[1]];
    who.iter().chain(&question).chain(values).map(|&part| part.to_owned()).collect()
}
