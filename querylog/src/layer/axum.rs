//! What axum knows of a request, and [`RecordHandle`] as an extractor.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath, OptionalFromRequestParts};
use axum::http::Extensions;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use crate::layer::open::RecordHandle;

/// The route that matched: only known in a layer of the router, not around the whole of it.
pub(crate) fn route(extensions: &Extensions) -> Option<&str> {
    extensions.get::<MatchedPath>().map(MatchedPath::as_str)
}

/// The address of the peer, where the router is served with it.
pub(crate) fn peer(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip())
}

/// The record of the request. `Option<RecordHandle>` is `None` where there is no
/// [`QueryLogLayer`](crate::QueryLogLayer), or it does not record this request.
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

/// A handler asks for a [`RecordHandle`], and the request has none. It is answered with a 500, and logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no RecordHandle in the request: add tagtrail_querylog::QueryLogLayer around this route, or ask for \
     Option<RecordHandle> where the layer skips requests"
)]
pub struct MissingRecord(());

impl IntoResponse for MissingRecord {
    fn into_response(self) -> Response {
        tracing::error!("{self}");
        (StatusCode::INTERNAL_SERVER_ERROR, self.to_string()).into_response()
    }
}
