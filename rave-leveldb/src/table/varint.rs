//! Variable-length integers: seven bits to a byte, least significant first; the upper bit says that more follow.

/// Appends a number.
pub(crate) fn put_u64(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a slice, its length first. Slices of 4 GiB and more have no place in the format.
pub(crate) fn put_slice(out: &mut Vec<u8>, slice: &[u8]) {
    put_u64(out, slice.len() as u64);
    out.extend_from_slice(slice);
}

/// The number at the beginning of `bytes`, and how many bytes it takes; `None` if it is cut off or too large.
pub(crate) fn get_u64(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut number = 0;
    for (index, &byte) in bytes.iter().take(10).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if index == 9 && bits > 1 {
            return None;
        }
        number |= bits << (7 * index);
        if byte < 0x80 {
            return Some((number, index + 1));
        }
    }
    None
}

/// The number at the beginning of `bytes`, and how many bytes it takes; `None` if it is cut off or too large.
#[inline]
pub(crate) fn get_u32(bytes: &[u8]) -> Option<(u32, usize)> {
    match bytes.first() {
        Some(&byte) if byte < 0x80 => Some((u32::from(byte), 1)),
        _ => {
            let (number, used) = get_u64(bytes)?;
            Some((u32::try_from(number).ok()?, used))
        }
    }
}

/// The slice at the beginning of `bytes`, and what follows it; `None` if it is cut off.
pub(crate) fn get_slice(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, used) = get_u32(bytes)?;
    bytes.get(used..)?.split_at_checked(length as usize)
}
