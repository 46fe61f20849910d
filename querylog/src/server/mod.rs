//! What the REST APIs have in common: the paths that they are under, answers in JSON, and that a panic is answered too.

#[cfg(feature = "audit-api")]
pub(crate) mod audit;
#[cfg(feature = "export")]
pub(crate) mod export;
pub(crate) mod page_token;

use std::panic::AssertUnwindSafe;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use futures_util::FutureExt;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use crate::store::StoreError;

/// Why the server could not answer a valid request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unanswered {
    /// Later, please.
    Overloaded,
    /// The log of the server says why.
    Failed,
}

impl From<StoreError> for Unanswered {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Overloaded => Self::Overloaded,
            error => {
                tracing::error!(%error, "a request is not answered, since the store does not answer");
                Self::Failed
            }
        }
    }
}

/// The routes of an API: these paths, under each of these bases. `answer` is told how long the base is.
pub(crate) fn router<A, F, P>(bases: &[String], paths: &[&str], answer: A) -> Router
where
    A: Fn(usize, Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response, P>> + Send + 'static,
    P: IntoResponse + From<Unanswered>,
{
    let mut router = Router::new();
    for base in bases {
        let (answer, length) = (answer.clone(), base.len());
        let handler = any(move |request| caught(answer(length, request)));
        for path in paths.iter().map(|path| format!("{base}{path}")).filter(|path| !path.is_empty()) {
            router = router.route(&path, handler.clone());
        }
    }
    router
}

async fn caught<P: IntoResponse + From<Unanswered>>(answer: impl Future<Output = Result<Response, P>>) -> Response {
    let answered = AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!("a request is not answered, since the code for it panicked");
        Err(Unanswered::Failed.into())
    });
    answered.unwrap_or_else(P::into_response)
}

/// An answer with this JSON. It is not for caches on the way.
pub(crate) fn json(status: StatusCode, json: impl Into<Body>) -> Response {
    let mut answer = Response::new(json.into());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// 200 with this value.
pub(crate) fn ok<P: From<Unanswered>>(value: &impl Serialize) -> Result<Response, P> {
    let text = serde_json::to_vec(value).map_err(|error| {
        tracing::error!(%error, "a request is not answered, since the answer is no JSON");
        Unanswered::Failed
    })?;
    Ok(json(StatusCode::OK, text))
}
