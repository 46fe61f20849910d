//! [`Download`]: resumes when a connection is lost.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName, HeaderValue, IF_RANGE, RANGE};
use reqwest::Response;
use tokio::time::{sleep, timeout};

use super::{ExportClientError, ExportOutcome, ExportedFile};
use crate::client::http::{HttpError, MAX_DESCRIPTION, read_body};

/// Yields growing delays.
type Backoff = <ExponentialBuilder as BackoffBuilder>::Backoff;

/// How often a download is resumed without receiving a byte, and after which delays.
const RESUME: ExponentialBuilder =
    ExponentialBuilder::new().with_min_delay(Duration::from_millis(100)).with_max_times(5).with_jitter();
/// How often an expired URL is renewed, and after which delay if there is no new one yet.
const MAX_RENEWALS: u32 = 60;
const RENEWAL_DELAY: Duration = Duration::from_millis(500);

/// A download of an export's file: chunks of gzip, in order.
///
/// If a connection is lost, the download is resumed where it was. If its URL expires, it gets a new one.
#[derive(Debug)]
#[must_use]
pub struct Download {
    file: ExportedFile,
    response: Option<Response>,
    /// The number of bytes that were returned.
    position: u64,
    size: Option<u64>,
    etag: Option<HeaderValue>,
    /// The number of bytes of the response that were returned before.
    skip: u64,
    /// The delays since the last byte.
    backoff: Option<Backoff>,
}

impl Download {
    pub(super) fn new(file: ExportedFile) -> Self {
        Self { file, response: None, position: 0, size: None, etag: None, skip: 0, backoff: None }
    }

    /// Returns the number of bytes that were received.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Returns the size of the file in bytes, or `None` if it is not known yet.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Returns the next chunk, or `None` at the end of the file.
    ///
    /// # Errors
    ///
    /// If the connection is lost repeatedly, or the file no longer exists.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ExportClientError> {
        loop {
            let lost = match self.try_chunk().await {
                Ok(Some(bytes)) => {
                    let bytes = self.without_skipped(bytes);
                    if bytes.is_empty() {
                        continue;
                    }
                    self.position += bytes.len() as u64;
                    self.backoff = None;
                    return Ok(Some(bytes));
                }
                Ok(None) if self.skip == 0 && self.size.is_none_or(|size| self.position == size) => return Ok(None),
                Ok(None) => ExportClientError::Incomplete("the connection was lost repeatedly"),
                Err(error) if error.is_transient() => error,
                Err(error) => return Err(error),
            };
            self.response = None;
            match self.backoff.get_or_insert_with(|| RESUME.build()).next() {
                Some(delay) => sleep(delay).await,
                None => return Err(lost),
            }
        }
    }

    fn without_skipped(&mut self, mut bytes: Bytes) -> Bytes {
        let skipped = self.skip.min(bytes.len() as u64);
        self.skip -= skipped;
        bytes.split_off(usize::try_from(skipped).unwrap_or(usize::MAX))
    }

    async fn try_chunk(&mut self) -> Result<Option<Bytes>, ExportClientError> {
        let limit = self.file.client.timeout;
        let response = if let Some(response) = &mut self.response {
            response
        } else {
            let response = self.open().await?;
            self.response.insert(response)
        };
        match timeout(limit, response.chunk()).await {
            Ok(chunk) => chunk.map_err(|error| ExportClientError::Http(HttpError::without_url(error))),
            // As if the connection was lost.
            Err(_) => Ok(None),
        }
    }

    /// Requests the file, or the rest of it.
    async fn open(&mut self) -> Result<Response, ExportClientError> {
        for _ in 0..MAX_RENEWALS {
            let response = self.request().await?;
            match response.status() {
                StatusCode::OK => {
                    self.skip = self.position;
                    self.check_unchanged(&response, number(&response, &CONTENT_LENGTH, |text| text.parse().ok()))?;
                    return Ok(response);
                }
                StatusCode::PARTIAL_CONTENT => {
                    let (first, size) = content_range(&response);
                    if first != Some(self.position) {
                        return Err(ExportClientError::Incomplete("the server sent a different part than requested"));
                    }
                    self.skip = 0;
                    self.check_unchanged(&response, size)?;
                    return Ok(response);
                }
                // The URL has expired.
                StatusCode::FORBIDDEN => self.renew().await?,
                status => {
                    let body = timeout(self.file.client.timeout, read_body(response, MAX_DESCRIPTION)).await;
                    let body = body.ok().and_then(Result::ok).flatten().unwrap_or_default();
                    // Object stores have error formats of their own.
                    return Err(ExportClientError::rejected(status, &body, "the file no longer exists"));
                }
            }
        }
        Err(ExportClientError::Incomplete("the server did not provide a valid URL"))
    }

    async fn request(&self) -> Result<Response, ExportClientError> {
        let url = self.file.export.presigned_url.as_deref().ok_or(ExportClientError::InvalidResponse)?;
        let mut request = self.file.client.http.get().get(url);
        if self.position > 0 {
            request = request.header(RANGE, format!("bytes={}-", self.position));
            if let Some(etag) = &self.etag {
                request = request.header(IF_RANGE, etag);
            }
        }
        match timeout(self.file.client.timeout, request.send()).await {
            Ok(response) => response.map_err(|error| ExportClientError::Http(HttpError::without_url(error))),
            Err(_) => Err(ExportClientError::Timeout),
        }
    }

    /// Checks that a response is of the file that was started with.
    fn check_unchanged(&mut self, response: &Response, size: Option<u64>) -> Result<(), ExportClientError> {
        let etag = response.headers().get(ETAG).cloned();
        if self.position > 0 && ((self.size.is_some() && size != self.size) || etag != self.etag) {
            return Err(ExportClientError::Incomplete("the file changed during the download"));
        }
        (self.size, self.etag) = (size, etag);
        Ok(())
    }

    /// Gets a new URL, or waits if there is none yet.
    async fn renew(&mut self) -> Result<(), ExportClientError> {
        let client = &self.file.client;
        let export = client.get(&self.file.export.request_id).await?;
        match ExportOutcome::from_status(client, &export) {
            Some(ExportOutcome::Complete(file)) => {
                if file.export.presigned_url == self.file.export.presigned_url {
                    return Err(ExportClientError::Incomplete("the server rejected the URL that it provided"));
                }
                self.file = file;
            }
            Some(_) => return Err(ExportClientError::Incomplete("the export no longer has a file")),
            None => sleep(RENEWAL_DELAY).await,
        }
        Ok(())
    }
}

/// Returns the first byte, and the size of the file.
fn content_range(response: &Response) -> (Option<u64>, Option<u64>) {
    let first = number(response, &CONTENT_RANGE, |text| text.strip_prefix("bytes ")?.split('-').next()?.parse().ok());
    let size = number(response, &CONTENT_RANGE, |text| text.rsplit('/').next()?.parse().ok());
    (first, size)
}

fn number(response: &Response, name: &HeaderName, read: impl FnOnce(&str) -> Option<u64>) -> Option<u64> {
    read(response.headers().get(name)?.to_str().ok()?)
}
