//! A directory as bytes: a row of files, each with one byte that says which, two for its length, and its content.

/// The files that there may be.
pub const NAMES: [&str; 8] = [
    "CURRENT",
    "MANIFEST-000001",
    "MANIFEST-000004",
    "000002.log",
    "000005.log",
    "000005.ldb",
    "000007.ldb",
    "000008.sst",
];

/// The upper bit of the byte that says which file it is: its checksums are to be made right.
pub const MENDS: u8 = 0x80;

/// Takes a directory apart: names, whether to mend, contents.
pub fn unpack(mut input: &[u8]) -> Vec<(&'static str, bool, Vec<u8>)> {
    let mut files = Vec::new();
    while let Some(([which, l0, l1], rest)) = input.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes([*l0, *l1])).min(rest.len());
        let (content, rest) = rest.split_at(length);
        files.push((NAMES[usize::from(which & !MENDS) % NAMES.len()], which & MENDS != 0, content.to_vec()));
        input = rest;
    }
    files
}
