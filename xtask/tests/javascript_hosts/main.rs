//! Guests of ours on databases that processes of the JavaScript modules host.
//!
//! `cargo xtask interop conformance` runs this: it needs Node.js, and the modules where the environment variable
//! `RAVE_INTEROP_JAVASCRIPT` says.
//!
//! | file | what is checked |
//! | --- | --- |
//! | `suite` | the conformance suite, undisturbed and with connections cut in the midst of its cases |
//! | `resume` | where iterators go on behind every key, seek and limit |
//! | `large` | many entries and long values |
//! | `loss` | what becomes of operations whose answer is lost, and of guests whose host crashes |

#![cfg(unix)]

mod host;
mod large;
mod loss;
mod resume;
mod suite;

/// All that is checked on one module's host over one store.
macro_rules! hosts {
    ($($name:ident: $host:literal over $store:literal;)*) => {
        const HOSTS: &[&str] = &[$(stringify!($name)),*];
        $(mod $name {
            const KIND: crate::host::Kind = crate::host::Kind { host: $host, store: $store };
            rave_core::conformance!(suite, || super::super::super::suite::undisturbed(super::super::KIND));
            rave_core::conformance!(suite_with_cuts, || super::super::super::suite::with_cuts(super::super::KIND), multi_thread);
            checks! {
                suite { the_manifest_denies_what_the_protocol_lacks, }
                resume {
                    iterators_go_on_behind_every_key,
                    seeks_are_asked_again,
                    a_seek_leaves_the_rest_of_the_range,
                    limits_count_across_connections,
                }
                large { many_entries_pass, long_values_pass, }
                loss {
                    always_writes_again,
                    safe_says_that_the_effect_is_unknown,
                    never_fails_whatever_was_asked,
                    writes_keep_their_order,
                    a_crash_of_the_host_ends_at_the_deadline,
                    a_crash_of_the_host_waits_for_the_next_one,
                }
            }
        })*
    };
}

macro_rules! checks {
    ($($file:ident { $($check:ident,)* })*) => {
        mod checks {
            $(mod $file {
                $(#[test]
                fn $check() {
                    crate::host::run(super::super::KIND, crate::$file::$check);
                })*
            })*
        }
    };
}

hosts! {
    many_level_1_over_memory: "many-level-1" over "memory";
    many_level_1_over_classic: "many-level-1" over "classic";
    many_level_2_over_memory: "many-level-2" over "memory";
    many_level_2_over_classic: "many-level-2" over "classic";
}

mod rave_level {
    rave_core::conformance!(suite, crate::suite::led);
    rave_core::conformance!(suite_with_promotion, crate::suite::led_until_disturbed, multi_thread);
}

/// No case of the suite gets lost on the way here.
#[test]
fn every_host_runs_every_case() {
    let mut this = std::process::Command::new(std::env::current_exe().unwrap());
    let list = String::from_utf8(this.args(["--list", "--format=terse"]).output().unwrap().stdout).unwrap();
    let modules = |host: &str| ["suite", "suite_with_cuts"].map(|suite| format!("{host}::{suite}"));
    let hosts = HOSTS.iter().flat_map(|host| modules(host));
    for module in hosts.chain(["rave_level::suite".to_owned(), "rave_level::suite_with_promotion".to_owned()]) {
        let missing = rave_core::conformance::CASES
            .iter()
            .map(|case| format!("{module}::{case}: test"))
            .filter(|test| !list.lines().any(|line| line == test));
        assert_eq!(missing.collect::<Vec<_>>(), [""; 0]);
    }
}
