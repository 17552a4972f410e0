//! How a database is opened.

/// How a database is opened.
///
/// ```
/// use rave_sled::Options;
/// let options = Options { cache_bytes: 8 << 20, ..Options::default() };
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
    /// Bytes of pages to keep in memory, about. Default: 64 MiB.
    pub cache_bytes: u64,
    /// For tests: bytes of a segment, a power of two. A database keeps what it was made with.
    #[doc(hidden)]
    pub segment_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            create_if_missing: true,
            error_if_exists: false,
            read_only: false,
            cache_bytes: 64 << 20,
            // The engine's own.
            segment_bytes: 512 << 10,
        }
    }
}
