//! The asynchronous runtime.

use std::error::Error;
use std::time::Duration;

/// How long the program waits for work that it has started and no longer needs, such as statements of a store.
const GRACE: Duration = Duration::from_secs(1);

/// Runs a future to its end.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, Box<dyn Error>>>) -> Result<T, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(future);
    runtime.shutdown_timeout(GRACE);
    result
}
