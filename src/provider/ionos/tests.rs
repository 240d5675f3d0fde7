use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::{
    domain::{credential::Credential, host::RegistryHost, ledger::Entry},
    net::fixture::{Listener, says},
    provider::{
        fixture::{TOKEN, World, problem, token},
        issuing::{Ended, Listed},
    },
};

fn spec(api: &str, more: Value) -> Ionos {
    let mut spec = json!({"registryName": "demo", "secretRef": {"name": "ionos", "tokenKey": "t"}, "apiUrl": api});
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

fn by_id(api: &str, id: &str) -> Ionos {
    spec(api, json!({"registryName": null, "registryId": id}))
}

fn ok(body: &Value) -> String {
    says("200 OK", &[], &body.to_string())
}

fn refused(status: &str) -> String {
    says(status, &["x-request-id: r-1"], r#"{"httpStatus":1,"messages":[{"errorCode":"word-1","message":"canary"}]}"#)
}

fn registry(id: &str, name: &str, state: &str, hostname: &str) -> Value {
    json!({"id": id, "type": "registry", "properties": {"name": name, "hostname": hostname, "canary": "canary"},
        "metadata": {"state": state}})
}

fn page(items: &[Value], mark: Option<&str>) -> String {
    ok(&json!({"items": items, "pagination": {"limit": 100, "token": mark}}))
}

/// What a listener was asked: method, path and query.
fn lines(listener: &Listener) -> Vec<String> {
    listener.requests().iter().map(|request| request.split(" HTTP/").next().unwrap_or_default().to_owned()).collect()
}

const FIRST_PAGE: &str = "GET /registries?filter.name=demo&limit=100";
const DEMO: &str = "GET /registries/r-1";

fn demo() -> Value {
    registry("r-1", "demo", "Running", "demo.cr.de-fra.ionos.com")
}

#[tokio::test]
async fn finds_a_registry_by_its_very_name_on_any_page() {
    let api = Listener::scripted(vec![
        (
            "GET /x/registries?filter.name=demo&limit=100 ",
            page(&[registry("r-0", "demo-2", "Running", "a.example")], Some("m/1=&")),
        ),
        ("GET /x/registries?filter.name=demo&limit=100&pagination.token=m%2F1%3D%26 ", page(&[demo()], None)),
    ])
    .await;
    let (world, access) = (World::new(), token());
    let spec = spec(&api.url("/x/"), json!({"contractNumber": 31}));
    let prepared = spec.prepare(&world.io(), &access).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(prepared.takes_name);
    assert_eq!(prepared.registry.map(|host| host.to_string()).as_deref(), Some("demo.cr.de-fra.ionos.com"));
    let secret = SecretPlace {
        namespace: "team".into(),
        name: "ionos".into(),
        username_key: None,
        password_key: None,
        token_key: Some("t".into()),
    };
    let expected =
        Issuer::Ionos { api_url: api.url("/x"), registry_id: "r-1".into(), contract_number: Some(31), secret };
    assert_eq!(prepared.issuer, expected);
    assert_eq!(api.connections(), 2);
    for request in api.requests() {
        assert!(request.contains(&format!("authorization: Bearer {TOKEN}\r\n")), "{request}");
        assert!(request.contains("x-contract-number: 31\r\n"), "{request}");
    }
}

#[tokio::test]
async fn an_account_gives_access_too_and_no_contract_is_named_unasked() {
    let api = Listener::scripted(vec![(DEMO, ok(&demo()))]).await;
    let world = World::new();
    let access = Access::Login(Credential::new("me@example.com".into(), "canary".into()).unwrap());
    assert!(by_id(&api.url(""), "r-1").prepare(&world.io(), &access).await.is_ok());
    let request = api.requests().remove(0);
    assert!(request.contains("authorization: Basic bWVAZXhhbXBsZS5jb206Y2FuYXJ5\r\n"), "{request}");
    assert!(!request.contains("x-contract-number"), "{request}");
}

#[tokio::test]
async fn says_why_a_registry_cannot_be_used_yet_or_at_all() {
    use Reason as R;
    let (name, id) = (Some(field::IONOS_REGISTRY_NAME), Some(field::IONOS_REGISTRY_ID));
    let (secret, url) = (Some(field::IONOS_SECRET_REF), Some(field::IONOS_API_URL));
    for (case, by, answer, expected) in [
        ("unknown name", "demo", page(&[], None), (R::InvalidSpec, name)),
        (
            "similar name",
            "demo",
            page(&[registry("r-1", "demo2", "Running", "a.example")], Some("")),
            (R::InvalidSpec, name),
        ),
        ("no list", "demo", ok(&json!({"canary": 1})), (R::ProtocolError, url)),
        (
            "strange id",
            "demo",
            page(&[registry("../canary", "demo", "Running", "a.example")], None),
            (R::ProtocolError, url),
        ),
        ("new", "demo", page(&[registry("r-1", "demo", "New", "")], None), (R::RegistryNotReady, None)),
        ("failed", "r-1", ok(&registry("r-1", "demo", "Failed", "a.example")), (R::RegistryNotReady, None)),
        ("no host", "r-1", ok(&registry("r-1", "demo", "Running", "")), (R::RegistryNotReady, None)),
        ("strange host", "r-1", ok(&registry("r-1", "demo", "Running", "canary/x")), (R::ProtocolError, url)),
        ("another registry", "r-1", ok(&registry("r-2", "demo", "Running", "a.example")), (R::ProtocolError, url)),
        ("unknown id", "r-1", refused("404 Not Found"), (R::InvalidSpec, id)),
        ("no UUID", "r-1", refused("400 Bad Request"), (R::InvalidSpec, id)),
        ("401", "r-1", refused("401 Unauthorized"), (R::InvalidCredentials, secret)),
        ("403", "demo", refused("403 Forbidden"), (R::InsufficientScope, secret)),
        ("429", "demo", refused("429 Too Many Requests"), (R::RateLimited, None)),
        ("500", "demo", refused("500 Oops"), (R::UpstreamError, None)),
        ("a redirect", "r-1", says("301 Moved Permanently", &["Location: /registries/x"], ""), (R::ProtocolError, url)),
    ] {
        let beginning = if by == "demo" { FIRST_PAGE } else { DEMO };
        let api = Listener::scripted(vec![(beginning, answer)]).await;
        let spec = if by == "demo" { spec(&api.url(""), json!({})) } else { by_id(&api.url(""), by) };
        let (world, access) = (World::new(), token());
        let problem = problem(case, spec.prepare(&world.io(), &access).await);
        assert_eq!((problem.reason, problem.field), expected, "{case}: {problem:?}");
        assert_eq!(api.connections(), 1, "{case}");
    }
    for id in ["", "..", "a/b", "a?b", "\u{e4}", &"a".repeat(65)] {
        let api = Listener::silent().await;
        let (world, access) = (World::new(), token());
        let problem = problem(id, by_id(&api.url(""), id).prepare(&world.io(), &access).await);
        assert_eq!(
            (problem.reason, problem.field, api.connections()),
            (Reason::InvalidSpec, Some(field::IONOS_REGISTRY_ID), 0)
        );
    }
}

#[tokio::test]
async fn gives_up_on_a_list_without_an_end() {
    let (world, access) = (World::new(), token());
    let rows = (0..40).map(|n| ("GET /registries?", page(&[], Some(&format!("m{n}"))))).collect();
    let api = Listener::scripted(rows).await;
    let problem = problem("registries", spec(&api.url(""), json!({})).prepare(&world.io(), &access).await);
    assert_eq!((problem.reason, api.connections()), (Reason::ProtocolError, 20));

    let repeating = vec![("GET /registries?", page(&[], Some("m"))), ("GET /registries?", page(&[], Some("m")))];
    let api = Listener::scripted(repeating).await;
    let problem = fixture_problem(spec(&api.url(""), json!({})).prepare(&world.io(), &access).await);
    assert_eq!((problem.reason, api.connections()), (Reason::InvalidSpec, 2), "the same mark again is no further page");
}

fn fixture_problem<T>(result: Result<T, Error>) -> Problem {
    problem("", result)
}

fn issuer(api: &str) -> Issuer {
    Issuer::Ionos {
        api_url: api.to_owned(),
        registry_id: "r-1".into(),
        contract_number: Some(31),
        secret: SecretPlace {
            namespace: "team".into(),
            name: "ionos".into(),
            username_key: None,
            password_key: None,
            token_key: None,
        },
    }
}

async fn issue(spec: &Ionos, api: &str) -> Result<Minted, Error> {
    let (world, access) = (World::new(), token());
    let registry = RegistryHost::parse("demo.cr.de-fra.ionos.com").ok();
    let prepared = Prepared { issuer: issuer(api), registry, takes_name: true };
    let order = Order { name: Some("regcred-1"), life: Duration::from_secs(10_800) };
    spec.issue(&world.io(), &access, &prepared, &order).await
}

fn created(change: impl FnOnce(&mut Value)) -> String {
    let mut body = json!({"id": "t-1", "properties": {"name": "regcred-1", "expiryDate": "2126-11-21T18:00:00Z",
        "credentials": {"username": "regcred-1", "password": "canary_minted"}}});
    change(&mut body);
    says("201 Created", &[], &body.to_string())
}

const CREATE: &str = "POST /registries/r-1/tokens HTTP/1.1\r\n";
const DELETE: &str = "DELETE /registries/r-1/tokens/t-1 HTTP/1.1\r\n";

#[tokio::test]
async fn creates_a_token_of_the_name_that_ends_and_may_do_what_the_spec_says() {
    for (more, scopes) in [
        (json!({}), json!([{"type": "repository", "name": "*", "actions": ["pull"]}])),
        (
            json!({"scopes": [{"type": "registry", "name": "a", "actions": ["pull", "push"]}]}),
            json!([{"type": "registry", "name": "a", "actions": ["pull", "push"]}]),
        ),
    ] {
        let api = Listener::scripted(vec![(CREATE, created(|_| {}))]).await;
        let now = crate::clock::Clock::system().now();
        let minted = issue(&spec(&api.url(""), more), &api.url("")).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((minted.credential.username(), minted.credential.password()), ("regcred-1", "canary_minted"));
        assert_eq!((minted.id.as_deref(), minted.registry.as_str()), (Some("t-1"), "demo.cr.de-fra.ionos.com"));
        assert_eq!(minted.expires_at.to_string(), "2126-11-21T18:00:00Z", "as the provider says");
        let request = api.requests().remove(0);
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("content-type: application/json") && head.contains("x-contract-number: 31"), "{head}");
        let mut body: Value = serde_json::from_str(body).unwrap();
        let date = body["properties"].as_object_mut().unwrap().remove("expiryDate").unwrap();
        let date: Timestamp = date.as_str().unwrap().parse().unwrap();
        let life = date.duration_since(now).as_secs();
        assert!((10_790..=10_860).contains(&life) && date.subsec_nanosecond() == 0, "{date}");
        assert_eq!(body, json!({"properties": {"name": "regcred-1", "status": "enabled", "scopes": scopes}}));
    }
}

#[tokio::test]
async fn what_cannot_be_used_is_deleted_and_a_refusal_says_what_to_do() {
    use Reason as R;
    let (name, secret) = (Some(field::IONOS_REGISTRY_NAME), Some(field::IONOS_SECRET_REF));
    let url = Some(field::IONOS_API_URL);
    for (case, answer, expected, words) in [
        (
            "never ends",
            created(|body| body["properties"]["expiryDate"] = json!(null)),
            (R::ProtocolError, url),
            "was deleted",
        ),
        (
            "has ended",
            created(|body| body["properties"]["expiryDate"] = json!("2020-01-01T00:00:00Z")),
            (R::ProtocolError, url),
            "was deleted",
        ),
        (
            "no password",
            created(|body| body["properties"]["credentials"] = json!({})),
            (R::ProtocolError, url),
            "was deleted",
        ),
        ("no id", created(|body| body["id"] = json!("a/canary")), (R::ProtocolError, url), "looked for by its name"),
        ("no JSON", says("201 Created", &[], "canary"), (R::ProtocolError, url), "looked for by its name"),
        ("409", refused("409 Conflict"), (R::UpstreamError, None), "exists already"),
        ("401", refused("401 Unauthorized"), (R::InvalidCredentials, secret), "(word-1)"),
        ("403", refused("403 Forbidden"), (R::InsufficientScope, secret), "(word-1)"),
        ("404", refused("404 Not Found"), (R::InvalidSpec, name), "(word-1)"),
        ("400", refused("400 Bad Request"), (R::ProtocolError, url), "(word-1)"),
        ("429", refused("429 Too Many Requests"), (R::RateLimited, None), "(word-1)"),
        ("503", refused("503 Service Unavailable"), (R::UpstreamError, None), "(word-1)"),
        (
            "307",
            says("307 Temporary Redirect", &["Location: /registries/r-1/tokens"], ""),
            (R::ProtocolError, url),
            "redirects",
        ),
    ] {
        let api = Listener::scripted(vec![(CREATE, answer), (DELETE, says("202 Accepted", &[], ""))]).await;
        let problem = problem(case, issue(&spec(&api.url(""), json!({})), &api.url("")).await);
        assert_eq!((problem.reason, problem.field), expected, "{case}: {problem:?}");
        assert!(problem.message.contains(words), "{case}: {}", problem.message);
        assert_eq!(api.connections(), if words == "was deleted" { 2 } else { 1 }, "{case}");
    }
    let never = created(|body| body["properties"]["expiryDate"] = json!(null));
    let api = Listener::scripted(vec![(CREATE, never), (DELETE, refused("500 Oops"))]).await;
    let problem = problem("not deleted", issue(&spec(&api.url(""), json!({})), &api.url("")).await);
    assert!(problem.message.contains("could not be deleted"), "{}", problem.message);
    let scopes = json!({"scopes": [{"type": "x", "name": "a", "actions": ["pull"]}]});
    let api = Listener::scripted(vec![(CREATE, refused("400 Bad Request"))]).await;
    let problem = fixture_problem(issue(&spec(&api.url(""), scopes), &api.url("")).await);
    assert_eq!(problem.field, Some(field::IONOS_SCOPES), "whoever chose scopes looks there first");
}

fn tokens(names: &[(&str, &str)], total: &Value) -> String {
    let items: Vec<Value> = names
        .iter()
        .map(|(id, name)| json!({"id": id, "properties": {"name": name}, "metadata": {"createdDate": "2026-11-21T15:00:00Z"}}))
        .collect();
    ok(&json!({"items": items, "total": total}))
}

#[tokio::test]
async fn lists_our_tokens_of_all_pages() {
    let (world, access) = (World::new(), token());
    let pages = |total: Value| {
        vec![
            ("GET /registries/r-1/tokens?offset=0&limit=100 ", tokens(&[("1", "regcred-a-1"), ("2", "other")], &total)),
            (
                "GET /registries/r-1/tokens?offset=2&limit=100 ",
                tokens(&[("1", "regcred-a-1"), ("3", "regcred-a-3")], &total),
            ),
            ("GET /registries/r-1/tokens?offset=4&limit=100 ", tokens(&[], &total)),
        ]
    };
    for (total, connections) in [(json!(4), 2), (json!("4"), 2), (json!(null), 3), (json!(9), 3)] {
        let api = Listener::scripted(pages(total.clone())).await;
        let listed = issuing::list(&world.io(), &issuer(&api.url("")), &access, "regcred-a-").await;
        let listed = listed.unwrap_or_else(|error| panic!("{error}"));
        let ids: Vec<&str> = listed.iter().map(|token| token.id.as_str()).collect();
        assert_eq!((ids, api.connections()), (vec!["1", "3"], connections), "{total}");
        assert!(listed.iter().all(|token| token.created_at.is_some()));
    }
}

#[tokio::test]
async fn a_list_that_is_not_whole_is_no_list() {
    let (world, access) = (World::new(), token());
    for (case, reason, second) in [
        ("refused", Reason::UpstreamError, refused("500 Oops")),
        ("no list", Reason::ProtocolError, ok(&json!({"canary": []}))),
        ("strange id", Reason::ProtocolError, tokens(&[("../canary", "regcred-a-1")], &json!(2))),
        ("gone", Reason::ProtocolError, refused("404 Not Found")),
    ] {
        let rows = vec![("GET /", tokens(&[("1", "regcred-a-1")], &json!(2))), ("GET /", second)];
        let api = Listener::scripted(rows).await;
        let result = issuing::list(&world.io(), &issuer(&api.url("")), &access, "regcred-a-").await;
        assert_eq!(problem(case, result).reason, reason, "{case}");
    }
    let endless = (0..200).map(|n| ("GET /", tokens(&[(&format!("t-{n}"), "regcred-a-1")], &json!(null)))).collect();
    let api = Listener::scripted(endless).await;
    let result = issuing::list(&world.io(), &issuer(&api.url("")), &access, "regcred-a-").await;
    assert_eq!((problem("endless", result).reason, api.connections()), (Reason::ProtocolError, 100));
}

#[tokio::test]
async fn deleting_says_what_came_of_it() {
    use Reason as R;
    let access = token();
    for (status, expected) in [
        ("200 OK", Ok(Ended::Now)),
        ("202 Accepted", Ok(Ended::Now)),
        ("204 No Content", Ok(Ended::Now)),
        ("404 Not Found", Ok(Ended::Before)),
        ("401 Unauthorized", Err(R::InvalidCredentials)),
        ("403 Forbidden", Err(R::InsufficientScope)),
        ("429 Too Many Requests", Err(R::RateLimited)),
        ("500 Oops", Err(R::UpstreamError)),
        ("301 Moved Permanently", Err(R::ProtocolError)),
    ] {
        let world = World::new();
        let answer = || says(status, &["Location: /"], "canary");
        let api = Listener::scripted(vec![(DELETE, answer()), (DELETE, answer())]).await;
        let issuer = issuer(&api.url(""));
        let listed = Listed { id: "t-1".into(), name: "regcred-1".into(), created_at: None };
        let result = issuing::end(&world.io(), &issuer, &access, &listed).await;
        match (result, expected) {
            (Ok(ended), expected) => assert_eq!(Ok(ended), expected, "{status}"),
            (result, expected) => assert_eq!(Err(problem(status, result).reason), expected, "{status}"),
        }
        let entry = entry(issuer, Some("t-1"));
        let result = issuing::revoke(&World::new().io(), &entry, Some(&access)).await;
        assert_eq!(result.is_ok(), expected.is_ok(), "{status}");
        assert_eq!(lines(&api), ["DELETE /registries/r-1/tokens/t-1"; 2], "{status}");
    }
}

fn entry(issuer: Issuer, id: Option<&str>) -> Entry {
    Entry {
        revision: "r-1".into(),
        id: id.map(str::to_owned),
        credential: Credential::new("regcred-1".into(), "canary".into()).unwrap(),
        issued_at: Timestamp::UNIX_EPOCH,
        expires_at: Timestamp::MAX,
        registry: RegistryHost::parse("demo.cr.de-fra.ionos.com").unwrap(),
        plain_http: false,
        config_key: None,
        proven: true,
        refused: false,
        issuer,
        terms: json!({}),
        request: None,
        api_digest: None,
    }
}

#[tokio::test]
async fn nothing_is_sent_for_a_record_that_cannot_be_right() {
    let (world, access) = (World::new(), token());
    let api = Listener::silent().await;
    let with = |registry: &str, url: &str| match issuer(url) {
        Issuer::Ionos { contract_number, secret, .. } => {
            Issuer::Ionos { api_url: url.into(), registry_id: registry.into(), contract_number, secret }
        }
        issuer @ Issuer::Digitalocean { .. } => issuer,
    };
    for (case, issuer, id, access) in [
        ("no access", with("r-1", &api.url("")), Some("t-1"), None),
        ("no id", with("r-1", &api.url("")), None, Some(&access)),
        ("strange id", with("r-1", &api.url("")), Some("../r-2"), Some(&access)),
        ("strange registry", with("..", &api.url("")), Some("t-1"), Some(&access)),
        ("plain http", with("r-1", "http://api.example.com"), Some("t-1"), Some(&access)),
    ] {
        let result = issuing::revoke(&world.io(), &entry(issuer, id), access).await;
        assert_eq!(problem(case, result).reason, Reason::InternalError, "{case}");
    }
    assert_eq!(api.connections(), 0);
}
