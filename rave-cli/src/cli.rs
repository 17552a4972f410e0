//! What can be typed behind `rave`.

use crate::{
    failure::Failure,
    network,
    place::{self, StoreKind},
    policies::PolicyArgs,
};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use rave_level::{Builder, Location, RetryPolicy, encoding::TextEncoding, transport::Address};
use std::{ffi::OsString, path::PathBuf, time::Duration};

/// One ordered key-value database, open in any number of processes at once.
#[derive(Debug, Parser)]
#[command(name = "rave", version, max_term_width = 100, propagate_version = true)]
#[command(after_help = "Exit status: 0 fine, 1 not found or check failed, 2 usage, 3 database error.\n\
                        RAVE_LOG=debug (or -v, -vv) tells on stderr what goes on.")]
pub struct Cli {
    /// Tell on stderr what goes on; twice: in detail.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Store a value.
    Put(PutArgs),
    /// Print a value.
    Get(KeyArgs),
    /// Delete a key, whether it exists or not.
    Del(DelArgs),
    /// Print the entries of a range: key, tab, value; or one JSON object per line.
    Scan(ScanArgs),
    /// Apply operations from stdin as one atomic step: JSON lines such as {"type":"put","key":"a","value":"1"}.
    Batch(BatchArgs),
    /// Delete the entries of a range, or all.
    Clear(ClearArgs),
    /// Store entries from a file or stdin: JSON lines such as {"key":"a","value":"1"}.
    Load(LoadArgs),
    /// Print all entries as JSON lines that `load` reads.
    Dump(DumpArgs),
    /// Keep the database open and report role changes until interrupted.
    Serve(ServeArgs),
    /// Serve a database at an address until interrupted, without an election; for guests that connect there.
    Host(HostArgs),
    /// Draw a new token by which a guest proves to a host who it is: a line for the host's file of tokens.
    Token(TokenArgs),
    /// Tell who leads and how it fares.
    Status(StatusArgs),
    /// Rewrite a range, or all, so that nothing overwritten or deleted takes space there.
    Compact(CompactArgs),
    /// Tell how much is stored in which level of tables.
    Stats(StatsArgs),
    /// Read every byte of a database and check it; changes nothing.
    Verify(VerifyArgs),
    /// Make a damaged database usable again, with everything in it that can be read.
    Repair(RepairArgs),
    /// Serve a script: one JSON request per line on stdin, one JSON reply per line on stdout.
    Exec(ExecArgs),
    /// Kill the leader again and again, and check that nothing acknowledged is lost and a shared counter is exact.
    Demo(DemoArgs),
    /// One of the processes that `demo` starts.
    #[command(hide = true)]
    DemoWorker(DemoWorkerArgs),
}

/// Which database, and how to reach it.
#[derive(Args, Debug)]
pub struct DatabaseArgs {
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Work on the sublevel under this path of names.
    #[arg(long, value_name = "A/B")]
    pub sublevel: Option<String>,
    #[command(flatten)]
    pub opening: OpeningArgs,
}

/// Where a shared database is.
#[derive(Args, Debug)]
pub struct PlaceArgs {
    /// The directory of the database, created if need be; or leveldb:PATH, sled:PATH, memory:, or the address of a host,
    /// such as unix:PATH or tcp:HOST:PORT.
    #[arg(value_name = "DB")]
    at: OsString,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    network: network::DialingArgs,
}

impl PlaceArgs {
    /// What opens it.
    pub fn builder(&self) -> Result<Builder, Failure> {
        self.network.builder(&self.location()?)
    }

    /// Where that is.
    pub fn location(&self) -> Result<Location, Failure> {
        place::location(&self.at, self.store.kind)
    }
}

/// Which store a directory has.
#[derive(Args, Clone, Copy, Debug)]
pub struct StoreArgs {
    /// Which store DB is; the same as its name and a colon in front of DB.
    #[arg(id = "store", long = "store", value_enum, value_name = "KIND")]
    pub kind: Option<StoreKind>,
}

/// How long to wait, and what to do when a leader dies.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Connection")]
pub struct OpeningArgs {
    /// How long to wait for a leader or the lock.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub open_timeout: Duration,
    /// How long one operation may take in all; without it, as long as it needs.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub timeout: Option<Duration>,
    /// What becomes of operations in flight when the leader dies.
    #[arg(long, value_enum, default_value_t = Retry::Always)]
    pub retry: Retry,
    /// Refuse writes: of this process and, while it leads, of all others.
    #[arg(long)]
    pub read_only: bool,
}

/// What becomes of operations in flight when the leader dies.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Retry {
    /// The next leader finishes them.
    Always,
    /// The next leader finishes those that cannot be applied twice: all of them, unless a JavaScript process leads.
    Safe,
    /// They fail.
    Never,
}

impl From<Retry> for RetryPolicy {
    fn from(retry: Retry) -> Self {
        match retry {
            Retry::Always => Self::Always,
            Retry::Safe => Self::Safe,
            Retry::Never => Self::Never,
        }
    }
}

/// How keys are written as text.
#[derive(Args, Clone, Copy, Debug)]
pub struct KeyEncodingArgs {
    /// How keys are written: utf8, hex, base64 or json.
    #[arg(id = "key-encoding", long = "key-encoding", value_name = "NAME", default_value = "utf8", value_parser = encoding)]
    pub key: TextEncoding,
}

/// How values are written as text.
#[derive(Args, Clone, Copy, Debug)]
pub struct ValueEncodingArgs {
    /// How values are written: utf8, hex, base64 or json.
    #[arg(id = "value-encoding", long = "value-encoding", value_name = "NAME", default_value = "utf8", value_parser = encoding)]
    pub value: TextEncoding,
}

/// How durable a write must be.
#[derive(Args, Clone, Copy, Debug)]
pub struct SyncArgs {
    /// Return only when the write survives power loss too.
    #[arg(long)]
    pub sync: bool,
}

/// `put`.
#[derive(Args, Debug)]
pub struct PutArgs {
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// The key.
    #[arg(allow_hyphen_values = true)]
    pub key: String,
    /// The value.
    #[arg(allow_hyphen_values = true)]
    pub value: String,
    #[command(flatten)]
    pub sync: SyncArgs,
    #[command(flatten)]
    pub keys: KeyEncodingArgs,
    #[command(flatten)]
    pub values: ValueEncodingArgs,
}

/// `get`.
#[derive(Args, Debug)]
pub struct KeyArgs {
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// The key.
    #[arg(allow_hyphen_values = true)]
    pub key: String,
    #[command(flatten)]
    pub keys: KeyEncodingArgs,
    #[command(flatten)]
    pub values: ValueEncodingArgs,
}

/// `del`.
#[derive(Args, Debug)]
pub struct DelArgs {
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// The key.
    #[arg(allow_hyphen_values = true)]
    pub key: String,
    #[command(flatten)]
    pub sync: SyncArgs,
    #[command(flatten)]
    pub keys: KeyEncodingArgs,
}

/// Which keys.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Range")]
pub struct BoundsArgs {
    /// Keys that start with this.
    #[arg(long, value_name = "KEY", allow_hyphen_values = true, conflicts_with_all = ["gt", "gte", "lt", "lte"])]
    pub prefix: Option<String>,
    /// Keys greater than this.
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    pub gt: Option<String>,
    /// Keys greater than or equal to this; beats --gt.
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    pub gte: Option<String>,
    /// Keys less than this.
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    pub lt: Option<String>,
    /// Keys less than or equal to this; beats --lt.
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    pub lte: Option<String>,
}

/// Which entries.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Range")]
pub struct RangeArgs {
    #[command(flatten)]
    pub bounds: BoundsArgs,
    /// From the highest key to the lowest.
    #[arg(long)]
    pub reverse: bool,
    /// At most so many entries.
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
}

/// `scan`.
#[derive(Args, Debug)]
pub struct ScanArgs {
    #[command(flatten)]
    pub database: DatabaseArgs,
    #[command(flatten)]
    pub range: RangeArgs,
    /// Print keys only.
    #[arg(long = "keys", conflicts_with = "values_only")]
    pub keys_only: bool,
    /// Print values only.
    #[arg(long = "values")]
    pub values_only: bool,
    #[command(flatten)]
    pub format: FormatArgs,
    #[command(flatten)]
    pub keys: KeyEncodingArgs,
    #[command(flatten)]
    pub values: ValueEncodingArgs,
}

/// How to print.
#[derive(Args, Clone, Copy, Debug)]
pub struct FormatArgs {
    /// Text: for people; JSON: for programs.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// The same as --format json.
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

impl FormatArgs {
    /// The format asked for.
    pub fn chosen(self) -> Format {
        if self.json { Format::Json } else { self.format }
    }
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// `batch`.
#[derive(Args, Debug)]
pub struct BatchArgs {
    #[command(flatten)]
    pub database: DatabaseArgs,
    #[command(flatten)]
    pub sync: SyncArgs,
    #[command(flatten)]
    pub keys: KeyEncodingArgs,
    #[command(flatten)]
    pub values: ValueEncodingArgs,
}

/// `clear`.
#[derive(Args, Debug)]
pub struct ClearArgs {
    #[command(flatten)]
    pub database: DatabaseArgs,
    #[command(flatten)]
    pub range: RangeArgs,
    #[command(flatten)]
    pub sync: SyncArgs,
    #[command(flatten)]
    pub keys: KeyEncodingArgs,
}

/// `load`.
#[derive(Args, Debug)]
pub struct LoadArgs {
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// The file to read; without it, or with -, stdin.
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub sync: SyncArgs,
    #[command(flatten)]
    pub keys: KeyEncodingArgs,
    #[command(flatten)]
    pub values: ValueEncodingArgs,
}

/// `dump`.
#[derive(Args, Debug)]
pub struct DumpArgs {
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// Show rave-level's own records too, in hexadecimal. For people: their form may change, and `load` refuses them.
    #[arg(long, conflicts_with = "sublevel")]
    pub internal: bool,
    #[command(flatten)]
    pub keys: KeyEncodingArgs,
    #[command(flatten)]
    pub values: ValueEncodingArgs,
}

/// `serve`.
#[derive(Args, Debug)]
pub struct ServeArgs {
    #[command(flatten)]
    pub place: PlaceArgs,
    #[command(flatten)]
    pub opening: OpeningArgs,
    #[command(flatten)]
    pub format: FormatArgs,
}

/// `host`.
#[derive(Args, Debug)]
pub struct HostArgs {
    /// The directory of the database, created if need be unless --read-only; or leveldb:PATH, sled:PATH or memory:.
    #[arg(value_name = "DB")]
    at: Option<OsString>,
    /// Where to listen, such as unix:PATH or tcp:HOST:PORT.
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pub listen: Address,
    #[command(flatten)]
    pub network: network::ListeningArgs,
    #[command(flatten)]
    store: StoreArgs,
    /// Refuse writes, and change nothing in the directory.
    #[arg(long)]
    pub read_only: bool,
    #[command(flatten)]
    pub policies: PolicyArgs,
    #[command(flatten)]
    pub format: FormatArgs,
}

impl HostArgs {
    /// The store to host.
    pub fn location(&self) -> Result<Location, Failure> {
        match (&self.at, self.store.kind) {
            (None, Some(StoreKind::Memory)) => Ok(Location::Memory),
            (None, kind) => {
                let kind = kind.unwrap_or(StoreKind::Leveldb);
                Err(Failure::Usage(format!("the {kind} store needs a directory")))
            }
            (Some(at), kind) => place::location(at, kind),
        }
    }
}

/// `token`.
#[derive(Args, Debug)]
pub struct TokenArgs {
    /// The name of the guest, for the host.
    pub name: String,
    /// The guest may only read.
    #[arg(long)]
    pub read_only: bool,
}

/// `status`.
#[derive(Args, Debug)]
pub struct StatusArgs {
    #[command(flatten)]
    pub place: PlaceArgs,
    #[command(flatten)]
    pub opening: OpeningArgs,
    #[command(flatten)]
    pub format: FormatArgs,
}

/// A database that must be closed: no process may have it open.
#[derive(Args, Debug)]
pub struct ClosedArgs {
    /// The directory of the LevelDB database, which no process may have open.
    #[arg(value_name = "DB")]
    at: OsString,
    #[command(flatten)]
    store: StoreArgs,
}

impl ClosedArgs {
    /// The directory.
    pub fn path(&self) -> Result<PathBuf, Failure> {
        place::directory(&self.at, self.store.kind)
    }
}

/// `compact`.
#[derive(Args, Debug)]
pub struct CompactArgs {
    #[command(flatten)]
    pub database: ClosedArgs,
    #[command(flatten)]
    pub bounds: BoundsArgs,
    #[command(flatten)]
    pub keys: KeyEncodingArgs,
    #[command(flatten)]
    pub format: FormatArgs,
}

/// `stats`.
#[derive(Args, Debug)]
pub struct StatsArgs {
    #[command(flatten)]
    pub database: ClosedArgs,
    #[command(flatten)]
    pub format: FormatArgs,
}

/// `verify`.
#[derive(Args, Debug)]
pub struct VerifyArgs {
    #[command(flatten)]
    pub database: ClosedArgs,
    #[command(flatten)]
    pub format: FormatArgs,
}

/// `repair`.
#[derive(Args, Debug)]
pub struct RepairArgs {
    #[command(flatten)]
    pub database: ClosedArgs,
    #[command(flatten)]
    pub format: FormatArgs,
}

/// `exec`.
#[derive(Args, Debug)]
pub struct ExecArgs {
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// Keys and values are Base64 instead of text.
    #[arg(long)]
    pub binary: bool,
}

/// `demo`.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// The directory of the database, or sled:PATH; without it a temporary one.
    #[arg(value_name = "DB")]
    pub at: Option<OsString>,
    #[command(flatten)]
    pub store: StoreArgs,
    /// How many processes share the database.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(2..=64))]
    pub processes: u16,
    /// How often the leader is killed.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(..=100_000))]
    pub kills: u32,
    /// Over how long the kills are spread.
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    pub seconds: Duration,
}

/// `demo-worker`.
#[derive(Args, Debug)]
pub struct DemoWorkerArgs {
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Under which name this run of the demo keeps its keys.
    #[arg(long)]
    pub run: String,
    /// The number of this process.
    #[arg(long)]
    pub number: u64,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn address(text: &str) -> Result<Address, String> {
    text.parse().map_err(|error: rave_level::Error| error.message().to_owned())
}

fn encoding(name: &str) -> Result<TextEncoding, String> {
    rave_level::encoding::by_name(name).map_err(|error| error.message().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn values_may_start_with_a_hyphen_and_flags_still_count() {
        let cli = Cli::try_parse_from(["rave", "put", "db", "-k", "-5", "--sync"]).unwrap();
        let Command::Put(args) = cli.command else { panic!("not a put") };
        assert_eq!((args.key.as_str(), args.value.as_str(), args.sync.sync), ("-k", "-5", true));
    }

    #[test]
    fn durations() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert!(seconds("-1").is_err() && seconds("x").is_err() && seconds("1e300").is_err());
    }
}
