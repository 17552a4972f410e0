//! The log: a file of records, appended to before anything else is done.
