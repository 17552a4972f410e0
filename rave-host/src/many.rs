//! Reading many keys at once, and no more than an answer may hold.
//!
//! A request of a few bytes for each key could otherwise make a leader hold any number of large values, only to find that
//! they fit no frame.

use crate::{exposure::GuestLevel, machine::convert::counted};
use rave_core::{AbstractLevel, Bytes, Code, Error, ReadOptions, Result, Snapshot};

/// Keys of the first part, when the size of values is not known yet, and of any part at most.
const PARTS: (usize, usize) = (64, 4096);
/// Bytes of values that a part should give, judged by those before.
const PART_BYTES: usize = 8 << 20;

/// How often a view is taken anew when the store has lost the one before.
const VIEWS: usize = 8;

/// The values of `keys`, all of one state of the store, that of `snapshot` if there is one; part by part where the store can
/// do that.
///
/// Errors: the values have more than `limit` bytes.
pub(crate) async fn get_many(
    store: &GuestLevel,
    keys: Vec<Bytes>,
    snapshot: Option<Snapshot>,
    limit: usize,
) -> Result<Vec<Option<Bytes>>> {
    if keys.len() <= PARTS.0 || !store.manifest().explicit_snapshots {
        return store.get_many_opts(keys, ReadOptions { snapshot }).await;
    }
    of_one_state(store, snapshot, |snapshot| get_parts(store, &keys, snapshot, limit)).await
}

/// Which of `keys` exist, likewise: many a store reads the values to tell.
pub(crate) async fn has_many(store: &GuestLevel, keys: Vec<Bytes>, snapshot: Option<Snapshot>) -> Result<Vec<bool>> {
    if keys.len() <= PARTS.0 || !store.manifest().explicit_snapshots {
        return store.has_many_opts(keys, ReadOptions { snapshot }).await;
    }
    of_one_state(store, snapshot, |snapshot| has_parts(store, &keys, snapshot)).await
}

/// What `read` tells of `snapshot`, or of a view of its own. A store that is shared itself loses that with its leader, which
/// is nothing to whoever asked for no snapshot.
async fn of_one_state<T, R: Future<Output = Result<T>>>(
    store: &GuestLevel,
    snapshot: Option<Snapshot>,
    read: impl Fn(Snapshot) -> R,
) -> Result<T> {
    if let Some(snapshot) = snapshot {
        return read(snapshot).await;
    }
    for _ in 1..VIEWS {
        match read(store.snapshot().await?).await {
            Err(error) if error.code() == Code::SnapshotNotOpen => {}
            result => return result,
        }
    }
    read(store.snapshot().await?).await
}

async fn get_parts(store: &GuestLevel, keys: &[Bytes], snapshot: Snapshot, limit: usize) -> Result<Vec<Option<Bytes>>> {
    let (mut part, most) = PARTS;
    let (mut values, mut bytes) = (Vec::with_capacity(keys.len()), 0);
    while values.len() < keys.len() {
        let end = keys.len().min(values.len() + part);
        let options = ReadOptions { snapshot: Some(snapshot.clone()) };
        let more = store.get_many_opts(keys[values.len()..end].to_vec(), options).await?;
        let more = counted(more, end - values.len())?;
        bytes += more.iter().flatten().map(Bytes::len).sum::<usize>();
        if bytes > limit {
            let message = format!("the answer does not fit a frame of {limit} bytes; ask for less at once");
            return Err(Error::new(Code::NotSupported, message));
        }
        values.extend(more);
        part = (PART_BYTES.saturating_mul(values.len()) / bytes.max(1)).clamp(1, most);
    }
    Ok(values)
}

async fn has_parts(store: &GuestLevel, keys: &[Bytes], snapshot: Snapshot) -> Result<Vec<bool>> {
    let mut existing = Vec::with_capacity(keys.len());
    // Nothing tells how large the values are.
    for part in keys.chunks(PARTS.0) {
        let options = ReadOptions { snapshot: Some(snapshot.clone()) };
        existing.extend(counted(store.has_many_opts(part.to_vec(), options).await?, part.len())?);
    }
    Ok(existing)
}
