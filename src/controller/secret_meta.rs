//! What is kept of a Secret's metadata: enough to know whose it is, whether it is current, and whether somebody touched
//! it. Never its data.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta},
};

use crate::{
    api::{
        connection::DeletionPolicy,
        names::{
            CANDIDATE_ANNOTATION, COMPARE_OPTIONS_ANNOTATION, CONFIG_KEY_ANNOTATION, CONNECTION_ANNOTATION,
            CONNECTION_CREATED_ANNOTATION, CONNECTION_LABEL, DELETION_POLICY_ANNOTATION, DOCKER_CONFIG_JSON_KEY,
            DOCKER_CONFIG_JSON_TYPE, EXPIRES_AT_ANNOTATION, EXTRA_ANNOTATIONS_ANNOTATION, EXTRA_LABELS_ANNOTATION,
            FIELD_MANAGER, LEDGER_KEY, LEDGER_PREFIX, MANAGED_BY_LABEL, NAMESPACE_ANNOTATION, REVISION_ANNOTATION,
            REVOKE_FROM_ANNOTATION, SOURCE_LABEL, SYNC_OPTIONS_ANNOTATION, is_object_name,
        },
    },
    domain::reference::ConnectionReference,
};

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl ObjectKey {
    /// The ledger of a connection, in the operator's namespace.
    pub fn of_ledger(namespace: &str, reference: &ConnectionReference) -> Self {
        Self { namespace: namespace.to_owned(), name: format!("{LEDGER_PREFIX}{}", reference.label_value()) }
    }
}

impl std::fmt::Display for ObjectKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// A Secret as its metadata show it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretMeta {
    /// The UID.
    pub uid: String,
    /// The resourceVersion.
    pub resource_version: String,
    /// The labels and annotations that matter to us. Those of all targets of a connection are the same.
    pub marks: Arc<Marks>,
    /// It was written for the namespace that it is in, as it says.
    pub is_at_home: bool,
    /// False if the object has no labels at all, so that a patch must create the map.
    pub has_labels: bool,
    /// False if the object has no annotations at all.
    pub has_annotations: bool,
    /// Our field manager has an entry in managedFields.
    pub touched_by_us: bool,
    /// Nothing on it is anybody else's: it may be replaced as a whole.
    pub is_ours_alone: bool,
    /// It is marked as the source of a credential.
    pub is_source: bool,
    /// The data is what we wrote: nobody else owns it, or we wrote or repaired exactly this resourceVersion.
    pub data_trusted: bool,
    /// What a look at the whole object showed that metadata do not; it cannot change while the UID stays.
    pub unusable: Option<Unusable>,
}

/// Why a Secret can never be one of ours, or never be brought up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It has another type, and types cannot be changed.
    WrongType(String),
    /// It is marked immutable.
    Immutable,
}

/// The labels and annotations regcred puts on a target Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Marks {
    /// Ours, by key.
    pub labels: BTreeMap<String, String>,
    /// Ours, by key.
    pub annotations: BTreeMap<String, String>,
}

/// Whose a Secret is, seen from one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// Written for this connection.
    Ours,
    /// Anything else, with a clause that completes "Secret x exists and …".
    Foreign(String),
}

impl SecretMeta {
    /// What matters of an object's metadata.
    pub fn from_metadata(metadata: &ObjectMeta) -> Self {
        let (labels, annotations) = (metadata.labels.as_ref(), metadata.annotations.as_ref());
        let listed = |list: &str| -> Vec<String> {
            let value = annotations.and_then(|annotations| annotations.get(list)).map_or("", String::as_str);
            value.split(',').filter(|key| !key.is_empty()).map(str::to_owned).collect()
        };
        let pick = |map: Option<&BTreeMap<String, String>>, ours: &[&str], extra: &[String]| {
            let keys = ours.iter().copied().chain(extra.iter().map(String::as_str));
            keys.filter_map(|key| Some((key.to_owned(), map?.get(key)?.clone()))).collect()
        };
        let marks = Marks {
            labels: pick(labels, &[MANAGED_BY_LABEL, CONNECTION_LABEL], &listed(EXTRA_LABELS_ANNOTATION)),
            annotations: pick(
                annotations,
                &[
                    CONNECTION_ANNOTATION,
                    REVISION_ANNOTATION,
                    CONFIG_KEY_ANNOTATION,
                    DELETION_POLICY_ANNOTATION,
                    CONNECTION_CREATED_ANNOTATION,
                    EXPIRES_AT_ANNOTATION,
                    COMPARE_OPTIONS_ANNOTATION,
                    SYNC_OPTIONS_ANNOTATION,
                    CANDIDATE_ANNOTATION,
                    REVOKE_FROM_ANNOTATION,
                    EXTRA_LABELS_ANNOTATION,
                    EXTRA_ANNOTATIONS_ANNOTATION,
                ],
                &listed(EXTRA_ANNOTATIONS_ANNOTATION),
            ),
        };
        Self {
            uid: metadata.uid.clone().unwrap_or_default(),
            resource_version: metadata.resource_version.clone().unwrap_or_default(),
            is_ours_alone: is_ours_alone(metadata, &marks),
            marks: Arc::new(marks),
            is_at_home: metadata.namespace.is_some()
                && annotations.and_then(|all| all.get(NAMESPACE_ANNOTATION)) == metadata.namespace.as_ref(),
            has_labels: labels.is_some_and(|labels| !labels.is_empty()),
            has_annotations: annotations.is_some_and(|annotations| !annotations.is_empty()),
            is_source: labels.is_some_and(|labels| labels.contains_key(SOURCE_LABEL)),
            touched_by_us: managers(metadata).any(|manager| manager == FIELD_MANAGER),
            data_trusted: data_owners(metadata).eq([FIELD_MANAGER]),
            unusable: None,
        }
    }

    /// What matters of a whole Secret, including what only the whole shows.
    pub fn from_secret(secret: &Secret) -> Self {
        let unusable = match secret.type_.as_deref() {
            Some(DOCKER_CONFIG_JSON_TYPE) if secret.immutable == Some(true) => Some(Unusable::Immutable),
            Some(DOCKER_CONFIG_JSON_TYPE) => None,
            other => Some(Unusable::WrongType(other.unwrap_or("Opaque").to_owned())),
        };
        Self { unusable, ..Self::from_metadata(&secret.metadata) }
    }

    /// True if the object says that regcred wrote it.
    pub fn is_marked(&self) -> bool {
        self.marks.labels.get(MANAGED_BY_LABEL).is_some_and(|value| value == FIELD_MANAGER)
    }

    /// Whose it is: label, connection in words and namespace must all agree. A missing label is forgiven where our entry
    /// in managedFields shows that we wrote the object.
    pub fn ownership(&self, reference: &ConnectionReference) -> Ownership {
        let foreign = |clause: String| Ownership::Foreign(clause);
        let annotation = |key: &str| self.marks.annotations.get(key).map(String::as_str);
        let in_words = reference.to_string();
        match self.marks.labels.get(CONNECTION_LABEL) {
            Some(label) if *label != reference.label_value() => {
                return match annotation(CONNECTION_ANNOTATION) {
                    Some(other) if other != in_words => foreign(format!("belongs to {other:.300}")),
                    _ => foreign("carries the label of another connection".into()),
                };
            }
            None if !self.touched_by_us => return foreign("was not written by regcred".into()),
            Some(_) | None => {}
        }
        match annotation(CONNECTION_ANNOTATION) {
            Some(other) if other == in_words => {}
            Some(other) => return foreign(format!("belongs to {other:.300}")),
            None => return foreign("does not say which connection it belongs to".into()),
        }
        if !self.is_at_home {
            return foreign("was written for another namespace and copied here".into());
        }
        // What only a look at the whole shows comes last, so that a process that did not look says the same.
        match &self.unusable {
            Some(Unusable::WrongType(other)) => {
                foreign(format!("has type {other:?} instead of {DOCKER_CONFIG_JSON_TYPE:?}"))
            }
            Some(Unusable::Immutable) => foreign("is immutable".into()),
            None => Ownership::Ours,
        }
    }
}

/// What a removal wants to know. It is stricter than [`SecretMeta::ownership`]: what is removed by mistake is lost.
impl SecretMeta {
    /// The connection this Secret was written for, if everything about it says so: all marks are there and agree, it is in
    /// the connection's namespace, and managedFields show that we wrote it and nobody copied it.
    pub fn owner(&self, key: &ObjectKey) -> Option<ConnectionReference> {
        let reference = ConnectionReference::parse(self.marks.annotations.get(CONNECTION_ANNOTATION)?)?;
        let is_sure = self.is_marked()
            && self.touched_by_us
            && reference.namespace().is_none_or(|namespace| namespace == key.namespace)
            && is_object_name(reference.name())
            && self.marks.labels.get(CONNECTION_LABEL) == Some(&reference.label_value())
            && self.ownership(&reference) == Ownership::Ours;
        is_sure.then_some(reference)
    }

    /// What the end of its connection does to it, as the connection said when it was written last.
    pub fn deletion_policy(&self) -> Option<DeletionPolicy> {
        self.marks.annotations.get(DELETION_POLICY_ANNOTATION).and_then(|name| DeletionPolicy::parse(name))
    }

    /// When the connection it was written for was created, by the API server's clock.
    pub fn connection_created(&self) -> Option<Timestamp> {
        self.marks.annotations.get(CONNECTION_CREATED_ANNOTATION)?.parse().ok()
    }
}

/// What the metadata of a ledger tell.
impl SecretMeta {
    /// The connection this is the ledger of, if it is one that we wrote: name, label and connection in words agree.
    pub fn ledger_of(&self, key: &ObjectKey, namespace: &str) -> Option<ConnectionReference> {
        let reference = ConnectionReference::parse(self.marks.annotations.get(CONNECTION_ANNOTATION)?)?;
        let is_it = *key == ObjectKey::of_ledger(namespace, &reference)
            && self.is_marked()
            && self.marks.labels.get(CONNECTION_LABEL) == Some(&reference.label_value());
        is_it.then_some(reference)
    }

    /// The revision of the credential that a ledger says is delivered, or a target holds.
    pub fn revision(&self) -> Option<&str> {
        self.marks.annotations.get(REVISION_ANNOTATION).map(String::as_str)
    }

    /// Whether a ledger holds a credential that was issued and not judged for good yet.
    pub fn has_candidate(&self) -> bool {
        self.marks.annotations.contains_key(CANDIDATE_ANNOTATION)
    }

    /// From when on something in a ledger is to be revoked, if anything is.
    pub fn revoke_from(&self) -> Option<Timestamp> {
        self.marks.annotations.get(REVOKE_FROM_ANNOTATION)?.parse().ok()
    }
}

/// True if the metadata say that regcred wrote the object.
pub fn says_ours(metadata: &ObjectMeta) -> bool {
    metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY_LABEL)).is_some_and(|value| value == FIELD_MANAGER)
}

/// The names of all field managers of an object.
fn managers(metadata: &ObjectMeta) -> impl Iterator<Item = &str> {
    metadata.managed_fields.iter().flatten().filter_map(|entry| entry.manager.as_deref())
}

/// Whether nothing on a target is anybody else's. What a webhook added when the Secret was created counts as ours in
/// managedFields, so the keys are looked at, too.
fn is_ours_alone(metadata: &ObjectMeta, marks: &Marks) -> bool {
    let is_ours = |entry: &ManagedFieldsEntry| {
        let data = entry.fields_v1.as_ref().and_then(|fields| fields.0["f:data"].as_object());
        let mut keys = data.into_iter().flatten().map(|(key, _)| key.as_str());
        entry.manager.as_deref() == Some(FIELD_MANAGER)
            && keys.all(|key| key == "." || key.strip_prefix("f:") == Some(DOCKER_CONFIG_JSON_KEY))
    };
    let entries = metadata.managed_fields.as_deref().unwrap_or_default();
    let has_no_other = |map: Option<&BTreeMap<String, String>>, marks: &BTreeMap<String, String>| {
        map.into_iter().flatten().all(|(key, _)| key == NAMESPACE_ANNOTATION || marks.contains_key(key))
    };
    !entries.is_empty()
        && entries.iter().all(is_ours)
        && has_no_other(metadata.labels.as_ref(), &marks.labels)
        && has_no_other(metadata.annotations.as_ref(), &marks.annotations)
        && metadata.owner_references.is_none()
        && metadata.finalizers.is_none()
}

/// The managers that own the docker config, or the ledger, in a Secret's data, each once.
fn data_owners(metadata: &ObjectMeta) -> impl Iterator<Item = &str> {
    let ours = [DOCKER_CONFIG_JSON_KEY, LEDGER_KEY].map(|key| format!("f:{key}"));
    let mut owners: Vec<&str> = metadata
        .managed_fields
        .iter()
        .flatten()
        .filter(|entry| {
            entry.fields_v1.as_ref().is_some_and(|fields| ours.iter().any(|key| !fields.0["f:data"][key].is_null()))
        })
        .filter_map(|entry| entry.manager.as_deref())
        .collect();
    owners.sort_unstable();
    owners.dedup();
    owners.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn reference() -> ConnectionReference {
        ConnectionReference::namespaced("shop", "images")
    }

    fn key() -> ObjectKey {
        ObjectKey { namespace: "shop".into(), name: "images".into() }
    }

    fn ours() -> serde_json::Value {
        json!({
            "namespace": "shop", "uid": "u", "resourceVersion": "7",
            "labels": {"app.kubernetes.io/managed-by": "regcred", "regcred.dev/connection": reference().label_value()},
            "annotations": {
                "regcred.dev/connection": "RegistryConnection/shop/images",
                "regcred.dev/namespace": "shop",
                "regcred.dev/credential-revision": "r1",
            },
            "managedFields": [
                {"manager": "regcred", "operation": "Update", "fieldsV1": {"f:data": {"f:.dockerconfigjson": {}}}},
            ],
        })
    }

    fn meta(change: impl FnOnce(&mut serde_json::Value)) -> SecretMeta {
        let mut metadata = ours();
        change(&mut metadata);
        SecretMeta::from_metadata(&serde_json::from_value(metadata).unwrap())
    }

    #[test]
    fn knows_its_own() {
        let meta = meta(|_| {});
        assert_eq!(meta.ownership(&reference()), Ownership::Ours);
        assert_eq!(meta.marks.annotations[REVISION_ANNOTATION], "r1");
        assert!(meta.data_trusted && meta.is_marked());
    }

    #[test]
    fn only_a_target_on_which_nothing_is_anybody_elses_may_be_replaced() {
        type Change = fn(&mut serde_json::Value);
        let other = json!({"manager": "somebody", "fieldsV1": {"f:metadata": {}}});
        assert!(meta(|_| {}).is_ours_alone);
        assert!(!meta(|m| m["managedFields"].as_array_mut().unwrap().push(other)).is_ours_alone);
        let cases: [(&str, Change); 6] = [
            ("a label that a webhook added", |m| m["labels"]["cost"] = "7".into()),
            ("an annotation", |m| m["annotations"]["note"] = "x".into()),
            ("a key in its data", |m| m["managedFields"][0]["fieldsV1"]["f:data"]["f:extra"] = json!({})),
            ("a finalizer", |m| m["finalizers"] = json!(["example.com/held"])),
            ("an owner", |m| {
                m["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "b"}]);
            }),
            ("nobody knows who wrote it", |m| m["managedFields"] = json!([])),
        ];
        for (name, change) in cases {
            assert!(!meta(change).is_ours_alone, "{name}");
        }
    }

    #[test]
    fn refuses_what_belongs_to_others() {
        type Change = fn(&mut serde_json::Value);
        let cases: [(&str, Change); 6] = [
            ("another connection", |m| m["annotations"]["regcred.dev/connection"] = "RegistryConnection/shop/x".into()),
            ("another label", |m| m["labels"]["regcred.dev/connection"] = "0".into()),
            ("no annotation", |m| m["annotations"] = json!({})),
            ("another namespace", |m| m["annotations"]["regcred.dev/namespace"] = "other".into()),
            ("a stranger's", |m| *m = json!({"uid": "u"})),
            ("label gone, managedFields wiped", |m| {
                m["labels"] = json!({});
                m["managedFields"] = json!([]);
            }),
        ];
        for (name, change) in cases {
            assert_ne!(meta(change).ownership(&reference()), Ownership::Ours, "{name}");
        }
    }

    #[test]
    fn is_sure_of_an_owner_only_where_everything_agrees() {
        let sure = meta(|_| {});
        assert_eq!(sure.owner(&key()), Some(reference()));
        let elsewhere = ObjectKey { namespace: "other".into(), ..key() };
        assert_eq!(sure.owner(&elsewhere), None, "a copy in another namespace");
        type Change = fn(&mut serde_json::Value);
        let cases: [(&str, Change); 8] = [
            ("not marked as ours", |m| m["labels"]["app.kubernetes.io/managed-by"] = "helm".into()),
            ("no label", |m| m["labels"] = json!({"app.kubernetes.io/managed-by": "regcred"})),
            ("another label", |m| m["labels"]["regcred.dev/connection"] = "0".into()),
            ("another connection", |m| m["annotations"]["regcred.dev/connection"] = "RegistryConnection/shop/x".into()),
            ("no connection in words", |m| m["annotations"] = json!({"regcred.dev/namespace": "shop"})),
            ("for another namespace", |m| m["annotations"]["regcred.dev/namespace"] = "other".into()),
            ("no namespace", |m| m["annotations"]["regcred.dev/namespace"] = json!(null)),
            ("copied by hand", |m| m["managedFields"] = json!([{"manager": "kubectl-client-side-apply"}])),
        ];
        for (name, change) in cases {
            let mut metadata = ours();
            change(&mut metadata);
            if metadata["annotations"]["regcred.dev/namespace"].is_null() {
                metadata["annotations"].as_object_mut().unwrap().remove("regcred.dev/namespace");
            }
            let meta = SecretMeta::from_metadata(&serde_json::from_value(metadata).unwrap());
            assert_eq!(meta.owner(&key()), None, "{name}");
        }
        // A connection of another namespace, label and all: the other namespace's own copy of everything.
        let other = ConnectionReference::namespaced("other", "images");
        let foreign = meta(|m| {
            m["labels"]["regcred.dev/connection"] = other.label_value().into();
            m["annotations"]["regcred.dev/connection"] = other.to_string().into();
        });
        assert_eq!(foreign.owner(&key()), None);
        let odd = ConnectionReference::namespaced("shop", "..");
        let odd = meta(|m| {
            m["labels"]["regcred.dev/connection"] = odd.label_value().into();
            m["annotations"]["regcred.dev/connection"] = odd.to_string().into();
        });
        assert_eq!(odd.owner(&key()), None, "no name goes into a path unchecked");
        for unusable in [Unusable::WrongType("Opaque".into()), Unusable::Immutable] {
            assert_eq!(SecretMeta { unusable: Some(unusable), ..sure.clone() }.owner(&key()), None);
        }
    }

    #[test]
    fn knows_a_ledger_by_its_name_and_marks_together() {
        let namespace = "regcred-system";
        let key = ObjectKey::of_ledger(namespace, &reference());
        let of = |key: &ObjectKey, change: fn(&mut serde_json::Value)| meta(change).ledger_of(key, namespace);
        assert_eq!(of(&key, |_| {}), Some(reference()));
        assert_eq!(of(&ObjectKey { namespace: "shop".into(), ..key.clone() }, |_| {}), None, "in another namespace");
        assert_eq!(of(&ObjectKey { name: "regcred-ledger-0".into(), ..key.clone() }, |_| {}), None, "of another name");
        type Change = fn(&mut serde_json::Value);
        let cases: [(&str, Change); 6] = [
            ("not marked as ours", |m| m["labels"]["app.kubernetes.io/managed-by"] = "helm".into()),
            ("no label", |m| m["labels"] = json!({"app.kubernetes.io/managed-by": "regcred"})),
            ("another label", |m| m["labels"]["regcred.dev/connection"] = "0".into()),
            ("another connection", |m| m["annotations"]["regcred.dev/connection"] = "RegistryConnection/shop/x".into()),
            ("no words", |m| m["annotations"]["regcred.dev/connection"] = "images".into()),
            ("no annotations", |m| m["annotations"] = json!({})),
        ];
        for (name, change) in cases {
            assert_eq!(of(&key, change), None, "{name}");
        }
    }

    #[test]
    fn reads_what_a_ledger_tells_of_its_times() {
        let told = |text: &str| {
            let mut metadata = ours();
            metadata["annotations"]["regcred.dev/revoke-from"] = text.into();
            SecretMeta::from_metadata(&serde_json::from_value(metadata).unwrap())
        };
        let time = "2026-01-01T00:40:00.123Z";
        assert_eq!(told(time).revoke_from(), time.parse().ok());
        assert_eq!((told("soon").revoke_from(), meta(|_| {}).revoke_from()), (None, None));
        assert_eq!((meta(|_| {}).revision(), meta(|m| m["annotations"] = json!({})).revision()), (Some("r1"), None));
    }

    #[test]
    fn trusts_a_ledger_that_nobody_else_wrote() {
        let entry = |manager: &str| json!({"manager": manager, "fieldsV1": {"f:data": {"f:ledger.json": {}}}});
        for (name, managers, trusted) in [
            ("ours", json!([entry("regcred")]), true),
            ("edited by hand", json!([entry("regcred"), entry("kubectl-edit")]), false),
            ("theirs", json!([entry("kubectl-edit")]), false),
        ] {
            assert_eq!(meta(|m| m["managedFields"] = managers).data_trusted, trusted, "{name}");
        }
    }

    #[test]
    fn forgives_a_stripped_label_where_managed_fields_tell_the_writer() {
        let meta = meta(|m| m["labels"] = json!({}));
        assert_eq!(meta.ownership(&reference()), Ownership::Ours);
    }

    #[test]
    fn distrusts_data_that_another_manager_owns() {
        let entry = |manager: &str| json!({"manager": manager, "fieldsV1": {"f:data": {"f:.dockerconfigjson": {}}}});
        let other = json!({"manager": "kubectl", "fieldsV1": {"f:data": {"f:other": {}}}});
        for (name, managers, trusted) in [
            ("ours twice", json!([entry("regcred"), entry("regcred")]), true),
            ("a foreign key beside ours", json!([entry("regcred"), other]), true),
            ("theirs", json!([entry("kubectl")]), false),
            ("shared", json!([entry("regcred"), entry("kubectl")]), false),
            ("nobody's", json!([]), false),
        ] {
            assert_eq!(meta(|m| m["managedFields"] = managers).data_trusted, trusted, "{name}");
        }
    }

    #[test]
    fn a_secret_of_another_type_or_immutable_is_not_ours() {
        for (change, clause) in [
            (json!({"type": "Opaque"}), "has type \"Opaque\""),
            (json!({"type": DOCKER_CONFIG_JSON_TYPE, "immutable": true}), "is immutable"),
        ] {
            let mut secret = change;
            secret["metadata"] = ours();
            let meta = SecretMeta::from_secret(&serde_json::from_value(secret).unwrap());
            match meta.ownership(&reference()) {
                Ownership::Foreign(text) => assert!(text.starts_with(clause), "{text}"),
                Ownership::Ours => panic!("{clause}"),
            }
        }
    }
}
