//! One connection for many namespaces: an operator that sees a whole cluster.

mod asked;
mod bad;
mod counts;
mod crowd;
mod faults;
mod foreign;
mod hook;
mod issued;
mod links;
mod newcomers;
mod pace;
mod repairs;
mod selection;
mod sources;
mod tenants;
mod tenfold;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use regcred::api::{
    ClusterRegistryConnection, ConditionType, RegistryConnection, condition, names::CONNECTION_LABEL, status::Targets,
};
use serde_json::{Value, json};
use testenv::eventually;
use tokio::sync::MutexGuard;

use crate::{
    closing::Told,
    scenario::{DEADLINE, PASSWORD, Scenario},
    shared::wide,
};

/// How many requests of a test are under way at once.
const CONCURRENCY: usize = 16;

/// An operator that sees a whole cluster, with a namespace of its own in which the sources are.
pub struct Wide {
    pub scenario: Scenario,
    _told: Told,
    _guard: MutexGuard<'static, ()>,
}

impl Wide {
    /// A cluster without connections, and without anything that is left of earlier ones.
    pub async fn prepare(name: &str) -> Result<Self> {
        let (shared, guard) = wide().await?;
        let client = shared.plane.client()?;
        let old: Api<ClusterRegistryConnection> = Api::all(client.clone());
        old.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
        let old: Api<RegistryConnection> = Api::all(client.clone());
        for connection in old.list(&ListParams::default()).await? {
            let namespaced: Api<RegistryConnection> =
                Api::namespaced(client.clone(), &connection.namespace().unwrap_or_default());
            namespaced.delete(&connection.name_any(), &DeleteParams::default()).await?;
        }
        let written: Api<Secret> = Api::all(client.clone());
        let written = written.list_metadata(&ListParams::default().labels(CONNECTION_LABEL)).await?;
        stream::iter(written)
            .map(|secret| {
                let secrets: Api<Secret> = Api::namespaced(client.clone(), &secret.namespace().unwrap_or_default());
                async move { secrets.delete(&secret.name_any(), &DeleteParams::default()).await }
            })
            .buffer_unordered(CONCURRENCY)
            .try_collect::<Vec<_>>()
            .await?;
        let mut scenario = Scenario::prepare_on(shared, name).await?;
        scenario.confined = &[];
        scenario.arguments.namespace.clone_from(&scenario.namespace);
        Ok(Self { scenario, _told: Told::listen(shared, client), _guard: guard })
    }

    /// The same with an operator and a source.
    pub async fn start(name: &str) -> Result<Self> {
        let mut this = Self::prepare(name).await?;
        this.write_source("login", PASSWORD).await?;
        this.scenario.start_operator().await?;
        Ok(this)
    }

    /// Writes a source as it must be.
    pub async fn write_source(&self, name: &str, password: &str) -> Result<()> {
        self.scenario.write_login(name, password).await?;
        let host = self.scenario.shared.registry.host();
        let metadata = json!({
            "labels": {"regcred.dev/source": "true"}, "annotations": {"regcred.dev/registry-host": host},
        });
        self.scenario.edit_secret(name, json!({"metadata": metadata})).await?;
        Ok(())
    }

    /// The label by which this test's namespaces are found.
    pub fn labels(&self) -> Value {
        json!({"test": self.scenario.namespace})
    }

    /// The name of one of this test's namespaces.
    pub fn namespace(&self, number: usize) -> String {
        format!("{}-{number:04}", self.scenario.namespace)
    }

    /// Creates namespaces with these numbers and this test's label.
    pub async fn create_namespaces(&self, numbers: std::ops::Range<usize>) -> Result<()> {
        stream::iter(numbers)
            .map(|number| self.create_namespace(number, self.labels()))
            .buffer_unordered(CONCURRENCY)
            .try_collect::<Vec<_>>()
            .await?;
        Ok(())
    }

    /// Creates one with other labels.
    pub async fn create_namespace(&self, number: usize, labels: Value) -> Result<String> {
        let namespace: Namespace =
            serde_json::from_value(json!({"metadata": {"name": self.namespace(number), "labels": labels}}))?;
        Ok(self.namespaces().create(&PostParams::default(), &namespace).await?.name_any())
    }

    /// Changes the labels of one.
    pub async fn label(&self, number: usize, labels: Value) -> Result<()> {
        let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
        self.namespaces().patch(&self.namespace(number), &PatchParams::default(), &patch).await?;
        Ok(())
    }

    pub fn namespaces(&self) -> Api<Namespace> {
        Api::all(self.scenario.client.clone())
    }

    pub fn secrets(&self, number: usize) -> Api<Secret> {
        Api::namespaced(self.scenario.client.clone(), &self.namespace(number))
    }

    /// The spec of a connection that selects this test's namespaces by their label.
    pub fn spec(&self) -> Value {
        let mut spec = self.scenario.spec();
        spec["visibility"] = "Selected".into();
        spec["namespaceSelector"] = json!({"matchLabels": self.labels()});
        spec
    }

    pub fn connections(&self) -> Api<ClusterRegistryConnection> {
        Api::all(self.scenario.client.clone())
    }

    /// Creates a connection of the cluster.
    pub async fn connect(&self, name: &str, spec: Value) -> Result<ClusterRegistryConnection> {
        let connection = serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec}))?;
        Ok(self.connections().create(&PostParams::default(), &connection).await?)
    }

    /// Changes it with a merge patch.
    pub async fn edit(&self, name: &str, patch: Value) -> Result<ClusterRegistryConnection> {
        Ok(self.connections().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?)
    }

    /// Waits until the connection is as wanted.
    pub async fn until(
        &self,
        name: &str,
        wanted: impl Fn(&ClusterRegistryConnection) -> bool,
    ) -> Result<ClusterRegistryConnection> {
        eventually(format!("connection {name}"), DEADLINE, async || {
            let connection = self.connections().get(name).await?;
            if wanted(&connection) {
                return Ok(Some(connection));
            }
            bail!("{}", serde_json::to_string(&connection.status)?)
        })
        .await
    }

    /// Waits until it says this of Ready, and that so many of so many targets are current.
    pub async fn ready(
        &self,
        name: &str,
        (status, reason): (&str, &str),
        (current, desired): (i32, i32),
    ) -> Result<ClusterRegistryConnection> {
        self.until(name, |now| {
            let is_about_it =
                now.status.as_ref().map(|status| status.observed_generation) == Some(now.metadata.generation);
            let targets = targets(now);
            is_about_it
                && tell(now, ConditionType::Ready) == format!("{status}/{reason}")
                && (targets.current, targets.desired) == (current, desired)
        })
        .await
    }

    /// The Secrets of this name in this test's namespaces, by namespace.
    pub async fn delivered(&self, name: &str) -> Result<BTreeMap<String, Secret>> {
        let all: Api<Secret> = Api::all(self.scenario.client.clone());
        let found = all.list(&ListParams::default().fields(&format!("metadata.name={name}"))).await?;
        let prefix = format!("{}-", self.scenario.namespace);
        let found = found.into_iter().map(|secret| (secret.namespace().unwrap_or_default(), secret));
        Ok(found.filter(|(namespace, _)| namespace.starts_with(&prefix)).collect())
    }

    /// Waits until exactly these of this test's namespaces have the Secret.
    pub async fn until_delivered_to(&self, name: &str, numbers: &[usize]) -> Result<()> {
        let wanted: Vec<String> = numbers.iter().map(|number| self.namespace(*number)).collect();
        eventually(format!("{name} in {wanted:?}"), DEADLINE, async || {
            let found: Vec<String> = self.delivered(name).await?.into_keys().collect();
            if found == wanted { Ok(Some(())) } else { bail!("it is in {found:?}") }
        })
        .await
    }

    /// Waits until the operator has nothing under way.
    pub async fn at_rest(&self) -> Result<()> {
        eventually("the operator to be at rest", DEADLINE, async || {
            Ok((self.scenario.metric("regcred_reconciles_under_way").await? == 0.0).then_some(()))
        })
        .await
    }
}

/// The value of a condition as `True/Reason`, or `-` if it is absent.
pub fn tell(connection: &ClusterRegistryConnection, kind: ConditionType) -> String {
    let conditions = connection.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    condition::find(conditions, kind).map_or_else(|| "-".into(), |found| format!("{}/{}", found.status, found.reason))
}

/// The message of a condition.
pub fn message(connection: &ClusterRegistryConnection, kind: ConditionType) -> Result<String> {
    let conditions = connection.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    Ok(condition::find(conditions, kind).context("no such condition")?.message.clone())
}

/// How far delivery is.
pub fn targets(connection: &ClusterRegistryConnection) -> Targets {
    connection.status.as_ref().and_then(|status| status.targets.clone()).unwrap_or_default()
}
