//! A thread that waits for the disk, so that the owner of the engine need not.

use crate::{engine::Engine, owner::Message};
use rave_core::{Error, Result};
use std::{
    sync::mpsc::{self, Sender},
    thread::{self, JoinHandle},
};

/// Flushes the engine when told to.
pub(crate) struct Flusher {
    orders: Sender<()>,
    thread: JoinHandle<()>,
}

impl Flusher {
    /// Starts the thread; it sends [`Message::Flushed`] to `owner` after each flush.
    pub(crate) fn start(engine: Engine, owner: Sender<Message>) -> Result<Self> {
        let (orders, order) = mpsc::channel();
        let run = move || {
            while order.recv().is_ok() {
                if owner.send(Message::Flushed(engine.flush())).is_err() {
                    break;
                }
            }
        };
        let thread = thread::Builder::new().name("rave-sled-flush".to_owned()).spawn(run);
        let thread = thread.map_err(|error| Error::io("starting the thread that flushes", error))?;
        Ok(Self { orders, thread })
    }

    /// Flushes all that was applied before.
    pub(crate) fn flush(&self) {
        // It lives for as long as this does.
        let _ = self.orders.send(());
    }

    /// Ends the thread, and with it its hold on the engine.
    pub(crate) fn stop(self) {
        drop(self.orders);
        let _ = self.thread.join();
    }
}
