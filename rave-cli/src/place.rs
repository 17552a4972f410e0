//! Which database the command line names: a location, or a directory together with `--store`.

use crate::failure::Failure;
use clap::ValueEnum;
use rave_level::Location;
use std::{ffi::OsStr, fmt, path::PathBuf};

/// A kind of store, which is also the scheme of its locations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StoreKind {
    /// Files in LevelDB's format.
    Leveldb,
    /// A sled database.
    Sled,
    /// The memory of this process; what is written is gone when it ends.
    Memory,
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Leveldb => "leveldb",
            Self::Sled => "sled",
            Self::Memory => "memory",
        })
    }
}

/// The location that a command's DB and `--store` mean together.
pub fn location(text: &OsStr, store: Option<StoreKind>) -> Result<Location, Failure> {
    let located = Location::parse(text).map_err(|error| {
        let text = text.to_string_lossy();
        let hint = if text.contains(':') { format!("; ./{text} is a directory of this name") } else { String::new() };
        Failure::Usage(format!("{}{hint}", error.message()))
    })?;
    match (store, located) {
        (Some(StoreKind::Sled), Location::LevelDb(path)) if path.as_os_str() == text => Ok(Location::Sled(path)),
        (None, located)
        | (Some(StoreKind::Leveldb), located @ Location::LevelDb(_))
        | (Some(StoreKind::Sled), located @ Location::Sled(_))
        | (Some(StoreKind::Memory), located @ Location::Memory) => Ok(located),
        (Some(StoreKind::Memory), Location::LevelDb(_)) => {
            Err(Failure::Usage("the memory store has no directory; write memory: in its place".to_owned()))
        }
        (Some(kind), located) => Err(Failure::Usage(format!("{located} is not of the store {kind}"))),
    }
}

/// The directory of a command that only LevelDB's files have.
pub fn directory(text: &OsStr, store: Option<StoreKind>) -> Result<PathBuf, Failure> {
    match location(text, store)? {
        Location::LevelDb(path) => Ok(path),
        Location::Host(address) => Err(Failure::Usage(format!(
            "this command needs the directory itself, not an address; ./{address} is a directory of this name"
        ))),
        other => Err(Failure::Usage(format!("this command is for LevelDB's files, and {other} has none"))),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use rave_level::transport::{Address, TcpAddress};

    fn of(text: &str, store: Option<StoreKind>) -> Result<Location, String> {
        location(text.as_ref(), store).map_err(|failure| failure.line().unwrap())
    }

    #[test]
    fn an_address_is_told_from_a_directory() {
        assert_eq!(of("unix:/tmp/x", None), Ok(Location::Host(Address::Local("/tmp/x".into()))));
        assert_eq!(of("./unix:x", None), Ok(Location::LevelDb("./unix:x".into())));
        assert_eq!(of("db", None), Ok(Location::LevelDb("db".into())));
        assert!(of("unix:", None).unwrap_err().contains("./unix: is a directory"));
        assert_eq!(of("tcp:[::1]:7", None), Ok(Location::Host(Address::Tcp(TcpAddress::new("::1", 7)))));
        assert!(directory("unix:/tmp/x".as_ref(), None).is_err());
        assert_eq!(directory("db".as_ref(), None).unwrap(), PathBuf::from("db"));
    }

    #[test]
    fn a_store_and_a_scheme_are_the_same() {
        use StoreKind::{Leveldb, Memory, Sled};
        assert_eq!(of("leveldb:db", Some(Leveldb)), of("db", Some(Leveldb)));
        assert_eq!(of("sled:db", None), of("db", Some(Sled)));
        assert_eq!(of("sled:db", Some(Sled)), of("db", Some(Sled)));
        assert_eq!(of("memory:", Some(Memory)), Ok(Location::Memory));
        assert_eq!(of("./sled:db", Some(Sled)), Ok(Location::Sled("./sled:db".into())));
    }

    #[test]
    fn a_store_that_contradicts_the_scheme_is_refused() {
        use StoreKind::{Leveldb, Memory, Sled};
        for (text, store) in [("sled:db", Leveldb), ("leveldb:db", Sled), ("memory:", Leveldb), ("unix:/x", Sled)] {
            assert!(of(text, Some(store)).unwrap_err().contains("is not of the store"), "{text} {store}");
        }
        assert!(of("db", Some(Memory)).unwrap_err().contains("write memory:"));
        let refused = |text: &str| directory(text.as_ref(), None).unwrap_err().line().unwrap();
        assert!(["sled:db", "memory:"].into_iter().all(|text| refused(text).contains("LevelDB's files")));
    }
}
