//! How often a guest tries again where it was not let in.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep_until};

/// The pause after somebody answered and did not let this guest in for now.
pub(super) const SOON: Duration = Duration::from_millis(250);
/// The pause after this guest was refused for good: until somebody changes something.
pub(super) const LATER: Duration = Duration::from_secs(2);

/// A guest's next attempt may not be before a certain moment. Each clone is another guest's.
#[derive(Debug, Default)]
pub(super) struct Pace {
    not_before: Mutex<Option<Instant>>,
}

impl Pace {
    /// Waits until the next attempt may be made.
    pub(super) async fn wait(&self) {
        let not_before = *self.not_before.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(moment) = not_before {
            sleep_until(moment).await;
        }
    }

    /// The next attempt may be made after this pause.
    pub(super) fn pause(&self, pause: Duration) {
        *self.not_before.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + pause);
    }
}

impl Clone for Pace {
    fn clone(&self) -> Self {
        Self::default()
    }
}
