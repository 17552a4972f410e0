//! The wire protocol, without I/O: many-level's messages, the extensions of rave-level, and their framing.
//!
//! A frame is an unsigned LEB128 length, one tag byte, and a proto2 body; the length counts tag and body. Zero-length
//! frames are skipped. Tags from 32 up are extensions, which legacy peers ignore. `PROTOCOL.md` tells the rest.

mod body;
mod frame;
pub mod message;
mod request;
mod response;

pub use frame::{FrameDecoder, FrameError, Limits};
pub use request::Request;
pub use response::Response;

/// The version of the extensions this crate speaks.
pub const PROTOCOL_VERSION: u32 = 1;
