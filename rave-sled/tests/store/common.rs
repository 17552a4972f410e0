//! What the tests of this crate share.

use rave_core::{AbstractLevel, AbstractLevelExt, IteratorOptions, KeyRange};
use rave_sled::Options;
use std::{collections::BTreeMap, sync::Arc};

pub type Db = Arc<dyn AbstractLevel>;

/// Options with which a few writes fill segments.
pub fn small() -> Options {
    Options { segment_bytes: 4 << 10, cache_bytes: 64 << 10, ..Options::default() }
}

/// All entries, which are the same in both directions.
pub async fn contents(db: &Db) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let forward = db.all(KeyRange::all()).await.unwrap();
    let mut reverse = db.all(IteratorOptions::default().reversed()).await.unwrap();
    reverse.reverse();
    assert_eq!(forward, reverse);
    forward.into_iter().map(|entry| (entry.key.to_vec(), entry.value.to_vec())).collect()
}
