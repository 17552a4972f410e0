//! One run: the scheduler that gives each process its turns, moves the clock and brings misfortune, all by the seed.
//!
//! A run has three phases. While clients work there are faults. Then it is calm: everybody is thawed, and everything that
//! is under way has to end in good time. At last a fresh process looks at what is there, and all close in good order.

use crate::{
    kernel::{Kernel, Life, Sim},
    oracle,
    plan::chance,
    process::Process,
};
use std::cell::RefCell;

/// Microseconds after which faults end at the latest.
const BUSY: u64 = 8_000_000;
/// Microseconds in which what is under way has to end once it is calm.
const PATIENCE: u64 = 60_000_000;
/// Turns in which a run has to end.
const TURNS: u64 = 2_000_000;

thread_local! {
    /// What a panic in a process said; runtimes catch panics of tasks.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// What it was started with.
    pub seed: u64,
    /// What must not be and was.
    pub violation: Option<String>,
    /// Equal for equal runs.
    pub hash: u64,
    /// Operations of users.
    pub operations: u64,
    /// Faults brought.
    pub faults: u64,
    /// Everything that happened, for people, if that was asked for.
    pub trace: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Busy,
    Calm { until: u64 },
    Verifying { until: u64 },
    Closing { until: u64 },
}

struct World {
    sim: Sim,
    processes: Vec<Option<Process>>,
    phase: Phase,
    /// Microseconds to move the clock by when nobody knows what comes next.
    stride: u64,
    /// Notes in the trace when the clock was last moved.
    noted: u64,
}

/// Makes panics in runs silent: they are reported as violations. For the whole program.
pub fn catch_panics() {
    std::panic::set_hook(Box::new(|info| PANIC.with(|panic| *panic.borrow_mut() = Some(info.to_string()))));
}

/// Runs one seed. With `readable` it keeps the trace.
pub fn run(seed: u64, readable: bool) -> Report {
    fastrand::seed(seed);
    PANIC.with(|panic| *panic.borrow_mut() = None);
    let sim = Sim::new(seed, readable);
    let mut world = World { sim: sim.clone(), processes: Vec::new(), phase: Phase::Busy, stride: 1000, noted: 0 };
    let processes = sim.with(|kernel| kernel.plan.processes);
    for number in 0..processes {
        let follows = number > 0 && sim.with(|kernel| kernel.rng.u32(0..10) < kernel.plan.followers);
        world.start(!follows);
    }
    let mut turns = 0;
    while !world.turn() {
        turns += 1;
        if turns > TURNS {
            sim.with(|kernel| kernel.violated(format!("the run does not end within {TURNS} turns")));
        }
    }
    sim.with(|kernel| {
        if kernel.violation.is_none() {
            oracle::judge(kernel);
        }
        // What is dropped from here on changes nothing.
        (0..kernel.processes.len()).for_each(|pid| kernel.kill(pid));
    });
    drop(world);
    sim.with(|kernel| Report {
        seed,
        violation: kernel.violation.take(),
        hash: kernel.trace.hash(),
        operations: kernel.next_operation() as u64,
        faults: u64::from(kernel.faults),
        trace: std::mem::replace(&mut kernel.trace, crate::trace::Trace::new(false)).into_lines(),
    })
}

impl World {
    fn start(&mut self, leads: bool) {
        let pid = self.sim.with(|kernel| kernel.spawn(leads));
        match Process::start(&self.sim, pid) {
            Ok(process) => self.processes.push(Some(process)),
            Err(error) => {
                self.processes.push(None);
                self.sim.with(|kernel| kernel.violated(format!("the simulator could not make a runtime: {error}")));
            }
        }
    }

    /// One turn: somebody runs, or the clock moves. Whether the run is over.
    fn turn(&mut self) -> bool {
        self.bury();
        if self.sim.with(|kernel| kernel.violation.is_some()) || self.next_phase() {
            return true;
        }
        if self.phase == Phase::Busy {
            self.misfortune();
        }
        let chosen = self.sim.with(|kernel| {
            let runnable = |process: &crate::kernel::Process| process.life == Life::Running && process.awake;
            let count = kernel.processes.iter().filter(|process| runnable(process)).count();
            let hasty = kernel.plan.hasty;
            if count == 0 || (!kernel.calm && chance(&mut kernel.rng, hasty)) {
                return None;
            }
            let place = kernel.rng.usize(0..count);
            let (pid, _) = kernel.processes.iter().enumerate().filter(|(_, process)| runnable(process)).nth(place)?;
            let polls = if kernel.rng.u8(0..3) == 0 { Some(kernel.rng.u32(1..6)) } else { None };
            Some((pid, polls, kernel.now))
        });
        match chosen {
            Some((pid, polls, now)) => {
                self.sim.with(|kernel| kernel.processes[pid].awake = false);
                let idle = self.processes[pid].as_mut().is_none_or(|process| process.step(now, polls));
                self.sim.with(|kernel| kernel.processes[pid].awake |= !idle);
                if let Some(panic) = PANIC.with(|panic| panic.borrow_mut().take()) {
                    self.sim.with(|kernel| kernel.violated(format!("P{pid} panicked: {panic}")));
                }
            }
            None => self.advance(),
        }
        false
    }

    /// Drops the runtimes of those that are no more.
    fn bury(&mut self) {
        let gone: Vec<usize> = self.sim.with(|kernel| {
            let gone = |pid: &usize| !kernel.alive(*pid);
            (0..self.processes.len()).filter(|pid| self.processes[*pid].is_some() && gone(pid)).collect()
        });
        for pid in gone {
            self.processes[pid] = None;
        }
    }

    /// Moves the clock to what comes next; timers inside processes are not known, so never far at once.
    fn advance(&mut self) {
        let stride = self.stride;
        let (noted, now) = self.sim.with(|kernel| {
            let stride = kernel.now + stride;
            let to = kernel.next_event().map_or(stride, |event| event.min(stride));
            kernel.advance(to);
            (kernel.trace.len(), kernel.now)
        });
        self.stride = if noted == self.noted { (self.stride * 2).min(50_000) } else { 1000 };
        self.noted = noted;
        for (pid, process) in self.processes.iter().enumerate() {
            // The timers of tokio count milliseconds.
            if process.as_ref().is_some_and(|process| process.lag(now) >= 1000) {
                self.sim.with(|kernel| kernel.awake(pid));
            }
        }
    }

    fn misfortune(&mut self) {
        let start = self.sim.with(|kernel| {
            let alive: Vec<usize> = (0..kernel.processes.len()).filter(|pid| kernel.alive(*pid)).collect();
            let victim = match (kernel.lock, kernel.rng.bool()) {
                (Some(leader), true) => Some(leader),
                _ => kernel.rng.choice(&alive).copied(),
            };
            let (kill, freeze, cut, close) = (kernel.plan.kill, kernel.plan.freeze, kernel.plan.cut, kernel.plan.close);
            let (start, thaw) = (kernel.plan.start, kernel.plan.thaw);
            if let Some(pid) = victim {
                if kernel.fault(kill) {
                    kernel.kill(pid);
                }
                if kernel.fault(freeze) {
                    kernel.freeze(pid);
                }
                if kernel.fault(close) {
                    kernel.order_close(pid);
                }
            }
            if kernel.fault(cut) {
                kernel.cut();
            }
            for pid in alive.iter().copied() {
                if chance(&mut kernel.rng, thaw) {
                    kernel.thaw(pid);
                }
            }
            let wanted = kernel.plan.most;
            // All together no more than twice as many as may live at once.
            let room = alive.len() < wanted && kernel.processes.len() < 2 * wanted;
            room && chance(&mut kernel.rng, start)
        });
        if start {
            let follows = self.sim.with(|kernel| kernel.rng.u32(0..10) < kernel.plan.followers);
            self.start(!follows);
        }
    }

    /// Goes on to the next phase if it is time. Whether the run is over.
    fn next_phase(&mut self) -> bool {
        let (now, idle, alone) = self.sim.with(|kernel| {
            let alive =
                || kernel.processes.iter().filter(|process| process.life != Life::Dead && process.life != Life::Exited);
            let busy = |process: &crate::kernel::Process| !process.idle && process.life == Life::Running;
            // Frozen ones are waited for only once it is calm.
            let frozen = |process: &crate::kernel::Process| !process.idle && process.life == Life::Frozen;
            (kernel.now, !alive().any(busy) && (!kernel.calm || !alive().any(frozen)), alive().next().is_none())
        });
        match self.phase {
            Phase::Busy if idle || now > BUSY => {
                self.sim.with(|kernel| {
                    kernel.calm = true;
                    kernel.trace.note(now, None, "it is calm from now on", 0, String::new);
                    (0..kernel.processes.len()).for_each(|pid| kernel.thaw(pid));
                });
                // Without anybody who may lead, those who follow would wait for ever.
                if !self.sim.with(|kernel| (0..kernel.processes.len()).any(|pid| kernel.may_lead(pid))) {
                    self.start(true);
                }
                self.phase = Phase::Calm { until: now + PATIENCE };
            }
            Phase::Calm { .. } if idle => {
                self.start(true);
                self.phase = Phase::Verifying { until: now + PATIENCE };
            }
            Phase::Verifying { .. } if idle => {
                self.sim.with(|kernel| (0..kernel.processes.len()).for_each(|pid| kernel.order_close(pid)));
                self.phase = Phase::Closing { until: now + PATIENCE };
            }
            Phase::Closing { .. } if alone => {
                self.sim.with(|kernel| {
                    if let Some(pid) = kernel.lock.filter(|pid| kernel.processes[*pid].life == Life::Exited) {
                        kernel.violated(format!("P{pid} has ended and holds the lock"));
                    }
                });
                return true;
            }
            Phase::Calm { until } | Phase::Verifying { until } | Phase::Closing { until } if now > until => {
                self.sim.with(|kernel| stuck(kernel, self.phase));
            }
            _ => {}
        }
        false
    }
}

/// Something that is under way does not end.
fn stuck(kernel: &mut Kernel, phase: Phase) {
    let pending = kernel
        .history
        .operations
        .iter()
        .enumerate()
        .filter(|(_, operation)| operation.ended.is_none() && kernel.alive(operation.pid));
    let pending: Vec<_> = pending.map(|(id, operation)| format!("o{id} of P{}", operation.pid)).collect();
    let busy = kernel.processes.iter().enumerate().filter(|(pid, process)| kernel.alive(*pid) && !process.idle);
    let busy: Vec<_> = busy.map(|(pid, _)| format!("P{pid}")).collect();
    let what = format!(
        "{phase:?}: not everything ended in time; under way: {}; busy: {}; the lock is held by {:?}",
        pending.join(", "),
        busy.join(", "),
        kernel.lock
    );
    kernel.violated(what);
}
