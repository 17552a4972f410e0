//! A virtual process: a runtime of its own with a clock that stands still, run a few polls at a time.

use crate::{client::client, kernel::Sim, network::SimTransport, store::SimOpener, trace::Pid};
use rave_core::{AbstractLevel, Code};
use rave_level::{Builder, RaveLevel};
use std::{
    cell::Cell,
    future::poll_fn,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Poll, Waker},
    time::{Duration, SystemTime},
};
use tokio::{runtime::Runtime, task::JoinSet};

/// Set by the runtime when it has nothing to do.
#[derive(Default)]
struct Idle {
    reached: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Idle {
    fn reach(&self) {
        self.reached.store(true, Relaxed);
        if let Some(waker) = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // Ends `Process::step`, and keeps the runtime from moving its clock to the next timer.
            waker.wake();
        }
    }
}

thread_local! {
    /// The simulated time, for the time of day.
    static NOW: Cell<u64> = const { Cell::new(0) };
}

/// Some day, and the simulated time of it.
fn time_of_day() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_hours(500_000) + Duration::from_micros(NOW.get())
}

pub(crate) struct Process {
    runtime: Runtime,
    idle: Arc<Idle>,
    /// Where its clock stands.
    clock: u64,
}

impl Process {
    /// Starts a process: it opens the database, its clients use it, and it closes when it is told to.
    pub(crate) fn start(sim: &Sim, pid: Pid) -> std::io::Result<Self> {
        let idle = Arc::new(Idle::default());
        let hook = idle.clone();
        let mut builder = tokio::runtime::Builder::new_current_thread();
        // The runtime draws random numbers of its own, for `watch` channels and `select!`.
        #[cfg(tokio_unstable)]
        builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&sim.with(|kernel| kernel.rng.u64(..)).to_le_bytes()));
        let runtime = builder
            .enable_time()
            .start_paused(true)
            // One poll, and then a look at who comes next.
            .event_interval(1)
            .on_thread_park(move || hook.reach())
            .build()?;
        runtime.spawn(live(sim.clone(), pid));
        Ok(Self { runtime, idle, clock: sim.with(|kernel| kernel.now) })
    }

    /// How far its clock is behind `now`.
    pub(crate) fn lag(&self, now: u64) -> u64 {
        now - self.clock
    }

    /// Lets the process run: so many polls of its tasks, or until it has nothing to do. Whether it has nothing to do.
    pub(crate) fn step(&mut self, now: u64, polls: Option<u32>) -> bool {
        NOW.set(now);
        let lag = self.lag(now);
        self.clock = now;
        let idle = &*self.idle;
        idle.reached.store(false, Relaxed);
        let mut left = polls;
        self.runtime.block_on(async {
            if lag > 0 {
                tokio::time::advance(Duration::from_micros(lag)).await;
            }
            poll_fn(|cx| {
                if idle.reached.load(Relaxed) {
                    return Poll::Ready(true);
                }
                match &mut left {
                    Some(0) => return Poll::Ready(false),
                    Some(left) => {
                        *left -= 1;
                        cx.waker().wake_by_ref();
                    }
                    None => {
                        *idle.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
                    }
                }
                Poll::Pending
            })
            .await
        })
    }
}

/// The life of a process, seen from inside.
async fn live(sim: Sim, pid: Pid) {
    let (policy, deadline, clients) = sim.with(|kernel| {
        let policy = *kernel.rng.choice(&kernel.plan.policies).unwrap_or(&Default::default());
        let deadline = kernel.plan.deadline.filter(|_| kernel.rng.bool()).map(|span| span.draw(&mut kernel.rng));
        let clients = kernel.rng.usize(1..=kernel.plan.clients);
        kernel.note(pid, "is", 0, || format!("{policy:?}, deadline {deadline:?} µs, {clients} clients"));
        (policy, deadline, clients)
    });
    let transport = SimTransport { sim: sim.clone(), pid };
    let mut builder = match sim.with(|kernel| kernel.processes[pid].leads) {
        true => Builder::new(SimOpener { sim: sim.clone(), pid }, transport),
        false => Builder::guest(transport),
    };
    builder = builder.retry(policy).session_clock(time_of_day).sessions(sim.with(|kernel| kernel.plan.sessions));
    if let Some(micros) = sim.with(|kernel| kernel.plan.retention) {
        builder = builder.session_retention(Duration::from_micros(micros));
    }
    if let Some(micros) = deadline {
        builder = builder.operation_timeout(Duration::from_micros(micros));
    }
    let level = tokio::select! {
        biased;
        () = ordered_to_close(&sim, pid) => None,
        opened = builder.open() => match opened {
            Ok(level) => Some(level),
            Err(error) => {
                sim.with(|kernel| {
                    if !kernel.alive(pid) {
                        return;
                    }
                    kernel.note(pid, "could not open", 0, || error.to_string());
                    // A leader may have been frozen for longer than a process waits, and the disk may fail.
                    let nobody = error.code() == Code::DatabaseFailedOpen && !kernel.processes[pid].leads;
                    if !nobody && !matches!(error.code(), Code::Locked | Code::Io) {
                        kernel.violated(format!("P{pid} could not open: {error}"));
                    }
                });
                None
            }
        },
    };
    if let Some(level) = level {
        sim.with(|kernel| kernel.note(pid, "is open", 0, String::new));
        used(&sim, pid, level, clients).await;
    }
    end(&sim, pid).await;
}

/// Lets the clients use the handle until they have done all they wanted and the process is told to close.
async fn used(sim: &Sim, pid: Pid, level: RaveLevel, clients: usize) {
    let mut working = JoinSet::new();
    for _ in 0..clients {
        working.spawn(client(sim.clone(), pid, level.clone()));
    }
    let done = async {
        while working.join_next().await.is_some() {}
        sim.with(|kernel| {
            kernel.processes[pid].idle = true;
            kernel.note(pid, "is idle", 0, String::new);
        });
    };
    tokio::select! {
        biased;
        () = ordered_to_close(sim, pid) => {}
        () = async { done.await; std::future::pending().await } => {}
    }
    sim.with(|kernel| kernel.processes[pid].leaving = true);
    if sim.with(|kernel| kernel.rng.u8(0..4) == 0) && working.is_empty() {
        sim.with(|kernel| kernel.note(pid, "drops its handle", 0, String::new));
        drop(level);
        return;
    }
    let result = level.close().await;
    sim.with(|kernel| {
        if !kernel.alive(pid) {
            return;
        }
        kernel.note(pid, "has closed", 0, || format!("{result:?}"));
        if let Err(error) = result
            && kernel.plan.io_errors == 0
        {
            kernel.violated(format!("P{pid} could not close: {error}"));
        }
        if kernel.lock == Some(pid) {
            kernel.violated(format!("P{pid} has closed and still holds the lock"));
        }
    });
    // What was on its way is answered by now, one way or the other.
    while working.join_next().await.is_some() {}
}

/// A handle that was dropped closes in the background: the process waits for that before it ends.
async fn end(sim: &Sim, pid: Pid) {
    while sim.with(|kernel| kernel.lock == Some(pid)) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    sim.with(|kernel| kernel.exit(pid));
}

async fn ordered_to_close(sim: &Sim, pid: Pid) {
    poll_fn(|cx| {
        sim.with(|kernel| {
            let process = &mut kernel.processes[pid];
            if process.closing {
                return Poll::Ready(());
            }
            process.orders = Some(cx.waker().clone());
            Poll::Pending
        })
    })
    .await;
}
