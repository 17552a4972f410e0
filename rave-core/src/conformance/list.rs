//! The list of all cases, and the macro that makes tests of them.

use super::Case;

/// Makes one `#[test]` of every conformance case: `conformance!(name, setup)` or `conformance!(name, setup,
/// multi_thread)`.
///
/// `name` is the module that holds the tests; `setup` is an expression that, called without arguments, gives a future of
/// a [`Harness`](crate::conformance::Harness). See [`conformance`](mod@crate::conformance) for an example.
#[macro_export]
macro_rules! conformance {
    ($name:ident, $setup:expr $(,)?) => {
        $crate::conformance!($name, $setup, current_thread);
    };
    ($name:ident, $setup:expr, current_thread $(,)?) => {
        $crate::__conformance_cases!(__conformance_tests, $name, $setup, CurrentThread);
    };
    ($name:ident, $setup:expr, multi_thread $(,)?) => {
        $crate::__conformance_cases!(__conformance_tests, $name, $setup, MultiThread);
    };
}

/// Not public: one test function for each case of the list.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    ([$name:ident, $setup:expr, $flavor:ident] $($group:ident { $($case:ident,)* })*) => {
        mod $name {
            // A module of its own, so that the groups' names below hide nothing from the setup expression.
            mod setup {
                #[allow(unused_imports)]
                use super::super::*;
                pub(super) async fn harness() -> $crate::conformance::Harness {
                    let setup = $setup;
                    setup().await
                }
            }
            $(mod $group {
                $(#[test]
                fn $case() {
                    $crate::conformance::run(
                        concat!(stringify!($name), "::", stringify!($group), "::", stringify!($case)),
                        $crate::conformance::Flavor::$flavor,
                        super::setup::harness,
                        $crate::conformance::$group::$case,
                    );
                })*
            })*
        }
    };
}

/// Not public: gives every case, by group, to the macro `callback`.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_cases {
    ($callback:ident, $($head:tt)*) => {
        $crate::$callback! { [$($head)*]
            get {
                a_value_comes_back,
                a_missing_key_gives_nothing,
                a_deleted_key_is_gone,
                many_keys_keep_their_order,
                no_keys_give_no_values,
                empty_keys_and_values_are_legal,
                any_bytes_are_legal,
                long_keys_and_values_are_legal,
            }
            write {
                deleting_a_missing_key_succeeds,
                a_batch_takes_effect,
                the_last_operation_on_a_key_wins,
                a_large_batch_takes_effect,
                readers_never_see_half_a_batch,
                an_empty_batch_does_nothing,
                batches_are_built_in_several_ways,
                a_batch_writes_into_sublevels,
                a_batch_naming_a_foreign_sublevel_is_refused,
                writes_take_effect_in_the_order_submitted,
                different_operations_keep_their_order,
                many_tasks_write_at_once,
                sync_is_honoured_or_refused,
                a_dropped_write_is_all_or_nothing,
                writes_survive_closing_and_opening_again,
            }
            condition {
                a_batch_is_applied_if_its_conditions_hold,
                nothing_is_written_if_a_condition_fails,
                every_failed_condition_is_named,
                conditions_see_the_state_before_the_batch,
                an_empty_value_is_not_absence,
                conditions_alone_are_checked,
                contradictions_are_refused,
                too_many_conditions_are_refused,
                counters_lose_nothing,
                a_key_is_claimed_once,
                swaps_are_one_step,
                conditions_keep_the_order_of_submission,
                a_dropped_conditional_write_is_all_or_nothing,
                a_change_in_the_range_is_noticed,
                ranges_are_those_of_iterators,
                several_ranges_have_one_digest,
                large_ranges_are_compared_whole,
                conditions_are_about_the_sublevel,
                conditions_on_a_foreign_sublevel_are_refused,
            }
            chained {
                steps_take_effect_at_write,
                clear_drops_the_steps,
                a_finished_batch_says_so,
                writing_nothing_does_nothing,
                steps_may_go_into_sublevels,
                a_closed_level_refuses_it,
            }
            iterator {
                an_empty_level_has_no_entries,
                keys_come_in_the_order_of_their_bytes,
                reverse_misses_no_shorter_key,
                every_range_is_right,
                inclusive_bounds_beat_exclusive_ones,
                an_empty_range_has_no_entries,
                a_limit_ends_the_iterator,
                keys_or_values_can_be_left_out,
                pages_are_never_too_long,
                single_steps_and_pages_mix,
                long_scans_are_complete,
                the_end_is_sticky,
                later_writes_do_not_disturb,
                acknowledged_writes_are_seen,
                several_iterators_at_once,
                several_tasks_iterate_at_once,
                a_closed_iterator_says_so,
                dropped_iterators_leave_no_trace,
                a_dropped_step_loses_nothing,
                streams_give_the_same,
            }
            seek {
                seeks_find_the_nearest_key,
                a_target_outside_the_range_is_the_end,
                a_seek_rearms_after_the_end,
                a_seek_does_not_reset_the_limit,
                steps_and_seeks_interleave,
                a_seek_takes_no_newer_view,
                a_seek_in_an_empty_level_is_the_end,
                seeks_work_without_keys_or_values,
            }
            clear {
                everything_goes,
                exactly_the_range_goes,
                a_limit_takes_the_nearest_keys,
                what_is_excepted_stays,
                a_limit_of_zero_deletes_nothing,
                an_empty_range_deletes_nothing,
                many_keys_go,
                an_open_iterator_survives_a_clear,
                a_clear_is_as_atomic_as_declared,
                later_writes_stay,
                what_comes_with_a_clear_is_written,
                a_clear_and_its_writes_are_one_step,
                a_clear_writes_where_it_belongs,
            }
            snapshot {
                reads_see_the_snapshot,
                iterators_see_the_snapshot,
                a_clear_deletes_what_the_snapshot_holds,
                several_snapshots_stay_apart,
                a_closed_snapshot_says_so,
                a_snapshot_is_never_replaced_by_a_newer_one,
                a_dropped_snapshot_leaves_its_iterators,
                snapshots_work_through_sublevels,
            }
            sublevel {
                prefixes_have_the_known_form,
                bad_names_are_refused,
                siblings_and_parents_are_apart,
                the_upper_bound_is_exclusive,
                every_range_is_right_within,
                a_clear_leaves_the_others,
                closing_a_view_closes_only_the_view,
                closing_the_level_closes_its_views,
                views_nest_behind_the_trait,
            }
            close {
                closing_is_idempotent,
                operations_after_close_are_refused,
                open_iterators_end_with_an_error,
                open_snapshots_end,
                operations_in_flight_resolve,
                acknowledged_writes_are_kept,
            }
            events {
                writes_are_announced,
                nothing_is_announced_for_nothing,
                clears_are_announced,
                views_have_events_of_their_own,
                the_end_is_announced,
                slow_listeners_slow_nobody,
            }
            random {
                random_operations_match_a_model,
                random_operations_match_a_model_when_disturbed,
                random_operations_match_a_model_in_a_sublevel,
            }
        }
    };
}

/// Not public: the cases of the list as values.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_values {
    ([] $($group:ident { $($case:ident,)* })*) => {
        &[$($(Case {
            group: stringify!($group),
            name: stringify!($case),
            body: |harness| Box::pin(super::$group::$case(harness)),
        },)*)*]
    };
}

/// All cases.
pub const CASES: &[Case] = crate::__conformance_cases!(__conformance_values,);

#[cfg(test)]
mod tests {
    #[test]
    fn every_case_is_listed() {
        let list = include_str!("list.rs");
        let mut cases = 0;
        for source in [
            include_str!("chained.rs"),
            include_str!("clear.rs"),
            include_str!("close.rs"),
            include_str!("condition.rs"),
            include_str!("events.rs"),
            include_str!("get.rs"),
            include_str!("iterator.rs"),
            include_str!("random.rs"),
            include_str!("seek.rs"),
            include_str!("snapshot.rs"),
            include_str!("sublevel.rs"),
            include_str!("write.rs"),
        ] {
            for line in source.lines() {
                if let Some((name, _)) = line.strip_prefix("pub async fn ").and_then(|rest| rest.split_once('(')) {
                    assert!(list.contains(&format!(" {name},\n")), "{name} is not in the list of cases");
                    cases += 1;
                }
            }
        }
        assert!(cases > 90, "{cases}");
    }
}
