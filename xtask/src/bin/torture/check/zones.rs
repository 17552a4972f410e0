//! A quick verdict on histories of a key in which no two writes have the same value and nothing is deleted.
//!
//! A value's *cluster* is its write and all reads of it. Let `f` be when the first of them ended and `s` when the last
//! of them began. If `f < s` the key had this value from `f` to `s`, whatever the order: its zone is *forward*.
//! Otherwise all of them overlap and can be put at any one moment from `s` to `f`: it is *backward*. The history is
//! linearizable if and only if no two forward zones overlap and no forward zone contains a backward one (Gibbons and
//! Korach, "Testing Shared Memories", 1997). That takes no search, so that many may write to one key at once.

use super::linear::{Effect, Step};
use crate::clock::{NEVER, Nanos};
use std::collections::HashMap;

struct Cluster {
    /// When its write began; none was found yet if this is [`NEVER`].
    written: Nanos,
    /// When the first of its operations ended.
    ended: Nanos,
    /// When the last of them began.
    begun: Nanos,
    /// The first end of a read.
    read: Nanos,
}

/// Whether these are linearizable; `None` if they are not of this kind.
pub fn linearizable(steps: &[Step]) -> Option<bool> {
    let mut clusters: HashMap<u64, Cluster> = HashMap::new();
    // The key was absent before everything.
    clusters.insert(0, Cluster { written: 0, ended: 0, begun: 0, read: NEVER });
    for step in steps {
        // Later than the beginning of everything.
        let (begun, ended) = (step.begun.saturating_add(1), step.ended.saturating_add(1));
        let (Effect::Write(value) | Effect::Read(value)) = step.effect else { return None };
        let fresh = Cluster { written: NEVER, ended: NEVER, begun: 0, read: NEVER };
        let cluster = clusters.entry(value).or_insert(fresh);
        cluster.ended = cluster.ended.min(ended);
        cluster.begun = cluster.begun.max(begun);
        match step.effect {
            Effect::Write(_) if cluster.written != NEVER => return None,
            Effect::Write(_) => cluster.written = begun,
            _ => cluster.read = cluster.read.min(ended),
        }
    }
    // Read before it was written, or never written at all.
    if clusters.values().any(|cluster| cluster.read < cluster.written) {
        return Some(false);
    }
    let mut forward: Vec<(Nanos, Nanos)> = Vec::new();
    let mut backward: Vec<(Nanos, Nanos)> = Vec::new();
    for cluster in clusters.values() {
        match cluster.ended < cluster.begun {
            true => forward.push((cluster.ended, cluster.begun)),
            false => backward.push((cluster.begun, cluster.ended)),
        }
    }
    forward.sort_unstable();
    if forward.windows(2).any(|pair| pair[0].1 > pair[1].0) {
        return Some(false);
    }
    let inside = |(begun, ended): &(Nanos, Nanos)| {
        let before = forward.partition_point(|(from, _)| from < begun);
        before > 0 && *ended < forward[before - 1].1
    };
    Some(!backward.iter().any(inside))
}
