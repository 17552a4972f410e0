//! A case of the suite, how it is run, and what came of it.

use super::{Harness, tools::code_of};
use crate::{AbstractLevelExt, Batch, Code, KeyRange};
use futures::{FutureExt, future::LocalBoxFuture};
use std::{any::Any, fmt, panic, sync::mpsc, thread, time::Duration};

/// How long one case may last before it counts as hung.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// One case as a value, for who runs the suite without the macro: with names of their own, on many levels at once, or to
/// count what came of it. [`CASES`](super::CASES) has all of them.
///
/// Displayed as `group::name`.
///
/// ```
/// use rave_core::{MemoryLevel, conformance::{CASES, DEADLINE, Flavor, Harness, Outcome}};
///
/// for case in CASES.iter().filter(|case| case.group() == "get") {
///     let setup = async || Harness::new(MemoryLevel::new());
///     let outcome = case.run("memory", Flavor::CurrentThread, DEADLINE, setup);
///     assert!(matches!(outcome, Outcome::Passed), "{case}: {outcome:?}");
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub(super) group: &'static str,
    pub(super) name: &'static str,
    pub(super) body: for<'a> fn(&'a mut Harness) -> LocalBoxFuture<'a, ()>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}", self.group, self.name)
    }
}

impl Case {
    /// The module that it is in, such as `iterator`.
    pub fn group(&self) -> &'static str {
        self.group
    }

    /// The function's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Runs it on what `setup` makes, on a runtime and a thread of its own; the thread is named `level::group::name`.
    ///
    /// A panic is an [`Outcome`] and goes no further, but the process's panic hook sees it. A case that hangs is left
    /// behind with its thread.
    pub fn run<S>(&self, level: &str, flavor: Flavor, deadline: Duration, setup: S) -> Outcome
    where
        S: AsyncFnOnce() -> Harness + Send + 'static,
    {
        let failed = |panic: Panic| Outcome::Failed { message: message_of(&*panic) };
        attempt(&format!("{level}::{self}"), flavor, deadline, setup, self.body).unwrap_or_else(failed)
    }
}

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The level does what the case demands.
    Passed,
    /// The level lacks something that the case needs, says so in its manifest, and refused it as it has to. The rest of
    /// the case, if there is any, passed.
    Refused {
        /// The manifest's names of what it lacks; `writes` for a level that is read-only.
        capabilities: Vec<&'static str>,
    },
    /// It failed, as [`Harness::known_to_fail`] said.
    KnownToFail {
        /// Why it has to fail.
        reason: &'static str,
        /// What the panic said.
        message: String,
    },
    /// It failed, or passed although it is known to fail, or the level could not be made or closed.
    Failed {
        /// What the panic said.
        message: String,
    },
    /// It did not end within its deadline, and still runs.
    Hung,
}

/// The runtime that a case runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    /// Everything on one thread.
    CurrentThread,
    /// Two worker threads.
    MultiThread,
}

impl Flavor {
    fn runtime(self) -> tokio::runtime::Runtime {
        let mut builder = match self {
            Self::CurrentThread => tokio::runtime::Builder::new_current_thread(),
            Self::MultiThread => {
                let mut builder = tokio::runtime::Builder::new_multi_thread();
                builder.worker_threads(2);
                builder
            }
        };
        builder.enable_all().build().expect("a tokio runtime")
    }
}

/// Runs one case as a test: on what `setup` makes, on a runtime of its own.
///
/// # Panics
///
/// If the case fails, or passes although it is [known to fail](Harness::known_to_fail); if it lasts longer than
/// [`DEADLINE`]; or if the level cannot be closed afterwards.
pub fn run<S, C>(name: &str, flavor: Flavor, setup: S, case: C)
where
    S: AsyncFnOnce() -> Harness + Send + 'static,
    C: AsyncFnOnce(&mut Harness) + Send + 'static,
{
    match attempt(name, flavor, DEADLINE, setup, case) {
        Err(panic) => panic::resume_unwind(panic),
        Ok(Outcome::Hung) => panic!("{name} did not end within {DEADLINE:?}"),
        Ok(_) => {}
    }
}

/// What a panic leaves behind.
type Panic = Box<dyn Any + Send>;

/// Runs one case; a failure is the panic that tells it.
fn attempt<S, C>(name: &str, flavor: Flavor, deadline: Duration, setup: S, case: C) -> Result<Outcome, Panic>
where
    S: AsyncFnOnce() -> Harness + Send + 'static,
    C: AsyncFnOnce(&mut Harness) + Send + 'static,
{
    let (done, ended) = mpsc::channel();
    let tested = name.to_owned();
    // A thread of its own makes a failure even of a case that blocks its runtime.
    let worker = thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let runtime = flavor.runtime();
            let result = panic::catch_unwind(panic::AssertUnwindSafe(|| {
                runtime.block_on(async move {
                    let mut harness = setup().await;
                    let outcome = outcome_of(&tested, &mut harness, case).await;
                    harness.level.close().await.expect("closing the level after the case");
                    outcome
                })
            }));
            runtime.shutdown_timeout(Duration::from_secs(30));
            let _ = done.send(());
            result
        })
        .expect("a thread");
    if ended.recv_timeout(deadline) == Err(mpsc::RecvTimeoutError::Timeout) {
        return Ok(Outcome::Hung);
    }
    worker.join().flatten()
}

/// Runs one case in a harness.
///
/// # Panics
///
/// If it fails, or passes although it is known to fail.
async fn outcome_of<C>(name: &str, harness: &mut Harness, case: C) -> Outcome
where
    C: AsyncFnOnce(&mut Harness),
{
    if harness.level.manifest().read_only {
        refuses_writes(harness).await;
    } else {
        let known = harness.known_failure(name);
        let result = panic::AssertUnwindSafe(case(harness)).catch_unwind().await;
        match (result, known) {
            (Err(panic), None) => panic::resume_unwind(panic),
            (Err(panic), Some(reason)) => return Outcome::KnownToFail { reason, message: message_of(&*panic) },
            (Ok(()), Some(reason)) => panic!("{name} passes, although it is known to fail: {reason}"),
            (Ok(()), None) => {}
        }
    }
    let capabilities = harness.refused();
    if capabilities.is_empty() { Outcome::Passed } else { Outcome::Refused { capabilities } }
}

/// What a store has to do that is open for reading only.
async fn refuses_writes(harness: &Harness) {
    let level = &harness.level;
    for result in [
        level.put("a", "1").await,
        level.del("a").await,
        level.write(Batch::new().put("a", "1").del("b")).await,
        level.clear(KeyRange::all()).await,
    ] {
        harness.assert_refused_with(Code::ReadOnly, "writes", result);
    }
    assert_eq!(code_of(level.get("a").await), None);
    assert_eq!(code_of(level.all(KeyRange::all()).await), None);
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a message").to_owned()
}
