//! Values for the unit tests of the index: one connection in a namespace, and Secrets beside it.

use k8s_openapi::{
    api::core::v1::{Namespace, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{core::PartialObjectMeta, runtime::watcher::Event};
use serde_json::{Value, json};

use super::Index;
use crate::{
    api::ClusterRegistryConnection,
    controller::{
        fixture::{self, object_json},
        secret_meta::ObjectKey,
        stored::{Sent, Stored},
    },
    domain::reference::{ConnectionReference, Kind},
};

pub(super) fn stored(resource_version: &str, change: impl FnOnce(&mut Value)) -> Stored {
    fixture::stored(object_json(|object| {
        object["metadata"]["resourceVersion"] = resource_version.into();
        change(object);
    }))
}

pub(super) fn secret(name: &str, resource_version: &str) -> PartialObjectMeta<Secret> {
    serde_json::from_value(json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
        "metadata": {"namespace": "shop", "name": name, "uid": name, "resourceVersion": resource_version},
    }))
    .unwrap()
}

pub(super) fn key(name: &str) -> ObjectKey {
    ObjectKey { namespace: "shop".into(), name: name.into() }
}

/// An index that waits for no connections of the cluster, nor for namespaces.
pub(super) fn fresh() -> Index {
    let index = Index::default();
    assert!(index.connections_unavailable(Kind::Cluster).is_empty() && index.namespaces_unavailable().is_empty());
    index
}

/// An index that has listed the connection `images` and these Secrets.
pub(super) fn listed(secrets: &[&str]) -> Index {
    let index = fresh();
    for event in [Event::Init, Event::InitApply(stored("10", |_| {})), Event::InitDone] {
        assert_eq!(index.apply_connection(Kind::Namespaced, event), [], "nobody is woken before the others are listed");
    }
    for event in [Event::Init, Event::InitDone] {
        assert_eq!(index.apply_config_map(event), []);
    }
    index.apply_secret(Event::Init);
    for name in secrets {
        assert_eq!(index.apply_secret(Event::InitApply(secret(name, "1"))), []);
    }
    assert_eq!(index.apply_secret(Event::InitDone).len(), 1, "then everybody is");
    assert!(index.is_synced());
    index
}

/// A connection of the cluster for namespaces, changed as a test wants.
pub(super) fn wide(name: &str, change: impl FnOnce(&mut Value)) -> Stored {
    let object = object_json(|object| {
        object["metadata"] = json!({"name": name, "uid": name, "generation": 1, "resourceVersion": "10"});
        object["spec"]["visibility"] = "All".into();
        change(object);
    });
    serde_json::from_value::<Sent<ClusterRegistryConnection>>(object).unwrap().stored
}

pub(super) fn namespace(name: &str, resource_version: &str) -> PartialObjectMeta<Namespace> {
    serde_json::from_value(json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
        "metadata": {"name": name, "uid": name, "resourceVersion": resource_version},
    }))
    .unwrap()
}

/// An index in which all lists are complete and show these connections of the cluster and nothing else.
pub(super) fn wide_only(connections: Vec<Stored>) -> Index {
    let index = Index::default();
    for event in [Event::Init, Event::InitDone] {
        index.apply_connection(Kind::Namespaced, event);
    }
    let shown = connections.into_iter().map(Event::InitApply);
    for event in [Event::Init].into_iter().chain(shown).chain([Event::InitDone]) {
        index.apply_connection(Kind::Cluster, event);
    }
    for event in [Event::Init, Event::InitDone] {
        index.apply_config_map(event);
    }
    for event in [Event::Init, Event::InitDone] {
        index.apply_secret(event);
    }
    for event in [Event::Init, Event::InitDone] {
        index.apply_namespace(event);
    }
    assert!(index.is_synced());
    index
}

/// A Secret that was surely written for the connection `images`.
pub(super) fn ours(name: &str, resource_version: &str) -> PartialObjectMeta<Secret> {
    let reference = ConnectionReference::namespaced("shop", "images");
    let mut secret = secret(name, resource_version);
    let marks = json!({
        "labels": {"app.kubernetes.io/managed-by": "regcred", "regcred.dev/connection": reference.label_value()},
        "annotations": {"regcred.dev/connection": reference.to_string(), "regcred.dev/namespace": "shop"},
        "managedFields": [{"manager": "regcred", "operation": "Update"}],
    });
    let marks: ObjectMeta = serde_json::from_value(marks).unwrap();
    (secret.metadata.labels, secret.metadata.annotations) = (marks.labels, marks.annotations);
    secret.metadata.managed_fields = marks.managed_fields;
    secret
}
