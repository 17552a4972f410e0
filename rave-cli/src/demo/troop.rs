//! The demo's processes: started, killed and replaced, and what each has reported.

use super::{
    report::{Report, now},
    show::Show,
};
use crate::{failure::Failure, place::StoreKind, roles::Taken};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    sync::mpsc,
};

/// How often what is shown is renewed.
const TICK: Duration = Duration::from_millis(100);

/// What a process was told that it has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Its last acknowledged write.
    pub writes: u64,
    /// Its last acknowledged increment of the shared counter.
    pub increments: u64,
}

impl Told {
    /// Takes in a report; what is not one of these changes nothing.
    fn take_in(&mut self, report: &Report) {
        match report {
            Report::Acknowledged { number, .. } => self.writes = *number,
            Report::Incremented(number) => self.increments = *number,
            Report::Role(_) | Report::Complaint(_) => {}
        }
    }
}

/// A worker and what it has reported.
struct Member {
    child: Child,
    pid: u32,
    role: Option<Taken>,
    told: Told,
    /// When its last acknowledged write was begun and acknowledged, and the first such write since the last kill.
    since_kill: Option<u64>,
}

/// A leader that was killed.
pub struct Killed {
    /// Its number.
    pub number: u64,
    /// Just before the signal was sent.
    pub before: u64,
    /// Just after.
    after: u64,
}

/// The processes of a demo.
pub struct Troop {
    /// What its processes are told of the database.
    at: OsString,
    store: Option<StoreKind>,
    run: String,
    members: BTreeMap<u64, Member>,
    /// What those who are gone were told.
    gone: BTreeMap<u64, Told>,
    started: u64,
    killed_at: u64,
    reports: mpsc::Receiver<(u64, Option<Report>)>,
    reporter: mpsc::Sender<(u64, Option<Report>)>,
}

impl Troop {
    /// Nobody yet.
    pub fn new(at: OsString, store: Option<StoreKind>, run: String) -> Self {
        let (reporter, reports) = mpsc::channel(4096);
        Self {
            at,
            store,
            run,
            members: BTreeMap::new(),
            gone: BTreeMap::new(),
            started: 0,
            killed_at: 0,
            reports,
            reporter,
        }
    }

    /// Starts one more process.
    pub fn start(&mut self) -> Result<(), Failure> {
        let failed = |error| Failure::io("starting a process", &error);
        let program = std::env::current_exe().map_err(failed)?;
        self.started += 1;
        let number = self.started;
        let mut child = Command::new(program)
            .arg("demo-worker")
            .arg(format!("--run={}", self.run))
            .arg(format!("--number={number}"))
            .args(self.store.map(|kind| format!("--store={kind}")))
            .arg("--")
            .arg(&self.at)
            // It ends with its stdin, and so with this process however that ends.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let pid = child.id().unwrap_or(0);
        if let Some(stdout) = child.stdout.take() {
            let reporter = self.reporter.clone();
            tokio::spawn(async move {
                let mut lines = BufReader::new(stdout).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    // The last line of a killed process may be cut; what it lacks was then not reported.
                    if let Some(report) = Report::parse(&line)
                        && reporter.send((number, Some(report))).await.is_err()
                    {
                        return;
                    }
                }
                // Only the demo's own end closes the channel.
                let _ = reporter.send((number, None)).await;
            });
        }
        self.members.insert(number, Member { child, pid, role: None, told: Told::default(), since_kill: None });
        Ok(())
    }

    /// The number and the pid of the process that leads.
    pub fn leader(&self) -> Option<(u64, u32)> {
        let leads = |member: &Member| member.role == Some(Taken::Leader);
        self.members.iter().find(|(_, member)| leads(member)).map(|(number, member)| (*number, member.pid))
    }

    /// Whether every process has had a write acknowledged.
    pub fn all_have_written(&self) -> bool {
        self.members.values().all(|member| member.told.writes > 0)
    }

    /// All acknowledged writes.
    pub fn acknowledged(&self) -> u64 {
        self.told().map(|told| told.writes).sum()
    }

    /// All acknowledged increments of the shared counter.
    pub fn increments(&self) -> u64 {
        self.told().map(|told| told.increments).sum()
    }

    fn told(&self) -> impl Iterator<Item = &Told> {
        self.members.values().map(|member| &member.told).chain(self.gone.values())
    }

    /// How many processes there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Kills the leader with SIGKILL and waits for its end.
    pub async fn kill_leader(&mut self) -> Result<Option<Killed>, Failure> {
        let Some((number, _)) = self.leader() else { return Ok(None) };
        let Some(mut member) = self.members.remove(&number) else { return Ok(None) };
        let before = now();
        member.child.start_kill().map_err(|error| Failure::io("killing the leader", &error))?;
        let after = now();
        self.killed_at = after;
        for survivor in self.members.values_mut() {
            survivor.since_kill = None;
        }
        self.gone.insert(number, member.told);
        // Its end is waited for in the background: the others must be watched now.
        tokio::spawn(async move { member.child.wait().await });
        Ok(Some(Killed { number, before, after }))
    }

    /// Whether each survivor has had a write acknowledged that it began after the kill.
    pub fn all_served_since(&self, killed: &Killed) -> bool {
        debug_assert_eq!(self.killed_at, killed.after);
        self.members.values().all(|member| member.since_kill.is_some())
    }

    /// How long the first and the last survivor waited.
    pub fn failover(&self, killed: &Killed) -> (Duration, Duration) {
        let times = || self.members.values().filter_map(|member| member.since_kill);
        let since = |time: Option<u64>| Duration::from_micros(time.unwrap_or(0).saturating_sub(killed.before));
        (since(times().min()), since(times().max()))
    }

    /// Follows reports until `done`, or fails after `patience`.
    pub async fn until(
        &mut self,
        show: &mut Show,
        patience: Duration,
        what: &str,
        done: impl Fn(&Self) -> bool,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + patience;
        while !done(self) {
            if Instant::now() >= deadline {
                return Err(Failure::Check(format!("stuck: waited {patience:?} until {what}")));
            }
            self.follow(show, TICK).await?;
        }
        Ok(())
    }

    /// Follows reports for some time.
    pub async fn pass(&mut self, show: &mut Show, time: Duration) -> Result<(), Failure> {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.follow(show, left.min(TICK)).await?;
        }
    }

    /// Takes in what comes within `time`; at least one report, if there is any.
    async fn follow(&mut self, show: &mut Show, time: Duration) -> Result<(), Failure> {
        if let Ok(Some((number, report))) = tokio::time::timeout(time, self.reports.recv()).await {
            self.take_in(number, report)?;
            while let Ok((number, report)) = self.reports.try_recv() {
                self.take_in(number, report)?;
            }
        }
        show.renew(self);
        Ok(())
    }

    fn take_in(&mut self, number: u64, report: Option<Report>) -> Result<(), Failure> {
        let Some(member) = self.members.get_mut(&number) else {
            // One that was killed: what it had reported before counts.
            if let (Some(report), Some(told)) = (report, self.gone.get_mut(&number)) {
                told.take_in(&report);
            }
            return Ok(());
        };
        let before = member.told;
        report.iter().for_each(|report| member.told.take_in(report));
        match report {
            Some(Report::Role(role)) => member.role = Some(role),
            Some(Report::Incremented(_)) => {}
            Some(Report::Acknowledged { number: write, begun, ended }) => {
                if write != before.writes + 1 {
                    return Err(Failure::Check(format!(
                        "process {number} reported write {write} after write {}",
                        before.writes
                    )));
                }
                if begun > self.killed_at && member.since_kill.is_none() {
                    member.since_kill = Some(ended);
                }
            }
            Some(Report::Complaint(text)) => return Err(Failure::Check(format!("process {number}: {text}"))),
            None => return Err(Failure::Check(format!("process {number} ended by itself"))),
        }
        Ok(())
    }

    /// Lets all processes end in good order; gives what every process there was has been told.
    pub async fn dismiss(mut self, complaints: &mut Vec<String>) -> BTreeMap<u64, Told> {
        for member in self.members.values_mut() {
            drop(member.child.stdin.take());
        }
        let mut members = std::mem::take(&mut self.members);
        // No further senders: the reports end when every process has closed its stdout.
        drop(self.reporter);
        let all_told = async {
            while let Some((number, report)) = self.reports.recv().await {
                let Some(report) = report else { continue };
                match members.get_mut(&number) {
                    Some(member) => member.told.take_in(&report),
                    None => self.gone.entry(number).or_default().take_in(&report),
                }
                if let Report::Complaint(text) = report {
                    complaints.push(format!("process {number}: {text}"));
                }
            }
        };
        if tokio::time::timeout(super::PATIENCE, all_told).await.is_err() {
            complaints.push("some processes did not end when they were told to".to_owned());
        }
        for (number, mut member) in members {
            match tokio::time::timeout(super::PATIENCE, member.child.wait()).await {
                Ok(Ok(status)) if status.success() => {}
                Ok(Ok(status)) => complaints.push(format!("process {number} ended with {status}")),
                Ok(Err(error)) => complaints.push(format!("process {number}: {error}")),
                Err(_) => {
                    complaints.push(format!("process {number} is stuck"));
                    // Dropping it would kill it as well, without waiting for its end.
                    let _ = member.child.kill().await;
                }
            }
            self.gone.insert(number, member.told);
        }
        self.gone
    }

    /// Ends all processes at once.
    pub async fn kill_all(mut self) {
        for member in self.members.values_mut() {
            // It may have ended by itself.
            let _ = member.child.kill().await;
        }
    }
}
