//! What one test finds out is not taken for more than it is, no login is sent more often than it must be, and a status
//! that has nothing new to say stands still.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::Result;
use kube::ResourceExt;
use regcred::api::RegistryConnection;
use serde_json::{Value, json};
use testenv::{Listener, Reply, eventually, listener::Seen};

use crate::scenario::{DEADLINE, PASSWORD, Scenario, WRONG, tell_all};

fn spec_at(listener: &Listener, repositories: &[&str]) -> Value {
    let repositories: Vec<Value> = repositories.iter().map(|name| json!({"name": name})).collect();
    json!({
        "provider": {"generic": {"registryUrl": listener.url(), "secretRef": {"name": "login"}}},
        "test": {"repositories": repositories},
    })
}

fn is_right(seen: &Seen) -> bool {
    seen.basic().is_some_and(|(_, password)| password == PASSWORD)
}

fn unauthorized(seen: &Seen) -> Reply {
    let realm = format!("http://{}/token", seen.header("host").unwrap_or_default());
    Reply::status(401).header("WWW-Authenticate", &format!("Bearer realm=\"{realm}\",service=\"x\""))
}

/// How often somebody who is not the control logged in, and how often the control did.
fn logins(registry: &Listener) -> (usize, usize) {
    let users: Vec<String> = registry.requests().iter().filter_map(|seen| Some(seen.basic()?.0)).collect();
    let controls = users.iter().filter(|user| user.starts_with("regcred-control-")).count();
    (users.len() - controls, controls)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_found_with_one_repository_says_nothing_of_another() -> Result<()> {
    let scenario = Scenario::start("scopes").await?;
    // It gives no token for nothing, and takes a wrong login for none.
    let registry = Listener::plain(|seen| match (seen.path(), seen.query("scope").first().map(String::as_str)) {
        ("/token", None) => Reply::status(400),
        ("/token", Some("repository:public:pull")) => Reply::status(200).json(&json!({"token": "public"})),
        ("/token", Some(_)) if is_right(seen) => Reply::status(200).json(&json!({"token": "private"})),
        ("/token", Some(_)) => Reply::status(401),
        ("/v2/" | "/v2/public/tags/list", _) if seen.bearer().is_some() => Reply::status(200),
        ("/v2/private/tags/list", _) if seen.bearer() == Some("private") => Reply::status(200),
        _ => unauthorized(seen),
    })?;
    scenario.write_login("login", PASSWORD).await?;
    scenario.connect("private", spec_at(&registry, &["private"])).await?;
    scenario.ready("private", "True", "RepositoriesProven").await?;
    scenario.write_login("wrong-login", WRONG).await?;
    let mut spec = spec_at(&registry, &["public"]);
    spec["provider"]["generic"]["secretRef"]["name"] = "wrong-login".into();
    scenario.connect("public", spec).await?;
    let connection = scenario.ready("public", "True", "Unverified").await?;
    assert_eq!(tell_all(&connection)[1], "Unknown/Unverified", "anybody would have got that token");
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_was_opened_proves_no_login_by_what_it_did_before() -> Result<()> {
    let scenario = Scenario::start("opened").await?;
    let is_open = Arc::new(AtomicBool::new(false));
    let open = Arc::clone(&is_open);
    let registry = Listener::plain(move |seen| {
        if open.load(Ordering::Relaxed) || is_right(seen) {
            return Reply::status(200);
        }
        Reply::status(401).header("WWW-Authenticate", "Basic realm=\"x\"")
    })?;
    scenario.write_login("login", PASSWORD).await?;
    scenario.connect("images", spec_at(&registry, &[])).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    is_open.store(true, Ordering::Relaxed);
    scenario.write_login("login", WRONG).await?;
    scenario.ready("images", "True", "Unverified").await?;
    assert_eq!(logins(&registry).1, 1, "nobody had asked this door before");
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_login_is_not_sent_again_for_every_repository() -> Result<()> {
    let scenario = Scenario::start("guarded-all").await?;
    let registry = Listener::plain(|seen| match seen.path() {
        "/v2/" => Reply::status(200),
        _ if is_right(seen) => Reply::status(200),
        _ => Reply::status(401).header("WWW-Authenticate", "Basic realm=\"x\""),
    })?;
    scenario.write_login("login", WRONG).await?;
    scenario.connect("images", spec_at(&registry, &["a", "b", "c", "d", "e", "f", "g", "h"])).await?;
    scenario.ready("images", "False", "InvalidCredentials").await?;
    assert_eq!(logins(&registry), (2, 1), "at the open door, and for the first repository");
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_that_gets_no_clear_answer_is_not_repeated() -> Result<()> {
    // Five minutes pass in two and a half seconds.
    let scenario = Scenario::start_fast("unclear", 120).await?;
    let registries = [Reply::status(500), Reply::hang()].map(|unclear| {
        Listener::plain(move |seen| match seen.basic() {
            Some((user, _)) if user.starts_with("regcred-control-") => unclear.clone(),
            _ => Reply::status(200),
        })
    });
    scenario.write_login("login", PASSWORD).await?;
    for (name, registry) in ["fault", "silent"].into_iter().zip(registries) {
        let registry = registry?;
        let mut spec = spec_at(&registry, &[]);
        spec["refreshIntervalMinutes"] = 5.into();
        scenario.connect(name, spec).await?;
        scenario.ready(name, "True", "Unverified").await?;
        eventually("three tests", DEADLINE, async || Ok((logins(&registry).0 >= 3).then_some(()))).await?;
        assert_eq!(logins(&registry).1, 1, "{name}");
    }
    // A refresh is due every two seconds, so there is no rest that could be looked at.
    scenario.judge().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_or_a_firewall_in_front_of_a_repository_is_no_missing_right() -> Result<()> {
    let scenario = Scenario::start("moment").await?;
    scenario.write_login("login", PASSWORD).await?;
    type Answer = fn() -> Reply;
    let answers: [(&str, &str, Answer); 4] = [
        ("github", "RateLimited", || Reply::status(403).header("Retry-After", "600")),
        ("hub", "RateLimited", || Reply::status(429)),
        ("firewall", "AccessBlocked", || Reply::status(403).header("Content-Type", "text/html").body("<html>")),
        ("fault", "UpstreamError", || Reply::status(401).json(&json!({"errors": [{"code": "UNAVAILABLE"}]}))),
    ];
    let mut registries = vec![];
    for (name, _, answer) in answers {
        let registry = Listener::plain(move |seen| match seen.path() {
            "/v2/" if is_right(seen) => Reply::status(200),
            "/v2/" => Reply::status(401).header("WWW-Authenticate", "Basic realm=\"x\""),
            _ => answer(),
        })?;
        let mut spec = spec_at(&registry, &[]);
        spec["test"]["repositories"] = json!([{"name": "team/web", "reference": "v1"}]);
        spec["secret"] = json!({"name": name});
        if name == "fault" {
            // The body that tells it is missing in an answer to HEAD.
            spec["test"]["repositories"] = json!([{"name": "team/web"}]);
        }
        scenario.connect(name, spec).await?;
        registries.push(registry);
    }
    for (name, reason, _) in answers {
        scenario.ready(name, "False", reason).await?;
    }
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_may_have_counted_as_failed_rests_whatever_changes_around_it() -> Result<()> {
    let scenario = Scenario::start("rests").await?;
    let registry = Listener::plain(|seen| match seen.basic() {
        None => Reply::status(401).header("WWW-Authenticate", "Basic realm=\"x\""),
        Some(_) => Reply::status(403),
    })?;
    scenario.write_login("login", PASSWORD).await?;
    scenario.connect("images", spec_at(&registry, &[])).await?;
    scenario.ready("images", "False", "AccessBlocked").await?;
    for round in ["1", "2", "3"] {
        scenario.edit_secret("login", json!({"metadata": {"annotations": {"touched": round}}})).await?;
        scenario.edit("images", json!({"spec": {"secret": {"labels": {"touched": round}}}})).await?;
        let generation = scenario.connections().get("images").await?.metadata.generation;
        scenario.until("images", |now| now.status.as_ref().and_then(|s| s.observed_generation) == generation).await?;
    }
    assert_eq!(logins(&registry).0, 1);
    scenario.write_login("login", WRONG).await?;
    eventually("another login to be tried", DEADLINE, async || Ok((logins(&registry).0 == 2).then_some(()))).await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_stands_still_while_the_same_trouble_lasts() -> Result<()> {
    // Half a minute passes in half a second.
    let scenario = Scenario::start_fast("still", 60).await?;
    scenario.write_login("login", PASSWORD).await?;
    let limited = Listener::plain(|seen| match seen.basic() {
        None => Reply::status(401).header("WWW-Authenticate", "Basic realm=\"x\""),
        Some(_) => Reply::status(429),
    })?;
    let silent = Listener::plain(|_| Reply::hang())?;
    for (name, registry, reason) in [("limited", &limited, "RateLimited"), ("silent", &silent, "Unreachable")] {
        let mut spec = spec_at(registry, &[]);
        spec["test"]["timeoutSeconds"] = 1.into();
        scenario.connect(name, spec).await?;
        let before = scenario.ready(name, "False", reason).await?;
        let tries = || if name == "limited" { logins(registry).0 } else { registry.connections() };
        let seen = tries();
        eventually(format!("{name}: more tries"), DEADLINE, async || Ok((tries() >= seen + 3).then_some(()))).await?;
        let after: RegistryConnection = scenario.connections().get(name).await?;
        assert_eq!(before.status, after.status, "{name}");
        assert_eq!(before.resource_version(), after.resource_version(), "{name}");
    }
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_delivered_untested_is_not_ready_once_it_is_to_be_tested() -> Result<()> {
    let scenario = Scenario::start("required").await?;
    let registry = Listener::plain(|_| Reply::status(503))?;
    scenario.write_login("login", PASSWORD).await?;
    let mut spec = spec_at(&registry, &[]);
    spec["test"] = json!({"mode": "Off"});
    scenario.connect("images", spec).await?;
    scenario.ready("images", "True", "NotTested").await?;
    scenario.edit("images", json!({"spec": {"test": {"mode": "Required"}}})).await?;
    let connection = scenario.ready("images", "False", "UpstreamError").await?;
    assert_eq!(tell_all(&connection)[2], "True/Delivered", "and what is there stays");
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_prefix_is_not_called_delivered_before_it_is() -> Result<()> {
    let mut scenario = Scenario::prepare("prefixed").await?;
    scenario.start_operator().await?;
    let registry = scenario.connected_elsewhere("images", |_| {}).await?;
    scenario.stop_operator().await?;
    registry.pause();
    scenario.edit("images", json!({"spec": {"repositoryPrefix": "team"}})).await?;
    scenario.start_operator().await?;
    let waiting = scenario.ready("images", "False", "Unreachable").await?;
    assert_eq!(tell_all(&waiting)[2], "False/Unreachable", "the Secret still serves what the spec said before");
    registry.resume().await?;
    scenario.ready("images", "True", "LoginProven").await?;
    let key = scenario.secrets().get("images").await?.annotations().get("regcred.dev/docker-config-key").cloned();
    assert_eq!(key, Some(format!("{}/team/", registry.host())));
    scenario.finish().await
}
