//! The first bytes from the far end, which say that it has reached a database.
//!
//! Without them a guest could not tell a command that works from one that waits, or prints something else: a login
//! shell's start-up file, for instance.

use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

/// What the far end writes before it relays anything.
pub(crate) const GREETING: &[u8] = b"rave-stdio 1\n";

/// At most so much of something else is shown.
const SHOWN: usize = 200;

/// What came in place of the greeting, or the greeting.
#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    Greeting,
    /// The far end closed its output.
    End,
    /// Something else, for people.
    Other(String),
}

/// Reads the greeting and not a byte more: what follows belongs to the database.
pub(crate) async fn hear(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Heard> {
    let mut heard = Vec::new();
    for expected in GREETING {
        match reader.read_u8().await {
            Ok(byte) => heard.push(byte),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && heard.is_empty() => return Ok(Heard::End),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Heard::Other(shown(&heard))),
            Err(error) => return Err(error),
        }
        if heard.last() != Some(expected) {
            // What else is there already helps to find out who says it.
            let mut more = [0; SHOWN];
            let count = reader.read(&mut more).await?;
            heard.extend_from_slice(more.get(..count).unwrap_or_default());
            return Ok(Heard::Other(shown(&heard)));
        }
    }
    Ok(Heard::Greeting)
}

fn shown(bytes: &[u8]) -> String {
    bytes.get(..SHOWN).unwrap_or(bytes).escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_follows_the_greeting_is_left() {
        let bytes = [GREETING, b"data"].concat();
        let mut reader = bytes.as_slice();
        assert_eq!(hear(&mut reader).await.unwrap(), Heard::Greeting);
        assert_eq!(reader, b"data");
    }

    #[tokio::test]
    async fn everything_else_is_told() {
        for (said, heard) in [
            (&b""[..], Heard::End),
            (b"Welcome!\n", Heard::Other("Welcome!\\n".into())),
            (b"rave-stdio 2\n", Heard::Other("rave-stdio 2\\n".into())),
            (b"rave", Heard::Other("rave".into())),
        ] {
            assert_eq!(hear(&mut &*said).await.unwrap(), heard);
        }
    }
}
