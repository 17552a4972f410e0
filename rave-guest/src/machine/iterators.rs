//! The iterators of a guest.

use super::{SnapshotRef, requests::range_options, snapshots::Snapshots};
use crate::RetryPolicy;
use bytes::{Bytes, BytesMut};
use rave_core::{Code, Entry, Error, IteratorOptions, Position, Result};
use rave_transport::wire::{
    Request,
    message::{self, IteratorData},
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Data frames of an iterator that may wait for its user. The protocol allows two unacknowledged ones; a leader that
/// sends more than this would fill our memory.
const MAX_FRAMES: usize = 4;

/// What an iterator has to give.
#[derive(Debug)]
pub enum Taken {
    /// Some entries.
    Entries(Vec<Entry>),
    /// There are no more.
    End,
    /// It failed; asking again gives the same.
    Failed(Error),
    /// Nothing yet: ask again when the machine says that there is news.
    Wait,
}

#[derive(Debug)]
struct Iter {
    options: IteratorOptions,
    /// What it reads; with one, it ends with the leader that has it.
    snapshot: Option<u64>,
    policy: RetryPolicy,
    position: Position,
    seq: u32,
    /// Frames received and not delivered whole.
    frames: VecDeque<VecDeque<Entry>>,
    /// The leader has answered since the opening or the last seek.
    answered: bool,
    ended: bool,
    failed: Option<Error>,
    /// The leader knows a narrower range than the user asked for, because the legacy protocol cannot resume right.
    narrowed: bool,
    /// The leader of the present connection knows it.
    open_remotely: bool,
    /// The last operation that was submitted before it was opened.
    after: u64,
    /// Its user goes on with it elsewhere.
    elsewhere: bool,
}

impl Iter {
    fn left(&self) -> Option<u64> {
        self.options.limit.map(|limit| limit.saturating_sub(self.position.delivered))
    }

    fn exhausted(&self) -> bool {
        self.left() == Some(0)
    }

    fn forget_received(&mut self) {
        self.frames.clear();
        self.answered = false;
        self.ended = false;
    }

    fn send_open(&mut self, id: u32, legacy: bool, out: &mut BytesMut) -> Result<()> {
        let Self { options: wanted, position, .. } = &*self;
        // The reference implementation resumes behind a bookmark wrongly in reverse, so the range itself is cut. And it
        // knows no long limits; ours is kept here at any rate.
        let narrow = match (&position.seek, &position.bookmark) {
            (None, Some(bookmark)) if legacy => Some(wanted.range.behind(bookmark, wanted.reverse)),
            _ => None,
        };
        let limit = wanted.limit.filter(|limit| !legacy || i32::try_from(*limit).is_ok());
        let bookmark = position.bookmark.clone().filter(|_| !legacy);
        let options = message::RangeOptions {
            // Keys are the bookmarks, so they always travel.
            keys: Some(true),
            values: Some(wanted.values),
            internal: (wanted.internal && !legacy).then_some(true),
            snapshot: self.snapshot,
            ..range_options(narrow.as_ref().unwrap_or(&wanted.range), wanted.reverse, limit, legacy)?
        };
        let (seek, consumed) = (position.seek.clone(), Some(position.delivered));
        let message = message::Iterator { id, seq: self.seq, options: Some(options), consumed, bookmark, seek };
        Request::Iterator(message).encode(out);
        self.narrowed = narrow.is_some();
        self.open_remotely = true;
        Ok(())
    }
}

/// All iterators of a guest by id.
#[derive(Debug, Default)]
pub(super) struct Iterators {
    next: u32,
    open: BTreeMap<u32, Iter>,
    /// Those that the leader has yet to be asked for.
    due: BTreeSet<u32>,
    woken: Vec<u32>,
}

impl Iterators {
    pub(super) fn woken(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.woken)
    }

    pub(super) fn wake_all(&mut self) {
        self.woken.extend(self.open.keys());
    }

    pub(super) fn open(
        &mut self,
        options: IteratorOptions,
        snapshot: Option<u64>,
        policy: RetryPolicy,
        after: u64,
    ) -> u32 {
        // Ids may wrap in a very long life; those in use are skipped.
        loop {
            self.next = self.next.wrapping_add(1);
            if !self.open.contains_key(&self.next) {
                break;
            }
        }
        let id = self.next;
        let iter = Iter {
            options,
            snapshot,
            policy,
            position: Position::default(),
            seq: 0,
            frames: VecDeque::new(),
            answered: false,
            ended: false,
            failed: None,
            narrowed: false,
            open_remotely: false,
            after,
            elsewhere: false,
        };
        self.open.insert(id, iter);
        self.due.insert(id);
        id
    }

    pub(super) fn any_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Asks for those that were opened before operation `before`.
    pub(super) fn open_due(&mut self, legacy: bool, before: u64, snapshots: &Snapshots, out: &mut BytesMut) {
        let Self { open, due, woken, .. } = self;
        due.retain(|&id| {
            let Some(iter) = open.get_mut(&id) else { return false };
            if iter.after >= before {
                return true;
            }
            let opened = match iter.snapshot {
                Some(snapshot) if !snapshots.is_open(snapshot) => Err(SnapshotRef::lost()),
                _ => iter.send_open(id, legacy, out),
            };
            if let Err(error) = opened {
                iter.failed = Some(error);
                woken.push(id);
            }
            false
        });
    }

    /// Fails those that wait to be asked for and would read a snapshot that is not there any more.
    pub(super) fn fail_without_snapshot(&mut self, snapshots: &Snapshots) {
        let Self { open, due, woken, .. } = self;
        due.retain(|&id| {
            let Some(iter) = open.get_mut(&id) else { return false };
            let lost = iter.snapshot.is_some_and(|snapshot| !snapshots.is_there(snapshot));
            if lost {
                iter.failed = Some(SnapshotRef::lost());
                woken.push(id);
            }
            !lost
        });
    }

    /// The last operation before the last of those that wait to be asked for and read `snapshot`.
    pub(super) fn last_before(&self, snapshot: u64) -> Option<u64> {
        let due = self.due.iter().filter_map(|id| self.open.get(id));
        due.filter(|iter| iter.snapshot == Some(snapshot)).map(|iter| iter.after).max()
    }

    pub(super) fn opened(&self, id: u32) -> bool {
        self.open.get(&id).is_none_or(|iter| iter.answered || iter.failed.is_some())
    }

    pub(super) fn take(&mut self, id: u32, size: usize, out: Option<&mut BytesMut>) -> Taken {
        let Some(iter) = self.open.get_mut(&id) else {
            return Taken::Failed(Error::new(Code::IteratorNotOpen, "the iterator is closed"));
        };
        if let Some(error) = &iter.failed {
            return Taken::Failed(error.clone());
        }
        if iter.exhausted() {
            return Taken::End;
        }
        let mut entries = Vec::new();
        let mut consumed = Vec::new();
        let left = iter.left().map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
        let size = size.max(1).min(left);
        while entries.len() < size {
            let Some(frame) = iter.frames.front_mut() else { break };
            let want = size - entries.len();
            if frame.len() <= want && entries.is_empty() {
                entries = std::mem::take(frame).into();
            } else {
                entries.extend(frame.drain(..want.min(frame.len())));
            }
            if frame.is_empty() {
                iter.frames.pop_front();
                consumed.push(entries.len() as u64);
            }
        }
        if let Some(out) = out {
            for count in consumed {
                let consumed = iter.position.delivered + count;
                Request::IteratorAck(message::IteratorAck { id, seq: iter.seq, consumed }).encode(out);
            }
        }
        match entries.last() {
            Some(last) => {
                iter.position.delivered += entries.len() as u64;
                iter.position.bookmark = Some(last.key.clone());
                iter.position.seek = None;
                if !iter.options.keys {
                    entries.iter_mut().for_each(|entry| entry.key = Bytes::new());
                }
                Taken::Entries(entries)
            }
            None if iter.ended => Taken::End,
            None => Taken::Wait,
        }
    }

    pub(super) fn seek(&mut self, id: u32, target: Bytes, link: Option<(bool, &mut BytesMut)>) {
        let Some(iter) = self.open.get_mut(&id) else { return };
        iter.forget_received();
        iter.seq = iter.seq.wrapping_add(1);
        iter.position.seek = Some(target.clone());
        iter.position.bookmark = None;
        if !iter.options.range.contains(&target) {
            // Known without the leader: nothing. The reference store can crash over such a seek.
            iter.ended = true;
            self.due.remove(&id);
            return;
        }
        if !iter.open_remotely {
            self.due.insert(id);
            return;
        }
        let Some((legacy, out)) = link else { return };
        if iter.narrowed {
            Request::IteratorClose(message::IteratorClose { id }).encode(out);
            iter.open_remotely = false;
            self.due.insert(id);
        } else {
            let consumed = (!legacy).then_some(iter.position.delivered);
            let seek = message::IteratorSeek { id, seq: iter.seq, target: Some(target), consumed };
            Request::IteratorSeek(seek).encode(out);
        }
    }

    pub(super) fn close(&mut self, id: u32, out: Option<&mut BytesMut>) {
        self.due.remove(&id);
        if let Some(iter) = self.open.remove(&id)
            && let Some(out) = out
            && iter.open_remotely
        {
            Request::IteratorClose(message::IteratorClose { id }).encode(out);
        }
    }

    pub(super) fn position_to_resume(&self, id: u32) -> Result<Option<Position>> {
        match self.open.get(&id) {
            None => Err(Error::new(Code::IteratorNotOpen, "the iterator is closed")),
            Some(Iter { failed: Some(error), .. }) => Err(error.clone()),
            Some(iter) => Ok((!iter.ended).then(|| iter.position.clone())),
        }
    }

    pub(super) fn depart(&mut self, id: u32, out: Option<&mut BytesMut>) {
        self.due.remove(&id);
        let Some(iter) = self.open.get_mut(&id) else { return };
        iter.elsewhere = true;
        if std::mem::take(&mut iter.open_remotely)
            && let Some(out) = out
        {
            Request::IteratorClose(message::IteratorClose { id }).encode(out);
        }
    }

    pub(super) fn reposition(&mut self, id: u32, position: Position, ended: bool) {
        let Some(iter) = self.open.get_mut(&id) else { return };
        iter.elsewhere = false;
        iter.forget_received();
        iter.seq = iter.seq.wrapping_add(1);
        iter.position = position;
        iter.ended = ended || iter.exhausted();
        if iter.ended {
            self.due.remove(&id);
        } else if iter.snapshot.is_some() {
            // It was of the store that this process has let go of.
            iter.failed = Some(SnapshotRef::lost());
            self.woken.push(id);
        } else {
            self.due.insert(id);
        }
    }

    pub(super) fn data(&mut self, data: IteratorData) -> Result<()> {
        let Some(iter) = self.open.get_mut(&data.id).filter(|iter| iter.seq == data.seq && !iter.ended) else {
            return Ok(());
        };
        let per_entry = if iter.options.values { 2 } else { 1 };
        if data.data.is_empty() || !data.data.len().is_multiple_of(per_entry) {
            return Err(Error::new(Code::Remote, "the leader sent half an entry of an iterator"));
        }
        if iter.frames.len() >= MAX_FRAMES {
            return Err(Error::new(Code::Remote, "the leader sends entries of an iterator without credit"));
        }
        let mut parts = data.data.into_iter();
        let mut frame = VecDeque::with_capacity(parts.len() / per_entry);
        while let Some(key) = parts.next() {
            let value = if iter.options.values { parts.next().unwrap_or_default() } else { Bytes::new() };
            frame.push_back(Entry { key, value });
        }
        iter.frames.push_back(frame);
        iter.answered = true;
        self.woken.push(data.id);
        Ok(())
    }

    pub(super) fn end(&mut self, id: u32, seq: u32) {
        if let Some(iter) = self.open.get_mut(&id).filter(|iter| iter.seq == seq) {
            iter.ended = true;
            iter.answered = true;
            self.woken.push(id);
        }
    }

    pub(super) fn error(&mut self, id: u32, seq: u32, error: Error) {
        if let Some(iter) = self.open.get_mut(&id).filter(|iter| iter.seq == seq) {
            iter.failed = Some(error);
            self.woken.push(id);
        }
    }

    /// The connection is gone; iterators wait to be resumed. If there was a leader that could be lost, some may not be, and
    /// fail with `lost`.
    pub(super) fn disconnected(&mut self, lost: Option<&Error>) {
        for (&id, iter) in &mut self.open {
            iter.open_remotely = false;
            // An iterator that has received everything up to the end delivers that; nothing is asked for again, until a
            // seek. Nor is anything of one that has delivered as much as it may.
            let complete = iter.ended || (iter.answered && iter.exhausted());
            if complete || iter.failed.is_some() || iter.elsewhere {
                continue;
            }
            iter.forget_received();
            iter.seq = iter.seq.wrapping_add(1);
            let failure = match iter.snapshot {
                Some(_) => Some(SnapshotRef::lost()),
                None => lost.filter(|_| iter.policy == RetryPolicy::Never).cloned(),
            };
            if failure.is_some() {
                iter.failed = failure;
                self.due.remove(&id);
                self.woken.push(id);
            } else {
                self.due.insert(id);
            }
        }
    }
}
