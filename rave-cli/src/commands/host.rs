//! `host`: serve one store at an address.

use crate::{
    cli::{Format, HostArgs},
    failure::Failure,
    guests::line_of,
    interrupt::Interrupt,
    output::Output,
};
use futures::{FutureExt, StreamExt};
use rave_level::{Event, Location, Opener, leveldb, remote::Server, sled, transport::Address};
use serde_json::json;
use std::{sync::Arc, time::Duration};

/// How long the last events may take to be written.
const LAST_WORDS: Duration = Duration::from_secs(1);

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
    let options = args.policies.options(args.read_only);
    let mut events = options.events.subscribe();
    let server = tokio::select! {
        started = Server::start(&*opener, &*transport, options) => started?,
        () = interrupt.wait() => return Ok(()),
    };
    let mut output = Output::stdout();
    let format = args.format.chosen();
    let address = match &args.listen {
        // With the port that port 0 has become.
        Address::Tcp(_) => transport.address(),
        address => address.to_string(),
    };
    let listening = match format {
        Format::Json => json!({"event": "listening", "address": address}).to_string(),
        Format::Text => format!("listening at {address}"),
    };
    say(&mut output, &listening);
    let outcome = loop {
        tokio::select! {
            biased;
            () = interrupt.wait() => break Ok(()),
            error = server.failure() => break Err(Failure::from(error)),
            // That nobody reads it is no reason not to serve.
            () = output.offer(), if !output.is_empty() => {}
            Some(event) = events.next(), if args.policies.events => tell(&mut output, &event, format),
        }
    };
    let shut_down = server.shutdown().await;
    if args.policies.events {
        // What is there: nothing more comes.
        while let Some(Some(event)) = tokio::task::unconstrained(events.next()).now_or_never() {
            tell(&mut output, &event, format);
        }
        let _ = tokio::time::timeout(LAST_WORDS, output.finish()).await;
    }
    outcome?;
    Ok(shut_down?)
}

fn say(output: &mut Output, line: &str) {
    output.buffer().extend_from_slice(line.as_bytes());
    output.buffer().push(b'\n');
}

fn tell(output: &mut Output, event: &Event, format: Format) {
    let Some(line) = line_of(event, format) else { return };
    if output.is_full() {
        tracing::warn!("nobody reads what is told: {line}");
    } else {
        say(output, &line);
    }
}
