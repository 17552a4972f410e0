//! The election with real sockets, stores and timers.

use crate::{
    Role,
    election::{Election, Input, Step},
};
use futures::future::BoxFuture;
use rave_core::{AbstractLevel, Code, Error, Event, EventHub, LockAttempt, LockedStore, Opener, Result};
use rave_guest::Guest;
use rave_host::{GuardedLevel, Host, HostOptions, HostStats};
use rave_transport::{Connect, Connection, Transport, wire::message::SessionState};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::watch;

/// What the handle sees of its driver.
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    /// No leader was found yet, for the reason given.
    Opening(Obstacle),
    /// The handle works.
    Open(Role),
    /// Opening failed, or the handle was closed with this result.
    Ended(Result<()>),
}

/// Why opening has not succeeded yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// Nothing is known yet.
    Starting,
    /// Nobody listens, and this process may not lead.
    Nobody,
    /// The lock is held and nobody listens.
    Held(Option<u32>),
    /// Somebody listens and does not answer.
    Silent(Option<u32>),
    /// Somebody leads and does not serve this process, for that reason.
    TurnedAway(Arc<str>),
    /// This process has the lock and recovers the store.
    Recovering,
}

/// The figures of the host while this process leads.
pub(crate) type Figures = Arc<Mutex<Option<Box<dyn Fn() -> HostStats + Send + Sync>>>>;

pub(crate) struct Driver {
    /// Without one, this process never leads.
    pub(crate) opener: Option<Arc<dyn Opener>>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) guest: Guest,
    pub(crate) teller: Teller,
    pub(crate) host_options: HostOptions,
    /// How long operations on their way may take to finish once the handle is closed.
    pub(crate) grace: Duration,
    pub(crate) closing: watch::Receiver<bool>,
    pub(crate) figures: Figures,
    pub(crate) held: Held,
}

/// Tells the handle, and whoever listens to its events, how things stand.
#[derive(Clone)]
pub(crate) struct Teller {
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) events: EventHub,
}

impl Teller {
    /// Opening has not succeeded yet, because of this.
    fn obstacle(&self, obstacle: Obstacle) {
        self.phase.send_if_modified(|phase| match phase {
            // Who was turned away and asks once more has been told why nevertheless.
            Phase::Opening(Obstacle::TurnedAway(_)) if matches!(obstacle, Obstacle::Silent(_)) => false,
            Phase::Opening(old) if *old != obstacle => {
                *old = obstacle;
                true
            }
            _ => false,
        });
    }

    /// This process now plays another part.
    fn role(&self, role: Role) {
        self.phase.send_if_modified(|phase| {
            let first = matches!(phase, Phase::Opening(_));
            // Only a leader ends the opening.
            if first && role == Role::Electing {
                return false;
            }
            *phase = Phase::Open(role);
            if first {
                self.events.emit(|| Event::Open);
            }
            true
        });
        match role {
            Role::Leader => self.events.emit(|| Event::Leader),
            Role::Guest { leader_pid } => self.events.emit(|| Event::Following { leader_pid }),
            Role::Electing => {}
        }
    }

    fn opening(&self) -> bool {
        matches!(*self.phase.borrow(), Phase::Opening(_))
    }

    fn end(&self, result: Result<()>) {
        self.events.emit(|| Event::Closed);
        self.phase.send_replace(Phase::Ended(result));
    }
}

/// What one step leaves for the next. Dropping it lets go in the right order: the listener before the lock.
#[derive(Default)]
pub(crate) struct Held {
    connection: Option<Connection>,
    host: Option<Host>,
    locked: Option<Box<dyn LockedStore>>,
    /// The store while it recovers: it has the lock, so giving it up must not release that before the listener is gone.
    opening: Option<BoxFuture<'static, Result<Arc<dyn AbstractLevel>>>>,
    store: Option<Arc<dyn AbstractLevel>>,
    /// The same, if it has a record of this handle's session.
    recorded: Option<GuardedLevel>,
}

impl Driver {
    /// Runs until the handle is closed or dropped.
    pub(crate) async fn run(mut self) {
        let mut election = Election::new(self.opener.is_some());
        let mut input = Input::Start;
        let closing = self.closing();
        tokio::pin!(closing);
        loop {
            let step = election.step(input);
            input = tokio::select! {
                biased;
                () = &mut closing => break,
                result = self.perform(step) => match result {
                    Ok(Input::Deposed) => {
                        // Not in the step itself: that could be interrupted between closing the listener and the store.
                        if let Err(error) = self.let_go().await {
                            tracing::warn!(%error, location = self.location(), "the store did not close well");
                        }
                        Input::Deposed
                    }
                    Ok(input) => input,
                    Err(error) => {
                        // The first failure is the one to tell.
                        let _ = self.let_go().await;
                        if self.teller.opening() {
                            self.end(Err(error));
                            return;
                        }
                        tracing::warn!(%error, location = self.location(), "an attempt to reach the database failed");
                        Input::Failed
                    }
                },
            };
        }
        if let Some(store) = self.held.recorded.take()
            && !store.manifest().read_only
        {
            // One that stays is forgotten in time.
            let _ = store.forget_session(&self.guest.session()).await;
        }
        let result = self.let_go().await;
        self.end(result);
    }

    /// Resolves when the handle is closed and what was on its way has finished, or has had its time.
    fn closing(&self) -> impl Future<Output = ()> + use<> {
        let (mut closing, guest, grace) = (self.closing.clone(), self.guest.clone(), self.grace);
        async move {
            // An error means that the handle is gone, which is a close without waiting.
            if closing.wait_for(|closing| *closing).await.is_ok() {
                let parting = async {
                    guest.settled().await;
                    guest.say_goodbye().await;
                };
                let _ = tokio::time::timeout(grace, parting).await;
            }
        }
    }

    fn end(&mut self, result: Result<()>) {
        self.guest.finish_close();
        self.teller.end(result);
    }

    async fn perform(&mut self, step: Step) -> Result<Input> {
        match step {
            Step::Dial => Ok(match self.transport.connect().await? {
                Connect::Connected(connection) => {
                    self.held.connection = Some(connection);
                    Input::Connected
                }
                Connect::NobodyHome => {
                    if self.opener.is_none() {
                        self.teller.obstacle(Obstacle::Nobody);
                    }
                    Input::NobodyHome
                }
            }),
            Step::Follow => Ok(self.follow().await),
            Step::TryLock => Ok(match self.opener.as_ref().ok_or_else(lost_step)?.try_lock().await? {
                LockAttempt::Acquired(locked) => {
                    self.held.locked = Some(locked);
                    Input::Acquired
                }
                LockAttempt::Held { holder } => {
                    self.teller.obstacle(Obstacle::Held(holder));
                    Input::Held
                }
            }),
            Step::Listen => {
                let listener = self.transport.listen().await?;
                self.held.host = Some(Host::start(listener, self.host_options.clone()));
                Ok(Input::Listening)
            }
            Step::Open => {
                self.teller.obstacle(Obstacle::Recovering);
                self.teller.events.emit(|| Event::Opening);
                let locked = self.held.locked.take().ok_or_else(lost_step)?;
                let store = self.held.opening.insert(locked.open()).await;
                self.held.opening = None;
                self.held.store = Some(store?);
                Ok(Input::Opened)
            }
            Step::Lead => {
                let store = self.held.store.clone().ok_or_else(lost_step)?;
                let guarded = self.held.host.as_ref().ok_or_else(lost_step)?.serve(store);
                self.lead(guarded).await?;
                Ok(Input::Deposed)
            }
            Step::Wait { min, max } => {
                if max.is_zero() {
                    tokio::task::yield_now().await;
                } else {
                    let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
                    tokio::time::sleep(Duration::from_micros(fastrand::u64(micros(min)..=micros(max)))).await;
                }
                Ok(Input::Waited)
            }
        }
    }

    /// The database, for people.
    fn location(&self) -> String {
        self.opener.as_ref().map_or_else(|| self.transport.address(), |opener| opener.location())
    }

    async fn follow(&mut self) -> Input {
        let Some(connection) = self.held.connection.take() else {
            return Input::Lost { greeted: false, served: false };
        };
        self.teller.obstacle(Obstacle::Silent(connection.peer.pid));
        let teller = self.teller.clone();
        let lost = self.guest.run(connection, |leader| teller.role(Role::Guest { leader_pid: leader.pid })).await;
        self.teller.role(Role::Electing);
        if let Some(reason) = lost.turned_away {
            // Whoever opens is told by an error.
            if !self.teller.opening() {
                tracing::warn!(address = self.transport.address(), reason, "this process was turned away");
            }
            self.teller.obstacle(Obstacle::TurnedAway(reason.into()));
            return Input::TurnedAway;
        }
        tracing::debug!(%lost, "the leader is gone");
        Input::Lost { greeted: lost.greeted, served: lost.served || lost.left }
    }

    /// Leads until the store or the listener fails.
    async fn lead(&mut self, store: GuardedLevel) -> Result<()> {
        let Some(host) = &self.held.host else { return Ok(()) };
        *self.figures.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(host.stats_handle()));
        // What waited here is applied before anything new, unless a leader that died had applied it already; guests are
        // served meanwhile.
        let session = self.guest.session();
        let state = match self.host_options.sessions {
            true => match store.session_state(&session, self.guest.has_synced_in_doubt()).await {
                Ok(state) => Some(state),
                // A record that nobody can read is as good as forgotten.
                Err(error) if error.code() == Code::Corruption => {
                    tracing::error!(%error, location = self.location(), "what became of some writes cannot be known");
                    Some(SessionState { forgotten: Some(u64::MAX), ..SessionState::default() })
                }
                Err(error) => return Err(error),
            },
            false => None,
        };
        // From here on this process needs no record, but a full disk is no place to delete one.
        self.held.recorded = state.as_ref().is_some_and(|state| state.applied.is_some()).then(|| store.clone());
        self.guest.promote(Arc::new(store.clone()), state).await;
        self.teller.role(Role::Leader);
        let error = tokio::select! {
            biased;
            error = store.failure() => error,
            error = host.failure() => error,
        };
        tracing::error!(%error, location = self.location(), "this process can no longer lead");
        Ok(())
    }

    /// Lets go of whatever is held, in good order: guests are answered and told, the listener closes, the store closes,
    /// and with it the lock is released.
    async fn let_go(&mut self) -> Result<()> {
        if self.held.store.is_some() && !self.teller.opening() {
            self.teller.role(Role::Electing);
        }
        *self.figures.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.guest.demote();
        self.held.connection = None;
        self.held.recorded = None;
        let listener = match self.held.host.take() {
            Some(host) => host.shutdown().await,
            None => Ok(()),
        };
        let store = match self.held.store.take() {
            Some(store) => store.close().await,
            None => Ok(()),
        };
        self.held.locked = None;
        self.held.opening = None;
        store.and(listener)
    }
}

impl Drop for Driver {
    /// The runtime may end before the handle is closed: nothing that waits may wait for ever.
    fn drop(&mut self) {
        // The handle may live on, and the figures hold on to the host and so to the store and its lock.
        *self.figures.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if !matches!(*self.teller.phase.borrow(), Phase::Ended(_)) {
            self.guest.finish_close();
            self.teller.phase.send_replace(Phase::Ended(Err(Error::not_open())));
        }
    }
}

fn lost_step() -> Error {
    Error::new(Code::DatabaseFailedOpen, "the election lost what it held")
}
