//! What is in a directory, before the engine touches it.
//!
//! The engine takes a damaged `CURRENT` for a missing database and a damaged manifest for a short one, and would then
//! delete the tables it does not know. So both are checked first.

use crate::rusty::{comparator::COMPARATOR_NAME, failure::damaged, file::unmask};
use crate::{
    storage::OsStorage,
    version::{self, Contents},
};
use rave_core::{Code, Error, Result};
use std::{
    fs,
    io::{self, ErrorKind},
    path::Path,
};

/// What `directory` holds.
pub(crate) fn contents(directory: &Path) -> Result<Contents> {
    version::contents(&OsStorage::new(directory.to_owned()))
}

/// Checks `CURRENT` and the manifest it names. Returns whether the manifest and every log end with a whole record, so
/// that they can be continued; what were appended to a torn record would be lost.
pub(crate) fn verify(directory: &Path) -> Result<bool> {
    let current = directory.join("CURRENT");
    let text = fs::read(&current).map_err(|error| Error::io(format!("reading {}", current.display()), error))?;
    let name = std::str::from_utf8(&text).ok().and_then(|text| text.strip_suffix('\n'));
    let name = name.filter(|name| name.strip_prefix("MANIFEST-").is_some_and(|number| number.parse::<u64>().is_ok()));
    let Some(name) = name else {
        return Err(damaged(&current, "it does not name a manifest"));
    };
    let manifest = directory.join(name);
    let data = fs::read(&manifest).map_err(|error| match error.kind() {
        ErrorKind::NotFound => damaged(&manifest, "the file is missing"),
        _ => Error::io(format!("reading {}", manifest.display()), error),
    })?;
    let (records, whole) =
        records(&data).map_err(|offset| damaged(&manifest, &format!("the record at {offset} is wrong")))?;
    let Some(first) = records.first() else {
        return Err(damaged(&manifest, "it is empty"));
    };
    // The first edit starts with the comparator: tag 1, length, name.
    match first.as_slice() {
        [1, length, rest @ ..] if rest.get(..usize::from(*length)) == Some(COMPARATOR_NAME.as_bytes()) => {
            Ok(whole && logs_are_whole(directory)?)
        }
        [1, length, rest @ ..] if *length < 0x80 => {
            let other = rest.get(..usize::from(*length)).unwrap_or_default();
            let other = String::from_utf8_lossy(other).into_owned();
            let what = format!("{} orders its keys by {other:?}; only bytewise is supported", directory.display());
            Err(Error::new(Code::NotSupported, what))
        }
        _ => Err(damaged(&manifest, "it does not start with a comparator")),
    }
}

const BLOCK: usize = 32 << 10;
const HEADER: usize = 7;

fn logs_are_whole(directory: &Path) -> Result<bool> {
    let failed = |error: io::Error| Error::io(format!("reading the logs in {}", directory.display()), error);
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            let whole = matches!(records(&fs::read(&path).map_err(failed)?), Ok((_, true)));
            if !whole {
                tracing::warn!(log = %path.display(), "the log ends in a damaged record, up to which it is read");
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// The records of a log-formatted file and whether the last one is whole, or the offset of a damaged one. A record cut
/// off by the end of the file is none.
fn records(data: &[u8]) -> Result<(Vec<Vec<u8>>, bool), usize> {
    let mut records = Vec::new();
    let mut record: Option<Vec<u8>> = None;
    let mut offset = 0;
    loop {
        let left = BLOCK - offset % BLOCK;
        if left < HEADER {
            offset += left;
        }
        let Some((header, rest)) = data.get(offset..).and_then(|data| data.split_first_chunk::<HEADER>()) else {
            // What is left must be nothing, or the padding of a block.
            return Ok((records, record.is_none() && offset >= data.len()));
        };
        if *header == [0; HEADER] && rest.iter().all(|&byte| byte == 0) {
            // Space that was given to the file and not written, as power loss leaves it.
            return Ok((records, false));
        }
        let [c0, c1, c2, c3, l0, l1, kind] = *header;
        let length = usize::from(u16::from_le_bytes([l0, l1]));
        if length + HEADER > BLOCK - offset % BLOCK {
            return Err(offset);
        }
        let Some(fragment) = rest.get(..length) else { return Ok((records, false)) };
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&[kind]), fragment);
        if unmask(u32::from_le_bytes([c0, c1, c2, c3])) != checksum {
            return Err(offset);
        }
        match (kind, &mut record) {
            (1, None) => records.push(fragment.to_vec()),
            (2, None) => record = Some(fragment.to_vec()),
            (3, Some(record)) => record.extend_from_slice(fragment),
            (4, Some(_)) => {
                let mut whole = record.take().unwrap_or_default();
                whole.extend_from_slice(fragment);
                records.push(whole);
            }
            _ => return Err(offset),
        }
        offset += HEADER + length;
    }
}
