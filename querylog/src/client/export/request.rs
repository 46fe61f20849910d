//! [`ExportRequest`]: requests an export, and waits for it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use serde_json::json;
use tokio::time::sleep;
use uuid::Uuid;

use super::{ExportClient, ExportClientError, ExportOutcome};
use crate::model::export_status::ExportStatus;
use crate::model::scope::ExportScope;
use crate::model::time::Timestamp;

/// Yields growing delays.
type Backoff = <ExponentialBuilder as BackoffBuilder>::Backoff;

/// The shortest interval of polling.
const MIN_INTERVAL: Duration = Duration::from_millis(10);
/// The longest delay after an error.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(10);

/// A request for an export, created by [`ExportClient::export`].
#[derive(Clone)]
#[must_use]
pub struct ExportRequest {
    client: ExportClient,
    scope: ExportScope,
    start: Timestamp,
    end: Timestamp,
    token: Uuid,
    interval: Duration,
    patience: Duration,
    on_status: Arc<dyn Fn(&ExportStatus) + Send + Sync>,
    on_retry: Arc<dyn Fn(&ExportClientError) + Send + Sync>,
}

impl ExportRequest {
    pub(super) fn new(client: ExportClient, scope: ExportScope, start: Timestamp, end: Timestamp) -> Self {
        Self {
            client,
            scope,
            start,
            end,
            token: Uuid::new_v4(),
            interval: Duration::from_secs(1),
            patience: Duration::from_secs(300),
            on_status: Arc::new(|_| {}),
            on_retry: Arc::new(|_| {}),
        }
    }

    /// Sets the idempotency token: for 24 hours, requests with the same token return the same export.
    ///
    /// By default, each `ExportRequest` has a new random token, so that retries create no second export.
    pub fn idempotency_token(self, token: Uuid) -> Self {
        Self { token, ..self }
    }

    /// Sets the interval between two polls; 1 second by default, and at least 10 milliseconds.
    pub fn poll_every(self, interval: Duration) -> Self {
        Self { interval: interval.max(MIN_INTERVAL), ..self }
    }

    /// Sets how long to wait for a final state; 300 seconds by default.
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Sets a function that is called with each status that the server reports.
    pub fn on_status(self, callback: impl Fn(&ExportStatus) + Send + Sync + 'static) -> Self {
        Self { on_status: Arc::new(callback), ..self }
    }

    /// Sets a function that is called with each error after which [`wait`](Self::wait) retries.
    pub fn on_retry(self, callback: impl Fn(&ExportClientError) + Send + Sync + 'static) -> Self {
        Self { on_retry: Arc::new(callback), ..self }
    }

    /// Requests the export, and returns without waiting for it.
    ///
    /// # Errors
    ///
    /// If there is no response, or the server rejects the request.
    pub async fn send(&self) -> Result<ExportStatus, ExportClientError> {
        let scope = if self.scope.database().is_empty() { "region_group" } else { "database" };
        let mut body = json!({
            "time_start": self.start.to_string(),
            "time_end": self.end.to_string(),
            "idempotency_token": self.token,
        });
        body[scope] = self.scope.to_string().into();
        self.client.post("", &body).await
    }

    /// Requests the export, and waits until its state is final.
    ///
    /// After a [transient](ExportClientError::is_transient) error, this retries, with longer and longer delays.
    ///
    /// # Errors
    ///
    /// If the server rejects the request, or the state was not final in time.
    pub async fn wait(&self) -> Result<ExportOutcome, ExportClientError> {
        let start = Instant::now();
        let mut last: Option<ExportStatus> = None;
        let mut backoff: Option<Backoff> = None;
        loop {
            let (delay, error) = match self.poll(last.as_ref()).await {
                Ok(export) => {
                    (self.on_status)(&export);
                    if let Some(outcome) = ExportOutcome::from_status(&self.client, &export) {
                        return Ok(outcome);
                    }
                    (last, backoff) = (Some(export), None);
                    (self.interval, None)
                }
                Err(error) if error.is_transient() => {
                    let delays = backoff.get_or_insert_with(|| self.retry_delays());
                    (delays.next().unwrap_or(self.interval), Some(error))
                }
                Err(error) => return Err(error),
            };
            let left = self.patience.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(match (last, error) {
                    (None, Some(error)) => error,
                    (Some(last), _) => ExportClientError::Unfinished { last: Box::new(last) },
                    (None, None) => ExportClientError::Timeout,
                });
            }
            if let Some(error) = &error {
                (self.on_retry)(error);
            }
            sleep(delay.min(left)).await;
        }
    }

    async fn poll(&self, last: Option<&ExportStatus>) -> Result<ExportStatus, ExportClientError> {
        match last {
            None => self.send().await,
            Some(export) => self.client.get(&export.request_id).await,
        }
    }

    fn retry_delays(&self) -> Backoff {
        ExponentialBuilder::new()
            .with_min_delay(self.interval.min(MAX_RETRY_DELAY))
            .with_max_delay(MAX_RETRY_DELAY)
            .without_max_times()
            .with_jitter()
            .build()
    }
}

impl fmt::Debug for ExportRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExportRequest")
            .field("client", &self.client)
            .field("scope", &self.scope)
            .field("start", &self.start)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}
