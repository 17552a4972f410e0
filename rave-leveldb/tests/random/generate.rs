//! What a seed chooses: settings, kinds of keys and values, and the steps.

use crate::{model::Query, subject::Departure};
use fastrand::Rng;
use rave_core::{Bytes, Operation};
use std::{fmt, ops::Bound};

const KIB: usize = 1024;

/// How the database is set up: everything tiny, so that a short history goes through all that a large database does.
#[derive(Clone, Debug)]
pub struct Settings {
    pub write_buffer_size: usize,
    pub max_file_size: usize,
    pub block_size: usize,
    pub snappy: bool,
    pub bloom_bits: usize,
    pub cache_bytes: usize,
    pub max_open_files: usize,
    /// How many of a hundred reads have to wait for the disk.
    pub cold_percent: u8,
}

impl Settings {
    pub fn random(random: &mut Rng) -> Self {
        Self {
            write_buffer_size: pick(random, &[4 * KIB, 8 * KIB, 16 * KIB, 64 * KIB]),
            max_file_size: pick(random, &[4 * KIB, 8 * KIB, 32 * KIB]),
            block_size: pick(random, &[64, 256, 1024]),
            snappy: random.bool(),
            bloom_bits: pick(random, &[0, 10]),
            cache_bytes: pick(random, &[0, 2 * KIB, 8 * KIB * KIB]),
            max_open_files: pick(random, &[1, 16, 64, 1000]),
            cold_percent: pick(random, &[0, 0, 3, 20]),
        }
    }
}

fn pick<T: Clone>(random: &mut Rng, choices: &[T]) -> T {
    choices[random.usize(..choices.len())].clone()
}

/// One write: of a value, or of nothing, which deletes.
#[derive(Clone)]
pub struct Change {
    pub key: Bytes,
    pub value: Option<Value>,
}

/// A value that tells which write it comes from.
#[derive(Clone, Copy)]
pub struct Value {
    number: u32,
    length: usize,
    compressible: bool,
}

impl Value {
    pub fn bytes(self) -> Bytes {
        let mut bytes = self.number.to_le_bytes().to_vec();
        if self.compressible {
            bytes.resize(self.length.max(4), b'.');
        } else {
            let mut random = Rng::with_seed(self.number.into());
            bytes.extend((4..self.length).map(|_| random.u8(..)));
        }
        bytes.truncate(self.length);
        bytes.into()
    }
}

impl Change {
    pub fn operation(&self) -> Operation {
        let key = self.key.clone();
        match self.value {
            Some(value) => Operation::Put { key, value: value.bytes() },
            None => Operation::Del { key },
        }
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value {
            Some(value) => write!(f, "put {:?} #{} of {} bytes", self.key, value.number, value.length),
            None => write!(f, "del {:?}", self.key),
        }
    }
}

/// A batch.
#[derive(Clone)]
pub struct Changes(pub Vec<Change>);

impl Changes {
    pub fn operations(&self) -> Vec<Operation> {
        self.0.iter().map(Change::operation).collect()
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 20;
        f.debug_list().entries(self.0.iter().take(SHOWN)).finish()?;
        if self.0.len() > SHOWN { write!(f, " and {} more", self.0.len() - SHOWN) } else { Ok(()) }
    }
}

/// A condition that the model makes true, or wrong in some way.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub of: WantedOf,
    pub wrong: bool,
}

/// What a condition is about.
#[derive(Clone, Debug)]
pub enum WantedOf {
    Key(Bytes),
    Range(Query),
}

/// Which of the open snapshots or iterators: counted modulo their number.
pub type Choice = usize;

/// What to do with an iterator.
#[derive(Clone, Debug)]
pub enum Move {
    Next,
    NextMany(usize),
    Seek(Bytes),
    /// Back from here, where the database can; otherwise a seek to where it stands, and beyond.
    Turn,
}

/// One step of a history.
#[derive(Clone, Debug)]
pub enum Step {
    Write {
        changes: Changes,
        sync: bool,
    },
    WriteTogether(Vec<Changes>),
    WriteIf {
        conditions: Vec<Wanted>,
        changes: Changes,
        sync: bool,
    },
    Clear {
        query: Query,
        snapshot: Option<Choice>,
    },
    Get {
        key: Bytes,
        snapshot: Option<Choice>,
    },
    GetMany {
        keys: Vec<Bytes>,
        snapshot: Option<Choice>,
    },
    TakeSnapshot,
    DropSnapshot(Choice),
    /// Opens an iterator, and keeps it for later or visits the rest.
    Iterate {
        query: Query,
        snapshot: Option<Choice>,
        moves: Vec<Move>,
        keep: bool,
    },
    /// Goes on with one that was kept.
    Resume {
        which: Choice,
        moves: Vec<Move>,
        keep: bool,
    },
    Compact {
        lower: Bound<Bytes>,
        upper: Bound<Bytes>,
    },
    Reopen(Departure),
    /// Compares everything, in both directions, at present and in all snapshots.
    CompareAll,
}

#[derive(Clone, Copy)]
enum Keys {
    /// Short, over a small alphabet: many are prefixes of others. The empty key is among them.
    Dense,
    /// Runs of the lowest and of the highest byte.
    Runs,
    /// Numbers behind common prefixes.
    Prefixed,
    /// Hundreds of bytes, of which the last few differ.
    Long,
    /// Ever greater ones.
    Ascending,
}

/// Makes the steps of one history.
pub struct Generator {
    random: Rng,
    keys: Vec<Keys>,
    /// Keys used lately, which are used again often.
    recent: Vec<Bytes>,
    step: usize,
    values: u32,
    ascending: u32,
    /// The mood of some hundred steps: how many of 100 single writes delete, of 100 steps write.
    deletes: u8,
    writes: u8,
    /// For some steps only keys of a narrow window are used, so that tables of level 0 overlap here and there only.
    window: Option<u32>,
    write_buffer_size: usize,
}

impl Generator {
    pub fn new(mut random: Rng, settings: &Settings) -> Self {
        let all = [Keys::Dense, Keys::Runs, Keys::Prefixed, Keys::Long, Keys::Ascending];
        let keys = (0..random.usize(1..5)).map(|_| pick(&mut random, &all)).collect();
        Self {
            random,
            keys,
            recent: vec![Bytes::new()],
            step: 0,
            values: 0,
            ascending: 0,
            deletes: 30,
            writes: 60,
            window: None,
            write_buffer_size: settings.write_buffer_size,
        }
    }

    fn key(&mut self) -> Bytes {
        if let Some(window) = self.window {
            return format!("user:{:03}", window + self.random.u32(0..60)).into();
        }
        if self.random.u8(..) < 60 {
            return pick(&mut self.random, &self.recent);
        }
        let random = &mut self.random;
        let alphabet = [0x00, b'a', b'b', 0xfe, 0xff];
        let key: Vec<u8> = match pick(random, &self.keys) {
            Keys::Dense => (0..random.usize(0..5)).map(|_| pick(random, &alphabet)).collect(),
            Keys::Runs => {
                let mut key = vec![pick(random, &[0x00, 0xff]); random.usize(0..24)];
                key.extend((0..random.usize(0..2)).map(|_| pick(random, &alphabet)));
                key
            }
            Keys::Prefixed => {
                let prefix = pick(random, &["user:", "user:1", "item"]);
                format!("{prefix}{:03}", random.u32(0..700)).into_bytes()
            }
            Keys::Long => {
                let mut key = vec![b'p'; pick(random, &[200, 300])];
                key.extend((0..random.usize(0..4)).map(|_| pick(random, &alphabet)));
                key
            }
            Keys::Ascending => {
                self.ascending = (self.ascending + 1) % 3000;
                format!("seq{:06}", self.ascending).into_bytes()
            }
        };
        let key = Bytes::from(key);
        if self.recent.len() < 24 {
            self.recent.push(key.clone());
        } else {
            let place = random.usize(..self.recent.len());
            self.recent[place] = key.clone();
        }
        key
    }

    fn value(&mut self) -> Value {
        self.values += 1;
        let random = &mut self.random;
        let length = match random.u32(0..2000) {
            0 => random.usize(self.write_buffer_size..self.write_buffer_size * 2),
            1..60 => random.usize(200..5000),
            60..200 => 0,
            _ => random.usize(0..80),
        };
        Value { number: self.values, length, compressible: random.bool() }
    }

    fn change(&mut self) -> Change {
        let key = self.key();
        let value = (self.random.u8(0..100) >= self.deletes).then(|| self.value());
        Change { key, value }
    }

    fn changes(&mut self) -> Changes {
        let count = match self.random.u32(0..1000) {
            0..600 => 1,
            600..980 => self.random.usize(0..12),
            _ => self.random.usize(100..400),
        };
        Changes((0..count).map(|_| self.change()).collect())
    }

    fn bound(&mut self) -> Bound<Bytes> {
        match self.random.u8(0..4) {
            0 => Bound::Included(self.key()),
            1 => Bound::Excluded(self.key()),
            _ => Bound::Unbounded,
        }
    }

    fn query(&mut self) -> Query {
        let limit = (self.random.u8(..) < 60).then(|| self.random.u64(0..20));
        Query { lower: self.bound(), upper: self.bound(), reverse: self.random.bool(), limit }
    }

    fn wanted(&mut self) -> Wanted {
        let of = if self.random.u8(..) < 160 {
            WantedOf::Key(self.key())
        } else {
            WantedOf::Range(Query { lower: self.bound(), upper: self.bound(), reverse: false, limit: None })
        };
        Wanted { of, wrong: self.random.u8(..) < 40 }
    }

    /// One of the snapshots, sometimes.
    fn snapshot(&mut self) -> Option<Choice> {
        (self.random.u8(..) < 100).then(|| self.random.usize(..1000))
    }

    fn moves(&mut self) -> Vec<Move> {
        (0..self.random.usize(1..8))
            .map(|_| match self.random.u8(0..10) {
                0..5 => Move::Next,
                5 | 6 => Move::NextMany(self.random.usize(0..20)),
                7 | 8 => Move::Seek(self.key()),
                _ => Move::Turn,
            })
            .collect()
    }

    pub fn step(&mut self) -> Step {
        if self.step.is_multiple_of(400) {
            self.deletes = pick(&mut self.random, &[5, 30, 60]);
            self.writes = pick(&mut self.random, &[20, 50, 80]);
        }
        if self.step.is_multiple_of(40) {
            self.window = match (self.window, self.random.u8(0..10)) {
                // It walks to and fro, so that a table overlaps one before and one after, which do not overlap.
                (Some(window), 0..8) => Some((window + pick(&mut self.random, &[0, 30, 90, 120])).saturating_sub(60)),
                (Some(_), _) => None,
                (None, 0..4) => Some(self.random.u32(0..600)),
                (None, _) => None,
            };
        }
        self.step += 1;
        if self.random.u8(0..100) < self.writes {
            return self.write();
        }
        match self.random.u32(0..1000) {
            0..300 => Step::Get { key: self.key(), snapshot: self.snapshot() },
            300..380 => {
                let keys = (0..self.random.usize(0..10)).map(|_| self.key()).collect();
                Step::GetMany { keys, snapshot: self.snapshot() }
            }
            380..420 => Step::TakeSnapshot,
            420..450 => Step::DropSnapshot(self.random.usize(..1000)),
            450..650 => {
                let keep = self.random.bool();
                Step::Iterate { query: self.query(), snapshot: self.snapshot(), moves: self.moves(), keep }
            }
            650..960 => {
                let which = self.random.usize(..1000);
                Step::Resume { which, moves: self.moves(), keep: self.random.u8(..) < 200 }
            }
            960..980 => Step::Compact { lower: self.bound(), upper: self.bound() },
            980..985 => {
                let how = if self.random.bool() { Departure::Close } else { Departure::Kill };
                Step::Reopen(how)
            }
            985..990 => Step::CompareAll,
            _ => Step::Get { key: self.key(), snapshot: None },
        }
    }

    fn write(&mut self) -> Step {
        match self.random.u32(0..1000) {
            0..4 => {
                // Rarely of everything: the database must have time to grow.
                let mut query = self.query();
                if self.random.u8(..) < 220 {
                    query.limit = Some(self.random.u64(0..30));
                }
                Step::Clear { query, snapshot: self.snapshot() }
            }
            4..40 => Step::WriteTogether((0..self.random.usize(2..8)).map(|_| self.changes()).collect()),
            40..80 => {
                let conditions = (0..self.random.usize(1..5)).map(|_| self.wanted()).collect();
                Step::WriteIf { conditions, changes: self.changes(), sync: self.random.u8(..) < 10 }
            }
            _ => Step::Write { changes: self.changes(), sync: self.random.u8(..) < 10 },
        }
    }
}
