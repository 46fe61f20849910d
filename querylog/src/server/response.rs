//! What both REST APIs share: their paths, JSON, and a response even to a panic.

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

/// Why the server failed to respond to a valid request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ServerError {
    /// Too much to do: the caller may try again later.
    Overloaded,
    /// The log of the server has the reason.
    Failed,
}

impl From<StoreError> for ServerError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Overloaded => Self::Overloaded,
            error => {
                tracing::error!(%error, "a request failed, because the store failed");
                Self::Failed
            }
        }
    }
}

/// The routes of an API: these paths, under each of these bases. `respond` gets the length of the base.
pub(crate) fn router<A, F, P>(bases: &[String], paths: &[&str], respond: A) -> Router
where
    A: Fn(usize, Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response, P>> + Send + 'static,
    P: IntoResponse + From<ServerError>,
{
    let mut router = Router::new();
    for base in bases {
        let (respond, length) = (respond.clone(), base.len());
        let handler = any(move |request| caught(respond(length, request)));
        for path in paths.iter().map(|path| format!("{base}{path}")).filter(|path| !path.is_empty()) {
            router = router.route(&path, handler.clone());
        }
    }
    router
}

async fn caught<P: IntoResponse + From<ServerError>>(response: impl Future<Output = Result<Response, P>>) -> Response {
    let response = AssertUnwindSafe(response).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!("a request failed, because its handler panicked");
        Err(ServerError::Failed.into())
    });
    response.unwrap_or_else(P::into_response)
}

/// A response with this JSON, which caches must not store.
pub(crate) fn json(status: StatusCode, json: impl Into<Body>) -> Response {
    let mut response = Response::new(json.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// 200 with this value.
pub(crate) fn ok<P: From<ServerError>>(value: &impl Serialize) -> Result<Response, P> {
    let text = serde_json::to_vec(value).map_err(|error| {
        tracing::error!(%error, "a request failed, because the response is not JSON");
        ServerError::Failed
    })?;
    Ok(json(StatusCode::OK, text))
}
