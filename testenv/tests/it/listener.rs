//! A scripted server answers as it is told, and forgets nothing of what reached it.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use testenv::certificates::{Authority, Identity};
use testenv::{Listener, Reply, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::DEADLINE;

const GET: &str = "GET /v2/ HTTP/1.1\r\nHost: registry\r\n\r\n";

/// No test waits so long for an answer that is to come.
const PATIENCE: Option<Duration> = Some(DEADLINE);

/// One hour.
const HOUR: Duration = Duration::from_secs(3600);

fn connect(listener: &Listener, request: &str) -> TcpStream {
    let mut connection = TcpStream::connect(listener.address()).unwrap();
    connection.set_read_timeout(PATIENCE).unwrap();
    connection.write_all(request.as_bytes()).unwrap();
    connection
}

/// Sends `request` and returns everything up to the connection's end.
fn ask(listener: &Listener, request: &str) -> String {
    let mut answer = String::new();
    connect(listener, request).read_to_string(&mut answer).unwrap();
    answer
}

/// As [`ask`] with TLS, trusting `authority` and asking for `name`.
async fn ask_tls(listener: &Listener, authority: &Authority, name: &str, request: &str) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.certificate().as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = tokio::net::TcpStream::connect(listener.address()).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[test]
fn records_requests_and_answers_by_script() {
    let listener = Listener::plain(|seen| match seen.path() {
        "/v2/" => Reply::status(401).header("WWW-Authenticate", "Basic realm=\"x\"").body("no"),
        _ => Reply::status(404),
    })
    .unwrap();
    let first = "POST /v2/?a=b%20c HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nAuthorization: Basic YTpi\r\n\r\nabc";
    let second = "PUT /other HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let last = "HEAD /v2/ HTTP/1.1\r\nConnection: close\r\n\r\n";
    // All on one connection, and more than one request at once.
    let answer = ask(&listener, &format!("{first}{second}{last}"));
    let heads: Vec<&str> = answer.split("HTTP/1.1 ").skip(1).collect();
    assert!(heads[0].starts_with("401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\n"), "{answer}");
    assert!(heads[0].ends_with("\r\n\r\nno"), "{answer}");
    assert!(heads[1].starts_with("404 Not Found\r\n"), "{answer}");
    assert!(heads[2].ends_with("Content-Length: 2\r\nConnection: close\r\n\r\n"), "{answer}");

    let seen = listener.requests();
    assert_eq!(seen.iter().map(|one| one.method.as_str()).collect::<Vec<_>>(), ["POST", "PUT", "HEAD"]);
    assert_eq!(seen[0].query("a"), ["b c"]);
    assert_eq!(seen[0].basic(), Some(("a".to_owned(), "b".to_owned())));
    assert_eq!((seen[0].body.as_slice(), seen[1].body.as_slice()), (b"abc".as_slice(), b"abcde".as_slice()));
    assert_eq!(listener.connections(), 1);
    assert_eq!(listener.received(), format!("{first}{second}{last}").into_bytes());
}

#[tokio::test]
async fn records_what_never_becomes_a_request() {
    let listener = Listener::plain(|_| Reply::status(200)).unwrap();
    assert!(ask(&listener, "\u{1}\u{2} secret-1\r\n\r\n").starts_with("HTTP/1.1 400 "));
    let mut half = connect(&listener, "GET /secret-2 HTT");
    half.shutdown(Shutdown::Write).unwrap();
    half.read_to_end(&mut Vec::new()).unwrap();
    let raw = Listener::raw(Reply::close()).unwrap();
    assert_eq!(ask(&raw, "secret-3"), "");
    eventually("the last bytes", DEADLINE, async || Ok(raw.was_told("secret-3").then_some(()))).await.unwrap();

    assert!(listener.was_told("secret-1") && listener.was_told("secret-2") && !listener.was_told("secret-3"));
    assert_eq!((listener.connections(), raw.connections()), (2, 1));
    assert!(listener.requests().is_empty() && raw.requests().is_empty());
}

#[tokio::test]
async fn speaks_tls_to_those_who_trust_its_authority() {
    let (authority, other) = (Authority::new().unwrap(), Authority::new().unwrap());
    let now = SystemTime::now();
    let start = |identity: Identity| Listener::tls(&identity, |_| Reply::status(200).body("hi")).unwrap();
    let right = start(authority.server(&["registry.test"]).unwrap());
    let wrong_name = start(authority.server_named(&["registry.test"]).unwrap());
    let expired = start(authority.server_valid(&[], now - 2 * HOUR, now - HOUR).unwrap());
    let too_early = start(authority.server_valid(&[], now + HOUR, now + 2 * HOUR).unwrap());
    let in_time = start(authority.server_valid(&[], now - HOUR, now + HOUR).unwrap());
    let request = "GET /secret HTTP/1.1\r\nConnection: close\r\n\r\n";
    for (listener, authority, name, expected) in [
        (&right, &authority, "127.0.0.1", "hi"),
        (&right, &authority, "registry.test", "hi"),
        (&right, &other, "127.0.0.1", "UnknownIssuer"),
        (&wrong_name, &authority, "registry.test", "hi"),
        (&wrong_name, &authority, "127.0.0.1", "not valid for name"),
        (&expired, &authority, "127.0.0.1", "certificate expired"),
        (&too_early, &authority, "127.0.0.1", "not valid yet"),
        (&in_time, &authority, "127.0.0.1", "hi"),
    ] {
        let answer = match ask_tls(listener, authority, name, request).await {
            Ok(answer) => answer,
            // The authorities have one name, so the certificate seems to be the other's with a wrong signature.
            Err(error) => error.to_string().replace("BadSignature", "UnknownIssuer"),
        };
        assert!(answer.contains(expected), "{expected}: {answer}");
    }
    assert_eq!(right.received(), request.repeat(2).into_bytes());
    assert_eq!((right.connections(), right.requests().len()), (3, 2));
    assert!(expired.received().is_empty());
}

#[test]
fn a_login_sent_to_a_tls_port_without_tls_is_recorded() {
    let identity = Authority::new().unwrap().server(&[]).unwrap();
    let listener = Listener::tls(&identity, |_| Reply::status(200)).unwrap();
    let answer = ask(&listener, "GET / HTTP/1.1\r\nAuthorization: Basic dXNlcjpwYXNzd29yZA==\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(listener.was_told("password"));
    assert!(listener.requests().is_empty());
}

#[test]
fn listens_at_the_address_it_is_told() {
    for address in ["127.0.0.2", "::1"] {
        let listener = Listener::plain_at((address.parse::<std::net::IpAddr>().unwrap(), 0).into(), |_| {
            Reply::status(200).header("Connection", "close")
        });
        let Ok(listener) = listener else {
            assert_eq!(address, "::1", "a machine without IPv6 has no ::1");
            continue;
        };
        assert_eq!(listener.address().ip().to_string(), address);
        assert_eq!(listener.url(), format!("http://{}", listener.host()));
        assert!(ask(&listener, GET).starts_with("HTTP/1.1 200 OK"));
    }
}

#[test]
fn answers_wrongly_where_that_is_wanted() {
    let every = Duration::from_millis(1);
    for (name, reply, expected) in [
        ("raw", Reply::raw("SSH-2.0-x\r\n"), "SSH-2.0-x\r\n"),
        ("close", Reply::close(), ""),
        (
            "truncated",
            Reply::status(200).body("hi").truncated(99),
            "\r\nContent-Length: 99\r\nConnection: close\r\n\r\nhi",
        ),
        ("drip", Reply::raw("HTTP/1.1 200 OK\r\n\r\n").dripping(every), "HTTP/1.1 200 OK\r\n\r\n"),
        ("late", Reply::raw("late").delayed(every), "late"),
    ] {
        let answer = reply.clone();
        let listener = Listener::plain(move |_| answer.clone()).unwrap();
        assert!(ask(&listener, GET).ends_with(expected), "{name}");
        let raw = Listener::raw(reply).unwrap();
        assert!(ask(&raw, GET).ends_with(expected), "{name}, at once");
    }
}

#[test]
fn some_answers_never_end_and_some_never_begin() {
    for (name, reply, length) in [
        ("body", Reply::status(200).endless_body(), 1 << 20),
        ("headers", Reply::status(200).endless_headers(), 1 << 20),
        ("bytes", Reply::endless("x"), 1 << 20),
        ("slow bytes", Reply::endless("xyz").dripping(Duration::from_millis(1)), 10),
    ] {
        let listener = Listener::plain(move |_| reply.clone()).unwrap();
        let mut connection = connect(&listener, GET);
        connection.read_exact(&mut vec![0; length]).unwrap_or_else(|error| panic!("{name}: {error}"));
        // It ends although an answer is under way.
        drop(listener);
        let _ = connection.read_to_end(&mut Vec::new());
    }
    let listener = Listener::plain(|_| Reply::hang()).unwrap();
    let mut connection = connect(&listener, GET);
    while listener.requests().is_empty() {
        std::thread::yield_now();
    }
    connection.set_nonblocking(true).unwrap();
    assert_eq!(connection.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn nothing_of_it_is_left_once_it_is_dropped() {
    // An address that no other test uses, so that none can have taken the port meanwhile.
    let listener = Listener::plain_at(([127, 0, 0, 9], 0).into(), |_| Reply::hang()).unwrap();
    let address = listener.address();
    let mut connection = connect(&listener, GET);
    while listener.requests().is_empty() {
        std::thread::yield_now();
    }
    drop(listener);
    // Ended or reset, but not still waiting.
    assert!(!matches!(connection.read(&mut [0]), Ok(1..)));
    TcpStream::connect(address).unwrap_err();
}
