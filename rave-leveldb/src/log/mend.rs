//! Making checksums right that a fuzzer has made wrong.

use super::format::{BLOCK_LEN, HEADER_LEN, mask};

/// Gives every fragment of a log, following their lengths, the checksum that belongs to it.
pub(crate) fn mend_log(log: &mut [u8]) {
    for block in log.chunks_mut(BLOCK_LEN) {
        let mut rest = block;
        while let Some((header, behind)) = rest.split_first_chunk_mut::<HEADER_LEN>() {
            let [crc @ .., l0, l1, kind] = header;
            let length = usize::from(u16::from_le_bytes([*l0, *l1]));
            let Some((payload, next)) = behind.split_at_mut_checked(length) else { break };
            let is_zero = length == 0 && *kind == 0;
            if !is_zero {
                crc.copy_from_slice(&mask(crc32c::crc32c_append(crc32c::crc32c(&[*kind]), payload)).to_le_bytes());
            }
            rest = next;
        }
    }
}
