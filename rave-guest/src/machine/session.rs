//! What becomes of writes that a lost leader may have applied, once somebody tells how far the session got.

use super::{Operation, Reply, requests};
use rave_core::{Code, Effect, Error, Result};
use rave_transport::wire::message::{Refusal, SessionState};

/// The id of a session: random, so that no two handles have the same.
pub type SessionId = [u8; 16];

/// What is known of a write.
#[derive(Debug)]
pub(super) enum Fate {
    /// It was worked off: applied, or refused with this error.
    Settled(Result<Reply>),
    /// It was not applied, and never will be unless it is sent again.
    Open,
}

/// The fate of `operation`, the write `number` of a session that got as far as `state` tells. It was sent to a leader when
/// sessions had been forgotten `forgotten` times.
pub(super) fn fate(operation: &Operation, number: u64, forgotten: u64, state: &SessionState) -> Fate {
    match state.applied {
        Some(applied) if number <= applied => {
            Fate::Settled(match state.refused.binary_search_by_key(&number, |refusal| refusal.number) {
                Ok(index) => Err(state.refused.get(index).map_or_else(lost, |refusal| error_of(operation, refusal))),
                Err(_) if operation.is_synced() && state.volatile == Some(true) => Err(volatile()),
                Err(_) => Ok(Reply::Done),
            })
        }
        Some(_) => Fate::Open,
        // No write of the session was ever applied, unless it was and has been forgotten.
        None if is_same(forgotten, state.forgotten.unwrap_or(0)) => Fate::Open,
        None => Fate::Settled(Err(lost())),
    }
}

/// Whether nothing was forgotten between two counts. A count is in the lower 32 bits, above a random number; where there was
/// no count at all, it may have begun since.
fn is_same(before: u64, now: u64) -> bool {
    before == now || (before == 0 && now & u64::from(u32::MAX) == 0)
}

fn error_of(operation: &Operation, refusal: &Refusal) -> Error {
    let code = refusal.error.as_deref().unwrap_or_default();
    if Code::from_name(code) == Some(Code::ConditionFailed) {
        return requests::condition_failed(operation, &refusal.failed);
    }
    let effect = if refusal.effect.unwrap_or(0) == 0 { Effect::None } else { Effect::Unknown };
    requests::error_of(refusal.error.as_deref(), "an earlier leader refused the write".to_owned()).with_effect(effect)
}

/// The error of writes that are there, but not as safe as they were to be.
fn volatile() -> Error {
    let message =
        "the write was applied by a leader that was lost; whether it survives power loss, this one cannot see to";
    Error::new(Code::NotSupported, message).with_effect(Effect::Unknown)
}

/// The error of writes of which nobody knows any more whether they were applied.
pub(super) fn lost() -> Error {
    let message = "the leader was lost, and how far it got with the writes of this handle is not known any more";
    Error::new(Code::Session, message).with_effect(Effect::Unknown)
}
