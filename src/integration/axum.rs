//! [`Trail`] as an axum extractor.

use std::convert::Infallible;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;

use crate::trail::Trail;

/// Extracts the trail that an `InboundLayer` assigned to the request.
impl<S: Sync> FromRequestParts<S> for Trail {
    type Rejection = MissingTrail;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        parts.extensions.get().cloned().ok_or(MissingTrail(()))
    }
}

/// Extracts the trail, or `None` if there is no `InboundLayer` around the route.
impl<S: Sync> OptionalFromRequestParts<S> for Trail {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, Self::Rejection> {
        Ok(parts.extensions.get().cloned())
    }
}

/// The rejection of the [`Trail`] extractor: there is no `InboundLayer` around the route. It is logged, and the
/// response is a 500.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no `Trail` in request extensions; add `tagtrail::InboundLayer` with `.layer(…)` after this route")]
pub struct MissingTrail(());

impl IntoResponse for MissingTrail {
    fn into_response(self) -> Response {
        tracing::error!("{self}");
        (StatusCode::INTERNAL_SERVER_ERROR, self.to_string()).into_response()
    }
}
