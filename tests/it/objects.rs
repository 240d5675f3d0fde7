//! What users do in a scenario: create, edit and delete objects.

use std::sync::PoisonError;

use anyhow::Result;
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use regcred::api::RegistryConnection;
use serde_json::{Value, json};
use testenv::Registry;

use crate::{
    scenario::{PASSWORD, Scenario, Secure},
    shared::open_tables,
};

impl Scenario {
    /// Writes a Secret with a login as users do.
    pub async fn write_login(&self, name: &str, password: &str) -> Result<Secret> {
        self.write_secret(name, "Opaque", json!({"username": self.namespace, "password": password})).await
    }

    /// Creates a Secret or replaces its data.
    pub async fn write_secret(&self, name: &str, type_: &str, data: Value) -> Result<Secret> {
        if let Some(password) = data["password"].as_str() {
            self.passwords.lock().unwrap_or_else(PoisonError::into_inner).insert(password.to_owned());
        }
        let data: std::collections::BTreeMap<String, ByteString> =
            serde_json::from_value::<serde_json::Map<String, Value>>(data)?
                .into_iter()
                .map(|(key, value)| (key, ByteString(value.as_str().unwrap_or_default().as_bytes().to_vec())))
                .collect();
        let secret: Secret = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Secret", "type": type_,
            "metadata": {"name": name}, "data": data,
        }))?;
        let secrets = self.secrets();
        Ok(match secrets.get_opt(name).await? {
            Some(old) => {
                let mut new = secret;
                new.metadata.resource_version = old.resource_version();
                secrets.replace(name, &PostParams::default(), &new).await?
            }
            None => secrets.create(&PostParams::default(), &secret).await?,
        })
    }

    /// The spec of a connection to the shared registry that reads the Secret `login`.
    pub fn spec(&self) -> Value {
        json!({"provider": {"generic": {
            "registryUrl": format!("http://{}", self.shared.registry.host()), "secretRef": {"name": "login"},
        }}})
    }

    /// Creates a connection.
    pub async fn connect(&self, name: &str, spec: Value) -> Result<RegistryConnection> {
        let connection: RegistryConnection = serde_json::from_value(json!({
            "apiVersion": "regcred.dev/v1alpha1", "kind": "RegistryConnection",
            "metadata": {"name": name, "namespace": self.namespace}, "spec": spec,
        }))?;
        Ok(self.connections().create(&PostParams::default(), &connection).await?)
    }

    /// Changes a connection with a merge patch.
    pub async fn edit(&self, name: &str, patch: Value) -> Result<RegistryConnection> {
        Ok(self.connections().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?)
    }

    /// Changes a Secret with a merge patch.
    pub async fn edit_secret(&self, name: &str, patch: Value) -> Result<Secret> {
        Ok(self.secrets().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?)
    }

    /// A connection that is ready, with its login Secret, and nothing counted yet.
    pub async fn connected(&self, name: &str) -> Result<RegistryConnection> {
        self.write_login("login", PASSWORD).await?;
        self.connect(name, self.spec()).await?;
        self.ready(name, "True", "LoginProven").await
    }

    /// Deletes a Secret.
    pub async fn delete_secret(&self, name: &str) -> Result<()> {
        self.secrets().delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// A connection that is ready at a registry of its own, which a test may pause.
    pub async fn connected_elsewhere(&self, name: &str, change: impl FnOnce(&mut Value)) -> Result<Registry> {
        let registry = self.registry_elsewhere().await?;
        self.write_login("login", PASSWORD).await?;
        let mut spec = self.spec_at(&format!("http://{}", registry.host()));
        change(&mut spec);
        self.connect(name, spec).await?;
        self.ready(name, "True", "LoginProven").await?;
        Ok(registry)
    }

    /// A registry of its own, with the scenario's account.
    pub async fn registry_elsewhere(&self) -> Result<Registry> {
        let registry = Registry::start().await?;
        registry.set_password(&self.namespace, PASSWORD)?;
        Ok(registry)
    }

    /// Writes a ConfigMap with an authority's certificate.
    pub async fn write_authority(&self, name: &str, pem: &str) -> Result<()> {
        let map: ConfigMap = serde_json::from_value(json!({"metadata": {"name": name}, "data": {"ca.crt": pem}}))?;
        let parameters = PatchParams { field_manager: Some("test".into()), force: true, ..PatchParams::default() };
        let patch = Patch::Apply(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": map.data,
        }));
        self.config_maps().patch(name, &parameters, &patch).await?;
        Ok(())
    }

    /// Lets anybody write the namespace's table.
    pub async fn open_tables(&self) -> Result<()> {
        open_tables(&self.client, &self.namespace).await
    }

    /// Access to the namespace's ConfigMaps.
    pub fn config_maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// An account at the registry with a token server, with its Secret and the ConfigMap `authority`; the spec that goes
    /// with it.
    pub async fn account_at(&self, secure: &Secure) -> Result<Value> {
        secure.tokens.set_password(&self.namespace, PASSWORD);
        self.write_login("login", PASSWORD).await?;
        self.write_authority("authority", secure.authority.certificate()).await?;
        Ok(json!({"provider": {"generic": {
            "registryUrl": secure.registry.url(), "secretRef": {"name": "login"},
            "caRef": {"kind": "ConfigMap", "name": "authority"}, "trustedTokenHosts": [secure.token_host()],
        }}}))
    }

    /// The usual spec for another registry.
    pub fn spec_at(&self, url: &str) -> Value {
        let mut spec = self.spec();
        spec["provider"]["generic"]["registryUrl"] = url.into();
        spec
    }
}
