//! The hand-written messages agree with `proto/rave.proto`: numbers, types, and what must not be missing.

mod messages;

use bytes::Bytes;
use messages::{Messages, REQUESTS, RESPONSES, encoded};
use prost::Message as _;
use protox::prost_reflect::{DescriptorPool, DynamicMessage, Kind, ReflectMessage as _, Value};
use rave_transport::wire::{FrameError, Request, Response};

fn schema() -> DescriptorPool {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
    DescriptorPool::from_file_descriptor_set(protox::compile(["rave.proto"], [root]).unwrap()).unwrap()
}

/// The frame of a message with every field, split into its tag and its fields by the schema.
fn read(pool: &DescriptorPool, name: &str, frame: &[u8]) -> DynamicMessage {
    assert!(frame.len() < 2000);
    let prefix = if frame[0] & 0x80 == 0 { 1 } else { 2 };
    let body = &frame[prefix + 1..];
    let message = DynamicMessage::decode(pool.get_message_by_name(&format!("rave.{name}")).unwrap(), body).unwrap();
    assert!(message.encode_to_vec() == body, "{name} is written as the schema says");
    message
}

fn check_fields(message: &DynamicMessage, skip: &[&str]) {
    let descriptor = message.descriptor();
    assert_eq!(message.unknown_fields().count(), 0, "{}: fields the schema lacks", descriptor.name());
    for field in descriptor.fields() {
        if !skip.contains(&field.name()) {
            assert!(message.has_field(&field), "{}.{} is not written", descriptor.name(), field.name());
        }
        if field.name() == "limit" {
            assert_eq!(field.kind(), Kind::Sint64);
            assert_eq!(*message.get_field(&field), Value::I64(-5));
        }
        let value = message.get_field(&field);
        for nested in
            value.as_message().into_iter().chain(value.as_list().into_iter().flatten().filter_map(Value::as_message))
        {
            check_fields(nested, skip);
        }
    }
}

/// Leaves out one field after the other, and nested ones too; tells for each whether the frame must be refused.
fn without_one(message: &DynamicMessage) -> Vec<(String, bool, Vec<u8>)> {
    let mut frames = Vec::new();
    for field in message.descriptor().fields() {
        let name = format!("{}.{}", message.descriptor().name(), field.name());
        let mut without = message.clone();
        without.clear_field(&field);
        let required = field.cardinality() == protox::prost_reflect::Cardinality::Required;
        // The batch's values are needed because all operations here are puts.
        frames.push((name.clone(), required || name == "BatchOperation.value", without.encode_to_vec()));
        match message.get_field(&field).into_owned() {
            Value::Message(inner) => {
                for (name, refused, bytes) in without_one(&inner) {
                    let inner = DynamicMessage::decode(inner.descriptor(), bytes.as_slice()).unwrap();
                    let mut outer = message.clone();
                    outer.set_field(&field, Value::Message(inner));
                    frames.push((name, refused, outer.encode_to_vec()));
                }
            }
            Value::List(items) => {
                let Some(inner) = items.first().and_then(Value::as_message) else { continue };
                for (name, refused, bytes) in without_one(inner) {
                    let inner = DynamicMessage::decode(inner.descriptor(), bytes.as_slice()).unwrap();
                    let mut outer = message.clone();
                    outer.set_field(&field, Value::List(vec![Value::Message(inner)]));
                    frames.push((name, refused, outer.encode_to_vec()));
                }
            }
            _ => {}
        }
    }
    frames
}

fn check_required<T: std::fmt::Debug>(
    message: &DynamicMessage,
    tag: u8,
    decode: impl Fn(Bytes) -> Result<T, FrameError>,
) {
    for (name, refused, body) in without_one(message) {
        let frame: Bytes = [tag].into_iter().chain(body).collect();
        match decode(frame) {
            Err(FrameError::Malformed { tag: seen, id, .. }) if refused => {
                assert_eq!(seen, tag);
                let first = message.descriptor().get_field(1).unwrap();
                let readable = first.name() == "id" && !name.ends_with(".id");
                let expected = message.get_field(&first).as_u32().filter(|_| readable);
                assert_eq!(id, expected, "the id of a message without {name}");
            }
            Ok(_) if !refused => {}
            other => panic!("without {name}: {other:?}"),
        }
    }
}

#[test]
fn requests_agree_with_the_schema() {
    let pool = schema();
    let names = [
        "Get",
        "Put",
        "Del",
        "Batch",
        "Iterator",
        "Clear",
        "GetMany",
        "IteratorClose",
        "IteratorAck",
        "IteratorSeek",
        "Hello",
        "StatusRequest",
        "Goodbye",
        "SnapshotOpen",
        "SnapshotClose",
    ];
    let tags = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 32, 33, 34, 35, 36];
    for kind in 0..REQUESTS {
        let request = Messages { rng: fastrand::Rng::with_seed(kind as u64), whole: true }.request(kind);
        let message = read(&pool, names[kind], &encoded(|out| request.encode(out)));
        // A range to clear has no use for these.
        check_fields(&message, if names[kind] == "Clear" { &["keys", "values", "internal"] } else { &[] });
        check_required(&message, tags[kind], Request::decode);
    }
}

#[test]
fn responses_agree_with_the_schema() {
    let pool = schema();
    let names = [
        "Callback",
        "IteratorData",
        "GetManyCallback",
        "IteratorError",
        "IteratorEnd",
        "Welcome",
        "Leaving",
        "StatusReply",
    ];
    let tags = [0, 1, 2, 3, 4, 32, 33, 34];
    for kind in 0..RESPONSES {
        let response = Messages { rng: fastrand::Rng::with_seed(kind as u64), whole: true }.response(kind);
        let message = read(&pool, names[kind], &encoded(|out| response.encode(out)));
        check_fields(&message, &[]);
        check_required(&message, tags[kind], Response::decode);
    }
}
