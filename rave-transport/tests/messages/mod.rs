//! Random messages of every kind.

use bytes::{Bytes, BytesMut};
use fastrand::Rng;
use rave_transport::wire::{Request, Response, message::*};

/// How many kinds of requests and of responses there are.
pub const REQUESTS: usize = 15;
pub const RESPONSES: usize = 8;

pub struct Messages {
    pub rng: Rng,
    /// Whether every optional field is there.
    pub whole: bool,
}

impl Messages {
    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.whole || self.rng.bool()).then(|| make(self))
    }

    fn bytes(&mut self) -> Bytes {
        let length = self.rng.usize(0..20);
        (0..length).map(|_| self.rng.u8(..)).collect()
    }

    fn text(&mut self) -> String {
        (0..self.rng.usize(0..9)).map(|_| self.rng.char(..)).collect()
    }

    fn id(&mut self) -> u32 {
        self.rng.u32(..) >> self.rng.u32(0..32)
    }

    fn many<T>(&mut self, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = self.rng.usize(usize::from(self.whole)..4);
        (0..count).map(|_| make(self)).collect()
    }

    fn operation(&mut self) -> BatchOperation {
        let put = self.whole || self.rng.bool();
        let kind = if put { "put" } else { "del" }.to_owned();
        BatchOperation { kind, key: Some(self.bytes()), value: put.then(|| self.bytes()) }
    }

    fn options(&mut self, iterates: bool) -> RangeOptions {
        RangeOptions {
            keys: iterates.then(|| self.rng.bool()),
            values: iterates.then(|| self.rng.bool()),
            gt: self.maybe(Self::bytes),
            gte: self.maybe(Self::bytes),
            lt: self.maybe(Self::bytes),
            lte: self.maybe(Self::bytes),
            limit: Some(if self.whole { -5 } else { self.rng.i64(..) }),
            reverse: Some(self.rng.bool()),
            long_limit: self.maybe(|own| own.rng.u64(..)),
            internal: iterates.then(|| self.maybe(|own| own.rng.bool())).flatten(),
            snapshot: self.number(),
        }
    }

    fn condition(&mut self) -> BatchCondition {
        BatchCondition {
            key: Some(self.bytes()),
            equals: self.maybe(Self::bytes),
            bounds: self.many(Self::bytes),
            strip: self.number(),
            digest: self.maybe(Self::bytes),
        }
    }

    fn number(&mut self) -> Option<u64> {
        self.maybe(|own| own.rng.u64(..))
    }

    fn session(&mut self) -> SessionState {
        let refusal = |own: &mut Self| Refusal {
            number: own.rng.u64(..),
            error: own.maybe(Self::text),
            effect: own.maybe(Self::id),
            failed: own.many(Self::id),
        };
        SessionState {
            applied: self.number(),
            refused: self.many(refusal),
            forgotten: self.number(),
            volatile: self.maybe(|own| own.rng.bool()),
            begun: self.number(),
        }
    }

    pub fn request(&mut self, kind: usize) -> Request {
        let id = self.id();
        match kind {
            0 => Request::Get(Get { id, key: Some(self.bytes()), snapshot: self.number() }),
            1 => Request::Put(Put {
                id,
                key: Some(self.bytes()),
                value: Some(self.bytes()),
                sync: self.maybe(|own| own.rng.bool()),
                number: self.number(),
                settled: self.number(),
            }),
            2 => Request::Del(Del {
                id,
                key: Some(self.bytes()),
                sync: self.maybe(|own| own.rng.bool()),
                number: self.number(),
                settled: self.number(),
            }),
            3 => Request::Batch(Batch {
                id,
                ops: self.many(Self::operation),
                sync: self.maybe(|own| own.rng.bool()),
                number: self.number(),
                settled: self.number(),
                conditions: self.many(Self::condition),
            }),
            4 => Request::Iterator(Iterator {
                id,
                seq: self.id(),
                options: Some(self.options(true)),
                consumed: Some(self.rng.u64(..)),
                bookmark: self.maybe(Self::bytes),
                seek: self.maybe(Self::bytes),
            }),
            5 => Request::Clear(Clear {
                id,
                options: Some(self.options(false)),
                sync: self.maybe(|own| own.rng.bool()),
                number: self.number(),
                settled: self.number(),
                ops: self.many(Self::operation),
            }),
            6 => Request::GetMany(GetMany {
                id,
                keys: self.many(Self::bytes),
                snapshot: self.number(),
                existence: self.maybe(|own| own.rng.bool()),
            }),
            7 => Request::IteratorClose(IteratorClose { id }),
            8 => Request::IteratorAck(IteratorAck { id, seq: self.id(), consumed: self.rng.u64(..) }),
            9 => Request::IteratorSeek(IteratorSeek {
                id,
                seq: self.id(),
                target: Some(self.bytes()),
                consumed: self.maybe(|own| own.rng.u64(..)),
            }),
            10 => Request::Hello(Hello {
                version: id,
                pid: self.maybe(Self::id),
                max_frame: self.number(),
                session: self.maybe(Self::bytes),
                attempt: self.number(),
                next: self.number(),
                settled: self.number(),
                durable: self.maybe(|own| own.rng.bool()),
            }),
            11 => Request::Status(StatusRequest { id }),
            12 => Request::Goodbye(Goodbye {}),
            13 => Request::SnapshotOpen(SnapshotOpen { id, snapshot: self.rng.u64(..) }),
            _ => Request::SnapshotClose(SnapshotClose { snapshot: self.rng.u64(..) }),
        }
    }

    pub fn response(&mut self, kind: usize) -> Response {
        let id = self.id();
        match kind {
            0 => Response::Callback(Callback {
                id,
                error: self.maybe(Self::text),
                value: self.maybe(Self::bytes),
                message: self.maybe(Self::text),
                effect: self.maybe(Self::id),
                failed: self.many(Self::id),
            }),
            1 => Response::IteratorData(IteratorData { id, seq: self.id(), data: self.many(Self::bytes) }),
            2 => Response::GetManyCallback(GetManyCallback {
                id,
                error: self.maybe(Self::text),
                values: self.many(|own| MaybeValue { value: own.maybe(Self::bytes) }),
                message: self.maybe(Self::text),
                existing: self.many(|own| own.rng.bool()),
            }),
            3 => Response::IteratorError(IteratorError {
                id,
                seq: self.id(),
                error: Some(self.text()),
                message: self.maybe(Self::text),
            }),
            4 => Response::IteratorEnd(IteratorEnd { id, seq: self.id() }),
            5 => Response::Welcome(Welcome {
                version: id,
                pid: self.maybe(Self::id),
                store: self.maybe(Self::text),
                capabilities: self.number(),
                max_frame: self.number(),
                session: self.maybe(Self::session),
                error: self.maybe(Self::text),
                message: self.maybe(Self::text),
            }),
            6 => Response::Leaving(Leaving {}),
            _ => Response::Status(StatusReply {
                id,
                pid: self.maybe(Self::id),
                guests: self.maybe(|own| own.rng.u64(..)),
                operations: self.maybe(|own| own.rng.u64(..)),
                leading_ms: self.maybe(|own| own.rng.u64(..)),
                store: self.maybe(Self::text),
            }),
        }
    }
}

pub fn encoded(encode: impl FnOnce(&mut BytesMut)) -> BytesMut {
    let mut out = BytesMut::new();
    encode(&mut out);
    out
}
