//! The conformance suite on guests of JavaScript hosts.

use crate::host::{Database, Kind, Node};
use rave_core::conformance::Harness;
use rave_level::{AbstractLevel, AbstractLevelExt, RaveLevel, Role};
use std::{sync::Arc, time::Duration};

/// Cases that fail because of a mistake of the JavaScript store under the host.
///
/// No guest can work around this one: the protocol tells neither which store it is nor what a clear has deleted.
const FAILING_ON_CLASSIC: &[(&str, &str)] = &[
    (
        "clear::exactly_the_range_goes",
        "the clear of classic-level 1.4.1 stops where the keys it is about to delete have no bytes, so it never deletes \
         an empty key that is alone in the range",
    ),
    ("random::random_operations_match_a_model", "the same: it clears ranges where the empty key is alone"),
];

fn failing(kind: Kind) -> &'static [(&'static str, &'static str)] {
    if kind.store == "classic" { FAILING_ON_CLASSIC } else { &[] }
}

/// A guest, and a harness of it that nothing happens to.
async fn guest(kind: Kind) -> (Arc<Database>, RaveLevel, Harness) {
    let database = Arc::new(Database::open(Node::shared(), kind));
    let level = database.guest().await;
    let again = database.clone();
    let harness =
        Harness::new(level.clone()).keeping(database.clone()).known_to_fail(failing(kind)).reopening(move || {
            let database = again.clone();
            async move { Arc::new(database.guest().await) as Arc<dyn AbstractLevel> }
        });
    (database, level, harness)
}

pub async fn undisturbed(kind: Kind) -> Harness {
    guest(kind).await.2
}

/// A guest that loses its connection in the midst of each case.
pub async fn with_cuts(kind: Kind) -> Harness {
    let (database, level, harness) = guest(kind).await;
    harness.disturbing(move || {
        database.cut();
        let level = level.clone();
        async move {
            // The case goes on with another connection, not with what is still here of the one before.
            let _ = level.get("").await;
        }
    })
}

const RAVE_LEVEL: Kind = Kind { host: "rave-level", store: "classic" };

/// A process of ours on a directory that a JavaScript process leads.
async fn on_a_directory() -> (Arc<Database>, RaveLevel, Harness) {
    let database = Arc::new(Database::open(Node::shared(), RAVE_LEVEL));
    let level = RaveLevel::open(&database.address).await.unwrap();
    assert!(matches!(level.role(), Role::Guest { .. }), "{:?}", level.role());
    let directory = database.address.clone();
    let harness =
        Harness::new(level.clone()).keeping(database.clone()).known_to_fail(failing(RAVE_LEVEL)).reopening(move || {
            let directory = directory.clone();
            async move { Arc::new(RaveLevel::open(directory).await.unwrap()) as Arc<dyn AbstractLevel> }
        });
    (database, level, harness)
}

pub async fn led() -> Harness {
    on_a_directory().await.2
}

/// The JavaScript process stops leading in the midst of each case, and the level under test is promoted.
pub async fn led_until_disturbed() -> Harness {
    let (database, level, harness) = on_a_directory().await;
    let mut leader = Some(database);
    harness.disturbing(move || {
        let (leader, level) = (leader.take(), level.clone());
        async move {
            if let Some(leader) = leader {
                leader.ask("close");
                while level.role() != Role::Leader {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
    })
}

/// What a guest cannot know or ask for over the legacy protocol, its manifest does not promise.
pub async fn the_manifest_denies_what_the_protocol_lacks(database: Arc<Database>) {
    let manifest = database.guest().await.manifest();
    assert!(manifest.legacy && manifest.implicit_snapshots && manifest.permanence, "{manifest:?}");
    let denied = [manifest.explicit_snapshots, manifest.sync_writes, manifest.exactly_once, manifest.atomic_clear];
    assert_eq!(denied, [false; 4], "{manifest:?}");
}
