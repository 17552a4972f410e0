//! Following what part this process plays: the present role first, then each change.

use futures::StreamExt;
use rave_level::{AbstractLevel, Event, EventStream, RaveLevel, Role};
use std::fmt;

/// A role that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// This process leads.
    Leader,
    /// This process follows.
    Following {
        /// Whom, where the transport tells.
        leader_pid: Option<u32>,
    },
}

impl Taken {
    /// The event as a line of JSON, without its end.
    pub fn json(self) -> String {
        match self {
            Self::Leader => r#"{"event":"leader"}"#.to_owned(),
            Self::Following { leader_pid: Some(pid) } => format!(r#"{{"event":"following","leader_pid":{pid}}}"#),
            Self::Following { leader_pid: None } => r#"{"event":"following","leader_pid":null}"#.to_owned(),
        }
    }
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leader => f.write_str("leader"),
            Self::Following { leader_pid: Some(pid) } => write!(f, "following {pid}"),
            Self::Following { leader_pid: None } => f.write_str("following"),
        }
    }
}

/// The roles a handle takes.
pub struct Roles {
    handle: RaveLevel,
    events: EventStream,
    first: bool,
    last: Option<Taken>,
}

impl Roles {
    /// From the present role on.
    pub fn of(handle: &RaveLevel) -> Self {
        // Subscribed before the role is read: a change in between is then told twice, not lost.
        let events = handle.events();
        Self { handle: handle.clone(), events, first: true, last: None }
    }

    /// The next role; `None` when there will be none. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Taken> {
        loop {
            let taken = if std::mem::take(&mut self.first) {
                self.present()
            } else {
                match self.events.next().await? {
                    Event::Leader => Some(Taken::Leader),
                    Event::Following { leader_pid } => Some(Taken::Following { leader_pid }),
                    // Events were lost; what counts is where we stand.
                    Event::Lagged(_) => self.present(),
                    Event::Closed => return None,
                    _ => None,
                }
            };
            if taken.is_some() && taken != self.last {
                self.last = taken;
                return taken;
            }
        }
    }

    fn present(&self) -> Option<Taken> {
        match self.handle.role() {
            Role::Leader => Some(Taken::Leader),
            Role::Guest { leader_pid } => Some(Taken::Following { leader_pid }),
            Role::Electing => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_json() {
        assert_eq!(Taken::Following { leader_pid: Some(7) }.json(), r#"{"event":"following","leader_pid":7}"#);
        assert_eq!(Taken::Leader.json(), r#"{"event":"leader"}"#);
    }
}
