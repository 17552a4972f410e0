//! A host that speaks as many-level's does, on one thread for each guest, and that can be told to misbehave.

use super::{lock, wire::*};
use std::{
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

/// What a host answers to a request, in whole frames or not; nothing ends the connection.
type Behaviour = Arc<dyn Fn(&Message) -> Option<Vec<u8>> + Send + Sync>;

/// The one entry of the host's database.
pub const ENTRY: (&str, &str) = ("k", "v");

/// Serves guests until the test's process ends.
pub struct LegacyHost {
    behaviour: Arc<Mutex<Behaviour>>,
    guests: Arc<Mutex<Vec<UnixStream>>>,
}

impl LegacyHost {
    pub fn start(socket: &Path) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let behaviour: Arc<Mutex<Behaviour>> = Arc::new(Mutex::new(Arc::new(honest)));
        let guests = Arc::new(Mutex::new(Vec::new()));
        let host = Self { behaviour: behaviour.clone(), guests: guests.clone() };
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                lock(&guests).push(stream.try_clone().unwrap());
                let behaviour = behaviour.clone();
                thread::spawn(move || {
                    let mut guest = Peer::new(stream);
                    // Extensions are passed over here, as by every legacy host.
                    while let Some(request) = guest.hear() {
                        let behaviour = lock(&behaviour).clone();
                        match behaviour(&request) {
                            Some(answer) => guest.send(&answer),
                            None => return,
                        }
                    }
                });
            }
        });
        host
    }

    pub fn behave(&self, behaviour: impl Fn(&Message) -> Option<Vec<u8>> + Send + Sync + 'static) {
        *lock(&self.behaviour) = Arc::new(behaviour);
    }

    /// Ends all connections.
    pub fn hang_up(&self) {
        for guest in lock(&self.guests).drain(..) {
            let _ = guest.shutdown(Shutdown::Both);
        }
    }
}

/// Whether it is the request that follows a greeting.
pub fn is_probe(request: &Message) -> bool {
    request.tag == GET_MANY && request.all(2).is_empty()
}

/// What many-level's host answers, given a database that keeps its one entry whatever is written.
#[expect(clippy::unnecessary_wraps, reason = "a behaviour like others")]
pub fn honest(request: &Message) -> Option<Vec<u8>> {
    let (id, (key, value)) = (number(1, request.id()), ENTRY);
    let is_there = |asked: &&[u8]| *asked == key.as_bytes();
    Some(match request.tag {
        GET if request.all(2).iter().any(is_there) => callback(&[id, bytes(3, value)]),
        GET => callback(&[id, bytes(2, "LEVEL_NOT_FOUND")]),
        GET_MANY => {
            let value = |asked| bytes(3, if is_there(&asked) { bytes(1, value) } else { vec![] });
            frame(GET_MANY_CALLBACK, &[id, request.all(2).into_iter().flat_map(value).collect()].concat())
        }
        ITERATOR => {
            let seq = number(2, request.number(2).unwrap());
            [data(&[&id, &seq, &bytes(3, key), &bytes(3, value)]), frame(ITERATOR_END, &[id, seq].concat())].concat()
        }
        PUT | DEL | BATCH | CLEAR => callback(&[id]),
        _ => vec![],
    })
}

/// An answer to a get or a write.
pub fn callback<T: AsRef<[u8]>>(fields: &[T]) -> Vec<u8> {
    message(CALLBACK, fields)
}

/// Entries of an iterator.
pub fn data<T: AsRef<[u8]>>(fields: &[T]) -> Vec<u8> {
    message(ITERATOR_DATA, fields)
}

/// A message of these fields.
pub fn message<T: AsRef<[u8]>>(tag: u8, fields: &[T]) -> Vec<u8> {
    frame(tag, &fields.iter().flat_map(AsRef::as_ref).copied().collect::<Vec<_>>())
}
