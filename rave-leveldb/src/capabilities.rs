//! What a store in LevelDB's format can do, whichever engine serves it.

use rave_core::Manifest;

/// The capabilities of an open store.
pub(crate) fn manifest(read_only: bool) -> Manifest {
    Manifest {
        store: "leveldb".into(),
        implicit_snapshots: true,
        explicit_snapshots: true,
        permanence: true,
        sync_writes: true,
        atomic_clear: true,
        conditions: true,
        // That is for handles of shared databases to promise.
        exactly_once: false,
        read_only,
        legacy: false,
    }
}
