//! What guests may have of a host.

use clap::{Args, value_parser};
use rave_level::{
    remote::{HostOptions, Rate, SublevelPath},
    transport::wire::Limits,
};
use std::num::{NonZeroU32, NonZeroU64};

/// What guests may have of a host.
#[derive(Args, Debug)]
#[command(next_help_heading = "Policies")]
pub struct PolicyArgs {
    /// Show guests the sublevel under this path of names as if it were the whole database.
    #[arg(long, value_name = "A/B", value_parser = path)]
    pub sublevel: Option<SublevelPath>,
    /// Serve at most so many connections at once, and turn away more.
    #[arg(long, value_name = "N", default_value = "4096")]
    pub max_connections: usize,
    /// Take requests of at most so many bytes, and send no larger answers; without it 256 MiB.
    #[arg(long, value_name = "BYTES", value_parser = value_parser!(u32).range(1024..))]
    pub max_request: Option<u32>,
    /// Slow a peer down that makes more requests per second.
    #[arg(long, value_name = "REQUESTS/S")]
    pub rate: Option<NonZeroU32>,
    /// Slow a peer down whose requests and answers have more bytes per second.
    #[arg(long, value_name = "BYTES/S")]
    pub rate_bytes: Option<NonZeroU64>,
    /// Report which guests come and go.
    #[arg(long)]
    pub events: bool,
}

impl PolicyArgs {
    /// The options of a host that keeps to them.
    pub fn options(&self, read_only: bool) -> HostOptions {
        let defaults = HostOptions::default();
        HostOptions {
            read_only,
            sublevel: self.sublevel.clone(),
            max_connections: self.max_connections,
            limits: Limits { max_frame: self.max_request.map_or(defaults.limits.max_frame, |bytes| bytes as usize) },
            rate: Rate { requests: self.rate, bytes: self.rate_bytes, ..defaults.rate },
            ..defaults
        }
    }
}

fn path(path: &str) -> Result<SublevelPath, String> {
    path.parse().map_err(|error: rave_level::Error| error.message().to_owned())
}
