//! The deterministic simulator: many virtual processes of the real code, on a simulated kernel, network, disk and clock.
//!
//! Each virtual process is a tokio runtime of its own, with the facade's real builder, election, guest and host in it.
//! One OS thread gives each of them its turns in an order that the seed decides, so a seed is a whole history of failures,
//! and the same one each time.
//!
//! | what you look for | where |
//! | --- | --- |
//! | what a seed is to be: sizes, delays, kinds of fault | `plan` |
//! | clock, lock, life and death | `kernel` |
//! | sockets | `network` |
//! | the disk with its log; the store on it | `disk`, `store` |
//! | a virtual process, and what its clients do | `process`, `client` |
//! | who runs next, and when misfortune strikes | `world` |
//! | what users did and were told; judging it | `history`, `oracle`, `client/walk` for iterators |
//! | the trace and its hash | `trace` |

mod client;
mod disk;
mod history;
mod kernel;
mod network;
mod oracle;
mod plan;
mod process;
mod store;
mod trace;
mod world;

pub use world::{Report, catch_panics, run};
