//! Warnings about guests. However many break the protocol, they do not fill the log, nor hold up a host whose log nobody reads.

use rave_core::PeerIdentity;
use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How often there is a warning; those in between are counted.
const PAUSE: Duration = Duration::from_secs(10);

/// When there was the last warning, and how many have been left out since.
#[derive(Debug, Default)]
pub(crate) struct Complaints(Mutex<(Option<Instant>, u64)>);

impl Complaints {
    /// The connection of `peer` ended for this reason.
    pub(crate) fn ended(&self, peer: &PeerIdentity, reason: &str) {
        match self.may_warn(Instant::now()) {
            Some(others) => tracing::warn!(%peer, reason, others, "a guest's connection ended"),
            None => tracing::debug!(%peer, reason, "a guest's connection ended"),
        }
    }

    /// How many were left out, if there may be a warning again.
    fn may_warn(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.0.is_some_and(|last| now.saturating_duration_since(last) < PAUSE) {
            state.1 += 1;
            return None;
        }
        Some(std::mem::replace(&mut *state, (Some(now), 0)).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_warning_in_a_while_and_it_counts_the_others() {
        let (complaints, start) = (Complaints::default(), Instant::now());
        assert_eq!(complaints.may_warn(start), Some(0));
        for _ in 0..1000 {
            assert_eq!(complaints.may_warn(start + PAUSE / 2), None);
        }
        assert_eq!(complaints.may_warn(start + PAUSE), Some(1000));
        assert_eq!(complaints.may_warn(start + PAUSE), None);
    }
}
