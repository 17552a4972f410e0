//! One manifest. The first byte says whether its checksums are made right before it is read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rave_leveldb::testing::{mend, read_manifest};

fuzz_target!(|input: &[u8]| {
    let Some((mends, content)) = input.split_first() else { return };
    let mut content = content.to_vec();
    if mends & 1 == 1 {
        mend("MANIFEST-000001", &mut content);
    }
    read_manifest(&content);
});
