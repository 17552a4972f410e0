//! Running a transaction's body until nobody was in between.

use super::{Transaction, state::State};
use crate::{AbstractLevel, Code, Condition, Effect, Error, Result};
use bytes::Bytes;
use std::{ops::Bound, sync::Arc, time::Duration};

/// Attempts that follow the one before at once: most conflicts are over by then.
const AT_ONCE: u32 = 2;
/// The first pause is at most this long, each next one at most twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// Bytes of a key that an error shows.
const SHOWN: usize = 64;

/// How to run a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionOptions {
    /// Commit so that it survives power loss; see [`WriteOptions::sync`](crate::WriteOptions::sync).
    pub sync: bool,
    /// How often to run the body before giving up, at least once. Of transactions that are in each other's way one always
    /// gets through, so the default of 64, which waits for some three seconds in all, is ample where everybody is about as
    /// fast: with a hundred tasks on one counter the unluckiest needs some fifteen attempts. It is never enough for those who
    /// are always slower than the next change of others: a long transaction on what changes all the time, or guests beside a
    /// leader that begins its next transaction on the same key as soon as the last has ended. Read less in it, or pause.
    pub attempts: u32,
    /// Bytes that may be read by key and written, 16 MiB by default. A leader that is another process takes only frames up to
    /// a size of its own.
    pub max_bytes: usize,
}

impl Default for TransactionOptions {
    fn default() -> Self {
        Self { sync: false, attempts: 64, max_bytes: 16 * 1024 * 1024 }
    }
}

impl TransactionOptions {
    /// Runs `body` on `base`; see [`AbstractLevelExt::transaction`](crate::AbstractLevelExt::transaction).
    pub(crate) async fn run<T, E, F, R>(self, base: Arc<dyn AbstractLevel>, body: F) -> Result<T, E>
    where
        E: From<Error>,
        F: Fn(Transaction) -> R,
        R: Future<Output = Result<T, E>>,
    {
        let attempts = self.attempts.max(1);
        let mut conflict = None;
        for attempt in 0..attempts {
            if let Some(longest) = pause_before(attempt) {
                tokio::time::sleep(longest.mul_f64(fastrand::f64())).await;
            }
            let manifest = base.manifest();
            if !manifest.conditions {
                return Err(Error::not_supported("a transaction, which needs conditions on batches,").into());
            }
            if self.sync && !manifest.sync_writes {
                return Err(Error::not_supported("sync").into());
            }
            let running = Running(Transaction::begin(base.clone(), &self));
            let work = body(running.0.clone());
            let outcome = work.await;
            let Some(state) = running.0.end() else { return Err(Error::not_open().into()) };
            let settled = state.settle(outcome.is_ok()).await;
            match (outcome, settled) {
                // With another effect it may be its own first try that it is in conflict with.
                (_, Err(error)) if error.code() == Code::ConditionFailed && error.effect() == Effect::None => {
                    conflict = changed(&state, &error);
                }
                (Ok(value), Ok(())) => return Ok(value),
                (Ok(_), Err(error)) => return Err(error.into()),
                // Also if the check failed: what the body says comes first.
                (Err(error), _) => return Err(error),
            }
        }
        let what = conflict.unwrap_or_else(|| "something".to_owned());
        let message = format!(
            "a transaction was tried {attempts} times, and each time others changed what it had read; the last time {what}"
        );
        Err(Error::new(Code::Conflict, message).into())
    }
}

/// Ends the transaction also if its body panics or is dropped, so that handles which the body gave away are of no use.
struct Running(Transaction);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// How long to wait at most before an attempt, counted from 0.
fn pause_before(attempt: u32) -> Option<Duration> {
    let doublings = attempt.checked_sub(AT_ONCE + 1)?;
    let pause = FIRST_PAUSE.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX));
    Some(pause.min(LONGEST_PAUSE))
}

/// What others changed, in words.
fn changed(state: &State, error: &Error) -> Option<String> {
    let show = |key: &Bytes| format!("\"{}\"", key.get(..SHOWN).unwrap_or(key).escape_ascii());
    Some(match state.reading(*error.failed_conditions().first()?)? {
        Condition::Absent { key } | Condition::Equals { key, .. } => format!("the key {}", show(&key)),
        Condition::Unchanged { ranges, .. } => {
            let range = ranges.first()?;
            match (range.lower(), range.upper()) {
                (Bound::Included(lower), Bound::Included(upper)) if lower == upper => {
                    format!("the key {}", show(lower))
                }
                (lower, upper) => {
                    let side = |bound: Bound<&Bytes>, open: &str| match bound {
                        Bound::Included(key) | Bound::Excluded(key) => show(key),
                        Bound::Unbounded => open.to_owned(),
                    };
                    format!("the range from {} to {}", side(lower, "the first key"), side(upper, "the last key"))
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_begin_late_and_grow_to_a_bound() {
        let millis: Vec<Option<u128>> =
            (0..13).map(|attempt| pause_before(attempt).map(|pause| pause.as_millis())).collect();
        let pauses = [1, 2, 4, 8, 16, 32, 64, 100, 100, 100].map(Some);
        assert_eq!(millis, [[None; 3].as_slice(), &pauses].concat());
        assert_eq!(pause_before(u32::MAX), Some(LONGEST_PAUSE));
    }
}
