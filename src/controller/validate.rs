//! Second step: a spec that later steps can trust, or what is wrong with it. Pure.
//!
//! The API server checks most of it with the rules in the schema; they are repeated here because an object may have
//! been stored under an older schema.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::{mapper, schedule::Grid, secret_meta::SecretKey};
use crate::{
    api::{
        Reason, RegistryConnection,
        connection::{DEFAULT_REFRESH_INTERVAL_MINUTES, MAX_REFRESH_INTERVAL_MINUTES, MIN_REFRESH_INTERVAL_MINUTES},
        names::{MANAGED_BY_LABEL, is_object_name},
        provider::Provider,
    },
    domain::{host::RegistryUrl, reference::ConnectionReference},
    problem::{Problem, field},
};

/// A connection whose spec makes sense.
pub struct Connection {
    /// Kind, namespace and name.
    pub reference: ConnectionReference,
    /// Where the registry is.
    pub registry: RegistryUrl,
    /// How the credential is obtained.
    pub provider: Provider,
    /// What is written.
    pub target: Target,
    /// When it is refreshed.
    pub grid: Grid,
}

/// The Secret to write, without its credential.
pub struct Target {
    /// Namespace and name.
    pub key: SecretKey,
    /// The user's labels.
    pub labels: BTreeMap<String, String>,
    /// The user's annotations.
    pub annotations: BTreeMap<String, String>,
}

/// Checks a connection and fills in what the user left out.
///
/// # Errors
/// A [`Problem`] of reason `InvalidSpec` that names the field.
pub fn validate(object: &RegistryConnection, allow_loopback: bool) -> Result<Connection, Problem> {
    let spec = &object.spec;
    let Provider::Generic(generic) = &spec.provider;
    let registry = RegistryUrl::parse(&generic.registry_url)
        .map_err(|error| invalid(field::REGISTRY_URL, format!("registryUrl cannot be used: {error}")))?;
    if registry.is_plain_http() && !registry.is_loopback() {
        return Err(
            invalid(field::REGISTRY_URL, "plain http is possible for loopback addresses only".into()).hint("use https")
        );
    }
    if registry.is_loopback() && !allow_loopback {
        return Err(invalid(field::REGISTRY_URL, "the operator does not connect to loopback addresses".into()).hint(
            "use an address that Pods can reach; for tests on one machine start the operator with --allow-loopback",
        ));
    }

    let minutes = spec.refresh_interval_minutes.unwrap_or(DEFAULT_REFRESH_INTERVAL_MINUTES);
    if !(MIN_REFRESH_INTERVAL_MINUTES..=MAX_REFRESH_INTERVAL_MINUTES).contains(&minutes) {
        let range = format!("{MIN_REFRESH_INTERVAL_MINUTES} to {MAX_REFRESH_INTERVAL_MINUTES}");
        return Err(invalid(
            field::REFRESH_INTERVAL,
            format!("refreshIntervalMinutes is {minutes}, it may be {range}"),
        ));
    }

    let (source, key) = (mapper::source(object), mapper::target(object));
    for (field, name) in [(field::SECRET_REF, &source.name), (field::SECRET_NAME, &key.name)] {
        if !is_object_name(name) {
            return Err(invalid(field, format!("{name:.300?} is not the name of a Secret")));
        }
    }
    if key == source {
        return Err(invalid(field::SECRET_NAME, format!("Secret {:?} cannot be both read and written", key.name))
            .hint("choose another name in spec.secret.name; absent means the connection's name"));
    }
    let secret = spec.secret.clone().unwrap_or_default();
    let (labels, annotations) = (secret.labels.unwrap_or_default(), secret.annotations.unwrap_or_default());
    for (field, map) in [(field::SECRET_LABELS, &labels), (field::SECRET_ANNOTATIONS, &annotations)] {
        if let Some(reserved) = map.keys().find(|key| is_reserved(key)) {
            return Err(invalid(field, format!("the key {reserved:?} belongs to the operator")));
        }
    }

    let created = object.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let uid = object.metadata.uid.as_deref().unwrap_or_default();
    Ok(Connection {
        reference: ConnectionReference::namespaced(object.namespace().unwrap_or_default(), object.name_any()),
        registry,
        provider: spec.provider.clone(),
        target: Target { key, labels, annotations },
        grid: Grid::new(created, uid, SignedDuration::from_mins(i64::from(minutes))),
    })
}

fn invalid(field: &'static str, message: String) -> Problem {
    Problem::new(Reason::InvalidSpec, message).at(field)
}

fn is_reserved(key: &str) -> bool {
    key.starts_with("regcred.dev/") || key == MANAGED_BY_LABEL
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn connection(change: impl FnOnce(&mut Value)) -> RegistryConnection {
        let mut object = json!({
            "apiVersion": "regcred.dev/v1alpha1", "kind": "RegistryConnection",
            "metadata": {"name": "images", "namespace": "shop", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"provider": {"generic": {"registryUrl": "https://r.example", "secretRef": {"name": "login"}}}},
        });
        change(&mut object);
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn fills_in_what_the_user_left_out() {
        let connection = validate(&connection(|_| {}), false).unwrap_or_else(|problem| panic!("{problem:?}"));
        assert_eq!(connection.target.key, SecretKey { namespace: "shop".into(), name: "images".into() });
        assert_eq!(connection.reference.to_string(), "RegistryConnection/shop/images");
    }

    #[test]
    fn names_the_field_of_every_value_it_cannot_use() {
        type Change = fn(&mut Value);
        let cases: [(&str, &str, Change); 10] = [
            ("user info", field::REGISTRY_URL, |o| {
                o["spec"]["provider"]["generic"]["registryUrl"] = "https://u:canary@r.example".into();
            }),
            ("path", field::REGISTRY_URL, |o| {
                o["spec"]["provider"]["generic"]["registryUrl"] = "https://r.example/team".into();
            }),
            ("plain http", field::REGISTRY_URL, |o| {
                o["spec"]["provider"]["generic"]["registryUrl"] = "http://r.example".into();
            }),
            ("loopback", field::REGISTRY_URL, |o| {
                o["spec"]["provider"]["generic"]["registryUrl"] = "http://127.0.0.1:5000".into();
            }),
            ("interval", field::REFRESH_INTERVAL, |o| o["spec"]["refreshIntervalMinutes"] = 4.into()),
            ("path as name of the source", field::SECRET_REF, |o| {
                o["spec"]["provider"]["generic"]["secretRef"]["name"] = "../../victim/secrets/login".into();
            }),
            ("no name of the target", field::SECRET_NAME, |o| o["spec"]["secret"] = json!({"name": "a..b"})),
            ("target is source", field::SECRET_NAME, |o| o["spec"]["secret"] = json!({"name": "login"})),
            ("reserved label", field::SECRET_LABELS, |o| {
                o["spec"]["secret"] = json!({"labels": {"regcred.dev/x": "1"}})
            }),
            ("reserved annotation", field::SECRET_ANNOTATIONS, |o| {
                o["spec"]["secret"] = json!({"annotations": {"regcred.dev/x": "1"}});
            }),
        ];
        for (name, field, change) in cases {
            let problem = validate(&connection(change), false).err().unwrap_or_else(|| panic!("{name}"));
            assert_eq!((problem.reason, problem.field), (Reason::InvalidSpec, Some(field)), "{name}");
            assert!(!format!("{problem:?}").contains("canary"), "{name}");
        }
    }

    #[test]
    fn allows_plain_http_on_loopback_when_the_operator_was_told_to() {
        let object = connection(|o| {
            o["spec"]["provider"]["generic"]["registryUrl"] = "http://127.0.0.1:5000".into();
        });
        assert!(validate(&object, true).is_ok());
    }
}
