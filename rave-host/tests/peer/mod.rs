//! A guest made by hand, for tests of a host.

use bytes::BytesMut;
use rave_transport::{
    Connect, Connection, MemoryTransport, Transport,
    wire::{FrameDecoder, Limits, Request, Response},
};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A guest made by hand.
pub struct Peer {
    pub connection: Connection,
    pub input: BytesMut,
}

impl Peer {
    pub async fn connect(transport: &MemoryTransport) -> Self {
        match transport.connect().await.unwrap() {
            Connect::Connected(connection) => Self { connection, input: BytesMut::new() },
            Connect::NobodyHome => panic!("nobody is home"),
        }
    }

    pub async fn say(&mut self, requests: &[Request]) {
        let mut out = BytesMut::new();
        requests.iter().for_each(|request| request.encode(&mut out));
        self.connection.writer.write_all(&out).await.unwrap();
    }

    pub async fn next(&mut self) -> Option<Response> {
        soon(async {
            loop {
                if let Some(frame) = FrameDecoder::new(Limits::default()).decode(&mut self.input).unwrap() {
                    return Some(Response::decode(frame).unwrap());
                }
                if self.connection.reader.read_buf(&mut self.input).await.unwrap_or(0) == 0 {
                    return None;
                }
            }
        })
        .await
    }
}

pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("it must not hang")
}
