//! From range options on the command line to what an iterator visits or a clear deletes.

use crate::cli::{BoundsArgs, RangeArgs, SyncArgs};
use rave_level::{
    ClearOptions, IteratorOptions, KeyRange, Result,
    encoding::{Encoding, TextEncoding},
};

impl BoundsArgs {
    /// The keys within the bounds.
    pub fn range(&self, keys: TextEncoding) -> Result<KeyRange> {
        if let Some(prefix) = &self.prefix {
            return Ok(KeyRange::prefix(keys.encode_key(prefix)?));
        }
        let mut range = KeyRange::all();
        if let Some(key) = &self.gt {
            range = range.gt(keys.encode_key(key)?);
        }
        if let Some(key) = &self.gte {
            range = range.gte(keys.encode_key(key)?);
        }
        if let Some(key) = &self.lt {
            range = range.lt(keys.encode_key(key)?);
        }
        if let Some(key) = &self.lte {
            range = range.lte(keys.encode_key(key)?);
        }
        Ok(range)
    }
}

impl RangeArgs {
    /// What to visit.
    pub fn iterator(&self, keys: TextEncoding) -> Result<IteratorOptions> {
        let range = self.bounds.range(keys)?;
        Ok(IteratorOptions { range, reverse: self.reverse, limit: self.limit, ..IteratorOptions::default() })
    }

    /// What to delete.
    pub fn clear(&self, keys: TextEncoding, sync: SyncArgs) -> Result<ClearOptions> {
        let range = self.bounds.range(keys)?;
        Ok(ClearOptions { range, reverse: self.reverse, limit: self.limit, sync: sync.sync, ..ClearOptions::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_and_prefixes_in_the_encoding_of_keys() {
        let bounds = BoundsArgs { gt: Some("61".into()), lte: Some("63ff".into()), ..BoundsArgs::default() };
        assert_eq!(bounds.range(TextEncoding::Hex).unwrap(), KeyRange::all().gt("a").lte(b"c\xff"));
        let bounds = BoundsArgs { prefix: Some("YQ==".into()), ..BoundsArgs::default() };
        let args = RangeArgs { bounds, limit: Some(3), reverse: true };
        let options = args.iterator(TextEncoding::Base64).unwrap();
        assert_eq!((options.range, options.limit, options.reverse), (KeyRange::prefix("a"), Some(3), true));
        let bounds = BoundsArgs { lt: Some("6".into()), ..BoundsArgs::default() };
        assert!(bounds.range(TextEncoding::Hex).is_err());
    }

    #[test]
    fn without_bounds_it_is_everything() {
        let options = RangeArgs::default().clear(TextEncoding::Utf8, SyncArgs { sync: true }).unwrap();
        assert_eq!((options.range, options.limit, options.sync), (KeyRange::all(), None, true));
    }
}
