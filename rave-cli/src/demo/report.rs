//! The lines by which a worker reports. Times are microseconds of the machine's clock, which all processes share.

use crate::roles::Taken;
use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

/// What a worker reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// Its role.
    Role(Taken),
    /// Its write `number` was acknowledged.
    Acknowledged {
        /// Writes of a worker are numbered 1, 2, 3, …
        number: u64,
        /// When the write was begun.
        begun: u64,
        /// When it was acknowledged.
        ended: u64,
    },
    /// Its increment of the shared counter with this number was acknowledged.
    Incremented(u64),
    /// Something is wrong.
    Complaint(String),
}

/// The time.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(Taken::Leader) => f.write_str("l"),
            Self::Role(Taken::Following { leader_pid: Some(pid) }) => write!(f, "f {pid}"),
            Self::Role(Taken::Following { leader_pid: None }) => f.write_str("f"),
            Self::Acknowledged { number, begun, ended } => write!(f, "a {number} {begun} {ended}"),
            Self::Incremented(number) => write!(f, "i {number}"),
            Self::Complaint(text) => write!(f, "x {}", text.replace('\n', " ")),
        }
    }
}

impl Report {
    /// Reads a line.
    pub fn parse(line: &str) -> Option<Self> {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        match kind {
            "l" => Some(Self::Role(Taken::Leader)),
            "f" => Some(Self::Role(Taken::Following { leader_pid: rest.parse().ok() })),
            "x" => Some(Self::Complaint(rest.to_owned())),
            "i" => Some(Self::Incremented(rest.parse().ok()?)),
            "a" => {
                let mut numbers = rest.split(' ').map(str::parse);
                let mut next = || numbers.next().and_then(Result::ok);
                Some(Self::Acknowledged { number: next()?, begun: next()?, ended: next()? })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back() {
        for report in [
            Report::Role(Taken::Leader),
            Report::Role(Taken::Following { leader_pid: Some(3) }),
            Report::Role(Taken::Following { leader_pid: None }),
            Report::Acknowledged { number: 1, begun: 2, ended: 3 },
            Report::Incremented(4),
            Report::Complaint("a b".to_owned()),
        ] {
            assert_eq!(Report::parse(&report.to_string()), Some(report));
        }
        assert_eq!(Report::parse("a 1 2"), None);
        assert_eq!(Report::parse("i"), None);
        assert_eq!(Report::parse(""), None);
    }
}
