//! [`Trail`] as an axum extractor.

use std::convert::Infallible;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;

use crate::trail::Trail;

/// The trail that an `InboundLayer` made for the request.
///
/// `Option<Trail>` is `None` where there is no such layer.
impl<S: Sync> FromRequestParts<S> for Trail {
    type Rejection = MissingTrail;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        parts.extensions.get().cloned().ok_or(MissingTrail(()))
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Trail {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, Self::Rejection> {
        Ok(parts.extensions.get().cloned())
    }
}

/// A handler asks for a [`Trail`], and no `InboundLayer` is around it. It is answered with a
/// 500, and logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no Trail in the request: add tagtrail::InboundLayer around this route, by a `.layer` that comes after the route"
)]
pub struct MissingTrail(());

impl IntoResponse for MissingTrail {
    fn into_response(self) -> Response {
        tracing::error!("{self}");
        (StatusCode::INTERNAL_SERVER_ERROR, self.to_string()).into_response()
    }
}
