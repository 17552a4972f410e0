//! The store as its users have it, on real files and real processes.

mod bad_input;
mod child;
mod common;
mod conformance;
mod full;
mod handover;
mod kills;
mod order;

use common::{Db, contents, small};
