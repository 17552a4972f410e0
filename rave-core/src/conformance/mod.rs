//! The tests that every store and every view of one passes, for authors of stores and wrappers.
//!
//! One macro call makes one `#[test]` of every case, so that `cargo test` lists and runs them one by one:
//!
//! ```
//! use rave_core::{AbstractLevelExt, MemoryLevel, conformance::Harness};
//!
//! // mod memory { mod get { #[test] fn a_value_comes_back() … } … }
//! rave_core::conformance!(memory, || async { Harness::new(MemoryLevel::new()) });
//!
//! // The setup may be any function that gives a future of a `Harness`; it is called afresh for each case.
//! async fn part() -> Harness {
//!     Harness::new(MemoryLevel::new().sublevel("part").unwrap())
//! }
//! rave_core::conformance!(sublevel, part);
//!
//! // Cases run on a current-thread runtime, or on this one:
//! rave_core::conformance!(many_threads, part, multi_thread);
//! # fn main() {}
//! ```
//!
//! A [`Harness`] holds the level under test and can be told more about it:
//!
//! | method | for |
//! | --- | --- |
//! | [`Harness::keeping`] | what must live as long as the level: a temporary directory, another process, a task |
//! | [`Harness::reopening`] | opening the store again after `close`; **required** where the manifest says `permanence` |
//! | [`Harness::without_reopening`] | a view of a permanent store that cannot be opened again by itself |
//! | [`Harness::known_to_fail`] | cases that fail because of what the level is made of; they must go on failing |
//! | [`Harness::disturbing`] | something that happens in the middle of the cases and must not be noticed, such as the leader's death |
//!
//! What a case expects follows from the [`Manifest`](crate::Manifest). Where the store lacks a capability the case tests
//! the refusal (or the weaker promise) instead: no case is skipped. A store whose manifest says `read_only` runs the
//! refusal of writes in the place of every case.
//!
//! A case fails if it lasts longer than [`DEADLINE`]. At its end the level is closed, which must succeed.
//!
//! The cases are public functions, so that a single one can be called with [`run`]; and they are values in [`CASES`], for
//! who runs the suite without the macro and wants to know what came of each case, see [`Case`].

pub mod chained;
pub mod clear;
pub mod close;
pub mod condition;
pub mod events;
pub mod get;
pub mod iterator;
pub mod random;
pub mod seek;
pub mod snapshot;
pub mod sublevel;
pub mod write;

mod case;
mod harness;
mod list;
mod model;
mod tools;

pub use case::{Case, DEADLINE, Flavor, Outcome, run};
pub use harness::Harness;
pub use list::CASES;
pub use tools::KEYS;
