//! Nobody writes `imagePullSecrets`: ServiceAccounts and Pods name the Secrets by themselves.

mod accounts;
mod defaults;
mod foreign;
mod images;
mod leaving;
mod patterns;
mod restart;
mod sidecar;
mod support;
mod trouble;

use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use regcred::api::{ConditionType, RegistryConnection, condition, names::LINKS_ANNOTATION};
use serde_json::{Value, json};
use testenv::eventually;

use crate::scenario::{DEADLINE, PASSWORD, Scenario};

impl Scenario {
    /// Access to the namespace's ServiceAccounts.
    pub fn accounts(&self) -> Api<ServiceAccount> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Creates a ServiceAccount that names these Secrets.
    pub async fn create_account(&self, name: &str, secrets: &[&str]) -> Result<ServiceAccount> {
        let secrets: Vec<Value> = secrets.iter().map(|secret| json!({"name": secret})).collect();
        let account = json!({"metadata": {"name": name}, "imagePullSecrets": secrets});
        Ok(self.accounts().create(&PostParams::default(), &serde_json::from_value(account)?).await?)
    }

    /// Changes one with a merge patch.
    pub async fn edit_account(&self, name: &str, patch: Value) -> Result<ServiceAccount> {
        Ok(self.accounts().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?)
    }

    /// The Secrets that one names, in their order.
    pub async fn named_by(&self, name: &str) -> Result<Vec<String>> {
        Ok(named(&self.accounts().get(name).await?))
    }

    /// Waits until one exists and names exactly these Secrets.
    pub async fn until_named_by(&self, name: &str, secrets: &[&str]) -> Result<ServiceAccount> {
        eventually(format!("ServiceAccount {name} with {secrets:?}"), DEADLINE, async || {
            let Some(account) = self.accounts().get_opt(name).await? else { return Ok(None) };
            if named(&account) == secrets { Ok(Some(account)) } else { bail!("it names {:?}", named(&account)) }
        })
        .await
    }

    /// The usual spec with these fields.
    pub fn spec_with(&self, fields: Value) -> Value {
        let mut spec = self.spec();
        json_patch::merge(&mut spec, &fields);
        spec
    }

    /// Creates a connection with these fields and its login, and waits until it is ready and says this of its links.
    pub async fn linked(&self, name: &str, fields: Value) -> Result<RegistryConnection> {
        self.write_login("login", PASSWORD).await?;
        self.connect(name, self.spec_with(fields)).await?;
        self.ready(name, "True", "LoginProven").await?;
        self.until_linked(name, "True/Linked").await
    }

    /// Waits until it says this of its links.
    pub async fn until_linked(&self, name: &str, wanted: &str) -> Result<RegistryConnection> {
        self.until(name, |now| {
            let is_about_it = now.status.as_ref().map(|it| it.observed_generation) == Some(now.metadata.generation);
            is_about_it && told(now).0 == wanted
        })
        .await
    }

    /// Access to the namespace's Pods.
    pub fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The Secrets that a Pod with this spec would name, if it was created now.
    pub async fn admitted(&self, spec: &Value) -> Result<Vec<String>> {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"generateName": "pod-"}, "spec": spec}))?;
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        let admitted = self.pods().create(&dry_run, &pod).await?;
        let secrets = admitted.spec.unwrap_or_default().image_pull_secrets.unwrap_or_default();
        Ok(secrets.into_iter().map(|reference| reference.name).collect())
    }

    /// Waits until such a Pod would name exactly these.
    pub async fn until_admitted(&self, spec: &Value, secrets: &[&str]) -> Result<()> {
        eventually(format!("a Pod that names {secrets:?}"), DEADLINE, async || {
            let found = self.admitted(spec).await?;
            if found == secrets { Ok(Some(())) } else { bail!("it names {found:?}") }
        })
        .await
    }

    /// How often ServiceAccounts were written by the operator. A write shows before its answer has come.
    pub fn account_writes(&self) -> usize {
        self.calls
            .count(|call| call.is("patch", "serviceaccounts", "") && call.status.is_none_or(|status| status == 200))
    }

    /// How often the operator came too late: somebody had written first.
    pub fn account_conflicts(&self) -> usize {
        self.calls.count(|call| call.is("patch", "serviceaccounts", "") && call.status == Some(409))
    }
}

/// The spec of a Pod with one container of this image.
pub fn pod(image: &str) -> Value {
    json!({"containers": [{"name": "app", "image": image}]})
}

/// The Secrets that an account names, in their order.
pub fn named(account: &ServiceAccount) -> Vec<String> {
    account.image_pull_secrets.iter().flatten().map(|reference| reference.name.clone()).collect()
}

/// What of it is ours, as the annotation says.
pub fn claimed(account: &ServiceAccount) -> Value {
    let text = account.annotations().get(LINKS_ANNOTATION).map_or("null", String::as_str);
    serde_json::from_str(text).unwrap_or(Value::Null)
}

/// What a connection says of its links: status and reason, or `-`, and the message.
pub fn told(connection: &RegistryConnection) -> (String, String) {
    let conditions = connection.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    condition::find(conditions, ConditionType::Linked)
        .map_or_else(|| ("-".into(), String::new()), |it| (format!("{}/{}", it.status, it.reason), it.message.clone()))
}
