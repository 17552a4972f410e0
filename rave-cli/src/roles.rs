//! Following what part this process plays: the present role first, then each change.

use futures::StreamExt;
use rave_level::{AbstractLevel, Event, EventStream, RaveLevel, Role, process_name};
use std::{fmt, time::Duration};

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
    fn json(self) -> String {
        match self {
            Self::Leader => r#"{"event":"leader"}"#.to_owned(),
            Self::Following { leader_pid } => format!(r#"{{"event":"following","leader_pid":{}}}"#, number(leader_pid)),
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

/// What a process can tell of its part in a shared database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It has taken a role.
    Role(Taken),
    /// The leader it follows does not answer.
    Unresponsive {
        /// The leader, where the transport tells.
        leader_pid: Option<u32>,
        /// For how long.
        silent: Duration,
    },
    /// The leader answers again.
    Responsive {
        /// The leader, where the transport tells.
        leader_pid: Option<u32>,
    },
}

impl News {
    /// The event as a line of JSON, without its end.
    pub fn json(self) -> String {
        match self {
            Self::Role(taken) => taken.json(),
            Self::Unresponsive { leader_pid, silent } => {
                let (leader_pid, silent) = (number(leader_pid), silent.as_millis());
                format!(r#"{{"event":"unresponsive","leader_pid":{leader_pid},"silent_ms":{silent}}}"#)
            }
            Self::Responsive { leader_pid } => {
                format!(r#"{{"event":"responsive","leader_pid":{}}}"#, number(leader_pid))
            }
        }
    }
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(taken) => taken.fmt(f),
            Self::Unresponsive { leader_pid, silent } => {
                write!(f, "unresponsive: {} has said nothing for {silent:.1?}", process_name(*leader_pid))
            }
            Self::Responsive { leader_pid } => write!(f, "responsive: {} answers again", process_name(*leader_pid)),
        }
    }
}

/// As JSON.
fn number(pid: Option<u32>) -> String {
    pid.map_or_else(|| "null".to_owned(), |pid| pid.to_string())
}

/// The roles a handle takes, and whether its leader answers.
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

    /// What is new; `None` when nothing will be. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<News> {
        loop {
            let taken = if std::mem::take(&mut self.first) {
                self.present()
            } else {
                match self.events.next().await? {
                    Event::Leader => Some(Taken::Leader),
                    Event::Following { leader_pid } => Some(Taken::Following { leader_pid }),
                    Event::Unresponsive { leader_pid, silent } => {
                        return Some(News::Unresponsive { leader_pid, silent });
                    }
                    Event::Responsive { leader_pid } => return Some(News::Responsive { leader_pid }),
                    // Events were lost; what counts is where we stand.
                    Event::Lagged(_) => self.present(),
                    Event::Closed => return None,
                    _ => None,
                }
            };
            if taken.is_some() && taken != self.last {
                self.last = taken;
                return taken.map(News::Role);
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
        let (leader_pid, silent) = (Some(7), Duration::from_millis(10_003));
        let following = News::Role(Taken::Following { leader_pid });
        assert_eq!(following.json(), r#"{"event":"following","leader_pid":7}"#);
        assert_eq!(News::Role(Taken::Leader).json(), r#"{"event":"leader"}"#);
        let unresponsive = News::Unresponsive { leader_pid, silent };
        assert_eq!(unresponsive.json(), r#"{"event":"unresponsive","leader_pid":7,"silent_ms":10003}"#);
        assert_eq!(unresponsive.to_string(), "unresponsive: process 7 has said nothing for 10.0s");
        let responsive = News::Responsive { leader_pid: None };
        assert_eq!(responsive.json(), r#"{"event":"responsive","leader_pid":null}"#);
    }
}
