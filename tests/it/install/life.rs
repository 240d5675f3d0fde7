//! The life of a release: installed, upgraded, rolled back, uninstalled, installed again.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::{
    api::core::v1::{Secret, ServiceAccount},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, CustomResourceExt, Resource, ResourceExt,
    api::{DeleteParams, ListParams},
};
use regcred::api::RegistryConnection;
use serde_json::json;
use testenv::{ControlPlane, Helm, Registry, eventually, namespace};

use super::pod::Pod;
use crate::{
    scenario::{DEADLINE, PASSWORD, is_ready},
    shared::{CHART, OPERATOR_NAMESPACE as NAMESPACE},
};

/// A cluster with a release, and one user of it.
struct Cluster {
    plane: ControlPlane,
    client: Client,
    helm: Helm,
    registry: Registry,
    shop: String,
}

impl Cluster {
    async fn start() -> Result<Self> {
        let (plane, registry, helm) = tokio::try_join!(ControlPlane::start(), Registry::start(), Helm::find())?;
        let client = plane.client()?;
        let shop = namespace(&client, "shop").await?;
        registry.set_password(&shop, PASSWORD)?;
        let helm = helm.with(&plane.kubeconfig_path());
        Ok(Self { client, helm, registry, shop, plane })
    }

    /// Runs Helm's command on the release.
    async fn helm(&self, command: &[&str]) -> Result<String> {
        let of_the_release = ["--namespace", NAMESPACE];
        self.helm.run(&[command, &of_the_release].concat()).await
    }

    async fn install(&self) -> Result<String> {
        self.helm(&["install", "regcred", CHART, "--create-namespace", "--set", "operator.allowLoopback=true"]).await
    }

    async fn pod(&self, name: &str) -> Result<Pod> {
        Pod::start(&self.plane, NAMESPACE, "regcred", name).await
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.shop)
    }

    fn connections(&self) -> Api<RegistryConnection> {
        Api::namespaced(self.client.clone(), &self.shop)
    }

    async fn connect(&self, name: &str) -> Result<()> {
        let login: Secret = serde_json::from_value(json!({
            "metadata": {"name": format!("{name}-login")},
            "stringData": {"username": self.shop, "password": PASSWORD},
        }))?;
        self.secrets().create(&Default::default(), &login).await?;
        let connection: RegistryConnection = serde_json::from_value(json!({
            "apiVersion": "regcred.dev/v1alpha1", "kind": "RegistryConnection",
            "metadata": {"name": name},
            "spec": {
                "provider": {"generic": {
                    "registryUrl": format!("http://{}", self.registry.host()),
                    "secretRef": {"name": format!("{name}-login")},
                }},
                "serviceAccounts": [format!("{name}-account")],
                "autoLinkPattern": format!("{}/{name}/*", self.registry.host()),
            },
        }))?;
        self.connections().create(&Default::default(), &connection).await?;
        let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": format!("{name}-account")}}))?;
        Api::namespaced(self.client.clone(), &self.shop).create(&Default::default(), &account).await?;
        Ok(())
    }

    async fn ready(&self, name: &str) -> Result<()> {
        eventually(format!("connection {name}"), DEADLINE, async || {
            let connection = self.connections().get(name).await?;
            let linked = connection.status.as_ref().and_then(|status| status.linked_service_accounts) == Some(1);
            ensure!(linked && is_ready(&connection, "True", "LoginProven"), "{:?}", connection.status);
            Ok(Some(()))
        })
        .await
    }

    /// The Secrets of the connections and the links, as they must stay.
    async fn delivered(&self) -> Result<(Vec<Secret>, Vec<ServiceAccount>)> {
        let ours = ListParams::default().labels("app.kubernetes.io/managed-by=regcred");
        let secrets = self.secrets().list(&ours).await?.items;
        let accounts = Api::namespaced(self.client.clone(), &self.shop).list(&ListParams::default()).await?.items;
        Ok((secrets, accounts))
    }
}

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

    drop(pod);
    cluster.helm(&["upgrade", "regcred", CHART, "--reuse-values", "--set", "operator.logLevel=debug"]).await?;
    let pod = cluster.pod("regcred-2").await?;
    pod.running.ready().await?;
    cluster.ready("images").await?;
    ensure!(cluster.delivered().await? == delivered);

    drop(pod);
    cluster.helm(&["rollback", "regcred", "1"]).await?;
    let pod = cluster.pod("regcred-3").await?;
    cluster.connect("more").await?;
    cluster.ready("more").await?;
    let delivered = cluster.delivered().await?;

    // As it is done, with the operator running until its Deployment goes.
    cluster.helm(&["uninstall", "regcred"]).await?;
    drop(pod);
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
