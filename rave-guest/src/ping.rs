//! Noticing that a leader has fallen silent: it is asked whether it is there, and if it does not answer that either, users
//! are told.
//!
//! One timer for each connection, which nothing sets anew before it has run out: what is heard only notes the time. So it
//! runs out once for each interval, and then, or when it has run out long ago, it is set to what is to be waited for.

use std::{future, pin::Pin, time::Duration};
use tokio::time::{Instant, Sleep, sleep_until};

/// Intervals are no shorter, or asking would be all that is done.
const SHORTEST: Duration = Duration::from_millis(1);

/// What is to be done about a silent leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Ask it whether it is there.
    Ask,
    /// Tell users that it has been silent for so long.
    Tell(Duration),
}

/// Watches over a connection, if an interval is given.
#[derive(Debug)]
pub(crate) struct Watch(Option<(Silence, Pin<Box<Sleep>>)>);

impl Watch {
    /// From now on, asking after an `interval` of silence and telling after another one.
    pub(crate) fn new(interval: Option<Duration>) -> Self {
        let now = Instant::now();
        Self(interval.map(|interval| {
            let silence = Silence::new(interval, now);
            let alarm = sleep_until(silence.next().unwrap_or(now));
            (silence, Box::pin(alarm))
        }))
    }

    /// The leader said something. Whether users have to be told, because they believe that it is silent.
    pub(crate) fn heard(&mut self) -> bool {
        self.0.as_mut().is_some_and(|(silence, _)| silence.heard(Instant::now()))
    }

    /// Waits until something is to be done. Dropping the future loses nothing.
    pub(crate) async fn due(&mut self) -> Due {
        if let Some((silence, alarm)) = &mut self.0 {
            while silence.next().is_some() {
                alarm.as_mut().await;
                let due = silence.due(Instant::now());
                if let Some(next) = silence.next() {
                    alarm.as_mut().reset(next);
                }
                if let Some(due) = due {
                    return due;
                }
            }
        }
        future::pending().await
    }
}

/// How long a leader has said nothing, and what was done about it.
#[derive(Debug)]
struct Silence {
    interval: Duration,
    /// When it last said something.
    heard: Instant,
    /// Since when it owes an answer to the question whether it is there.
    asked: Option<Instant>,
    /// Users believe that it is silent.
    told: bool,
}

impl Silence {
    fn new(interval: Duration, now: Instant) -> Self {
        Self { interval: interval.max(SHORTEST), heard: now, asked: None, told: false }
    }

    fn heard(&mut self, now: Instant) -> bool {
        self.heard = now;
        self.asked = None;
        std::mem::take(&mut self.told)
    }

    /// When to look again; `None` if nothing is to be done before something is heard.
    fn next(&self) -> Option<Instant> {
        if self.told { None } else { self.asked.unwrap_or(self.heard).checked_add(self.interval) }
    }

    /// What is to be done, if anything; it counts as done.
    fn due(&mut self, now: Instant) -> Option<Due> {
        if self.next().is_none_or(|next| now < next) {
            return None;
        }
        if self.asked.is_none() {
            self.asked = Some(now);
            return Some(Due::Ask);
        }
        self.told = true;
        Some(Due::Tell(now - self.heard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_is_asked_after_one_interval_and_users_are_told_once_after_another() {
        let start = Instant::now();
        let mut silence = Silence::new(5 * SECOND, start);
        assert_eq!(silence.next(), Some(start + 5 * SECOND));
        assert_eq!(silence.due(start + 4 * SECOND), None);
        assert_eq!(silence.due(start + 6 * SECOND), Some(Due::Ask));
        assert_eq!(silence.next(), Some(start + 11 * SECOND));
        assert_eq!(silence.due(start + 10 * SECOND), None);
        assert_eq!(silence.due(start + 11 * SECOND), Some(Due::Tell(11 * SECOND)));
        assert_eq!((silence.next(), silence.due(start + 99 * SECOND)), (None, None));
        assert!(silence.heard(start + 100 * SECOND), "users have to be told");
        assert_eq!(silence.next(), Some(start + 105 * SECOND));
        assert_eq!(silence.due(start + 105 * SECOND), Some(Due::Ask));
        assert!(!silence.heard(start + 106 * SECOND), "nobody believed that it was silent");
        assert_eq!(silence.due(start + 110 * SECOND), None);
        assert_eq!(silence.due(start + 111 * SECOND), Some(Due::Ask));
    }

    #[test]
    fn a_guest_that_slept_asks_before_it_complains() {
        let start = Instant::now();
        let mut silence = Silence::new(SECOND, start);
        assert_eq!(silence.due(start + 3600 * SECOND), Some(Due::Ask));
        assert_eq!(silence.due(start + 3600 * SECOND), None);
    }

    #[test]
    fn intervals_of_any_length() {
        let start = Instant::now();
        assert_eq!(Silence::new(Duration::MAX, start).next(), None);
        assert_eq!(Silence::new(Duration::ZERO, start).next(), Some(start + SHORTEST));
    }
}
