//! How long keys and values may be.

use rave_core::{Batch, Code, Effect, Error, Result};

/// The format counts lengths in 32 bits.
const LONGEST: usize = (u32::MAX - 64) as usize;

/// Refuses a batch that the format cannot hold.
pub(crate) fn check(batch: &Batch) -> Result<()> {
    for operation in batch.operations() {
        if operation.key().len() > LONGEST {
            return Err(Error::new(Code::InvalidKey, "a key must be shorter than 4 GiB").with_effect(Effect::None));
        }
        if operation.byte_len() - operation.key().len() > LONGEST {
            return Err(Error::new(Code::InvalidValue, "a value must be shorter than 4 GiB").with_effect(Effect::None));
        }
    }
    Ok(())
}
