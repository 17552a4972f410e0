//! The database and a transaction's own writes as one sequence of entries.

use super::{Shared, state::Writes};
use crate::{Code, Entry, Error, IteratorOptions, KeyRange, LevelIterator, Progress, Result};
use async_trait::async_trait;
use bytes::Bytes;
use std::{collections::VecDeque, ops::Bound, sync::Arc};

/// Delivers what the database's iterator does, with the transaction's writes over it, and has remembered what was read
/// before it delivers. What was fetched and not yet passed does not count as read.
pub(super) struct MergedIterator {
    transaction: Arc<Shared>,
    /// Where to remember what was read.
    place: usize,
    /// `None` once closed.
    base: Option<Box<dyn LevelIterator>>,
    /// The writes at the moment of opening.
    writes: Arc<Writes>,
    /// Fetched from the database and not yet passed.
    ahead: VecDeque<Entry>,
    base_ended: bool,
    /// What comes next does not join what came before.
    jumped: bool,
    progress: Progress,
    keys: bool,
    values: bool,
}

impl MergedIterator {
    /// An iterator that sees the writes at this call; the future opens it in the database.
    pub(super) fn open(
        transaction: &Arc<Shared>,
        options: IteratorOptions,
    ) -> Result<impl Future<Output = Result<Self>> + Send + use<>> {
        let transaction = transaction.clone();
        let (level, place, writes) = transaction
            .open(|state| Ok((state.base.clone(), state.reads.open_range(options.reverse), state.writes.clone())))?;
        Ok(async move {
            // Writes over the range may hide entries, and then it takes more of them to come to the limit.
            let overlaid = next_of(&writes, &options.range, options.reverse, None).is_some();
            let limit = options.limit.filter(|_| !overlaid);
            let below = IteratorOptions { limit, keys: true, values: true, ..options.clone() };
            Ok(Self {
                base: Some(level.iterator_opts(below).await?),
                transaction,
                place,
                writes,
                ahead: VecDeque::new(),
                base_ended: false,
                jumped: false,
                progress: Progress::new(&options),
                keys: options.keys,
                values: options.values,
            })
        })
    }

    fn base(&mut self) -> Result<&mut dyn LevelIterator> {
        self.transaction.check_open()?;
        match &mut self.base {
            Some(base) => Ok(&mut **base),
            None => Err(Error::new(Code::IteratorNotOpen, "the iterator is closed")),
        }
    }

    /// Passes up to `want` entries that exist, as far as is known what the database has.
    fn pass(&mut self, rest: &KeyRange, want: usize) -> Result<Vec<Entry>> {
        let reverse = self.progress.reverse();
        let comes_first = |one: &Bytes, other: &Bytes| if reverse { one > other } else { one < other };
        let (mut passed, mut met) = (Vec::new(), Vec::new());
        let mut position: Option<Bytes> = None;
        let mut ended = false;
        while passed.len() < want {
            let below = self.ahead.front();
            if below.is_none() && !self.base_ended {
                break;
            }
            let own = next_of(&self.writes, rest, reverse, position.as_ref());
            let own = own.filter(|(key, _)| below.is_none_or(|below| !comes_first(&below.key, key)));
            let take_below = below.is_some_and(|below| own.is_none_or(|(key, _)| *key == below.key));
            let overwritten = own.map(|(key, value)| (key.clone(), value.clone()));
            let below = if take_below { self.ahead.pop_front() } else { None };
            met.extend(below.clone());
            let (key, value) = match (overwritten, below) {
                (Some(own), _) => own,
                (None, Some(below)) => (below.key, Some(below.value)),
                (None, None) => {
                    // The end is only read by whoever is told of it.
                    ended = passed.is_empty();
                    break;
                }
            };
            position = Some(key.clone());
            passed.extend(value.map(|value| Entry { key, value }));
        }
        if position.is_some() || ended {
            let to = position.as_ref().filter(|_| !ended);
            let jumped = std::mem::take(&mut self.jumped);
            let remembered = self.transaction.open(|state| {
                state.reads.met(self.place, rest, to, met, jumped)?;
                state.check_room(0)
            });
            if remembered.is_err() {
                // What it has passed is not delivered, so it must not go on behind that.
                self.base = None;
            }
            remembered?;
        }
        if let Some(position) = position {
            self.progress.delivered(&position, passed.len());
        }
        if ended {
            self.progress.ended();
        }
        Ok(passed)
    }
}

impl Drop for MergedIterator {
    fn drop(&mut self) {
        if let Some(state) = self.transaction.state().as_mut() {
            state.reads.close_range(self.place);
        }
    }
}

/// The first write in `rest`, in the given direction, behind `position` if there is one.
fn next_of<'a>(
    writes: &'a Writes,
    rest: &KeyRange,
    reverse: bool,
    position: Option<&Bytes>,
) -> Option<(&'a Bytes, &'a Option<Bytes>)> {
    if rest.is_empty() {
        return None;
    }
    let behind = position.map(Bound::Excluded);
    if reverse {
        writes.range::<Bytes, _>((rest.lower(), behind.unwrap_or(rest.upper()))).next_back()
    } else {
        writes.range::<Bytes, _>((behind.unwrap_or(rest.lower()), rest.upper())).next()
    }
}

#[async_trait]
impl LevelIterator for MergedIterator {
    async fn next(&mut self) -> Result<Option<Entry>> {
        Ok(self.next_many(1).await?.pop())
    }

    async fn next_many(&mut self, size: usize) -> Result<Vec<Entry>> {
        loop {
            self.base()?;
            let want = self.progress.want(size);
            let Some(rest) = self.progress.remaining_range().filter(|_| want > 0).cloned() else {
                return Ok(Vec::new());
            };
            if self.ahead.is_empty() && !self.base_ended {
                let page = self.base()?.next_many(want).await?;
                self.base_ended = page.is_empty();
                self.ahead.extend(page);
            }
            let mut entries = self.pass(&rest, want)?;
            if entries.is_empty() && self.progress.remaining_range().is_some() {
                continue;
            }
            for entry in &mut entries {
                if !self.keys {
                    entry.key = Bytes::new();
                }
                if !self.values {
                    entry.value = Bytes::new();
                }
            }
            return Ok(entries);
        }
    }

    async fn seek(&mut self, target: Bytes) -> Result<()> {
        self.base()?.seek(target.clone()).await?;
        self.progress.seek(&target);
        self.ahead.clear();
        self.base_ended = false;
        self.jumped = true;
        Ok(())
    }

    async fn close(&mut self) -> Result<()> {
        self.ahead.clear();
        match self.base.take() {
            Some(mut base) => base.close().await,
            None => Ok(()),
        }
    }
}
