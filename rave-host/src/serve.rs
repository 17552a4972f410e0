//! One connection: bytes to the machine, its work to the store, its frames back.

use crate::{
    GuardedLevel,
    exposure::GuestLevel,
    farewell::part,
    host::Shared,
    machine::{Config, Machine, Outcome, SessionId, Work},
    many::{get_many, has_many},
    oversized::names_of,
    sessions::{self, Claim},
    snapshots::Snapshots,
};
use bytes::BytesMut;
use rave_core::{
    AbstractLevel, ClearOptions, Code, Error, IteratorOptions, LevelIterator, ReadOptions, Result, WriteOptions,
    resume_iterator,
};
use rave_transport::{
    Connection,
    wire::{
        FrameDecoder, FrameError, Request,
        message::{SessionState, StatusReply},
    },
};
use std::{collections::HashMap, io, sync::atomic::Ordering};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

/// Bytes read at once.
const READ_CHUNK: usize = 64 << 10;
/// Bytes that are read before those read earlier are worked off: no less than a socket holds of a guest that has gone.
const READ_AHEAD: usize = 256 << 10;
/// Bytes of answers that are sent before further work begins.
const WRITE_CHUNK: usize = 256 << 10;

/// Serves until the guest leaves, breaks the protocol, or the host leaves. The reason is for the log.
///
/// Requests are executed one after the other and answers are written before more is executed, so a guest that does not
/// read its answers stops only its own requests.
pub(crate) async fn serve(connection: Connection, shared: &Shared) -> Result<(), String> {
    let Connection { mut reader, mut writer, peer } = connection;
    let mut leaving = shared.leaving.subscribe();
    let store = tokio::select! {
        biased;
        store = ready(shared) => store?,
        _ = leaving.wait_for(|leaving| *leaving) => return Ok(()),
    };
    let store =
        GuestLevel::new(&store, &peer, shared.options.sublevel.as_ref()).map_err(|error| error.full_message())?;
    let mut session = Session {
        machine: Machine::new(Config {
            pid: std::process::id(),
            manifest: store.manifest(),
            merge_writes: !shared.options.judges_writes(),
            max_frame: shared.options.limits.max_frame,
            sessions: shared.options.sessions,
        }),
        iterators: HashMap::new(),
        snapshots: Snapshots::default(),
        claim: None,
        store,
    };
    let mut decoder = FrameDecoder::new(shared.options.limits);
    let mut input = BytesMut::new();
    // The guest says nothing more: it waits for answers, or it has gone.
    let mut ended = false;
    tracing::debug!(%peer, "serving a guest");
    loop {
        // Everything that is there, then its answers, then more.
        let broken = receive(&mut session.machine, &mut decoder, &mut input);
        let received = input.len();
        let before = session.machine.served();
        while let Some(work) = session.machine.next_work() {
            // What a guest that has gone wanted to write must not undo what it writes on its next connection. A session
            // sees to that by itself.
            let writes = matches!(work, Work::Write { .. } | Work::Clear { .. });
            if !ended && writes && !session.machine.keeps_order() {
                match read_ahead(&mut reader, &mut input).await {
                    Ok(end) => ended = end,
                    Err(error) => return lost(&error),
                }
            }
            // Sending answers tells whether a guest that says nothing more has gone.
            if (ended || session.machine.output().len() >= WRITE_CHUNK)
                && let Err(error) = writer.write_all_buf(session.machine.output()).await
            {
                return lost(&error);
            }
            let Some(outcome) = session.execute(work, shared).await else {
                return Err("the guest goes on over another connection".to_owned());
            };
            session.machine.complete(outcome);
        }
        shared.operations.fetch_add(session.machine.served() - before, Ordering::Relaxed);
        let left = *leaving.borrow_and_update();
        if left {
            session.machine.leave();
        }
        if let Err(error) = writer.write_all_buf(session.machine.output()).await {
            return broken.and(lost(&error));
        }
        if let Err(reason) = broken {
            part(&mut reader, &mut writer).await;
            return Err(reason);
        }
        if let Some(fault) = session.machine.fault() {
            let fault = fault.to_owned();
            part(&mut reader, &mut writer).await;
            return Err(fault);
        }
        if left || session.machine.is_finished() {
            // Half-closing lets the guest read the answers before it sees the end.
            let _ = writer.shutdown().await;
            return Ok(());
        }
        if input.len() > received {
            continue;
        }
        input.reserve(READ_CHUNK);
        tokio::select! {
            biased;
            read = reader.read_buf(&mut input) => match read {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) => return lost(&error),
            },
            _ = leaving.changed() => {}
            () = superseded(session.claim.as_ref()) => return Err("the guest goes on over another connection".to_owned()),
        }
    }
}

/// Reads what is there without waiting for more. Whether that is all there will ever be.
async fn read_ahead(reader: &mut (impl AsyncRead + Unpin), input: &mut BytesMut) -> io::Result<bool> {
    while input.len() < READ_AHEAD {
        input.reserve(READ_CHUNK);
        tokio::select! {
            biased;
            read = reader.read_buf(input) => if read? == 0 { return Ok(true) },
            () = std::future::ready(()) => return Ok(false),
        }
    }
    Ok(false)
}

/// That a guest goes away, whether it has finished or was killed, is nothing to warn of.
fn lost(error: &io::Error) -> Result<(), String> {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut};
    match error.kind() {
        BrokenPipe | ConnectionAborted | ConnectionReset | TimedOut => Ok(()),
        _ => Err(error.to_string()),
    }
}

async fn ready(shared: &Shared) -> Result<GuardedLevel, String> {
    let mut store = shared.store.subscribe();
    match store.wait_for(Option::is_some).await {
        Ok(store) => store.clone().ok_or_else(|| "the store vanished".to_owned()),
        Err(_) => Err("the host ended before the store was open".to_owned()),
    }
}

/// Hands every whole frame of `input` to the machine. An error ends the connection once what came before it is answered.
fn receive(machine: &mut Machine, decoder: &mut FrameDecoder, input: &mut BytesMut) -> Result<(), String> {
    loop {
        let request = match decoder.decode(input) {
            Ok(Some(frame)) => Request::decode(frame),
            Ok(None) => return Ok(()),
            Err(error) => Err(error),
        };
        match request {
            Ok(request) => machine.receive(request),
            Err(FrameError::Malformed { tag, id: Some(id), seq, reason }) if machine.refuse(tag, id, seq, &reason) => {}
            Err(error) => {
                if let FrameError::TooLarge { .. } = &error
                    && let Some((tag, id, seq)) = names_of(input)
                {
                    machine.refuse(tag, id, seq, &error.to_string());
                }
                return Err(error.to_string());
            }
        }
    }
}

struct Session {
    machine: Machine,
    iterators: HashMap<u32, Box<dyn LevelIterator>>,
    snapshots: Snapshots,
    /// The guest's session, if it has one.
    claim: Option<Claim>,
    store: GuestLevel,
}

impl Session {
    /// `None` if it is not for this connection to do any more.
    async fn execute(&mut self, work: Work, shared: &Shared) -> Option<Outcome> {
        let _turn = match (&self.claim, &work) {
            (Some(claim), Work::Write { .. } | Work::Clear { .. } | Work::Forget) => Some(claim.turn().await?),
            _ => None,
        };
        let record = |state: Option<SessionState>| match (&self.claim, state) {
            (Some(claim), Some(state)) => Some(sessions::record(claim.session(), state, (shared.options.clock)())),
            _ => None,
        };
        Some(match work {
            Work::Get(key, snapshot) => {
                let get = async {
                    let snapshot = self.snapshots.find(snapshot)?;
                    self.store.get_opts(key, ReadOptions { snapshot }).await
                };
                Outcome::Get(get.await)
            }
            Work::GetMany(keys, snapshot) => {
                let get = async {
                    get_many(&self.store, keys, self.snapshots.find(snapshot)?, self.machine.max_frame()).await
                };
                Outcome::GetMany(get.await)
            }
            Work::HasMany(keys, snapshot) => {
                let has = async { has_many(&self.store, keys, self.snapshots.find(snapshot)?).await };
                Outcome::HasMany(has.await)
            }
            Work::OpenSnapshot(id) => Outcome::Done(self.snapshots.open(id, &self.store).await),
            Work::CloseSnapshot(id) => {
                self.snapshots.close(id);
                Outcome::Closed
            }
            Work::Write { batch, sync, record: state } => {
                Outcome::Done(self.store.write_recorded(batch, record(state), WriteOptions { sync }).await)
            }
            Work::Clear { options, snapshot, record: state } => {
                let clear = async {
                    let options = ClearOptions { snapshot: self.snapshots.find(snapshot)?, ..options };
                    self.store.clear_recorded(options, record(state)).await
                };
                Outcome::Done(clear.await)
            }
            Work::Resume { session, attempt, next, durable } => {
                let claim = match shared.sessions.claim(session, attempt).await {
                    Ok(claim) => self.claim.insert(claim),
                    Err(error) => return Some(Outcome::Resumed(Err(error))),
                };
                // A newer connection waits until what is told here is written.
                let _turn = claim.turn().await?;
                Outcome::Resumed(resume(self.store.whole(), &session, next, durable).await)
            }
            Work::Forget => {
                if let Some(claim) = &self.claim
                    && !self.store.manifest().read_only
                {
                    let forgotten =
                        self.store.whole().write_internal([sessions::forget(claim.session())].into_iter().collect());
                    // Whatever becomes of it: it is forgotten later.
                    let _ = forgotten.await;
                }
                Outcome::Closed
            }
            Work::Open { id, options, snapshot, position, page } => {
                if let Some(mut old) = self.iterators.remove(&id) {
                    let _ = old.close().await;
                }
                let open = async {
                    let options = IteratorOptions { snapshot: self.snapshots.find(snapshot)?, ..*options };
                    let mut iterator = resume_iterator(&self.store, options, position).await?;
                    let entries = if page == 0 { Ok(Vec::new()) } else { iterator.next_many(page).await };
                    self.iterators.insert(id, iterator);
                    entries
                };
                Outcome::Page(open.await)
            }
            Work::Page { id, seek, page } => Outcome::Page(match self.iterators.get_mut(&id) {
                Some(iterator) => next_page(iterator.as_mut(), seek, page).await,
                None => Err(Error::new(Code::IteratorNotOpen, "the iterator is not open on the leader")),
            }),
            Work::Close(ids) => {
                for id in ids {
                    if let Some(mut iterator) = self.iterators.remove(&id) {
                        let _ = iterator.close().await;
                    }
                }
                Outcome::Closed
            }
            Work::Status => Outcome::Status(StatusReply {
                id: 0,
                pid: Some(std::process::id()),
                guests: Some(shared.guests.load(Ordering::Relaxed)),
                operations: Some(shared.operations.load(Ordering::Relaxed)),
                leading_ms: Some(u64::try_from(shared.since.elapsed().as_millis()).unwrap_or(u64::MAX)),
                store: Some(self.store.manifest().store.to_string()),
            }),
        })
    }
}

/// Resolves when another connection speaks for the guest's session.
async fn superseded(claim: Option<&Claim>) {
    match claim {
        Some(claim) => claim.lost().await,
        None => std::future::pending().await,
    }
}

async fn next_page(
    iterator: &mut dyn LevelIterator,
    seek: Option<bytes::Bytes>,
    page: usize,
) -> Result<Vec<rave_core::Entry>> {
    if let Some(target) = seek {
        iterator.seek(target).await?;
    }
    iterator.next_many(page).await
}

/// How far the session of a guest got that claims to have sent no write from `next` on.
async fn resume(store: &GuardedLevel, session: &SessionId, next: u64, durable: bool) -> Result<SessionState> {
    let mut state = store.session_state(session, durable).await?;
    if state.applied.is_some_and(|applied| applied >= next) {
        let message =
            "the session has writes that this guest never sent: it was reused, or an old greeting was repeated";
        return Err(Error::new(Code::Session, message));
    }
    if state.forgotten == Some(0) {
        match sessions::counted(store).await {
            // It has begun only now, for this guest or for another one.
            Ok(count) => state.begun = count,
            // On a full disk, for instance. Reads are served all the same.
            Err(error) => tracing::debug!(%error, "the count of forgotten sessions was not begun"),
        }
    }
    Ok(state)
}
