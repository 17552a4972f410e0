//! What one process of the interoperability check is asked to do, and what it answers: one line of JSON each way.
//!
//! While it writes, a process tells the number of each batch that was acknowledged on a line of its own.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Makes a file of operations and one of keys to get.
    Generate,
    /// Tells what a database holds after the batches up to `to`, from the file of operations alone.
    Expect,
    /// Applies the batches from `from` up to `to`.
    Write,
    /// Tells what the database holds.
    Read,
    /// Compacts all of it.
    Compact,
}

/// One process's work.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    pub action: Action,
    /// Of classic-level.
    pub version: u8,
    pub directory: PathBuf,
    /// Batches: how many operations, then of each: 1 (put) or 0 (delete), key, and value of a put. Numbers have four
    /// bytes, the lowest first; byte strings have their length in front.
    pub operations: PathBuf,
    /// Keys to get.
    pub probes: PathBuf,
    /// Keys that the operations put, about.
    pub entries: u32,
    pub from: u32,
    pub to: u32,
    pub compression: bool,
    pub write_buffer_bytes: usize,
    pub block_bytes: usize,
}

/// What a database holds. Digests are SHA-256 over keys and values, each with its length in front.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    pub entries: u64,
    /// The number of the last batch that is in it.
    pub batches: u32,
    /// Of a scan from the first key to the last.
    pub forward: String,
    /// Of a scan from the last key to the first.
    pub reverse: String,
    /// Of single gets.
    pub gets: String,
    /// Tables in each level, from a side that tells.
    #[serde(default)]
    pub levels: Vec<u32>,
}

/// What `Generate` made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Generated {
    pub batches: u32,
}
