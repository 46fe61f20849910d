//! The responses of the audit log's API.

use http::StatusCode;
use reqwest::Response;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::client::http::{HttpError, MAX_DESCRIPTION, read_body};
use crate::model::query_error::{QueryError, QueryErrorKind};

/// The largest page, in bytes.
const MAX_PAGE: usize = 256 << 20;

/// Reads the value of a response. `missing` is the kind of a 404, which depends on the path.
pub(super) async fn value<T: DeserializeOwned>(response: Response, missing: QueryErrorKind) -> Result<T, QueryError> {
    let status = response.status();
    if status != StatusCode::OK {
        return Err(rejection(response, missing).await);
    }
    let Some(bytes) = read_body(response, MAX_PAGE).await.map_err(unreachable)? else {
        let why = "the response is larger than 256 MiB; request fewer records at a time";
        return Err(QueryError::new(QueryErrorKind::Failed, why));
    };
    serde_json::from_slice(&bytes).map_err(|_| foreign())
}

/// Returns the error for a response that is not from this API.
pub(super) fn foreign() -> QueryError {
    QueryError::new(QueryErrorKind::Unreachable, "the response is not from an audit log API")
}

/// Returns the error for a missing or incomplete response.
pub(super) fn unreachable(error: HttpError) -> QueryError {
    QueryError::new(QueryErrorKind::Unreachable, "the audit log cannot be reached").with_source(error)
}

async fn rejection(response: Response, missing: QueryErrorKind) -> QueryError {
    let status = response.status();
    let kind = match status.as_u16() {
        400 | 422 => QueryErrorKind::Rejected,
        401 | 403 => QueryErrorKind::Forbidden,
        404 => missing,
        429 | 502 | 503 => QueryErrorKind::Overloaded,
        _ => QueryErrorKind::Failed,
    };
    // The API itself always responds in JSON.
    let body = read_body(response, MAX_DESCRIPTION).await.ok().flatten().unwrap_or_default();
    let detail = match serde_json::from_slice(&body) {
        Ok(Value::Object(mut object)) => match object.remove("detail") {
            Some(Value::String(text)) => text,
            Some(detail) => detail.to_string(),
            None => "the server gave no reason".to_owned(),
        },
        _ if status == StatusCode::NOT_FOUND => "there is no such API under this URL".to_owned(),
        _ => "the server gave no reason".to_owned(),
    };
    let message = format!("the audit log responded {}: {detail}", status.as_u16());
    if status == StatusCode::NOT_FOUND && missing == QueryErrorKind::Unreachable {
        let expected = "expected the URL with the path of the API, such as http://127.0.0.1:8080/v1";
        return QueryError::new(kind, format!("{message}; {expected}"));
    }
    QueryError::new(kind, message)
}
