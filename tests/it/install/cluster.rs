//! A cluster with a release, and one user of it.

use anyhow::{Result, ensure};
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Secret, ServiceAccount},
};
use kube::{Api, Client, api::ListParams};
use regcred::api::RegistryConnection;
use serde_json::{Value, json};
use testenv::{ControlPlane, Helm, Registry, eventually, namespace};

use super::{pod::Pod, wire::Wire};
use crate::{
    scenario::{DEADLINE, PASSWORD, is_ready},
    shared::{CHART, OPERATOR_NAMESPACE as NAMESPACE},
};

/// See the module.
pub struct Cluster {
    pub plane: ControlPlane,
    pub client: Client,
    helm: Helm,
    registry: Registry,
    /// The user's namespace.
    pub shop: String,
}

impl Cluster {
    pub async fn start() -> Result<Self> {
        let (plane, registry, helm) = tokio::try_join!(ControlPlane::start(), Registry::start(), Helm::find())?;
        let client = plane.client()?;
        let shop = namespace(&client, "shop").await?;
        registry.set_password(&shop, PASSWORD)?;
        let helm = helm.with(&plane.kubeconfig_path());
        Ok(Self { client, helm, registry, shop, plane })
    }

    /// One with the chart installed as it is.
    pub async fn installed() -> Result<Self> {
        let cluster = Self::start().await?;
        cluster.install().await?;
        Ok(cluster)
    }

    /// Runs Helm's command on the release.
    pub async fn helm(&self, command: &[&str]) -> Result<String> {
        let of_the_release = ["--namespace", NAMESPACE];
        self.helm.run(&[command, &of_the_release].concat()).await
    }

    /// Installs the chart as it is.
    pub async fn install(&self) -> Result<String> {
        self.install_from(CHART).await
    }

    /// Installs another form of the chart.
    pub async fn install_from(&self, chart: &str) -> Result<String> {
        self.install_as(chart, NAMESPACE, &[]).await
    }

    /// Installs the chart in a namespace, with these values.
    pub async fn install_in(&self, namespace: &str, values: &[&str]) -> Result<String> {
        self.install_as(CHART, namespace, values).await
    }

    async fn install_as(&self, chart: &str, namespace: &str, values: &[&str]) -> Result<String> {
        let install = ["install", "regcred", chart, "--create-namespace", "--namespace", namespace];
        let values = [&["operator.allowLoopback=true"], values].concat();
        let values = values.iter().flat_map(|value| ["--set", value]);
        self.helm.run(&install.into_iter().chain(values).collect::<Vec<_>>()).await
    }

    /// Starts one of its Pods.
    pub async fn pod(&self, name: &str) -> Result<Pod> {
        self.pod_in(NAMESPACE, "regcred", name).await
    }

    /// The same with more in its environment.
    pub async fn pod_with(&self, name: &str, more: &[(&str, &str)]) -> Result<Pod> {
        Pod::start(&self.plane, (NAMESPACE, "regcred"), name, more, None).await
    }

    /// Starts one that reaches the API server by this wire.
    pub async fn pod_by(&self, wire: &Wire, name: &str) -> Result<Pod> {
        Pod::start(&self.plane, (NAMESPACE, "regcred"), name, &[], Some(wire)).await
    }

    /// Starts a Pod of a Deployment.
    pub async fn pod_in(&self, namespace: &str, deployment: &str, name: &str) -> Result<Pod> {
        Pod::start(&self.plane, (namespace, deployment), name, &[], None).await
    }

    /// Which Pod leads; none if the lease was given back.
    pub async fn leader(&self) -> Result<Option<String>> {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), NAMESPACE);
        let holder = leases.get_opt("regcred").await?.and_then(|lease| lease.spec?.holder_identity);
        Ok(holder.filter(|holder| !holder.is_empty()))
    }

    /// Waits until this Pod leads.
    pub async fn led_by(&self, name: &str) -> Result<()> {
        eventually(format!("{name} to lead"), DEADLINE, async || {
            let leader = self.leader().await?;
            ensure!(leader.as_deref() == Some(name), "{leader:?} leads");
            Ok(Some(()))
        })
        .await
    }

    pub fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.shop)
    }

    pub fn connections(&self) -> Api<RegistryConnection> {
        Api::namespaced(self.client.clone(), &self.shop)
    }

    /// Makes a connection that links an account and images.
    pub async fn connect(&self, name: &str) -> Result<()> {
        self.connect_with(name, json!({})).await
    }

    /// The same with other fields.
    pub async fn connect_with(&self, name: &str, fields: Value) -> Result<()> {
        let login: Secret = serde_json::from_value(json!({
            "metadata": {"name": format!("{name}-login")},
            "stringData": {"username": self.shop, "password": PASSWORD},
        }))?;
        self.secrets().create(&Default::default(), &login).await?;
        let mut connection = json!({
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
        });
        json_patch::merge(&mut connection["spec"], &fields);
        let connection: RegistryConnection = serde_json::from_value(connection)?;
        self.connections().create(&Default::default(), &connection).await?;
        let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": format!("{name}-account")}}))?;
        Api::namespaced(self.client.clone(), &self.shop).create(&Default::default(), &account).await?;
        Ok(())
    }

    pub async fn ready(&self, name: &str) -> Result<()> {
        eventually(format!("connection {name}"), DEADLINE, async || {
            let connection = self.connections().get(name).await?;
            let linked = connection.status.as_ref().and_then(|status| status.linked_service_accounts) == Some(1);
            ensure!(linked && is_ready(&connection, "True", "LoginProven"), "{:?}", connection.status);
            Ok(Some(()))
        })
        .await
    }

    /// The Secrets of the connections and the links, as they must stay.
    pub async fn delivered(&self) -> Result<(Vec<Secret>, Vec<ServiceAccount>)> {
        let ours = ListParams::default().labels("app.kubernetes.io/managed-by=regcred");
        let secrets = self.secrets().list(&ours).await?.items;
        let accounts = Api::namespaced(self.client.clone(), &self.shop).list(&ListParams::default()).await?.items;
        Ok((secrets, accounts))
    }
}
