//! The files: C++ LevelDB reads what this store writes, and the reverse.
//!
//! Both sides apply the same operations to directories, in processes of their own: C++ LevelDB through two versions of
//! `classic-level`, this project through its public face. In each case one side writes, and may be killed in mid-write;
//! the other opens what is there; both compact it, and the other writes on. After every step both must give what a map
//! in memory gives for the batches that are in it: a scan forwards, a scan in reverse, and a thousand gets.

mod job;
mod side;

use super::{Context, Tally};
use anyhow::{Context as _, Result, ensure};
use job::{Action, Contents, Generated, Job};
use side::{Programs, Side};
use std::{fmt, fs, path::Path};

/// Keys of a set, and what its files and options are like.
#[derive(Clone, Copy)]
struct Set {
    entries: u32,
    compression: bool,
    write_buffer_bytes: usize,
    block_bytes: usize,
}

/// One case: who writes, who reads, and how the writer ends.
#[derive(Clone, Copy)]
struct Case {
    set: Set,
    writer: Side,
    reader: Side,
    killed: bool,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { set, writer, reader, killed } = self;
        let compression = if set.compression { "Snappy" } else { "no compression" };
        let killed = if *killed { ", killed in mid-write" } else { "" };
        write!(f, "{} keys, {compression}, written by {writer}{killed}, then used by {reader}", set.entries)
    }
}

/// 120 MB, half of that where it is compressed.
const ENTRIES: u32 = 140_000;
const QUICK_ENTRIES: u32 = 15_000;
/// More than 250 MB, compressed.
const MOST_ENTRIES: u32 = 600_000;

fn cases(quick: bool) -> Vec<Case> {
    let entries = if quick { QUICK_ENTRIES } else { ENTRIES };
    let small = Set { entries, compression: true, write_buffer_bytes: 256 << 10, block_bytes: 1 << 10 };
    let plain = Set { entries, compression: false, write_buffer_bytes: 1 << 20, block_bytes: 4 << 10 };
    let mut cases = Vec::new();
    for set in [small, plain] {
        for classic in [Side::Classic(1), Side::Classic(3)] {
            for (writer, reader) in [(classic, Side::Rave), (Side::Rave, classic)] {
                cases.extend([false, true].map(|killed| Case { set, writer, reader, killed }));
            }
        }
    }
    if !quick {
        let set = Set { entries: MOST_ENTRIES, compression: true, write_buffer_bytes: 4 << 20, block_bytes: 4 << 10 };
        for (writer, reader) in [(Side::Classic(3), Side::Rave), (Side::Rave, Side::Classic(3))] {
            cases.push(Case { set, writer, reader, killed: true });
        }
    }
    cases
}

/// Checks all cases whose description contains `only`.
pub fn check(context: &Context<'_>, tally: &mut Tally<'_>) -> Result<()> {
    let programs = Programs::build(context.javascript)?;
    let folder = tempfile::tempdir()?;
    for (number, case) in cases(context.quick).iter().enumerate() {
        tally.check(&case.to_string(), || check_case(&programs, folder.path(), case, number));
    }
    Ok(())
}

/// The files that hold a set's operations, made at first use.
fn generate(programs: &Programs, folder: &Path, set: Set) -> Result<(Job, u32)> {
    let file = |kind: &str| folder.join(format!("{kind}-{}", set.entries));
    let job = Job {
        action: Action::Generate,
        version: 0,
        directory: folder.join("database"),
        operations: file("operations"),
        probes: file("probes"),
        entries: set.entries,
        from: 0,
        to: 0,
        compression: set.compression,
        write_buffer_bytes: set.write_buffer_bytes,
        block_bytes: set.block_bytes,
    };
    let known = file("batches");
    if !known.exists() {
        let generated: Generated = programs.run(Side::Rave, &job)?;
        fs::write(&known, generated.batches.to_string())?;
    }
    Ok((job, fs::read_to_string(&known)?.parse()?))
}

fn check_case(programs: &Programs, folder: &Path, case: &Case, number: usize) -> Result<String> {
    let Case { set, writer, reader, killed } = *case;
    let (job, batches) = generate(programs, folder, set)?;
    let both = [reader, writer];
    let expect = |to| programs.run::<Contents>(Side::Rave, &Job { action: Action::Expect, to, ..job.clone() });
    let mut levels = Vec::new();
    let mut hold = |sides: &[Side], expected: &Contents, when: &str| -> Result<()> {
        for side in sides {
            let contents = programs.read(*side, &job)?;
            compare(&contents, expected).with_context(|| format!("{side}, {when}"))?;
            if levels.is_empty() {
                levels = contents.levels;
            }
        }
        Ok(())
    };

    // What was acknowledged is there, and perhaps what was on its way.
    let to = batches / 5 * 4;
    let kill_at = killed.then(|| batches / 10 * (3 + number as u32 % 5));
    let acknowledged = programs.write(writer, &Job { to, ..job.clone() }, kill_at)?;
    let found = programs.read(reader, &job)?;
    ensure!(
        (acknowledged..=if killed { to } else { acknowledged }).contains(&found.batches),
        "{reader} finds batch {}; {writer} had acknowledged {acknowledged}",
        found.batches
    );
    let expected = expect(found.batches)?;
    compare(&found, &expected).with_context(|| format!("{reader}, at first"))?;
    hold(&[writer], &expected, "after the other has read")?;

    compact(programs, reader, &job)?;
    hold(&both, &expected, "after the other's compaction")?;

    programs.write(reader, &Job { from: found.batches, to: batches, ..job.clone() }, None)?;
    let expected = expect(batches)?;
    hold(&[writer], &expected, "after the other has written on")?;
    compact(programs, writer, &job)?;
    hold(&both, &expected, "after the writer's compaction")?;

    let bytes = size(&job.directory)?;
    fs::remove_dir_all(&job.directory)?;
    let (entries, megabytes) = (expected.entries, bytes / 1_000_000);
    Ok(format!("right: {entries} entries, {megabytes} MB, tables by level at first {levels:?}"))
}

fn compact(programs: &Programs, side: Side, job: &Job) -> Result<()> {
    programs.run::<serde::de::IgnoredAny>(side, &Job { action: Action::Compact, ..job.clone() })?;
    Ok(())
}

/// Says what differs.
fn compare(found: &Contents, expected: &Contents) -> Result<()> {
    let differences = [
        ("the scan", found.forward == expected.forward),
        ("the scan in reverse", found.reverse == expected.reverse),
        ("the gets", found.gets == expected.gets),
        ("the last batch", found.batches == expected.batches),
    ];
    let wrong: Vec<_> = differences.iter().filter(|(_, equal)| !equal).map(|(what, _)| *what).collect();
    ensure!(
        wrong.is_empty(),
        "wrong: {}; {} entries up to batch {} instead of {} up to {}",
        wrong.join(", "),
        found.entries,
        found.batches,
        expected.entries,
        expected.batches
    );
    Ok(())
}

/// Bytes of a directory's files.
fn size(directory: &Path) -> Result<u64> {
    let lengths = fs::read_dir(directory)?.map(|entry| Ok(entry?.metadata()?.len()));
    lengths.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_differs_is_named() {
        let right = Contents {
            entries: 2,
            batches: 7,
            forward: "f".into(),
            reverse: "r".into(),
            gets: "g".into(),
            levels: vec![1],
        };
        assert!(compare(&Contents { levels: vec![], ..right.clone() }, &right).is_ok());
        let wrong = |found| compare(&found, &right).unwrap_err().to_string();
        assert!(wrong(Contents { forward: "x".into(), ..right.clone() }).starts_with("wrong: the scan;"));
        assert!(wrong(Contents { reverse: "x".into(), ..right.clone() }).contains("in reverse"));
        assert!(wrong(Contents { gets: "x".into(), ..right.clone() }).contains("the gets"));
        assert!(wrong(Contents { batches: 6, ..right.clone() }).contains("the last batch"));
    }

    #[test]
    fn every_combination_is_checked() {
        let cases = cases(true);
        assert_eq!(cases.len(), 16);
        let count = |wanted: fn(&Case) -> bool| cases.iter().filter(|case| wanted(case)).count();
        assert_eq!(count(|case| case.set.compression), 8);
        assert_eq!(count(|case| case.killed), 8);
        assert_eq!(count(|case| case.writer == Side::Rave), 8);
        assert_eq!(count(|case| [case.writer, case.reader].contains(&Side::Classic(1))), 8);
    }
}
