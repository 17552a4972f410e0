//! The rave command.
fn main() {}
