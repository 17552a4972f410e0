//! What a case runs on.

use super::CASES;
use crate::{AbstractLevel, Code, Effect, Result};
use futures::future::BoxFuture;
use std::{
    any::Any,
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

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
    /// What was asked for although the manifest does not offer it, and refused.
    refused: Mutex<BTreeSet<&'static str>>,
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
            refused: Mutex::default(),
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
            assert!(CASES.iter().any(|known| known.to_string() == *case), "there is no case {case:?}");
        }
        self.known_failures = cases;
        self
    }

    /// Why the case `name`, which has the name of its tests in front, is known to fail.
    pub(super) fn known_failure(&self, name: &str) -> Option<&'static str> {
        let is_it = |case| name.strip_suffix(case).is_some_and(|front| front.ends_with("::"));
        self.known_failures.iter().find(|(case, _)| is_it(case)).map(|(_, reason)| *reason)
    }

    /// Asserts that what the manifest does not offer was refused, and certainly did nothing; `capability` is the
    /// manifest's name for it.
    #[track_caller]
    pub(super) fn assert_refused<T>(&self, capability: &'static str, result: Result<T>) {
        self.assert_refused_with(Code::NotSupported, capability, result);
    }

    /// The same where refusals of that kind have a code of their own.
    #[track_caller]
    pub(super) fn assert_refused_with<T>(&self, code: Code, capability: &'static str, result: Result<T>) {
        match result {
            Err(error) => assert_eq!((error.code(), error.effect()), (code, Effect::None), "{error}"),
            Ok(_) => panic!("the manifest does not offer {capability}, so {code} was expected"),
        }
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).insert(capability);
    }

    /// What the case found refused as the manifest declares.
    pub(super) fn refused(&self) -> Vec<&'static str> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
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
