//! [`RecordHandle`] as an extractor of axum.

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use crate::layer::open::RecordHandle;

/// The record of the request. `Option<RecordHandle>` is `None` if there is no [`QueryLogLayer`](crate::QueryLogLayer), or
/// if it does not record this request.
impl<S: Sync> FromRequestParts<S> for RecordHandle {
    type Rejection = MissingRecord;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        parts.extensions.get().cloned().ok_or(MissingRecord(()))
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for RecordHandle {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, Self::Rejection> {
        Ok(parts.extensions.get().cloned())
    }
}

/// A handler asked for a [`RecordHandle`], and the request has none. The response is a 500, and the error is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no RecordHandle in the request: add tagtrail_querylog::QueryLogLayer around this route, or ask for \
     Option<RecordHandle> if the layer skips requests"
)]
pub struct MissingRecord(());

impl IntoResponse for MissingRecord {
    fn into_response(self) -> Response {
        tracing::error!("{self}");
        (StatusCode::INTERNAL_SERVER_ERROR, self.to_string()).into_response()
    }
}
