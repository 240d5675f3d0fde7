//! Objects as large, and names as long, as the API server lets them be.

use anyhow::{Context as _, Result};
use k8s_openapi::{ByteString, api::core::v1::Event};
use kube::{Api, ResourceExt};
use regcred::api::names::{CONNECTION_LABEL, DOCKER_CONFIG_JSON_KEY};
use serde_json::{Map, Value, json};
use testenv::{certificates::Authority, eventually};

use crate::scenario::{DEADLINE, PASSWORD, Scenario, WRONG};

/// The most bytes that a Secret may hold.
const LARGEST_SECRET: usize = 1024 * 1024;

fn of_length(length: usize) -> String {
    "n".repeat(length)
}

/// A host of 253 characters, with a port.
fn longest_host(index: usize) -> String {
    let label = "h".repeat(63);
    format!("{index}{}.{label}.{label}.{}:5", "h".repeat(62), "h".repeat(61))
}

/// A spec in which every text and list that has a limit has reached it, and the Secrets it reads.
async fn at_every_limit(scenario: &Scenario) -> Result<Value> {
    let (user, password) = (format!("u{}", of_length(252)), format!("p{}", of_length(252)));
    let data = json!({(user.clone()): scenario.namespace, (password.clone()): PASSWORD});
    scenario.write_secret(&of_length(253), "Opaque", data).await?;
    let key = of_length(253);
    let authority = json!({(key.clone()): Authority::new()?.certificate()});
    scenario.write_secret(&format!("c{}", of_length(252)), "Opaque", authority).await?;
    let url = format!("http://{}", scenario.shared.registry.host());
    let url = format!("{url}{}", "/".repeat(512 - url.len()));
    let prefixed = |index: usize| format!("{}.{}/{index}{}", "p".repeat(63), "p".repeat(63), "k".repeat(61));
    let labels: Map<String, Value> = (10..42).map(|index| (prefixed(index), json!("v".repeat(63)))).collect();
    // All annotations of an object together have 256 KiB.
    let annotations: Map<String, Value> = (10..42).map(|index| (prefixed(index), json!("v".repeat(7000)))).collect();
    let host = scenario.shared.registry.host();
    Ok(json!({
        "provider": {"generic": {
            "registryUrl": url, "secretRef": {"name": of_length(253), "usernameKey": user, "passwordKey": password},
            "imageHost": host, "insecure": true, "caRef": {"kind": "Secret", "name": format!("c{}", of_length(252)), "key": key},
            "trustedTokenHosts": (0..8).map(longest_host).collect::<Vec<_>>(),
        }},
        // The schema allows 255; that much has a whole repository's name at the kubelet, host and all.
        "refreshIntervalMinutes": 1440, "repositoryPrefix": of_length(200),
        "test": {"mode": "Required", "timeoutSeconds": 30},
        "secret": {"name": format!("t{}", of_length(252)), "labels": labels, "annotations": annotations},
        "onRejected": "Keep", "deletionPolicy": "Retain",
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_at_every_limit_works_and_its_status_stays_small() -> Result<()> {
    let scenario = Scenario::start("limits").await?;
    let mut spec = at_every_limit(&scenario).await?;
    let name = format!("i{}", of_length(252));
    scenario.connect(&name, spec.clone()).await?;
    let ready = scenario.ready(&name, "True", "LoginProven").await?;
    assert!(serde_json::to_vec(&ready.status)?.len() <= 4096);
    let target = scenario.secrets().get(&format!("t{}", of_length(252))).await?;
    assert!(target.labels().contains_key(CONNECTION_LABEL));
    assert_eq!(target.labels().len(), 32 + 2);

    let repositories: Vec<Value> = (0..8)
        .map(|index| json!({"name": format!("{index}{}", of_length(254)), "reference": "t".repeat(128)}))
        .collect();
    spec["test"]["repositories"] = repositories.into();
    spec["secret"]["name"] = "other".into();
    scenario.connect("with-repositories", spec).await?;
    let told = scenario.ready("with-repositories", "False", "RepositoryNotFound").await?;
    let text = serde_json::to_string(&told.status)?;
    assert!(text.len() <= 4096, "{} bytes: {text}", text.len());
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_with_annotations_of_200_kib_is_one_like_others() -> Result<()> {
    let scenario = Scenario::start("annotated").await?;
    scenario.connected("images").await?;
    scenario.edit("images", json!({"metadata": {"annotations": {"notes": "x".repeat(200 * 1024)}}})).await?;
    scenario.edit("images", json!({"spec": {"secret": {"labels": {"team": "a"}}}})).await?;
    scenario.until_secret("images", |secret| secret.labels().contains_key("team")).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    assert!(!scenario.secrets().get("images").await?.annotations().contains_key("notes"));
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_as_large_as_a_secret_can_be_is_read_and_one_huge_password_refused_in_a_sentence() -> Result<()> {
    let scenario = Scenario::start("large").await?;
    let blob = "b".repeat(LARGEST_SECRET - PASSWORD.len() - scenario.namespace.len());
    let data = json!({"username": scenario.namespace, "password": PASSWORD, "blob": blob});
    scenario.write_secret("login", "Opaque", data).await?;
    scenario.connect("images", scenario.spec()).await?;
    scenario.ready("images", "True", "LoginProven").await?;

    let password = "p".repeat(LARGEST_SECRET - scenario.namespace.len());
    scenario.write_secret("login", "Opaque", json!({"username": scenario.namespace, "password": password})).await?;
    let refused = scenario.until("images", |now| now.status.as_ref().is_some_and(|s| s.last_error.is_some())).await?;
    let text = serde_json::to_string(&refused.status)?;
    println!("{text}");
    assert!(text.len() <= 4096 && !text.contains("pppppp"), "{text}");
    scenario.write_login("login", PASSWORD).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_full_of_foreign_data_is_repaired_in_place_and_keeps_it() -> Result<()> {
    let scenario = Scenario::start("full").await?;
    scenario.connected("images").await?;
    let before = scenario.secrets().get("images").await?;
    let foreign = ByteString(vec![7; 900 * 1024]);
    scenario.edit_secret("images", json!({"data": {"foreign": foreign}})).await?;
    scenario.edit_secret("images", json!({"metadata": {"labels": {(CONNECTION_LABEL): null}}})).await?;
    let repaired = scenario.until_secret("images", |secret| secret.labels().contains_key(CONNECTION_LABEL)).await?;
    scenario.write_login("login", WRONG).await?;
    scenario.ready("images", "False", "InvalidCredentials").await?;
    scenario.shared.registry.set_password(&scenario.namespace, "rotated")?;
    scenario.write_login("login", "rotated").await?;
    scenario.ready("images", "True", "LoginProven").await?;
    let after = scenario.secrets().get("images").await?;
    assert_eq!((&before.metadata.uid, &before.metadata.uid), (&repaired.metadata.uid, &after.metadata.uid));
    let data = after.data.unwrap_or_default();
    assert_eq!(data.get("foreign"), Some(&foreign));
    assert_ne!(data.get(DOCKER_CONFIG_JSON_KEY), before.data.unwrap_or_default().get(DOCKER_CONFIG_JSON_KEY));
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn events_reach_the_longest_names_and_repeats_are_counted_on_one() -> Result<()> {
    let scenario = Scenario::start("names").await?;
    let name = format!("{}.{}-{}", of_length(200), of_length(35), of_length(16));
    assert_eq!(name.len(), 253);
    scenario.connected(&name).await?;
    for _ in 0..2 {
        scenario.write_login("login", WRONG).await?;
        scenario.ready(&name, "False", "InvalidCredentials").await?;
        scenario.write_login("login", PASSWORD).await?;
        scenario.ready(&name, "True", "LoginProven").await?;
    }
    let api: Api<Event> = Api::namespaced(scenario.client.clone(), &scenario.namespace);
    let count = async |reason: &str| -> Result<Option<i32>> {
        let events = api.list(&Default::default()).await?.items;
        let mut found = events.iter().filter(|event| event.reason.as_deref() == Some(reason));
        let event = found.next().context("none")?;
        assert!(found.next().is_none(), "more than one event {reason}");
        assert_eq!(event.involved_object.name.as_ref(), Some(&name));
        assert!(event.involved_object.uid.is_some() && event.message.is_some());
        assert_eq!(event.reporting_component.as_deref(), Some("regcred"));
        Ok(event.series.as_ref().and_then(|series| series.count))
    };
    eventually("two refusals on one event", DEADLINE, async || {
        Ok((count("InvalidCredentials").await? == Some(2)).then_some(()))
    })
    .await?;
    eventually("three proofs on one event", DEADLINE, async || {
        Ok((count("LoginProven").await? == Some(3)).then_some(()))
    })
    .await?;
    scenario.finish().await
}
