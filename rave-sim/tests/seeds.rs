//! A few hundred simulated histories; `cargo xtask sim` runs as many as one likes.

use rave_sim::run;

const SEEDS: u64 = 250;

#[test]
fn the_first_seeds_are_without_a_violation() {
    for seed in 0..SEEDS {
        // Without the flags of `cargo xtask sim` a seed goes another way each time, so the trace is kept from the start.
        let report = run(seed, true);
        if let Some(violation) = report.violation {
            panic!("seed {seed}: {violation}\n{}", report.trace.join("\n"));
        }
    }
}

#[cfg(tokio_unstable)]
#[test]
fn a_seed_goes_the_same_way_each_time() {
    for seed in 0..SEEDS {
        assert_eq!(run(seed, false).hash, run(seed, true).hash, "seed {seed}");
    }
}
