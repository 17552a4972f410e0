//! How often one machine may knock: getting to know who is there costs the host's processor far more than it costs a
//! stranger, and guests that were let in need it.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep_until};

/// The time between two knocks of a machine that goes on knocking.
const PAUSE: Duration = Duration::from_millis(5);
/// How many knocks a machine has that was silent for long, one right after the other.
const AT_ONCE: u32 = 100;
/// Of how many machines it is remembered when they knocked. More than that, and the oldest knocks are forgotten.
const MACHINES: usize = 4096;

/// Who has knocked.
#[derive(Debug, Default)]
pub(super) struct Knocks {
    /// When each machine would have used up its knocks if it had knocked once per pause.
    used: Mutex<HashMap<IpAddr, Instant>>,
}

impl Knocks {
    /// Waits until a machine that knocks now may be heard. Others do not wait for it.
    pub(super) async fn turn(&self, machine: IpAddr) {
        if let Some(moment) = self.next(machine.to_canonical(), Instant::now()) {
            sleep_until(moment).await;
        }
    }

    /// When a machine that knocks `now` may be heard; `None`: at once.
    fn next(&self, machine: IpAddr, now: Instant) -> Option<Instant> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() >= MACHINES {
            used.retain(|_, moment| *moment > now);
            if used.len() >= MACHINES {
                used.clear();
            }
        }
        let moment = used.entry(machine).or_insert(now);
        *moment = (*moment).max(now) + PAUSE;
        let heard = moment.checked_sub(PAUSE * AT_ONCE)?;
        (heard > now).then_some(heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(number).into()
    }

    #[test]
    fn a_machine_that_goes_on_knocking_waits_and_no_other_does() {
        let (knocks, now) = (Knocks::default(), Instant::now());
        for _ in 0..AT_ONCE {
            assert_eq!(knocks.next(machine(1), now), None);
        }
        for more in 1..10 {
            assert_eq!(knocks.next(machine(1), now), Some(now + PAUSE * more));
        }
        assert_eq!(knocks.next(machine(2), now), None);
        // After a rest it may again.
        let later = now + PAUSE * 200;
        for _ in 0..AT_ONCE {
            assert_eq!(knocks.next(machine(1), later), None);
        }
        assert!(knocks.next(machine(1), later).is_some());
    }

    #[test]
    fn what_is_remembered_has_a_bound() {
        let (knocks, now) = (Knocks::default(), Instant::now());
        for number in 0..20_000 {
            knocks.next(machine(number), now);
        }
        assert!(knocks.used.lock().unwrap().len() <= MACHINES);
    }
}
