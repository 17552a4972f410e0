//! How long keys and values may be.

use rave_core::{Batch, Code, Error, Result};

/// The engine begins backward walks at a key of this many bytes, all of them 255, and would pass over longer ones.
const LONGEST_KEY: usize = (1 << 20) - 1;
/// A page holds whole values, and is copied when it is read and changed.
const LONGEST_VALUE: usize = 256 << 20;

/// Refuses a batch that the engine cannot hold.
pub(crate) fn check(batch: &Batch) -> Result<()> {
    for operation in batch.operations() {
        if operation.key().len() > LONGEST_KEY {
            return Err(Error::new(Code::InvalidKey, "a key in a sled database must be shorter than 1 MiB"));
        }
        if operation.byte_len() - operation.key().len() > LONGEST_VALUE {
            return Err(Error::new(Code::InvalidValue, "a value in a sled database must not be longer than 256 MiB"));
        }
    }
    Ok(())
}
