//! Version edits: the records of the manifest, each of which changes the set of tables in one step.

use super::{
    LEVELS,
    file::{BoundaryKey, TableInfo},
};
use crate::{
    key::{InternalKey, MAX_SEQUENCE, SequenceNumber},
    table::varint,
};

/// The tags of an edit's fields. 8 was used for something else once.
mod field {
    pub(super) const COMPARATOR: u64 = 1;
    pub(super) const LOG_NUMBER: u64 = 2;
    pub(super) const NEXT_FILE_NUMBER: u64 = 3;
    pub(super) const LAST_SEQUENCE: u64 = 4;
    pub(super) const COMPACT_POINTER: u64 = 5;
    pub(super) const DELETED_FILE: u64 = 6;
    pub(super) const NEW_FILE: u64 = 7;
    pub(super) const PREV_LOG_NUMBER: u64 = 9;
}

/// What changes from one version to the next. What is `None` or empty stays as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct VersionEdit {
    /// The name of the order of the keys.
    pub(crate) comparator: Option<Vec<u8>>,
    /// The oldest log whose writes are not all in tables.
    pub(crate) log_number: Option<u64>,
    /// A log before that one which is still needed; only very old databases have one.
    pub(crate) prev_log_number: Option<u64>,
    /// No file has this number or a higher one.
    pub(crate) next_file_number: Option<u64>,
    /// The newest write in the tables, or a newer one.
    pub(crate) last_sequence: Option<SequenceNumber>,
    /// Levels, and up to where they have been compacted.
    pub(crate) compact_pointers: Vec<(usize, BoundaryKey)>,
    /// Levels, and numbers of tables that leave them.
    pub(crate) deleted_files: Vec<(usize, u64)>,
    /// Levels, and tables that join them.
    pub(crate) new_files: Vec<(usize, TableInfo)>,
}

impl VersionEdit {
    /// Appends the edit as LevelDB writes it.
    pub(crate) fn encode_to(&self, out: &mut Vec<u8>) {
        if let Some(comparator) = &self.comparator {
            varint::put_u64(out, field::COMPARATOR);
            varint::put_slice(out, comparator);
        }
        let numbers = [
            (field::LOG_NUMBER, self.log_number),
            (field::PREV_LOG_NUMBER, self.prev_log_number),
            (field::NEXT_FILE_NUMBER, self.next_file_number),
            (field::LAST_SEQUENCE, self.last_sequence),
        ];
        for (tag, number) in numbers {
            if let Some(number) = number {
                varint::put_u64(out, tag);
                varint::put_u64(out, number);
            }
        }
        for (level, key) in &self.compact_pointers {
            varint::put_u64(out, field::COMPACT_POINTER);
            varint::put_u64(out, *level as u64);
            put_key(out, key);
        }
        for (level, number) in &self.deleted_files {
            varint::put_u64(out, field::DELETED_FILE);
            varint::put_u64(out, *level as u64);
            varint::put_u64(out, *number);
        }
        for (level, file) in &self.new_files {
            varint::put_u64(out, field::NEW_FILE);
            varint::put_u64(out, *level as u64);
            varint::put_u64(out, file.number);
            varint::put_u64(out, file.size);
            put_key(out, &file.smallest);
            put_key(out, &file.largest);
        }
    }

    /// Reads an edit, or says what is wrong with it.
    pub(crate) fn decode(record: &[u8]) -> Result<Self, &'static str> {
        let mut edit = Self::default();
        let mut rest = Fields(record);
        while !rest.0.is_empty() {
            match rest.varint()? {
                field::COMPARATOR => edit.comparator = Some(rest.bytes()?.to_vec()),
                field::LOG_NUMBER => edit.log_number = Some(rest.varint()?),
                field::PREV_LOG_NUMBER => edit.prev_log_number = Some(rest.varint()?),
                field::NEXT_FILE_NUMBER => edit.next_file_number = Some(rest.varint()?),
                field::LAST_SEQUENCE => {
                    let sequence = rest.varint()?;
                    if sequence > MAX_SEQUENCE {
                        return Err("a sequence number is too large");
                    }
                    edit.last_sequence = Some(sequence);
                }
                field::COMPACT_POINTER => edit.compact_pointers.push((rest.level()?, rest.key()?)),
                field::DELETED_FILE => edit.deleted_files.push((rest.level()?, rest.varint()?)),
                field::NEW_FILE => {
                    let level = rest.level()?;
                    let (number, size) = (rest.varint()?, rest.varint()?);
                    let (smallest, largest) = (rest.key()?, rest.key()?);
                    if smallest.as_key() > largest.as_key() {
                        return Err("a table's first key is behind its last");
                    }
                    // A table has at least a footer; no file is as long as the second number.
                    if !(48..1 << 62).contains(&size) {
                        return Err("a table's size cannot be");
                    }
                    edit.new_files.push((level, TableInfo { number, size, smallest, largest }));
                }
                _ => return Err("an edit has a field of unknown kind"),
            }
        }
        Ok(edit)
    }
}

fn put_key(out: &mut Vec<u8>, key: &BoundaryKey) {
    varint::put_slice(out, &key.as_key().encode());
}

/// What is left of a record.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Result<u64, &'static str> {
        let (value, length) = varint::get_u64(self.0).ok_or("a number is cut off or too large")?;
        self.0 = self.0.get(length..).unwrap_or_default();
        Ok(value)
    }

    fn bytes(&mut self) -> Result<&'a [u8], &'static str> {
        let (bytes, rest) = varint::get_slice(self.0).ok_or("a key or a name is cut off")?;
        self.0 = rest;
        Ok(bytes)
    }

    fn key(&mut self) -> Result<BoundaryKey, &'static str> {
        InternalKey::decode(self.bytes()?).map(BoundaryKey::new).ok_or("a key is malformed")
    }

    fn level(&mut self) -> Result<usize, &'static str> {
        let level = self.varint()?;
        usize::try_from(level).ok().filter(|&level| level < LEVELS).ok_or("a level is too deep")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Kind;

    fn key(user_key: &str, sequence: u64) -> BoundaryKey {
        BoundaryKey::new(InternalKey::new(user_key.as_bytes(), sequence, Kind::Value))
    }

    fn full() -> VersionEdit {
        VersionEdit {
            comparator: Some(b"leveldb.BytewiseComparator".to_vec()),
            log_number: Some(300),
            prev_log_number: Some(0),
            next_file_number: Some(u64::MAX),
            last_sequence: Some(MAX_SEQUENCE),
            compact_pointers: vec![(1, key("m", 5))],
            deleted_files: vec![(0, 7), (6, 1 << 40)],
            new_files: vec![(2, TableInfo { number: 9, size: 1000, smallest: key("", 9), largest: key("z", 2) })],
        }
    }

    fn encoded(edit: &VersionEdit) -> Vec<u8> {
        let mut out = Vec::new();
        edit.encode_to(&mut out);
        out
    }

    #[test]
    fn edits_come_back() {
        assert_eq!(VersionEdit::decode(&encoded(&full())).unwrap(), full());
        assert_eq!(VersionEdit::decode(&[]).unwrap(), VersionEdit::default());
    }

    #[test]
    fn bytes_are_leveldbs() {
        // The first record of a new database, as C++ LevelDB writes it.
        let first = VersionEdit {
            comparator: Some(b"leveldb.BytewiseComparator".to_vec()),
            log_number: Some(0),
            next_file_number: Some(2),
            last_sequence: Some(0),
            ..VersionEdit::default()
        };
        assert_eq!(encoded(&first), b"\x01\x1aleveldb.BytewiseComparator\x02\x00\x03\x02\x04\x00");
        let other = VersionEdit {
            log_number: Some(300),
            prev_log_number: Some(0),
            next_file_number: Some(9),
            last_sequence: Some(4),
            compact_pointers: vec![(1, key("m", 5))],
            deleted_files: vec![(0, 7)],
            new_files: vec![(2, TableInfo { number: 8, size: 200, smallest: key("a", 1), largest: key("b", 2) })],
            ..VersionEdit::default()
        };
        let expected = b"\x02\xac\x02\x09\x00\x03\x09\x04\x04\
            \x05\x01\x09m\x01\x05\0\0\0\0\0\0\
            \x06\x00\x07\
            \x07\x02\x08\xc8\x01\x09a\x01\x01\0\0\0\0\0\0\x09b\x01\x02\0\0\0\0\0\0";
        assert_eq!(encoded(&other), expected);
    }

    #[test]
    fn wrong_fields_are_refused() {
        let wrong: [(&[u8], &str); 11] = [
            (b"\x08\x00", "unknown kind"),
            (b"\x02", "cut off"),
            (b"\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", "too large"),
            (b"\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "too large"),
            (b"\x04\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "too large"),
            (b"\x01\x05abc", "cut off"),
            (b"\x06\x07\x01", "too deep"),
            (b"\x05\x01\x03abc", "malformed"),
            (b"\x05\x01\x09a\x02\x01\0\0\0\0\0\0", "malformed"),
            (b"\x07\x01\x05\x64\x09b\x01\x01\0\0\0\0\0\0\x09a\x01\x01\0\0\0\0\0\0", "behind its last"),
            (b"\x07\x01\x05\x2f\x09a\x01\x01\0\0\0\0\0\0\x09b\x01\x01\0\0\0\0\0\0", "size cannot be"),
        ];
        for (record, what) in wrong {
            let error = VersionEdit::decode(record).unwrap_err();
            assert!(error.contains(what), "{record:?}: {error}");
        }
    }

    #[test]
    fn every_cut_is_refused_or_a_shorter_edit() {
        let whole = encoded(&full());
        for length in 0..whole.len() {
            if let Ok(edit) = VersionEdit::decode(&whole[..length]) {
                assert_ne!(edit, full());
            }
        }
    }
}
