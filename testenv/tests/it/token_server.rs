//! A registry that believes a token server: who logs in there, gets in here, and as far as the token says.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use testenv::certificates::{Authority, Identity};
use testenv::crane::docker_config;
use testenv::registry::Options;
use testenv::token_server::{self, TokenServer};
use testenv::{Access, Registry, TokenRequest};

use crate::http::{ask, basic, body, status};

/// What a client without a login has.
const NOBODY: &[u8] = b"{}";

/// Both parts with TLS, under two authorities.
async fn secured() -> (TokenServer, Registry) {
    let identity = |name| Authority::new().unwrap().server(&[name]).unwrap();
    started(Some(identity("localhost")), Some(identity("registry.example.test"))).await
}

/// Both parts without TLS, for tests that speak http themselves.
async fn plain() -> (TokenServer, Registry) {
    started(None, None).await
}

async fn started(server_tls: Option<Identity>, registry_tls: Option<Identity>) -> (TokenServer, Registry) {
    let server = TokenServer::start_with(token_server::Options { tls: server_tls, ..Default::default() }).unwrap();
    let options = Options { authentication: server.trust().into(), tls: registry_tls };
    let registry = Registry::start_with(options).await.unwrap();
    (server, registry)
}

/// Asks for a token and returns the answer.
fn request_token(server: &TokenServer, query: &str, headers: &str) -> String {
    let service = &server.trust().service;
    ask(&server.listener().host(), &format!("GET /token?service={service}{query}"), headers, b"")
}

fn bearer(answer: &str) -> String {
    let answer: Value = serde_json::from_str(body(answer)).unwrap();
    format!("Authorization: Bearer {}\r\n", answer["token"].as_str().unwrap())
}

/// Crane would not notice: on loopback it falls back to plain http.
fn refuses_plain_http(registry: &Registry) {
    let answer = ask(&registry.host(), "GET /v2/", "", b"");
    assert_eq!(status(&answer), 400, "{answer}");
}

#[tokio::test]
async fn pushes_and_pulls_through_a_token_server_with_tls() {
    let (server, registry) = secured().await;
    let (host, crane) = (registry.host(), registry.crane());
    let image = format!("{host}/alice/app:v1");
    server.set_password("alice", "right");
    assert_eq!(registry.url(), format!("https://{host}"));
    assert!(server.realm().starts_with("https://localhost:"));
    refuses_plain_http(&registry);

    let pushed = crane.push(&image, "alice", "right").await.unwrap();
    let pulled = crane.pull(&image, &docker_config(&host, "alice", "right")).await.unwrap();
    assert_eq!(pulled.digest, pushed);
    assert!(server.logins("alice") > 0);
    assert_eq!(server.failed_logins("alice"), 0);

    // An accepted token names its user, and what came before it had none.
    let log = registry.access_log().unwrap();
    let is_put = |access: &&Access| access.path == "/v2/alice/app/manifests/v1" && access.method == "PUT";
    let put = log.iter().find(is_put).unwrap();
    assert_eq!((put.status, put.bearer, put.user.as_deref()), (201, true, Some("alice")));
    assert!(log.iter().any(|access| access.path == "/v2/" && access.status == 401 && !access.bearer));
    assert!(log.iter().all(|access| !access.authorization && !access.is_failed_login()));
    let counted = registry.failed_logins("alice").unwrap_err();
    assert!(counted.to_string().contains("token server"), "{counted}");

    // Neither is trusted by one who does not know its authority.
    let stranger = crane.trusting(Authority::new().unwrap().certificate());
    let refused = stranger.pull(&image, &docker_config(&host, "alice", "right")).await.unwrap_err();
    assert!(format!("{refused:#}").contains("x509"), "{refused:#}");
}

#[tokio::test]
async fn tls_and_passwords_go_together() {
    let identity = Authority::new().unwrap().server(&[]).unwrap();
    let registry = Registry::start_with(Options { tls: Some(identity), ..Options::default() }).await.unwrap();
    let (host, crane) = (registry.host(), registry.crane());
    let image = format!("{host}/app:v1");
    registry.set_password("alice", "right").unwrap();
    refuses_plain_http(&registry);
    let pushed = crane.push(&image, "alice", "right").await.unwrap();
    let stranger = crane.trusting(Authority::new().unwrap().certificate());
    let refused = stranger.pull(&image, &docker_config(&host, "alice", "right")).await.unwrap_err();
    assert!(format!("{refused:#}").contains("x509"), "{refused:#}");
    crane.pull(&image, &docker_config(&host, "alice", "wrong")).await.unwrap_err();
    assert!(registry.failed_logins("alice").unwrap() > 0);

    registry.pause();
    registry.resume().await.unwrap();
    assert_eq!(crane.pull(&image, &docker_config(&host, "alice", "right")).await.unwrap().digest, pushed);
}

#[tokio::test]
async fn a_public_repository_is_pulled_without_a_login() {
    let (server, registry) = secured().await;
    let (host, crane) = (registry.host(), registry.crane());
    let image = format!("{host}/alice/app:v1");
    server.set_password("alice", "right");
    let pushed = crane.push(&image, "alice", "right").await.unwrap();
    crane.pull(&image, NOBODY).await.unwrap_err();

    server.publish("alice/app");
    assert_eq!(crane.pull(&image, NOBODY).await.unwrap().digest, pushed);
    let last = server.requests().pop().unwrap();
    assert_eq!((last.user, last.authorization, last.status), (None, false, 200));
    let log = registry.access_log().unwrap();
    assert!(log.iter().any(|access| access.status == 200 && access.bearer && access.user.is_none()));
}

#[tokio::test]
async fn a_wrong_password_is_refused_by_the_token_server_and_counted() {
    let (server, registry) = secured().await;
    let (host, crane) = (registry.host(), registry.crane());
    let image = format!("{host}/alice/app:v1");
    server.set_password("alice", "right");
    for user in ["alice", "stranger"] {
        let refused = crane.push(&image, user, "wrong").await.unwrap_err();
        assert!(format!("{refused:#}").contains("wrong user or password"), "{refused:#}");
        assert!(server.failed_logins(user) > 0);
        assert_eq!(server.logins(user), 0);
    }
    assert!(registry.access_log().unwrap().iter().all(|access| access.status == 401 && !access.bearer));
    assert!(server.listener().was_told("wrong"));
}

#[tokio::test]
async fn revoked_and_expired_credentials_are_refused() {
    let (server, registry) = secured().await;
    let (host, crane) = (registry.host(), registry.crane());
    let image = format!("{host}/alice/app:v1");
    let pull = async |password: &str| {
        let failed = server.failed_logins("alice");
        let pulled = crane.pull(&image, &docker_config(&host, "alice", password)).await;
        assert_eq!(pulled.is_err(), server.failed_logins("alice") > failed);
        pulled.is_ok()
    };
    server.set_password("alice", "old");
    crane.push(&image, "alice", "old").await.unwrap();

    server.add_password("alice", "new", None);
    assert!(pull("old").await && pull("new").await);
    server.revoke_password("alice", "old");
    assert!(!pull("old").await && pull("new").await);
    server.expire("alice", SystemTime::now());
    assert!(!pull("new").await);
    server.set_password("alice", "third");
    assert!(pull("third").await);
    server.revoke("alice");
    assert!(!pull("third").await);
}

#[tokio::test]
async fn a_narrower_token_is_refused_by_the_registry() {
    let (server, registry) = secured().await;
    let (host, crane) = (registry.host(), registry.crane());
    let image = format!("{host}/alice/app:v1");
    for user in ["alice", "bob"] {
        server.set_password(user, "right");
    }
    let pushed = crane.push(&image, "alice", "right").await.unwrap();

    // Another user's repository.
    let bob = docker_config(&host, "bob", "right");
    let refused = crane.pull(&image, &bob).await.unwrap_err();
    assert!(format!("{refused:#}").contains("UNAUTHORIZED"), "{refused:#}");
    assert_eq!(server.failed_logins("bob"), 0);
    assert!(server.logins("bob") > 0);
    let log = registry.access_log().unwrap();
    assert!(log.iter().any(|access| access.status == 401 && access.bearer && access.path.ends_with("/manifests/v1")));

    // May be read once that is granted, but not written.
    server.grant("bob", "alice/app", &["pull"]);
    assert_eq!(crane.pull(&image, &bob).await.unwrap().digest, pushed);
    let before = registry.access_log().unwrap().len();
    // Another image: one that is there already is not written again, and needs no right to.
    crane.push(&format!("{host}/alice/app:v2"), "bob", "right").await.unwrap_err();
    assert_eq!(server.failed_logins("bob"), 0);
    let log = registry.access_log().unwrap();
    let is_write = |access: &&Access| !matches!(access.method.as_str(), "GET" | "HEAD");
    let writes: Vec<_> = log[before..].iter().filter(is_write).map(|access| (access.status, access.bearer)).collect();
    assert!(!writes.is_empty() && writes.iter().all(|&write| write == (401, true)), "{writes:?}");
}

#[tokio::test]
async fn a_token_says_no_more_than_is_asked_and_allowed() {
    let (server, registry) = plain().await;
    server.set_password("alice", "right");
    let manifest = |headers: &str| status(&ask(&registry.host(), "GET /v2/alice/app/manifests/v1", headers, b""));
    let api = |headers: &str| status(&ask(&registry.host(), "GET /v2/", headers, b""));

    // Without a scope it opens nothing but the door.
    let empty = bearer(&request_token(&server, "", &basic("alice", "right")));
    assert_eq!((api(&empty), manifest(&empty)), (200, 401));
    // Several scopes in one token. There is no such manifest, but one may look.
    let both = "&scope=repository:other/app:pull&scope=repository:alice/app:pull,delete";
    let right = bearer(&request_token(&server, both, &basic("alice", "right")));
    assert_eq!((api(&right), manifest(&right)), (200, 404));
    assert_eq!(status(&ask(&registry.host(), "GET /v2/other/app/manifests/v1", &right, b"")), 401);
    // The same without a login, with a login that cannot be read, and for another service.
    assert_eq!(manifest(&bearer(&request_token(&server, both, ""))), 401);
    assert_eq!(status(&request_token(&server, both, "Authorization: Basic %\r\n")), 401);
    let elsewhere = ask(&server.listener().host(), "GET /token?service=elsewhere", &basic("alice", "right"), b"");
    assert_eq!(api(&bearer(&elsewhere)), 401);
    assert_eq!(status(&request_token(&server, "&scope=nonsense", &basic("alice", "right"))), 400);
    assert_eq!(api("Authorization: Bearer nonsense\r\n"), 401);

    let request = |user: Option<&str>, authorization, scopes: &[&str], status| TokenRequest {
        user: user.map(str::to_owned),
        authorization,
        service: server.trust().service.clone(),
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        status,
    };
    let scopes = ["repository:other/app:pull", "repository:alice/app:pull,delete"];
    let mut expected = vec![
        request(Some("alice"), true, &[], 200),
        request(Some("alice"), true, &scopes, 200),
        request(None, false, &scopes, 200),
        request(None, true, &scopes, 401),
        request(Some("alice"), true, &[], 200),
        request(Some("alice"), true, &["nonsense"], 400),
    ];
    expected[4].service = "elsewhere".to_owned();
    assert_eq!(server.requests(), expected);
    // Tokens, right and wrong ones, but not the one request without any.
    api("");
    let log = registry.access_log().unwrap();
    assert_eq!(log.iter().filter(|access| !access.bearer).count(), 1);
}

#[tokio::test]
async fn a_token_ends_when_its_lifetime_is_over() {
    let options = token_server::Options { lifetime: Duration::ZERO, ..Default::default() };
    let server = TokenServer::start_with(options).unwrap();
    let options = Options { authentication: server.trust().into(), tls: None };
    let registry = Registry::start_with(options).await.unwrap();
    server.set_password("alice", "right");
    let token = bearer(&request_token(&server, "", &basic("alice", "right")));
    let refused = testenv::eventually("the end of a token", crate::DEADLINE, async || {
        let answer = ask(&registry.host(), "GET /v2/", &token, b"");
        Ok((status(&answer) == 401).then_some(answer))
    });
    assert!(refused.await.unwrap().contains("error=\"invalid_token\""));
}

#[tokio::test]
async fn a_form_with_a_password_brings_a_token_too() {
    let (server, registry) = plain().await;
    server.set_password("alice", "r&ght");
    let service = &server.trust().service;
    let post = |form: String| {
        let headers = "Content-Type: application/x-www-form-urlencoded\r\n";
        ask(&server.listener().host(), "POST /token", headers, form.as_bytes())
    };
    let scope = "scope=repository:alice/app:pull+repository:bob/app:pull";
    let form = |password: &str| {
        format!("grant_type=password&client_id=test&username=alice&password={password}&service={service}&{scope}")
    };
    let answer = post(form("r%26ght"));
    let answer: Value = serde_json::from_str(body(&answer)).unwrap();
    assert_eq!(answer["scope"], json!("repository:alice/app:pull"));
    let token = format!("Authorization: Bearer {}\r\n", answer["access_token"].as_str().unwrap());
    assert_eq!(status(&ask(&registry.host(), "GET /v2/alice/app/tags/list", &token, b"")), 404);

    assert_eq!(status(&post(form("wrong"))), 401);
    assert_eq!(status(&post(form("r%26ght").replace("client_id=test&", ""))), 400);
    assert_eq!(status(&post(form("r%26ght").replace("=password&", "=refresh_token&"))), 400);
    assert_eq!((server.logins("alice"), server.failed_logins("alice")), (1, 1));
    let first = &server.requests()[0];
    assert_eq!(first.scopes, ["repository:alice/app:pull", "repository:bob/app:pull"]);
    assert!(first.authorization);
}

// That it opens again after half an hour is tested where the time is passed in: a running server has the system's clock.
#[tokio::test]
async fn five_failed_logins_lock_an_account_for_right_passwords_too() {
    let (server, _registry) = plain().await;
    for user in ["alice", "bob"] {
        server.set_password(user, "right");
    }
    let log_in = |user: &str, password: &str| status(&request_token(&server, "", &basic(user, password)));
    for number in 0..4 {
        assert_eq!(log_in("alice", &format!("wrong-{number}")), 401);
    }
    assert!(!server.is_locked("alice"));
    assert_eq!(log_in("alice", "right"), 200);
    assert_eq!(log_in("alice", "wrong-4"), 401, "a right one in between takes nothing back");
    assert!(server.is_locked("alice"));
    assert_eq!(log_in("alice", "right"), 401);
    server.set_password("alice", "new");
    assert_eq!(log_in("alice", "new"), 401);
    assert_eq!((server.logins("alice"), server.failed_logins("alice")), (1, 7));
    assert_eq!((log_in("bob", "right"), server.is_locked("bob")), (200, false), "each account for itself");
}

#[tokio::test]
async fn clients_are_sent_to_the_host_name_it_is_told() {
    let host = "auth.example.test".to_owned();
    let identity = Authority::new().unwrap().server(&[&host]).unwrap();
    let options = token_server::Options { tls: Some(identity), host, ..Default::default() };
    let server = TokenServer::start_with(options).unwrap();
    let realm = format!("https://auth.example.test:{}/token", server.listener().port());
    assert_eq!(server.realm(), realm);
    let options = Options { authentication: server.trust().into(), tls: None };
    let registry = Registry::start_with(options).await.unwrap();
    let challenge = ask(&registry.host(), "GET /v2/", "", b"");
    assert!(challenge.contains(&format!("Bearer realm=\"{realm}\",service=\"testenv-registry\"")), "{challenge}");
}
