//! The namespace built from scratch, and what must be the same there.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::{ResourceExt, api::DeleteParams};
use regcred::{
    api::{
        ConditionType, RegistryConnection,
        names::{CONNECTION_ANNOTATION, CONNECTION_LABEL, DOCKER_CONFIG_JSON_KEY, FIELD_MANAGER, MANAGED_BY_LABEL},
    },
    domain::reference::ConnectionReference,
};
use serde_json::Value;
use testenv::eventually;

use super::{
    SPEED, World,
    model::{CONNECTIONS, SOURCES, Source},
};
use crate::{
    faults::state::{connection_value, login, plain, secret_value},
    scenario::{DEADLINE, Scenario, tell},
};

/// What came of the same specs and sources in a namespace without a past.
pub struct Reference {
    /// Conditions and error of each connection: Ready, CredentialsValid, the code.
    told: BTreeMap<String, (String, String, String)>,
    /// Each ready connection as a whole, with its Secret.
    whole: BTreeMap<String, (String, String)>,
}

impl Reference {
    /// Builds the namespace, and waits until every connection has come to its end.
    pub async fn build(world: &World) -> Result<Self> {
        let World { registry, model, .. } = world;
        let mut scenario = Scenario::prepare("walk-scratch").await?;
        scenario.set_speed(SPEED);
        registry.set_password(&scenario.namespace, &model.password())?;
        model.apply(&scenario, registry).await?;
        scenario.start_operator().await?;
        let connections = eventually("the namespace built from scratch", DEADLINE, async || {
            let connections = scenario.connections().list(&Default::default()).await?.items;
            for (name, wish) in &model.connections {
                let connection = connections.iter().find(|connection| connection.name_any() == *name);
                let connection = connection.context("no connection")?;
                let ready = tell(connection, ConditionType::Ready);
                let expected = match model.sources.get(wish.source) {
                    Some(Source::Right) => "True/LoginProven",
                    Some(Source::Wrong(_) | Source::Old) => "False/InvalidCredentials",
                    Some(Source::Absent) | None => "False/SecretNotFound",
                };
                ensure!(ready == expected, "{name} is {ready} instead of {expected}");
            }
            Ok(Some(connections))
        })
        .await?;
        let secrets = scenario.secrets().list(&Default::default()).await?.items;
        let mut reference = Self { told: BTreeMap::new(), whole: BTreeMap::new() };
        for connection in &connections {
            let name = connection.name_any();
            reference.told.insert(name.clone(), told(connection));
            if told(connection).0.starts_with("True") {
                let whole = whole(connection, &secrets, &scenario, &registry.host(), &connections)?;
                reference.whole.insert(name, whole);
            }
        }
        scenario.stop_operator().await?;
        Ok(reference)
    }

    /// Says what is different.
    pub async fn compare(&self, world: &World) -> Result<()> {
        let World { scenario, registry, model, .. } = world;
        let connections = scenario.connections().list(&Default::default()).await?.items;
        let secrets = scenario.secrets().list(&Default::default()).await?.items;
        ensure!(connections.len() == self.told.len(), "{} connections", connections.len());
        for connection in &connections {
            let name = connection.name_any();
            let observed = connection.status.as_ref().and_then(|status| status.observed_generation);
            ensure!(observed == connection.metadata.generation, "{name}: the status is about another spec");
            let expected = self.told.get(&name).context("a connection too many")?;
            ensure!(told(connection) == *expected, "{name}: {expected:?} expected, not {:?}", told(connection));
            if let Some(expected) = self.whole.get(&name) {
                let found = whole(connection, &secrets, scenario, &registry.host(), &connections)?;
                ensure!(found == *expected, "{name}:\n{expected:?} expected, not\n{found:?}");
            }
        }
        for secret in secrets.iter().filter(|secret| !SOURCES.contains(&secret.name_any().as_str())) {
            let name = secret.name_any();
            let owner = CONNECTIONS.iter().find(|owner| is_of(secret, scenario, owner));
            let owner = owner.with_context(|| format!("Secret {name} is of no connection"))?;
            ensure!(!logins(secret).contains("wrong"), "Secret {name} holds a login that was never accepted");
            // What lacks one of its marks, or any trace in managedFields, is not surely ours, and stays when it is no longer written.
            let has_labels = [MANAGED_BY_LABEL, CONNECTION_LABEL].iter().all(|key| secret.labels().contains_key(*key));
            let fields = secret.metadata.managed_fields.iter().flatten();
            let is_written_by_us =
                fields.filter_map(|entry| entry.manager.as_deref()).any(|name| name == FIELD_MANAGER);
            if !is_written_by_us || !has_labels || !secret.annotations().contains_key(CONNECTION_ANNOTATION) {
                continue;
            }
            let wish = model
                .connections
                .get(owner)
                .with_context(|| format!("Secret {name} is of nobody: {:?}", secret.metadata))?;
            let is_target = wish.secret.as_deref().unwrap_or(owner) == name;
            let is_ready = self.whole.contains_key(*owner);
            ensure!(
                is_target || !is_ready,
                "Secret {name} is left behind: {}",
                serde_json::to_string(&secret.metadata)?
            );
        }
        Ok(())
    }
}

/// Deletes the Secrets that connections cannot write because a step took away what they are known by, as the hint says. Any
/// other conflict is a wrong one, and stays.
pub async fn heal(world: &World) -> Result<()> {
    for connection in world.scenario.connections().list(&Default::default()).await? {
        if tell(&connection, ConditionType::Ready) == "False/TargetConflict" {
            let name = connection.status.and_then(|status| status.secret_name).unwrap_or_default();
            if world.stripped.contains(&name) {
                drop(world.scenario.secrets().delete(&name, &DeleteParams::default()).await);
            }
        }
    }
    Ok(())
}

fn told(connection: &RegistryConnection) -> (String, String, String) {
    let code = connection.status.as_ref().and_then(|status| status.last_error.as_ref()).map(|error| error.code);
    (
        tell(connection, ConditionType::Ready),
        tell(connection, ConditionType::CredentialsValid),
        code.map(|code| code.to_string()).unwrap_or_default(),
    )
}

/// A connection and its Secret, without what others have added to that, and without the inputs: a touched source is
/// recorded with the next verdict.
fn whole(
    connection: &RegistryConnection,
    secrets: &[Secret],
    scenario: &Scenario,
    host: &str,
    connections: &[RegistryConnection],
) -> Result<(String, String)> {
    let mut value = connection_value(connection, secrets)?;
    if let Some(value) = value.as_object_mut() {
        value.remove("observedInputs");
    }
    let name = connection.status.as_ref().and_then(|status| status.secret_name.clone()).unwrap_or_default();
    let secret = secrets.iter().find(|secret| secret.name_any() == name).context("no Secret")?;
    let mut secret = secret_value(secret)?;
    for map in ["labels", "annotations", "data"] {
        if let Some(map) = secret[map].as_object_mut() {
            map.retain(|key, _| !key.starts_with("other"));
        }
    }
    Ok((plain(value, scenario, host, connections), plain(secret, scenario, host, connections)))
}

fn is_of(secret: &Secret, scenario: &Scenario, connection: &str) -> bool {
    let reference = ConnectionReference::namespaced(&scenario.namespace, connection).to_string();
    match secret.annotations().get(CONNECTION_ANNOTATION) {
        Some(owner) => *owner == reference,
        // One whose annotations were taken away keeps its name.
        None => secret.name_any().starts_with(connection),
    }
}

fn logins(secret: &Secret) -> String {
    let data = secret.data.clone().unwrap_or_default();
    let config = data.get(DOCKER_CONFIG_JSON_KEY).map(|config| config.0.clone()).unwrap_or_default();
    let config: Value = serde_json::from_slice(&config).unwrap_or_default();
    config["auths"].as_object().into_iter().flat_map(|auths| auths.values()).map(login).collect()
}
