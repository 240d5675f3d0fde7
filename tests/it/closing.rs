//! How every scenario ends: another pass over everything writes nothing, every status that was seen passes the rules of
//! GitOps tools, which agree on it, and every Secret that was written passes the kubelet's keyring.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject},
    runtime::{WatchStreamExt, watcher},
};
use regcred::{
    api::{
        ClusterRegistryConnection, ConditionType, RegistryConnection, condition,
        names::{DOCKER_CONFIG_JSON_KEY, DOCKER_CONFIG_JSON_TYPE},
    },
    controller::stored::Sent,
    domain::reference::Kind,
};
use serde_json::Value;
use testenv::{Snapshot, eventually};

use crate::{
    gitops::{agree, script},
    scenario::{DEADLINE, PASSWORD, Scenario, Shared, secure_if_used},
};

/// Every form of every connection that a watch showed in the course of a scenario.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<Vec<Value>>>);

impl Seen {
    /// Begins to watch; ends with the runtime of the test.
    pub fn watch(connections: Api<DynamicObject>) -> Self {
        let seen = Self::default();
        let list = seen.clone();
        tokio::spawn(async move {
            let events = watcher(connections, watcher::Config::default()).default_backoff().applied_objects();
            events
                .for_each(|event| {
                    let object = event.ok().and_then(|object| serde_json::to_value(object).ok());
                    list.0.lock().unwrap_or_else(PoisonError::into_inner).extend(object);
                    futures::future::ready(())
                })
                .await;
        });
        seen
    }

    /// Every form of one connection.
    pub fn of(&self, name: &str) -> Vec<RegistryConnection> {
        let is_it = |object: &Value| object["metadata"]["name"] == name;
        self.all().into_iter().filter(is_it).filter_map(|object| serde_json::from_value(object).ok()).collect()
    }

    /// All of them, in the order of their coming.
    pub fn all(&self) -> Vec<Value> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What connections of the cluster said in the course of a test. However that ends, all of it passes the judges.
pub struct Told(&'static Shared, Seen);

impl Told {
    /// Begins to listen.
    pub fn listen(shared: &'static Shared, client: Client) -> Self {
        let kind = ApiResource::erase::<ClusterRegistryConnection>(&());
        Self(shared, Seen::watch(Api::all_with(client, &kind)))
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if !std::thread::panicking()
            && let Err(error) = self.0.judge(Kind::Cluster, &self.1)
        {
            panic!("{error:#}");
        }
    }
}

/// The name of an image that a Secret is meant to serve.
fn image_of(secret: &Secret) -> Result<String> {
    let data = secret.data.clone().unwrap_or_default();
    let config: Value = serde_json::from_slice(&data.get(DOCKER_CONFIG_JSON_KEY).context("no docker config")?.0)?;
    let keys: Vec<&String> = config["auths"].as_object().context("no auths")?.keys().collect();
    let [key] = keys.as_slice() else { bail!("{} entries instead of one", keys.len()) };
    Ok(match key.as_str() {
        "https://index.docker.io/v1/" => "docker.io/library/app:v1".into(),
        key => format!("{}/app:v1", key.trim_end_matches('/')),
    })
}

/// A refused login is tried again after this time.
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_secs(30 * 60);

/// However a scenario ends: the operator has locked nobody out.
impl Drop for Scenario {
    fn drop(&mut self) {
        if !std::thread::panicking()
            && let Err(error) = self.is_not_locked_out()
        {
            panic!("{error:#}");
        }
    }
}

impl Shared {
    /// Every status of connections of a kind that was seen passes the judges, and they agree on it; how many of them were about
    /// the spec beside them.
    pub fn judge(&self, kind: Kind, seen: &Seen) -> Result<usize> {
        let (mut judged, script) = (0, script()?);
        for mut object in seen.all() {
            object["apiVersion"] = "regcred.dev/v1alpha1".into();
            object["kind"] = kind.as_str().into();
            let judgement = self.conditions.judge(&object)?;
            // Where the schema has no default, kstatus takes an object that nobody has looked at for a good one.
            if object["status"].is_object() {
                let health = self.health.run(&script, &object)?;
                let is_suspended = object["spec"]["suspend"] == true;
                let kstatus = &judgement.kstatus;
                ensure!(
                    agree(kstatus, &health.status, is_suspended),
                    "{kstatus}, but {health:?}: {}",
                    object["status"]
                );
            }
            let connection = match kind {
                Kind::Namespaced => serde_json::from_value::<Sent<RegistryConnection>>(object.clone())?.stored,
                Kind::Cluster => serde_json::from_value::<Sent<ClusterRegistryConnection>>(object.clone())?.stored,
            };
            let Some(status) = connection.status() else { continue };
            // Between a user's edit and our next word, the status is about the spec before.
            if status.observed_generation != connection.meta().generation {
                continue;
            }
            ensure!(judgement.violations.is_empty(), "{:?}: {}", judgement.violations, object["status"]);
            let expected = if condition::is_true(&status.conditions, ConditionType::Stalled) {
                "Failed"
            } else if condition::is_true(&status.conditions, ConditionType::Ready) {
                "Current"
            } else {
                "InProgress"
            };
            ensure!(judgement.kstatus == expected, "kstatus is {}: {}", judgement.kstatus, object["status"]);
            judged += 1;
        }
        Ok(judged)
    }
}

impl Scenario {
    /// Every wrong password that the user wrote failed at most once, and once more for each half hour; so a registry that
    /// locks accounts after five failures in ten minutes locks nobody who does not enter five.
    fn is_not_locked_out(&self) -> Result<()> {
        let passwords = self.passwords.lock().unwrap_or_else(PoisonError::into_inner);
        let entered = passwords.iter().filter(|password| *password != PASSWORD).count();
        let passed = self.began.elapsed() * self.speed();
        let entered = entered + self.tried_again;
        let allowed = entered * (1 + usize::try_from(passed.as_secs() / PAUSE_AFTER_REFUSAL.as_secs())?);
        let failed = self.failed_logins()?;
        ensure!(failed <= allowed, "{failed} failed logins with {entered} wrong passwords in {} s", passed.as_secs());
        let is_locked = secure_if_used().is_some_and(|secure| secure.tokens.is_locked(&self.namespace));
        ensure!(!is_locked, "the token server has locked the account");
        Ok(())
    }

    /// The closing checks; see the module.
    pub async fn finish(mut self) -> Result<()> {
        let kinds = [ApiResource::erase::<RegistryConnection>(&())];
        let (before, told) = (Snapshot::take(&self.client, &self.namespace, &kinds).await?, self.statuses().await?);
        self.stop_operator().await?;
        self.calls.clear();
        self.start_operator().await?;
        self.until_all_looked_at().await?;
        let after = Snapshot::take(&self.client, &self.namespace, &kinds).await?;
        let differences = before.differences(&after);
        if !differences.is_empty() {
            bail!("a second pass wrote something: {differences:?}; before: {told}; after: {}", self.statuses().await?);
        }
        self.judge().await?;
        self.stop_operator().await
    }

    /// What the connections say, for messages.
    async fn statuses(&self) -> Result<String> {
        let kind = ApiResource::erase::<RegistryConnection>(&());
        let connections: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.namespace, &kind);
        let connections = connections.list(&Default::default()).await?;
        let statuses = connections.items.iter().map(|connection| connection.data["status"].to_string());
        Ok(statuses.collect::<Vec<_>>().join(" "))
    }

    /// Waits until a fresh operator has looked at every connection: its metrics count the passes.
    pub async fn until_all_looked_at(&self) -> Result<()> {
        let connections = self.connections().list_metadata(&Default::default()).await?.items.len();
        eventually("every connection to be looked at", DEADLINE, async || {
            let passes = self.metric("regcred_reconciles_total{result=\"completed\"}").await?;
            Ok((passes >= connections as f64).then_some(()))
        })
        .await
    }

    /// Every status that was seen, and every Secret that is there, pass the judges.
    pub async fn judge(&self) -> Result<()> {
        let judged = self.shared.judge(Kind::Namespaced, &self.seen)?;
        ensure!(judged > 0, "no status was seen");
        for secret in self.secrets().list(&Default::default()).await? {
            let is_target = secret.type_.as_deref() == Some(DOCKER_CONFIG_JSON_TYPE);
            if is_target
                && secret.labels().get("app.kubernetes.io/managed-by").is_some_and(|manager| manager == "regcred")
            {
                let image = image_of(&secret)?;
                let found = self.shared.keyring.credentials(&image, std::slice::from_ref(&secret))?;
                ensure!(
                    found.len() == 1,
                    "the kubelet finds {} logins for {image} in {}",
                    found.len(),
                    secret.name_any()
                );
            }
        }
        Ok(())
    }
}
