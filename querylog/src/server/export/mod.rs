//! The REST API of exports: [`ExportApi`], an axum router.

mod answer;
mod body;
mod download;

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, Method};
use serde_json::json;

use self::answer::Problem;
use crate::access::callers::{Account, Callers, token};
use crate::export::{ExportService, FILES};
use crate::server::page_token::Signer;
use crate::server::{self, Unanswered, ok};
use crate::store::StoreError;

const NO_PATH: &str = "there is nothing under this path";
const NO_EXPORT: &str = "there is no such export for this key";

/// The REST API of exports: an axum router. [`ExportService`] has an example.
///
/// An export is asked for, asked about until it is in a final state, and its file downloaded:
///
/// | | answers |
/// | --- | --- |
/// | `POST /logs?type=query` | a new export |
/// | `GET /logs/X?type=query` | how far the export X is |
/// | `POST /logs/_list?type=query` | the exports that the key may see, the newest first |
/// | `GET /logs/files/…` | the file, by the URL of an export that is complete, and without a key |
///
/// All but the file want an account key: `Authorization: Bearer <key>`.
///
/// An export is asked for by an object with `region_group` (`us-std`) or `database` (`us-std/ECommerce`, with those
/// beneath it), `time_start` and `time_end` (ISO 8601 with a zone; the end is not included, may be in the future, 91
/// days from now at most, and is 90 days later at most), and perhaps an `idempotency_token`, a UUID: with the same one,
/// 24 hours long, the same export is answered. The list takes `states`, `max_results` (100 by default, and at most) and
/// `next_token`.
///
/// | state | |
/// | --- | --- |
/// | `Pending` | it waits for its turn, for the end of its range, or for requests that are open |
/// | `Requested` | it is being extracted |
/// | `Complete` | the file is at `presigned_url`, until `presigned_url_expiration_time` |
/// | `DoesNotExist` | the range has no records, so there is no file |
/// | `Failed`, `TimedOut` | there is no file, and there will be none; the log of the server says why |
/// | `CreatingNewUrl` | the URL had run out; `Complete` comes again |
///
/// An export is kept for a day after it is complete, or for as long as the settings say. Then its file is deleted, and it
/// is not found any more: what is in the store still can be exported anew.
///
/// The file is gzip of lines of JSON, one for each request, in the order of their begins. A mistake is answered by
/// `{"code": "bad_request", "reason": "…"}`; the codes are `bad_request`, `unauthorized`, `permission_denied`,
/// `not_found`, `method_not_allowed`, `too_many_requests` (too many exports of the key wait) and `internal_error`.
#[derive(Clone)]
#[must_use]
pub struct ExportApi {
    shared: Arc<Shared>,
    bases: Vec<String>,
}

struct Shared {
    exports: ExportService,
    callers: Box<dyn Callers>,
    signer: Signer,
}

impl ExportApi {
    /// The API of these exports, for these callers, under `/api/v1`.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked for the key that tokens of the list are signed with.
    pub async fn new(exports: ExportService, callers: impl Callers) -> Result<Self, StoreError> {
        let signer = Signer::new(&exports.secret().await?);
        let shared = Arc::new(Shared { exports, callers: Box::new(callers), signer });
        Ok(Self { shared, bases: vec!["/api/v1".to_owned()] })
    }

    /// Under these paths instead: each begins with a slash and does not end with one; the empty one is the root.
    ///
    /// `ExportClient` and `tagtrail-log export` ask under paths that end with `/api/v1`, such as `/logs-of-shop/api/v1`.
    /// The URL that [`ExportService::builder`] is given has to have one of these paths, too.
    pub fn under(self, bases: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { bases: bases.into_iter().map(Into::into).collect(), ..self }
    }

    /// A router to be merged with the one of a service, or nested in it. All under `/logs` of its paths is answered by
    /// it, nothing else.
    ///
    /// # Panics
    ///
    /// Where a path that was given to [`under`](Self::under) is none, or was given twice, as axum's routers do.
    pub fn router(&self) -> Router {
        let shared = Arc::clone(&self.shared);
        server::router(&self.bases, &["/logs", "/logs/", "/logs/{*rest}"], move |base, request: Request| {
            let shared = Arc::clone(&shared);
            async move {
                let (head, body) = request.into_parts();
                shared.answer(base, &head, body).await
            }
        })
    }

    /// A router for a server that has nothing else: what is under no path of the API is answered with a 404 in JSON too.
    ///
    /// # Panics
    ///
    /// As [`router`](Self::router) does.
    pub fn server(&self) -> Router {
        self.router().fallback(|| async { Problem::Missing(NO_PATH) })
    }
}

impl fmt::Debug for ExportApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExportApi")
            .field("exports", &self.shared.exports)
            .field("bases", &self.bases)
            .finish_non_exhaustive()
    }
}

impl Shared {
    async fn answer(&self, base: usize, head: &Parts, body: Body) -> Result<Response, Problem> {
        let path = head.uri.path().get(base..).unwrap_or_default();
        if let Some(name) = path.strip_prefix(FILES) {
            return download::answer(&self.exports, head, name).await;
        }
        let account = self.account(&head.headers).await?;
        is_query(head.uri.query().unwrap_or_default())?;
        let allow = |method: Method| {
            let allowed = if method == Method::GET { "GET, HEAD" } else { "POST" };
            let is = head.method == method || (method == Method::GET && head.method == Method::HEAD);
            if is { Ok(()) } else { Err(Problem::Method(allowed)) }
        };
        match path {
            "/logs" => {
                allow(Method::POST)?;
                self.add(&account, body).await
            }
            "/logs/_list" => {
                allow(Method::POST)?;
                self.list(&account, body).await
            }
            _ => {
                let id = path.strip_prefix("/logs/").filter(|id| !id.is_empty() && !id.contains('/'));
                let id = id.ok_or(Problem::Missing(NO_PATH))?;
                allow(Method::GET)?;
                let export = self.exports.get(&account, id).await?;
                ok(&export.ok_or(Problem::Missing(NO_EXPORT))?)
            }
        }
    }

    async fn account(&self, headers: &HeaderMap) -> Result<Account, Problem> {
        let key = token(headers, &["Bearer"]).ok_or(Problem::Unknown)?;
        let found = self.callers.account(key).await.map_err(|error| {
            tracing::error!(%error, "export: it cannot be found out whose the key is");
            Unanswered::Failed
        })?;
        found.ok_or(Problem::Unknown)
    }

    async fn add(&self, account: &Account, body: Body) -> Result<Response, Problem> {
        let asked = body::read::<body::Request>(body).await?.asked()?;
        if !account.scopes.iter().any(|scope| scope.covers(&asked.scope)) {
            return Err(Problem::Forbidden("this key may not export this region group, or this database"));
        }
        ok(&self.exports.add(account, asked).await?)
    }

    async fn list(&self, account: &Account, body: Body) -> Result<Response, Problem> {
        let list = body::read_or_empty::<body::List>(body).await?;
        let (states, limit) = (list.states()?, list.limit()?);
        // A token is good for this key, and these states.
        let mut asked = vec!["exports".to_owned(), states.iter().map(|state| state.as_str()).collect()];
        asked.extend(account.scopes.iter().map(ToString::to_string));
        let before = match &list.next_token {
            None => None,
            Some(token) => Some(self.signer.read(&asked, token).ok_or(Problem::Bad(
                "next_token is to be that of the page before, with the same states and the same key",
            ))?),
        };
        let (results, end) = self.exports.list(account, states, before, limit).await?;
        let next_token = end.map(|place| self.signer.write(&asked, &place));
        ok(&json!({ "next_token": next_token, "results": results }))
    }
}

/// There are logs of queries, and no others.
fn is_query(parameters: &str) -> Result<(), Problem> {
    let mut kinds = form_urlencoded::parse(parameters.as_bytes()).filter(|(name, _)| name == "type");
    if kinds.all(|(_, kind)| kind == "query") {
        Ok(())
    } else {
        Err(Problem::Bad("type is to be query: there are no other logs"))
    }
}
