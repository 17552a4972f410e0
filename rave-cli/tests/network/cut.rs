//! Two machines, as two network namespaces, and a cut between them: nothing is said to either, packets just do not arrive.
//!
//! Only root can make namespaces. Elsewhere this is skipped, unless `RAVE_TEST_NAMESPACES` says that it must run.

use super::{
    Host, Secrets, finish,
    support::{DEADLINE, Dir, Exec, eventually, rave},
};
use serde_json::json;
use std::{
    ffi::OsStr,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

const HOST: &str = "192.0.2.1";
const GUEST: &str = "192.0.2.2";
/// Nobody's.
const NOWHERE: &str = "02:00:00:00:00:01";

/// Two machines with one cable between them. Dropping it takes all of that away.
struct Machines {
    /// Of this process, so that tests can run side by side.
    stem: String,
}

/// Runs a command of `ip`, and tells what it says if it fails.
fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip").args(arguments.split(' ')).output().map_err(|error| format!("ip: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

impl Machines {
    fn new(name: char) -> Result<Self, String> {
        let machines = Self { stem: format!("rv{name}{}", std::process::id()) };
        let stem = &machines.stem;
        for end in ["a", "b"] {
            ip(&format!("netns add {stem}{end}"))?;
        }
        ip(&format!("-n {stem}a link add {stem}a type veth peer name {stem}b netns {stem}b"))?;
        for (end, address) in [("a", HOST), ("b", GUEST)] {
            let machine = format!("{stem}{end}");
            ip(&format!("-n {machine} address add {address}/24 dev {machine}"))?;
            ip(&format!("-n {machine} link set lo up"))?;
            ip(&format!("-n {machine} link set {machine} up"))?;
        }
        Ok(machines)
    }

    /// `rave` on the host's machine or the guest's.
    fn rave(&self, end: char) -> Command {
        let inner = rave();
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &format!("{}{end}", self.stem)]).arg(inner.get_program());
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.stdin(std::process::Stdio::null());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        command
    }

    /// From now on nothing arrives that is sent from this end: it goes to a card that nobody has.
    fn mislead(&self, end: char) {
        let machine = format!("{}{end}", self.stem);
        let other = if end == 'a' { GUEST } else { HOST };
        ip(&format!("-n {machine} neigh replace {other} lladdr {NOWHERE} dev {machine} nud permanent")).unwrap();
    }

    /// What is sent from this end arrives again.
    fn heal(&self, end: char) {
        let machine = format!("{}{end}", self.stem);
        let other = if end == 'a' { GUEST } else { HOST };
        ip(&format!("-n {machine} neigh del {other} dev {machine}")).unwrap();
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        for end in ["a", "b"] {
            let _ = ip(&format!("netns del {}{end}", self.stem));
        }
    }
}

/// Two machines, or `None` where this process may not make them.
fn machines(name: char) -> Option<Machines> {
    match Machines::new(name) {
        Ok(machines) => Some(machines),
        Err(reason) if std::env::var_os("RAVE_TEST_NAMESPACES").is_some() => panic!("{reason}"),
        Err(reason) => {
            eprintln!("skipped: no network namespaces can be made here: {reason}");
            None
        }
    }
}

#[test]
fn a_cut_is_noticed_at_both_ends_and_after_it_everything_goes_on() {
    let Some(machines) = machines('c') else { return };
    let (dir, secrets) = (Dir::new(), Secrets::new(HOST));
    let (db, listen) = (dir.db(), format!("tcp:{HOST}:0"));
    let mut arguments = secrets.of_host().to_vec();
    arguments.extend([&db as &dyn AsRef<OsStr>, &"--listen", &listen]);
    let host = Host::of(machines.rave('a'), &arguments);
    let options = secrets.of_guest(&secrets.token);
    let here: Vec<&dyn AsRef<OsStr>> = options.iter().map(|option| option as &dyn AsRef<OsStr>).collect();
    let guests = || host.guests(machines.rave('a'), &here);
    let counter = || {
        let get =
            finish(machines.rave('a'), &[&[&"get" as &dyn AsRef<OsStr>, &host.address, &"n"], &here[..]].concat());
        get.lines()[0].to_owned()
    };
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let exec = Exec::of(machines.rave('b'), Path::new(&host.address), &options);
    let from = |from: u64| {
        json!({"op": "batch", "ops": [{"type": "put", "key": "n", "value": (from + 1).to_string()}],
               "if": [{"key": "n", "equals": from.to_string()}]})
    };
    let notices = || exec.ok(json!({"op": "role"}))["leader_pid"].is_null();
    exec.put("n", "0");

    let mut count = 0;
    // First the answers are lost, of writes that are applied; then the requests; then both.
    for (round, cut) in [&['a'][..], &['b'], &['a', 'b']].into_iter().enumerate() {
        for _ in 0..50 {
            assert_eq!(exec.ok(from(count))["ok"], json!(true));
            count += 1;
        }
        assert_eq!(guests(), 1);
        let start = Instant::now();
        cut.iter().for_each(|end| machines.mislead(*end));
        let on_its_way = exec.send(from(count));
        let others: Vec<u64> = (1..10).map(|more| exec.send(from(count + more))).collect();
        if cut == ['a'] {
            eventually("the write is applied", || (counter() != count.to_string()).then_some(()));
        }
        let (mut host_noticed, mut guest_noticed) = (None, None);
        while host_noticed.is_none() || guest_noticed.is_none() {
            assert!(start.elapsed() < 2 * DEADLINE, "host: {host_noticed:?}, guest: {guest_noticed:?}");
            if host_noticed.is_none() && guests() == 0 {
                host_noticed = Some(start.elapsed());
            }
            if guest_noticed.is_none() && notices() {
                guest_noticed = Some(start.elapsed());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        // For a while nobody gets through, and nothing is answered.
        std::thread::sleep(Duration::from_secs(1));
        let healed = Instant::now();
        cut.iter().for_each(|end| machines.heal(*end));
        for write in std::iter::once(on_its_way).chain(others) {
            let reply = exec.reply(write).unwrap();
            assert_eq!(reply["ok"], json!(true), "applied once, and in order: {reply}");
            count += 1;
        }
        println!(
            "cut {}: noticed by the host after {:.1?}, by the guest after {:.1?}; served again {:.1?} after it was healed",
            round + 1,
            host_noticed.unwrap(),
            guest_noticed.unwrap(),
            healed.elapsed()
        );
        assert_eq!(counter(), count.to_string());
    }
    exec.close();
    assert_eq!(guests(), 0);
}

#[test]
fn a_cable_may_be_pulled_for_a_moment_or_for_long() {
    let Some(machines) = machines('p') else { return };
    let (dir, secrets) = (Dir::new(), Secrets::new(HOST));
    let (db, listen) = (dir.db(), format!("tcp:{HOST}:0"));
    let mut arguments = secrets.of_host().to_vec();
    arguments.extend([&db as &dyn AsRef<OsStr>, &"--listen", &listen]);
    let host = Host::of(machines.rave('a'), &arguments);
    let options = secrets.of_guest(&secrets.token);
    let here: Vec<&dyn AsRef<OsStr>> = options.iter().map(|option| option as &dyn AsRef<OsStr>).collect();
    let words: Vec<&str> = options.iter().map(String::as_str).collect();
    let exec = Exec::of(machines.rave('b'), Path::new(&host.address), &words);
    exec.put("a", "1");
    let cable = format!("{}b", machines.stem);
    for long in [false, true] {
        ip(&format!("-n {cable} link set {cable} down")).unwrap();
        let write = exec.send(json!({"op": "put", "key": "a", "value": long.to_string()}));
        if long {
            eventually("the host notices", || (host.guests(machines.rave('a'), &here) == 0).then_some(()));
            eventually("the guest notices", || exec.ok(json!({"op": "role"}))["leader_pid"].is_null().then_some(()));
        }
        ip(&format!("-n {cable} link set {cable} up")).unwrap();
        assert_eq!(exec.reply(write).unwrap()["ok"], json!(true));
        assert_eq!(exec.get("a"), Some(long.to_string()));
    }
    exec.close();
}
