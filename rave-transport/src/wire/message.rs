//! The protocol's messages, field by field as on the wire. Fields from 32 up are extensions.
//!
//! `Option` marks fields that legacy peers may leave out or that tell absence from emptiness. Required keys are `Option`
//! here because proto2 decoding does not check them; [`Request`](super::Request) and [`Response`](super::Response) do.

use bytes::Bytes;

macro_rules! messages {
    ($($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* ($($p:tt)*) $field:ident: $ty:ty,)* })*) => {
        $($(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
        pub struct $name { $($(#[$fdoc])* #[prost($($p)*)] pub $field: $ty,)* })*
    };
}

messages! {
    /// Asks for one value; answered by a [`Callback`].
    Get {
        /// The request's id.
        (uint32, required, tag = "1") id: u32,
        /// The key.
        (bytes = "bytes", optional, tag = "2") key: Option<Bytes>,
        /// Extension: read what this snapshot of the guest's holds.
        (uint64, optional, tag = "32") snapshot: Option<u64>,
    }
    /// Stores one value; answered by a [`Callback`].
    Put {
        /// The request's id.
        (uint32, required, tag = "1") id: u32,
        /// The key.
        (bytes = "bytes", optional, tag = "2") key: Option<Bytes>,
        /// The value.
        (bytes = "bytes", optional, tag = "3") value: Option<Bytes>,
        /// Extension: acknowledge only what survives power loss.
        (bool, optional, tag = "32") sync: Option<bool>,
        /// Extension: its number in the guest's session; numbers grow.
        (uint64, optional, tag = "33") number: Option<u64>,
        /// Extension: the guest has the answers to all writes of its session below this number.
        (uint64, optional, tag = "34") settled: Option<u64>,
    }
    /// Deletes one key; answered by a [`Callback`].
    Del {
        /// The request's id.
        (uint32, required, tag = "1") id: u32,
        /// The key.
        (bytes = "bytes", optional, tag = "2") key: Option<Bytes>,
        /// Extension: acknowledge only what survives power loss.
        (bool, optional, tag = "32") sync: Option<bool>,
        /// Extension: its number in the guest's session; numbers grow.
        (uint64, optional, tag = "33") number: Option<u64>,
        /// Extension: the guest has the answers to all writes of its session below this number.
        (uint64, optional, tag = "34") settled: Option<u64>,
    }
    /// Applies operations atomically; answered by a [`Callback`].
    Batch {
        /// The request's id.
        (uint32, required, tag = "1") id: u32,
        /// The operations.
        (message, repeated, tag = "2") ops: Vec<BatchOperation>,
        /// Extension: acknowledge only what survives power loss.
        (bool, optional, tag = "32") sync: Option<bool>,
        /// Extension: its number in the guest's session; numbers grow.
        (uint64, optional, tag = "33") number: Option<u64>,
        /// Extension: the guest has the answers to all writes of its session below this number.
        (uint64, optional, tag = "34") settled: Option<u64>,
        /// Extension: what must hold for the operations to be applied.
        (message, repeated, tag = "35") conditions: Vec<BatchCondition>,
    }
    /// One condition of a [`Batch`]. With a digest: the entries of some ranges have it. Else with a value: the key has it.
    /// Else: the key does not exist.
    BatchCondition {
        /// The key.
        (bytes = "bytes", optional, tag = "1") key: Option<Bytes>,
        /// The value that the key must have.
        (bytes = "bytes", optional, tag = "2") equals: Option<Bytes>,
        /// The lower and the upper bound of each range: a byte (0 for none, 1 inclusive, 2 exclusive) and the key.
        (bytes = "bytes", repeated, tag = "3") bounds: Vec<Bytes>,
        /// Bytes at the beginning of each key that are not part of the digest.
        (uint64, optional, tag = "4") strip: Option<u64>,
        /// SHA-256 over the entries of the ranges: each key and each value behind its length in eight bytes, lowest first.
        (bytes = "bytes", optional, tag = "5") digest: Option<Bytes>,
    }
    /// One operation of a [`Batch`].
    BatchOperation {
        /// `put` or `del`.
        (string, required, tag = "1") kind: String,
        /// The key.
        (bytes = "bytes", optional, tag = "2") key: Option<Bytes>,
        /// The value of a put.
        (bytes = "bytes", optional, tag = "3") value: Option<Bytes>,
    }
    /// The range of a [`Clear`] or an [`Iterator`]. `limit` is zigzag, -1 for none; legacy peers take an absent one for
    /// 0, so all four of `keys`, `values`, `limit`, `reverse` are always sent.
    RangeOptions {
        /// Whether to deliver keys (iterators only).
        (bool, optional, tag = "1") keys: Option<bool>,
        /// Whether to deliver values (iterators only).
        (bool, optional, tag = "2") values: Option<bool>,
        /// Only keys greater than this.
        (bytes = "bytes", optional, tag = "3") gt: Option<Bytes>,
        /// Only keys greater than or equal to this.
        (bytes = "bytes", optional, tag = "4") gte: Option<Bytes>,
        /// Only keys less than this.
        (bytes = "bytes", optional, tag = "5") lt: Option<Bytes>,
        /// Only keys less than or equal to this.
        (bytes = "bytes", optional, tag = "6") lte: Option<Bytes>,
        /// How many entries at most; -1 for all.
        (sint64, optional, tag = "7") limit: Option<i64>,
        /// From the highest key down.
        (bool, optional, tag = "8") reverse: Option<bool>,
        /// Extension: how many entries at most, where 32 bits do not hold it.
        (uint64, optional, tag = "32") long_limit: Option<u64>,
        /// Extension: whether to deliver what rave-level keeps for itself (iterators only).
        (bool, optional, tag = "33") internal: Option<bool>,
        /// Extension: what this snapshot of the guest's holds.
        (uint64, optional, tag = "34") snapshot: Option<u64>,
    }
    /// Deletes a range; answered by a [`Callback`].
    Clear {
        /// The request's id.
        (uint32, required, tag = "1") id: u32,
        /// The range.
        (message, optional, tag = "2") options: Option<RangeOptions>,
        /// Extension: acknowledge only what survives power loss.
        (bool, optional, tag = "32") sync: Option<bool>,
        /// Extension: its number in the guest's session; numbers grow.
        (uint64, optional, tag = "33") number: Option<u64>,
        /// Extension: the guest has the answers to all writes of its session below this number.
        (uint64, optional, tag = "34") settled: Option<u64>,
        /// Extension: operations applied with the deletions, behind them.
        (message, repeated, tag = "35") ops: Vec<BatchOperation>,
    }
    /// Opens an iterator; answered by [`IteratorData`] until [`IteratorEnd`] or [`IteratorError`].
    Iterator {
        /// The iterator's id, of a number space of its own.
        (uint32, required, tag = "1") id: u32,
        /// Grows with each seek; answers to older ones are dropped.
        (uint32, required, tag = "2") seq: u32,
        /// The range.
        (message, optional, tag = "3") options: Option<RangeOptions>,
        /// Entries already delivered to the user.
        (uint64, optional, tag = "4") consumed: Option<u64>,
        /// The last key delivered: resume behind it.
        (bytes = "bytes", optional, tag = "5") bookmark: Option<Bytes>,
        /// The target of a seek not answered yet.
        (bytes = "bytes", optional, tag = "6") seek: Option<Bytes>,
    }
    /// Closes an iterator; not answered.
    IteratorClose {
        /// The iterator's id.
        (uint32, required, tag = "1") id: u32,
    }
    /// Says that a data frame was consumed, which allows one more.
    IteratorAck {
        /// The iterator's id.
        (uint32, required, tag = "1") id: u32,
        /// The seq of the data consumed.
        (uint32, required, tag = "2") seq: u32,
        /// Entries consumed since the iterator was opened.
        (uint64, required, tag = "3") consumed: u64,
    }
    /// Moves an iterator.
    IteratorSeek {
        /// The iterator's id.
        (uint32, required, tag = "1") id: u32,
        /// The new seq.
        (uint32, required, tag = "2") seq: u32,
        /// Where to.
        (bytes = "bytes", optional, tag = "3") target: Option<Bytes>,
        /// Extension: entries delivered to the user so far, which count against the limit.
        (uint64, optional, tag = "32") consumed: Option<u64>,
    }
    /// Asks for several values; answered by a [`GetManyCallback`].
    GetMany {
        /// The request's id.
        (uint32, required, tag = "1") id: u32,
        /// The keys.
        (bytes = "bytes", repeated, tag = "2") keys: Vec<Bytes>,
        /// Extension: read what this snapshot of the guest's holds.
        (uint64, optional, tag = "32") snapshot: Option<u64>,
        /// Extension: tell only whether they exist.
        (bool, optional, tag = "33") existence: Option<bool>,
    }
    /// Extension, guest to host: takes a snapshot, which lasts as long as the connection; answered by a [`Callback`].
    SnapshotOpen {
        /// The request's id.
        (uint32, required, tag = "1") id: u32,
        /// The snapshot's id, of a number space of its own; none is used twice on a connection.
        (uint64, required, tag = "2") snapshot: u64,
    }
    /// Extension, guest to host: releases a snapshot; not answered.
    SnapshotClose {
        /// The snapshot's id.
        (uint64, required, tag = "1") snapshot: u64,
    }
    /// Extension, guest to host: the first frame of a native guest.
    Hello {
        /// The version of the extensions that the guest speaks.
        (uint32, required, tag = "1") version: u32,
        /// The guest's process id.
        (uint32, optional, tag = "2") pid: Option<u32>,
        /// Bytes of the largest frame that the guest takes.
        (uint64, optional, tag = "3") max_frame: Option<u64>,
        /// The guest's session: 16 bytes.
        (bytes = "bytes", optional, tag = "4") session: Option<Bytes>,
        /// Connections that this session has had, this one included.
        (uint64, optional, tag = "5") attempt: Option<u64>,
        /// No write of the session was ever sent with this number or a higher one.
        (uint64, optional, tag = "6") next: Option<u64>,
        /// The guest has the answers to all writes of its session below this number.
        (uint64, optional, tag = "7") settled: Option<u64>,
        /// What is told of the session must survive power loss, for a write that asked for that is in doubt.
        (bool, optional, tag = "8") durable: Option<bool>,
    }
    /// Extension, guest to host: the guest closes and will not come back; its session may be forgotten. Not answered.
    Goodbye {
    }
    /// How far a session got.
    SessionState {
        /// Every write up to this number was worked off; absent if nothing is known of the session.
        (uint64, optional, tag = "1") applied: Option<u64>,
        /// Those of them that were not applied, and whose answers the guest may not have.
        (message, repeated, tag = "2") refused: Vec<Refusal>,
        /// How many times sessions were forgotten in this database because nothing was heard of them.
        (uint64, optional, tag = "3") forgotten: Option<u64>,
        /// It may not survive power loss, although that was asked for: nothing can be written here.
        (bool, optional, tag = "4") volatile: Option<bool>,
        /// `forgotten` from here on, where the count has only now begun.
        (uint64, optional, tag = "5") begun: Option<u64>,
    }
    /// The outcome of a write of a session that was not applied.
    Refusal {
        /// Its number.
        (uint64, required, tag = "1") number: u64,
        /// An abstract-level code.
        (string, optional, tag = "2") error: Option<String>,
        /// As in [`Callback`].
        (uint32, optional, tag = "3") effect: Option<u32>,
        /// As in [`Callback`].
        (uint32, repeated, tag = "4") failed: Vec<u32>,
    }
    /// What a leader keeps of a session in the database, written with the writes that it tells of.
    SessionRecord {
        /// How far the session got.
        (message, optional, tag = "1") state: Option<SessionState>,
        /// When that was, in milliseconds since 1970.
        (uint64, optional, tag = "2") time: Option<u64>,
    }
    /// Extension, guest to host: asks how the leader fares; answered by a [`StatusReply`].
    StatusRequest {
        /// The request's id.
        (uint32, required, tag = "1") id: u32,
    }
    /// Answers a request. A missing key is the error `LEVEL_NOT_FOUND`.
    Callback {
        /// The request's id.
        (uint32, required, tag = "1") id: u32,
        /// An abstract-level code, if the request failed.
        (string, optional, tag = "2") error: Option<String>,
        /// The value asked for.
        (bytes = "bytes", optional, tag = "3") value: Option<Bytes>,
        /// Extension: what went wrong, for people.
        (string, optional, tag = "32") message: Option<String>,
        /// Extension: the effect of a failed write: absent or 0 none, 1 unknown.
        (uint32, optional, tag = "33") effect: Option<u32>,
        /// Extension: the indices of the conditions that do not hold, ascending.
        (uint32, repeated, tag = "34") failed: Vec<u32>,
    }
    /// Entries of an iterator.
    IteratorData {
        /// The iterator's id.
        (uint32, required, tag = "1") id: u32,
        /// The seq they belong to.
        (uint32, required, tag = "2") seq: u32,
        /// Keys and values alternating, or only those asked for.
        (bytes = "bytes", repeated, tag = "3") data: Vec<Bytes>,
    }
    /// An iterator failed.
    IteratorError {
        /// The iterator's id.
        (uint32, required, tag = "1") id: u32,
        /// The seq that failed.
        (uint32, required, tag = "2") seq: u32,
        /// An abstract-level code.
        (string, optional, tag = "3") error: Option<String>,
        /// Extension: what went wrong, for people.
        (string, optional, tag = "32") message: Option<String>,
    }
    /// An iterator reached its end.
    IteratorEnd {
        /// The iterator's id.
        (uint32, required, tag = "1") id: u32,
        /// The seq that ended.
        (uint32, required, tag = "2") seq: u32,
    }
    /// Answers a [`GetMany`].
    GetManyCallback {
        /// The request's id.
        (uint32, required, tag = "1") id: u32,
        /// An abstract-level code, if the request failed.
        (string, optional, tag = "2") error: Option<String>,
        /// The values, in the order of the keys.
        (message, repeated, tag = "3") values: Vec<MaybeValue>,
        /// Extension: what went wrong, for people.
        (string, optional, tag = "32") message: Option<String>,
        /// Extension: whether the keys exist, in their order, if only that was asked.
        (bool, repeated, tag = "33") existing: Vec<bool>,
    }
    /// A value or its absence.
    MaybeValue {
        /// The value.
        (bytes = "bytes", optional, tag = "1") value: Option<Bytes>,
    }
    /// Extension, host to guest: the answer to a [`Hello`].
    Welcome {
        /// The version both sides speak from here on.
        (uint32, required, tag = "1") version: u32,
        /// The leader's process id.
        (uint32, optional, tag = "2") pid: Option<u32>,
        /// What the leader's store is called.
        (string, optional, tag = "3") store: Option<String>,
        /// The store's manifest as bits, see [`capability`].
        (uint64, optional, tag = "4") capabilities: Option<u64>,
        /// Bytes of the largest frame that the host takes.
        (uint64, optional, tag = "5") max_frame: Option<u64>,
        /// How far the guest's session got; absent where writes are not applied exactly once.
        (message, optional, tag = "6") session: Option<SessionState>,
        /// An abstract-level code: the session is refused, and the host hangs up.
        (string, optional, tag = "7") error: Option<String>,
        /// Why, for people.
        (string, optional, tag = "8") message: Option<String>,
    }
    /// Extension, host to guest: the leader leaves in good order; requests sent after this are not served.
    Leaving {
    }
    /// Extension, host to guest: how the leader fares.
    StatusReply {
        /// The request's id.
        (uint32, required, tag = "1") id: u32,
        /// The leader's process id.
        (uint32, optional, tag = "2") pid: Option<u32>,
        /// Connected guests.
        (uint64, optional, tag = "3") guests: Option<u64>,
        /// Requests served to guests since it leads.
        (uint64, optional, tag = "4") operations: Option<u64>,
        /// Milliseconds since it leads.
        (uint64, optional, tag = "5") leading_ms: Option<u64>,
        /// What the store is called.
        (string, optional, tag = "6") store: Option<String>,
    }
}

/// The bits of [`Welcome::capabilities`].
pub mod capability {
    /// `implicit_snapshots` of the manifest.
    pub const IMPLICIT_SNAPSHOTS: u64 = 1;
    /// `permanence` of the manifest.
    pub const PERMANENCE: u64 = 1 << 1;
    /// `sync_writes` of the manifest.
    pub const SYNC_WRITES: u64 = 1 << 2;
    /// `atomic_clear` of the manifest.
    pub const ATOMIC_CLEAR: u64 = 1 << 3;
    /// `read_only` of the manifest.
    pub const READ_ONLY: u64 = 1 << 4;
    /// `conditions` of the manifest.
    pub const CONDITIONS: u64 = 1 << 5;
    /// `explicit_snapshots` of the manifest.
    pub const EXPLICIT_SNAPSHOTS: u64 = 1 << 6;
}
