//! Work that may wait for the disk.

use rave_core::{Code, Error, Result};
use tokio::runtime::Handle;

/// Does `work` on the runtime's threads for blocking work; outside a tokio runtime, right here.
///
/// Dropping the future does not stop work that has begun.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    match Handle::try_current() {
        Ok(runtime) => {
            let done = runtime.spawn_blocking(work).await;
            done.map_err(|error| Error::new(Code::Aborted, "the runtime is shutting down").with_source(error))
        }
        Err(_) => Ok(work()),
    }
}
