//! How many bytes the index keeps for what it follows, counted by the allocator: the same on every machine, and in every run.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::{sync::Arc, time::Duration};

use allocation_counter::measure;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::{core::PartialObjectMeta, runtime::watcher::Event};
use regcred::{
    api::{
        ClusterRegistryConnection, Declared, RegistryConnection,
        names::{
            COMPARE_OPTIONS, COMPARE_OPTIONS_ANNOTATION, CONFIG_KEY_ANNOTATION, CONNECTION_ANNOTATION,
            CONNECTION_CREATED_ANNOTATION, CONNECTION_LABEL, DELETION_POLICY_ANNOTATION, EXPIRES_AT_ANNOTATION,
            MANAGED_BY_LABEL, NAMESPACE_ANNOTATION, REVISION_ANNOTATION, SYNC_OPTIONS, SYNC_OPTIONS_ANNOTATION,
        },
    },
    clock::Clock,
    controller::{
        index::Index,
        secret_meta::{ObjectKey, SecretMeta},
        sighting::SecretState,
        stored::Stored,
    },
    domain::reference::{ConnectionReference, Kind},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// How many namespaces there are.
const N: usize = 10_000;

/// The most bytes for one namespace, and for the target in it.
const PER_NAMESPACE: u64 = 150;
const PER_TARGET: u64 = 320;

/// The most bytes for a connection of a namespace.
const PER_CONNECTION: u64 = 5000;

/// The most bytes that stay for one namespace and the target in it after both went, and for a connection of a namespace: the
/// room of hash tables, which the next ones take.
const ROOM_PER_TARGET: u64 = 45;
const ROOM_PER_CONNECTION: u64 = 720;

/// A connection of the cluster for all namespaces.
fn connection() -> Stored {
    let object = json!({
        "metadata": {"name": "images", "uid": "u", "resourceVersion": "1", "generation": 1},
        "spec": {
            "provider": {"generic": {"registryUrl": "https://registry.example.com", "secretRef": {"name": "login"}}},
            "visibility": "All",
        },
    });
    let object: ClusterRegistryConnection = serde_json::from_value(object).unwrap();
    Declared::from(object).into()
}

fn metadata<K: DeserializeOwned>(metadata: Value) -> PartialObjectMeta<K> {
    let object = json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata});
    serde_json::from_value(object).unwrap()
}

fn uid(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

fn name(number: usize) -> String {
    format!("team-{number:05}")
}

fn namespace(number: usize) -> PartialObjectMeta<Namespace> {
    metadata(json!({
        "name": name(number), "uid": uid(number), "resourceVersion": format!("{}", 100_000 + number),
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"kubernetes.io/metadata.name": name(number), "pod-security.kubernetes.io/enforce": "baseline"},
    }))
}

/// The target of the cluster's connection in a namespace, as the operator writes it with a credential of this revision.
fn target(number: usize, revision: &str, resource_version: usize) -> PartialObjectMeta<Secret> {
    target_of(&ConnectionReference::cluster("images"), number, revision, resource_version)
}

fn target_of(
    reference: &ConnectionReference,
    number: usize,
    revision: &str,
    resource_version: usize,
) -> PartialObjectMeta<Secret> {
    metadata(json!({
        "namespace": name(number), "name": "images", "uid": uid(number),
        "resourceVersion": format!("{resource_version}"), "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {MANAGED_BY_LABEL: "regcred", CONNECTION_LABEL: reference.label_value()},
        "annotations": {
            CONNECTION_ANNOTATION: reference.to_string(), NAMESPACE_ANNOTATION: name(number), REVISION_ANNOTATION: revision,
            CONFIG_KEY_ANNOTATION: "registry.example.com", DELETION_POLICY_ANNOTATION: "Delete",
            CONNECTION_CREATED_ANNOTATION: "2026-01-01T00:00:00Z", EXPIRES_AT_ANNOTATION: "2026-01-02T00:00:00Z",
            COMPARE_OPTIONS_ANNOTATION: COMPARE_OPTIONS, SYNC_OPTIONS_ANNOTATION: SYNC_OPTIONS,
        },
        "managedFields": [{
            "manager": "regcred", "operation": "Update", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z",
            "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {".": {}, "f:.dockerconfigjson": {}}, "f:type": {}},
        }],
    }))
}

/// An index in which all lists are complete and nothing is but one connection of the cluster.
fn index() -> Index {
    let index = Index::new(Clock::system(), "regcred");
    for kind in [Kind::Namespaced, Kind::Cluster] {
        index.apply_connection(kind, Event::Init);
        index.apply_connection(kind, Event::InitDone);
    }
    index.apply_secret(Event::Init);
    index.apply_secret(Event::InitDone);
    index.apply_namespace(Event::Init);
    index.apply_namespace(Event::InitDone);
    index.apply_config_map(Event::<PartialObjectMeta<ConfigMap>>::Init);
    index.apply_config_map(Event::InitDone);
    index.apply_connection(Kind::Cluster, Event::Apply(connection()));
    index
}

/// The operator is told that it wrote this.
fn learn(index: &Index, written: PartialObjectMeta<Secret>) {
    let type_ = Some("kubernetes.io/dockerconfigjson".to_owned());
    let secret = Secret { metadata: written.metadata, type_, ..Secret::default() };
    let meta = SecretMeta::from_secret(&secret);
    let (namespace, name) = (secret.metadata.namespace.unwrap(), secret.metadata.name.unwrap());
    index.learn(&ObjectKey { namespace, name }, SecretState::Present(Arc::new(meta)));
}

/// The operator writes all these targets, and then the watch shows them.
fn deliver(index: &Index, targets: impl Iterator<Item = PartialObjectMeta<Secret>> + Clone) {
    targets.clone().for_each(|target| learn(index, target));
    targets.for_each(|target| drop(index.apply_secret(Event::Apply(target))));
}

/// Namespaces come, get their targets, and go. The watches race: half of the namespaces go before what was in them.
fn come_and_go(index: &Index, numbers: std::ops::Range<usize>) {
    numbers.clone().for_each(|number| drop(index.apply_namespace(Event::Apply(namespace(number)))));
    deliver(index, numbers.clone().map(|number| target(number, "r1", 200_000 + number)));
    for number in numbers {
        let secret_goes = || drop(index.apply_secret(Event::Delete(target(number, "r1", 500_000 + number))));
        let namespace_goes = || drop(index.apply_namespace(Event::Delete(namespace(number))));
        let is_secret_first = number % 2 == 0;
        if is_secret_first {
            secret_goes();
        }
        namespace_goes();
        if !is_secret_first {
            secret_goes();
        }
        // It was on its way when both went.
        learn(index, target(number, "r1", 300_000 + number));
    }
}

/// What is kept of what a step allocates, in bytes for each of [`N`].
fn kept(step: impl FnOnce()) -> u64 {
    let bytes = measure(step).bytes_current;
    u64::try_from(bytes).unwrap_or_default() / N as u64
}

#[test]
fn a_namespace_and_the_target_in_it_take_few_bytes_and_no_more_after_a_rotation() {
    let index = index();
    let each = |event: &dyn Fn(usize)| (0..N).for_each(event);
    let namespaces = kept(|| each(&|number| drop(index.apply_namespace(Event::Apply(namespace(number))))));
    let targets =
        kept(|| each(&|number| drop(index.apply_secret(Event::Apply(target(number, "r1", 200_000 + number))))));
    let rotated =
        kept(|| each(&|number| drop(index.apply_secret(Event::Apply(target(number, "r2", 300_000 + number))))));
    println!("{namespaces} bytes for a namespace, {targets} for the target in it, {rotated} more after a rotation");
    assert!(namespaces <= PER_NAMESPACE, "{namespaces} bytes for a namespace");
    assert!(targets <= PER_TARGET, "{targets} bytes for a target");
    assert_eq!(rotated, 0, "a rotation leaves something behind");
}

#[test]
fn a_target_that_was_written_takes_no_more_than_one_that_was_only_seen() {
    let index = index();
    (0..N).for_each(|number| drop(index.apply_namespace(Event::Apply(namespace(number)))));
    let written = kept(|| deliver(&index, (0..N).map(|number| target(number, "r1", 200_000 + number))));
    let rotated = kept(|| deliver(&index, (0..N).map(|number| target(number, "r2", 300_000 + number))));
    println!("{written} bytes for a target that was written, {rotated} more after a rotation");
    assert!(written <= PER_TARGET, "{written} bytes for a target");
    assert_eq!(rotated, 0, "a rotation leaves something behind");
}

#[test]
fn of_targets_and_namespaces_that_went_nothing_is_kept_however_often() {
    let index = index();
    let room = kept(|| come_and_go(&index, 0..N));
    let more = measure(|| (1..3).for_each(|round| come_and_go(&index, round * N..(round + 1) * N))).bytes_current;
    println!("{room} bytes of room for a target that went, {more} more in all after others");
    assert!(room <= ROOM_PER_TARGET, "{room} bytes for a target that went");
    assert_eq!(more, 0, "what went leaves something behind");
}

/// A connection of a namespace that is ready, as the API server sends it.
fn namespaced(number: usize) -> Stored {
    let condition = |kind: &str| {
        json!({
            "type": kind, "status": "True", "reason": "LoginProven", "observedGeneration": 1,
            "message": "Secret images holds a login for registry.example.com",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    };
    let conditions = ["Ready", "CredentialsValid", "Delivered"].map(condition);
    let input = json!({"kind": "Secret", "name": "login", "uid": uid(number), "resourceVersion": "12345"});
    let object = json!({
        "metadata": {
            "namespace": name(number), "name": "images", "uid": uid(number), "resourceVersion": "1", "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "x".repeat(300)},
        },
        "spec": {"provider": {"generic": {"registryUrl": "https://registry.example.com", "secretRef": {"name": "login"}}}},
        "status": {
            "observedGeneration": 1, "provider": "generic", "registryHost": "registry.example.com",
            "secretName": "images", "observedInputs": [input], "targets": {"desired": 1, "current": 1, "failed": 0},
            "credential": {"revision": "r1"},
            "conditions": conditions,
        },
    });
    let object: RegistryConnection = serde_json::from_value(object).unwrap();
    Declared::from(object).into()
}

#[test]
fn a_connection_of_a_namespace_takes_little() {
    let index = index();
    let kept = kept(|| {
        (0..N).for_each(|number| drop(index.apply_connection(Kind::Namespaced, Event::Apply(namespaced(number)))));
    });
    println!("{kept} bytes for a connection");
    assert!(kept <= PER_CONNECTION, "{kept} bytes for a connection");
}

/// Connections of namespaces come, write their targets, and go, and the targets after them.
fn connect_and_go(index: &Index, numbers: std::ops::Range<usize>) {
    numbers.clone().for_each(|number| drop(index.apply_connection(Kind::Namespaced, Event::Apply(namespaced(number)))));
    let target = |number: usize, resource_version: usize| {
        target_of(&ConnectionReference::namespaced(name(number), "images"), number, "r1", resource_version + number)
    };
    deliver(index, numbers.clone().map(|number| target(number, 200_000)));
    numbers
        .clone()
        .for_each(|number| drop(index.apply_connection(Kind::Namespaced, Event::Delete(namespaced(number)))));
    assert_eq!(index.orphans(Duration::MAX).len(), numbers.len());
    numbers.for_each(|number| drop(index.apply_secret(Event::Delete(target(number, 500_000)))));
    // Whoever looks for orphans later lets go of what is known of their end.
    assert!(index.orphans(Duration::MAX).is_empty());
}

#[test]
fn of_connections_that_went_nothing_is_kept_however_often() {
    let index = index();
    let room = kept(|| connect_and_go(&index, 0..N));
    let more = measure(|| connect_and_go(&index, N..2 * N)).bytes_current;
    println!("{room} bytes of room for a connection that went, {more} more in all after others");
    assert!(room <= ROOM_PER_CONNECTION, "{room} bytes for a connection that went");
    assert_eq!(more, 0, "what went leaves something behind");
}

#[test]
fn a_secret_of_somebody_else_takes_nothing() {
    let index = index();
    let foreign = |number: usize| {
        metadata(json!({
            "namespace": name(number % 100), "name": format!("foreign-{number}"), "uid": uid(number),
            "resourceVersion": format!("{}", 400_000 + number), "labels": {"owner": "somebody"},
        }))
    };
    let kept = kept(|| (0..N).for_each(|number| drop(index.apply_secret(Event::Apply(foreign(number))))));
    assert_eq!(kept, 0);
}
