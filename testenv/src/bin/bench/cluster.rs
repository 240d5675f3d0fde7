//! What users and other programs do in the cluster: namespaces, connections, Secrets. By the administrator.

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::floor::CONCURRENCY;
use crate::operator::NAMESPACE;
use crate::stage::{LOGIN, REGISTRY, Stage};

/// The connection of the cluster, and its Secrets.
pub const CONNECTION: &str = "platform-images";

/// The plural names of both kinds.
pub const CLUSTER: &str = "clusterregistryconnections";
pub const NAMESPACED: &str = "registryconnections";

/// What the names of the connections of namespaces begin with, and of their Secrets.
pub const IMAGES: &str = "team-images-";

/// How many connections a namespace has.
pub const EACH: usize = 10;

/// The Secret with the access to the provider, in the operator's namespace.
const ACCESS: &str = "platform-access";

/// The Secret with the login, in every namespace with connections.
const SOURCE: &str = "login";

/// The longest there is, so that no refresh comes in between that nobody asked for.
const MINUTES: u32 = 1440;

/// What the API token may do.
const SCOPES: &[&str] = &["registry:read", "registry:update"];

/// The annotation that asks for a renewal.
const REFRESH: &str = "regcred.dev/refresh-requested-at";

impl Stage {
    /// The name of a namespace that the connection of the cluster serves.
    pub fn team(number: usize) -> String {
        format!("team-{number:05}")
    }

    /// Creates such namespaces, so many at the same time.
    pub async fn create_teams(&self, numbers: std::ops::Range<usize>, at_once: usize) -> Result<()> {
        let all = stream::iter(numbers).map(|number| self.create_namespace(Self::team(number), true));
        all.buffer_unordered(at_once).try_collect().await
    }

    /// Creates a namespace, which the connection of the cluster serves or not.
    pub async fn create_namespace(&self, name: String, is_served: bool) -> Result<()> {
        let labels = if is_served { json!({"images": "platform"}) } else { json!({}) };
        let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}}))?;
        Api::all(self.client.clone()).create(&PostParams::default(), &namespace).await.context("make a namespace")?;
        Ok(())
    }

    /// Writes the access to the provider, marked as a source.
    pub async fn write_access(&self) -> Result<()> {
        let url = self.ocean.api_url();
        let host = url.split_once("://").map_or(url.as_str(), |(_, host)| host);
        let metadata = json!({
            "name": ACCESS, "labels": {"regcred.dev/source": "true"}, "annotations": {"regcred.dev/registry-host": host},
        });
        let object = json!({"metadata": metadata, "stringData": {"token": self.ocean.add_token(SCOPES)}});
        self.write_secret(NAMESPACE, object).await
    }

    /// Creates a Secret.
    pub async fn write_secret(&self, namespace: &str, object: Value) -> Result<()> {
        let secret: Secret = serde_json::from_value(object)?;
        self.secrets(namespace).create(&PostParams::default(), &secret).await.context("write a Secret")?;
        Ok(())
    }

    /// Creates the connection of the cluster.
    pub async fn connect_cluster(&self) -> Result<()> {
        let provider = json!({"digitalocean": {
            "registryName": REGISTRY, "apiUrl": self.ocean.api_url(), "secretRef": {"name": ACCESS},
        }});
        let spec = json!({
            "provider": provider, "visibility": "Selected", "namespaceSelector": {"matchLabels": {"images": "platform"}},
            "maxTargets": 100_000, "refreshIntervalMinutes": MINUTES,
        });
        let object = connection("ClusterRegistryConnection", CONNECTION, spec);
        self.cluster_connections().create(&PostParams::default(), &object).await.context("create the connection")?;
        Ok(())
    }

    /// Creates a namespace with a login and so many connections.
    pub async fn create_tenant(&self, name: String, count: usize) -> Result<()> {
        self.create_namespace(name.clone(), false).await?;
        let login = json!({"username": LOGIN.0, "password": LOGIN.1});
        self.write_secret(&name, json!({"metadata": {"name": SOURCE}, "stringData": login})).await?;
        let spec = json!({
            "provider": {"generic": {"registryUrl": self.registry.url(), "secretRef": {"name": SOURCE}}},
            "refreshIntervalMinutes": MINUTES,
        });
        for number in 0..count {
            let object = connection("RegistryConnection", &format!("{IMAGES}{number}"), spec.clone());
            let connections = Api::namespaced_with(self.client.clone(), &name, &kind("RegistryConnection"));
            connections.create(&PostParams::default(), &object).await.context("create a connection")?;
        }
        Ok(())
    }

    /// Asks for a renewal; no two requests may be the same.
    pub async fn request_renewal(&self, request: &str) -> Result<()> {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {REFRESH: request}}}));
        self.cluster_connections().patch(CONNECTION, &PatchParams::default(), &patch).await.context("ask to renew")?;
        Ok(())
    }

    /// How many targets hold the credential, as the status says; none while it speaks of another generation or is not ready.
    pub async fn told_current(&self) -> Result<Option<u64>> {
        let connection = self.cluster_connections().get_status(CONNECTION).await.context("read the status")?;
        let status = &connection.data["status"];
        let is_about_it = status["observedGeneration"].as_i64() == connection.metadata.generation;
        Ok(status["targets"]["current"].as_u64().filter(|_| is_about_it && is_ready(status)))
    }

    /// How many connections of namespaces are ready.
    pub async fn ready_connections(&self) -> Result<usize> {
        let all: Api<DynamicObject> = Api::all_with(self.client.clone(), &kind("RegistryConnection"));
        let all = all.list(&ListParams::default()).await.context("list the connections")?;
        Ok(all.iter().filter(|connection| is_ready(&connection.data["status"])).count())
    }

    /// The Secrets of a namespace.
    pub fn secrets(&self, namespace: &str) -> Api<Secret> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Deletes the connection of the cluster and all ledgers, as if there had never been one.
    pub async fn forget_cluster(&self) -> Result<()> {
        self.cluster_connections()
            .delete(CONNECTION, &DeleteParams::default())
            .await
            .context("delete the connection")?;
        let secrets = self.secrets(NAMESPACE);
        for ledger in secrets.list_metadata(&ListParams::default()).await.context("list the ledgers")? {
            if ledger.name_any() != ACCESS {
                secrets.delete(&ledger.name_any(), &DeleteParams::default()).await.context("delete a ledger")?;
            }
        }
        self.ocean.credentials().iter().for_each(|one| self.ocean.revoke_credential(&one.name));
        Ok(())
    }

    /// Deletes a namespace and waits until it is gone.
    pub async fn delete_namespace(&self, name: &str) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces.delete(name, &DeleteParams::default()).await.context("delete a namespace")?;
        let since = std::time::Instant::now();
        while namespaces.get_opt(name).await.context("look after a namespace")?.is_some() {
            self.is_in_time(since, "the end of a namespace")?;
            tokio::time::sleep(crate::stage::POLL).await;
        }
        Ok(())
    }

    fn cluster_connections(&self) -> Api<DynamicObject> {
        Api::all_with(self.client.clone(), &kind("ClusterRegistryConnection"))
    }
}

/// Does something for all of them, for as many at the same time as the operator writes.
pub async fn each<T>(all: impl IntoIterator<Item = T>, work: impl AsyncFn(T) -> Result<()>) -> Result<()> {
    let work = &work;
    let all = stream::iter(all).map(|one| async move { work(one).await });
    all.buffer_unordered(CONCURRENCY).try_collect().await
}

/// A kind of connections.
pub fn kind(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("regcred.dev", "v1alpha1", kind))
}

/// A connection of a kind.
pub fn connection(of_kind: &str, name: &str, spec: Value) -> DynamicObject {
    DynamicObject::new(name, &kind(of_kind)).data(json!({"spec": spec}))
}

fn is_ready(status: &Value) -> bool {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}
