//! Credentials that nobody can prove, or shall.

use anyhow::Result;
use regcred::api::RegistryConnection;
use serde_json::json;
use testenv::{Listener, Reply};

use crate::scenario::{PASSWORD, Scenario, tell_all};

fn spec_at(listener: &Listener) -> serde_json::Value {
    json!({"provider": {"generic": {"registryUrl": listener.url(), "secretRef": {"name": "login"}}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_that_is_switched_off_sends_nothing_and_says_so() -> Result<()> {
    let scenario = Scenario::start("off").await?;
    let registry = Listener::plain(|_| Reply::status(500))?;
    scenario.write_login("login", PASSWORD).await?;
    let mut spec = spec_at(&registry);
    spec["test"] = json!({"mode": "Off"});
    spec["provider"]["generic"]["caRef"] = json!({"kind": "ConfigMap", "name": "not-needed"});
    scenario.connect("images", spec).await?;
    let connection = scenario.ready("images", "True", "NotTested").await?;
    assert_eq!(tell_all(&connection), ["True/NotTested", "Unknown/NotTested", "True/Delivered", "-", "-"]);
    assert_eq!(registry.connections(), 0);
    let next = |connection: &RegistryConnection| connection.status.as_ref().and_then(|s| s.next_refresh_at.clone());
    assert_eq!(next(&connection), None, "there is nothing to find out by asking again");

    let before = scenario.secrets().get("images").await?;
    scenario.write_login("login", "another").await?;
    let after = scenario.until_secret("images", |secret| secret.data != before.data).await?;
    assert_eq!(after.metadata.uid, before.metadata.uid);
    assert_eq!(registry.connections(), 0);
    scenario.until("images", |now| tell_all(now)[2] == "True/Delivered").await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_lets_in_anybody_proves_nothing_and_one_that_refuses_strangers_does() -> Result<()> {
    let scenario = Scenario::start("open").await?;
    scenario.write_login("login", PASSWORD).await?;
    let anybody = Listener::plain(|_| Reply::status(200))?;
    let account = scenario.namespace.clone();
    let picky = Listener::plain(move |seen| match seen.basic() {
        None => Reply::status(200),
        Some((user, password)) if user == account && password == PASSWORD => Reply::status(200),
        Some(_) => Reply::status(401),
    })?;
    for (name, registry, reason) in [("anybody", &anybody, "Unverified"), ("picky", &picky, "LoginProven")] {
        scenario.connect(name, spec_at(registry)).await?;
        scenario.ready(name, "True", reason).await?;
        let strangers = || {
            let logins = registry.requests().into_iter().filter_map(|seen| seen.basic());
            logins.filter(|(user, _)| *user != scenario.namespace).count()
        };
        assert_eq!(strangers(), 1, "{name}");
        let again = format!("{name}-again");
        scenario.connect(&again, spec_at(registry)).await?;
        scenario.ready(&again, "True", reason).await?;
        assert_eq!(strangers(), 1, "{name}: at most once a day");
    }
    scenario.write_login("login", "wrong").await?;
    scenario.ready("picky", "False", "InvalidCredentials").await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_repository_at_an_open_registry_proves_the_login() -> Result<()> {
    let scenario = Scenario::start("guarded").await?;
    scenario.write_login("login", PASSWORD).await?;
    let registry = Listener::plain(|seen| match (seen.path(), seen.basic()) {
        ("/v2/", _) => Reply::status(200),
        (_, Some((_, password))) if password == PASSWORD => Reply::status(200),
        _ => Reply::status(401).header("WWW-Authenticate", "Basic realm=\"x\""),
    })?;
    let mut spec = spec_at(&registry);
    spec["test"] = json!({"repositories": [{"name": "team/web", "reference": "v1"}]});
    scenario.connect("images", spec).await?;
    scenario.ready("images", "True", "RepositoriesProven").await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_ends_in_the_time_the_spec_gives_it() -> Result<()> {
    let scenario = Scenario::start("limit").await?;
    scenario.write_login("login", PASSWORD).await?;
    let registry = Listener::plain(|_| Reply::hang())?;
    let mut spec = spec_at(&registry);
    spec["test"] = json!({"timeoutSeconds": 1});
    scenario.connect("images", spec).await?;
    let connection = scenario.ready("images", "False", "Unreachable").await?;
    let error = connection.status.and_then(|status| status.last_error).unwrap_or_else(|| panic!("no error"));
    assert!(error.message.starts_with("reach: ") && error.message.contains("within the 1 s"), "{}", error.message);
    Ok(())
}
