//! Closing against operations that begin and end.

use crate::{
    check,
    gate::Gate,
    sync::{AtomicBool, Ordering},
};
use loom::thread;
use std::sync::Arc;

/// What is let in ends before the database does; and closing ends, whoever comes meanwhile.
pub fn waits_for_what_is_inside() {
    check(|| {
        let (gate, ended) = (Arc::new(Gate::default()), Arc::new(AtomicBool::new(false)));
        let operations: Vec<_> = (0..2)
            .map(|_| {
                let (gate, ended) = (gate.clone(), ended.clone());
                thread::spawn(move || {
                    let Ok(inside) = gate.enter() else { return };
                    assert!(!ended.load(Ordering::SeqCst), "let in after the end");
                    thread::yield_now();
                    assert!(!ended.load(Ordering::SeqCst), "the end came in the middle of an operation");
                    drop(inside);
                })
            })
            .collect();
        assert!(gate.close());
        gate.wait_until_empty();
        ended.store(true, Ordering::SeqCst);
        assert!(gate.enter().is_err());
        operations.into_iter().for_each(|operation| operation.join().unwrap());
    });
}
