//! Artifactory: a token endpoint per repository, below a path, that refuses what containerd tries first.
//!
//! The quirk (reference, 2.1, 2.2 and 9): a POST at the token endpoint is 401 whatever the login is, so only a GET says
//! anything. The realm lies below `/artifactory/api/docker/<repository key>/`. What a login may not read is 403, or 404 where
//! that is hidden. With anonymous access everybody gets a token, but a wrong login is still refused.

use anyhow::Result;
use regcred::api::status::RepositoryVerdict::{InsufficientScope, PubliclyReadable, PullProven, RepositoryNotFound};
use serde_json::json;
use testenv::{Reply, Seen};

use super::{
    door::Door,
    fake::{Fake, Login, bare, error, granted},
    layout::{Layout, case},
};
use crate::scenario::{PASSWORD, WRONG};

const HOST: &str = "artifactory.example.com";
const TOKENS: &str = "/artifactory/api/docker/docker-local/v2/token";

fn artifactory(is_anonymous_allowed: bool, fake: &Fake, seen: &Seen) -> Reply {
    if seen.path() != TOKENS {
        let narrow = |_: &Door, _: &Fake, name: &str| match name.split_once('/') {
            Some(("hidden", _)) => error(404, "NAME_UNKNOWN", "repository name not known to registry"),
            _ => error(403, "DENIED", "Forbidden"),
        };
        return Door::new(&format!("https://{HOST}{TOKENS}"), HOST).narrow(narrow).answer(fake, seen);
    }
    if seen.query("service") != [HOST] {
        return bare(404);
    }
    match fake.login(seen) {
        _ if seen.method == "POST" => error(401, "UNAUTHORIZED", "Bad credentials"),
        Login::None if is_anonymous_allowed => granted(&fake.issue(None, seen)),
        Login::None => error(401, "UNAUTHORIZED", "Authentication is required"),
        Login::Wrong | Login::Expired => error(401, "UNAUTHORIZED", "Bad credentials"),
        Login::Of(account) => granted(&fake.issue(Some(account), seen)),
    }
}

fn fake() -> Fake {
    Fake::new()
        .public("docker-local/site")
        .private("docker-local/web")
        .private("hidden/web")
        .account(("deployer", PASSWORD), &[])
        .account(("reader", PASSWORD), &["docker-local/web"])
        .account(("stranger", PASSWORD), &[])
        .account(("guesser", PASSWORD), &[])
}

#[tokio::test(flavor = "multi_thread")]
async fn artifactory_is_asked_with_get_below_its_path_because_it_refuses_every_post() -> Result<()> {
    let mut layout = Layout::prepare("artifactory", fake(), &[TOKENS]).await?;
    layout.serve(HOST, |fake, seen| artifactory(false, fake, seen))?;
    layout.start().await?;
    let cases = [
        case("right", ("deployer", PASSWORD), ("True", "LoginProven")),
        case("wrong", ("deployer", WRONG), ("False", "InvalidCredentials")),
        // Without anonymous access nothing is public.
        case("private", ("reader", PASSWORD), ("True", "RepositoriesProven"))
            .repositories(&["docker-local/web:v1", "docker-local/site"], &[PullProven, PullProven]),
        case("foreign", ("stranger", PASSWORD), ("False", "InsufficientScope"))
            .repositories(&["docker-local/web:v1"], &[InsufficientScope]),
        case("hidden", ("guesser", PASSWORD), ("False", "RepositoryNotFound"))
            .repositories(&["hidden/web:v1"], &[RepositoryNotFound]),
    ];
    layout.judge(&layout.generic("https://artifactory.example.com", &[]), HOST, &cases).await?;
    assert_eq!(layout.strangers(), 0, "who gets no token without a login shows that logins are checked");
    layout.finish(&cases).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifactory_that_gives_everybody_a_token_is_sent_one_login_that_cannot_be_right_and_refuses_it()
-> Result<()> {
    let mut layout = Layout::prepare("artifactory-open", fake(), &[TOKENS]).await?;
    layout.serve(HOST, |fake, seen| artifactory(true, fake, seen))?;
    layout.start().await?;
    let cases = [
        case("right", ("deployer", PASSWORD), ("True", "LoginProven")),
        case("wrong", ("deployer", WRONG), ("False", "InvalidCredentials")),
        case("public", ("stranger", PASSWORD), ("True", "LoginProven"))
            .repositories(&["docker-local/site:v1"], &[PubliclyReadable]),
        case("private", ("reader", PASSWORD), ("True", "RepositoriesProven"))
            .repositories(&["docker-local/web:v1"], &[PullProven]),
    ];
    layout.judge(&layout.generic("https://artifactory.example.com", &[]), HOST, &cases).await?;
    assert_eq!(layout.strangers(), 1, "once for the host, not for every connection");
    layout.finish(&cases).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_key_at_artifactory_is_the_prefix_of_a_path_and_has_a_login_of_its_own() -> Result<()> {
    let mut layout = Layout::prepare("artifactory-key", fake(), &[TOKENS]).await?;
    layout.serve(HOST, |fake, seen| artifactory(false, fake, seen))?;
    layout.start().await?;
    let scenario = &layout.scenario;
    for (name, user) in [("docker-local", "reader"), ("docker-remote", "deployer")] {
        let secret = format!("{name}-login");
        scenario.write_secret(&secret, "Opaque", json!({"username": user, "password": PASSWORD})).await?;
        let mut spec = layout.generic("https://artifactory.example.com", &[]);
        spec["provider"]["generic"]["secretRef"]["name"] = secret.into();
        spec["repositoryPrefix"] = name.into();
        scenario.connect(name, spec).await?;
    }
    let mut secrets = vec![];
    for name in ["docker-local", "docker-remote"] {
        scenario.ready(name, "True", "LoginProven").await?;
        secrets.push(scenario.secrets().get(name).await?);
    }
    for (repository, users) in [
        ("docker-local/web:v1", &["reader"][..]),
        ("docker-local/a/b/c:v1", &["reader"]),
        ("docker-remote/library/nginx", &["deployer"]),
        ("docker-local-2/web:v1", &[]),
        ("web:v1", &[]),
    ] {
        let found = scenario.shared.keyring.credentials(&format!("{HOST}/{repository}"), &secrets)?;
        let found: Vec<_> = found.iter().map(|(user, _)| user.as_str()).collect();
        assert_eq!(found, users, "{repository}");
    }
    layout.finish(&[]).await
}
