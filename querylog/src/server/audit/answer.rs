//! What the API answers to mistakes: JSON too.

use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::json;

use crate::server::{self, Unanswered};
use crate::store::StoreError;

/// Why a request is not answered with what it asks for.
#[derive(Debug)]
pub(crate) enum Problem {
    /// The path is no UTF-8.
    NoText,
    /// No token, or one that nobody has.
    Unknown,
    /// Not for this caller.
    Forbidden,
    /// No such path.
    NoPath,
    /// No such record.
    NoRecord,
    /// Not this method.
    Method,
    /// Parameters that cannot be understood.
    Parameters(Vec<Fault>),
    /// Ours.
    Unanswered(Unanswered),
}

/// What is wrong with a parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Fault {
    loc: (&'static str, &'static str),
    msg: &'static str,
    r#type: &'static str,
}

impl Fault {
    pub(crate) fn new(parameter: &'static str, msg: &'static str, kind: &'static str) -> Self {
        Self { loc: ("query", parameter), msg, r#type: kind }
    }

    pub(crate) fn in_path(part: &'static str, msg: &'static str, kind: &'static str) -> Self {
        Self { loc: ("path", part), msg, r#type: kind }
    }
}

impl From<Unanswered> for Problem {
    fn from(unanswered: Unanswered) -> Self {
        Self::Unanswered(unanswered)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::Unanswered(error.into())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let detail = |why: &str| json!({ "detail": why });
        let (status, body) = match self {
            Self::NoText => (StatusCode::BAD_REQUEST, detail("the path is not UTF-8 when its escapes are undone")),
            Self::Unknown => (
                StatusCode::UNAUTHORIZED,
                detail("send a token that is known here, as in the header Authorization: Bearer <token>"),
            ),
            Self::Forbidden => (
                StatusCode::FORBIDDEN,
                detail("this is for users; the token is one of a service, which may ask for its environment"),
            ),
            Self::NoPath => (StatusCode::NOT_FOUND, detail("there is nothing under this path")),
            Self::NoRecord => (StatusCode::NOT_FOUND, detail("no record in your environment has this id")),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, detail("only GET is allowed here")),
            Self::Parameters(faults) => (StatusCode::UNPROCESSABLE_ENTITY, json!({ "detail": faults })),
            Self::Unanswered(Unanswered::Overloaded) => {
                (StatusCode::TOO_MANY_REQUESTS, detail("too much is asked at a time: try again"))
            }
            Self::Unanswered(Unanswered::Failed) => {
                (StatusCode::INTERNAL_SERVER_ERROR, detail("the server failed to answer; its log says why"))
            }
        };
        let mut answer = server::json(status, body.to_string());
        let headers = answer.headers_mut();
        match status {
            StatusCode::UNAUTHORIZED => headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")),
            StatusCode::METHOD_NOT_ALLOWED => headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD")),
            StatusCode::TOO_MANY_REQUESTS => headers.insert(RETRY_AFTER, HeaderValue::from_static("1")),
            _ => None,
        };
        answer
    }
}
