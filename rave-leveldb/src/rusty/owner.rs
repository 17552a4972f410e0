//! The thread that owns the engine and everything that borrows from it; all others send it requests.

use crate::rusty::{
    cache::Cache,
    engine::Engine,
    scan::{Page, PageRequest, View},
};
use bytes::Bytes;
use rave_core::{Batch, ClearOptions, Code, Effect, Error, Event, EventHub, Operation, Result, failed_conditions};
use std::{
    cell::RefCell,
    collections::HashMap,
    iter,
    rc::Rc,
    sync::{
        Arc,
        mpsc::{Receiver, TryRecvError},
    },
};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

pub(crate) type Reply<T> = oneshot::Sender<Result<T>>;
/// Names a view that the owner keeps for an iterator or a snapshot.
pub(crate) type ViewId = u64;

pub(crate) enum Command {
    Write {
        batch: Batch,
        sync: bool,
        reply: Reply<()>,
    },
    Get {
        key: Bytes,
        view: Option<ViewId>,
        reply: Reply<Option<Bytes>>,
    },
    GetMany {
        keys: Vec<Bytes>,
        view: Option<ViewId>,
        reply: Reply<Vec<Option<Bytes>>>,
    },
    Clear {
        options: ClearOptions,
        view: Option<ViewId>,
        reply: Reply<()>,
    },
    /// Keeps the present state, or that of another view, under a new name.
    Hold {
        id: ViewId,
        of: Option<ViewId>,
    },
    Page {
        view: ViewId,
        request: PageRequest,
        reply: Reply<Page>,
    },
    Release {
        id: ViewId,
    },
    Close,
}

/// A command, and its place in the queue, which is given back when the command is done.
pub(crate) struct Request {
    pub(crate) command: Command,
    pub(crate) permit: Option<OwnedSemaphorePermit>,
    /// Of a write: says that it is on its way.
    pub(crate) underway: Option<Underway>,
}

/// While this lives nothing is read from the cache.
pub(crate) struct Underway(Arc<Cache>);

impl Underway {
    pub(crate) fn new(cache: &Arc<Cache>) -> Self {
        cache.begin_write();
        Self(cache.clone())
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.end_write();
    }
}

struct Held {
    view: Result<Rc<View>>,
    /// What a backward iteration knows of its range.
    samples: Vec<Bytes>,
}

/// Bytes of writes that are committed in one group, about.
const GROUP_BYTES: usize = 1 << 20;

struct Owner {
    engine: Engine,
    views: HashMap<ViewId, Held>,
    cache: Arc<Cache>,
    events: EventHub,
    requests: Receiver<Request>,
    /// Taken from the queue, but not of the group that was being gathered.
    next: Option<Request>,
}

/// Serves requests until told to close or until all handles are gone, and then closes the engine.
pub(crate) fn serve(engine: Engine, cache: Arc<Cache>, events: EventHub, requests: Receiver<Request>) {
    let mut owner = Owner { engine, views: HashMap::new(), cache, events, requests, next: None };
    while let Some(request) = owner.next.take().or_else(|| owner.requests.recv().ok()) {
        if !owner.handle(request) {
            break;
        }
    }
    // Iterators first: they keep tables.
    owner.views.clear();
    owner.engine.reclaim();
}

impl Owner {
    fn handle(&mut self, request: Request) -> bool {
        let _permit = request.permit;
        match request.command {
            Command::Write { batch, sync, reply } => self.write(batch, sync, reply, request.underway),
            Command::Get { key, view, reply } => {
                let value = self.view(view).and_then(|view| self.engine.read(&view, |view| view.get(&key)));
                if let (None, Ok(value)) = (view, &value) {
                    self.cache.learn(&key, value.as_ref());
                }
                let _ = reply.send(value);
            }
            Command::GetMany { keys, view, reply } => {
                let read = |view: &View| keys.iter().map(|key| view.get(key)).collect();
                let values: Result<Vec<_>> = self.view(view).and_then(|view| self.engine.read(&view, read));
                if let (None, Ok(values)) = (view, &values) {
                    keys.iter().zip(values).for_each(|(key, value)| self.cache.learn(key, value.as_ref()));
                }
                let _ = reply.send(values);
            }
            Command::Clear { options, view, reply } => {
                let cleared = self.clear(&options, view);
                self.cache.forget();
                drop(request.underway);
                if cleared.is_ok() {
                    self.events.emit(|| Event::Clear(options.into()));
                }
                let _ = reply.send(cleared);
                self.make_room();
            }
            Command::Hold { id, of } => {
                let view = self.view(of);
                self.views.insert(id, Held { view, samples: Vec::new() });
            }
            Command::Page { view, request, reply } => {
                let _ = reply.send(self.page(view, &request));
            }
            Command::Release { id } => {
                if self.views.remove(&id).is_some() {
                    self.engine.reclaim();
                }
            }
            Command::Close => return false,
        }
        true
    }

    fn view(&mut self, id: Option<ViewId>) -> Result<Rc<View>> {
        match id {
            None => self.engine.present(),
            Some(id) => match self.views.get(&id) {
                Some(held) => held.view.clone(),
                None => Err(Error::new(Code::SnapshotNotOpen, "the snapshot is closed")),
            },
        }
    }

    fn page(&mut self, id: ViewId, request: &PageRequest) -> Result<Page> {
        let Some(held) = self.views.get_mut(&id) else {
            return Err(Error::new(Code::IteratorNotOpen, "the iterator is closed"));
        };
        let view = held.view.clone()?;
        let samples = &mut held.samples;
        self.engine.read(&view, |view| view.page(request, samples))
    }

    /// Commits a write together with the writes that wait right behind it. One with conditions is committed alone, so that
    /// nothing comes between its check and its commit.
    fn write(&mut self, batch: Batch, sync: bool, reply: Reply<()>, underway: Option<Underway>) {
        if let Err(error) = self.check(&batch) {
            drop(underway);
            let _ = reply.send(Err(error));
            return;
        }
        let alone = batch.is_conditional();
        let mut bytes = batch.byte_len();
        let mut sync_any = sync;
        let mut group = vec![(batch, reply)];
        let (mut permits, mut all_underway) = (Vec::new(), vec![underway]);
        while bytes < GROUP_BYTES && !alone {
            match self.requests.try_recv() {
                Ok(Request { command: Command::Write { batch, sync, reply }, permit, underway })
                    if !batch.is_conditional() =>
                {
                    all_underway.push(underway);
                    bytes += batch.byte_len();
                    sync_any |= sync;
                    group.push((batch, reply));
                    permits.extend(permit);
                }
                Ok(other) => {
                    self.next = Some(other);
                    break;
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        let result = self.engine.write(group.iter().map(|(batch, _)| batch), sync_any);
        match &result {
            Ok(()) => group.iter().for_each(|(batch, _)| self.cache.wrote(batch)),
            Err(_) => self.cache.forget(),
        }
        // Before the answers, so that whoever has one can read it from the cache.
        drop(all_underway);
        for (batch, reply) in group {
            if result.is_ok() && !batch.writes_nothing() {
                self.events.emit(|| Event::Write(batch.into()));
            }
            let _ = reply.send(result.clone());
        }
        drop(permits);
        self.make_room();
    }

    /// Fails if a condition of `batch` does not hold now.
    fn check(&mut self, batch: &Batch) -> Result<()> {
        if !batch.is_conditional() {
            return Ok(());
        }
        let view = self.view(None)?;
        let engine = RefCell::new(&mut self.engine);
        let get = |key: &Bytes| engine.borrow_mut().read(&view, |view| view.get(key));
        let failed = failed_conditions(batch.conditions(), get, |range, show| {
            let request = PageRequest { range: range.clone(), reverse: false, want: usize::MAX, values: true };
            engine.borrow_mut().visit(&view, request, |entry| show(&entry.key, &entry.value))
        })?;
        if failed.is_empty() { Ok(()) } else { Err(Error::condition_failed(failed)) }
    }

    fn clear(&mut self, options: &ClearOptions, view: Option<ViewId>) -> Result<()> {
        let view = self.view(view)?;
        let limit = options.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let reverse = options.reverse && options.limit.is_some();
        let mut batch = Batch::new();
        for range in options.ranges() {
            let request = PageRequest { range, reverse, want: limit - batch.len(), values: false };
            self.engine.visit(&view, request, |entry| batch.push(Operation::Del { key: entry.key }))?;
        }
        batch.append(options.and_write.clone());
        drop(view);
        self.engine.write(iter::once(&batch), options.sync).map_err(|error| match error.effect() {
            Effect::None => error,
            Effect::Unknown => error.context("clearing a range"),
        })
    }

    fn make_room(&mut self) {
        if self.engine.is_full() {
            self.engine.turn_over();
        }
    }
}
