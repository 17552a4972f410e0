//! The iterators of a session, by number. Calls on one iterator run one after the other, in the order of their requests.

use rave_level::{AbstractLevel, Bytes, Code, Entry, Error, IteratorOptions, LevelIterator, Result};
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
};
use tokio::sync::Mutex;

/// Entries asked for at once.
const PAGE: u64 = 1000;

/// An open iterator, and what is left of its limit.
struct Cursor {
    iterator: Box<dyn LevelIterator>,
    left: Option<u64>,
}

/// `None` until it is open and after it was closed. Tokio's mutex is fair: who asks first is served first.
type Slot = Rc<Mutex<Option<Cursor>>>;

/// The iterators of a session.
#[derive(Default)]
pub struct Iterators {
    slots: RefCell<HashMap<u64, Slot>>,
    opened: Cell<u64>,
}

impl Iterators {
    /// Opens an iterator and gives its number. The number is taken before the first wait, so that requests that follow
    /// at once may name it.
    pub async fn open(&self, db: &dyn AbstractLevel, options: IteratorOptions) -> Result<u64> {
        let slot = Slot::default();
        let mut place = slot.lock().await;
        let number = self.opened.get() + 1;
        self.opened.set(number);
        self.slots.borrow_mut().insert(number, slot.clone());
        let left = options.limit;
        match db.iterator_opts(options).await {
            Ok(iterator) => {
                *place = Some(Cursor { iterator, left });
                Ok(number)
            }
            Err(error) => {
                self.slots.borrow_mut().remove(&number);
                Err(error)
            }
        }
    }

    /// Up to `count` entries (0 counts as 1), and whether the end was reached. Gives fewer only at the end or if
    /// reading on failed; the next call then tells the failure.
    pub async fn next(&self, number: u64, count: u64) -> Result<(Vec<Entry>, bool)> {
        let slot = self.slot(number)?;
        let mut place = slot.lock().await;
        let cursor = place.as_mut().ok_or_else(|| not_open(number))?;
        let count = count.max(1);
        let mut entries = Vec::new();
        while (entries.len() as u64) < count {
            let wanted = (count - entries.len() as u64).min(PAGE);
            let page = match cursor.iterator.next_many(usize::try_from(wanted).unwrap_or(1)).await {
                Ok(page) => page,
                Err(error) if entries.is_empty() => return Err(error),
                Err(_) => return Ok((entries, false)),
            };
            if page.is_empty() {
                return Ok((entries, true));
            }
            cursor.left = cursor.left.map(|left| left.saturating_sub(page.len() as u64));
            entries.extend(page);
        }
        Ok((entries, cursor.left == Some(0)))
    }

    /// Continues at `target`.
    pub async fn seek(&self, number: u64, target: Bytes) -> Result<()> {
        let slot = self.slot(number)?;
        let mut place = slot.lock().await;
        place.as_mut().ok_or_else(|| not_open(number))?.iterator.seek(target).await
    }

    /// Releases an iterator, after the calls that came before. Releasing it again does nothing.
    pub async fn close(&self, number: u64) -> Result<()> {
        let removed = self.slots.borrow_mut().remove(&number);
        let Some(slot) = removed else {
            let known = (1..=self.opened.get()).contains(&number);
            return if known { Ok(()) } else { Err(not_open(number)) };
        };
        let mut place = slot.lock().await;
        match place.take() {
            Some(mut cursor) => cursor.iterator.close().await,
            None => Ok(()),
        }
    }

    fn slot(&self, number: u64) -> Result<Slot> {
        self.slots.borrow().get(&number).cloned().ok_or_else(|| not_open(number))
    }
}

fn not_open(number: u64) -> Error {
    Error::new(Code::IteratorNotOpen, format!("there is no open iterator {number}"))
}
