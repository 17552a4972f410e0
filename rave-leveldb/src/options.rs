//! How a database is opened.

/// How blocks of a table are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// As they are.
    None,
    /// With Snappy, as C++ LevelDB does by default.
    #[default]
    Snappy,
}

/// How a database is opened. Existing files are read whatever the options were when they were written.
///
/// ```
/// use rave_leveldb::{Compression, Options};
/// let options = Options { compression: Compression::None, ..Options::default() };
/// assert!(options.create_if_missing);
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// Create the directory and an empty database in it if there is none. Default: true.
    pub create_if_missing: bool,
    /// Refuse to open a database that exists. Default: false.
    pub error_if_exists: bool,
    /// Refuse writes with `LEVEL_READONLY`. The store is locked and recovered as always. Default: false.
    pub read_only: bool,
    /// How new blocks are stored. Default: Snappy.
    pub compression: Compression,
    /// Bytes of writes that are gathered in memory and in the log before they go to a table. More makes writing faster
    /// and opening after a crash slower, and scans of keys that were just overwritten. Default: 2 MiB.
    pub write_buffer_size: usize,
    /// Bytes of a table's blocks before compression, about. Default: 4 KiB.
    pub block_size: usize,
    /// Bytes of blocks to keep in memory, about. Default: 8 MiB.
    pub cache_bytes: usize,
    /// Tables to keep open. Default: 1000.
    pub max_open_files: usize,
    /// Bytes of a table, about. The limits of the levels scale with it: level 1 holds five tables' worth, each deeper
    /// level ten times as much as the one before. Default: 2 MiB.
    pub max_file_size: usize,
    /// Bits per key of the filter that spares reads of tables without a key; 0 for none. Default: 10.
    pub bloom_bits: usize,
    /// For tests: where the files are, instead of in the directory.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    pub disk: Option<crate::testing::SimulatedDisk>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            create_if_missing: true,
            error_if_exists: false,
            read_only: false,
            compression: Compression::Snappy,
            write_buffer_size: 2 << 20,
            block_size: 4 << 10,
            cache_bytes: 8 << 20,
            max_open_files: 1000,
            max_file_size: 2 << 20,
            bloom_bits: 10,
            #[cfg(feature = "testing")]
            disk: None,
        }
    }
}
