//! Many wait for an answer of the same server: nobody else waits for them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::Result;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use testenv::{Listener, Reply, eventually};

use crate::scenario::{DEADLINE, PASSWORD, Scenario, is_ready};

/// How many wait: more than the operator works on at the same time while nobody waits.
const MANY: usize = 40;

/// Creates connections with so many logins, which wait for an answer as long as they may.
async fn crowd(scenario: &Scenario, spec: &Value, logins: usize) -> Result<()> {
    for login in 0..logins {
        let data = json!({"username": format!("user-{login}"), "password": PASSWORD});
        scenario.write_secret(&format!("login-{login}"), "Opaque", data).await?;
    }
    for number in 0..MANY {
        let mut spec = spec.clone();
        let login = number % logins;
        spec["provider"]["generic"]["secretRef"]["name"] = format!("login-{login}").into();
        spec["test"]["timeoutSeconds"] = 30.into();
        scenario.connect(&format!("silent-{number}"), spec).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_registry_with_many_connections_does_not_keep_others_waiting() -> Result<()> {
    others_are_served_beside_a_silent_server(Scenario::start("crowd").await?, false, MANY).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_token_server_with_many_connections_does_not_keep_others_waiting() -> Result<()> {
    others_are_served_beside_a_silent_server(Scenario::start("crowd-behind").await?, true, MANY).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_registry_with_many_connections_of_few_logins_does_not_keep_others_waiting() -> Result<()> {
    others_are_served_beside_a_silent_server(Scenario::start("crowd-of-few").await?, false, 4).await
}

async fn others_are_served_beside_a_silent_server(
    scenario: Scenario,
    by_token_server: bool,
    logins: usize,
) -> Result<()> {
    scenario.write_login("login", PASSWORD).await?;
    let silent = Listener::plain(|_| Reply::hang())?;
    let realm = format!("Bearer realm=\"{}/token\",service=\"x\"", silent.url());
    let registry = Listener::plain(move |_| Reply::status(401).header("WWW-Authenticate", &realm))?;
    let asked = if by_token_server { &registry } else { &silent };
    let mut spec = scenario.spec_at(&asked.url());
    spec["provider"]["generic"]["trustedTokenHosts"] = json!([silent.host()]);
    crowd(&scenario, &spec, logins).await?;
    eventually("the silent server to be asked", DEADLINE, async || {
        Ok((silent.connections() >= logins.min(8)).then_some(()))
    })
    .await?;
    scenario.connect("images", scenario.spec()).await?;
    eventually("the other one to be ready", DEADLINE, async || {
        Ok(Some(scenario.connections().get("images").await?).filter(|now| is_ready(now, "True", "LoginProven")))
    })
    .await?;
    let waiting = scenario.connections().list(&Default::default()).await?;
    let told =
        waiting.iter().filter(|one| one.status.as_ref().is_some_and(|status| status.last_error.is_some())).count();
    assert_eq!(told, 0, "it was ready before any of the others had waited in vain");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_without_end_keep_nobody_waiting_who_needs_none() -> Result<()> {
    let scenario = Scenario::start("flood").await?;
    scenario.write_login("login", PASSWORD).await?;
    // Each costs whoever reads it all the time there is.
    let floods = [(); 3].map(|()| Listener::plain(|_| Reply::endless("HTTP/1.1 100 Continue\r\n\r\n")));
    for (number, flood) in floods.iter().enumerate() {
        let Ok(flood) = flood else { anyhow::bail!("no listener") };
        let mut spec = scenario.spec_at(&flood.url());
        spec["test"]["timeoutSeconds"] = 30.into();
        scenario.connect(&format!("flood-{number}"), spec).await?;
        eventually("the flood to begin", DEADLINE, async || Ok((flood.connections() > 0).then_some(()))).await?;
    }
    let mut spec = scenario.spec();
    spec["test"] = json!({"mode": "Off"});
    scenario.connect("images", spec).await?;
    eventually("the one that needs no answer to be ready", DEADLINE, async || {
        Ok(Some(scenario.connections().get("images").await?).filter(|now| is_ready(now, "True", "NotTested")))
    })
    .await?;
    let all = scenario.connections().list(&Default::default()).await?;
    let told = all.iter().filter(|one| one.status.as_ref().is_some_and(|status| status.last_error.is_some())).count();
    assert_eq!(told, 0, "it was ready before the others had an end");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_delivered_is_put_back_while_too_many_wait_for_the_registry() -> Result<()> {
    // A refresh every five minutes, which are ten seconds.
    let scenario = Scenario::start_fast("crowd-kept", 30).await?;
    scenario.write_login("login", PASSWORD).await?;
    let is_silent = Arc::new(AtomicBool::new(false));
    let registry = Listener::plain({
        let is_silent = Arc::clone(&is_silent);
        move |seen| match seen.basic() {
            _ if is_silent.load(Ordering::Relaxed) => Reply::hang(),
            Some((_, password)) if password == PASSWORD => Reply::status(200),
            _ => Reply::status(401).header("WWW-Authenticate", "Basic realm=\"x\""),
        }
    })?;
    let mut spec = scenario.spec_at(&registry.url());
    spec["refreshIntervalMinutes"] = 5.into();
    scenario.connect("images", spec.clone()).await?;
    let connection = scenario.ready("images", "True", "LoginProven").await?;
    let due = connection.status.and_then(|status| status.next_refresh_at);
    is_silent.store(true, Ordering::Relaxed);
    crowd(&scenario, &spec, MANY).await?;
    let clock = scenario.clock.clone();
    eventually("the refresh to be due", DEADLINE, async || {
        let now = clock.as_ref().map(regcred::clock::Clock::now);
        Ok((now > due.as_ref().map(|time| time.0)).then_some(()))
    })
    .await?;
    let before = scenario.secrets().get("images").await?;
    scenario.secrets().delete("images", &DeleteParams::default()).await?;
    let after = scenario.until_secret("images", |_| true).await?;
    assert_eq!((before.data, before.metadata.annotations), (after.data, after.metadata.annotations));
    let told = scenario.connections().list(&Default::default()).await?;
    let told = told.iter().filter(|one| one.status.as_ref().is_some_and(|status| status.last_error.is_some())).count();
    assert_eq!(told, 0, "it was there before any of those that wait had waited in vain");
    Ok(())
}
