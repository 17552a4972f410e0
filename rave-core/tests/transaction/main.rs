//! Transactions: what they see, what they leave behind, and what they notice of each other.

mod bodies;
mod bounds;
mod conflicts;
mod conformance;
mod contention;
mod probe;
mod ranges;
mod serial;
mod views;
