//! Ending a connection so that the guest learns why.

use crate::machine::rejection;
use bytes::BytesMut;
use rave_core::Error;
use rave_transport::{
    Connection,
    wire::{FrameDecoder, Limits, Request},
};
use std::{io, time::Duration};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// How long a guest that is turned away may take to greet, and any to hang up.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes that a greeting has at most.
const GREETING: usize = 4 << 10;
/// Bytes that are thrown away after the last word.
const THROWN_AWAY: usize = 16 << 20;

/// Answers the greeting of a guest with `error`, and nothing else. One that does not greet learns nothing.
pub(crate) async fn turn_away(connection: Connection, error: Error) {
    let Connection { mut reader, mut writer, .. } = connection;
    let turning_away = async {
        let (mut input, mut decoder) = (BytesMut::new(), FrameDecoder::new(Limits { max_frame: GREETING }));
        let version = loop {
            match decoder.decode(&mut input).map(|frame| frame.map(Request::decode)) {
                Ok(Some(Ok(Request::Hello(hello)))) => break hello.version,
                Ok(None) => {}
                Ok(Some(_)) | Err(_) => return Ok(()),
            }
            if reader.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
        };
        let mut output = BytesMut::new();
        rejection(std::process::id(), version, &error, &mut output);
        writer.write_all_buf(&mut output).await?;
        part(&mut reader, &mut writer).await;
        io::Result::Ok(())
    };
    // That it has gone, or says nothing, is its own affair.
    let _ = tokio::time::timeout(PATIENCE, turning_away).await;
}

/// Says nothing more and waits for a moment until the guest hangs up. Were the connection to end while something lies here
/// unread, the system could throw away what was said last.
pub(crate) async fn part(reader: &mut (impl AsyncRead + Unpin), writer: &mut (impl AsyncWrite + Unpin)) {
    let parting = async {
        writer.shutdown().await?;
        let (mut rest, mut thrown_away) = (vec![0; 16 << 10], 0);
        while thrown_away < THROWN_AWAY {
            match reader.read(&mut rest).await? {
                0 => break,
                count => thrown_away += count,
            }
        }
        io::Result::Ok(())
    };
    let _ = tokio::time::timeout(PATIENCE, parting).await;
}
