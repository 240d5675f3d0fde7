//! The end of the CustomResourceDefinition is the end of all connections, and of no Secret.

use std::time::Duration;

use anyhow::{Result, anyhow};
use k8s_openapi::{
    api::core::v1::{Namespace, Secret},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, CustomResourceExt, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
    client::ClientBuilder,
};
use regcred::api::RegistryConnection;
use serde_json::{Value, json};
use testenv::{Calls, eventually, namespace};

use crate::{
    another::{Another, uid},
    linking::pod,
    scenario::{DEADLINE, Scenario, install_crds},
    shared::{Shared, apart},
};

/// A minute passes in half a second.
const FAST: u32 = 120;

/// Deletes the CustomResourceDefinition and waits until it is gone.
pub async fn uninstall(shared: &Shared) -> Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(shared.plane.client()?);
    definitions.delete(RegistryConnection::crd_name(), &DeleteParams::default()).await?;
    // The API server serves the kind for a moment longer than its definition is there.
    let connections: Api<RegistryConnection> = Api::all(shared.plane.client()?);
    eventually("the kind to go", DEADLINE, async || {
        let is_defined = definitions.get_opt(RegistryConnection::crd_name()).await?.is_some();
        let is_served = connections.list_metadata(&ListParams::default()).await.is_ok();
        Ok((!is_defined && !is_served).then_some(()))
    })
    .await
}

/// A connection that is made anew adopts its Secret, and takes it along when it goes.
async fn goes_on(scenario: &Scenario, delivered: &Secret) -> Result<()> {
    scenario.connect("images", scenario.spec()).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    let adopted = scenario
        .until_secret("images", |secret| secret.metadata.resource_version != delivered.metadata.resource_version)
        .await?;
    assert_eq!(uid(&adopted), uid(delivered));
    scenario.disconnect("images").await?;
    scenario.until_gone("images").await
}

fn removals(scenario: &Scenario) -> usize {
    scenario.calls.count(|call| call.is("delete", "secrets", ""))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_deleted_and_installed_again_while_the_operator_runs_takes_no_secret_along() -> Result<()> {
    let (shared, _guard) = apart().await?;
    let mut scenario = Scenario::prepare_on(shared, "running").await?;
    scenario.set_speed(FAST);
    scenario.start_operator().await?;
    scenario.linked("images", json!({"isDefault": true, "autoLinkPattern": "r.example/*"})).await?;
    let delivered = scenario.secrets().get("images").await?;
    let links = linked(&scenario).await?;
    uninstall(shared).await?;
    scenario.until_left("is not installed").await?;
    assert_eq!(scenario.secrets().get("images").await?, delivered);

    install_crds(&scenario.client).await?;
    scenario.until_left("installed anew since").await?;
    assert_eq!(scenario.secrets().get("images").await?, delivered);
    assert_eq!(removals(&scenario), 0);
    // Ten minutes pass for the operator.
    let quiet = scenario.calls.quiet_for(Duration::from_secs(5)).await;
    quiet.map_err(|calls| anyhow!("requests about what is settled: {calls:?}"))?;
    assert_eq!(linked(&scenario).await?, links, "nobody was unlinked");
    scenario.until_admitted(&pod("r.example/app"), &["images"]).await?;
    goes_on(&scenario, &delivered).await?;
    // The one that was made anew asks for no links, and so unlinks what its predecessor had: it is the same connection.
    scenario.until_named_by("default", &[]).await?;
    scenario.stop_operator().await
}

/// What the default account and the table name, and for whom.
async fn linked(scenario: &Scenario) -> Result<Value> {
    let account = scenario.accounts().get("default").await?;
    let table = scenario.config_maps().get("regcred-autolink").await?;
    Ok(json!([account.image_pull_secrets, account.annotations(), table.data, table.annotations()]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_deleted_while_nobody_ran_takes_no_secret_along() -> Result<()> {
    let (shared, _guard) = apart().await?;
    let mut scenario = Scenario::prepare_on(shared, "stopped").await?;
    scenario.set_speed(FAST);
    scenario.start_operator().await?;
    scenario.connected("images").await?;
    let delivered = scenario.secrets().get("images").await?;
    scenario.stop_operator().await?;
    uninstall(shared).await?;

    // Started without the kind, it knows of no connection, and touches nothing.
    let calls = Calls::new();
    let other = Another::start(&scenario, scenario.another_client(&calls)?, FAST).await?;
    let quiet = calls.quiet_for(Duration::from_secs(3)).await;
    // Its tries to list are lists and watches.
    let loud: Vec<_> = quiet.err().unwrap_or_default().into_iter().filter(|call| call.request.verb != "list").collect();
    assert!(loud.is_empty(), "{loud:?}");
    assert!(!other.context.index.is_synced());
    assert_eq!(scenario.secrets().get("images").await?, delivered);
    other.stop().await?;

    // Installed again before the start, it says nothing about what was before.
    install_crds(&scenario.client).await?;
    scenario.start_operator().await?;
    scenario.until_left("installed anew since").await?;
    assert_eq!(scenario.secrets().get("images").await?, delivered);
    assert_eq!(removals(&scenario), 0);
    goes_on(&scenario, &delivered).await?;
    scenario.stop_operator().await
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_applied_again_under_other_targets_take_no_secret_of_before_along() -> Result<()> {
    let (shared, _guard) = apart().await?;
    let mut scenario = Scenario::prepare_on(shared, "applied").await?;
    scenario.start_operator().await?;
    let before = scenario.connected("images").await?.metadata.creation_timestamp;
    let delivered = scenario.secrets().get("images").await?;
    scenario.stop_operator().await?;
    // Creation times are whole seconds.
    let definitions: Api<CustomResourceDefinition> = Api::all(shared.plane.client()?);
    eventually("a kind that is younger", DEADLINE, async || {
        uninstall(shared).await?;
        install_crds(&scenario.client).await?;
        let now = definitions.get(RegistryConnection::crd_name()).await?.metadata.creation_timestamp;
        Ok((now > before).then_some(()))
    })
    .await?;

    let mut spec = scenario.spec();
    spec["secret"] = json!({"name": "new"});
    scenario.connect("images", spec).await?;
    scenario.start_operator().await?;
    scenario.ready("images", "True", "LoginProven").await?;
    assert!(scenario.secrets().get_opt("new").await?.is_some());
    scenario.until_left("installed anew since").await?;
    let quiet = scenario.calls.quiet_for(Duration::from_secs(2)).await;
    quiet.map_err(|calls| anyhow!("requests about what is settled: {calls:?}"))?;
    assert_eq!(scenario.secrets().get("images").await?, delivered);
    assert_eq!(removals(&scenario), 0);
    scenario.stop_operator().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_in_another_namespace_is_left_alone_and_the_end_of_a_namespace_is_no_storm() -> Result<()> {
    let (shared, _guard) = apart().await?;
    let scenario = Scenario::prepare_on(shared, "copies").await?;
    // It sees the whole cluster.
    let calls = Calls::new();
    let client = ClientBuilder::try_from(shared.operator.clone())?.with_layer(&calls).build();
    let operator = Another::start(&scenario, client, FAST).await?;
    operator.synced().await?;
    scenario.write_login("login", crate::scenario::PASSWORD).await?;
    scenario.connect("images", scenario.spec()).await?;
    let original = eventually("the Secret", DEADLINE, async || Ok(scenario.secrets().get_opt("images").await?)).await?;

    let elsewhere = namespace(&scenario.client, "elsewhere").await?;
    let copies: Api<Secret> = Api::namespaced(scenario.client.clone(), &elsewhere);
    let mut copy = original.clone();
    copy.metadata.namespace = Some(elsewhere.clone());
    (copy.metadata.uid, copy.metadata.resource_version) = (None, None);
    let by_us = PostParams { field_manager: Some("regcred".into()), ..PostParams::default() };
    let copy = copies.create(&by_us, &copy).await?;

    scenario.disconnect("images").await?;
    scenario.until_gone("images").await?;
    assert_eq!(copies.get("images").await?, copy);

    // A namespace with connections goes like any other.
    for name in ["one", "two", "three"] {
        scenario.connect(name, scenario.spec()).await?;
        scenario.ready_of_another(name).await?;
    }
    calls.clear();
    let namespaces: Api<Namespace> = Api::all(scenario.client.clone());
    namespaces.delete(&scenario.namespace, &DeleteParams::default()).await?;
    eventually("the namespace to go", DEADLINE, async || {
        Ok(namespaces.get_opt(&scenario.namespace).await?.is_none().then_some(()))
    })
    .await?;
    // What was under way when it went may still ask.
    eventually("silence about a namespace that is gone", DEADLINE, async || {
        let quiet = calls.quiet_for(Duration::from_secs(3)).await;
        quiet.map(Some).map_err(|calls| anyhow!("requests: {calls:?}"))
    })
    .await?;
    let all = calls.all();
    assert!(all.len() <= 40, "{} requests: {all:?}", all.len());
    assert_eq!(copies.get("images").await?.name_any(), "images");
    operator.stop().await
}
