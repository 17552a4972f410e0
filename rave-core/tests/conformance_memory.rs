//! The conformance suite on the memory store and on views of it.

use rave_core::{AbstractLevelExt, MemoryLevel, conformance::Harness};

rave_core::conformance!(memory, || async { Harness::new(MemoryLevel::new()) });
rave_core::conformance!(memory_multi_thread, || async { Harness::new(MemoryLevel::new()) }, multi_thread);
rave_core::conformance!(sublevel, || async { Harness::new(MemoryLevel::new().sublevel("part").unwrap()) });
rave_core::conformance!(nested_sublevel, || async {
    Harness::new(MemoryLevel::new().sublevel("part").unwrap().sublevel("part").unwrap())
});
