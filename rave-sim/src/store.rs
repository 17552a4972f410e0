//! The simulated store as a process sees it: an opener, a lock, and an `AbstractLevel` on the shared disk.
//!
//! It keeps the contract of a store and no more: changes commit in the order in which they were asked for, in groups,
//! each in steps that a process can die between: waiting, in the log, visible, acknowledged.

mod cursor;
mod snapshot;

use crate::{
    disk::{Change, Entries, Queued},
    kernel::{Kernel, Sim},
    plan::Point,
    trace::Pid,
};
use async_trait::async_trait;
use cursor::Cursor;
use rave_core::{
    AbstractLevel, Batch, Bytes, ClearOptions, Effect, Error, EventHub, EventStream, IteratorOptions, LevelIterator,
    LockAttempt, LockedStore, Manifest, Opener, ReadOptions, Result, Snapshot, Status, WriteOptions,
};
use snapshot::SimSnapshot;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};
use tokio::{
    sync::{Notify, oneshot, watch},
    task::AbortHandle,
};

/// Opens the shared disk for one process.
#[derive(Debug)]
pub(crate) struct SimOpener {
    pub(crate) sim: Sim,
    pub(crate) pid: Pid,
}

/// The lock, while nothing else is open.
struct Locked {
    sim: Sim,
    pid: Pid,
    /// Given to the store.
    passed_on: bool,
}

impl Drop for Locked {
    fn drop(&mut self) {
        if !self.passed_on {
            self.sim.with(|kernel| kernel.unlock(self.pid));
        }
    }
}

fn store_delay(kernel: &mut Kernel) -> u64 {
    kernel.plan.store.draw(&mut kernel.rng)
}

#[async_trait]
impl Opener for SimOpener {
    async fn try_lock(&self) -> Result<LockAttempt> {
        self.sim.pause(self.pid, |kernel| kernel.plan.network.draw(&mut kernel.rng) / 4).await;
        Ok(match self.sim.with(|kernel| kernel.try_lock(self.pid)) {
            Ok(()) => {
                LockAttempt::Acquired(Box::new(Locked { sim: self.sim.clone(), pid: self.pid, passed_on: false }))
            }
            Err(holder) => LockAttempt::Held { holder: holder.and_then(|pid| u32::try_from(pid).ok()) },
        })
    }

    fn location(&self) -> String {
        "the simulated disk".to_owned()
    }
}

#[async_trait]
impl LockedStore for Locked {
    async fn open(mut self: Box<Self>) -> Result<Arc<dyn AbstractLevel>> {
        let (sim, pid) = (self.sim.clone(), self.pid);
        sim.reach(pid, Point::Recovering);
        sim.pause(pid, |kernel| kernel.plan.recovery.draw(&mut kernel.rng)).await;
        sim.reach(pid, Point::Recovering);
        let number = sim.with(|kernel| kernel.open_store(pid));
        self.passed_on = true;
        let shared = Arc::new(Shared {
            sim,
            pid,
            number,
            asked: AtomicU64::new(0),
            done: AtomicU64::new(0),
            answered: watch::Sender::new(0),
            news: Notify::new(),
            closing: AtomicBool::new(false),
            unlocked: AtomicBool::new(false),
        });
        let writer = tokio::spawn(write(shared.clone())).abort_handle();
        Ok(Arc::new(SimLevel { shared, events: EventHub::new(), writer }))
    }
}

/// What the handle and its writer task share.
#[derive(Debug)]
struct Shared {
    sim: Sim,
    pid: Pid,
    number: u64,
    /// Changes asked for, and done: visible, or failed.
    asked: AtomicU64,
    done: AtomicU64,
    answered: watch::Sender<u64>,
    /// For the writer.
    news: Notify,
    closing: AtomicBool,
    unlocked: AtomicBool,
}

impl Shared {
    fn ask(&self, what: Queued) -> Result<()> {
        if self.closing.load(Relaxed) {
            return Err(Error::not_open());
        }
        // Given back when refused, because dropping it inside the kernel would wake who waits.
        if let Err(refused) = self.sim.with(|kernel| kernel.disk.enqueue(self.number, what)) {
            let (error, _) = *refused;
            return Err(error);
        }
        self.asked.fetch_add(1, Relaxed);
        self.news.notify_one();
        Ok(())
    }

    fn unlock(&self) {
        if !self.unlocked.swap(true, Relaxed) {
            self.sim.with(|kernel| kernel.unlock(self.pid));
        }
    }
}

/// The open store.
#[derive(Debug)]
struct SimLevel {
    shared: Arc<Shared>,
    events: EventHub,
    writer: AbortHandle,
}

/// The writer: one group of changes after the other.
async fn write(shared: Arc<Shared>) {
    let Shared { sim, pid, number, .. } = &*shared;
    let (pid, number) = (*pid, *number);
    loop {
        if sim.with(|kernel| kernel.disk.waiting() == 0 || !kernel.disk.is_open(number)) {
            shared.news.notified().await;
            continue;
        }
        sim.pause(pid, store_delay).await;
        let group = sim.with(|kernel| kernel.take_group(number));
        let answers: Vec<Answer> = sim.with(|kernel| {
            let answers = group.into_iter().map(|queued| match queued {
                Queued::Change(change, answer) => Answer::Change(kernel.append(pid, number, &change), answer),
                Queued::Read(answer) => Answer::Read(kernel.disk.state(kernel.disk.newest()).clone(), answer),
            });
            let answers = answers.collect();
            kernel.reach(pid, Point::Logged);
            answers
        });
        sim.pause(pid, store_delay).await;
        sim.with(|kernel| {
            kernel.publish(pid, number);
            kernel.reach(pid, Point::Visible);
        });
        shared.done.fetch_add(answers.len() as u64, Relaxed);
        for answer in answers {
            sim.pause(pid, |kernel| store_delay(kernel) / 4).await;
            match answer {
                Answer::Change(result, answer) => drop(answer.send(result)),
                Answer::Read(state, answer) => drop(answer.send(Ok(state))),
            }
            shared.answered.send_modify(|answered| *answered += 1);
            sim.reach(pid, Point::Acknowledged);
        }
    }
}

/// What the writer is going to tell.
enum Answer {
    Change(Result<()>, oneshot::Sender<Result<()>>),
    Read(Entries, oneshot::Sender<Result<Entries>>),
}

impl SimLevel {
    async fn change(&self, change: Change) -> Result<()> {
        let shared = &*self.shared;
        shared.sim.living(shared.pid).await;
        let (answer, answered) = oneshot::channel();
        shared.ask(Queued::Change(change, answer))?;
        answered.await.unwrap_or_else(|_| Err(Error::not_open().with_effect(Effect::Unknown)))
    }

    /// The state that a read sees that is asked for now: behind every change that was asked for before, and before every
    /// change that is asked for later.
    async fn state(&self) -> Result<Entries> {
        let shared = &*self.shared;
        shared.sim.living(shared.pid).await;
        let state = if shared.asked.load(Relaxed) == shared.done.load(Relaxed) && !shared.closing.load(Relaxed) {
            let open = |kernel: &mut Kernel| kernel.disk.is_open(shared.number);
            let state =
                shared.sim.with(|kernel| open(kernel).then(|| kernel.disk.state(kernel.disk.visible()).clone()));
            state.ok_or_else(Error::not_open)?
        } else {
            let (answer, answered) = oneshot::channel();
            shared.ask(Queued::Read(answer))?;
            answered.await.unwrap_or_else(|_| Err(Error::not_open()))?
        };
        shared.sim.pause(shared.pid, store_delay).await;
        Ok(state)
    }
}

impl SimLevel {
    /// What a read with this snapshot sees.
    async fn seen(&self, snapshot: Option<&Snapshot>) -> Result<Entries> {
        let Some(snapshot) = snapshot else { return self.state().await };
        let Shared { sim, pid, number, closing, .. } = &*self.shared;
        sim.living(*pid).await;
        sim.pause(*pid, store_delay).await;
        if closing.load(Relaxed) || !sim.with(|kernel| kernel.disk.is_open(*number)) {
            return Err(Error::not_open());
        }
        SimSnapshot::state(snapshot, *number)
    }
}

impl Drop for SimLevel {
    fn drop(&mut self) {
        self.writer.abort();
        let Shared { sim, pid, number, .. } = &*self.shared;
        let waiting = sim.with(|kernel| kernel.close_store(*pid, *number));
        drop(waiting);
        self.shared.unlock();
    }
}

#[async_trait]
impl AbstractLevel for SimLevel {
    fn manifest(&self) -> Manifest {
        Manifest {
            store: "simulated".into(),
            implicit_snapshots: true,
            explicit_snapshots: true,
            permanence: true,
            sync_writes: true,
            atomic_clear: true,
            conditions: true,
            ..Manifest::default()
        }
    }

    fn status(&self) -> Status {
        if self.shared.closing.load(Relaxed) { Status::Closed } else { Status::Open }
    }

    fn events(&self) -> EventStream {
        self.events.subscribe()
    }

    async fn get_opts(&self, key: Bytes, options: ReadOptions) -> Result<Option<Bytes>> {
        Ok(self.seen(options.snapshot.as_ref()).await?.get(&key).cloned())
    }

    async fn get_many_opts(&self, keys: Vec<Bytes>, options: ReadOptions) -> Result<Vec<Option<Bytes>>> {
        let state = self.seen(options.snapshot.as_ref()).await?;
        Ok(keys.iter().map(|key| state.get(key).cloned()).collect())
    }

    async fn write_opts(&self, batch: Batch, _: WriteOptions) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        batch.validate()?;
        self.change(Change::Write(batch)).await
    }

    async fn clear_opts(&self, options: ClearOptions) -> Result<()> {
        options.validate()?;
        if options.is_nothing() {
            return Ok(());
        }
        if options.snapshot.is_some() {
            return Err(Error::not_supported("a clear of what a snapshot of the simulated store holds"));
        }
        self.change(Change::Clear(options)).await
    }

    async fn iterator_opts(&self, options: IteratorOptions) -> Result<Box<dyn LevelIterator>> {
        let state = self.seen(options.snapshot.as_ref()).await?;
        Ok(Box::new(Cursor::new(self.shared.clone(), state, &options)))
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        Ok(Snapshot::new(SimSnapshot::new(self.shared.number, self.state().await?)))
    }

    async fn close(&self) -> Result<()> {
        let Shared { sim, pid, number, .. } = &*self.shared;
        if self.shared.closing.swap(true, Relaxed) {
            return Ok(());
        }
        let asked = self.shared.asked.load(Relaxed);
        let mut answered = self.shared.answered.subscribe();
        let _ = answered.wait_for(|answered| *answered >= asked).await;
        sim.pause(*pid, store_delay).await;
        let waiting = sim.with(|kernel| kernel.close_store(*pid, *number));
        drop(waiting);
        sim.reach(*pid, Point::Closed);
        sim.pause(*pid, store_delay).await;
        self.shared.unlock();
        Ok(())
    }
}
