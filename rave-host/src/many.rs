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
    let (mut part, most) = PARTS;
    if keys.len() <= part || !store.manifest().explicit_snapshots {
        return store.get_many_opts(keys, ReadOptions { snapshot }).await;
    }
    let snapshot = match snapshot {
        Some(snapshot) => snapshot,
        None => store.snapshot().await?,
    };
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
