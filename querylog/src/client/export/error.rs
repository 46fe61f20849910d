//! [`ExportClientError`].

use http::StatusCode;
use serde::Deserialize;

use crate::client::http::HttpError;
use crate::model::export_status::ExportStatus;

/// The error of an [`ExportClient`](crate::client::ExportClient), or of a [`Download`](crate::client::Download).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportClientError {
    /// The base URL is not an HTTP URL.
    #[error("invalid base URL: expected an HTTP URL (example: https://logs.example.com)")]
    Url,
    /// The account key cannot be sent in a header.
    #[error("invalid account key: it has characters that a header cannot have")]
    Key,
    /// A request was not sent, or got no response.
    #[error("the export server cannot be reached")]
    Http(#[source] HttpError),
    /// The server rejected a request.
    #[error("the export server responded {status}{}{code}: {reason}", if code.is_empty() { "" } else { ", " })]
    Rejected {
        /// The status code.
        status: u16,
        /// The API's error code; empty if the response is not from this API.
        code: String,
        /// The reason that the server gave.
        reason: String,
    },
    /// The server did not respond in time.
    #[error("the export server did not respond in time")]
    Timeout,
    /// The response is not from this API.
    #[error("the response is not from an export API")]
    InvalidResponse,
    /// The export did not finish in time.
    #[error("export {} did not finish in time: its state is {}", last.request_id, last.state)]
    Unfinished {
        /// The last status that the server reported.
        last: Box<ExportStatus>,
    },
    /// The file could not be downloaded to its end.
    #[error("download incomplete: {0}")]
    Incomplete(&'static str),
    /// The file could not be written, or is not valid gzip.
    #[error("cannot save the download")]
    Io(#[from] std::io::Error),
}

impl ExportClientError {
    /// Returns whether the same request may succeed if it is sent again: if there was no response, or the server was
    /// overloaded or failed.
    ///
    /// [`ExportRequest::wait`](crate::client::ExportRequest::wait) retries after these errors.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Http(error) => error.is_transient(),
            Self::Timeout => true,
            Self::Rejected { status, .. } => *status == 429 || *status >= 500,
            _ => false,
        }
    }

    /// Reads the reason of a rejection. `not_found` describes a 404 that is not from the API.
    pub(super) fn rejected(status: StatusCode, body: &[u8], not_found: &str) -> Self {
        #[derive(Deserialize)]
        struct Body {
            code: String,
            reason: String,
        }
        // The API itself sends errors as JSON.
        let unknown = if status == StatusCode::NOT_FOUND { not_found } else { "the server gave no reason" };
        let Body { code, reason } =
            serde_json::from_slice(body).unwrap_or_else(|_| Body { code: String::new(), reason: unknown.to_owned() });
        Self::Rejected { status: status.as_u16(), code, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(status: u16, body: &str) -> ExportClientError {
        ExportClientError::rejected(StatusCode::from_u16(status).unwrap(), body.as_bytes(), "no such API")
    }

    #[test]
    fn rejection_has_the_reason_of_the_server() {
        let body = r#"{"code": "permission_denied", "reason": "not yours"}"#;
        for (status, body, expected) in [
            (403, body, "the export server responded 403, permission_denied: not yours"),
            (404, "", "the export server responded 404: no such API"),
            (502, "<html>", "the export server responded 502: the server gave no reason"),
        ] {
            assert_eq!(rejected(status, body).to_string(), expected);
        }
    }

    #[test]
    fn errors_are_transient_if_a_retry_may_succeed() {
        for status in [429, 500, 503] {
            assert!(rejected(status, "").is_transient(), "{status}");
        }
        assert!(ExportClientError::Timeout.is_transient());
        for status in [400, 401, 403, 404, 422] {
            assert!(!rejected(status, "").is_transient(), "{status}");
        }
        for error in [
            ExportClientError::Url,
            ExportClientError::Key,
            ExportClientError::InvalidResponse,
            ExportClientError::Incomplete("x"),
            ExportClientError::Io(std::io::Error::other("x")),
        ] {
            assert!(!error.is_transient(), "{error}");
        }
    }
}
