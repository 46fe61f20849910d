//! What the API answers to mistakes: JSON too.

use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONTENT_RANGE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use crate::export::NotTaken;
use crate::server::{self, Unanswered};
use crate::store::StoreError;

/// Why a request is not answered with what it asks for.
#[derive(Debug)]
pub(super) enum Problem {
    /// This has to be asked otherwise.
    Bad(&'static str),
    /// No account key, or one that nobody has.
    Unknown,
    /// Not for this key, or not by this URL.
    Forbidden(&'static str),
    /// There is no such thing.
    Missing(&'static str),
    /// Not by this method, but by these.
    Method(&'static str),
    /// The file ends before the range that is asked for, and has so many bytes.
    Range(u64),
    /// So many exports of the key wait that no more are taken.
    Waiting,
    /// Ours.
    Unanswered(Unanswered),
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

impl From<NotTaken> for Problem {
    fn from(why: NotTaken) -> Self {
        match why {
            NotTaken::Ahead => Self::Bad("time_end is too far in the future: ask for what ends earlier"),
            NotTaken::Waiting => Self::Waiting,
            NotTaken::Store(error) => error.into(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, code, reason) = match self {
            Self::Bad(reason) => (StatusCode::BAD_REQUEST, "bad_request", reason),
            Self::Unknown => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "send an account key that is known here, as in the header Authorization: Bearer <key>",
            ),
            Self::Forbidden(reason) => (StatusCode::FORBIDDEN, "permission_denied", reason),
            Self::Missing(reason) => (StatusCode::NOT_FOUND, "not_found", reason),
            Self::Method(_) => {
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "use the method that the header Allow names")
            }
            Self::Range(_) => (StatusCode::RANGE_NOT_SATISFIABLE, "bad_request", "the file ends before this range"),
            Self::Waiting => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                "too many exports of this key wait: ask again when some of them have ended",
            ),
            Self::Unanswered(Unanswered::Overloaded) => {
                (StatusCode::SERVICE_UNAVAILABLE, "internal_error", "too much is asked at a time: try again")
            }
            Self::Unanswered(Unanswered::Failed) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "the server failed to answer; its log says why")
            }
        };
        let mut answer = server::json(status, json!({ "code": code, "reason": reason }).to_string());
        let headers = answer.headers_mut();
        match self {
            Self::Unknown => headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")),
            Self::Method(allowed) => headers.insert(ALLOW, HeaderValue::from_static(allowed)),
            Self::Waiting => headers.insert(RETRY_AFTER, HeaderValue::from_static("10")),
            Self::Unanswered(Unanswered::Overloaded) => headers.insert(RETRY_AFTER, HeaderValue::from_static("1")),
            Self::Range(size) => HeaderValue::try_from(format!("bytes */{size}"))
                .ok()
                .and_then(|size| headers.insert(CONTENT_RANGE, size)),
            _ => None,
        };
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_problem_has_its_status_and_header() {
        for (problem, status, header) in [
            (Problem::Bad("no"), 400, None),
            (Problem::Unknown, 401, Some((WWW_AUTHENTICATE, "Bearer"))),
            (Problem::Forbidden("no"), 403, None),
            (Problem::Missing("no"), 404, None),
            (Problem::Method("POST"), 405, Some((ALLOW, "POST"))),
            (Problem::Range(7), 416, Some((CONTENT_RANGE, "bytes */7"))),
            (Problem::Waiting, 429, Some((RETRY_AFTER, "10"))),
            (Problem::Unanswered(Unanswered::Failed), 500, None),
            (Problem::Unanswered(Unanswered::Overloaded), 503, Some((RETRY_AFTER, "1"))),
        ] {
            let answer = problem.into_response();
            assert_eq!(answer.status(), status);
            for name in [WWW_AUTHENTICATE, ALLOW, CONTENT_RANGE, RETRY_AFTER] {
                let value = header.as_ref().filter(|(other, _)| *other == name).map(|(_, value)| *value);
                assert_eq!(answer.headers().get(&name).map(|value| value.to_str().unwrap()), value, "{status} {name}");
            }
        }
    }
}
