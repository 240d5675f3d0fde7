//! A connection that is deleted and created anew takes its Secret over in place: Pods notice nothing.

use anyhow::{Result, anyhow};
use serde_json::{Value, json};
use testenv::Calls;

use crate::{
    another::{Another, Witness, asked, grace_at, uid},
    scenario::{PASSWORD, Scenario, WRONG},
};

/// A minute passes in two seconds.
const SPEED: u32 = 30;

/// Waits until the grace is over twice; nothing may happen in it.
async fn quiet(scenario: &Scenario) -> Result<()> {
    let quiet = scenario.calls.quiet_for(grace_at(SPEED)).await;
    quiet.map_err(|calls| anyhow!("requests: {calls:?}"))
}

async fn adopts(name: &str, spec: impl FnOnce(&Scenario) -> Value, reason: &str, key: &str) -> Result<()> {
    let scenario = Scenario::start_fast(name, SPEED).await?;
    let first = scenario.connected("images").await?;
    let delivered = scenario.secrets().get("images").await?;
    let witness = Witness::watch(&scenario).await?;
    scenario.calls.clear();
    scenario.disconnect("images").await?;
    let second = scenario.connect("images", spec(&scenario)).await?;
    assert_ne!(first.metadata.uid, second.metadata.uid);
    scenario.ready("images", "True", reason).await?;
    let adopted = scenario
        .until_secret("images", |secret| secret.metadata.resource_version != delivered.metadata.resource_version)
        .await?;
    assert_eq!(uid(&adopted), uid(&delivered), "the very same Secret");
    let data = adopted.data.clone().unwrap_or_default();
    let config = String::from_utf8(data[".dockerconfigjson"].0.clone())?;
    assert!(config.contains(key), "it serves what the new connection is for");
    let writes = scenario.calls.count(|call| call.request.is_write() && call.request.resource == "secrets");
    assert_eq!(writes, 1, "{:?}", scenario.asked());
    scenario.calls.clear();
    quiet(&scenario).await?;
    assert_eq!(scenario.secrets().get("images").await?, adopted);
    assert_eq!((witness.count("-"), witness.count("+images")), (0, 1), "{:?}", witness.all());
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_created_anew_takes_its_secret_over_in_place() -> Result<()> {
    adopts("anew", Scenario::spec, "LoginProven", "\"auths\"").await
}

#[tokio::test(flavor = "multi_thread")]
async fn so_does_one_for_another_address() -> Result<()> {
    let prefixed = |scenario: &Scenario| {
        let mut spec = scenario.spec();
        spec["repositoryPrefix"] = "team".into();
        spec
    };
    adopts("address", prefixed, "LoginProven", "/team/\"").await
}

#[tokio::test(flavor = "multi_thread")]
async fn so_does_one_with_another_provider() -> Result<()> {
    let hub =
        |_: &Scenario| json!({"provider": {"dockerhub": {"secretRef": {"name": "login"}}}, "test": {"mode": "Off"}});
    adopts("provider", hub, "NotTested", "https://index.docker.io/v1/").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_created_anew_with_a_refused_login_leaves_the_secret_as_it_is() -> Result<()> {
    let scenario = Scenario::start_fast("anewbad", SPEED).await?;
    scenario.connected("images").await?;
    let delivered = scenario.secrets().get("images").await?;
    scenario.disconnect("images").await?;
    scenario.write_login("login", WRONG).await?;
    scenario.connect("images", scenario.spec()).await?;
    scenario.ready("images", "False", "InvalidCredentials").await?;
    scenario.calls.clear();
    quiet(&scenario).await?;
    assert_eq!(scenario.secrets().get("images").await?, delivered);
    // And once it is deleted for good, it goes.
    scenario.disconnect("images").await?;
    scenario.until_gone("images").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_comes_and_goes_counts_as_gone_from_its_last_end() -> Result<()> {
    let scenario = Scenario::start_fast("blink", SPEED).await?;
    scenario.connected("images").await?;
    let delivered = scenario.secrets().get("images").await?;
    let witness = Witness::watch(&scenario).await?;
    for _ in 0..5 {
        scenario.disconnect("images").await?;
        scenario.connect("images", scenario.spec()).await?;
    }
    scenario.ready("images", "True", "LoginProven").await?;
    scenario.calls.clear();
    quiet(&scenario).await?;
    assert_eq!(uid(&scenario.secrets().get("images").await?), uid(&delivered));
    assert_eq!(witness.count("-"), 0, "{:?}", witness.all());
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_operators_at_once_lose_nothing_and_come_to_the_same_end() -> Result<()> {
    let scenario = Scenario::start_fast("both", SPEED).await?;
    let calls = Calls::new();
    let other = Another::start(&scenario, scenario.another_client(&calls)?, SPEED).await?;
    other.synced().await?;
    let witness = Witness::watch(&scenario).await?;
    scenario.write_login("login", PASSWORD).await?;
    scenario.connect("images", scenario.spec()).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    let delivered = scenario.until_secret("images", |_| true).await?;

    // Made anew, in place.
    scenario.disconnect("images").await?;
    scenario.connect("images", scenario.spec()).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    scenario
        .until_secret("images", |secret| secret.metadata.resource_version != delivered.metadata.resource_version)
        .await?;
    assert_eq!(witness.count("-images"), 0, "{:?}", witness.all());

    // Renamed: the new one first.
    scenario.edit("images", json!({"spec": {"secret": {"name": "renamed"}}})).await?;
    scenario.until_gone("images").await?;
    witness.sees("-images").await?;
    let order: Vec<String> = witness.all();
    let position = |start: &str| order.iter().position(|line| line.starts_with(start));
    assert!(position("+renamed") < position("-images"), "{order:?}");
    scenario.ready("images", "True", "LoginProven").await?;
    assert!(scenario.secrets().get_opt("renamed").await?.is_some());

    // Deleted: gone once.
    scenario.disconnect("images").await?;
    scenario.until_gone("renamed").await?;
    witness.sees("-renamed").await?;
    let all = witness.all();
    let lines = |start: &str| all.iter().filter(|line| line.starts_with(start)).count();
    assert_eq!((lines("-images"), lines("-renamed"), lines("-login")), (1, 1, 0), "{all:?}");
    let done = |calls: &Calls, verb: &str| {
        calls.count(|call| call.is(verb, "secrets", "") && call.status.is_some_and(|status| status < 300))
    };
    assert_eq!(done(&scenario.calls, "create") + done(&calls, "create"), 2, "{:?}", asked(&calls));
    assert_eq!(done(&scenario.calls, "delete") + done(&calls, "delete"), 2);
    other.stop().await?;
    scenario.finish().await
}
