//! Who leads: the election of one process as a state machine. It performs no I/O and reads no clock and no randomness;
//! the driver does what a [`Step`] says and reports what came of it.
//!
//! ```text
//!            ┌──────────────── Waited ────────────────┐
//!            ▼                                        │
//!  Start ─▶ Dial ──NobodyHome──▶ TryLock ──Held──▶ Wait
//!            │ ▲                    │                 ▲
//!  Connected │ │ lost               │ Acquired        │ whatever fails
//!            ▼ │                    ▼                 │
//!          Follow                Listen ─▶ Open ─▶ Lead
//! ```
//!
//! A process that may not lead goes from `NobodyHome` to `Wait`.
//!
//! To ensure correctness:
//! - The lock alone decides who leads; everything else only finds the leader quickly.
//! - The listener opens after the lock is taken and before the store is recovered, so that others find the new leader at
//!   once and wait for it instead of fighting for a lock that they cannot have.

use std::time::Duration;

/// What the driver reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// The handle was opened.
    Start,
    /// Of `Dial`: a leader answers there.
    Connected,
    /// Of `Dial`: nobody listens.
    NobodyHome,
    /// Of `Follow`: the connection is lost.
    Lost {
        /// The leader had answered the greeting.
        greeted: bool,
        /// It had answered something else too, or it said that it leaves.
        served: bool,
    },
    /// Of `Follow`: the leader does not serve this process, and has said so.
    TurnedAway,
    /// Of `TryLock`: the lock is ours.
    Acquired,
    /// Of `TryLock`: somebody else has it.
    Held,
    /// Of `Listen`.
    Listening,
    /// Of `Open`.
    Opened,
    /// Of `Lead`: the store or the listener failed, and this process let go of the lock.
    Deposed,
    /// Of `Wait`.
    Waited,
    /// Of any: it failed, and nothing is held.
    Failed,
}

/// What the driver has to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Connect to the leader, if there is one.
    Dial,
    /// Use the connection until it is lost.
    Follow,
    /// Take the store's lock, if nobody has it.
    TryLock,
    /// Open the listener.
    Listen,
    /// Open the store.
    Open,
    /// Serve until that is no longer possible; then leave in good order.
    Lead,
    /// Pause for a random time between the two.
    Wait {
        /// At least this long.
        min: Duration,
        /// At most this long.
        max: Duration,
    },
}

/// The election of one process.
#[derive(Debug)]
pub(crate) struct Election {
    /// This process may lead, if nobody else does.
    may_lead: bool,
    /// Pauses since there was last a leader.
    pauses: u32,
    /// Leaders in a row that greeted and were lost before they did anything else.
    useless: u32,
}

/// How many times a held lock is looked at again at once: a dying process lets go of its socket a moment before its lock.
const AT_ONCE: u32 = 3;
/// The longest pause while a new leader may appear at any moment.
const SHORT: Duration = Duration::from_millis(8);
/// The longest pause when none has appeared for some seconds.
const LONG: Duration = Duration::from_millis(100);
/// The longest pause of one that a leader has turned away: it is not waited for.
const TURNED_AWAY: Duration = Duration::from_secs(1);
/// How many short pauses come before the long ones.
const PATIENCE: u32 = 500;

impl Election {
    /// An election that has not begun. A process that may not lead goes on dialing where nobody is home.
    pub(crate) fn new(may_lead: bool) -> Self {
        Self { may_lead, pauses: 0, useless: 0 }
    }

    /// What to do after `input`.
    pub(crate) fn step(&mut self, input: Input) -> Step {
        match input {
            Input::Start | Input::Waited => Step::Dial,
            Input::Connected => Step::Follow,
            Input::NobodyHome if self.may_lead => Step::TryLock,
            Input::Acquired => Step::Listen,
            Input::Listening => Step::Open,
            Input::Opened => Step::Lead,
            Input::Lost { served: true, .. } => {
                self.pauses = 0;
                self.useless = 0;
                Step::Dial
            }
            // Perhaps it died while there was nothing to do. Perhaps it always hangs up on what it is asked: do not spin.
            Input::Lost { greeted: true, .. } => {
                self.pauses = self.useless;
                self.useless = self.useless.saturating_add(1);
                self.pause()
            }
            // Somebody accepts and hangs up: do not spin.
            Input::Lost { .. } | Input::Held | Input::NobodyHome => self.pause(),
            Input::TurnedAway => Step::Wait { min: TURNED_AWAY / 2, max: TURNED_AWAY },
            // What just failed will hardly work at once; let others try.
            Input::Deposed | Input::Failed => {
                self.pauses = self.pauses.max(AT_ONCE + 3);
                self.pause()
            }
        }
    }

    fn pause(&mut self) -> Step {
        let number = self.pauses;
        self.pauses = self.pauses.saturating_add(1);
        let max = match number.checked_sub(AT_ONCE) {
            None => return Step::Wait { min: Duration::ZERO, max: Duration::ZERO },
            Some(number) if number < PATIENCE => SHORT.min(Duration::from_millis(1 << number.min(10))),
            Some(_) => LONG,
        };
        Step::Wait { min: max / 2, max }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENT: Input = Input::Lost { greeted: false, served: false };
    const GREETED: Input = Input::Lost { greeted: true, served: false };
    const SERVED: Input = Input::Lost { greeted: true, served: true };

    fn waits(election: &mut Election, input: Input) -> Duration {
        match election.step(input) {
            Step::Wait { min, max } => {
                assert!(min <= max);
                max
            }
            step => panic!("{input:?} should pause, not {step:?}"),
        }
    }

    #[test]
    fn the_way_to_lead_locks_before_it_listens_and_listens_before_it_opens() {
        let mut election = Election::new(true);
        let inputs = [Input::Start, Input::NobodyHome, Input::Acquired, Input::Listening, Input::Opened];
        let steps = inputs.map(|input| election.step(input));
        assert_eq!(steps, [Step::Dial, Step::TryLock, Step::Listen, Step::Open, Step::Lead]);
    }

    #[test]
    fn a_lost_leader_is_replaced_without_a_pause_and_a_held_lock_is_looked_at_again_at_once() {
        let mut election = Election::new(true);
        assert_eq!(election.step(Input::Start), Step::Dial);
        assert_eq!(election.step(Input::Connected), Step::Follow);
        assert_eq!(election.step(SERVED), Step::Dial);
        assert_eq!(election.step(Input::NobodyHome), Step::TryLock);
        assert_eq!(waits(&mut election, Input::Held), Duration::ZERO);
        assert_eq!(election.step(Input::Waited), Step::Dial);
    }

    #[test]
    fn who_may_not_lead_never_tries_the_lock() {
        let mut election = Election::new(false);
        assert_eq!(election.step(Input::Start), Step::Dial);
        for _ in 0..PATIENCE + 10 {
            waits(&mut election, Input::NobodyHome);
            assert_eq!(election.step(Input::Waited), Step::Dial);
        }
        assert_eq!(election.step(Input::Connected), Step::Follow);
        assert_eq!(election.step(SERVED), Step::Dial);
        assert_eq!(waits(&mut election, Input::NobodyHome), Duration::ZERO);
    }

    #[test]
    fn pauses_grow_and_stay_bounded() {
        let mut election = Election::new(true);
        let pauses: Vec<_> = (0..PATIENCE + 10).map(|_| waits(&mut election, Input::Held)).collect();
        assert!(pauses.is_sorted());
        assert_eq!(pauses.first(), Some(&Duration::ZERO));
        assert_eq!(pauses.get(AT_ONCE as usize + 20), Some(&SHORT));
        assert_eq!(pauses.last(), Some(&LONG));
    }

    #[test]
    fn a_leader_that_hangs_up_before_it_does_anything_does_not_make_its_guests_spin() {
        for lost in [SILENT, GREETED] {
            let mut election = Election::new(true);
            let total: Duration = (0..100).map(|_| waits(&mut election, lost)).sum();
            assert!(total >= SHORT * 50, "{total:?}");
        }
    }

    #[test]
    fn who_is_turned_away_does_not_knock_at_the_door_all_the_time() {
        let mut election = Election::new(true);
        assert!((0..3).all(|_| waits(&mut election, Input::TurnedAway) == TURNED_AWAY));
        assert_eq!(election.step(Input::Waited), Step::Dial);
        assert_eq!(election.step(Input::NobodyHome), Step::TryLock);
    }

    #[test]
    fn an_idle_guest_goes_to_the_next_leader_at_once_also_after_a_long_wait() {
        let mut election = Election::new(true);
        for _ in 0..PATIENCE * 2 {
            waits(&mut election, Input::Held);
        }
        assert_eq!(waits(&mut election, GREETED), Duration::ZERO);
        assert_eq!(waits(&mut election, Input::Held), Duration::ZERO);
    }

    #[test]
    fn a_leader_that_served_makes_up_for_the_past_and_a_failure_does_not() {
        let mut election = Election::new(true);
        for _ in 0..50 {
            waits(&mut election, Input::Held);
        }
        election.step(SERVED);
        assert_eq!(waits(&mut election, Input::Held), Duration::ZERO);
        assert!(waits(&mut election, Input::Deposed) > Duration::ZERO);
        assert!(waits(&mut election, Input::Failed) > Duration::ZERO);
    }
}
