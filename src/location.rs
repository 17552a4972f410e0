//! Where a database is, as people write it: which store in which directory, or which host.

use crate::Builder;
use rave_core::{Code, Error, Opener, Result};
use rave_transport::{Address, Transport};
use std::{ffi::OsStr, fmt, path::PathBuf, str::FromStr, sync::Arc};

/// Where a database is, as people write it, so that an application can leave the choice to its configuration.
///
/// | location | what it is | features |
/// | --- | --- | --- |
/// | `leveldb:PATH`, or `PATH` alone | files in LevelDB's format in that directory | `leveldb`, `ipc` |
/// | `sled:PATH` | a sled database in that directory | `sled`, `ipc` |
/// | `memory:` | the memory of this process, for this one handle; gone when it closes | `memory` |
/// | `unix:PATH`, `pipe:NAME` | what is hosted at this [`Address`]; this process only ever follows | `ipc` |
/// | `tcp:HOST:PORT` | the same, on this machine; elsewhere it needs TLS and a credential, and so [`Builder::guest`] | `tcp` |
///
/// Processes that share a directory meet at a socket in it, whichever store it holds. A path that begins like one of
/// these can be written with `./` in front.
///
/// ```
/// use rave_level::Location;
///
/// # if cfg!(all(feature = "leveldb", feature = "memory")) {
/// assert_eq!("./db".parse::<Location>()?, Location::LevelDb("./db".into()));
/// assert_eq!("leveldb:./db".parse::<Location>()?, Location::LevelDb("./db".into()));
/// assert_eq!("memory:".parse::<Location>()?, Location::Memory);
/// # }
/// assert!("leveldb:".parse::<Location>().is_err());
/// # Ok::<(), rave_level::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Location {
    /// Files in LevelDB's format in this directory: this process takes part in the election of its leader.
    LevelDb(PathBuf),
    /// A sled database in this directory: this process takes part in the election of its leader.
    Sled(PathBuf),
    /// The memory of this process. Nobody else can reach it.
    Memory,
    /// With whoever hosts it at this address: this process only ever follows.
    Host(Address),
}

impl Location {
    /// What `text` means; the path in it need not be UTF-8 if it stands alone.
    ///
    /// Errors: `LEVEL_NOT_SUPPORTED` if it names no directory or no usable address, or something that this build lacks;
    /// then it says which feature to enable.
    pub fn parse(text: impl AsRef<OsStr>) -> Result<Self> {
        let text = text.as_ref();
        let lossy = text.to_string_lossy();
        let (scheme, rest) = lossy.split_once(':').unwrap_or_default();
        let location = match scheme {
            "leveldb" => Self::LevelDb(path_of(text)?),
            "sled" => Self::Sled(path_of(text)?),
            "memory" if rest.is_empty() => Self::Memory,
            "memory" => return Err(unusable(&lossy, "names a place, and memory has none; write memory: alone")),
            _ if Address::is_meant(&lossy) => Self::Host(lossy.parse()?),
            _ if text.is_empty() => return Err(unusable(&lossy, "names no directory")),
            _ => Self::LevelDb(text.into()),
        };
        if !matches!(location, Self::Host(_)) {
            // Said now rather than when it is opened.
            location.opener()?;
        }
        Ok(location)
    }

    /// What opens the database that is here, to be adjusted before; see [`RaveLevel::at`](crate::RaveLevel::at).
    ///
    /// Errors: as [`transport`](Self::transport); `LEVEL_NOT_SUPPORTED` if this build has no such store.
    pub fn builder(&self) -> Result<Builder> {
        let opener = if let Self::Host(_) = self { None } else { Some(self.opener()?) };
        Ok(Builder::with(opener, self.transport()?))
    }

    /// The store that is here, with its default options. Of [`Memory`](Self::Memory) it is a new one each time.
    ///
    /// Errors: `LEVEL_NOT_SUPPORTED` if this build has no such store, or if this is the address of a host.
    pub fn opener(&self) -> Result<Arc<dyn Opener>> {
        match self {
            #[cfg(feature = "leveldb")]
            Self::LevelDb(path) => Ok(Arc::new(rave_leveldb::LevelDb::new(path))),
            #[cfg(not(feature = "leveldb"))]
            Self::LevelDb(_) => Err(lacking("leveldb")),
            #[cfg(feature = "sled")]
            Self::Sled(path) => Ok(Arc::new(rave_sled::SledDb::new(path))),
            #[cfg(not(feature = "sled"))]
            Self::Sled(_) => Err(lacking("sled")),
            #[cfg(feature = "memory")]
            Self::Memory => Ok(Arc::new(rave_core::MemoryOpener::new())),
            #[cfg(not(feature = "memory"))]
            Self::Memory => Err(lacking("memory")),
            Self::Host(_) => Err(unusable(&self.to_string(), "is that of a host, and a store is needed here")),
        }
    }

    /// Where processes that have this database open meet. Of [`Memory`](Self::Memory) it is a new place each time.
    ///
    /// Errors: `LEVEL_NOT_SUPPORTED` if this build has no such transport; as [`Address::transport`].
    pub fn transport(&self) -> Result<Arc<dyn Transport>> {
        match self {
            #[cfg(feature = "ipc")]
            Self::LevelDb(path) | Self::Sled(path) => Ok(Arc::new(rave_transport::IpcTransport::for_directory(path)?)),
            #[cfg(not(feature = "ipc"))]
            Self::LevelDb(_) | Self::Sled(_) => Err(lacking("ipc")),
            #[cfg(feature = "memory")]
            Self::Memory => Ok(Arc::new(rave_transport::MemoryTransport::new())),
            #[cfg(not(feature = "memory"))]
            Self::Memory => Err(lacking("memory")),
            Self::Host(address) => address.transport(),
        }
    }
}

impl FromStr for Location {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LevelDb(path) => write!(f, "leveldb:{}", path.display()),
            Self::Sled(path) => write!(f, "sled:{}", path.display()),
            Self::Memory => f.write_str("memory:"),
            Self::Host(address) => address.fmt(f),
        }
    }
}

/// The path behind the scheme of a store.
fn path_of(text: &OsStr) -> Result<PathBuf> {
    let Some((_, path)) = text.to_str().and_then(|text| text.split_once(':')) else {
        let what = "has a path that is not UTF-8, which cannot stand behind a scheme; make it a `Location` in code";
        return Err(unusable(&text.to_string_lossy(), what));
    };
    if path.is_empty() {
        return Err(unusable(&text.to_string_lossy(), "names no directory"));
    }
    Ok(path.into())
}

fn unusable(text: &str, what: &str) -> Error {
    Error::new(Code::NotSupported, format!("the location {text:?} {what}"))
}

/// For what another build has.
#[cfg(not(all(feature = "leveldb", feature = "sled", feature = "memory", feature = "ipc")))]
fn lacking(feature: &str) -> Error {
    Error::new(Code::NotSupported, format!("this build has no {feature}; enable the feature `{feature}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of a text in this build.
    fn parsed(text: &str, feature: &str, there: bool) -> Option<Location> {
        match text.parse::<Location>() {
            Ok(location) => {
                assert!(there, "{text}");
                Some(location)
            }
            Err(error) => {
                assert!(!there && error.message().contains(&format!("enable the feature `{feature}`")), "{error}");
                None
            }
        }
    }

    #[test]
    fn stores_are_told_by_their_scheme_and_what_this_build_lacks_is_named() {
        let leveldb = |text| parsed(text, "leveldb", cfg!(feature = "leveldb"));
        for (text, path) in [("db", "db"), ("leveldb:db", "db"), ("leveldb:a:b", "a:b"), ("a:b", "a:b")] {
            assert!(leveldb(text).is_none_or(|location| location == Location::LevelDb(path.into())), "{text}");
        }
        // A path that looks like something else.
        for text in ["./sled:x", "/tmp/memory:", "C:\\db", "./unix:x"] {
            assert!(leveldb(text).is_none_or(|location| location == Location::LevelDb(text.into())), "{text}");
        }
        let sled = parsed("sled:/tmp/db", "sled", cfg!(feature = "sled"));
        assert!(sled.is_none_or(|location| location == Location::Sled("/tmp/db".into())));
        let memory = parsed("memory:", "memory", cfg!(feature = "memory"));
        assert!(memory.is_none_or(|location| location == Location::Memory));
    }

    #[test]
    fn what_is_printed_is_read_back() {
        for text in ["leveldb:a b", "sled:/x/y", "memory:", "unix:/x/s", "pipe:\\\\.\\pipe\\x"] {
            if let Ok(location) = text.parse::<Location>() {
                assert_eq!(location.to_string(), text);
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, what) in [
            ("", "names no directory"),
            ("leveldb:", "names no directory"),
            ("sled:", "names no directory"),
            ("memory:x", "write memory: alone"),
        ] {
            let error = text.parse::<Location>().unwrap_err();
            assert!(error.message().contains(what), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn paths_need_not_be_text() {
        use std::os::unix::ffi::OsStrExt as _;
        let bare = OsStr::from_bytes(b"\xff\xfe");
        if cfg!(feature = "leveldb") {
            assert_eq!(Location::parse(bare).unwrap(), Location::LevelDb(bare.into()));
        }
        let error = Location::parse(OsStr::from_bytes(b"sled:\xff")).unwrap_err();
        assert!(error.message().contains("not UTF-8"), "{error}");
    }

    #[test]
    fn a_host_is_no_store() {
        let location = Location::Host(Address::Local("/x/s".into()));
        assert!(location.opener().unwrap_err().message().contains("a store is needed"));
        let built = location.builder();
        assert_eq!(built.is_ok(), cfg!(feature = "ipc"), "{built:?}");
    }

    #[test]
    fn a_directory_without_a_transport_cannot_be_shared() {
        let location = Location::LevelDb("db".into());
        let there = cfg!(all(feature = "leveldb", feature = "ipc"));
        assert_eq!(location.builder().is_ok(), there);
        assert_eq!(location.opener().is_ok(), cfg!(feature = "leveldb"));
    }
}
