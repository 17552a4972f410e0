//! What passes between guest and host before the protocol begins: who is there, and whether they may come in.
//!
//! ```text
//! guest                          host
//!   │ "rave" version ───────────▶ │
//!   │ ◀─────────── "rave" version │
//!   │ length token ─────────────▶ │   length: two bytes, big-endian; 0 without a token
//!   │ ◀─────────────────── answer │   one byte
//! ```
//!
//! Inside TLS a guest sends its token along with the greeting. Without TLS it waits for the host's greeting and looks first
//! whose process that is.

use super::token::MAX_LENGTH;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// How each side begins.
const MAGIC: [u8; 4] = *b"rave";
/// The version of what is described here.
const VERSION: u8 = 1;
/// How a record of TLS begins: a greeting, and a warning.
const TLS: [u8; 2] = [0x16, 0x15];

/// What the other side began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Greeted {
    /// The greeting, in our version.
    Well,
    /// The greeting, in this other version.
    Version(u8),
    /// TLS.
    Tls,
    /// Something else.
    Otherwise,
}

/// The host's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Answer {
    /// Come in.
    Welcome = 0,
    /// Come in, and do not write.
    WelcomeToRead = 1,
    /// A token is needed, and there was none.
    TokenNeeded = 16,
    /// The token is none of the host's.
    TokenUnknown = 17,
    /// The guest is a process of another user and has no token.
    OtherUser = 18,
    /// The greeting was none, or of a version that the host does not speak.
    NotUnderstood = 19,
    /// There are too many guests; later perhaps.
    Full = 32,
}

impl Answer {
    fn of(byte: u8) -> Option<Self> {
        use Answer::{Full, NotUnderstood, OtherUser, TokenNeeded, TokenUnknown, Welcome, WelcomeToRead};
        let all = [Welcome, WelcomeToRead, TokenNeeded, TokenUnknown, OtherUser, NotUnderstood, Full];
        all.into_iter().find(|answer| *answer as u8 == byte)
    }
}

/// Begins.
pub(super) async fn greet(stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    let mut greeting = [VERSION; MAGIC.len() + 1];
    greeting[..MAGIC.len()].copy_from_slice(&MAGIC);
    stream.write_all(&greeting).await?;
    stream.flush().await
}

/// What the other side begins with.
pub(super) async fn greeted(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Greeted> {
    // One by one: who speaks another protocol may say less and wait.
    for (at, expected) in MAGIC.into_iter().enumerate() {
        let byte = stream.read_u8().await?;
        if byte != expected {
            return Ok(if at == 0 && TLS.contains(&byte) { Greeted::Tls } else { Greeted::Otherwise });
        }
    }
    match stream.read_u8().await? {
        VERSION => Ok(Greeted::Well),
        version => Ok(Greeted::Version(version)),
    }
}

/// Proves who the guest is, if it has a token.
pub(super) async fn send_token(stream: &mut (impl AsyncWrite + Unpin), token: Option<&str>) -> io::Result<()> {
    let token = token.unwrap_or_default().as_bytes();
    let length = u16::try_from(token.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    stream.write_all(&[&length.to_be_bytes(), token].concat()).await?;
    stream.flush().await
}

/// The guest's token, empty if it has none; `None` if it is too long to be one.
pub(super) async fn receive_token(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let length = usize::from(stream.read_u16().await?);
    if length > MAX_LENGTH {
        return Ok(None);
    }
    let mut token = vec![0; length];
    stream.read_exact(&mut token).await?;
    Ok(Some(token))
}

/// Tells the guest.
pub(super) async fn answer(stream: &mut (impl AsyncWrite + Unpin), answer: Answer) -> io::Result<()> {
    stream.write_all(&[answer as u8]).await?;
    stream.flush().await
}

/// What the host says; `Err` with what it said that is no answer.
pub(super) async fn answered(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Result<Answer, u8>> {
    let byte = stream.read_u8().await?;
    Ok(Answer::of(byte).ok_or(byte))
}
