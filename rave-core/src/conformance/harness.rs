//! What a case runs on, and how it is run.

use super::{CASES, tools::code_of};
use crate::{AbstractLevel, AbstractLevelExt, Batch, Code, Effect, KeyRange};
use futures::{FutureExt, future::BoxFuture};
use std::{any::Any, fmt, panic, sync::Arc, sync::mpsc, thread, time::Duration};

/// How long one case may last before it counts as hung.
pub const DEADLINE: Duration = Duration::from_secs(120);

type Reopen = Box<dyn FnMut() -> BoxFuture<'static, Arc<dyn AbstractLevel>> + Send>;
type Disturb = Box<dyn FnMut() -> BoxFuture<'static, ()> + Send>;

/// The level that a case tests, with all that it needs to live.
pub struct Harness {
    /// The level under test: fresh, open and empty.
    pub level: Arc<dyn AbstractLevel>,
    reopen: Option<Reopen>,
    may_stay_closed: bool,
    disturb: Option<Disturb>,
    known_failures: &'static [(&'static str, &'static str)],
    // Last, so that it outlives the level.
    guards: Vec<Box<dyn Any + Send>>,
}

impl fmt::Debug for Harness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Harness").field("level", &self.level).finish_non_exhaustive()
    }
}

impl Drop for Harness {
    /// Guards go in the reverse of the order in which they were given: one may need another that came before it, as a
    /// process needs its directory.
    fn drop(&mut self) {
        while self.guards.pop().is_some() {}
    }
}

impl Harness {
    /// A harness of a fresh, empty level (also of an `Arc<dyn AbstractLevel>`).
    pub fn new(level: impl AbstractLevel) -> Self {
        Self {
            level: Arc::new(level),
            reopen: None,
            may_stay_closed: false,
            disturb: None,
            known_failures: &[],
            guards: Vec::new(),
        }
    }

    /// The same, holding on to `guard` until the case has ended and the level is closed.
    #[must_use]
    pub fn keeping(mut self, guard: impl Any + Send) -> Self {
        self.guards.push(Box::new(guard));
        self
    }

    /// The same with a way to open the store again after its `close`.
    #[must_use]
    pub fn reopening<F, R>(mut self, mut reopen: F) -> Self
    where
        F: FnMut() -> R + Send + 'static,
        R: Future<Output = Arc<dyn AbstractLevel>> + Send + 'static,
    {
        self.reopen = Some(Box::new(move || Box::pin(reopen())));
        self
    }

    /// States that this level cannot be opened again by itself although its store is permanent, so that permanence has
    /// to be proved on the store.
    #[must_use]
    pub fn without_reopening(mut self) -> Self {
        self.may_stay_closed = true;
        self
    }

    /// The same with something disruptive that cases call in their midst, such as killing the leader. The level has to
    /// go on as if nothing had happened.
    #[must_use]
    pub fn disturbing<F, D>(mut self, mut disturb: F) -> Self
    where
        F: FnMut() -> D + Send + 'static,
        D: Future<Output = ()> + Send + 'static,
    {
        self.disturb = Some(Box::new(move || Box::pin(disturb())));
        self
    }

    /// States which cases fail on this level because of what it is made of, each with its reason. They run like all
    /// others, and one of them that passes is a failure.
    ///
    /// # Panics
    ///
    /// If one of them is not among [`CASES`].
    #[must_use]
    pub fn known_to_fail(mut self, cases: &'static [(&'static str, &'static str)]) -> Self {
        for (case, _) in cases {
            assert!(CASES.contains(case), "there is no case {case:?}");
        }
        self.known_failures = cases;
        self
    }

    /// Why the case `name`, which has the name of its tests in front, is known to fail.
    fn known_failure(&self, name: &str) -> Option<&'static str> {
        let is_it = |case| name.strip_suffix(case).is_some_and(|front| front.ends_with("::"));
        self.known_failures.iter().find(|(case, _)| is_it(case)).map(|(_, reason)| *reason)
    }

    /// Something disruptive happens here, if the harness was given such a thing.
    pub async fn disturb(&mut self) {
        if let Some(disturb) = &mut self.disturb {
            disturb().await;
        }
    }

    /// Closes the level and opens it again; whether that is possible.
    ///
    /// # Panics
    ///
    /// If the store is permanent and the harness knows no way to open it again.
    pub async fn reopen(&mut self) -> bool {
        let permanent = self.level.manifest().permanence;
        self.level.close().await.expect("close");
        match &mut self.reopen {
            Some(reopen) => {
                self.level = reopen().await;
                true
            }
            None => {
                assert!(
                    !permanent || self.may_stay_closed,
                    "the manifest says `permanence`: give the harness a way to open the store again with \
                     Harness::reopening, or say Harness::without_reopening"
                );
                false
            }
        }
    }
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

/// Runs one case on what `setup` makes, on a runtime of its own.
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
    let (done, outcome) = mpsc::channel();
    let tested = name.to_owned();
    // A thread of its own makes a failure even of a case that blocks its runtime.
    let worker = thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let runtime = flavor.runtime();
            let result = panic::catch_unwind(panic::AssertUnwindSafe(|| {
                runtime.block_on(async move {
                    let mut harness = setup().await;
                    if harness.level.manifest().read_only {
                        refuses_writes(&harness).await;
                    } else {
                        let known = harness.known_failure(&tested);
                        let outcome = panic::AssertUnwindSafe(case(&mut harness)).catch_unwind().await;
                        match (outcome, known) {
                            (Err(panic), None) => panic::resume_unwind(panic),
                            (Ok(()), Some(reason)) => {
                                panic!("{tested} passes, although it is known to fail: {reason}")
                            }
                            (Ok(()), None) | (Err(_), Some(_)) => {}
                        }
                    }
                    harness.level.close().await.expect("closing the level after the case");
                });
            }));
            runtime.shutdown_timeout(Duration::from_secs(30));
            let _ = done.send(());
            if let Err(panic) = result {
                panic::resume_unwind(panic);
            }
        })
        .expect("a thread");
    let hung = outcome.recv_timeout(DEADLINE) == Err(mpsc::RecvTimeoutError::Timeout);
    assert!(!hung, "{name} did not end within {DEADLINE:?}");
    if let Err(panic) = worker.join() {
        panic::resume_unwind(panic);
    }
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
        let error = result.expect_err("a store open for reading only must refuse to write");
        assert_eq!((error.code(), error.effect()), (Code::ReadOnly, Effect::None), "{error}");
    }
    assert_eq!(code_of(level.get("a").await), None);
    assert_eq!(code_of(level.all(KeyRange::all()).await), None);
}
