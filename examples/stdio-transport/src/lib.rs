//! A transport of one's own for rave-level, over stdin and stdout of a command: the code of `docs/custom-transport.md`.
//!
//! | to … | look at |
//! | --- | --- |
//! | reach a database through a command, such as `ssh` | [`StdioTransport`] |
//! | be that command at the far end | [`far_end`], [`relay`], the program `rave-stdio` |
//! | see what a transport has to do that listens | [`Loopback`] |

mod child;
mod far_end;
mod greeting;
mod loopback;
mod relay;
mod transport;

pub use far_end::far_end;
pub use loopback::Loopback;
pub use relay::{PASSING, relay};
pub use transport::StdioTransport;
