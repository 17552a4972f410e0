//! The same format through the crate `rusty-leveldb`, for comparison; behind the feature `rusty`.
//!
//! A [`RustyLevelDb`] keeps the promises of this crate, by other means: one thread owns the engine and everything goes
//! through it, and what the engine does wrong is not asked of it. That has a price, beside speed:
//!
//! - A log that ends in a damaged record (as after power loss) is read up to that record; what was written behind it
//!   without `sync` is lost. Damage in the middle of a log cannot be told from that.
//! - The store compacts when the write buffer is full and when it opens. While it does, other operations wait.
//! - A single get, a batch and a `clear` of any size run as one step; others wait meanwhile. A `clear` holds the keys it
//!   deletes in memory.
//! - After damage was met while compacting, the files stay as they are and writes are refused.
//! - Reverse iteration costs several times as much as forward iteration.
//! - [Damage](rave_core::Code::Corruption) is reported with the name of the file, but not always with the place in it.

mod cache;
mod check;
mod comparator;
mod engine;
mod env;
mod failure;
mod file;
mod iterator;
mod opener;
mod owner;
mod scan;
mod store;

pub use opener::RustyLevelDb;

#[doc(hidden)]
pub use failure::Faults;
