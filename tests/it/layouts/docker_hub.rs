//! Docker Hub: the registry and its token server are two hosts, and the pull quota stands in headers.
//!
//! The quirk (reference, 2.2 and 15): whoever brings no login gets a perfectly good token, without a scope too, but a wrong
//! login is refused even where everybody may pull. Failed logins soon lock the user or the address. HEAD of a manifest costs
//! nothing, GET is a pull.

use anyhow::{Result, ensure};
use kube::api::DeleteParams;
use regcred::api::status::RepositoryVerdict::{InsufficientScope, PubliclyReadable, PullProven};
use serde_json::json;
use testenv::{Reply, Seen, eventually};

use super::{
    door::Door,
    fake::{Fake, Login, bare, error, granted, repository},
    layout::{Layout, case},
};
use crate::scenario::{DEADLINE, PASSWORD, WRONG, get};

const REGISTRY: &str = "registry-1.docker.io";
const TOKENS: &str = "auth.docker.io";

/// An account that pays has no limit, and so no headers.
const UNLIMITED: &str = "payer";

/// One that has no pulls left.
const EXHAUSTED: &str = "exhausted";

/// One that was locked after too many failed logins.
const LOCKED: &str = "locked";

fn token_server(fake: &Fake, seen: &Seen) -> Reply {
    if (seen.method.as_str(), seen.path()) != ("GET", "/token") || seen.query("service") != ["registry.docker.io"] {
        return bare(404);
    }
    if seen.basic().is_some_and(|(user, _)| user == LOCKED) {
        let text = "too many failed login attempts for username or IP address";
        return error(429, "TOOMANYREQUESTS", text).header("Retry-After", "120");
    }
    match fake.login(seen) {
        Login::None => granted(&fake.issue(None, seen)),
        Login::Of(account) => granted(&fake.issue(Some(account), seen)),
        Login::Wrong | Login::Expired => error(401, "UNAUTHORIZED", "incorrect username or password"),
    }
}

fn registry(fake: &Fake, seen: &Seen) -> Reply {
    let door = Door::new("https://auth.docker.io/token", "registry.docker.io");
    let reply = door.answer(fake, seen);
    let super::fake::Bearer::Good(grant) = fake.bearer(seen) else { return reply };
    let Some((name, super::fake::Part::Manifest(_))) = repository(seen.path()) else { return reply };
    let user = grant.account.map_or("", |account| fake.user(account));
    if user == EXHAUSTED && name != "ratelimitpreview/test" {
        return error(429, "TOOMANYREQUESTS", "You have reached your pull rate limit.").header("Retry-After", "120");
    }
    let (limit, remaining) = match user {
        UNLIMITED => return reply,
        EXHAUSTED => (200, 0),
        "" => (100, 100),
        _ => (200, 187),
    };
    reply
        .header("ratelimit-limit", &format!("{limit};w=21600"))
        .header("ratelimit-remaining", &format!("{remaining};w=21600"))
        .header("docker-ratelimit-source", super::fake::MARKER)
}

fn fake() -> Fake {
    Fake::new()
        .public("library/nginx")
        .public("ratelimitpreview/test")
        .private("team/web")
        .account(("alice", PASSWORD), &[])
        .account(("bob", PASSWORD), &["team/web"])
        .account(("carol", PASSWORD), &[])
        .account(("dave", PASSWORD), &[])
        .account((UNLIMITED, PASSWORD), &[])
        .account((EXHAUSTED, PASSWORD), &["team/web"])
}

async fn docker_hub(name: &str) -> Result<Layout> {
    let mut layout = Layout::prepare(name, fake(), &["/token"]).await?;
    layout.trust_by_file()?;
    layout.serve(REGISTRY, |fake, seen| match seen.path() {
        // The repository of the quota has the tag `latest`; the fakes have but one.
        "/v2/ratelimitpreview/test/manifests/latest" => {
            let target = seen.target.replace("latest", super::fake::TAG);
            registry(fake, &Seen { target, ..seen.clone() })
        }
        _ => registry(fake, seen),
    })?;
    layout.serve(TOKENS, token_server)?;
    layout.start().await?;
    Ok(layout)
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_hub_accepts_a_right_login_at_its_token_server_and_refuses_a_wrong_one_though_anybody_may_pull()
-> Result<()> {
    let layout = docker_hub("hub").await?;
    let proven = ("True", "LoginProven");
    let refused = ("False", "InvalidCredentials");
    let cases = [
        case("right", ("alice", PASSWORD), proven),
        case("wrong", ("alice", WRONG), refused).repositories(&["nginx:v1"], &[]),
        case("email", ("alice@example.com", PASSWORD), refused),
        case("paid", (UNLIMITED, PASSWORD), proven),
        case("private", ("bob", PASSWORD), ("True", "RepositoriesProven"))
            .repositories(&["team/web:v1", "nginx:v1"], &[PullProven, PubliclyReadable]),
        case("foreign", ("carol", PASSWORD), ("False", "InsufficientScope"))
            .repositories(&["team/web:v1"], &[InsufficientScope]),
        case("public", ("dave", PASSWORD), proven).repositories(&["nginx:v1"], &[PubliclyReadable]),
    ];
    let spec = json!({"provider": {"dockerhub": {"secretRef": {"name": "login"}}}});
    layout.judge(&spec, "docker.io", &cases).await?;
    assert!(!layout.listener(REGISTRY).was_told(PASSWORD), "the registry itself never gets the password");
    assert_eq!(layout.strangers(), 0, "failed logins lock accounts");

    let scenario = &layout.scenario;
    let listed = scenario.connections().get("public").await?.status.and_then(|status| status.last_test);
    assert_eq!(listed.unwrap_or_else(|| panic!("no test")).repositories[0].name, "library/nginx");
    let email = scenario.connections().get("email").await?.status.and_then(|status| status.last_error);
    assert!(email.and_then(|error| error.hint).is_some_and(|hint| hint.contains("Docker ID (not the e-mail address)")));
    for image in ["nginx", "docker.io/team/web:v1"] {
        let found = scenario.shared.keyring.credentials(image, &[scenario.secrets().get("right").await?])?;
        assert_eq!(found.len(), 1, "one key serves all of Docker Hub: {image}");
    }
    layout.finish(&cases).await
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_hubs_quota_is_read_with_a_head_and_told_as_a_metric_until_the_connection_is_gone() -> Result<()> {
    let layout = docker_hub("quota").await?;
    let proven = ("True", "LoginProven");
    let cases = [
        case("right", ("alice", PASSWORD), proven),
        case("paid", (UNLIMITED, PASSWORD), proven),
        case("exhausted", (EXHAUSTED, PASSWORD), proven),
    ];
    let spec = json!({"provider": {"dockerhub": {"secretRef": {"name": "login"}}}});
    layout.judge(&spec, "docker.io", &cases).await?;
    let scenario = &layout.scenario;
    let address = scenario.metrics_addr.unwrap_or_else(|| panic!("no operator"));
    let told = async |name: &str| -> Result<Vec<String>> {
        let metrics = get(address, "/metrics").await?.1;
        let label = format!("{{namespace=\"{}\",name=\"{name}\"}} ", scenario.namespace);
        let told = |metric: &str| {
            let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("{metric}{label}")));
            line.map(|value| format!("{metric} {value}"))
        };
        Ok(["regcred_dockerhub_pull_limit", "regcred_dockerhub_pulls_remaining"]
            .iter()
            .filter_map(|m| told(m))
            .collect())
    };
    let right = ["regcred_dockerhub_pull_limit 200", "regcred_dockerhub_pulls_remaining 187"];
    assert_eq!(told("right").await?, right);
    assert_eq!(told("paid").await?, [""; 0], "who has no limit has no metric");
    let exhausted = ["regcred_dockerhub_pull_limit 200", "regcred_dockerhub_pulls_remaining 0"];
    assert_eq!(told("exhausted").await?, exhausted);

    // It takes over what the first one found, its quota too.
    let mut again = spec.clone();
    again["provider"]["dockerhub"]["secretRef"]["name"] = "right-login".into();
    again["secret"] = json!({"name": "again"});
    scenario.connect("again", again).await?;
    scenario.ready("again", "True", "LoginProven").await?;
    assert_eq!(told("again").await?, right);

    let asked = layout.listener(REGISTRY).requests();
    let asked: Vec<_> = asked.iter().filter(|seen| seen.path().contains("ratelimitpreview")).collect();
    assert_eq!(asked.len(), 3, "once for each test: {asked:?}");
    assert!(asked.iter().all(|seen| seen.method == "HEAD" && seen.bearer().is_some()), "{asked:?}");
    let scope = "repository:ratelimitpreview/test:pull";
    let scoped = layout.with(("alice", PASSWORD)).into_iter().filter(|seen| seen.query("scope") == [scope]).count();
    assert_eq!(scoped, 1, "it is this account's quota, not that of the address");

    scenario.connections().delete("right", &DeleteParams::default()).await?;
    eventually("the metric to be gone", DEADLINE, async || Ok(told("right").await?.is_empty().then_some(()))).await?;
    assert_eq!(told("exhausted").await?, exhausted, "that of another stays");
    layout.finish(&cases).await
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_hub_asks_for_a_pause_and_gets_it_whether_pulls_or_logins_are_too_many() -> Result<()> {
    for (name, login, repositories, sent) in
        [("pulls", EXHAUSTED, &["team/web:v1"][..], 2), ("logins", LOCKED, &[][..], 1)]
    {
        let layout = docker_hub(name).await?;
        let limited = case("images", (login, PASSWORD), ("False", "RateLimited")).repositories(repositories, &[]);
        let spec = json!({"provider": {"dockerhub": {"secretRef": {"name": "login"}}}});
        layout.judge(&spec, "docker.io", &[limited]).await?;
        // Pulls: the login, and a token for the repository; after that the quota is not asked for.
        assert_eq!(layout.with((login, PASSWORD)).len(), sent, "{name}");
        // Another connection does not disturb a registry that wants its rest.
        let other = case("other", ("alice", PASSWORD), ("False", "RateLimited"));
        layout.connect(&spec, std::slice::from_ref(&other)).await?;
        layout.scenario.ready("other", "False", "RateLimited").await?;
        assert_eq!(layout.with(other.login).len(), 0, "{name}");
        layout.judge_words().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_at_docker_hub_serves_one_organisation_by_a_key_that_the_kubelet_knows() -> Result<()> {
    let layout = docker_hub("org").await?;
    let scenario = &layout.scenario;
    scenario.write_secret("login", "Opaque", json!({"username": "bob", "password": PASSWORD})).await?;
    let spec = json!({"provider": {"dockerhub": {"secretRef": {"name": "login"}}}, "repositoryPrefix": "team"});
    scenario.connect("images", spec).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    let secret = scenario.secrets().get("images").await?;
    let config = &secret.data.clone().unwrap_or_default()[regcred::api::names::DOCKER_CONFIG_JSON_KEY].0;
    let config: serde_json::Value = serde_json::from_slice(config)?;
    let keys: Vec<_> = config["auths"].as_object().into_iter().flat_map(|auths| auths.keys()).collect();
    ensure!(keys == ["docker.io/team/"], "{keys:?}");
    for (image, expected) in
        [("team/web:v1", 1), ("docker.io/team/a/b:v1", 1), ("team-b/web:v1", 0), ("nginx", 0), ("docker.io/other/x", 0)]
    {
        let found = scenario.shared.keyring.credentials(image, std::slice::from_ref(&secret))?;
        assert_eq!(found.len(), expected, "{image}");
    }
    layout.finish(&[]).await
}
