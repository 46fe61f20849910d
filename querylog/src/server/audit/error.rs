//! What the API responds if there is an error: JSON too.

use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::json;

use crate::model::query_error::{QueryError, QueryErrorKind};
use crate::server::response::{self, ServerError};

/// Why a response does not have what was asked for.
#[derive(Debug)]
pub(super) enum ApiError {
    /// The path is not UTF-8.
    NotUtf8,
    /// There is no token, or it is not known.
    Unknown,
    /// Not for this caller.
    Forbidden,
    /// No such path.
    NoPath,
    /// No such record.
    NoRecord,
    /// Not this method.
    Method,
    /// Parameters that are invalid.
    Parameters(Vec<InvalidParameter>),
    /// The server's own error.
    ServerError(ServerError),
}

/// What is expected of a parameter that is invalid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct InvalidParameter {
    loc: (&'static str, &'static str),
    msg: &'static str,
    r#type: &'static str,
}

impl InvalidParameter {
    pub(super) fn in_query(parameter: &'static str, msg: &'static str, kind: &'static str) -> Self {
        Self { loc: ("query", parameter), msg, r#type: kind }
    }

    pub(super) fn in_path(part: &'static str, msg: &'static str, kind: &'static str) -> Self {
        Self { loc: ("path", part), msg, r#type: kind }
    }
}

impl From<ServerError> for ApiError {
    fn from(unanswered: ServerError) -> Self {
        Self::ServerError(unanswered)
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        match error.kind() {
            QueryErrorKind::NotFound => Self::NoRecord,
            QueryErrorKind::Forbidden => Self::Forbidden,
            QueryErrorKind::Overloaded => Self::ServerError(ServerError::Overloaded),
            _ => {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(%error, source, "audit log: a question failed");
                Self::ServerError(ServerError::Failed)
            }
        }
    }
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotUtf8 => StatusCode::BAD_REQUEST,
            Self::Unknown => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NoPath | Self::NoRecord => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Parameters(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::ServerError(ServerError::Overloaded) => StatusCode::TOO_MANY_REQUESTS,
            Self::ServerError(ServerError::Failed) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn detail(&self) -> &'static str {
        match self {
            Self::NotUtf8 => "the percent-decoded path is not valid UTF-8",
            Self::Unknown => "expected a token that is known here, as in the header Authorization: Bearer <token>",
            Self::Forbidden => {
                "only users may ask this; the token is one of a service, which may ask for its environment"
            }
            Self::NoPath => "there is nothing under this path",
            Self::NoRecord => "no record in your environment has this id",
            Self::Method => "only GET is allowed here",
            Self::Parameters(_) => "invalid parameters",
            Self::ServerError(ServerError::Overloaded) => "too many requests right now; retry shortly",
            Self::ServerError(ServerError::Failed) => "the server failed; its log says why",
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        let body = match self {
            Self::Parameters(invalid) => json!({ "detail": invalid }),
            error => json!({ "detail": error.detail() }),
        };
        let mut response = response::json(status, body.to_string());
        let headers = response.headers_mut();
        match status {
            StatusCode::UNAUTHORIZED => headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")),
            StatusCode::METHOD_NOT_ALLOWED => headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD")),
            StatusCode::TOO_MANY_REQUESTS => headers.insert(RETRY_AFTER, HeaderValue::from_static("1")),
            _ => None,
        };
        response
    }
}
