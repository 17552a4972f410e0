//! Telling: each record is in the pipe before this returns.

use crate::{clock, record::Record};
use std::{
    io::{Stdout, Write},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Tells the conductor what happens here.
pub struct Teller {
    out: Mutex<Stdout>,
    process: u64,
    operations: AtomicU64,
}

impl Teller {
    /// Tells for the process of this number.
    pub fn new(process: u64) -> Self {
        Self { out: Mutex::new(std::io::stdout()), process, operations: AtomicU64::new(0) }
    }

    /// A number that no other operation of any process has.
    pub fn number(&self) -> u64 {
        (self.process << 32) + self.operations.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Tells this. Without anybody to tell it to there is nothing left to do, so this process ends.
    pub fn tell(&self, record: &Record) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let told = serde_json::to_vec(record).map_err(std::io::Error::from).and_then(|mut line| {
            line.push(b'\n');
            out.write_all(&line)?;
            out.flush()
        });
        if told.is_err() {
            std::process::exit(1);
        }
    }

    /// Tells of something that must not happen.
    pub fn wrong(&self, what: impl Into<String>) {
        self.tell(&Record::Wrong { at: clock::now(), what: what.into() });
    }

    /// Tells of something that may happen.
    pub fn note(&self, what: impl Into<String>) {
        self.tell(&Record::Note { what: what.into() });
    }
}
