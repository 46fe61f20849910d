//! Waiting for an acknowledgement, for a limited time.

use std::pin::Pin;
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::time::timeout_at;

use crate::queue::ack::{Ack, AppendError};

/// What a response waits for.
pub(crate) type Hold = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// Waits until the record is acknowledged, or it is too late. The response ends either way.
pub(crate) fn hold(ack: Ack, deadline: Option<Instant>) -> Hold {
    Box::pin(async move {
        let _ = acknowledged(ack, deadline).await;
    })
}

/// Waits for an acknowledgement until a deadline; without an end for `None`.
pub(crate) async fn acknowledged(ack: Ack, deadline: Option<Instant>) -> Result<(), AppendError> {
    match deadline {
        // There is no timer outside tokio.
        Some(deadline) if Handle::try_current().is_ok() => {
            timeout_at(deadline.into(), ack).await.unwrap_or(Err(AppendError::TimedOut))
        }
        _ => ack.await,
    }
}
