//! `host`: serve one store at an address.

use crate::{
    cli::{Format, HostArgs},
    failure::Failure,
    interrupt::Interrupt,
    output::Output,
};
use rave_level::{
    Location, Opener, leveldb,
    remote::{HostOptions, Server},
    sled,
    transport::Address,
};
use serde_json::json;
use std::sync::Arc;

/// `host DB --listen ADDRESS`
pub async fn run(args: HostArgs) -> Result<(), Failure> {
    let mut interrupt = Interrupt::new()?;
    let opener: Arc<dyn Opener> = match args.location()? {
        Location::LevelDb(path) if args.read_only => {
            let options = leveldb::Options { read_only: true, create_if_missing: false, ..Default::default() };
            Arc::new(leveldb::LevelDb::with_options(path, options))
        }
        Location::Sled(path) if args.read_only => {
            let options = sled::Options { read_only: true, create_if_missing: false, ..Default::default() };
            Arc::new(sled::SledDb::with_options(path, options))
        }
        location => location.opener()?,
    };
    let transport = args.network.transport(&args.listen)?;
    let options = HostOptions { read_only: args.read_only, ..HostOptions::default() };
    let server = tokio::select! {
        started = Server::start(&*opener, &*transport, options) => started?,
        () = interrupt.wait() => return Ok(()),
    };
    let mut output = Output::stdout();
    let address = match &args.listen {
        // With the port that port 0 has become.
        Address::Tcp(_) => transport.address(),
        address => address.to_string(),
    };
    let line = match args.format.chosen() {
        Format::Json => json!({"event": "listening", "address": address}).to_string(),
        Format::Text => format!("listening at {address}"),
    };
    output.buffer().extend_from_slice(line.as_bytes());
    output.buffer().push(b'\n');
    let outcome = loop {
        tokio::select! {
            biased;
            () = interrupt.wait() => break Ok(()),
            error = server.failure() => break Err(Failure::from(error)),
            // That nobody reads it is no reason not to serve.
            () = output.offer(), if !output.is_empty() => {}
        }
    };
    let shut_down = server.shutdown().await;
    outcome?;
    Ok(shut_down?)
}
