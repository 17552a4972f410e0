//! How far a guest's session got, as its connection sees it.

use super::convert::effect_of;
use bytes::Bytes;
use rave_core::{Code, Error};
use rave_transport::wire::{
    MAX_UNSETTLED_WRITES, Response,
    message::{Callback, Refusal, SessionState},
};
use std::collections::BTreeMap;

/// The id of a guest's session.
pub type SessionId = [u8; 16];

/// The id that a guest names.
pub(super) fn id_of(bytes: &Bytes) -> Result<SessionId, Error> {
    let wrong = |_| Error::new(Code::Session, format!("a session's id has 16 bytes, not {}", bytes.len()));
    SessionId::try_from(bytes.as_ref()).map_err(wrong)
}

/// The writes of a session that were worked off.
#[derive(Debug)]
pub(super) struct Progress {
    /// Every write up to this number.
    up_to: u64,
    /// Those that were not applied, as long as the guest may not know.
    refused: BTreeMap<u64, Refusal>,
}

impl Progress {
    pub(super) fn new(state: &SessionState) -> Self {
        let refused = state.refused.iter().map(|refusal| (refusal.number, refusal.clone())).collect();
        Self { up_to: state.applied.unwrap_or(0), refused }
    }

    /// The guest has all answers below `number`.
    pub(super) fn settled(&mut self, number: u64) {
        if self.refused.first_key_value().is_some_and(|(first, _)| *first < number) {
            self.refused = self.refused.split_off(&number);
        }
    }

    pub(super) fn is_new(&self, number: u64) -> bool {
        number > self.up_to
    }

    /// The answer to a write that was worked off before, under the request id of now.
    pub(super) fn answer(&self, number: u64, id: u32) -> Response {
        let refusal = self.refused.get(&number).cloned().unwrap_or_default();
        let Refusal { error, effect, failed, .. } = refusal;
        Response::Callback(Callback { id, error, effect, failed, ..Callback::default() })
    }

    /// What to write along with the writes up to `number`.
    pub(super) fn with(&self, number: u64) -> SessionState {
        let refused = self.refused.values().cloned().collect();
        SessionState { applied: Some(number), refused, ..SessionState::default() }
    }

    pub(super) fn applied(&mut self, number: u64) {
        self.up_to = self.up_to.max(number);
    }

    pub(super) fn refused(&mut self, number: u64, error: &Error) {
        self.up_to = self.up_to.max(number);
        let (code, failed) = (error.code().as_str().to_owned(), failed_of(error));
        self.refused.insert(number, Refusal { number, error: Some(code), effect: effect_of(error), failed });
    }

    /// Whether the guest has sent more than it may without taking answers.
    pub(super) fn overflows(&self) -> bool {
        self.refused.len() > MAX_UNSETTLED_WRITES
    }
}

/// The conditions that do not hold, as on the wire.
pub(super) fn failed_of(error: &Error) -> Vec<u32> {
    error.failed_conditions().iter().filter_map(|index| u32::try_from(*index).ok()).collect()
}
