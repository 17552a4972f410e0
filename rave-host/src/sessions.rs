//! What a leader keeps of its guests' sessions: in the database how far each got, here who speaks for it.
//!
//! To ensure correctness:
//! - A record is written in the same atomic step as the writes it tells of, so a later leader finds both or neither.
//! - One connection at a time speaks for a session. A newer one waits for what the older one has under way, and from then
//!   on the older one does nothing more: what it had received and not done stays undone.
//! - A session that is forgotten is counted. A guest that finds no record can tell by the count whether there may have been
//!   one.

use crate::{GuardedLevel, machine::SessionId};
use bytes::Bytes;
use prost::Message as _;
use rave_core::{
    AbstractLevel, Batch, Code, Error, IteratorOptions, KeyRange, Operation, RESERVED, ReadOptions, Result,
};
use rave_transport::wire::message::{SessionRecord, SessionState};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};
use tokio::sync::{OwnedMutexGuard, watch};

/// Sessions looked at in one step when old ones are forgotten.
const PAGE: usize = 256;

/// Where the record of a session is.
fn key_of(session: &SessionId) -> Bytes {
    (session_prefix() + &hex::encode(session)).into()
}

fn session_prefix() -> String {
    format!("{RESERVED}session!")
}

/// Where the count of forgotten sessions is, in decimal: its lower 32 bits. The upper ones are random, so that a database
/// whose records were deleted by somebody who does not know them is not taken for one where nothing was forgotten.
fn forgotten_key() -> Bytes {
    format!("{RESERVED}forgotten").into()
}

/// A damaged count is like no other.
fn read_count(value: &Bytes) -> u64 {
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX)
}

fn count(count: u64) -> Operation {
    Operation::Put { key: forgotten_key(), value: count.to_string().into() }
}

/// The count of forgotten sessions, which begins here if there is none yet and something can be written.
pub(crate) async fn counted(store: &GuardedLevel) -> Result<Option<u64>> {
    let manifest = store.manifest();
    let present = async || store.inner().get_opts(forgotten_key(), ReadOptions::default()).await;
    let found = present().await?;
    if manifest.read_only || found.is_some() {
        return Ok(found.as_ref().map(read_count));
    }
    let beginning = u64::from(fastrand::u32(1..)) << 32;
    let mut batch: Batch = [count(beginning)].into_iter().collect();
    if manifest.conditions {
        batch = batch.if_absent(forgotten_key());
    }
    match store.write_internal(batch).await {
        Ok(()) => Ok(Some(beginning)),
        // Somebody else was first.
        Err(error) if error.code() == Code::ConditionFailed => Ok(present().await?.as_ref().map(read_count)),
        Err(error) => Err(error),
    }
}

fn read_record(value: &Bytes) -> Result<SessionRecord> {
    let damaged = |error| Error::new(Code::Corruption, "the record of a guest's session is damaged").with_source(error);
    SessionRecord::decode(value.clone()).map_err(damaged)
}

/// The operation that records how far a session got.
pub(crate) fn record(session: &SessionId, state: SessionState, now: SystemTime) -> Operation {
    let time = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    let record = SessionRecord { state: Some(state), time: u64::try_from(time).ok() };
    Operation::Put { key: key_of(session), value: record.encode_to_vec().into() }
}

/// How far a session got, by what is in `store`, and the operation that writes its record again.
pub(crate) async fn look_up(
    store: &dyn AbstractLevel,
    session: &SessionId,
) -> Result<(SessionState, Option<Operation>)> {
    let keys = vec![key_of(session), forgotten_key()];
    let values = store.get_many_opts(keys, ReadOptions::default()).await?;
    let value = values.first().cloned().flatten();
    let state = match &value {
        Some(value) => read_record(value)?.state.unwrap_or_default(),
        None => SessionState::default(),
    };
    let forgotten = values.get(1).and_then(Option::as_ref).map_or(0, read_count);
    let record = value.map(|value| Operation::Put { key: key_of(session), value });
    Ok((SessionState { forgotten: Some(forgotten), ..state }, record))
}

/// The operation that forgets a session whose guest will not come back.
pub(crate) fn forget(session: &SessionId) -> Operation {
    Operation::Del { key: key_of(session) }
}

/// Who speaks for which session.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<SessionId, Arc<Speaker>>>);

#[derive(Debug, Default)]
struct Speaker {
    /// The connection that speaks, by the guest's count of its connections.
    attempt: watch::Sender<u64>,
    /// Held while something is done for the session.
    busy: Arc<tokio::sync::Mutex<()>>,
}

impl Speaker {
    fn attempt(&self) -> u64 {
        *self.attempt.borrow()
    }
}

impl Sessions {
    fn map(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Speaker>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this connection speaks for `session`, and no older one. Returns when what an older one had under way is
    /// done.
    ///
    /// Errors: `LEVEL_SESSION_LOST` if a connection speaks that is not older.
    pub(crate) async fn claim(self: &Arc<Self>, session: SessionId, attempt: u64) -> Result<Claim> {
        let speaker = {
            let mut map = self.map();
            if attempt <= map.get(&session).map_or(0, |speaker| speaker.attempt()) {
                let message =
                    "another connection speaks for this session: it was reused, or an old greeting was repeated";
                return Err(Error::new(Code::Session, message));
            }
            let speaker = map.entry(session).or_default().clone();
            speaker.attempt.send_replace(attempt);
            speaker
        };
        let claim = Claim { session, attempt, speaker, sessions: self.clone() };
        drop(claim.speaker.busy.clone().lock_owned().await);
        Ok(claim)
    }

    /// Forgets sessions that have written nothing for longer than `retention` and that nobody speaks for, and counts them.
    pub(crate) async fn forget_old(&self, store: &GuardedLevel, retention: Duration, now: SystemTime) -> Result<()> {
        let inner = store.inner();
        let horizon = now.checked_sub(retention).and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        let Some(horizon) = horizon.map(|time| time.as_millis()) else { return Ok(()) };
        let options = IteratorOptions { internal: true, ..KeyRange::prefix(session_prefix()).into() };
        let mut records = inner.iterator_opts(options).await?;
        loop {
            let page = records.next_many(PAGE).await?;
            if page.is_empty() {
                return records.close().await;
            }
            let mut batch = Batch::new();
            for entry in page {
                // A damaged one is of no use to anybody.
                let time = read_record(&entry.value).ok().and_then(|record| record.time).unwrap_or(0);
                if u128::from(time) < horizon && !self.is_spoken_for(&entry.key) {
                    if inner.manifest().conditions {
                        // It may just have come back.
                        batch = batch.if_equals(&entry.key, &entry.value);
                    }
                    batch.push(Operation::Del { key: entry.key });
                }
            }
            if batch.is_empty() {
                continue;
            }
            let forgotten = inner.get_opts(forgotten_key(), ReadOptions::default()).await?;
            batch.push(count(forgotten.as_ref().map_or(0, read_count).wrapping_add(1)));
            match store.write_internal(batch).await {
                // Next time.
                Err(error) if error.code() == Code::ConditionFailed => {}
                result => result?,
            }
        }
    }

    /// Whether a connection speaks for the session whose record is at `key`.
    fn is_spoken_for(&self, key: &Bytes) -> bool {
        let mut session = SessionId::default();
        let digits = key.get(session_prefix().len()..).unwrap_or_default();
        hex::decode_to_slice(digits, &mut session).is_ok_and(|()| self.map().contains_key(&session))
    }
}

/// The right of a connection to speak for a session.
#[derive(Debug)]
pub(crate) struct Claim {
    session: SessionId,
    attempt: u64,
    speaker: Arc<Speaker>,
    sessions: Arc<Sessions>,
}

impl Claim {
    pub(crate) fn session(&self) -> &SessionId {
        &self.session
    }

    /// The right to do something for the session now; `None` if another connection speaks for it.
    pub(crate) async fn turn(&self) -> Option<OwnedMutexGuard<()>> {
        let turn = self.speaker.busy.clone().lock_owned().await;
        (self.speaker.attempt() == self.attempt).then_some(turn)
    }

    /// Resolves when another connection speaks for the session.
    pub(crate) async fn lost(&self) {
        // The sender lives in `self`, so the wait can only end so.
        let _ = self.speaker.attempt.subscribe().wait_for(|speaking| *speaking != self.attempt).await;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut map = self.sessions.map();
        if self.speaker.attempt() == self.attempt {
            map.remove(&self.session);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_claim_that_is_refused_leaves_nothing_behind() {
        let sessions: Arc<Sessions> = Arc::default();
        for session in 0..1000_u128 {
            assert!(sessions.claim(session.to_le_bytes(), 0).await.is_err());
        }
        assert_eq!(sessions.map().len(), 0);
    }
}
