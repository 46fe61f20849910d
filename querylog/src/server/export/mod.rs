//! The REST API of exports: [`ExportApi`], an axum router.

mod body;
mod download;
mod error;

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use serde_json::json;

use self::error::ApiError;
use crate::access::authenticator::AccountAuthenticator;
use crate::access::bearer::bearer_token;
use crate::access::principal::Account;
use crate::export::{ExportService, FILES};
use crate::server::page_token::Signer;
use crate::server::response::{self, ServerError, ok};
use crate::store::StoreError;

const NO_PATH: &str = "there is nothing under this path";
const NO_EXPORT: &str = "there is no such export for this key";

/// The REST API of exports: an axum router. [`ExportService`] has an example.
///
/// A caller requests an export, polls until it is in a final state, and downloads its file:
///
/// | | response |
/// | --- | --- |
/// | `POST /logs?type=query` | a new export |
/// | `GET /logs/X?type=query` | how far the export X is |
/// | `POST /logs/_list?type=query` | the exports that the key may see, the newest first |
/// | `GET /logs/files/…` | the file, by the URL of a complete export |
/// | `GET /logs/openapi.json` | the description of all this, in OpenAPI |
///
/// All but the last two need an account key: `Authorization: Bearer <key>`.
///
/// The body of a request for an export is an object with `region_group` (`us-std`) or `database` (`us-std/ECommerce`, with
/// those beneath it), `time_start` and `time_end` (ISO 8601 with a zone; the end is excluded, at most 91 days from now, and
/// at most 90 days after the start), and optionally an `idempotency_token`, a UUID: for 24 hours, requests with the same one
/// get the same export. The list takes `states`, `max_results` (100 by default and at most) and `next_token`.
///
/// | state | |
/// | --- | --- |
/// | `Pending` | it waits for its turn, for the end of its range, or for open requests |
/// | `Requested` | it is being extracted |
/// | `Complete` | the file is at `presigned_url`, until `presigned_url_expiration_time` |
/// | `DoesNotExist` | the range has no records, so there is no file |
/// | `Failed`, `TimedOut` | there is no file, and there will be none; the log of the server says why |
/// | `CreatingNewUrl` | the URL had run out; `Complete` comes again |
///
/// An export that is `Complete` or `DoesNotExist` has the lists `gaps` (`from`, `to`, `why`) and `behind` (`service`,
/// `written_through`): what was [missing](crate::audit::Coverage) from the range when it was extracted. Those of a list do
/// not have them.
///
/// An export is kept for a day after it is complete, or as long as the builder says. Then its file is deleted, and the
/// export is not found any more: what is in the store can be exported again.
///
/// The file is gzip of lines of JSON, one for each request, in the order of their start times. The response to an error is
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
    accounts: Box<dyn AccountAuthenticator>,
    signer: Signer,
}

impl ExportApi {
    /// Creates the API of these exports, for these accounts, under `/api/v1`.
    ///
    /// # Errors
    ///
    /// If the store fails to return the key with which tokens of the list are signed.
    pub async fn new(exports: ExportService, accounts: impl AccountAuthenticator) -> Result<Self, StoreError> {
        let signer = Signer::new(&exports.secret().await?);
        let shared = Arc::new(Shared { exports, accounts: Box::new(accounts), signer });
        Ok(Self { shared, bases: vec!["/api/v1".to_owned()] })
    }

    /// Sets the paths of the API: each starts with a slash and does not end with one; the empty one is the root.
    ///
    /// `ExportClient` and `tagtrail-log export` use paths that end with `/api/v1`, such as `/logs-of-shop/api/v1`. The URL
    /// of [`ExportService::builder`] must have one of these paths, too.
    pub fn at_paths(self, bases: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { bases: bases.into_iter().map(Into::into).collect(), ..self }
    }

    /// Returns a router to be merged with the one of a service, or nested in it. It has all paths under `/logs`, and no
    /// others.
    ///
    /// # Panics
    ///
    /// If a path that was given to [`at_paths`](Self::at_paths) is not valid, or was given twice, as axum's routers do.
    pub fn router(&self) -> Router {
        let shared = Arc::clone(&self.shared);
        response::router(&self.bases, &["/logs", "/logs/", "/logs/{*rest}"], move |base, request: Request| {
            let shared = Arc::clone(&shared);
            async move {
                let (head, body) = request.into_parts();
                shared.respond(base, &head, body).await
            }
        })
    }

    /// Returns a router for a server that has nothing else: the response to any other path is a 404 in JSON, too.
    ///
    /// # Panics
    ///
    /// As [`router`](Self::router) does.
    pub fn router_with_fallback(&self) -> Router {
        self.router().fallback(|| async { ApiError::NotFound(NO_PATH) })
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
    async fn respond(&self, base: usize, head: &Parts, body: Body) -> Result<Response, ApiError> {
        let path = head.uri.path().get(base..).unwrap_or_default();
        if let Some(name) = path.strip_prefix(FILES) {
            return download::respond(&self.exports, head, name).await;
        }
        // Not the id of an export: those are UUIDs.
        if path == "/logs/openapi.json" {
            allow(head, &Method::GET)?;
            return Ok(response::json(StatusCode::OK, include_str!("openapi.json")));
        }
        let account = self.account(&head.headers).await?;
        is_query(head.uri.query().unwrap_or_default())?;
        match path {
            "/logs" => {
                allow(head, &Method::POST)?;
                self.add(&account, body).await
            }
            "/logs/_list" => {
                allow(head, &Method::POST)?;
                self.list(&account, body).await
            }
            _ => {
                let id = path.strip_prefix("/logs/").filter(|id| !id.is_empty() && !id.contains('/'));
                let id = id.ok_or(ApiError::NotFound(NO_PATH))?;
                allow(head, &Method::GET)?;
                let export = self.exports.get(&account, id).await?;
                ok(&export.ok_or(ApiError::NotFound(NO_EXPORT))?)
            }
        }
    }

    async fn account(&self, headers: &HeaderMap) -> Result<Account, ApiError> {
        let key = bearer_token(headers, &["Bearer"]).ok_or(ApiError::Unauthorized)?;
        let found = self.accounts.account(key).await.map_err(|error| {
            tracing::error!(%error, "export: failed to look up an account key");
            ServerError::Failed
        })?;
        found.ok_or(ApiError::Unauthorized)
    }

    async fn add(&self, account: &Account, body: Body) -> Result<Response, ApiError> {
        let new = body::read::<body::Request>(body).await?.export()?;
        if !account.scopes.iter().any(|scope| scope.covers(&new.scope)) {
            return Err(ApiError::Forbidden("this key may not export this region group, or this database"));
        }
        ok(&self.exports.add(account, new).await?)
    }

    async fn list(&self, account: &Account, body: Body) -> Result<Response, ApiError> {
        let list = body::read_or_empty::<body::List>(body).await?;
        let (states, limit) = (list.states()?, list.limit()?);
        // A token is valid for this key, and these states.
        let mut signed = vec!["exports".to_owned(), states.iter().map(|state| state.as_str()).collect()];
        signed.extend(account.scopes.iter().map(ToString::to_string));
        let before = match &list.next_token {
            None => None,
            Some(token) => Some(self.signer.read(&signed, token).ok_or(ApiError::Invalid(
                "next_token must be that of the page before, with the same states and the same key",
            ))?),
        };
        let (results, end) = self.exports.list(account, states, before, limit).await?;
        let next_token = end.map(|place| self.signer.write(&signed, &place));
        ok(&json!({ "next_token": next_token, "results": results }))
    }
}

fn allow(head: &Parts, method: &Method) -> Result<(), ApiError> {
    let allowed = if method == Method::GET { "GET, HEAD" } else { "POST" };
    let is_allowed = head.method == method || (method == Method::GET && head.method == Method::HEAD);
    if is_allowed { Ok(()) } else { Err(ApiError::Method(allowed)) }
}

/// Checks that a request is about the log of queries: there are no other logs.
fn is_query(parameters: &str) -> Result<(), ApiError> {
    let mut types = form_urlencoded::parse(parameters.as_bytes()).filter(|(name, _)| name == "type");
    if types.all(|(_, value)| value == "query") {
        Ok(())
    } else {
        Err(ApiError::Invalid("unsupported type: only `query` is available"))
    }
}
