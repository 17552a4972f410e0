//! Being told to end.

use crate::failure::Failure;

/// SIGINT or SIGTERM; on Windows Ctrl-C or Ctrl-Break.
pub struct Interrupt {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(windows)]
    interrupt: tokio::signal::windows::CtrlC,
    #[cfg(windows)]
    terminate: tokio::signal::windows::CtrlBreak,
}

impl Interrupt {
    /// Listens from now on.
    pub fn new() -> Result<Self, Failure> {
        let failed = |error| Failure::io("listening to signals", &error);
        #[cfg(unix)]
        let (interrupt, terminate) = {
            use tokio::signal::unix::{SignalKind, signal};
            (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        };
        #[cfg(windows)]
        let (interrupt, terminate) = (tokio::signal::windows::ctrl_c(), tokio::signal::windows::ctrl_break());
        Ok(Self { interrupt: interrupt.map_err(failed)?, terminate: terminate.map_err(failed)? })
    }

    /// Resolves when one has come.
    pub async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
