//! The wire protocol, without I/O: many-level's messages, the extensions of rave-level, and their framing.
//!
//! A frame is an unsigned LEB128 length, one tag byte, and a proto2 body; the length counts tag and body. Zero-length
//! frames are skipped. Tags from 32 up are extensions, which legacy peers ignore. `PROTOCOL.md` tells the rest.

mod body;
mod condition;
mod frame;
pub mod message;
mod request;
mod response;

pub use frame::{FrameDecoder, FrameError, Limits};
pub use request::Request;
pub use response::Response;

/// The version of the extensions this crate speaks.
pub const PROTOCOL_VERSION: u32 = 1;

/// Writes of a session that a guest may have sent and not have the answers to. It bounds what a leader has to remember of
/// them.
pub const MAX_UNSETTLED_WRITES: usize = 4096;
