//! Programs that serve one store to guests: this project's `rave host`, and many-level's own host with its arguments.

use super::build_rave;
use anyhow::Result;
use std::path::{Path, PathBuf};

pub struct Hosts {
    rave: PathBuf,
    many_level: PathBuf,
}

impl Hosts {
    /// Builds ours; theirs is in the folder `javascript`.
    pub fn build(javascript: &Path) -> Result<Self> {
        Ok(Self { rave: build_rave()?, many_level: javascript.join("many-level-host.mjs") })
    }

    /// The program with its first arguments; the store and the socket follow.
    pub fn rave(&self) -> Vec<String> {
        vec![self.rave.to_string_lossy().into_owned(), "host".to_owned()]
    }

    pub fn many_level(&self, version: u8) -> Vec<String> {
        vec!["node".to_owned(), self.many_level.to_string_lossy().into_owned(), version.to_string()]
    }
}
