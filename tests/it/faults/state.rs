//! What a namespace looks like, apart from names, times and versions that differ from run to run.

use std::collections::BTreeMap;

use anyhow::Result;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use regcred::{
    api::{
        RegistryConnection,
        names::{CONNECTION_CREATED_ANNOTATION, DOCKER_CONFIG_JSON_KEY, REVISION_ANNOTATION},
    },
    domain::reference::ConnectionReference,
};
use serde_json::{Value, json};

use crate::scenario::Scenario;

/// What the source and the objects of others are called; they are no part of the state.
pub const OF_OTHERS: [&str; 3] = ["login", "foreign", "copy"];

/// Every connection and every Secret that is not of others, by kind and name.
pub type State = BTreeMap<String, String>;

/// Takes the state. `host` is where the registry is reached.
pub async fn state(scenario: &Scenario, host: &str) -> Result<State> {
    let secrets = scenario.secrets().list(&Default::default()).await?.items;
    let connections = scenario.connections().list(&Default::default()).await?.items;
    let mut state = State::new();
    for secret in secrets.iter().filter(|secret| !OF_OTHERS.contains(&secret.name_any().as_str())) {
        state.insert(
            format!("Secret {}", secret.name_any()),
            plain(secret_value(secret)?, scenario, host, &connections),
        );
    }
    if let Some(account) = scenario.accounts().get_opt("default").await? {
        let value = json!([account.image_pull_secrets.unwrap_or_default(), account.metadata.annotations]);
        state.insert("the default account".into(), plain(without_times(value), scenario, host, &connections));
    }
    if let Some(table) = scenario.config_maps().get_opt("regcred-autolink").await? {
        let value = json!([table.data, table.metadata.labels, table.metadata.annotations]);
        state.insert("the table".into(), plain(without_times(value), scenario, host, &connections));
    }
    for connection in &connections {
        let value = connection_value(connection, &secrets)?;
        state.insert(format!("connection {}", connection.name_any()), plain(value, scenario, host, &connections));
    }
    Ok(state)
}

/// The same with one time of creation for all connections.
fn without_times(mut value: Value) -> Value {
    for part in value.as_array_mut().into_iter().flatten() {
        if let Some(text) = part.get("regcred.dev/links").and_then(Value::as_str) {
            let mut links: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_str(text).unwrap_or_default();
            links.values_mut().flat_map(|holders| holders.values_mut()).for_each(|created| *created = "a time".into());
            part["regcred.dev/links"] = json!(links).to_string().into();
        }
        if part.as_object().is_some_and(serde_json::Map::is_empty) {
            *part = Value::Null;
        }
    }
    value
}

/// One line for each object that differs.
pub fn differences(expected: &State, found: &State) -> Vec<String> {
    let names = expected.keys().chain(found.keys().filter(|name| !expected.contains_key(*name)));
    let lines = names.filter(|name| expected.get(*name) != found.get(*name)).map(|name| {
        let show = |state: &State| state.get(name).cloned().unwrap_or_else(|| "absent".into());
        format!("{name}: expected {}, found {}", show(expected), show(found))
    });
    lines.collect()
}

/// The login of an entry of a docker config: user, colon, password.
pub fn login(entry: &Value) -> String {
    let decoded = STANDARD.decode(entry["auth"].as_str().unwrap_or_default()).unwrap_or_default();
    String::from_utf8_lossy(&decoded).into_owned()
}

/// A Secret as a value.
pub fn secret_value(secret: &Secret) -> Result<Value> {
    let mut annotations = secret.annotations().clone();
    for (key, present) in [(REVISION_ANNOTATION, "a revision"), (CONNECTION_CREATED_ANNOTATION, "a time")] {
        annotations.entry(key.to_owned()).and_modify(|value| *value = present.to_owned());
    }
    let mut data = BTreeMap::new();
    for (key, value) in secret.data.iter().flatten() {
        let mut shown = Value::String(String::from_utf8_lossy(&value.0).into_owned());
        if key == DOCKER_CONFIG_JSON_KEY {
            shown = serde_json::from_slice(&value.0)?;
            for entry in shown["auths"].as_object_mut().into_iter().flat_map(|auths| auths.values_mut()) {
                entry["auth"] = login(entry).into();
            }
        }
        data.insert(key.clone(), shown);
    }
    Ok(json!({"type": secret.type_, "labels": secret.labels(), "annotations": annotations, "data": data}))
}

/// A connection as a value.
pub fn connection_value(connection: &RegistryConnection, secrets: &[Secret]) -> Result<Value> {
    let status = connection.status.clone().unwrap_or_default();
    let find = |name: &str| secrets.iter().find(|secret| secret.name_any() == name);
    let revision = status.credential.as_ref().map(|credential| credential.revision.clone());
    let target = status.secret_name.as_deref().and_then(find);
    let carried = target.and_then(|secret| secret.annotations().get(REVISION_ANNOTATION).cloned());
    let inputs: Vec<Value> = status
        .observed_inputs
        .iter()
        .map(|input| {
            let source = find(&input.name);
            let is_present = source.is_some_and(|source| {
                source.metadata.uid.as_deref() == Some(&input.uid)
                    && source.metadata.resource_version.as_deref() == Some(&input.resource_version)
            });
            json!([input.kind, input.name, is_present])
        })
        .collect();
    let conditions: Vec<Value> = status
        .conditions
        .iter()
        .map(|condition| json!([condition.type_, condition.status, condition.reason, condition.message]))
        .collect();
    Ok(json!({
        "spec": connection.spec,
        "isObserved": status.observed_generation == connection.metadata.generation,
        "provider": status.provider, "registryHost": status.registry_host, "secretName": status.secret_name,
        "observedInputs": inputs,
        "hasCredential": revision.is_some(), "isCarried": carried == revision,
        "verdict": status.last_test.as_ref().map(|test| test.verdict),
        "isRefused": status.last_test.as_ref().is_some_and(|test| test.refused_since.is_some()),
        "hasNextRefresh": status.next_refresh_at.is_some(),
        "linkedServiceAccounts": status.linked_service_accounts,
        "targets": status.targets, "lastError": status.last_error, "conditions": conditions,
    }))
}

/// A value without the names that differ from run to run.
pub fn plain(value: Value, scenario: &Scenario, host: &str, connections: &[RegistryConnection]) -> String {
    let mut text = value.to_string().replace(host, "HOST");
    for connection in connections {
        let reference = ConnectionReference::namespaced(&scenario.namespace, connection.name_any());
        text = text.replace(&reference.label_value(), "REFERENCE");
    }
    text.replace(&scenario.namespace, "NAMESPACE")
}
