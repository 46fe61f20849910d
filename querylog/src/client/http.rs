//! The HTTP client below the API clients, and its errors.

use reqwest::Response;
use reqwest_middleware::ClientWithMiddleware;

/// The largest body of a response that describes a thing, such as an export or an error, in bytes.
pub(super) const MAX_DESCRIPTION: usize = 4 << 20;

/// The HTTP client that sends the requests of an [`AuditClient`](crate::client::AuditClient) or an
/// [`ExportClient`](crate::client::ExportClient).
///
/// Converts from `reqwest::Client`, and from `reqwest_middleware::ClientWithMiddleware`.
#[derive(Clone, Debug)]
pub struct HttpClient(ClientWithMiddleware);

impl HttpClient {
    pub(super) fn get(&self) -> &ClientWithMiddleware {
        &self.0
    }
}

impl From<reqwest::Client> for HttpClient {
    fn from(client: reqwest::Client) -> Self {
        Self(client.into())
    }
}

impl From<ClientWithMiddleware> for HttpClient {
    fn from(client: ClientWithMiddleware) -> Self {
        Self(client)
    }
}

/// The error of a request that was not sent, or got no response.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct HttpError(reqwest_middleware::Error);

impl HttpError {
    pub(super) fn new(error: impl Into<reqwest_middleware::Error>) -> Self {
        Self(error.into())
    }

    /// Creates an error that does not show the URL, which may grant access.
    pub(super) fn without_url(error: impl Into<reqwest_middleware::Error>) -> Self {
        Self(error.into().without_url())
    }

    /// Returns whether the same request may succeed if it is sent again.
    pub fn is_transient(&self) -> bool {
        !self.0.is_builder() && !self.0.is_middleware()
    }
}

/// Reads the body of an API's response, or returns `None` if it is larger than `limit`, in bytes.
pub(super) async fn read_body(mut response: Response, limit: usize) -> Result<Option<Vec<u8>>, HttpError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(HttpError::new)? {
        if body.len() + chunk.len() > limit {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}
