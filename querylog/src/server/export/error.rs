//! The error responses of the API, in JSON: [`ApiError`].

use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONTENT_RANGE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use crate::export::NotAccepted;
use crate::server::response::{self, ServerError};
use crate::store::StoreError;

/// Why a request does not get what it asks for.
#[derive(Debug)]
pub(super) enum ApiError {
    /// The request is not valid.
    Invalid(&'static str),
    /// There is no account key, or an unknown one.
    Unauthorized,
    /// Not for this key, or not by this URL.
    Forbidden(&'static str),
    /// There is no such thing.
    NotFound(&'static str),
    /// Only these methods are allowed.
    Method(&'static str),
    /// The file has this many bytes, and ends before the range.
    Range(u64),
    /// Too many exports of the key wait.
    TooMany,
    /// The server could not serve a valid request.
    Server(ServerError),
}

impl From<ServerError> for ApiError {
    fn from(unanswered: ServerError) -> Self {
        Self::Server(unanswered)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::Server(error.into())
    }
}

impl From<NotAccepted> for ApiError {
    fn from(why: NotAccepted) -> Self {
        match why {
            NotAccepted::TooFarAhead => Self::Invalid("time_end is too far in the future: choose an earlier one"),
            NotAccepted::TooMany => Self::TooMany,
            NotAccepted::Store(error) => error.into(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code, reason) = match self {
            Self::Invalid(reason) => (StatusCode::BAD_REQUEST, "bad_request", reason),
            Self::Unauthorized => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "expected a valid account key in the header Authorization: Bearer <key>",
            ),
            Self::Forbidden(reason) => (StatusCode::FORBIDDEN, "permission_denied", reason),
            Self::NotFound(reason) => (StatusCode::NOT_FOUND, "not_found", reason),
            Self::Method(_) => {
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "use a method that the header Allow lists")
            }
            Self::Range(_) => (StatusCode::RANGE_NOT_SATISFIABLE, "bad_request", "the file ends before this range"),
            Self::TooMany => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                "too many pending exports for this key; retry when some have finished",
            ),
            Self::Server(ServerError::Overloaded) => {
                (StatusCode::SERVICE_UNAVAILABLE, "internal_error", "too many requests right now; retry shortly")
            }
            Self::Server(ServerError::Failed) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "the server failed; its log says why")
            }
        };
        let mut response = response::json(status, json!({ "code": code, "reason": reason }).to_string());
        let headers = response.headers_mut();
        match self {
            Self::Unauthorized => headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")),
            Self::Method(allowed) => headers.insert(ALLOW, HeaderValue::from_static(allowed)),
            Self::TooMany => headers.insert(RETRY_AFTER, HeaderValue::from_static("10")),
            Self::Server(ServerError::Overloaded) => headers.insert(RETRY_AFTER, HeaderValue::from_static("1")),
            Self::Range(size) => HeaderValue::try_from(format!("bytes */{size}"))
                .ok()
                .and_then(|size| headers.insert(CONTENT_RANGE, size)),
            _ => None,
        };
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_its_status_and_header() {
        for (error, status, header) in [
            (ApiError::Invalid("no"), 400, None),
            (ApiError::Unauthorized, 401, Some((WWW_AUTHENTICATE, "Bearer"))),
            (ApiError::Forbidden("no"), 403, None),
            (ApiError::NotFound("no"), 404, None),
            (ApiError::Method("POST"), 405, Some((ALLOW, "POST"))),
            (ApiError::Range(7), 416, Some((CONTENT_RANGE, "bytes */7"))),
            (ApiError::TooMany, 429, Some((RETRY_AFTER, "10"))),
            (ApiError::Server(ServerError::Failed), 500, None),
            (ApiError::Server(ServerError::Overloaded), 503, Some((RETRY_AFTER, "1"))),
        ] {
            let response = error.into_response();
            assert_eq!(response.status(), status);
            for name in [WWW_AUTHENTICATE, ALLOW, CONTENT_RANGE, RETRY_AFTER] {
                let value = header.as_ref().filter(|(other, _)| *other == name).map(|(_, value)| *value);
                let header = response.headers().get(&name).map(|value| value.to_str().unwrap());
                assert_eq!(header, value, "{status} {name}");
            }
        }
    }
}
