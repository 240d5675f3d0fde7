//! Sixth step: what to write. Pure; every object and every patch is built here.

use std::{cell::OnceCell, collections::BTreeMap, sync::Arc};

use json_patch::{
    AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation, TestOperation,
    jsonptr::{PointerBuf, Token},
};
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde_json::{Value, json};

use super::{
    secret_meta::{Marks, ObjectKey, Ownership, SecretMeta},
    sighting::SecretState,
    targets::Targets,
    validate::{Connection, Target},
    verify::Proven,
};
use crate::{
    api::{
        Reason,
        connection::DeletionPolicy,
        names::{
            COMPARE_OPTIONS, COMPARE_OPTIONS_ANNOTATION, CONFIG_KEY_ANNOTATION, CONNECTION_ANNOTATION,
            CONNECTION_CREATED_ANNOTATION, CONNECTION_LABEL, DELETION_POLICY_ANNOTATION, DOCKER_CONFIG_JSON_KEY,
            DOCKER_CONFIG_JSON_TYPE, EXPIRES_AT_ANNOTATION, EXTRA_ANNOTATIONS_ANNOTATION, EXTRA_LABELS_ANNOTATION,
            FIELD_MANAGER, LEDGER_TYPE, MANAGED_BY_LABEL, NAMESPACE_ANNOTATION, REVISION_ANNOTATION, SYNC_OPTIONS,
            SYNC_OPTIONS_ANNOTATION,
        },
        status::DeliveredCredential,
    },
    domain::docker_config::DockerConfig,
    problem::{Problem, field},
};

/// How a target stands to what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is not there, or not known to be there.
    Missing,
    /// It is ours and not as it should be.
    Outdated(Arc<SecretMeta>),
    /// It is as it should be.
    Current,
    /// It is not ours.
    Foreign(Problem),
}

/// One write.
pub enum Write {
    /// Make a Secret that should not exist yet.
    Create(Box<Secret>),
    /// Replace a Secret of ours on which nothing is anybody else's, if it still is what it was. It takes the API server a third
    /// less work than a change.
    Replace(Box<Secret>),
    /// Change a Secret of ours, if it still is what it was.
    Update(Patch),
}

/// A write and what it rests on.
pub struct PlannedWrite {
    /// The namespace of the Secret.
    pub namespace: Arc<str>,
    /// Its namespace and name.
    pub key: ObjectKey,
    /// What is known of it.
    pub known: SecretState,
    /// What to do with it.
    pub write: Write,
}

/// What all targets of a connection should look like, but for the namespace that each is meant for. Without a credential
/// nothing was ever delivered, so nothing is current.
pub struct Pattern<'a> {
    connection: &'a Connection,
    marks: Option<Marks>,
    /// Marks that are like these. The targets of a connection share theirs, so most are the very same.
    same: OnceCell<Arc<Marks>>,
}

impl<'a> Pattern<'a> {
    /// With this credential.
    pub fn new(connection: &'a Connection, delivered: Option<&DeliveredCredential>) -> Self {
        let marks = delivered.and_then(|credential| marks(connection, credential));
        Self { connection, marks, same: OnceCell::new() }
    }

    /// Whether marks are as they should be.
    fn are_wanted(&self, marks: &Arc<Marks>) -> bool {
        if self.same.get().is_some_and(|same| Arc::ptr_eq(same, marks)) {
            return true;
        }
        let are_wanted = self.marks.as_ref() == Some(&**marks);
        if are_wanted {
            // Another one that is like them is as good.
            let _ = self.same.set(Arc::clone(marks));
        }
        are_wanted
    }

    /// How the target in a namespace stands, known without its data.
    pub fn standing(&self, namespace: &str, state: &SecretState) -> Standing {
        let meta = match state {
            SecretState::Unknown | SecretState::Absent => return Standing::Missing,
            SecretState::Present(meta) => meta,
        };
        let is_wanted = meta.is_at_home && self.are_wanted(&meta.marks);
        if is_wanted && meta.data_trusted && meta.unusable.is_none() {
            // Marks that are as they should be say whose it is, too.
            return Standing::Current;
        }
        let Target { name, .. } = &self.connection.target;
        match meta.ownership(&self.connection.reference) {
            Ownership::Foreign(clause) => Standing::Foreign(
                Problem::new(
                    Reason::TargetConflict,
                    format!("Secret {name:?} in namespace {namespace:?} exists and {clause}; it was not touched"),
                )
                .at(field::SECRET_NAME)
                .hint(match meta.is_source {
                    true => "it is the source of a credential: choose another name in spec.secret.name, or leave its namespace out",
                    false => "delete that Secret, or choose another name in spec.secret.name",
                }),
            ),
            Ownership::Ours => Standing::Outdated(Arc::clone(meta)),
        }
    }
}

/// When a target has its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// As soon as it can.
    Soon,
    /// After all others: it was in trouble when it was written last.
    Last,
    /// Not in this plan.
    Rest,
}

/// The writes that bring the targets to a proven credential, which the status calls `credential`: missing ones first, and in the
/// end those that were in trouble before. Each is built when it is asked for.
pub fn plan<'a>(
    connection: &'a Connection,
    proven: &Proven,
    credential: &DeliveredCredential,
    targets: &'a Targets,
    turn: impl Fn(&str, &SecretState) -> Turn,
) -> Box<dyn Iterator<Item = PlannedWrite> + Send + 'a> {
    let pattern = Pattern::new(connection, Some(credential));
    let (mut missing, mut outdated, mut last) = (vec![], vec![], vec![]);
    for (namespace, state) in targets.iter() {
        let (meta, list) = match pattern.standing(namespace, state) {
            Standing::Missing => (None, &mut missing),
            Standing::Outdated(meta) => (Some(meta), &mut outdated),
            Standing::Current | Standing::Foreign(_) => continue,
        };
        match turn(namespace, state) {
            Turn::Soon => list.push((namespace, state, meta)),
            Turn::Last => last.push((namespace, state, meta)),
            Turn::Rest => {}
        }
    }
    let config = connection.site.as_ref().map(|site| DockerConfig::new(&site.config_key, proven.credential()));
    let wanted = pattern.marks.zip(config);
    Box::new(missing.into_iter().chain(outdated).chain(last).filter_map(move |(namespace, known, meta)| {
        let (wanted, config) = wanted.as_ref()?;
        let key = targets.key(namespace);
        let write = match meta {
            None => Write::Create(Box::new(secret(&key, wanted.clone(), config))),
            Some(meta) if meta.is_ours_alone && meta.unusable.is_none() => {
                let mut secret = secret(&key, wanted.clone(), config);
                secret.metadata.uid = Some(meta.uid.clone());
                secret.metadata.resource_version = Some(meta.resource_version.clone());
                Write::Replace(Box::new(secret))
            }
            Some(meta) => Write::Update(patch(&meta, wanted, config)),
        };
        Some(PlannedWrite { namespace: Arc::clone(namespace), key, known: known.clone(), write })
    }))
}

/// The change of nothing but what a Secret of ours says of the end of its connection.
pub fn policy_patch(known: &SecretMeta, type_: &str, policy: DeletionPolicy) -> Patch {
    Patch(vec![
        replace(&["metadata", "resourceVersion"], known.resource_version.clone().into()),
        test(&["type"], type_.into()),
        add(&["metadata", "annotations", DELETION_POLICY_ANNOTATION], policy.as_str().into()),
    ])
}

/// The change of a ledger that was read as a whole to what it shall be as a whole.
pub fn ledger_patch(before: &Secret, after: &Secret) -> Patch {
    let metadata = &after.metadata;
    Patch(vec![
        replace(&["metadata", "resourceVersion"], json!(before.metadata.resource_version)),
        test(&["type"], LEDGER_TYPE.into()),
        add(&["metadata", "labels"], json!(metadata.labels)),
        add(&["metadata", "annotations"], json!(metadata.annotations)),
        add(&["data"], json!(after.data)),
    ])
}

/// The labels and annotations of the targets, but for the namespace that each is meant for.
fn marks(connection: &Connection, credential: &DeliveredCredential) -> Option<Marks> {
    let site = connection.site.as_ref()?;
    let Target { name: _, labels: extra_labels, annotations: extra_annotations } = &connection.target;
    let mut labels = extra_labels.clone();
    labels.insert(MANAGED_BY_LABEL.into(), FIELD_MANAGER.into());
    labels.insert(CONNECTION_LABEL.into(), connection.reference.label_value());

    let mut annotations = extra_annotations.clone();
    // These keys are Argo CD's, not ours: a user who says something else means it.
    for (key, value) in [(COMPARE_OPTIONS_ANNOTATION, COMPARE_OPTIONS), (SYNC_OPTIONS_ANNOTATION, SYNC_OPTIONS)] {
        annotations.entry(key.into()).or_insert_with(|| value.into());
    }
    annotations.insert(CONNECTION_ANNOTATION.into(), connection.reference.to_string());
    annotations.insert(REVISION_ANNOTATION.into(), credential.revision.clone());
    annotations.insert(CONFIG_KEY_ANNOTATION.into(), site.config_key.as_str().into());
    annotations.insert(DELETION_POLICY_ANNOTATION.into(), connection.deletion_policy.as_str().into());
    annotations.insert(CONNECTION_CREATED_ANNOTATION.into(), connection.created.to_string());
    if let Some(expires_at) = &credential.expires_at {
        annotations.insert(EXPIRES_AT_ANNOTATION.into(), expires_at.0.to_string());
    }
    for (list, extra) in [(EXTRA_LABELS_ANNOTATION, extra_labels), (EXTRA_ANNOTATIONS_ANNOTATION, extra_annotations)] {
        if !extra.is_empty() {
            annotations.insert(list.into(), extra.keys().cloned().collect::<Vec<_>>().join(","));
        }
    }
    Some(Marks { labels, annotations })
}

fn secret(key: &ObjectKey, mut marks: Marks, config: &DockerConfig) -> Secret {
    marks.annotations.insert(NAMESPACE_ANNOTATION.into(), key.namespace.clone());
    Secret {
        metadata: ObjectMeta {
            namespace: Some(key.namespace.clone()),
            name: Some(key.name.clone()),
            labels: Some(marks.labels),
            annotations: Some(marks.annotations),
            ..ObjectMeta::default()
        },
        type_: Some(DOCKER_CONFIG_JSON_TYPE.into()),
        data: Some(BTreeMap::from([(DOCKER_CONFIG_JSON_KEY.into(), ByteString(config.expose().to_vec()))])),
        ..Secret::default()
    }
}

/// The change from what is known of a Secret to what is wanted. Replacing the resourceVersion is the precondition: with a
/// stale one the server answers a clean conflict, where a failed `test` would be a bare 422.
fn patch(known: &SecretMeta, wanted: &Marks, config: &DockerConfig) -> Patch {
    let data = serde_json::to_value(ByteString(config.expose().to_vec())).unwrap_or(Value::Null);
    let mut operations = vec![
        replace(&["metadata", "resourceVersion"], known.resource_version.clone().into()),
        test(&["type"], DOCKER_CONFIG_JSON_TYPE.into()),
        add(&["data", DOCKER_CONFIG_JSON_KEY], data),
    ];
    let maps = [
        ("labels", known.has_labels, &known.marks.labels, &wanted.labels),
        ("annotations", known.has_annotations, &known.marks.annotations, &wanted.annotations),
    ];
    for (map, exists, known, wanted) in maps {
        if !exists {
            operations.push(add(&["metadata", map], json!(wanted)));
            continue;
        }
        for (key, value) in wanted.iter().filter(|(key, value)| known.get(*key) != Some(*value)) {
            operations.push(add(&["metadata", map, key], value.clone().into()));
        }
        for key in known.keys().filter(|key| !wanted.contains_key(*key)) {
            operations.push(PatchOperation::Remove(RemoveOperation { path: pointer(&["metadata", map, key]) }));
        }
    }
    Patch(operations)
}

fn add(path: &[&str], value: Value) -> PatchOperation {
    PatchOperation::Add(AddOperation { path: pointer(path), value })
}

fn replace(path: &[&str], value: Value) -> PatchOperation {
    PatchOperation::Replace(ReplaceOperation { path: pointer(path), value })
}

fn test(path: &[&str], value: Value) -> PatchOperation {
    PatchOperation::Test(TestOperation { path: pointer(path), value })
}

fn pointer(path: &[&str]) -> PointerBuf {
    PointerBuf::from_tokens(path.iter().map(|token| Token::new(*token)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::fixture::{connection, named, object, one, proven, target};

    fn planned(connection: &Connection, revision: &str, state: &SecretState) -> Vec<PlannedWrite> {
        let targets = one(connection, state.clone());
        plan(connection, &proven(), &named(revision), &targets, |_, _| Turn::Soon).collect()
    }

    fn update(connection: &Connection, revision: &str, state: &SecretState) -> Value {
        match planned(connection, revision, state).into_iter().next() {
            Some(PlannedWrite { write: Write::Update(patch), .. }) => serde_json::to_value(patch).unwrap(),
            Some(PlannedWrite { write: Write::Create(_) | Write::Replace(_), .. }) | None => panic!("not an update"),
        }
    }

    fn standing(connection: &Connection, state: &SecretState, revision: Option<&str>) -> Standing {
        Pattern::new(connection, revision.map(named).as_ref()).standing("shop", state)
    }

    #[test]
    fn a_missing_target_is_created_whole() {
        let connection = connection(&object(|object| {
            object["spec"]["secret"] = json!({"labels": {"team": "shop"}, "annotations": {"note": "x"}});
        }));
        for state in [SecretState::Absent, SecretState::Unknown] {
            let plan = planned(&connection, "r1", &state);
            let PlannedWrite { key, write: Write::Create(secret), .. } = &plan[0] else { panic!("not a creation") };
            assert_eq!(key.to_string(), "shop/images");
            let labels = secret.metadata.labels.clone().unwrap();
            assert_eq!((labels["team"].as_str(), labels[MANAGED_BY_LABEL].as_str()), ("shop", "regcred"));
            let annotations = secret.metadata.annotations.clone().unwrap();
            assert_eq!(annotations[REVISION_ANNOTATION], "r1");
            assert_eq!(annotations[EXTRA_LABELS_ANNOTATION], "team");
            assert_eq!(secret.metadata.owner_references, None);
            assert_eq!(secret.metadata.finalizers, None);
        }
    }

    #[test]
    fn what_the_user_tells_argo_cd_about_a_target_stands_and_is_not_written_again() {
        let own = |value: &str| {
            let secret = json!({"annotations": {SYNC_OPTIONS_ANNOTATION: value}});
            connection(&object(|object| object["spec"]["secret"] = secret))
        };
        for (connection, options) in [
            (connection(&object(|_| {})), SYNC_OPTIONS),
            (own("Delete=false"), "Delete=false"),
            (own(SYNC_OPTIONS), SYNC_OPTIONS),
        ] {
            let state = target(&connection, "r1");
            assert_eq!(standing(&connection, &state, Some("r1")), Standing::Current, "{options}");
            let SecretState::Present(meta) = state else { panic!("absent") };
            assert_eq!(meta.marks.annotations[SYNC_OPTIONS_ANNOTATION], options);
            assert_eq!(meta.marks.annotations[COMPARE_OPTIONS_ANNOTATION], COMPARE_OPTIONS);
            let mut edited = SecretMeta::clone(&meta);
            Arc::make_mut(&mut edited.marks).annotations.remove(SYNC_OPTIONS_ANNOTATION);
            let patch = update(&connection, "r1", &SecretState::Present(Arc::new(edited)));
            let path = "/metadata/annotations/argocd.argoproj.io~1sync-options";
            let put_back = json!({"op": "add", "path": path, "value": options});
            assert!(patch.as_array().unwrap().contains(&put_back), "{patch}");
        }
    }

    #[test]
    fn a_target_that_is_right_is_not_written() {
        let connection = connection(&object(|_| {}));
        let current = target(&connection, "r1");
        assert_eq!(standing(&connection, &current, Some("r1")), Standing::Current);
        assert!(planned(&connection, "r1", &current).is_empty());
        assert!(matches!(standing(&connection, &current, None), Standing::Outdated(_)));
    }

    #[test]
    fn a_target_that_serves_other_images_than_it_should_is_not_current() {
        let before = connection(&object(|_| {}));
        for change in
            [json!({"repositoryPrefix": "team"}), json!({"provider": {"generic": {"imageHost": "i.example"}}})]
        {
            let after = connection(&object(|object| json_patch::merge(&mut object["spec"], &change)));
            assert!(matches!(standing(&after, &target(&before, "r1"), Some("r1")), Standing::Outdated(_)), "{change}");
        }
    }

    #[test]
    fn an_update_names_its_precondition_and_only_what_differs() {
        let before =
            connection(&object(|object| object["spec"]["secret"] = json!({"labels": {"a/b": "1", "keep": "2"}})));
        let after = connection(&object(|object| object["spec"]["secret"] = json!({"labels": {"keep": "2"}})));
        let patch = update(&after, "r2", &target(&before, "r1"));
        let operations: Vec<(String, String)> = patch
            .as_array()
            .unwrap()
            .iter()
            .map(|o| (o["op"].as_str().unwrap().to_owned(), o["path"].as_str().unwrap().to_owned()))
            .collect();
        let expected = [
            ("replace", "/metadata/resourceVersion"),
            ("test", "/type"),
            ("add", "/data/.dockerconfigjson"),
            ("remove", "/metadata/labels/a~1b"),
            ("add", "/metadata/annotations/regcred.dev~1credential-revision"),
            ("add", "/metadata/annotations/regcred.dev~1extra-labels"),
        ];
        assert_eq!(operations, expected.map(|(op, path)| (op.to_owned(), path.to_owned())));
        assert_eq!(patch[0]["value"], "5");
    }

    #[test]
    fn a_target_on_which_nothing_is_anybody_elses_is_replaced_as_the_one_that_is_known() {
        let connection = connection(&object(|_| {}));
        let SecretState::Present(meta) = target(&connection, "r1") else { panic!("absent") };
        let alone = SecretState::Present(Arc::new(SecretMeta { is_ours_alone: true, ..SecretMeta::clone(&meta) }));
        let plan = planned(&connection, "r2", &alone);
        let PlannedWrite { write: Write::Replace(secret), .. } = &plan[0] else { panic!("not replaced") };
        assert_eq!(secret.metadata.annotations.as_ref().unwrap()[REVISION_ANNOTATION], "r2");
        let known = (secret.metadata.uid.as_deref(), secret.metadata.resource_version.as_deref());
        assert_eq!(known, (Some(meta.uid.as_str()), Some(meta.resource_version.as_str())));
        assert_eq!(secret.type_.as_deref(), Some(DOCKER_CONFIG_JSON_TYPE));
    }

    #[test]
    fn a_map_that_was_wiped_is_created_whole() {
        let connection = connection(&object(|_| {}));
        let SecretState::Present(meta) = target(&connection, "r1") else { panic!("absent") };
        let mut wiped = SecretMeta { has_labels: false, touched_by_us: true, ..SecretMeta::clone(&meta) };
        Arc::make_mut(&mut wiped.marks).labels.clear();
        let patch = update(&connection, "r1", &SecretState::Present(Arc::new(wiped)));
        assert_eq!(patch[3]["path"], "/metadata/labels");
        assert_eq!(patch[3]["value"][MANAGED_BY_LABEL], "regcred");
    }

    #[test]
    fn a_change_of_the_policy_alone_names_its_precondition_and_no_data() {
        let SecretState::Present(meta) = target(&connection(&object(|_| {})), "r1") else { panic!("absent") };
        let patch = serde_json::to_value(policy_patch(&meta, DOCKER_CONFIG_JSON_TYPE, DeletionPolicy::Retain)).unwrap();
        let expected = json!([
            {"op": "replace", "path": "/metadata/resourceVersion", "value": "5"},
            {"op": "test", "path": "/type", "value": DOCKER_CONFIG_JSON_TYPE},
            {"op": "add", "path": "/metadata/annotations/regcred.dev~1deletion-policy", "value": "Retain"},
        ]);
        assert_eq!(patch, expected);
    }

    #[test]
    fn distrusted_data_are_written_again() {
        let connection = connection(&object(|_| {}));
        let SecretState::Present(meta) = target(&connection, "r1") else { panic!("absent") };
        let touched = SecretMeta { data_trusted: false, ..SecretMeta::clone(&meta) };
        let patch = update(&connection, "r1", &SecretState::Present(Arc::new(touched)));
        assert_eq!(patch.as_array().unwrap().len(), 3, "{patch}");
    }
}
