//! The crate `rusty-leveldb` as it is, in memory.

use crate::{
    generate::Settings,
    model::Query,
    subject::{Answer, Departure, Subject},
};
use rave_core::{Batch, Bytes, Entry, Operation};
use rusty_leveldb::{
    BloomPolicy, CompressorId, DB, DBIterator, LdbIterator, Options, WriteBatch, compressor::SnappyCompressor,
    in_memory, infolog,
};
use std::{cell::RefCell, ops::Bound, rc::Rc};

pub struct Rusty {
    options: Options,
    db: DB,
}

type Get = Box<dyn Fn(&mut DB, &[u8]) -> Answer<Option<Bytes>>>;
type Iterate = Box<dyn Fn(&mut DB) -> Answer<DBIterator>>;

/// The type of its snapshots has no name outside of its crate.
pub struct Snapshot {
    get: Get,
    iterate: Iterate,
}

pub struct Cursor {
    iterator: DBIterator,
    query: Query,
    left: Option<u64>,
    state: State,
}

#[derive(PartialEq)]
enum State {
    Start,
    /// Positioned on an entry that is to be delivered next.
    Before,
    /// Positioned on the entry that was delivered last.
    On,
    End,
}

fn text<T>(result: rusty_leveldb::Result<T>) -> Answer<T> {
    result.map_err(|status| status.to_string())
}

impl Cursor {
    /// One entry further, in the direction of the query.
    fn step(&mut self) {
        let _moved = if self.query.reverse { self.iterator.prev() } else { self.iterator.advance() };
    }

    fn next(&mut self) -> Option<Entry> {
        if self.left == Some(0) || self.state == State::End {
            return None;
        }
        match (&self.state, self.query.reverse) {
            (State::Start, false) => match self.query.lower.clone() {
                Bound::Unbounded => self.iterator.seek_to_first(),
                Bound::Included(key) | Bound::Excluded(key) => self.iterator.seek(&key),
            },
            (State::Start, true) => match self.query.upper.clone() {
                Bound::Unbounded => self.iterator.seek(&[0xff; 1000]),
                Bound::Included(key) | Bound::Excluded(key) => self.iterator.seek(&key),
            },
            (State::On, _) => self.step(),
            (State::Before | State::End, _) => {}
        }
        if self.query.reverse && self.state == State::Start && !self.iterator.valid() {
            // Beyond the last key: there is no other way to the last than through all.
            self.iterator.seek_to_first();
            let mut last = None;
            while let Some((key, _)) = self.iterator.current() {
                last = Some(key);
                self.iterator.advance();
            }
            self.iterator.seek(&last?);
        }
        loop {
            let Some((key, value)) = self.iterator.current() else {
                self.state = State::End;
                return None;
            };
            let (skip, end) = (!self.query.above_lower(&key), !self.query.below_upper(&key));
            let (skip, end) = if self.query.reverse { (end, skip) } else { (skip, end) };
            if end {
                self.state = State::End;
                return None;
            }
            if !skip {
                self.state = State::On;
                self.left = self.left.map(|left| left - 1);
                return Some(Entry { key, value });
            }
            self.step();
        }
    }

    fn seek(&mut self, target: &Bytes) {
        if !self.query.above_lower(target) || !self.query.below_upper(target) {
            self.state = State::End;
            return;
        }
        self.iterator.seek(target);
        self.state = State::Before;
        if self.query.reverse && self.iterator.current().is_none_or(|(key, _)| key != *target) {
            // To the one before; from beyond the last this engine cannot go back, so say so by starting anew.
            if self.iterator.valid() {
                self.iterator.prev();
            } else {
                self.query.upper = Bound::Included(target.clone());
                self.state = State::Start;
            }
        }
    }
}

impl Subject for Rusty {
    type Snapshot = Snapshot;
    type Cursor = Cursor;

    const TURNS: bool = true;

    fn create(settings: &Settings) -> Answer<Self> {
        let options = Options {
            log: Some(Rc::new(RefCell::new(infolog::Logger(Box::new(std::io::sink()))))),
            write_buffer_size: settings.write_buffer_size,
            max_file_size: settings.max_file_size,
            block_size: settings.block_size,
            compressor: if settings.snappy { SnappyCompressor::ID } else { 0 },
            filter_policy: Rc::new(Box::new(BloomPolicy::new(settings.bloom_bits.max(1) as u32))),
            max_open_files: settings.max_open_files.max(20),
            reuse_logs: false,
            reuse_manifest: false,
            ..in_memory()
        };
        let db = text(DB::open("db", options.clone()))?;
        Ok(Self { options, db })
    }

    fn reopen(&mut self, _: Departure) -> Answer<()> {
        text(self.db.close())?;
        self.db = text(DB::open("db", self.options.clone()))?;
        Ok(())
    }

    fn write(&mut self, batch: Vec<Operation>, _: bool) -> Answer<()> {
        let mut operations = WriteBatch::default();
        for operation in &batch {
            match operation {
                Operation::Put { key, value } => operations.put(key, value),
                Operation::Del { key } => operations.delete(key),
            }
        }
        if batch.is_empty() { Ok(()) } else { text(self.db.write(operations, true)) }
    }

    fn write_together(&mut self, batches: Vec<Vec<Operation>>) -> Answer<()> {
        batches.into_iter().try_for_each(|batch| self.write(batch, false))
    }

    fn write_if(&mut self, batch: Batch, sync: bool, failing: &[usize]) -> Answer<Vec<usize>> {
        if failing.is_empty() {
            self.write(batch.into_operations().collect(), sync)?;
        }
        Ok(failing.to_vec())
    }

    fn get(&mut self, key: &Bytes, snapshot: Option<&Snapshot>) -> Answer<Option<Bytes>> {
        match snapshot {
            Some(snapshot) => (snapshot.get)(&mut self.db, key),
            None => Ok(self.db.get(key)),
        }
    }

    fn get_many(&mut self, keys: &[Bytes], snapshot: Option<&Snapshot>) -> Answer<Vec<Option<Bytes>>> {
        keys.iter().map(|key| self.get(key, snapshot)).collect()
    }

    fn clear(&mut self, _: &Query, _: Option<&Snapshot>, doomed: Vec<Bytes>) -> Answer<()> {
        self.write(doomed.into_iter().map(|key| Operation::Del { key }).collect(), false)
    }

    fn snapshot(&mut self) -> Answer<Snapshot> {
        let snapshot = self.db.get_snapshot();
        let again = snapshot.clone();
        Ok(Snapshot {
            get: Box::new(move |db, key| text(db.get_at(&snapshot, key))),
            iterate: Box::new(move |db| text(db.new_iter_at(again.clone()))),
        })
    }

    fn cursor(&mut self, query: &Query, snapshot: Option<&Snapshot>) -> Answer<Self::Cursor> {
        let iterator = match snapshot {
            Some(snapshot) => (snapshot.iterate)(&mut self.db)?,
            None => text(self.db.new_iter())?,
        };
        Ok(Cursor { iterator, query: query.clone(), left: query.limit, state: State::Start })
    }

    fn next(&mut self, cursor: &mut Self::Cursor) -> Answer<Option<Entry>> {
        Ok(cursor.next())
    }

    fn next_many(&mut self, cursor: &mut Self::Cursor, count: usize) -> Answer<Vec<Entry>> {
        Ok((0..count.max(1)).map_while(|_| cursor.next()).collect())
    }

    fn seek(&mut self, cursor: &mut Self::Cursor, target: &Bytes) -> Answer<()> {
        cursor.seek(target);
        Ok(())
    }

    fn turn(&mut self, cursor: &mut Self::Cursor) {
        cursor.query.reverse = !cursor.query.reverse;
    }

    fn compact_range(&mut self, lower: Bound<Bytes>, upper: Bound<Bytes>) -> Answer<()> {
        let end = |bound: Bound<Bytes>, open: &[u8]| match bound {
            Bound::Included(key) | Bound::Excluded(key) => key,
            Bound::Unbounded => Bytes::copy_from_slice(open),
        };
        let (from, to) = (end(lower, b""), end(upper, &[0xff; 30]));
        if from <= to { text(self.db.compact_range(&from, &to)) } else { Ok(()) }
    }

    fn tables_by_level(&mut self) -> Vec<usize> {
        Vec::new()
    }
}
