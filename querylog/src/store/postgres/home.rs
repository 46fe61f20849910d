//! The runtime of a store: [`Home`].

use std::fmt;
use std::io;
use std::sync::mpsc;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

use crate::store::StoreError;

/// The runtime on which all connections of a store live, with one thread. Callers may be on any other runtime, or on
/// none, and theirs may end.
pub(super) struct Home {
    /// `None` once it is dropped.
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Home {
    /// Starts the runtime, and a task that ends with it.
    pub(super) fn start(task: impl Future<Output = ()> + Send + 'static) -> io::Result<Self> {
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_name("querylog-postgres").enable_all().build()?;
        runtime.spawn(task);
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Runs a call, which is aborted if the caller no longer waits for it.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let mut task = AbortOnDrop(self.handle.spawn(call));
        (&mut task.0).await.unwrap_or_else(|error| {
            Err(if error.is_cancelled() { StoreError::Closed } else { StoreError::failed(error) })
        })
    }

    /// Runs a call, and blocks until it is done.
    pub(super) fn run_blocking<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (done, result) = mpsc::sync_channel(1);
        self.handle.spawn(async move {
            // The caller waits.
            let _ = done.send(call.await);
        });
        // The sender is dropped if the call panics.
        result.recv().unwrap_or_else(|_| Err(StoreError::failed("a call of the store panicked")))
    }
}

/// Ends the connections. Nobody waits for them: an async function cannot.
impl Drop for Home {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Home").finish_non_exhaustive()
    }
}

struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
