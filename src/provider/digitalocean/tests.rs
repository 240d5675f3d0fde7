use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::*;
use crate::{
    domain::{credential::Credential, host::RegistryHost, ledger::Entry},
    net::fixture::{Listener, says},
    provider::{
        api_url::text,
        fixture::{TOKEN, World, problem, token},
    },
};

/// What an issued credential holds.
const MINTED: &str = "canary_minted";

fn spec(api: &str, more: Value) -> DigitalOcean {
    let mut spec = json!({"registryName": "team", "secretRef": {"name": "do"}, "apiUrl": api});
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

fn config(auths: &[(&str, &str)]) -> String {
    let auths: serde_json::Map<String, Value> =
        auths.iter().map(|(host, auth)| ((*host).to_owned(), json!({"auth": STANDARD.encode(auth)}))).collect();
    says("200 OK", &[], &json!({"auths": auths}).to_string())
}

fn minted() -> String {
    config(&[("127.0.0.1:5000", "me@example.com:canary_minted\n")])
}

fn refused(status: &str) -> String {
    says(status, &[], r#"{"id":"some_word","message":"canary","request_id":"r-1"}"#)
}

const NEW: &str = "GET /v2/registries/team/docker-credentials?expiry_seconds=10800&read_write=false HTTP/1.1\r\n";
const ONLY: &str = "GET /v2/registry HTTP/1.1\r\n";
const OLD: &str = "GET /v2/registry/docker-credentials?expiry_seconds=10800&read_write=false HTTP/1.1\r\n";
const REVOKE: &str = "POST /v1/oauth/revoke HTTP/1.1\r\n";

async fn issue(spec: &DigitalOcean) -> Result<Minted, Error> {
    let (world, access) = (World::new(), token());
    let prepared = spec.prepare(&world.io(), &access).await?;
    assert!(!prepared.takes_name && prepared.registry.is_none());
    let order = Order { name: None, life: Duration::from_secs(10_800) };
    spec.issue(&world.io(), &access, &prepared, &order).await
}

/// What a listener was asked, without what follows the path.
fn lines(listener: &Listener) -> Vec<String> {
    listener
        .requests()
        .iter()
        .map(|request| request.split('?').next().unwrap_or_default().to_owned())
        .map(first)
        .collect()
}

fn first(text: String) -> String {
    text.split(" HTTP/").next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn one_request_makes_a_credential_with_an_end() {
    let api = Listener::scripted(vec![(NEW, minted())]).await;
    let before = Timestamp::from_second(crate::clock::Clock::system().now().as_second()).unwrap();
    let minted = issue(&spec(&api.url("/"), json!({}))).await.unwrap_or_else(|error| panic!("{error}"));
    let after = crate::clock::Clock::system().now();
    assert_eq!((minted.credential.username(), minted.credential.password()), ("me@example.com", MINTED));
    assert_eq!((minted.registry.as_str(), minted.id), ("127.0.0.1:5000", None));
    let life = SignedDuration::from_secs(10_800);
    assert!((before + life..=after + life).contains(&minted.expires_at));
    let request = api.requests().remove(0);
    assert!(request.contains(&format!("authorization: Bearer {TOKEN}\r\n")), "{request}");
    assert_eq!(api.connections(), 1);
}

#[tokio::test]
async fn asks_for_what_the_spec_says_and_never_for_a_credential_without_end() {
    let world = World::new();
    for (read_write, life, expected) in [
        (json!(true), 600, "?expiry_seconds=600&read_write=true "),
        (json!(false), 600, "?expiry_seconds=600&read_write=false "),
        (json!(null), 0, "?expiry_seconds=1&read_write=false "),
    ] {
        let api = Listener::scripted(vec![("GET /x/v2/registries/team/docker-credentials", minted())]).await;
        let spec = spec(&api.url("/x"), json!({"readWrite": read_write}));
        let (access, order) = (token(), Order { name: None, life: Duration::from_secs(life) });
        let prepared = spec.prepare(&world.io(), &access).await.unwrap();
        assert!(spec.issue(&world.io(), &access, &prepared, &order).await.is_ok());
        assert!(api.requests()[0].contains(expected), "{expected}");
    }
}

#[tokio::test]
async fn the_old_path_is_taken_only_where_the_only_registry_is_the_named_one() {
    let named = |name: &str| says("200 OK", &[], &json!({"registry": {"name": name}}).to_string());
    let missing = || refused("404 Not Found");
    let several = || refused("412 Precondition Failed");
    let new_and_only = ["GET /v2/registries/team/docker-credentials", "GET /v2/registry"];
    let all = [new_and_only[0], new_and_only[1], "GET /v2/registry/docker-credentials"];
    let wrong = Some((Reason::InvalidSpec, Some(field::DIGITALOCEAN_REGISTRY_NAME)));
    let protocol = Some((Reason::ProtocolError, Some(field::DIGITALOCEAN_API_URL)));
    for (name, only, old, expected, asked) in [
        ("the named one", named("team"), minted(), None, &all[..]),
        ("another one", named("other-canary"), minted(), wrong, &new_and_only),
        ("none", missing(), minted(), wrong, &new_and_only),
        ("several", several(), minted(), wrong, &new_and_only),
        ("no name", says("200 OK", &[], "{}"), minted(), protocol, &new_and_only),
        ("refused", refused("500 Oops"), minted(), Some((Reason::UpstreamError, None)), &new_and_only),
        ("several by now", named("team"), several(), wrong, &all),
        ("gone by now", named("team"), missing(), wrong, &all),
    ] {
        let api = Listener::scripted(vec![(NEW, missing()), (OLD, old), (ONLY, only)]).await;
        let result = issue(&spec(&api.url(""), json!({}))).await;
        match expected {
            None => assert!(result.is_ok(), "{name}"),
            Some(expected) => {
                let problem = problem(name, result);
                assert_eq!((problem.reason, problem.field), expected, "{name}: {problem:?}");
            }
        }
        assert_eq!(lines(&api), asked, "{name}");
    }
}

#[tokio::test]
async fn a_refusal_names_what_to_do_and_nothing_is_tried_again() {
    use Reason as R;
    let elsewhere = Listener::silent().await;
    let secret = Some(field::DIGITALOCEAN_SECRET_REF);
    let api_url = Some(field::DIGITALOCEAN_API_URL);
    let moved = says("307 Temporary Redirect", &[&format!("Location: {}", elsewhere.url("/"))], "");
    for (name, answer, expected) in [
        ("401", refused("401 Unauthorized"), (R::InvalidCredentials, secret)),
        ("403", refused("403 Forbidden"), (R::InsufficientScope, secret)),
        ("412", refused("412 Precondition Failed"), (R::InvalidSpec, Some(field::DIGITALOCEAN_REGISTRY_NAME))),
        ("429", refused("429 Too Many Requests"), (R::RateLimited, None)),
        ("503", refused("503 Service Unavailable"), (R::UpstreamError, None)),
        ("a redirect", moved, (R::ProtocolError, api_url)),
        ("a redirect within", says("302 Found", &["Location: /v2/x"], ""), (R::ProtocolError, api_url)),
        ("nothing", says("204 No Content", &[], ""), (R::ProtocolError, api_url)),
        ("a page", says("200 OK", &["content-type: text/html"], "<html>canary"), (R::ProtocolError, api_url)),
        ("no auths", says("200 OK", &[], r#"{"canary":1}"#), (R::ProtocolError, api_url)),
        ("10 MB", says("200 OK", &[], &"x".repeat(10 << 20)), (R::ProtocolError, api_url)),
        ("no HTTP", "canary".into(), (R::Unreachable, api_url)),
    ] {
        let api = Listener::scripted(vec![("GET /v2/registries/team/", answer)]).await;
        let problem = problem(name, issue(&spec(&api.url(""), json!({}))).await);
        assert_eq!((problem.reason, problem.field), expected, "{name}: {problem:?}");
        if name.starts_with('4') {
            assert_eq!(problem.request_id.as_deref(), Some("r-1"), "{name}");
            assert!(problem.message.contains("(some_word)"), "{name}: {}", problem.message);
        }
        assert_eq!(api.connections(), 1, "{name}");
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn what_cannot_be_used_is_revoked_with_itself() {
    let ok = || says("200 OK", &[], "");
    let (one, two) = (("127.0.0.1:5000", "u:canary_one"), ("127.0.0.1:5001", "u:canary_two"));
    for (name, answer, revoked, end) in [
        ("two registries", config(&[one, two]), &["canary_one", "canary_two"][..], "was revoked"),
        ("a path", config(&[("127.0.0.1:5000/x", "u:canary_one")]), &["canary_one"], "was revoked"),
        ("no colon", config(&[("127.0.0.1:5000", "canary_one")]), &["canary_one"], "was revoked"),
        ("no user", config(&[("127.0.0.1:5000", ":canary_one")]), &["canary_one"], "was revoked"),
        ("nothing to revoke", config(&[("127.0.0.1:5000", "u:")]), &[], "nothing in it could be revoked"),
    ] {
        let api = Listener::scripted(vec![(NEW, answer), (REVOKE, ok()), (REVOKE, ok())]).await;
        let problem = problem(name, issue(&spec(&api.url("/api"), json!({"apiUrl": api.url("")}))).await);
        assert_eq!(problem.reason, Reason::ProtocolError, "{name}");
        assert!(problem.message.contains(end), "{name}: {}", problem.message);
        let requests = api.requests();
        assert_eq!(requests.len(), 1 + revoked.len(), "{name}");
        for (request, token) in requests[1..].iter().zip(revoked) {
            assert!(request.contains(&format!("authorization: Bearer {token}\r\n")), "{name}: {request}");
            assert!(request.ends_with(&format!("\r\n\r\ntoken={token}")), "{name}: {request}");
            assert!(!request.contains(TOKEN), "{name}: the API token is for the API only");
        }
    }
    let api = Listener::scripted(vec![(NEW, config(&[one, two])), (REVOKE, refused("500 Oops"))]).await;
    let problem = problem("no revocation", issue(&spec(&api.url(""), json!({}))).await);
    assert!(problem.message.contains("could not be revoked"), "{}", problem.message);
}

fn entry(revoke_url: String) -> Entry {
    Entry {
        revision: "r-1".into(),
        id: None,
        credential: Credential::new("me@example.com".into(), "canary+/minted".into()).unwrap(),
        issued_at: Timestamp::UNIX_EPOCH,
        expires_at: Timestamp::MAX,
        registry: RegistryHost::parse("registry.digitalocean.com").unwrap(),
        plain_http: false,
        config_key: None,
        proven: true,
        refused: false,
        issuer: Issuer::Digitalocean { revoke_url },
        terms: json!({}),
        request: None,
        api_digest: None,
    }
}

#[tokio::test]
async fn revoking_says_what_came_of_it() {
    use Reason as R;
    let world = World::new();
    for (status, expected) in [
        ("200 OK", Ok(Ended::Now)),
        ("204 No Content", Ok(Ended::Now)),
        ("401 Unauthorized", Ok(Ended::Before)),
        ("404 Not Found", Err(R::ProtocolError)),
        ("403 Forbidden", Err(R::InsufficientScope)),
        ("429 Too Many Requests", Err(R::RateLimited)),
        ("500 Oops", Err(R::UpstreamError)),
        ("302 Found", Err(R::ProtocolError)),
        ("400 Bad Request", Err(R::ProtocolError)),
    ] {
        let console = Listener::scripted(vec![(REVOKE, says(status, &["Location: /next"], "canary"))]).await;
        let result = issuing::revoke(&world.io(), &entry(console.url("/v1/oauth/revoke")), None).await;
        match (result, expected) {
            (Ok(ended), expected) => assert_eq!(Ok(ended), expected, "{status}"),
            (result, expected) => assert_eq!(Err(problem(status, result).reason), expected, "{status}"),
        }
        let request = console.requests().remove(0);
        assert!(request.contains("authorization: Bearer canary+/minted\r\n"), "{request}");
        assert!(request.contains("content-type: application/x-www-form-urlencoded\r\n"), "{request}");
        assert!(request.ends_with("\r\n\r\ntoken=canary%2B%2Fminted"), "{request}");
        assert_eq!(console.connections(), 1, "{status}");
    }
    for url in ["http://console.example/v1/oauth/revoke", "ftp://x/", "x"] {
        let result = issuing::revoke(&world.io(), &entry(url.into()), None).await;
        assert_eq!(problem(url, result).reason, Reason::InternalError, "{url}");
    }
}

#[tokio::test]
async fn a_console_that_asks_for_a_pause_gets_one_whatever_is_to_be_revoked() {
    let busy = says("429 Too Many Requests", &["retry-after: 600"], "");
    let console = Listener::scripted(vec![(REVOKE, busy)]).await;
    let world = World::new();
    let entry = entry(console.url("/v1/oauth/revoke"));
    let other = Entry { credential: Credential::new("u".into(), "canary_other".into()).unwrap(), ..entry.clone() };
    for (name, entry) in [("one", entry), ("another", other)] {
        let problem = problem(name, issuing::revoke(&world.io(), &entry, None).await);
        assert_eq!(problem.reason, Reason::RateLimited, "{name}");
    }
    assert_eq!(console.connections(), 1);
}

#[tokio::test]
async fn revocation_goes_to_the_console_unless_the_api_is_elsewhere() {
    let (world, access) = (World::new(), token());
    for (api, expected) in [
        (json!(null), "https://cloud.digitalocean.com/v1/oauth/revoke"),
        (json!("https://api.example.com:8443/x/"), "https://api.example.com:8443/v1/oauth/revoke"),
    ] {
        let spec = spec("", json!({"apiUrl": api}));
        let prepared = spec.prepare(&world.io(), &access).await.unwrap();
        assert!(prepared.issuer == Issuer::Digitalocean { revoke_url: expected.into() }, "{expected}");
    }
    let usual = spec("", json!({"apiUrl": null}));
    assert_eq!(text(&usual.url().unwrap()), "https://api.digitalocean.com");
}

#[tokio::test]
async fn a_name_that_is_none_is_not_asked_for() {
    for name in ["", "..", "a/b", "Team", "a?b", &"a".repeat(64)] {
        let api = Listener::silent().await;
        let problem = problem(name, issue(&spec(&api.url(""), json!({"registryName": name}))).await);
        assert_eq!((problem.reason, problem.field), (Reason::InvalidSpec, Some(field::DIGITALOCEAN_REGISTRY_NAME)));
        assert_eq!(api.connections(), 0, "{name}");
    }
}

#[tokio::test]
async fn requests_of_one_token_wait_together_and_those_of_another_do_not() {
    let busy = || says("429 Too Many Requests", &["retry-after: 600"], "");
    let api = Listener::scripted(vec![(NEW, busy()), (NEW, minted()), (REVOKE, says("200 OK", &[], ""))]).await;
    let world = World::new();
    let other = Access::Token(Token::new("dop_v1_canary_other".into()).unwrap());
    let order = Order { name: None, life: Duration::from_secs(10_800) };
    let (first, second) = (spec(&api.url(""), json!({})), spec(&api.url(""), json!({"readWrite": false})));
    for (name, spec, access, expected) in [
        ("told to wait", &first, token(), false),
        ("another connection with the same token", &second, token(), false),
        ("another token", &second, other, true),
    ] {
        let prepared = spec.prepare(&world.io(), &access).await.unwrap();
        let result = spec.issue(&world.io(), &access, &prepared, &order).await;
        if expected {
            assert!(result.is_ok(), "{name}");
        } else {
            let problem = problem(name, result);
            assert_eq!(problem.reason, Reason::RateLimited, "{name}");
            assert!(problem.retry_after.is_some_and(|pause| pause > Duration::from_secs(500)), "{name}");
        }
    }
    assert_eq!(api.connections(), 2);
    // Nor does a revocation wait for an API token it does not need.
    let result = issuing::revoke(&world.io(), &entry(api.url("/v1/oauth/revoke")), None).await;
    assert_eq!(result.ok(), Some(Ended::Now));
}
