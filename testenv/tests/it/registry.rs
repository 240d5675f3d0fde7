//! The registry is a real one, and what tests do to it takes effect at once.

use std::fmt::Write as _;
use std::thread;

use sha2::{Digest as _, Sha256};
use testenv::crane::docker_config;
use testenv::{Access, Registry};

use crate::http::{ask, header};

/// `alice:right`
const RIGHT: &str = "Authorization: Basic YWxpY2U6cmlnaHQ=\r\n";

/// `alice:wrong`
const WRONG: &str = "Authorization: Basic YWxpY2U6d3Jvbmc=\r\n";

/// `mallory:right`
const STRANGER: &str = "Authorization: Basic bWFsbG9yeTpyaWdodA==\r\n";

/// Uploads `content` as alice and returns the blob's address.
fn upload(registry: &Registry, content: &[u8]) -> String {
    let digest = Sha256::digest(content).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    });
    let begun = ask(&registry.host(), "POST /v2/app/blobs/uploads/", RIGHT, b"");
    let target = header(&begun, "Location").unwrap().split_once(&registry.host()).unwrap().1;
    let done = ask(&registry.host(), &format!("PUT {target}&digest=sha256:{digest}"), RIGHT, content);
    assert!(done.starts_with("HTTP/1.1 201 "), "{done}");
    format!("/v2/app/blobs/sha256:{digest}")
}

#[tokio::test]
async fn pushes_and_pulls_with_the_right_password_only() {
    let registry = Registry::start().await.unwrap();
    let (host, crane) = (registry.host(), registry.crane());
    let image = format!("{host}/team/app:v1");
    registry.set_password("alice", "right").unwrap();
    let pushed = crane.push(&image, "alice", "right").await.unwrap();

    let pulled = crane.pull(&image, &docker_config(&host, "alice", "right")).await.unwrap();
    assert_eq!(pulled.digest, pushed);
    assert_eq!(registry.failed_logins("alice").unwrap(), 0);

    let refused = crane.pull(&image, &docker_config(&host, "alice", "wrong")).await.unwrap_err();
    assert!(format!("{refused:#}").contains("UNAUTHORIZED"), "{refused:#}");
    assert!(registry.failed_logins("alice").unwrap() > 0);

    let log = registry.access_log().unwrap();
    assert!(log.iter().any(|access| access.path == "/v2/" && access.status == 401 && !access.authorization));
    let manifest = "/v2/team/app/manifests/v1";
    assert!(log.iter().any(|access| access.path == manifest && access.method == "PUT" && access.status == 201));
}

#[tokio::test]
async fn a_changed_password_holds_for_the_next_request() {
    let registry = Registry::start().await.unwrap();
    let (host, crane) = (registry.host(), registry.crane());
    let image = format!("{host}/app:v1");
    // Several within one tick of a coarse clock.
    for round in 0..4 {
        let password = format!("password-{round}");
        registry.set_password("alice", &password).unwrap();
        crane.push(&image, "alice", &password).await.unwrap();
        let old = format!("password-{}", round - 1);
        crane.pull(&image, &docker_config(&host, "alice", &old)).await.unwrap_err();
    }
    registry.remove_user("alice").unwrap();
    crane.pull(&image, &docker_config(&host, "alice", "password-3")).await.unwrap_err();
}

#[tokio::test]
async fn comes_back_at_the_same_address_with_what_it_stored() {
    let registry = Registry::start().await.unwrap();
    let (host, crane) = (registry.host(), registry.crane());
    let image = format!("{host}/app:v1");
    let config = docker_config(&host, "alice", "right");
    registry.set_password("alice", "right").unwrap();
    let pushed = crane.push(&image, "alice", "right").await.unwrap();

    registry.pause();
    let away = crane.pull(&image, &config).await.unwrap_err();
    assert!(format!("{away:#}").contains("connection refused"), "{away:#}");

    registry.resume().await.unwrap();
    assert_eq!(registry.host(), host);
    assert_eq!(crane.pull(&image, &config).await.unwrap().digest, pushed);
}

#[tokio::test]
async fn tells_who_was_refused_as_far_as_the_registry_does() {
    let registry = Registry::start().await.unwrap();
    let host = registry.host();
    registry.set_password("alice", "right").unwrap();
    for headers in ["", WRONG, STRANGER, RIGHT] {
        ask(&host, "GET /v2/?login", headers, b"");
    }
    ask(&host, "GET /elsewhere", RIGHT, b"");
    let access = |status, authorization, user: Option<&str>| {
        let (method, path, user) = ("GET".to_owned(), "/v2/".to_owned(), user.map(str::to_owned));
        Access { method, path, status, authorization, bearer: false, user }
    };
    let mut log = registry.access_log().unwrap();
    let elsewhere = log.pop().unwrap();
    assert_eq!((elsewhere.path.as_str(), elsewhere.status, elsewhere.authorization), ("/elsewhere", 404, false));
    let (alice, nobody) = (Some("alice"), None);
    let expected = [(401, false, nobody), (401, true, alice), (401, true, nobody), (200, true, alice)];
    assert_eq!(log, expected.map(|(status, authorization, user)| access(status, authorization, user)));
    assert_eq!(registry.failed_logins("alice").unwrap(), 1);

    let unknown = registry.failed_logins("mallory").unwrap_err();
    assert!(unknown.to_string().contains("does not name mallory"), "{unknown}");
    registry.remove_user("mallory").unwrap();
    ask(&host, "GET /v2/", STRANGER, b"");
    assert_eq!(registry.failed_logins("mallory").unwrap(), 1);
}

#[tokio::test]
async fn what_is_answered_is_in_the_log_even_if_the_registry_then_goes_away() {
    let registry = Registry::start().await.unwrap();
    registry.set_password("alice", "right").unwrap();
    let path = upload(&registry, &vec![7; 1 << 20]);
    let counted =
        |status| registry.access_log().unwrap().iter().filter(|a| a.path == path && a.status == status).count();
    let get = |headers: &str| ask(&registry.host(), &format!("GET {path}"), headers, b"");
    thread::scope(|scope| {
        // Long answers, short ones, and some whose status the registry tells only once.
        for (headers, status) in [("Range: bytes=9999999-\r\n", 416), ("", 200), ("", 200)] {
            scope.spawn(move || {
                for round in 1..=20 {
                    get(&format!("{RIGHT}{headers}"));
                    assert!(counted(status) >= round);
                    get(WRONG);
                    assert!(counted(401) >= round);
                }
            });
        }
    });
    for round in 1..=3 {
        get(RIGHT);
        registry.pause();
        assert_eq!(counted(200), 40 + round);
        registry.resume().await.unwrap();
    }
    assert_eq!((counted(401), counted(416)), (60, 20));
    assert_eq!(registry.failed_logins("alice").unwrap(), 60);
}
