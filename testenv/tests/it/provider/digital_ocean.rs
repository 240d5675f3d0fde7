//! DigitalOcean.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use jiff::SignedDuration;
use testenv::DigitalOcean;
use testenv::provider::digital_ocean::contract::{CONTRACT, Call, ENDPOINTS, LIMITS, Row, When};
use testenv::provider::digital_ocean::{Auth, Options, Paths};
use testenv::provider::{Login, Outage};

use super::{bearer, decoded, json, keeps, pulls, pushes};
use crate::http::{ask, header, status};

const ALL: &[&str] = &["registry:read", "registry:update"];
const MINT: &str = "GET /v2/registries/shop/docker-credentials?expiry_seconds=3600";

async fn started(options: Options) -> (DigitalOcean, String) {
    let ocean = DigitalOcean::start(options).await.unwrap();
    let token = ocean.add_token(ALL);
    (ocean, token)
}

fn call(ocean: &DigitalOcean, request: &str, token: &str) -> String {
    ask(&ocean.listener().host(), request, &bearer(token), b"")
}

fn revoke(ocean: &DigitalOcean, login: &str, token: &str) -> String {
    let form = format!("token={token}");
    let headers = bearer(login) + "Content-Type: application/x-www-form-urlencoded\r\n";
    ask(&ocean.listener().host(), "POST /v1/oauth/revoke", &headers, form.as_bytes())
}

/// User and password of the credential in an answer.
fn login(ocean: &DigitalOcean, answer: &str) -> (String, String) {
    let auth = json(answer)["auths"][ocean.host()]["auth"].as_str().map(decoded).unwrap();
    let (user, password) = auth.split_once(':').unwrap();
    (user.to_owned(), password.trim().to_owned())
}

fn mint(ocean: &DigitalOcean, token: &str, request: &str) -> (String, String) {
    let answer = call(ocean, request, token);
    assert_eq!(status(&answer), 200, "{answer}");
    login(ocean, &answer)
}

/// A well-formed request of this kind, and what is to be put behind it.
fn request(call: Call) -> String {
    let endpoint = ENDPOINTS.iter().find(|endpoint| endpoint.call == call).unwrap();
    format!("{} {}", endpoint.method, endpoint.path.replace("{name}", "shop"))
}

/// The answer to a request that is the case of this row.
async fn answer_of(row: &Row) -> String {
    let call_of_row = row.call.unwrap_or(Call::Registries);
    let several = vec!["shop".to_owned(), "store".to_owned()];
    let (few, none) = (Options { requests_an_hour: 2, ..Options::default() }, Options::default());
    let options = match row.when {
        When::HourFull => few,
        When::MinuteFull => Options { requests_a_minute: 2, ..none },
        When::Several => Options { registries: several, ..none },
        When::NoRegistry if matches!(call_of_row, Call::OnlyRegistry | Call::OnlyCredentials) => {
            Options { registries: vec![], ..none }
        }
        When::Done
        | When::NoLogin
        | When::NotEncoded
        | When::NoSuchPath
        | When::WrongMethod
        | When::NoScope
        | When::UnknownParameter
        | When::BadValue
        | When::NoRegistry => none,
    };
    let (ocean, token) = started(options).await;
    let plain = request(call_of_row);
    match row.when {
        When::Done if call_of_row == Call::Revoke => {
            let (_, minted) = mint(&ocean, &token, MINT);
            revoke(&ocean, &minted, &minted)
        }
        When::Done | When::Several => call(&ocean, &plain, &token),
        When::NoLogin => ask(&ocean.listener().host(), &plain, "", b""),
        When::HourFull | When::MinuteFull => {
            for _ in 0..2 {
                assert_eq!(status(&call(&ocean, &plain, &token)), 200);
            }
            call(&ocean, &plain, &token)
        }
        When::NotEncoded => call(&ocean, "GET /v2/registries/sh{o}p", &token),
        When::NoSuchPath => call(&ocean, "GET /v2/registries/shop/more", &token),
        When::WrongMethod => call(&ocean, "DELETE /v2/registries", &token),
        When::NoScope => call(&ocean, &plain, &ocean.add_token(&["registry:update"])),
        When::UnknownParameter => call(&ocean, &format!("{plain}?expiry=5"), &token),
        When::BadValue => call(
            &ocean,
            &format!("{plain}{}", if row.call == Some(Call::Revoke) { "" } else { "?read_write=1" }),
            &token,
        ),
        When::NoRegistry => call(&ocean, &plain.replace("shop", "shoe"), &token),
    }
}

#[tokio::test]
async fn keeps_every_row_of_its_contract() {
    for row in CONTRACT {
        let name = format!("{:?} {:?}", row.call, row.when);
        let answer = answer_of(row).await;
        assert_eq!(status(&answer), row.status, "{name}: {answer}");
        keeps(&answer, row.headers, row.body, &name);
        if row.code.is_empty() {
            continue;
        }
        assert_eq!(json(&answer)["id"], row.code, "{name}");
        let has_retry = header(&answer, "retry-after").is_some();
        assert_eq!(has_retry, row.when == When::MinuteFull, "{name}: {answer}");
    }
}

#[tokio::test]
async fn every_kind_of_request_needs_its_scopes() {
    let (ocean, _) = started(Options::default()).await;
    for endpoint in ENDPOINTS {
        for missing in endpoint.needs {
            let scopes: Vec<_> = ALL.iter().filter(|scope| *scope != missing).copied().collect();
            let answer = call(&ocean, &request(endpoint.call), &ocean.add_token(&scopes));
            assert_eq!(status(&answer), 403, "{:?} without {missing}", endpoint.call);
        }
    }
    assert_eq!((ocean.issued(), ocean.alive()), (0, 0));
}

#[tokio::test]
async fn refuses_values_that_cannot_be() {
    let (ocean, token) = started(Options::default()).await;
    for (query, expected) in [
        ("", 200),
        ("?expiry_seconds=0&read_write=false", 200),
        ("?expiry_seconds=1576800000", 200),
        ("?expiry_seconds=1576800001", 400),
        ("?expiry_seconds=-1", 400),
        ("?expiry_seconds=%2B5", 400),
        ("?expiry_seconds=5.0", 400),
        ("?expiry_seconds=", 400),
        ("?expiry_seconds=99999999999999999999", 400),
        ("?expiry_seconds=5&expiry_seconds=6", 400),
        ("?read_write=yes", 400),
        ("?readWrite=true", 400),
    ] {
        let answer = call(&ocean, &format!("GET /v2/registries/shop/docker-credentials{query}"), &token);
        assert_eq!(status(&answer), expected, "{query}");
    }
    assert_eq!((ocean.issued(), ocean.alive()), (3, 3));
}

#[tokio::test]
async fn a_credential_pulls_below_its_registry_until_it_is_revoked_with_itself() {
    let registries = vec!["shop".to_owned(), "store".to_owned()];
    let (ocean, token) = started(Options { registries, ..Options::default() }).await;
    let (image, foreign) = (ocean.image("shop/web:v1"), ocean.image("store/web:v1"));
    for name in ["shop/web:v1", "store/web:v1"] {
        ocean.push(name).await.unwrap();
    }
    let reader = mint(&ocean, &token, MINT);
    let writer = mint(&ocean, &token, &format!("{MINT}&read_write=true"));
    assert_eq!(reader.0, writer.0, "one account, one e-mail address");
    for (login, may_push) in [(&reader, false), (&writer, true)] {
        assert!(ocean.accepts(&login.0, &login.1).await.unwrap());
        assert!(pulls(ocean.registry(), &image, login).await);
        assert!(!pulls(ocean.registry(), &foreign, login).await);
        assert_eq!(pushes(ocean.registry(), &ocean.image("shop/web:v2"), login).await, may_push);
    }
    assert!(!ocean.accepts(&reader.0, "dor_v1_wrong").await.unwrap());

    // Only with itself, as a form, and only once.
    let no_form = ask(&ocean.listener().host(), "POST /v1/oauth/revoke", &bearer(&reader.1), b"token=x");
    assert_eq!(status(&no_form), 400);
    assert_eq!(status(&revoke(&ocean, &token, &reader.1)), 401);
    assert_eq!(status(&revoke(&ocean, &writer.1, &reader.1)), 401);
    assert!(pulls(ocean.registry(), &image, &reader).await);
    assert_eq!(status(&revoke(&ocean, &reader.1, &reader.1)), 200);
    assert_eq!(status(&revoke(&ocean, &reader.1, &reader.1)), 401);
    assert!(!ocean.accepts(&reader.0, &reader.1).await.unwrap());
    assert!(!pulls(ocean.registry(), &image, &reader).await);
    assert!(pulls(ocean.registry(), &image, &writer).await, "the other goes on");
    assert_eq!((ocean.issued(), ocean.alive()), (2, 1));

    // By hand, in the console.
    let names: Vec<String> = ocean.credentials().into_iter().map(|one| one.name).collect();
    ocean.revoke_credential(&names[0]);
    assert!(!ocean.accepts(&writer.0, &writer.1).await.unwrap());
    assert_eq!(ocean.alive(), 0);
}

#[tokio::test]
async fn clients_of_the_registry_log_in_at_the_origin_of_the_api() {
    let (ocean, _) = started(Options::default()).await;
    let challenge = ask(&ocean.host(), "GET /v2/", "", b"");
    let realm = format!("Bearer realm=\"{}/v2/registry/auth\",service=\"registry.digitalocean.com\"", ocean.api_url());
    assert!(challenge.contains(&realm), "{challenge}");
}

#[tokio::test]
async fn a_credential_ends_when_its_time_is_over_by_the_clock_of_the_provider() {
    let (ocean, token) = started(Options { speed: 1_000, ..Options::default() }).await;
    ocean.push("shop/web:v1").await.unwrap();
    let image = ocean.image("shop/web:v1");
    let ever = mint(&ocean, &token, "GET /v2/registries/shop/docker-credentials");
    let short = mint(&ocean, &token, "GET /v2/registries/shop/docker-credentials?expiry_seconds=4000");
    let expires = ocean.credentials().last().unwrap().expires.unwrap();
    let ended = testenv::eventually("the end of a credential", crate::DEADLINE, async || {
        Ok((!ocean.accepts(&short.0, &short.1).await?).then_some(()))
    });
    ended.await.unwrap();
    assert!(ocean.clock().now() >= expires);
    assert!(!pulls(ocean.registry(), &image, &short).await);
    assert!(pulls(ocean.registry(), &image, &ever).await);
    assert_eq!(ocean.alive(), 1);
    assert_eq!(status(&revoke(&ocean, &short.1, &short.1)), 401);
}

#[tokio::test]
async fn a_credential_may_need_a_while_until_it_works() {
    let effective_after = Duration::from_secs(60);
    let (ocean, token) = started(Options { speed: 30, effective_after, ..Options::default() }).await;
    let login = mint(&ocean, &token, MINT);
    let minted = ocean.requests()[0].at;
    let works = testenv::eventually("a credential that works", crate::DEADLINE, async || {
        Ok(ocean.accepts(&login.0, &login.1).await?.then_some(()))
    });
    works.await.unwrap();
    assert!(ocean.clock().now().duration_since(minted) >= SignedDuration::try_from(effective_after).unwrap());
}

#[tokio::test]
async fn an_answer_may_come_long_after_the_credential_is_there() {
    let (ocean, token) = started(Options::default()).await;
    ocean.pause(Outage::Late(crate::DEADLINE));
    let mut connection = TcpStream::connect(ocean.listener().host()).unwrap();
    connection.write_all(format!("{MINT} HTTP/1.1\r\n{}\r\n", bearer(&token)).as_bytes()).unwrap();
    let minted = testenv::eventually("a credential", crate::DEADLINE, async || Ok((ocean.alive() == 1).then_some(())));
    minted.await.unwrap();
    connection.set_nonblocking(true).unwrap();
    assert_eq!(connection.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(ocean.issued(), 1);
}

#[tokio::test]
async fn an_account_has_new_paths_or_old_ones_or_both() {
    for (paths, new, old) in [(Paths::New, 200, 404), (Paths::Old, 404, 200), (Paths::Both, 200, 200)] {
        let (ocean, token) = started(Options { paths, ..Options::default() }).await;
        for (call_of, expected) in [
            (Call::Registries, new),
            (Call::Registry, new),
            (Call::Credentials, new),
            (Call::OnlyRegistry, old),
            (Call::OnlyCredentials, old),
        ] {
            assert_eq!(status(&call(&ocean, &request(call_of), &token)), expected, "{paths:?} {call_of:?}");
        }
    }
}

#[tokio::test]
async fn an_auth_is_the_address_and_the_token_or_twice_the_token() {
    for auth in [Auth::Email, Auth::TokenTwice] {
        let (ocean, token) = started(Options { auth, ..Options::default() }).await;
        let answer = call(&ocean, MINT, &token);
        let told = json(&answer);
        let entry = &told["auths"][ocean.host()];
        assert_eq!((told.as_object().unwrap().len(), entry.as_object().unwrap().len()), (1, 1), "{auth:?}");
        let text = decoded(entry["auth"].as_str().unwrap());
        let (user, password) = text.split_once(':').unwrap();
        match auth {
            Auth::Email => assert_eq!(user, "owner@example.com"),
            Auth::TokenTwice => assert_eq!(password, format!("{user}\n")),
        }
        assert!(password.starts_with("dor_v1_"));
        let login = login(&ocean, &answer);
        assert!(ocean.accepts(&login.0, &login.1).await.unwrap(), "{auth:?}");
    }
}

#[tokio::test]
async fn a_token_has_limits_of_its_own_that_slide_with_the_providers_time() {
    let options = Options { speed: 600, requests_an_hour: 3, requests_a_minute: 2, ..Options::default() };
    let (ocean, token) = started(options).await;
    let list = || call(&ocean, &request(Call::Registries), &token);
    let start = ocean.clock().now();
    let first = list();
    for name in LIMITS {
        assert!(header(&first, name).is_some(), "{name}");
    }
    assert_eq!(header(&first, "ratelimit-remaining"), Some("2"));
    let reset: i64 = header(&first, "ratelimit-reset").unwrap().parse().unwrap();
    assert!(reset >= start.as_second() + 3600);
    let full = testenv::eventually("a full hour", crate::DEADLINE, async || {
        let answer = list();
        Ok((status(&answer) == 429 && header(&answer, "retry-after").is_none()).then_some(answer))
    });
    assert_eq!(header(&full.await.unwrap(), "ratelimit-remaining"), Some("0"));
    assert_eq!(status(&call(&ocean, &request(Call::Registries), &ocean.add_token(ALL))), 200, "each for itself");
    let free = testenv::eventually("room again", crate::DEADLINE, async || Ok((status(&list()) == 200).then_some(())));
    free.await.unwrap();
    assert!(ocean.clock().now() >= start + SignedDuration::from_hours(1));
}

#[tokio::test]
async fn the_log_says_who_asked_for_what_and_holds_no_secret() {
    let (ocean, token) = started(Options::default()).await;
    let minted = mint(&ocean, &token, MINT).1;
    call(&ocean, MINT, "dop_v1_wrong");
    revoke(&ocean, &minted, &minted);
    ocean.pause(Outage::Closed);
    let mut closed = TcpStream::connect(ocean.listener().host()).unwrap();
    closed.write_all(b"GET /v2/registry HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(std::io::read_to_string(closed).unwrap(), "");
    ocean.pause(Outage::Unavailable);
    assert_eq!(status(&call(&ocean, MINT, &token)), 503);
    ocean.resume();
    ocean.revoke_token(&token);
    assert_eq!(status(&call(&ocean, MINT, &token)), 401);
    let told: Vec<_> = ocean.requests().into_iter().map(|one| (one.method, one.status, one.login)).collect();
    let expected = [
        ("GET", Some(200), Login::ApiToken(0)),
        ("GET", Some(401), Login::Stranger),
        ("POST", Some(200), Login::Issued),
        ("GET", None, Login::None),
        ("GET", Some(503), Login::None),
        ("GET", Some(401), Login::Stranger),
    ];
    assert_eq!(told, expected.map(|(method, status, login)| (method.to_owned(), status, login)));
    assert_eq!(ocean.requests()[0].path, "/v2/registries/shop/docker-credentials");
    assert_eq!(ocean.requests()[0].query, ["expiry_seconds"]);
    let text = format!("{:?}", ocean.requests());
    assert!(!text.contains(&minted) && !text.contains(&token));
}
