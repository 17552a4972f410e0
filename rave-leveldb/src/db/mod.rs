//! The database: how writes, reads, flushes and compactions meet.
