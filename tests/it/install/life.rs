//! The life of a release: installed, upgraded, rolled back, uninstalled, installed again.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, CustomResourceExt, Resource, ResourceExt,
    api::{DeleteParams, ListParams},
};
use regcred::api::RegistryConnection;
use testenv::eventually;

use super::cluster::Cluster;
use crate::{scenario::DEADLINE, shared::CHART};

#[tokio::test(flavor = "multi_thread")]
async fn installed_upgraded_rolled_back_uninstalled_and_installed_again_it_keeps_every_secret() -> Result<()> {
    let cluster = Cluster::start().await?;
    let notes = cluster.install().await?;
    ensure!(notes.contains("linked by ServiceAccounts and by their images"), "{notes}");
    cluster.connect("images").await?;
    let started = Instant::now();
    let pod = cluster.pod("regcred-1").await?;
    cluster.ready("images").await?;
    println!("Ready {} ms after the operator's start", started.elapsed().as_millis());
    let delivered = cluster.delivered().await?;
    ensure!(delivered.0.len() == 1, "{delivered:?}");

    pod.end().await?;
    cluster.helm(&["upgrade", "regcred", CHART, "--reuse-values", "--set", "operator.logLevel=debug"]).await?;
    let pod = cluster.pod("regcred-2").await?;
    pod.running.ready().await?;
    cluster.ready("images").await?;
    ensure!(cluster.delivered().await? == delivered);

    pod.end().await?;
    cluster.helm(&["rollback", "regcred", "1"]).await?;
    let pod = cluster.pod("regcred-3").await?;
    cluster.connect("more").await?;
    cluster.ready("more").await?;
    let delivered = cluster.delivered().await?;

    // As it is done, with the operator running until its Deployment goes.
    cluster.helm(&["uninstall", "regcred"]).await?;
    pod.end().await?;
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    ensure!(definitions.get_opt(RegistryConnection::crd_name()).await?.is_some(), "the kinds went");
    cluster.ready("images").await?;
    ensure!(cluster.delivered().await? == delivered);

    cluster.install().await?;
    let pod = cluster.pod("regcred-4").await?;
    pod.running.ready().await?;
    cluster.ready("images").await?;
    ensure!(cluster.delivered().await? == delivered);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_that_are_deleted_while_it_runs_take_no_secret_along_and_nothing_holds_them_up() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.install().await?;
    let pod = cluster.pod("regcred-1").await?;
    cluster.connect("images").await?;
    cluster.ready("images").await?;
    let delivered = cluster.delivered().await?;
    let held: Vec<_> = delivered.0.iter().map(Resource::meta).chain(delivered.1.iter().map(Resource::meta)).collect();
    ensure!(held.iter().all(|meta| meta.finalizers.is_none() && meta.owner_references.is_none()), "{held:?}");
    let connection = cluster.connections().get("images").await?;
    ensure!(connection.finalizers().is_empty());

    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    for definition in definitions.list(&ListParams::default()).await? {
        definitions.delete(&definition.name_any(), &DeleteParams::default()).await?;
    }
    eventually("the kinds to go", DEADLINE, async || {
        Ok(definitions.list(&ListParams::default()).await?.items.is_empty().then_some(()))
    })
    .await?;
    pod.running.ready().await.context("ready without its kinds")?;
    ensure!(cluster.delivered().await? == delivered);
    Ok(())
}
