//! What a deleted connection leaves behind goes, as its deletionPolicy says; whatever is not surely that stays.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use kube::ResourceExt;
use regcred::{api::RegistryConnection, controller::sweep::GRACE, domain::reference::ConnectionReference};
use serde_json::{Value, json};

use crate::scenario::{PASSWORD, Scenario, WRONG};

/// A minute passes in a second.
const FAST: u32 = 60;

/// How long to look on for something that must not happen: five minutes of the operator's.
const LONG: Duration = Duration::from_secs(5);

async fn quiet(scenario: &Scenario) -> Result<()> {
    scenario.calls.quiet_for(LONG).await.map_err(|calls| anyhow!("requests: {calls:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_connection_takes_its_secret_along_after_a_minute_at_the_cost_of_four_requests() -> Result<()> {
    let scenario = Scenario::start_fast("gone", 20).await?;
    scenario.connected("images").await?;
    scenario.calls.clear();
    let deleted = Instant::now();
    scenario.disconnect("images").await?;
    scenario.until_gone("images").await?;
    assert!(deleted.elapsed() * 20 >= GRACE, "after {:?}", deleted.elapsed() * 20);
    assert!(scenario.secrets().get_opt("login").await?.is_some());
    quiet(&scenario).await?;
    let expected = ["get secrets", "get registryconnections", "get customresourcedefinitions", "delete secrets"];
    assert_eq!(scenario.asked(), expected);
    assert_eq!(scenario.metric(r#"regcred_target_writes_total{op="delete",result="written"}"#).await?, 1.0);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_be_retained_stays_and_costs_no_request() -> Result<()> {
    let scenario = Scenario::start_fast("retain", FAST).await?;
    scenario.write_login("login", PASSWORD).await?;
    let mut spec = scenario.spec();
    spec["deletionPolicy"] = "Retain".into();
    scenario.connect("images", spec).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    let delivered = scenario.secrets().get("images").await?;
    scenario.calls.clear();
    scenario.disconnect("images").await?;
    quiet(&scenario).await?;
    assert_eq!(scenario.secrets().get("images").await?, delivered);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_policy_counts_even_of_a_suspended_connection() -> Result<()> {
    let scenario = Scenario::start_fast("last", FAST).await?;
    scenario.write_login("login", PASSWORD).await?;
    for (name, first, last) in [("kept", "Delete", "Retain"), ("dropped", "Retain", "Delete")] {
        let mut spec = scenario.spec();
        spec["deletionPolicy"] = first.into();
        scenario.connect(name, spec).await?;
        scenario.ready(name, "True", "LoginProven").await?;
        // Whether the last word reaches the Secret before the connection goes is a matter of luck.
        scenario.edit(name, json!({"spec": {"suspend": true}})).await?;
        scenario.ready(name, "True", "LoginProven").await?;
        scenario.edit(name, json!({"spec": {"deletionPolicy": last}})).await?;
        scenario.disconnect(name).await?;
    }
    scenario.until_gone("dropped").await?;
    scenario.calls.clear();
    quiet(&scenario).await?;
    assert!(scenario.secrets().get_opt("kept").await?.is_some());
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_reaches_the_secrets_of_connections_that_deliver_nothing_in_one_write_each() -> Result<()> {
    let mut scenario = Scenario::start_fast("reach", FAST).await?;
    let names = ["suspended", "invalid", "refused"];
    for name in names {
        scenario.connected(name).await?;
    }
    scenario.edit("suspended", json!({"spec": {"suspend": true}})).await?;
    scenario.until("suspended", is_observed).await?;
    scenario.edit("invalid", json!({"spec": {"provider": {"generic": {"registryUrl": "http://r.example"}}}})).await?;
    scenario.ready("invalid", "False", "InvalidSpec").await?;
    scenario.write_login("login", WRONG).await?;
    scenario.ready("refused", "False", "InvalidCredentials").await?;
    let failed = scenario.failed_logins()?;
    for name in names {
        let before = scenario.secrets().get(name).await?;
        scenario.calls.clear();
        scenario.edit(name, json!({"spec": {"deletionPolicy": "Retain"}})).await?;
        let after = scenario
            .until_secret(name, |secret| secret.annotations()["regcred.dev/deletion-policy"] == "Retain")
            .await?;
        scenario.until(name, is_observed).await?;
        quiet(&scenario).await?;
        let changes = scenario.calls.count(|call| ["patch", "update"].iter().any(|verb| call.is(verb, "secrets", "")));
        assert_eq!(changes, 1, "{:?}", scenario.asked());
        assert_eq!((&before.data, before.labels()), (&after.data, after.labels()));
        assert_eq!(scenario.secrets().get(name).await?, after);
    }
    assert_eq!(scenario.failed_logins()?, failed, "a policy is no reason to ask again");

    // Nobody sees the connections go: only what the Secrets say counts.
    scenario.stop_operator().await?;
    for name in names {
        scenario.disconnect(name).await?;
    }
    scenario.calls.clear();
    scenario.start_operator().await?;
    quiet(&scenario).await?;
    for name in names {
        assert!(scenario.secrets().get_opt(name).await?.is_some(), "{name}");
    }
    scenario.finish().await
}

/// Whether the status is about the present spec.
fn is_observed(connection: &RegistryConnection) -> bool {
    connection.status.as_ref().and_then(|status| status.observed_generation) == connection.metadata.generation
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_deleted_while_nobody_ran_is_found_gone_a_minute_after_the_start() -> Result<()> {
    let mut scenario = Scenario::start_fast("absent", 20).await?;
    scenario.connected("images").await?;
    let mut spec = scenario.spec();
    spec["deletionPolicy"] = "Retain".into();
    scenario.connect("kept", spec).await?;
    scenario.ready("kept", "True", "LoginProven").await?;
    scenario.stop_operator().await?;
    for name in ["images", "kept"] {
        scenario.disconnect(name).await?;
    }
    scenario.calls.clear();
    let started = Instant::now();
    scenario.start_operator().await?;
    scenario.until_gone("images").await?;
    assert!(started.elapsed() * 20 >= GRACE, "after {:?}", started.elapsed() * 20);
    quiet(&scenario).await?;
    assert!(scenario.secrets().get_opt("kept").await?.is_some());
    let expected = ["get secrets", "get registryconnections", "get customresourcedefinitions", "delete secrets"];
    assert_eq!(scenario.asked(), expected);
    scenario.finish().await
}

/// A Secret with all marks of a connection that is not there.
fn left_behind(scenario: &Scenario, name: &str, change: impl FnOnce(&mut Value)) -> Value {
    let reference = ConnectionReference::namespaced(&scenario.namespace, "images");
    let mut secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
        "metadata": {
            "name": name,
            "labels": {"app.kubernetes.io/managed-by": "regcred", "regcred.dev/connection": reference.label_value()},
            "annotations": {
                "regcred.dev/connection": reference.to_string(), "regcred.dev/namespace": scenario.namespace,
                "regcred.dev/deletion-policy": "Delete", "regcred.dev/connection-created-at": "2999-01-01T00:00:00Z",
            },
        },
        "stringData": {".dockerconfigjson": "{\"auths\":{}}"},
    });
    change(&mut secret);
    secret
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_surely_left_behind_stays_and_is_told_once() -> Result<()> {
    let scenario = Scenario::start_fast("unsure", FAST).await?;
    let annotation =
        |name: &'static str, value: Value| move |secret: &mut Value| secret["metadata"]["annotations"][name] = value;
    scenario.forge(left_behind(&scenario, "opaque", |secret| secret["type"] = "Opaque".into())).await?;
    scenario.forge(left_behind(&scenario, "immutable", |secret| secret["immutable"] = true.into())).await?;
    let policy = annotation("regcred.dev/deletion-policy", "Archive".into());
    scenario.forge(left_behind(&scenario, "policy", policy)).await?;
    let age = annotation("regcred.dev/connection-created-at", "yesterday".into());
    scenario.forge(left_behind(&scenario, "age", age)).await?;
    let older = annotation("regcred.dev/connection-created-at", "2001-01-01T00:00:00Z".into());
    scenario.forge(left_behind(&scenario, "older", older)).await?;
    // By somebody else's hand, all marks and all; that is foreign, and nobody is bothered.
    let copy: k8s_openapi::api::core::v1::Secret = serde_json::from_value(left_behind(&scenario, "copy", |_| {}))?;
    scenario.secrets().create(&Default::default(), &copy).await?;
    // And one that is surely left behind, to know that all were looked at.
    scenario.forge(left_behind(&scenario, "orphan", |_| {})).await?;

    scenario.until_gone("orphan").await?;
    for (name, words) in [
        ("opaque", "has type \"Opaque\""),
        ("immutable", "is immutable"),
        ("policy", "whether it is to be deleted"),
        ("age", "when its connection was created"),
        ("older", "installed anew since"),
    ] {
        let left = scenario.until_left(words).await?;
        assert_eq!(left.iter().filter(|message| message.contains(words)).count(), 1, "{left:?}");
        assert!(scenario.secrets().get_opt(name).await?.is_some(), "{name}");
    }
    scenario.calls.clear();
    quiet(&scenario).await?;
    assert!(scenario.secrets().get_opt("copy").await?.is_some());
    assert_eq!(scenario.left().await?.len(), 5);

    // What is written anew is looked at anew.
    scenario
        .edit_secret("policy", json!({"metadata": {"annotations": {"regcred.dev/deletion-policy": "Delete"}}}))
        .await?;
    scenario.until_gone("policy").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_connections_that_went_at_once_share_the_looks_at_their_kind() -> Result<()> {
    let mut scenario = Scenario::prepare("many").await?;
    scenario.set_speed(FAST);
    for number in 0..40 {
        scenario.forge(left_behind(&scenario, &format!("orphan-{number}"), |_| {})).await?;
    }
    scenario.start_operator().await?;
    for number in 0..40 {
        scenario.until_gone(&format!("orphan-{number}")).await?;
    }
    quiet(&scenario).await?;
    let asked = scenario.asked();
    let count = |what: &str| asked.iter().filter(|line| *line == what).count();
    assert_eq!((count("delete secrets"), count("get secrets"), count("get registryconnections")), (40, 40, 40));
    assert_eq!(count("get customresourcedefinitions"), 2, "one for 32");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_secrets_from_before_their_kind_was_installed_are_told_in_one_event_and_not_all_looked_at() -> Result<()> {
    let mut scenario = Scenario::prepare("elder").await?;
    scenario.set_speed(FAST);
    for number in 0..40 {
        let older = |secret: &mut Value| {
            secret["metadata"]["annotations"]["regcred.dev/connection-created-at"] = "2001-01-01T00:00:00Z".into();
        };
        scenario.forge(left_behind(&scenario, &format!("older-{number}"), older)).await?;
    }
    scenario.start_operator().await?;
    let left = scenario.until_left("The same is true of 39 more in this namespace.").await?;
    assert_eq!(left.len(), 1, "{left:?}");
    scenario.calls.quiet_for(LONG).await.map_err(|calls| anyhow!("requests: {calls:?}"))?;
    let asked = scenario.asked();
    let count = |what: &str| asked.iter().filter(|line| *line == what).count();
    assert_eq!((count("get secrets"), count("get customresourcedefinitions")), (32, 1));
    assert_eq!(scenario.secrets().list(&Default::default()).await?.items.len(), 40);
    Ok(())
}
