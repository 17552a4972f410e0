//! The names of a database's files: what a file is and its number are in its name.

use std::fmt;

/// A file of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum FileName {
    /// Batches that are not in a table yet.
    Log(u64),
    /// Sorted entries. New tables end in `.ldb`, those of old versions of LevelDB in `.sst`.
    Table(u64),
    /// Which tables belong to which level, as a log of changes.
    Manifest(u64),
    /// Says which manifest is in use.
    Current,
    /// Locked while a process has the database open.
    Lock,
    /// What C++ LevelDB reports about its work, for people.
    InfoLog,
    /// The information log of the opening before.
    OldInfoLog,
    /// A file that gets its name when it is complete.
    Temporary(u64),
}

impl FileName {
    /// What the file of this name is; `None` if it does not belong to a database.
    ///
    /// Numbers may be written with any count of digits, so a name that is found need not be the one that is displayed.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "CURRENT" => return Some(Self::Current),
            "LOCK" => return Some(Self::Lock),
            "LOG" => return Some(Self::InfoLog),
            "LOG.old" => return Some(Self::OldInfoLog),
            _ => {}
        }
        if let Some(digits) = name.strip_prefix("MANIFEST-") {
            return number(digits).map(Self::Manifest);
        }
        let (digits, suffix) = name.split_once('.')?;
        let number = number(digits)?;
        match suffix {
            "log" => Some(Self::Log(number)),
            "ldb" | "sst" => Some(Self::Table(number)),
            "dbtmp" => Some(Self::Temporary(number)),
            _ => None,
        }
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(number) => write!(f, "{number:06}.log"),
            Self::Table(number) => write!(f, "{number:06}.ldb"),
            Self::Manifest(number) => write!(f, "MANIFEST-{number:06}"),
            Self::Current => f.write_str("CURRENT"),
            Self::Lock => f.write_str("LOCK"),
            Self::InfoLog => f.write_str("LOG"),
            Self::OldInfoLog => f.write_str("LOG.old"),
            Self::Temporary(number) => write!(f, "{number:06}.dbtmp"),
        }
    }
}

/// A number written in decimal digits and nothing else.
fn number(digits: &str) -> Option<u64> {
    // `u64::from_str` would take a sign.
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_leveldb() {
        for (file, name) in [
            (FileName::Log(3), "000003.log"),
            (FileName::Table(5), "000005.ldb"),
            (FileName::Table(u64::MAX), "18446744073709551615.ldb"),
            (FileName::Manifest(2), "MANIFEST-000002"),
            (FileName::Current, "CURRENT"),
            (FileName::Lock, "LOCK"),
            (FileName::InfoLog, "LOG"),
            (FileName::OldInfoLog, "LOG.old"),
            (FileName::Temporary(1_234_567), "1234567.dbtmp"),
        ] {
            assert_eq!(file.to_string(), name);
            assert_eq!(FileName::parse(name), Some(file));
        }
        assert_eq!(FileName::parse("000005.sst"), Some(FileName::Table(5)));
        assert_eq!(FileName::parse("5.log"), Some(FileName::Log(5)));
    }

    #[test]
    fn other_names_are_none_of_a_database() {
        for name in [
            "",
            ".log",
            "foo",
            "foo.log",
            "+5.log",
            "-5.log",
            "5",
            "5.",
            "5.lo",
            "5.log.log",
            "5.logs",
            "MANIFEST",
            "MANIFEST-",
            "MANIFEST-+1",
            "MANIFEST-3x",
            "XMANIFEST-3",
            "CURRENTs",
            "LOGS",
            "LOG.new",
            "LOCK ",
            "18446744073709551616.log",
            "٣.log",
        ] {
            assert_eq!(FileName::parse(name), None, "{name}");
        }
    }
}
