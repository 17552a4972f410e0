//! The same format through the crate `rusty-leveldb`.

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

pub use failure::Faults;
pub use opener::LevelDb;
