//! One table. The first byte says whether its checksums are made right before it is read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rave_leveldb::testing::{mend, read_table};

fuzz_target!(|input: &[u8]| {
    let Some((mends, content)) = input.split_first() else { return };
    let mut content = content.to_vec();
    if mends & 1 == 1 {
        mend("000001.ldb", &mut content);
    }
    read_table(&content);
});
