//! The commands over TCP, and what they say if they may not.

use super::{
    Host, Secrets, finish,
    pki::write_private,
    support::{Dir, Exec, eventually, rave, run},
};
use serde_json::json;
use std::{ffi::OsStr, path::Path};

/// Runs `rave COMMAND ADDRESS ARGUMENTS OPTIONS`.
fn on(host: &Host, command: &str, arguments: &[&str], options: &[String]) -> super::Finished {
    let mut all: Vec<&dyn AsRef<OsStr>> = vec![&command, &host.address];
    all.extend(arguments.iter().map(|argument| argument as &dyn AsRef<OsStr>));
    all.extend(options.iter().map(|option| option as &dyn AsRef<OsStr>));
    finish(rave(), &all)
}

#[test]
fn within_this_machine_nothing_is_needed() {
    let dir = Dir::new();
    let host = Host::start(&[&dir.db(), &"--listen", &"tcp:localhost:0"]);
    on(&host, "put", &["a", "1"], &[]).succeeded();
    assert_eq!(on(&host, "get", &["a"], &[]).lines(), ["1"]);
    let status = on(&host, "status", &["--json"], &[]);
    let status: serde_json::Value = serde_json::from_str(status.succeeded().text()).unwrap();
    assert_eq!(status["leader_pid"], json!(host.process.pid()));

    let taken = run(&[&"host", &dir.join("other"), &"--listen", &host.address]);
    assert!(taken.failed(3).contains("listens at") && taken.err.contains("already"), "{}", taken.err);
    let free = host.address.clone();
    host.process.kill();
    let nobody = run(&[&"get", &"--open-timeout", &"0.3", &free, &"a"]);
    assert!(nobody.failed(3).contains("nobody serves a database at"), "{}", nobody.err);
}

#[test]
fn a_guest_waits_for_its_host_and_goes_on() {
    let dir = Dir::new();
    let secrets = Secrets::new("127.0.0.1");
    let mut arguments: Vec<&dyn AsRef<OsStr>> = secrets.of_host().to_vec();
    let db = dir.db();
    arguments.extend([&db as &dyn AsRef<OsStr>, &"--listen"]);
    let host = Host::start(&[&arguments[..], &[&"tcp:127.0.0.1:0"]].concat());
    let options = secrets.of_guest(&secrets.token);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let exec = Exec::with(Path::new(&host.address), &options);
    exec.put("a", "1");
    host.process.kill();
    eventually("it notices", || exec.ok(json!({"op": "role"}))["leader_pid"].is_null().then_some(()));
    let write = exec.send(json!({"op": "put", "key": "b", "value": "2"}));
    let second = Host::start(&[&arguments[..], &[&host.address]].concat());
    assert_eq!(second.address, host.address);
    assert_eq!(exec.reply(write).unwrap()["ok"], json!(true));
    assert_eq!((exec.get("a"), exec.get("b")), (Some("1".to_owned()), Some("2".to_owned())));
    exec.close();
}

#[test]
fn tokens_come_from_files_or_the_environment_and_are_never_shown() {
    let dir = Dir::new();
    let secrets = Secrets::new("127.0.0.1");
    let (db, mut arguments) = (dir.db(), secrets.of_host().to_vec());
    arguments.extend([&db as &dyn AsRef<OsStr>, &"--listen", &"tcp:127.0.0.1:0"]);
    let host = Host::start(&arguments);
    on(&host, "put", &["a", "1"], &secrets.of_guest(&secrets.token)).succeeded();
    assert_eq!(on(&host, "get", &["a"], &secrets.of_guest(&secrets.reader)).lines(), ["1"]);
    let refused = on(&host, "put", &["a", "2"], &secrets.of_guest(&secrets.reader));
    assert!(refused.failed(3).contains("LEVEL_READONLY"), "{}", refused.err);

    let line = std::fs::read_to_string(&secrets.token).unwrap();
    let secret = line.split_whitespace().last().unwrap();
    let ca = secrets.authority.ca();
    let with_environment = |token: &str| {
        let mut command = rave();
        command.env("RAVE_TOKEN", token);
        finish(command, &[&"get", &host.address, &"a", &"--tls-ca", &ca])
    };
    assert_eq!(with_environment(secret).lines(), ["1"]);

    // Each is told at once, well before it gives up waiting for a host.
    let patient = |options: &[String]| on(&host, "get", &["a", "--open-timeout", "600"], options);
    let wrong = dir.join("wrong");
    let other = run(&[&"token", &"alice"]).text().to_owned();
    write_private(&wrong, &other);
    let refused = patient(&secrets.of_guest(&wrong));
    assert!(refused.failed(3).contains("does not know the token: the token file"), "{}", refused.err);
    assert!(refused.err.contains(wrong.to_str().unwrap()), "{}", refused.err);
    let refused = with_environment(other.split_whitespace().last().unwrap());
    assert!(refused.failed(3).contains("the environment variable RAVE_TOKEN"), "{}", refused.err);
    let refused = patient(&["--tls-ca".to_owned(), ca.to_str().unwrap().to_owned()]);
    assert!(refused.failed(3).contains("demands a token"), "{}", refused.err);
    let refused = patient(&[]);
    assert!(refused.failed(3).contains("demands TLS") && refused.err.contains("--tls-ca"), "{}", refused.err);
    let refused = with_environment("too-short");
    assert!(refused.failed(2).contains("shorter than 22 characters"), "{}", refused.err);
    assert!(!refused.err.contains("too-short"), "{}", refused.err);

    host.process.kill();
    let told = host.process.errors();
    assert!(told.contains("turned away") && told.contains("none of this host's"), "{told}");
    for secret in [secret, other.split_whitespace().last().unwrap()] {
        assert!(!told.contains(secret), "a secret is in the log");
    }
}

#[test]
fn certificates_of_guests_let_them_in() {
    let dir = Dir::new();
    let secrets = Secrets::new("127.0.0.1");
    let (ca, guest) = (secrets.authority.ca(), secrets.authority.issue("carol", &[]));
    let host = Host::start(&[
        &dir.db(),
        &"--listen",
        &"tcp:127.0.0.1:0",
        &"--tls-cert",
        &secrets.cert,
        &"--tls-key",
        &secrets.key,
        &"--tls-client-ca",
        &ca,
    ]);
    let arguments: [&dyn AsRef<OsStr>; 7] =
        [&"put", &host.address, &"a", &"1", &"--tls-ca", &ca, &"--open-timeout=600"];
    finish(rave(), &[&arguments[..], &[&"--tls-cert", &guest.cert, &"--tls-key", &guest.key]].concat()).succeeded();
    let refused = finish(rave(), &arguments);
    assert!(refused.failed(3).contains("it may demand a certificate"), "{}", refused.err);
}

#[test]
fn what_is_not_safe_is_refused_with_advice() {
    let dir = Dir::new();
    let secrets = Secrets::new("127.0.0.1");
    let (db, socket) = (dir.db(), format!("unix:{}", dir.join("s").display()));
    let (cert, key, tokens, ca) = (&secrets.cert, &secrets.key, &secrets.tokens, secrets.authority.ca());
    let open = dir.join("open");
    std::fs::write(&open, std::fs::read(tokens).unwrap()).unwrap();
    type Case<'a> = (&'a [&'a dyn AsRef<OsStr>], i32, &'a [&'a str]);
    let cases: &[Case<'_>] = &[
        (&[&"host", &db, &"--listen", &"tcp:0.0.0.0:0"], 3, &["beyond this machine", "--tls-cert", "--tokens"]),
        (&[&"host", &db, &"--listen", &"tcp:0.0.0.0:0", &"--tokens", tokens], 3, &["needs TLS", "--tls-cert"]),
        (
            &[&"host", &db, &"--listen", &"tcp:[::]:0", &"--tls-cert", cert, &"--tls-key", key],
            3,
            &["needs a credential", "--tokens", "--tls-client-ca"],
        ),
        (&[&"get", &"tcp:192.0.2.1:7", &"a"], 3, &["beyond this machine", "--tls-ca", "RAVE_TOKEN"]),
        (&[&"get", &"tcp:192.0.2.1:7", &"a", &"--tls-ca", &ca], 3, &["needs a credential", "--token-file"]),
        (&[&"get", &"tcp:localhost", &"a"], 2, &["names no port"]),
        (&[&"host", &db, &"--listen", &"tcp:localhost:0", &"--tokens", &open], 2, &["chmod 600"]),
        (&[&"host", &db, &"--listen", &"tcp:localhost:0", &"--tls-cert", cert], 2, &["--tls-key"]),
        (&[&"host", &db, &"--listen", &socket, &"--tokens", tokens], 2, &["begin with tcp:"]),
        (&[&"get", &socket, &"a", &"--tls-ca", &ca], 2, &["begin with tcp:"]),
        (&[&"get", &db, &"a", &"--token-file", &secrets.token], 2, &["begin with tcp:"]),
        (&[&"token", &"a b"], 2, &["letters, digits"]),
    ];
    for (arguments, code, texts) in cases {
        let finished = run(arguments);
        let line = finished.failed(*code);
        assert!(texts.iter().all(|text| line.contains(text)), "{texts:?}: {line}");
    }
}
