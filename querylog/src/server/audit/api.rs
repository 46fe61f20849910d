//! The REST API of the audit log: [`AuditApi`], an axum router.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;

use super::error::ApiError;
use super::responder::Responder;
use crate::access::authenticator::Authenticator;
use crate::audit::log::AuditLog;
use crate::server::page_token::Signer;
use crate::server::response;
use crate::store::StoreError;

/// The REST API of an audit log: an axum router.
///
/// | `GET` | returns |
/// | --- | --- |
/// | `/log/self` | the caller's own records, by e-mail address, whatever the environment |
/// | `/log/exec-env/self` | the records of the caller's environment |
/// | `/log/by-id/X` | one record |
/// | `/log/by-udf-id/X`, `/log/by-udf-name/X`, `/log/by-shared-token/X` | the records of that value, in the caller's environment |
/// | `/log/distinct-udf-names/self`, `/log/distinct-udf-names/exec-env/self` | the latest record of each name |
/// | `/log/distinct-udf-id/self`, `/log/distinct-udf-id/exec-env/self` | the latest record of each id |
/// | `/requests` | the requests of the caller's environment, with all that is known of them |
/// | `/traces/X` | those of a trace, as a tree |
/// | `/gaps` | what is missing from the log, and since when a service that is behind has written nothing |
/// | `/user/self`, `/execution-env/self` | who the caller is |
/// | `/openapi.json` | the description of all this, for which no token is needed |
///
/// Pages take `start_timestamp` and `end_timestamp` (ISO 8601, both included), `limit` (100 by default, 300 at most),
/// `scan_forward` (`true` by default: the oldest first) and `page_token`. Distinct ones take the timestamps and
/// `max_records_to_scan` (1,000 by default, 5,000 at most).
///
/// X is all of the rest of the path, percent-decoded once: it may have slashes.
///
/// `/requests` takes the parameters of a page, and `tag` (`name=value`; repeat it for several, which all must be there),
/// `status` (`404`, or a class: `5xx`), `route` (`/posts/{id}`) and `trace` (a trace-id). Its items have the form of the
/// lines of a log, without what was printed: [`Record`](crate::Record). A page of it reads 5,000 records at most, and
/// leaves out those that are not requests, or do not have all that is asked for: it may have fewer than its limit, or
/// none, and a token all the same.
/// `/traces/X` is a list of `depth`, `parent` (the place of it in the list) and `request`, each request before those that
/// it sent; `complete` is false if a trace has more than 5,000: [`TraceTree`](crate::audit::TraceTree).
///
/// `/gaps` takes the timestamps. It returns two lists: `gaps` (`from`, `to`, `why`) and `behind` (`service`,
/// `written_through`), a [`Coverage`](crate::audit::Coverage). `/requests` and `/traces/X` have the same members, for what
/// they are about. How many requests are missing, and from which instances, is in the store alone.
///
/// Each response is JSON, rejections too.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("audit.db");
/// use tagtrail_querylog::store::Sqlite;
/// use tagtrail_querylog::AuditLog;
/// use tagtrail_querylog::access::Tokens;
/// use tagtrail_querylog::server::AuditApi;
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
    responder: Arc<Responder>,
    bases: Vec<String>,
}

impl AuditApi {
    /// Creates the API of this log, for the callers that the authenticator knows, under `/v1` and `/server/v1`.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked for the key that page tokens are signed with.
    pub async fn new(log: AuditLog, authenticator: impl Authenticator) -> Result<Self, StoreError> {
        let signer = Signer::new(&log.secret().await?);
        let responder = Arc::new(Responder { log, authenticator: Box::new(authenticator), signer });
        Ok(Self { responder, bases: vec!["/v1".to_owned(), "/server/v1".to_owned()] })
    }

    /// Sets the paths that it is under instead: each starts with a slash and does not end with one; the empty one is the
    /// root.
    pub fn at_paths(self, bases: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { bases: bases.into_iter().map(Into::into).collect(), ..self }
    }

    /// Returns a router that can be merged with the one of a service, or nested in it. It responds to all that is under
    /// the paths of the API, and to nothing else.
    ///
    /// # Panics
    ///
    /// If a path that was given to [`at_paths`](Self::at_paths) is not one, or was given twice, as axum's routers do.
    pub fn router(&self) -> Router {
        let responder = Arc::clone(&self.responder);
        response::router(&self.bases, &["", "/", "/{*rest}"], move |base, request: Request| {
            let responder = Arc::clone(&responder);
            async move { responder.respond(base, &request.into_parts().0).await }
        })
    }

    /// Returns a router for a server that has nothing else: the response to all that is not under a path of the API is a
    /// 404 in JSON too.
    ///
    /// # Panics
    ///
    /// As [`router`](Self::router) does.
    pub fn router_with_fallback(&self) -> Router {
        self.router().fallback(|| async { ApiError::NoPath })
    }
}

impl fmt::Debug for AuditApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditApi").field("log", &self.responder.log).field("bases", &self.bases).finish_non_exhaustive()
    }
}
