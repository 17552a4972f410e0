//! The machine that all virtual processes of a run share: its clock, its lock, its timers, and who is alive.
//!
//! It plays the operating system: what a dead process held is released, and nothing that a dead process still does (its
//! destructors run when its runtime is dropped) has any effect. Network, disk and the record of what users did are parts
//! of it, in files of their own.
//!
//! One OS thread runs all of it, so that the mutex around it is never contended; it is there because stores, transports and
//! wakers have to be `Send`.

use crate::{
    disk::Disk,
    history::History,
    network::Network,
    plan::{Plan, Point, chance},
    trace::{Pid, Trace},
};
use fastrand::Rng;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

/// How a process fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Running,
    /// Gets no time, and keeps all it has.
    Frozen,
    /// Was killed.
    Dead,
    /// Ended by itself.
    Exited,
}

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) life: Life,
    /// Something has happened that may let one of its tasks go on.
    pub(crate) awake: bool,
    /// It was asked to close.
    pub(crate) closing: bool,
    /// Its handle was closed or dropped.
    pub(crate) leaving: bool,
    pub(crate) orders: Option<Waker>,
    /// Its clients have done all they wanted.
    pub(crate) idle: bool,
    /// It may lead.
    pub(crate) leads: bool,
    /// Connections it made and locks it took: what its iterators see changes with it.
    pub(crate) epoch: u32,
}

/// What happens at a moment that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A task's pause ends.
    Pause(u64),
    /// Something may be seen at the end `1` of connection `0`.
    Look(usize, usize),
    /// The lock of a dead process is free.
    Unlock(Pid),
    /// The listener of a dead process is gone.
    Unlisten(u64),
}

/// The kernel; lives as long as a run.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) now: u64,
    pub(crate) rng: Rng,
    pub(crate) plan: Plan,
    pub(crate) processes: Vec<Process>,
    pub(crate) lock: Option<Pid>,
    pub(crate) network: Network,
    pub(crate) disk: Disk,
    pub(crate) history: History,
    pub(crate) trace: Trace,
    /// What must not be and was: the first of it.
    pub(crate) violation: Option<String>,
    /// No more faults.
    pub(crate) calm: bool,
    pub(crate) faults: u32,
    timers: BinaryHeap<Reverse<(u64, u64, Timer)>>,
    sequence: u64,
    pauses: BTreeMap<u64, (Pid, Waker)>,
}

/// A run's kernel, shared by all who act in it.
#[derive(Clone)]
pub(crate) struct Sim(Arc<Mutex<Kernel>>);

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sim")
    }
}

impl Sim {
    pub(crate) fn new(seed: u64, readable: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let plan = Plan::new(&mut rng);
        let disk = Disk::new(plan.ballast);
        let mut trace = Trace::new(readable);
        trace.note(0, None, "plan", seed, || format!("{plan:?}"));
        Self(Arc::new(Mutex::new(Kernel {
            now: 0,
            rng,
            plan,
            processes: Vec::new(),
            lock: None,
            network: Network::default(),
            disk,
            history: History::default(),
            trace,
            violation: None,
            calm: false,
            faults: 0,
            timers: BinaryHeap::new(),
            sequence: 0,
            pauses: BTreeMap::new(),
        })))
    }

    /// Runs `f` on the kernel. Nothing inside may drop what calls the kernel when it is dropped.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut Kernel) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Pauses a task of `pid` for so many microseconds; for 0 it gives way to the other tasks, or not even that.
    pub(crate) async fn pause(&self, pid: Pid, span: impl FnOnce(&mut Kernel) -> u64) {
        let (until, still) = self.with(|kernel| {
            let micros = span(kernel);
            (kernel.now + micros, micros == 0 && kernel.rng.bool())
        });
        if !still {
            Pause { sim: self, pid, until, id: None, polled: false }.await;
        }
        self.living(pid).await;
    }

    /// Nothing comes back to the dead: whoever asks the kernel for something waits here first. For the living it is nothing.
    pub(crate) async fn living(&self, pid: Pid) {
        if !self.with(|kernel| kernel.alive(pid)) {
            std::future::pending::<()>().await;
        }
    }

    /// As [`Kernel::reach`]. Later effects of the process, in the same poll too, are none.
    pub(crate) fn reach(&self, pid: Pid, point: Point) {
        self.with(|kernel| kernel.reach(pid, point));
    }
}

impl Kernel {
    /// Whether `pid` is there to act, running or frozen.
    pub(crate) fn alive(&self, pid: Pid) -> bool {
        self.processes.get(pid).is_some_and(|process| matches!(process.life, Life::Running | Life::Frozen))
    }

    /// Whether `pid` is there and may lead.
    pub(crate) fn may_lead(&self, pid: Pid) -> bool {
        self.alive(pid) && self.processes[pid].leads && !self.processes[pid].closing
    }

    pub(crate) fn note(&mut self, pid: Pid, what: &'static str, number: u64, detail: impl FnOnce() -> String) {
        self.trace.note(self.now, Some(pid), what, number, detail);
    }

    /// What must not be is.
    pub(crate) fn violated(&mut self, what: String) {
        if self.violation.is_none() {
            self.trace.note(self.now, None, "VIOLATION", 0, || what.clone());
            self.violation = Some(what);
        }
    }

    pub(crate) fn spawn(&mut self, leads: bool) -> Pid {
        self.processes.push(Process {
            life: Life::Running,
            awake: true,
            closing: false,
            leaving: false,
            orders: None,
            idle: false,
            leads,
            epoch: 0,
        });
        let pid = self.processes.len() - 1;
        self.note(pid, "starts", 0, String::new);
        pid
    }

    pub(crate) fn epoch(&self, pid: Pid) -> u32 {
        self.processes.get(pid).map_or(0, |process| process.epoch)
    }

    pub(crate) fn next_epoch(&mut self, pid: Pid) {
        if let Some(process) = self.processes.get_mut(pid) {
            process.epoch += 1;
        }
    }

    pub(crate) fn awake(&mut self, pid: Pid) {
        if let Some(process) = self.processes.get_mut(pid) {
            process.awake = true;
        }
    }

    pub(crate) fn wake(&mut self, pid: Pid, waker: Waker) {
        self.awake(pid);
        waker.wake();
    }

    /// Asks a process to close its handle in good order.
    pub(crate) fn order_close(&mut self, pid: Pid) {
        let Some(process) = self.processes.get_mut(pid) else { return };
        if !std::mem::replace(&mut process.closing, true) {
            let waker = process.orders.take();
            self.note(pid, "is asked to close", 0, String::new);
            if let Some(waker) = waker {
                self.wake(pid, waker);
            }
        }
    }

    /// Something that only the plan's faults may do happens with probability `of_1000`.
    pub(crate) fn fault(&mut self, of_1000: u32) -> bool {
        let happens = !self.calm && self.faults < self.plan.faults && chance(&mut self.rng, of_1000);
        self.faults += u32::from(happens);
        happens
    }

    /// `pid` has come to a moment at which it is interesting to lose it.
    pub(crate) fn reach(&mut self, pid: Pid, point: Point) {
        if !self.alive(pid) {
            return;
        }
        if self.fault(self.plan.deadly(point)) {
            self.note(pid, "is hit", point as u64, || format!("{point:?}"));
            self.kill(pid);
        } else if self.fault(self.plan.freezing(point)) {
            self.freeze(pid);
        }
    }

    pub(crate) fn freeze(&mut self, pid: Pid) {
        if let Some(process) = self.processes.get_mut(pid)
            && process.life == Life::Running
        {
            process.life = Life::Frozen;
            self.note(pid, "freezes", 0, String::new);
        }
    }

    pub(crate) fn thaw(&mut self, pid: Pid) {
        if let Some(process) = self.processes.get_mut(pid)
            && process.life == Life::Frozen
        {
            process.life = Life::Running;
            process.awake = true;
            self.note(pid, "thaws", 0, String::new);
        }
    }

    /// From this moment on the process does nothing more. The kernel releases what it held, each in its time.
    pub(crate) fn kill(&mut self, pid: Pid) {
        if !self.alive(pid) {
            return;
        }
        self.note(pid, "DIES", 0, String::new);
        self.processes[pid].life = Life::Dead;
        self.disk_after_death(pid);
        self.release(pid);
    }

    /// The process ended by itself.
    pub(crate) fn exit(&mut self, pid: Pid) {
        if !self.alive(pid) {
            return;
        }
        self.note(pid, "ends", 0, String::new);
        self.processes[pid].life = Life::Exited;
        if self.lock == Some(pid) {
            self.violated(format!("P{pid} ended in good order and still holds the lock"));
        }
        self.disk_after_death(pid);
        self.release(pid);
    }

    fn release(&mut self, pid: Pid) {
        self.network_after_death(pid);
        if self.lock == Some(pid) {
            let at = self.now + self.plan.lingering.draw(&mut self.rng);
            self.at(at, Timer::Unlock(pid));
        }
    }

    /// The lock, as the kernel gives it: to one.
    pub(crate) fn try_lock(&mut self, pid: Pid) -> Result<(), Option<Pid>> {
        if !self.alive(pid) {
            return Err(None);
        }
        match self.lock {
            None => {
                self.lock = Some(pid);
                self.next_epoch(pid);
                self.note(pid, "takes the lock", 0, String::new);
                self.reach(pid, Point::Locked);
                Ok(())
            }
            holder => Err(holder),
        }
    }

    pub(crate) fn unlock(&mut self, pid: Pid) {
        if self.lock != Some(pid) || !self.alive(pid) {
            return;
        }
        if self.listens(pid) {
            self.violated(format!("P{pid} releases the lock and still listens"));
        }
        if self.disk.open_by() == Some(pid) {
            self.violated(format!("P{pid} releases the lock and still has the store open"));
        }
        self.note(pid, "releases the lock", 0, String::new);
        self.lock = None;
    }

    pub(crate) fn at(&mut self, when: u64, timer: Timer) {
        self.sequence += 1;
        self.timers.push(Reverse((when, self.sequence, timer)));
    }

    /// When something happens next, if that is known.
    pub(crate) fn next_event(&self) -> Option<u64> {
        self.timers.peek().map(|Reverse((when, _, _))| *when)
    }

    /// Moves the clock, and lets happen what is due.
    pub(crate) fn advance(&mut self, to: u64) {
        self.now = self.now.max(to);
        while let Some(Reverse((when, _, _))) = self.timers.peek()
            && *when <= self.now
            && let Some(Reverse((_, _, timer))) = self.timers.pop()
        {
            match timer {
                Timer::Pause(id) => {
                    if let Some((pid, waker)) = self.pauses.remove(&id) {
                        self.wake(pid, waker);
                    }
                }
                Timer::Look(connection, end) => self.look(connection, end),
                Timer::Unlock(pid) => {
                    if self.lock == Some(pid) {
                        self.note(pid, "the dead one's lock is free", 0, String::new);
                        self.lock = None;
                    }
                }
                Timer::Unlisten(number) => self.unlisten_dead(number),
            }
        }
    }
}

struct Pause<'a> {
    sim: &'a Sim,
    pid: Pid,
    until: u64,
    id: Option<u64>,
    polled: bool,
}

impl Future for Pause<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let first = !std::mem::replace(&mut this.polled, true);
        this.sim.with(|kernel| {
            if kernel.now >= this.until {
                if !first {
                    return Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let id = *this.id.get_or_insert_with(|| {
                kernel.sequence += 1;
                let id = kernel.sequence;
                kernel.at(this.until, Timer::Pause(id));
                id
            });
            kernel.pauses.insert(id, (this.pid, cx.waker().clone()));
            Poll::Pending
        })
    }
}

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let dropped = self.sim.with(|kernel| kernel.pauses.remove(&id));
            drop(dropped);
        }
    }
}
