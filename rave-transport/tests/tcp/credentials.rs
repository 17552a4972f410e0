//! Guests and hosts that are not what they should be. Each is told what is wrong, and nobody else is hurt.

use super::{
    Secured, connect, local,
    pki::{Authority, write_private},
    refusal,
};
use rave_core::Code;
use rave_transport::{Access, TcpAddress, TcpTransport, TlsGuest, TlsHost, Token, Tokens, Transport as _};

#[tokio::test]
async fn without_the_right_token_nobody_gets_in() {
    let mut secured = Secured::start().await;
    let tls = || TlsGuest::trusting(secured.authority.ca()).unwrap();
    let wrong = Token::generate().unwrap();
    let file = secured.authority.join("wrong");
    write_private(&file, &format!("alice rw {}\n", wrong.reveal()));

    let without = refusal(&secured.host.for_guests().tls_guest(tls())).await;
    assert!(without.contains("demands a token") && without.contains("--token-file"), "{without}");
    let text = refusal(&secured.host.for_guests().tls_guest(tls()).token(Token::from_file(&file).unwrap())).await;
    assert!(text.contains(&format!("does not know the token: the token file \"{}\"", file.display())), "{text}");
    assert!(!text.contains(wrong.reveal()), "the secret is not told");
    // Nor one that is nearly right.
    for near in [&secured.token.reveal()[1..], &format!("{}x", secured.token.reveal())] {
        let near = Token::new(near).unwrap();
        let text = refusal(&secured.host.for_guests().tls_guest(tls()).token(near)).await;
        assert!(text.contains("does not know the token"), "{text}");
    }
    secured.still_serves().await;
}

#[tokio::test]
async fn a_token_to_read_is_told_from_one_to_write() {
    let (reads, writes) = (Token::generate().unwrap(), Token::generate().unwrap());
    let tokens = Tokens::new().with("r", Access::ReadOnly, &reads).unwrap();
    let host = local().tokens(tokens.with("w", Access::ReadWrite, &writes).unwrap());
    let mut listener = host.listen().await.unwrap();
    for (token, name, read_only) in [(&reads, "r", true), (&writes, "w", false)] {
        let guest = host.for_guests().token(token.clone());
        let (_guest, host) = super::meet(&guest, &mut listener).await;
        assert_eq!((host.peer.name.as_deref(), host.peer.read_only), (Some(name), read_only));
    }
}

#[tokio::test]
async fn a_guest_trusts_only_the_right_host() {
    let authority = Authority::new();
    let stranger = Authority::new();
    let token = Token::generate().unwrap();
    for (pair, ca, what) in [
        (authority.issue_expired("host", &["127.0.0.1"]), authority.ca(), "expired"),
        (authority.issue("other", &["192.0.2.1"]), authority.ca(), "not valid for name"),
        (stranger.issue("host", &["127.0.0.1"]), authority.ca(), "UnknownIssuer"),
    ] {
        let tokens = Tokens::new().with("alice", Access::ReadWrite, &token).unwrap();
        let host = local().tls_host(TlsHost::new(&pair.cert, &pair.key).unwrap()).tokens(tokens);
        let _listener = host.listen().await.unwrap();
        let guest = host.for_guests().tls_guest(TlsGuest::trusting(ca).unwrap()).token(token.clone());
        let text = refusal(&guest).await;
        assert!(text.contains("is not trusted") && text.contains(what), "{what}: {text}");
    }
}

#[tokio::test]
async fn a_host_trusts_only_the_right_guests() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let pair = authority.issue("host", &["127.0.0.1"]);
    let tls = TlsHost::new(&pair.cert, &pair.key).unwrap().client_ca(authority.ca()).unwrap();
    let host = local().tls_host(tls);
    let mut listener = host.listen().await.unwrap();
    let trusting = || TlsGuest::trusting(authority.ca()).unwrap();
    let with =
        |pair: super::pki::Pair| host.for_guests().tls_guest(trusting().certificate(pair.cert, pair.key).unwrap());

    let without = host.for_guests().tls_guest(trusting()).token(Token::generate().unwrap());
    for (guest, what) in [
        (without, "CertificateRequired"),
        (with(stranger.issue("mallory", &[])), "UnknownCA"),
        (with(authority.issue_expired("erin", &[])), "CertificateExpired"),
    ] {
        let text = refusal(&guest).await;
        assert!(text.contains("refuses this guest") && text.contains(what), "{what}: {text}");
    }
    super::talk(super::meet(&with(authority.issue("carol", &[])), &mut listener).await).await;
}

#[tokio::test]
async fn with_tokens_and_certificates_both_are_demanded() {
    let authority = Authority::new();
    let pair = authority.issue("host", &["127.0.0.1"]);
    let tls = TlsHost::new(&pair.cert, &pair.key).unwrap().client_ca(authority.ca()).unwrap();
    let token = Token::generate().unwrap();
    let host = local().tls_host(tls).tokens(Tokens::new().with("alice", Access::ReadOnly, &token).unwrap());
    let mut listener = host.listen().await.unwrap();
    let carol = authority.issue("carol", &[]);
    let trusting = TlsGuest::trusting(authority.ca()).unwrap();
    let certified = trusting.clone().certificate(&carol.cert, &carol.key).unwrap();
    let text = refusal(&host.for_guests().tls_guest(trusting).token(token.clone())).await;
    assert!(text.contains("CertificateRequired"), "{text}");
    let text = refusal(&host.for_guests().tls_guest(certified.clone())).await;
    assert!(text.contains("demands a token"), "{text}");
    let guest = host.for_guests().tls_guest(certified).token(token);
    let (_guest, host) = super::meet(&guest, &mut listener).await;
    assert_eq!((host.peer.name.as_deref(), host.peer.read_only), (Some("alice"), true));
}

#[tokio::test]
async fn who_speaks_tls_and_who_does_not_is_told() {
    let mut secured = Secured::start().await;
    let plain = refusal(&secured.host.for_guests().token(secured.token.clone())).await;
    assert!(plain.contains("demands TLS") && plain.contains("--tls-ca"), "{plain}");
    secured.still_serves().await;

    let host = local();
    let mut listener = host.listen().await.unwrap();
    let tls = TlsGuest::trusting(secured.authority.ca()).unwrap();
    let text = refusal(&host.for_guests().tls_guest(tls)).await;
    assert!(text.contains("does not speak TLS"), "{text}");
    super::talk(super::meet(&host, &mut listener).await).await;
}

#[tokio::test]
async fn beyond_this_machine_there_is_tls_and_a_credential_or_nothing() {
    let authority = Authority::new();
    let pair = authority.issue("host", &["192.0.2.1"]);
    let token = Token::generate().unwrap();
    let tokens = || Tokens::new().with("alice", Access::ReadWrite, &token).unwrap();
    let tls_host = || TlsHost::new(&pair.cert, &pair.key).unwrap();
    let tls_guest = || TlsGuest::trusting(authority.ca()).unwrap();
    // Of a network for documentation, which nobody has.
    let far = || TcpTransport::at(TcpAddress::new("192.0.2.1", 7));
    for (guest, needs) in [
        (far(), &["--tls-ca", "--token-file"][..]),
        (far().token(token.clone()), &["--tls-ca"]),
        (far().tls_guest(tls_guest()), &["--token-file", "RAVE_TOKEN", "--tls-cert"]),
    ] {
        let error = connect(&guest).await.unwrap_err();
        assert!(needs.iter().all(|needed| error.message().contains(needed)), "{error}");
    }
    for everywhere in ["0.0.0.0", "::"] {
        let everywhere = || TcpTransport::at(TcpAddress::new(everywhere, 0));
        for (host, needs) in [
            (everywhere(), &["--tls-cert", "--tokens", "--tls-client-ca"][..]),
            (everywhere().tokens(tokens()), &["--tls-cert"]),
            (everywhere().tls_host(tls_host()), &["--tokens", "--tls-client-ca"]),
        ] {
            let error = host.listen().await.err().unwrap();
            assert_eq!(error.code(), Code::NotSupported);
            assert!(needs.iter().all(|needed| error.message().contains(needed)), "{error}");
        }
    }
    let safe = TcpTransport::at(TcpAddress::new("0.0.0.0", 0));
    safe.clone().tls_host(tls_host()).tokens(tokens()).listen().await.unwrap();
    safe.tls_host(tls_host().client_ca(authority.ca()).unwrap()).listen().await.unwrap();
}

#[test]
fn files_with_secrets_that_are_of_no_use_are_refused() {
    let authority = Authority::new();
    let file = authority.join("tokens");
    let secret = Token::generate().unwrap().reveal().to_owned();
    for (text, what) in [
        (String::new(), "has no token"),
        ("# nothing\n".to_owned(), "has no token"),
        (format!("a rw {secret}\n\nb"), "line 3"),
        (format!("a {secret} rw"), "should be rw or ro"),
        (format!("a rw {secret}\na ro {}", secret.to_lowercase()), "line 2"),
        (format!("a rw {secret}\nb ro {secret}"), "\"b\" has the same token as \"a\""),
        (format!("a/b rw {secret}"), "a name has letters"),
        ("a rw short".to_owned(), "shorter than 22"),
        (format!("a rw {}", "ab".repeat(20)), "is not random"),
        (format!("a rw {}", secret.repeat(20)), "longer than 256"),
    ] {
        write_private(&file, &text);
        let error = Tokens::from_file(&file).unwrap_err().to_string();
        assert!(error.contains(what) && error.contains(file.to_str().unwrap()), "{text}: {error}");
        assert!(!error.contains(&secret) && !error.contains("short)"), "{error}");
    }
    for (text, what) in [
        (String::new(), "must have one line"),
        (format!("{secret}\n{secret}"), "must have one line"),
        (format!("a rx {secret}"), "line 1"),
        ("short".to_owned(), "shorter than 22"),
    ] {
        write_private(&file, &text);
        let error = Token::from_file(&file).unwrap_err().to_string();
        assert!(error.contains(what) && !error.contains(&secret), "{text}: {error}");
    }
    for text in [format!("{secret}\n"), format!("# mine\nalice ro {secret}")] {
        write_private(&file, &text);
        assert_eq!(Token::from_file(&file).unwrap().reveal(), secret);
    }
    assert!(!format!("{:?}", Token::from_file(&file).unwrap()).contains(&secret));

    #[cfg(unix)]
    for mode in [0o640, 0o604, 0o660] {
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        let error = Token::from_file(&file).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }
    let missing = Token::from_file(authority.join("missing")).unwrap_err().to_string();
    assert!(missing.contains("missing"), "{missing}");
}

#[test]
fn certificates_and_keys_that_are_of_no_use_are_refused() {
    let authority = Authority::new();
    let (one, other) = (authority.issue("one", &[]), authority.issue("other", &[]));
    let text = TlsHost::new(&one.cert, &other.key).unwrap_err().to_string();
    assert!(text.contains(one.cert.to_str().unwrap()) && text.contains(other.key.to_str().unwrap()), "{text}");
    let text = TlsHost::new(&one.key, &one.key).unwrap_err().to_string();
    assert!(text.contains("has no certificate"), "{text}");
    let no_key = authority.join("no.key");
    write_private(&no_key, &std::fs::read_to_string(&one.cert).unwrap());
    let text = TlsHost::new(&one.cert, &no_key).unwrap_err().to_string();
    assert!(text.contains("has no private key"), "{text}");
    let text = TlsGuest::trusting(&one.key).unwrap_err().to_string();
    assert!(text.contains("has no certificate"), "{text}");
    let text = TlsGuest::trusting(authority.ca()).unwrap().host_name("a b").unwrap_err().to_string();
    assert!(text.contains("\"a b\""), "{text}");
    #[cfg(unix)]
    {
        std::fs::set_permissions(&one.key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        let text = TlsHost::new(&one.cert, &one.key).unwrap_err().to_string();
        assert!(text.contains("chmod 600"), "{text}");
    }
}
