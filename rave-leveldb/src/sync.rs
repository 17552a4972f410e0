//! What threads share and wait with, in the files that a model checker compiles as well.
//!
//! `tests/handovers` compiles those files a second time, with a module of this name whose types are a model checker's.
//! So what is listed here is all that they may use.

pub(crate) use arc_swap::{ArcSwap, Guard};
pub(crate) use std::sync::{
    Arc, Condvar, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};
