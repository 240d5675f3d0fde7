//! Nexus: lets in any login where it lets in everybody.
//!
//! The quirk (reference, 2.2): with "allow anonymous docker pull" the token endpoint answers 200 to any user name and any
//! password, and what it gives opens `/v2/`. So no login can be told from another there, a wrong one is delivered as it is,
//! and the connection says so: `Unverified`. A private repository still tells them apart. Docker repositories are at ports of
//! their own.

use anyhow::Result;
use regcred::api::status::RepositoryVerdict::{InsufficientScope, PubliclyReadable, PullProven};
use serde_json::json;
use testenv::{Reply, Seen};

use super::{
    door::Door,
    fake::{Fake, Login, bare, granted, repository},
    layout::{Layout, case},
};
use crate::scenario::{PASSWORD, WRONG};

const HOST: &str = "nexus.example.com";

/// With anonymous pulls. The name in the realm is that of the request, port and all.
fn anonymous(fake: &Fake, seen: &Seen) -> Reply {
    let host = seen.header("Host").unwrap_or(HOST);
    let realm = format!("https://{host}/v2/token");
    match (seen.method.as_str(), seen.path(), fake.login(seen)) {
        ("GET", "/v2/token", Login::Of(account)) => granted(&fake.issue(Some(account), seen)),
        ("GET", "/v2/token", Login::None | Login::Wrong | Login::Expired) => granted(&fake.issue(None, seen)),
        _ => Door::new(&realm, &realm).answer(fake, seen),
    }
}

/// With "force basic authentication", and so without anonymous pulls.
fn basic(fake: &Fake, seen: &Seen) -> Reply {
    match (fake.login(seen), repository(seen.path())) {
        (Login::None | Login::Wrong | Login::Expired, _) => {
            bare(401).header("WWW-Authenticate", "BASIC realm=\"Sonatype Nexus Repository Manager\"")
        }
        (Login::Of(account), Some((name, part))) if fake.may_pull(Some(account), name) => fake.content(seen, part),
        (Login::Of(_), Some(_)) => bare(403),
        (Login::Of(account), None) if seen.path() == "/v2/" => {
            fake.opened(Some(account));
            Reply::status(200).json(&json!({}))
        }
        (Login::Of(_), None) => bare(404),
    }
}

fn fake() -> Fake {
    Fake::new()
        .public("site")
        .private("shop/web")
        .account(("deployer", PASSWORD), &[])
        .account(("reader", PASSWORD), &["shop/web"])
        .account(("stranger", PASSWORD), &[])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nexus_with_anonymous_pulls_proves_no_login_but_a_private_repository_there_does() -> Result<()> {
    let mut layout = Layout::prepare("nexus", fake(), &["/v2/token"]).await?;
    let host = format!("{HOST}:{}", layout.serve(HOST, anonymous)?);
    layout.start().await?;
    let unverified = ("True", "Unverified");
    let cases = [
        case("right", ("deployer", PASSWORD), unverified),
        case("wrong", ("deployer", WRONG), unverified),
        case("public", ("stranger", PASSWORD), unverified).repositories(&["site:v1"], &[PubliclyReadable]),
        case("private", ("reader", PASSWORD), ("True", "RepositoriesProven"))
            .repositories(&["shop/web:v1", "site"], &[PullProven, PubliclyReadable]),
    ];
    layout.judge(&layout.generic(&format!("https://{host}"), &[]), &host, &cases).await?;
    assert_eq!(layout.strangers(), 1, "once for the host, not for every connection");

    let guess = case("guess", ("reader", WRONG), ("False", "InsufficientScope"))
        .repositories(&["shop/web:v1"], &[InsufficientScope]);
    layout.connect(&layout.generic(&format!("https://{host}"), &[]), std::slice::from_ref(&guess)).await?;
    layout.scenario.ready("guess", "False", "InsufficientScope").await?;
    assert!(
        layout.scenario.secrets().get_opt("guess").await?.is_none(),
        "a wrong login that can be told is not delivered"
    );
    layout.judge_words().await?;
    layout.finish(&cases).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nexus_that_forces_basic_authentication_tells_right_from_wrong() -> Result<()> {
    let mut layout = Layout::prepare("nexus-basic", fake(), &[]).await?;
    let host = format!("{HOST}:{}", layout.serve(HOST, basic)?);
    layout.start().await?;
    let cases = [
        case("right", ("deployer", PASSWORD), ("True", "LoginProven")),
        case("wrong", ("deployer", WRONG), ("False", "InvalidCredentials")),
        case("private", ("reader", PASSWORD), ("True", "RepositoriesProven"))
            .repositories(&["shop/web:v1"], &[PullProven]),
        case("foreign", ("stranger", PASSWORD), ("False", "InsufficientScope"))
            .repositories(&["shop/web:v1"], &[InsufficientScope]),
    ];
    layout.judge(&layout.generic(&format!("https://{host}"), &[]), &host, &cases).await?;
    assert_eq!(layout.strangers(), 0, "a registry that wants a login has shown that it checks");
    layout.finish(&cases).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nexus_whose_tokens_open_nothing_has_proven_nothing() -> Result<()> {
    let mut layout = Layout::prepare("nexus-realm", fake(), &["/v2/token"]).await?;
    // The realm for tokens is not active: they are issued, and nobody knows them.
    let serve = |_: &Fake, seen: &Seen| anonymous(&Fake::new(), seen);
    let host = format!("{HOST}:{}", layout.serve(HOST, serve)?);
    layout.start().await?;
    let right = case("right", ("deployer", PASSWORD), ("False", "ProtocolError"));
    layout.connect(&layout.generic(&format!("https://{host}"), &[]), std::slice::from_ref(&right)).await?;
    let connection = layout.scenario.ready("right", "False", "ProtocolError").await?;
    let error = connection.status.and_then(|status| status.last_error).unwrap_or_else(|| panic!("no error"));
    assert!(error.message.starts_with("token: ") && error.message.contains("does not accept"), "{}", error.message);
    assert!(layout.scenario.secrets().get_opt("right").await?.is_none());
    layout.judge_words().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_found_of_one_registry_says_nothing_of_the_next_that_a_connection_is_moved_to() -> Result<()> {
    let mut layout = Layout::prepare("moved", fake(), &[]).await?;
    let strict = format!("{HOST}:{}", layout.serve(HOST, basic)?);
    let open = format!("open.example.com:{}", layout.serve("open.example.com", anonymous)?);
    layout.start().await?;
    let right = case("images", ("deployer", PASSWORD), ("True", "LoginProven"));
    layout.judge(&layout.generic(&format!("https://{strict}"), &[]), &strict, std::slice::from_ref(&right)).await?;
    let moved = json!({"spec": {"provider": {"generic": {"registryUrl": format!("https://{open}")}}}});
    layout.scenario.edit("images", moved).await?;
    layout.scenario.ready("images", "True", "Unverified").await?;
    assert_eq!(layout.strangers(), 1);
    layout.finish(&[right]).await
}
