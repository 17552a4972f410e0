//! One process of a benchmark: started by `cargo xtask bench`, tells its figures on stdout.
fn main() {}
