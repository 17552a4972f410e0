//! Where a database is, as the command line says it.

use rave_level::transport::Address;
use std::{ffi::OsString, path::PathBuf};

/// Where a shared database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In this directory: this process takes part in the election of its leader.
    Directory(PathBuf),
    /// With whoever hosts it at this address: this process only ever follows.
    Host(Address),
}

impl Place {
    /// What a command's DB means.
    pub fn parse(text: OsString) -> Result<Self, String> {
        match text.to_str() {
            Some(text) if Address::is_meant(text) => match text.parse() {
                Ok(address) => Ok(Self::Host(address)),
                Err(error) => Err(format!("{}, or ./{text} for a directory of this name", error.message())),
            },
            _ => Ok(Self::Directory(text.into())),
        }
    }
}

/// What DB means to a command that needs the files.
pub fn directory(text: OsString) -> Result<PathBuf, String> {
    match text.to_str() {
        Some(text) if Address::is_meant(text) => {
            Err(format!("this command needs the directory itself, not an address; write ./{text} for one of this name"))
        }
        _ => Ok(text.into()),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_from_a_directory() {
        let parse = |text: &str| Place::parse(text.into());
        assert_eq!(parse("unix:/tmp/x"), Ok(Place::Host(Address::Local("/tmp/x".into()))));
        assert_eq!(parse("./unix:x"), Ok(Place::Directory("./unix:x".into())));
        assert_eq!(parse("db"), Ok(Place::Directory("db".into())));
        assert!(parse("unix:").unwrap_err().contains("./unix: for a directory"));
        assert!(parse("tcp:localhost:1").unwrap_err().contains("this build does not have"));
        assert!(directory("unix:/tmp/x".into()).is_err());
        assert_eq!(directory("db".into()), Ok("db".into()));
    }
}
