//! `serve`: keep the database open, and leave it in good order.

use crate::{
    cli::{Format, ServeArgs},
    database,
    failure::Failure,
    output::Output,
    roles::Roles,
};
use rave_level::AbstractLevel;

/// `serve DB`
pub async fn run(args: ServeArgs) -> Result<(), Failure> {
    // Before the database opens, so that there is no moment in which a signal leaves without order.
    let mut interrupt = Interrupt::new()?;
    let handle = tokio::select! {
        opened = database::open(&args.path, &args.opening) => opened?,
        () = interrupt.wait() => return Ok(()),
    };
    let mut roles = Roles::of(&handle);
    let mut output = Output::stdout();
    let outcome = loop {
        tokio::select! {
            biased;
            () = interrupt.wait() => break Ok(()),
            handed_over = output.hand_over(), if !output.is_empty() => {
                // That nobody reads the roles any more is no reason to stop serving.
                if handed_over.is_err() {
                    output.buffer().clear();
                }
            }
            taken = roles.next() => match taken {
                Some(taken) if output.is_full() => tracing::warn!("nobody reads that the role is now {taken}"),
                Some(taken) => {
                    let line = if args.format.chosen() == Format::Json { taken.json() } else { taken.to_string() };
                    output.buffer().extend_from_slice(line.as_bytes());
                    output.buffer().push(b'\n');
                }
                None => break Err(Failure::Check("the database was closed".to_owned())),
            },
        }
    };
    handle.close().await?;
    outcome
}

/// SIGINT or SIGTERM.
struct Interrupt {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Interrupt {
    #[cfg(unix)]
    fn new() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let failed = |error| Failure::io("listening to signals", &error);
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
        })
    }

    #[cfg(unix)]
    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    #[cfg(not(unix))]
    fn new() -> Result<Self, Failure> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    async fn wait(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
