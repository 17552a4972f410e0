//! Merging tables so that there are few to look into, and dropping what nothing can see any more.
//!
//! [`pick`] and [`pick_range`] choose the tables of a level, and those of the next level that they overlap; a
//! [`CompactionJob`] merges them into new tables of the next level and says which edit of the version that makes;
//! [`build_table`] writes a memtable as a table, which is how entries come into the levels in the first place.

mod flush;
mod inputs;
mod job;
mod merge;
mod output;
mod pick;
pub(crate) mod rules;
mod statistics;

#[cfg(test)]
mod job_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub(crate) use flush::build_table;
pub(crate) use job::CompactionJob;
pub(crate) use merge::merge_tables;
pub(crate) use output::{Output, OutputFiles};
pub(crate) use pick::{Compaction, pick, pick_range};
pub(crate) use rules::LevelRules;
pub(crate) use statistics::CompactionStatistics;
