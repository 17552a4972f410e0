//! What the threads of cases say when they panic, kept for the report instead of shown in the midst of others.

use std::{
    collections::HashMap,
    panic::{self, PanicHookInfo},
    sync::{Mutex, Once, PoisonError},
    thread,
};

/// What the names of the threads of cases have in them, and no other threads do.
pub const TIMES: &str = " × ";

static KEPT: Mutex<Option<HashMap<String, Vec<String>>>> = Mutex::new(None);

fn kept<T>(f: impl FnOnce(&mut HashMap<String, Vec<String>>) -> T) -> T {
    f(KEPT.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
}

/// From now on panics of cases are kept; those of other threads are shown as before.
pub fn watch() {
    static WATCHING: Once = Once::new();
    WATCHING.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| match thread::current().name() {
            Some(name) if name.contains(TIMES) => {
                kept(|kept| kept.entry(name.to_owned()).or_default().push(told(info)));
            }
            _ => before(info),
        }));
    });
}

/// Takes what the thread of this name has said.
pub fn of(thread: &str) -> Vec<String> {
    kept(|kept| kept.remove(thread)).unwrap_or_default()
}

fn told(info: &PanicHookInfo<'_>) -> String {
    let message = info.payload_as_str().unwrap_or("a panic without a message");
    match info.location() {
        Some(place) => format!("{message} ({}:{})", place.file(), place.line()),
        None => message.to_owned(),
    }
}
