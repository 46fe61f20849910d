//! What the API responds to a question: [`Responder`].

use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use serde::Serialize;
use serde_json::json;

use super::error::{ApiError, InvalidParameter};
use super::parameters::{Listing, Parameters};
use super::question::Question;
use crate::access::authenticator::Authenticator;
use crate::access::bearer::bearer_token;
use crate::access::principal::Principal;
use crate::audit::log::AuditLog;
use crate::audit::scoped::ScopedAuditLog;
use crate::model::coverage::Coverage;
use crate::model::distinct::{Distinct, Latest};
use crate::model::page::{Page, PageToken};
use crate::model::questions::Questions;
use crate::model::record_query::{RecordQuery, Whose};
use crate::model::scan::{Order, Scan};
use crate::server::page_token::Signer;
use crate::server::response::{self, ServerError, ok};

/// What comes before a token.
const SCHEMES: [&str; 4] = ["Bearer", "Fused-Service-Token", "Fused-Env-Bearer", "Fused-Rtenv-Bearer"];

/// Reads a request, asks the log, and responds.
pub(super) struct Responder {
    pub(super) log: AuditLog,
    pub(super) authenticator: Box<dyn Authenticator>,
    pub(super) signer: Signer,
}

/// A response with records, or with requests.
#[derive(Serialize)]
struct PageBody<T> {
    items: Vec<T>,
    limit: usize,
    next_page_token: Option<String>,
    /// What is missing; on paths that are not Fused's.
    #[serde(flatten)]
    coverage: Option<Coverage>,
}

/// All that a page token is bound to.
struct Binding(Vec<String>);

impl Responder {
    /// Responds to a request whose path has a base of this length.
    pub(super) async fn respond(&self, base: usize, head: &Parts) -> Result<Response, ApiError> {
        let question = Question::read(head.uri.path().get(base..).unwrap_or_default())?;
        if head.method != Method::GET && head.method != Method::HEAD {
            return Err(ApiError::Method);
        }
        if matches!(question, Question::Description) {
            return Ok(response::json(StatusCode::OK, include_str!("openapi.json")));
        }
        let caller = self.caller(&head.headers).await?;
        let log = self.log.scoped(caller.exec_env_id());
        let log = match &caller {
            Principal::User(user) => log.of_user(&user.email),
            Principal::Service { .. } if question.is_of_user() => return Err(ApiError::Forbidden),
            Principal::Service { .. } => log,
        };
        let parameters = Parameters::new(head.uri.query());
        match question {
            Question::Description => Err(ApiError::NoPath),
            Question::User => user(&caller),
            Question::Environment => environment(&caller),
            Question::Record(id) => {
                ok(&PageBody { items: vec![log.record(&id).await?], limit: 1, next_page_token: None, coverage: None })
            }
            Question::Records(endpoint, query) => self.records(&caller, &log, endpoint, query, parameters).await,
            Question::Requests => self.requests(&caller, &log, parameters).await,
            Question::Trace(id) => trace(&log, &id).await,
            Question::Gaps => gaps(&log, parameters).await,
            Question::Latest(of, whose) => latest(&log, of, whose, parameters).await,
        }
    }

    async fn caller(&self, headers: &HeaderMap) -> Result<Principal, ApiError> {
        let token = bearer_token(headers, &SCHEMES).ok_or(ApiError::Unknown)?;
        let found = self.authenticator.principal(token).await.map_err(|error| {
            tracing::error!(%error, "audit log: failed to look up the caller");
            ServerError::Failed
        })?;
        found.ok_or(ApiError::Unknown)
    }

    async fn records(
        &self,
        caller: &Principal,
        log: &ScopedAuditLog,
        endpoint: &str,
        query: RecordQuery,
        mut parameters: Parameters,
    ) -> Result<Response, ApiError> {
        let listing = parameters.listing();
        let value = match &query {
            RecordQuery::Own | RecordQuery::Environment => "",
            RecordQuery::OperationId(value) | RecordQuery::OperationName(value) | RecordQuery::SharedToken(value) => {
                value
            }
        };
        let binding = Binding::new(caller, endpoint, &listing, &[value]);
        let scan = self.scan(query, &listing, &binding, parameters)?;
        self.page(log.records(&scan, listing.limit).await?, &listing, &binding)
    }

    async fn requests(
        &self,
        caller: &Principal,
        log: &ScopedAuditLog,
        mut parameters: Parameters,
    ) -> Result<Response, ApiError> {
        let listing = parameters.listing();
        let filter = parameters.filter();
        let filters = filter.parameters();
        let values: Vec<_> = filters.iter().flat_map(|(name, value)| [*name, value]).collect();
        let binding = Binding::new(caller, "requests", &listing, &values);
        let scan = self.scan(filter, &listing, &binding, parameters)?;
        self.page(log.requests(&scan, listing.limit).await?, &listing, &binding)
    }

    /// The scan of a query, after the page token if there is one. All parameters are read.
    fn scan<Q>(
        &self,
        query: Q,
        listing: &Listing,
        binding: &Binding,
        mut parameters: Parameters,
    ) -> Result<Scan<Q>, ApiError> {
        let scan = Scan::new(query, listing.window).order(listing.order);
        let token = parameters.last("page_token").map(|token| self.signer.read(&binding.0, token));
        if token == Some(None) {
            parameters.reject(InvalidParameter::in_query(
                "page_token",
                "expected the next_page_token of the page before, with the same question by the same caller",
                "value_error",
            ));
        }
        parameters.check()?;
        Ok(match token.flatten() {
            Some(place) => scan.after(place.into()),
            None => scan,
        })
    }

    fn page<T: Serialize>(&self, page: Page<T>, listing: &Listing, binding: &Binding) -> Result<Response, ApiError> {
        let next = page.next.as_ref().and_then(PageToken::cursor);
        let next_page_token = next.map(|place| self.signer.write(&binding.0, &place));
        ok(&PageBody { items: page.items, limit: listing.limit, next_page_token, coverage: page.coverage })
    }
}

async fn trace(log: &ScopedAuditLog, id: &str) -> Result<Response, ApiError> {
    let id = id.parse().map_err(|_| {
        let msg = "expected a trace-id: 32 hexadecimal digits in lower case, not all zero";
        ApiError::Parameters(vec![InvalidParameter::in_path("value", msg, "value_error")])
    })?;
    ok(&log.trace(id).await?)
}

async fn gaps(log: &ScopedAuditLog, mut parameters: Parameters) -> Result<Response, ApiError> {
    let window = parameters.window();
    parameters.check()?;
    ok(&log.coverage(window).await?)
}

async fn latest(
    log: &ScopedAuditLog,
    of: Distinct,
    whose: Whose,
    mut parameters: Parameters,
) -> Result<Response, ApiError> {
    let window = parameters.window();
    let limit = parameters.count("max_records_to_scan", Latest::DEFAULT_READ, Latest::MAX_READ);
    parameters.check()?;
    let items = log.latest(&Latest::new(of, whose, window).read_at_most(limit)).await?;
    ok(&PageBody { items, limit, next_page_token: None, coverage: None })
}

fn user(caller: &Principal) -> Result<Response, ApiError> {
    let Principal::User(user) = caller else { return Err(ApiError::Forbidden) };
    ok(&json!({
        "id": user.id,
        "name": user.name,
        "email": user.email,
        "handle": user.handle,
        "execution_environment_id": user.exec_env_id,
    }))
}

fn environment(caller: &Principal) -> Result<Response, ApiError> {
    let id = caller.exec_env_id();
    ok(&json!({ "id": id, "name": caller.exec_env_name().unwrap_or(id) }))
}

impl Binding {
    fn new(caller: &Principal, endpoint: &str, listing: &Listing, values: &[&str]) -> Self {
        let who = match caller {
            Principal::User(user) => ["user", &user.id, &user.email, &user.exec_env_id],
            Principal::Service(service) => ["service", "", "", &service.exec_env_id],
        };
        let [start, end] = [listing.window.start, listing.window.end].map(|moment| moment.as_micros().to_string());
        let direction = match listing.order {
            Order::OldestFirst => "forward",
            Order::NewestFirst => "backward",
        };
        let question = [endpoint, direction, &start, &end];
        Self(who.into_iter().chain(question).chain(values.iter().copied()).map(str::to_owned).collect())
    }
}
