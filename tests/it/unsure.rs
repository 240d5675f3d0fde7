//! Whatever a cache, a proxy or a missing right makes of the absence of a connection: nothing is removed.

use std::time::Duration;

use anyhow::{Result, anyhow};
use k8s_openapi::api::{
    core::v1::ServiceAccount,
    rbac::v1::{ClusterRole, ClusterRoleBinding},
};
use kube::Api;
use serde_json::{Value, json};
use testenv::Calls;

use crate::{
    another::{Another, answering, asked, uid},
    scenario::{Scenario, get},
};

/// A minute passes in a second.
const FAST: u32 = 60;

fn removals(calls: &Calls) -> usize {
    calls.count(|call| call.is("delete", "secrets", ""))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_whose_lists_show_no_connection_removes_nothing() -> Result<()> {
    let scenario = Scenario::start("stale").await?;
    scenario.connected("images").await?;
    let delivered = scenario.secrets().get("images").await?;
    let calls = Calls::new();
    let other = Another::start(&scenario, scenario.client_that_sees_no_connections(&calls)?, FAST).await?;
    other.synced().await?;
    testenv::eventually("a live look for the connection", crate::scenario::DEADLINE, async || {
        Ok((calls.count(|call| call.is("get", "registryconnections", "")) > 0).then_some(()))
    })
    .await?;
    calls.quiet_for(Duration::from_secs(2)).await.map_err(|calls| anyhow!("requests: {calls:?}"))?;
    assert_eq!(asked(&calls), ["get secrets", "get registryconnections"]);
    assert_eq!(scenario.secrets().get("images").await?, delivered);
    assert_eq!(scenario.left().await?, [""; 0], "nothing to tell: it is there");
    other.stop().await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_404_that_does_not_name_the_connection_removes_nothing() -> Result<()> {
    let scenario = Scenario::start("plain").await?;
    scenario.connected("images").await?;
    let delivered = scenario.secrets().get("images").await?;
    let calls = Calls::new();
    let client = scenario.another_client(&calls)?;
    let client = answering(
        client,
        |method, uri| method == "GET" && uri.path().ends_with("/registryconnections/images"),
        404,
        "404 page not found\n",
    );
    let other = Another::start(&scenario, client, FAST).await?;
    other.synced().await?;
    let mut scenario = scenario;
    // The scenario's own would remove it.
    scenario.stop_operator().await?;
    scenario.disconnect("images").await?;
    let left = scenario.until_left("is not installed").await?;
    assert_eq!(left.len(), 1, "{left:?}");
    // It is asked again after a pause of five minutes, and told no second time.
    let looks = || calls.count(|call| call.is("get", "secrets", ""));
    let first = looks();
    testenv::eventually("another look", crate::scenario::DEADLINE, async || Ok((looks() > first + 1).then_some(())))
        .await?;
    assert_eq!(scenario.left().await?.len(), 1);
    assert_eq!(removals(&calls), 0);
    assert_eq!(scenario.secrets().get("images").await?, delivered);
    other.stop().await
}

/// Lets an operator act under these rights.
async fn act_with(scenario: &mut Scenario, rules: Value) -> Result<()> {
    let name = format!("{}-limited", scenario.namespace);
    let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": "limited"}}))?;
    let accounts: Api<ServiceAccount> = Api::namespaced(scenario.client.clone(), &scenario.namespace);
    accounts.create(&Default::default(), &account).await?;
    let role: ClusterRole = serde_json::from_value(json!({"metadata": {"name": name}, "rules": rules}))?;
    let binding: ClusterRoleBinding = serde_json::from_value(json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "namespace": scenario.namespace, "name": "limited"}],
    }))?;
    Api::<ClusterRoleBinding>::all(scenario.client.clone()).create(&Default::default(), &binding).await?;
    Api::<ClusterRole>::all(scenario.client.clone()).create(&Default::default(), &role).await?;
    scenario.act_as("limited").await
}

fn rules(secrets: &[&str], connections: &[&str], kinds: &[&str]) -> Value {
    json!([
        {"apiGroups": [""], "resources": ["secrets"], "verbs": secrets},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch", "get"]},
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["regcred.dev"], "resources": ["registryconnections"], "verbs": connections},
        {"apiGroups": ["regcred.dev"], "resources": ["clusterregistryconnections"], "verbs": ["list", "watch"]},
        {"apiGroups": ["regcred.dev"], "resources": ["registryconnections/status"], "verbs": ["patch"]},
        {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
        {
            "apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"],
            "resourceNames": ["registryconnections.regcred.dev"], "verbs": kinds,
        },
    ])
}

const ALL: [&str; 7] = ["list", "watch", "get", "create", "update", "patch", "delete"];

async fn stays_without(name: &str, rules: Value, words: &str) -> Result<()> {
    let mut scenario = Scenario::prepare(name).await?;
    scenario.set_speed(FAST);
    act_with(&mut scenario, rules).await?;
    scenario.connected("images").await?;
    let delivered = scenario.secrets().get("images").await?;
    scenario.disconnect("images").await?;
    let left = scenario.until_left(words).await?;
    let looks = scenario.calls.count(|call| call.is("get", "registryconnections", ""));
    testenv::eventually("another look", crate::scenario::DEADLINE, async || {
        Ok((scenario.calls.count(|call| call.is("get", "registryconnections", "")) > looks).then_some(()))
    })
    .await?;
    assert_eq!(scenario.left().await?, left, "told once");
    assert_eq!(left.len(), 1);
    assert_eq!(scenario.secrets().get("images").await?, delivered);
    let (status, _) = get(scenario.metrics_addr.unwrap(), "/readyz").await?;
    assert_eq!(status, 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_delete_secrets_they_stay_and_that_is_told_once() -> Result<()> {
    stays_without("nodelete", rules(&ALL[..5], &["list", "watch", "get"], &["get"]), "may not delete it").await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_look_for_connections_their_secrets_stay() -> Result<()> {
    stays_without("noget", rules(&ALL, &["list", "watch"], &["get"]), "may not read its connection").await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_look_at_the_kind_secrets_stay() -> Result<()> {
    stays_without(
        "nokind",
        rules(&ALL, &["list", "watch", "get"], &["list"]),
        "may not read the CustomResourceDefinition",
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_delete_secrets_a_rename_leaves_the_old_one_and_is_told_once() -> Result<()> {
    let mut scenario = Scenario::prepare("norename").await?;
    scenario.set_speed(FAST);
    act_with(&mut scenario, rules(&ALL[..5], &["list", "watch", "get"], &["get"])).await?;
    scenario.connected("images").await?;
    let delivered = scenario.secrets().get("images").await?;
    scenario.edit("images", json!({"spec": {"secret": {"name": "new"}}})).await?;
    let left = scenario.until_left("writes another one now: the operator may not delete it").await?;
    scenario.edit("images", json!({"spec": {"secret": {"labels": {"a": "b"}}}})).await?;
    scenario.until_secret("new", |secret| secret.metadata.labels.as_ref().is_some_and(|l| l.contains_key("a"))).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    assert_eq!(scenario.left().await?, left);
    assert_eq!(left.len(), 1);
    assert_eq!(uid(&scenario.secrets().get("images").await?), uid(&delivered));
    scenario.finish().await
}
