//! The iterators of a connection: pages ahead of the guest, within its credit.

use super::{
    CREDIT, FIRST_PAGE, MAX_ITERATORS, MAX_PAGE, Machine, PAGE_BYTES, Waiting, Work,
    convert::{FRAME_OVERHEAD, iterator_error, limit_of, range_of, size_of, too_large},
};
use bytes::Bytes;
use rave_core::{Entry, Error, IteratorOptions, Position, Result};
use rave_transport::wire::{
    Response,
    message::{self, IteratorData, IteratorEnd},
};
use std::{collections::VecDeque, ops::Bound};

#[derive(Debug)]
pub(super) struct Iter {
    pub(super) seq: u32,
    keys: bool,
    values: bool,
    /// Data frames of this seq sent and not acknowledged.
    pub(super) unacknowledged: u32,
    /// The end or an error was sent for this seq.
    finished: bool,
    /// Entries of the next page.
    page: usize,
    /// The guest's limit on the entries that its user gets.
    limit: Option<u64>,
    /// Entries that its user has got, as far as is known.
    pub(super) consumed: u64,
    /// What the limit leaves for this seq. Pages are read ahead of the user, so a seek gives back what was not consumed.
    left: Option<u64>,
    /// A seek that the store has not seen yet.
    seek: Option<Bytes>,
    /// Fetched beyond what fits the last frame.
    held: VecDeque<Entry>,
}

impl Machine {
    pub(super) fn open(&mut self, open: message::Iterator) -> Option<(Waiting, Work)> {
        if !self.iterators.contains_key(&open.id) && self.iterators.len() >= MAX_ITERATORS {
            let error = Error::not_supported(format_args!("opening more than {MAX_ITERATORS} iterators"));
            self.send(&iterator_error(open.id, open.seq, &error));
            return None;
        }
        let range = open.options.unwrap_or_default();
        let options = IteratorOptions {
            range: range_of(&range),
            reverse: range.reverse.unwrap_or(false),
            // Counted here: the store would count what was read ahead.
            limit: None,
            keys: range.keys.unwrap_or(true),
            values: range.values.unwrap_or(true),
            // The driver knows it.
            snapshot: None,
            internal: range.internal.unwrap_or(false),
        };
        let position = Position { delivered: open.consumed.unwrap_or(0), bookmark: open.bookmark, seek: open.seek };
        let limit = limit_of(&range);
        let left = limit.map(|limit| limit.saturating_sub(position.delivered));
        let page = left.map_or(FIRST_PAGE, |left| FIRST_PAGE.min(usize::try_from(left).unwrap_or(usize::MAX)));
        let iter = Iter {
            seq: open.seq,
            keys: options.keys,
            values: options.values,
            unacknowledged: 0,
            finished: false,
            page: FIRST_PAGE,
            limit,
            consumed: position.delivered,
            left,
            seek: None,
            held: VecDeque::new(),
        };
        self.iterators.insert(open.id, iter);
        let waiting = Waiting::Page { id: open.id, seq: open.seq };
        Some((
            waiting,
            Work::Open { id: open.id, options: Box::new(options), snapshot: range.snapshot, position, page },
        ))
    }

    pub(super) fn seek(&mut self, seek: message::IteratorSeek) {
        if let Some(iter) = self.iterators.get_mut(&seek.id) {
            iter.seq = seek.seq;
            iter.unacknowledged = 0;
            iter.finished = false;
            iter.consumed = seek.consumed.unwrap_or(iter.consumed);
            iter.left = iter.limit.map(|limit| limit.saturating_sub(iter.consumed));
            iter.seek = Some(seek.target.unwrap_or_default());
            iter.held.clear();
        }
    }

    /// A page of an iterator that has credit, each in its turn.
    pub(super) fn next_page(&mut self) -> Option<Work> {
        loop {
            let ready = |iter: &Iter| !iter.finished && iter.unacknowledged < CREDIT;
            let after = (Bound::Excluded(self.last_turn), Bound::Unbounded);
            let turns = self.iterators.range(after).chain(self.iterators.iter());
            let id = *turns.into_iter().find(|(_, iter)| ready(iter))?.0;
            let iter = self.iterators.get_mut(&id)?;
            self.last_turn = id;
            if !iter.held.is_empty() {
                self.send_page(id);
                continue;
            }
            let page = match iter.left {
                Some(0) => {
                    let seq = iter.seq;
                    iter.finished = true;
                    self.send(&Response::IteratorEnd(IteratorEnd { id, seq }));
                    continue;
                }
                Some(left) => iter.page.min(usize::try_from(left).unwrap_or(usize::MAX)),
                None => iter.page,
            };
            self.waiting = Some(Waiting::Page { id, seq: iter.seq });
            return Some(Work::Page { id, seek: iter.seek.take(), page });
        }
    }

    pub(super) fn page(&mut self, id: u32, seq: u32, result: Result<Vec<Entry>>) {
        // The guest may have moved or closed the iterator meanwhile; it drops what belongs to an older seq.
        let Some(iter) = self.iterators.get_mut(&id).filter(|iter| iter.seq == seq) else { return };
        match result {
            Ok(entries) if entries.is_empty() => {
                iter.finished = true;
                self.send(&Response::IteratorEnd(IteratorEnd { id, seq }));
            }
            Ok(entries) => {
                let bytes: usize = entries.iter().map(size_of).sum();
                iter.page = (PAGE_BYTES * entries.len() / bytes.max(1)).clamp(1, MAX_PAGE);
                iter.held = entries.into();
                self.send_page(id);
            }
            Err(error) => {
                iter.finished = true;
                self.send(&iterator_error(id, seq, &error));
            }
        }
    }

    /// Sends a frame of what is held: about a page, and at least one entry. The rest waits for credit, for a store gives
    /// as many entries as it is asked for, however large they have become.
    fn send_page(&mut self, id: u32) {
        let Some(iter) = self.iterators.get_mut(&id) else { return };
        let (mut data, mut bytes, mut count) = (Vec::new(), 0, 0);
        // A page whose entries are a little larger than expected still goes out whole.
        while let Some(size) = iter.held.front().map(size_of)
            && (count == 0 || bytes + size <= 2 * PAGE_BYTES.min(self.config.max_frame / 4))
            && let Some(entry) = iter.held.pop_front()
        {
            if count == 0 && size + FRAME_OVERHEAD > self.config.max_frame {
                let error = too_large(size, self.config.max_frame);
                let seq = iter.seq;
                iter.held.clear();
                iter.finished = true;
                return self.send(&iterator_error(id, seq, &error));
            }
            bytes += size;
            count += 1;
            if iter.keys {
                data.push(entry.key);
            }
            if iter.values {
                data.push(entry.value);
            }
        }
        iter.unacknowledged += 1;
        iter.left = iter.left.map(|left| left.saturating_sub(count));
        let seq = iter.seq;
        self.served += count;
        self.send(&Response::IteratorData(IteratorData { id, seq, data }));
    }
}
