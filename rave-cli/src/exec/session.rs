//! Carrying out requests and writing their replies.

use super::{
    codec::{Codec, write_json},
    iterators::Iterators,
    request::{Action, Refusal, Request, Snap},
    snapshots::Snapshots,
};
use rave_level::{
    AbstractLevel, AbstractLevelExt, ClearOptions, Code, Entry, IteratorOptions, RaveLevel, ReadOptions, Result, Role,
};
use serde_json::{Value, json};
use std::sync::Arc;

/// What requests work on.
pub struct Session {
    db: Arc<dyn AbstractLevel>,
    handle: RaveLevel,
    codec: Codec,
    iterators: Iterators,
    snapshots: Snapshots,
}

impl Session {
    /// A session on `db`, which is `handle` or a part of it.
    pub fn new(db: Arc<dyn AbstractLevel>, handle: RaveLevel, codec: Codec) -> Self {
        Self { db, handle, codec, iterators: Iterators::default(), snapshots: Snapshots::default() }
    }

    /// How keys and values are written.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Carries out a request; the reply is a line.
    pub async fn answer(&self, request: Request) -> Vec<u8> {
        let outcome = self.outcome(request.action).await;
        reply(&request.id, outcome)
    }

    /// Closes the database; the reply is a line.
    pub async fn close(&self, id: Value) -> Vec<u8> {
        reply(&id, self.handle.close().await.map(|()| Vec::new()))
    }

    /// What follows `"ok":true` in the reply.
    async fn outcome(&self, action: Action) -> Result<Vec<u8>> {
        let mut members = Vec::new();
        match action {
            Action::Get(key, snap) => {
                let value = self.db.get_opts(key, self.read(snap)?).await?;
                members.extend_from_slice(b"\"value\":");
                self.write_optional(&mut members, value.as_deref())?;
            }
            Action::Has(key, snap) => {
                let exists = self.db.has_many_opts(vec![key], self.read(snap)?).await?.contains(&true);
                members.extend_from_slice(if exists { b"\"value\":true" } else { b"\"value\":false" });
            }
            Action::GetMany(keys, snap) => {
                let values = self.db.get_many_opts(keys, self.read(snap)?).await?;
                members.extend_from_slice(b"\"values\":[");
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        members.push(b',');
                    }
                    self.write_optional(&mut members, value.as_deref())?;
                }
                members.push(b']');
            }
            Action::Write(batch, options) => {
                self.db.write_opts(batch, options).await?;
            }
            Action::Clear(options, snap) => {
                let snapshot = self.snapshots.find(snap)?;
                self.db.clear_opts(ClearOptions { snapshot, ..options }).await?;
            }
            Action::Scan(options, snap) => {
                let snapshot = self.snapshots.find(snap)?;
                let entries = self.db.all(IteratorOptions { snapshot, ..options }).await?;
                self.write_entries(&mut members, &entries, true)?;
            }
            Action::IterOpen(options, snap) => {
                let snapshot = self.snapshots.find(snap)?;
                let number = self.iterators.open(&*self.db, IteratorOptions { snapshot, ..options }).await?;
                members.extend_from_slice(format!("\"iter\":{number}").as_bytes());
            }
            Action::IterNext { iter, count } => {
                let (entries, done) = self.iterators.next(iter, count).await?;
                self.write_entries(&mut members, &entries, done)?;
            }
            Action::IterSeek { iter, target } => {
                self.iterators.seek(iter, target).await?;
            }
            Action::IterClose { iter } => {
                self.iterators.close(iter).await?;
            }
            Action::SnapOpen => {
                let number = self.snapshots.take(&*self.db).await?;
                members.extend_from_slice(format!("\"snap\":{number}").as_bytes());
            }
            Action::SnapClose { snap } => self.snapshots.close(snap)?,
            Action::Role => {
                let (role, pid) = match self.handle.role() {
                    Role::Leader => ("leader", Some(std::process::id())),
                    Role::Guest { leader_pid } => ("guest", leader_pid),
                    // Until it leads itself it is a guest, of a leader to be.
                    Role::Electing => ("guest", None),
                };
                members.extend_from_slice(b"\"role\":");
                write_json(&mut members, role);
                members.extend_from_slice(b",\"leader_pid\":");
                write_json(&mut members, &pid);
            }
            // It ends the session, which sees to it.
            Action::Close => {}
        }
        Ok(members)
    }

    fn read(&self, snap: Snap) -> Result<ReadOptions> {
        Ok(ReadOptions { snapshot: self.snapshots.find(snap)? })
    }

    fn write_optional(&self, members: &mut Vec<u8>, value: Option<&[u8]>) -> Result<()> {
        match value {
            Some(value) => self.codec.write(members, value)?,
            None => members.extend_from_slice(b"null"),
        }
        Ok(())
    }

    fn write_entries(&self, members: &mut Vec<u8>, entries: &[Entry], done: bool) -> Result<()> {
        members.extend_from_slice(b"\"entries\":[");
        for (index, entry) in entries.iter().enumerate() {
            members.extend_from_slice(if index > 0 { b",[" } else { b"[" });
            self.codec.write(members, &entry.key)?;
            members.push(b',');
            self.codec.write(members, &entry.value)?;
            members.push(b']');
        }
        members.push(b']');
        if done {
            members.extend_from_slice(b",\"done\":true");
        }
        Ok(())
    }
}

fn reply(id: &Value, outcome: Result<Vec<u8>>) -> Vec<u8> {
    match outcome {
        Ok(members) => reply_line(id, true, &members),
        // It is no failure: what was asked has been answered.
        Err(error) if error.code() == Code::ConditionFailed => {
            let mut members = b"\"failed\":".to_vec();
            write_json(&mut members, error.failed_conditions());
            reply_line(id, false, &members)
        }
        Err(error) => failure_line(&Refusal::failed(id.clone(), &error)),
    }
}

fn reply_line(id: &Value, ok: bool, members: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(members.len() + 24);
    line.extend_from_slice(b"{\"id\":");
    write_json(&mut line, id);
    line.extend_from_slice(if ok { b",\"ok\":true" } else { b",\"ok\":false" });
    if !members.is_empty() {
        line.push(b',');
        line.extend_from_slice(members);
    }
    line.extend_from_slice(b"}\n");
    line
}

/// The reply to what was refused or failed.
pub fn failure_line(refusal: &Refusal) -> Vec<u8> {
    let error = json!({"code": refusal.code, "message": refusal.message, "effect": refusal.effect});
    let mut line = json!({"id": refusal.id, "error": error}).to_string().into_bytes();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use rave_level::{Effect, Error};

    #[test]
    fn replies() {
        assert_eq!(reply(&1.into(), Ok(Vec::new())), b"{\"id\":1,\"ok\":true}\n");
        let failed = reply(&2.into(), Err(Error::condition_failed(vec![0, 3])));
        assert_eq!(failed, b"{\"id\":2,\"ok\":false,\"failed\":[0,3]}\n");
        let error = Error::new(Code::ConnectionLost, "x").with_effect(Effect::Unknown);
        let line: Value = serde_json::from_slice(&reply(&"a".into(), Err(error))).unwrap();
        let expected = json!({"code": "LEVEL_CONNECTION_LOST", "message": "x", "effect": "unknown"});
        assert_eq!(line, json!({"id": "a", "error": expected}));
    }
}
