//! The trickiest hand-overs between threads, in every order in which their steps can happen.
//!
//! The files under test are compiled here a second time, with the model checker `loom` in place of the real locks and
//! atomics. It runs each model again and again until it has seen all interleavings, and all that the memory orderings
//! allow; a deadlock is a failure too. `cargo test -p rave-leveldb --test handovers` runs them.

mod closing;
#[path = "../../src/db/current.rs"]
#[allow(dead_code, unused_imports)]
mod current;
mod deletion;
#[path = "../../src/store/gate.rs"]
#[allow(dead_code, unused_imports)]
mod gate;
#[path = "../../src/key.rs"]
#[allow(dead_code, unused_imports)]
mod key;
#[path = "../../src/version/obsolete.rs"]
#[allow(dead_code, unused_imports)]
mod obsolete;
mod sync;
mod view;

/// Not a harness of tests: with one, the unit tests of the files above would be compiled and run without the checker.
fn main() {
    let models: [(&str, fn()); 6] = [
        ("an acknowledged write is seen across a switch, a flush and a compaction", view::reads_across_changes),
        ("a view that is held stays whole", view::a_held_view_stays_whole),
        ("a file is deleted when its last reader is gone", deletion::after_the_last_reader),
        ("no file is deleted after closing", deletion::not_after_closing),
        ("closing waits for the deletion under way", deletion::closing_waits),
        ("closing waits for the operations that were let in, and lets no more in", closing::waits_for_what_is_inside),
    ];
    for (name, model) in models {
        println!("model: {name}");
        model();
    }
    println!("{} models hold", models.len());
}

/// Checks a model in all interleavings with at most so many preemptions per thread; more find nothing in practice.
fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check(model);
}
