//! A leader made by hand, frame by frame, and a guest that follows it.
#![allow(dead_code, reason = "each test file uses a part")]

use bytes::BytesMut;
use rave_core::{AbstractLevel, EventHub, Status};
use rave_guest::{Guest, GuestOptions};
use rave_transport::{
    Connect, Connection, Listener, MemoryTransport, Transport,
    wire::{
        FrameDecoder, Limits, Request, Response,
        message::{Callback, GetManyCallback, Welcome},
    },
};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// One connection of a leader made by hand.
pub struct Leader {
    pub connection: Connection,
    input: BytesMut,
}

impl Leader {
    pub async fn accept(listener: &mut Box<dyn Listener>) -> Self {
        Self { connection: listener.accept().await.unwrap(), input: BytesMut::new() }
    }

    /// Accepts and greets.
    pub async fn greet(listener: &mut Box<dyn Listener>) -> Self {
        let mut leader = Self::accept(listener).await;
        assert!(matches!(leader.next().await, Some(Request::Hello(_))));
        let Some(Request::GetMany(probe)) = leader.next().await else { panic!("no probe") };
        leader.say(&Response::Welcome(Welcome { version: 1, ..Default::default() })).await;
        leader.say(&Response::GetManyCallback(GetManyCallback { id: probe.id, ..Default::default() })).await;
        leader
    }

    pub async fn next(&mut self) -> Option<Request> {
        loop {
            if let Some(frame) = FrameDecoder::new(Limits::default()).decode(&mut self.input).unwrap() {
                return Some(Request::decode(frame).unwrap());
            }
            if self.connection.reader.read_buf(&mut self.input).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    pub async fn say(&mut self, response: &Response) {
        let mut out = BytesMut::new();
        response.encode(&mut out);
        self.write(&out).await;
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        self.connection.writer.write_all(bytes).await.unwrap();
    }

    pub async fn done(&mut self, id: u32) {
        self.say(&Response::Callback(Callback { id, ..Default::default() })).await;
    }
}

/// A guest that dials again whenever its connection is lost, until it is closed.
pub fn follower(transport: &MemoryTransport, options: GuestOptions) -> Guest {
    let guest = Guest::new(options, EventHub::new());
    let (driven, transport) = (guest.clone(), transport.clone());
    tokio::spawn(async move {
        while driven.status() != Status::Closed {
            match transport.connect().await.unwrap() {
                Connect::Connected(connection) => drop(driven.run(connection, |_| {}).await),
                Connect::NobodyHome => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    });
    guest
}

pub async fn meet(options: GuestOptions) -> (Guest, Leader, Box<dyn Listener>, MemoryTransport) {
    let transport = MemoryTransport::new();
    let mut listener = transport.listen().await.unwrap();
    let guest = follower(&transport, options);
    let leader = Leader::greet(&mut listener).await;
    while guest.leader().is_none() {
        tokio::task::yield_now().await;
    }
    (guest, leader, listener, transport)
}

pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("it must not hang")
}
