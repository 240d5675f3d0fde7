//! What the cluster looks like, as the watches tell it: all connections, and the metadata of the Secrets and ConfigMaps
//! they are about. The only state reconciles share; nothing here does IO.

mod config_maps;
mod connections;
mod departures;
mod ledgers;
mod listing;
mod namespaces;
mod orphans;
mod owners;
mod secrets;
mod shared;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use k8s_openapi::{
    api::core::v1::{ConfigMap, Namespace, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    core::PartialObjectMeta,
    runtime::{reflector::Store, watcher::Event},
};

use tokio::sync::Notify;

use super::{
    mapper::{self, Wake},
    secret_meta::ObjectKey,
    select,
    sighting::{SecretState, Sighting},
    stored::Stored,
    targets::Targets,
};
use crate::{
    api::{Declared, connection::DeletionPolicy, names::DEFAULT_OPERATOR_NAMESPACE, provider::CaKind},
    clock::Clock,
    domain::reference::{ConnectionReference, Kind},
};
use config_maps::ConfigMaps;
use connections::Connections;
use departures::Departures;
pub use departures::LastSeen;
pub use namespaces::NamespaceId;
use namespaces::Namespaces;
pub use orphans::Orphan;
use secrets::Secrets;

/// See the module.
pub struct Index {
    inner: Mutex<Inner>,
    store: Store<Stored>,
    clock: Clock,
    /// Something may have lost its connection.
    orphaned: Notify,
    /// How often a connection changed, or a namespace that matters to one. It is counted while nobody can look.
    news: AtomicU64,
}

struct Inner {
    connections: Connections,
    secrets: Secrets,
    config_maps: ConfigMaps,
    namespaces: Namespaces,
    /// Who has a place among those that a connection may serve, where not all have one. A tenant who deletes the Secret must not
    /// lose it to another.
    places: HashMap<ConnectionReference, BTreeSet<Arc<str>>>,
    departures: Departures,
    /// All lists were complete when this was asked last.
    was_listed: bool,
}

impl Default for Index {
    fn default() -> Self {
        Self::new(Clock::system(), DEFAULT_OPERATOR_NAMESPACE)
    }
}

impl Index {
    /// An empty one that goes by this clock; ledgers are in the operator's namespace.
    pub fn new(clock: Clock, namespace: &str) -> Self {
        let inner = Inner {
            connections: Connections::new(),
            secrets: Secrets::new(namespace),
            config_maps: ConfigMaps::of(namespace),
            namespaces: Namespaces::default(),
            places: HashMap::new(),
            departures: Departures::default(),
            was_listed: false,
        };
        Self {
            store: inner.connections.store(),
            inner: Mutex::new(inner),
            clock,
            orphaned: Notify::new(),
            news: AtomicU64::new(0),
        }
    }
}

impl Index {
    /// All connections, for the run loop; those that cannot be read too.
    pub fn store(&self) -> Store<Stored> {
        self.store.clone()
    }

    /// Another number than before if a connection or a namespace changed since.
    pub fn news(&self) -> u64 {
        self.news.load(Ordering::Relaxed)
    }

    /// True once all lists are complete.
    pub fn is_synced(&self) -> bool {
        self.lock().is_listed()
    }

    /// The newest known form of a connection.
    pub fn connection(&self, reference: &ConnectionReference) -> Option<Arc<Stored>> {
        self.lock().connections.get(reference)
    }

    /// Whether this connection, and not another one of its name, is still there.
    pub fn is_alive(&self, connection: &Stored) -> bool {
        self.connection(&connection.reference()).is_some_and(|known| known.meta().uid == connection.meta().uid)
    }

    /// What is known of a Secret.
    pub fn secret(&self, key: &ObjectKey) -> SecretState {
        self.lock().secrets.state(key)
    }

    /// Which namespace has this name now.
    pub fn namespace(&self, name: &str) -> Option<NamespaceId> {
        self.lock().namespaces.id(name)
    }

    /// The Secrets that a connection writes now, and what is known of them.
    pub fn targets(&self, connection: &Declared) -> Targets {
        let mut inner = self.lock();
        inner.targets(connection).at(self.news())
    }

    /// What is known of the object with a registry's certificate authority.
    pub fn authority(&self, kind: CaKind, key: &ObjectKey) -> Sighting {
        match kind {
            CaKind::Secret => self.secret(key).sighting(),
            CaKind::ConfigMap => self.lock().config_maps.sighting(key),
        }
    }

    /// Takes in what a read of ours told about such an object, in case the watch passed it by.
    pub fn learn_authority(&self, kind: CaKind, key: &ObjectKey, sighting: Sighting) {
        match kind {
            CaKind::ConfigMap => self.lock().config_maps.learn(key, sighting),
            CaKind::Secret if self.secret(key) == SecretState::Unknown => self.learn(key, sighting.into()),
            CaKind::Secret => {}
        }
    }

    /// Takes in a connection as the API server returned it from a write of ours, ahead of the watch.
    ///
    /// One that somebody changed meanwhile is left to the watch, which also wakes those who have to act on it.
    pub fn put_connection(&self, connection: Stored) {
        let inner = &mut *self.lock();
        let reference = connection.reference();
        let known = inner.connections.get(&reference);
        let is_same = known.is_some_and(|known| has_same_wishes(known.meta(), connection.meta()));
        if is_same && !inner.connections.is_outdated(&reference, connection.meta()) {
            inner.connections.put(connection);
        }
    }

    /// Takes in what a read or write of ours told about a Secret, unless the watch already told something newer.
    pub fn learn(&self, key: &ObjectKey, state: SecretState) {
        let inner = &mut *self.lock();
        inner.secrets.learn(key, state);
        if inner.secrets.take_news() {
            self.orphaned.notify_one();
        }
    }

    /// Takes in an event of the watch on connections of a kind; returns who should be looked at.
    pub fn apply_connection(&self, kind: Kind, event: Event<Stored>) -> Vec<Wake> {
        let inner = &mut *self.lock();
        match event {
            Event::Init => {
                inner.connections.begin(kind);
                vec![]
            }
            Event::InitApply(connection) => {
                inner.connections.shows(kind, connection);
                vec![]
            }
            Event::InitDone => {
                let lacking = inner.connections.end(kind);
                self.news.fetch_add(1, Ordering::Relaxed);
                lacking.iter().for_each(|gone| drop(inner.places.remove(&gone.reference())));
                let lacking = lacking.iter().map(|gone| (gone.reference(), policy_of(gone)));
                let connections = &inner.connections;
                let is_there = |reference: &ConnectionReference| connections.get(reference).is_some();
                inner.departures.listed(kind, lacking, is_there, self.clock.uptime());
                self.orphaned.notify_one();
                let connections = inner.connections.all();
                inner.secrets.reset(&connections);
                inner.config_maps.concerned.reset(&connections);
                self.notice_completion(inner);
                inner.everybody()
            }
            Event::Apply(connection) => {
                let reference = connection.reference();
                inner.departures.appeared(&reference);
                if inner.connections.is_outdated(&reference, connection.meta()) {
                    return vec![];
                }
                let old = inner.connections.get(&reference);
                if old.as_ref().is_some_and(|old| old.meta().resource_version == connection.meta().resource_version) {
                    return vec![];
                }
                if !old.as_ref().is_some_and(|old| has_same_wishes(old.meta(), connection.meta())) {
                    self.news.fetch_add(1, Ordering::Relaxed);
                }
                inner.secrets.follow(&connection);
                inner.config_maps.follow(&connection);
                if let Some(old) = old {
                    inner.secrets.unfollow(&old, Some(&connection));
                    inner.config_maps.unfollow(&old, Some(&connection));
                }
                inner.connections.put(connection);
                inner.awake(vec![mapper::wake_of(&reference)])
            }
            Event::Delete(gone) => {
                let reference = gone.reference();
                self.news.fetch_add(1, Ordering::Relaxed);
                let old = inner.connections.get(&reference);
                // The event holds the last form, in case it was edited right before.
                let last = policy_of(&gone).or_else(|| old.as_deref().and_then(policy_of));
                inner.departures.went(reference, last.map(LastSeen::AtTheEnd), self.clock.uptime());
                self.orphaned.notify_one();
                if let Some(old) = old {
                    inner.secrets.unfollow(&old, None);
                    inner.config_maps.unfollow(&old, None);
                    inner.connections.remove(&old);
                    inner.places.remove(&old.reference());
                }
                vec![]
            }
        }
    }

    /// Connections of this kind cannot be listed. Those of the other must not wait for it. Returns who should be looked at.
    pub fn connections_unavailable(&self, kind: Kind) -> Vec<Wake> {
        let inner = &mut *self.lock();
        let is_news = inner.connections.unavailable(kind);
        self.notice_completion(inner);
        if is_news { inner.everybody() } else { vec![] }
    }

    /// Takes in an event of the watch on Secrets; returns who should be looked at.
    pub fn apply_secret(&self, event: Event<PartialObjectMeta<Secret>>) -> Vec<Wake> {
        let mut inner = self.lock();
        let was_listed = inner.secrets.is_listed;
        let mut woken = inner.secrets.apply(event);
        if inner.secrets.take_news() {
            self.orphaned.notify_one();
        }
        woken.retain(|(wake, key)| inner.is_concerned(wake, key));
        let woken = woken.into_iter().map(|(wake, _)| wake).collect();
        self.notice_completion(&mut inner);
        if was_listed == inner.secrets.is_listed { inner.awake(woken) } else { inner.everybody() }
    }

    /// Takes in an event of the watch on ConfigMaps; returns who should be looked at.
    pub fn apply_config_map(&self, event: Event<PartialObjectMeta<ConfigMap>>) -> Vec<Wake> {
        let mut inner = self.lock();
        let was_listed = inner.config_maps.is_listed;
        let woken = inner.config_maps.apply(event);
        self.notice_completion(&mut inner);
        if was_listed == inner.config_maps.is_listed { inner.awake(woken) } else { inner.everybody() }
    }

    /// The watch on ConfigMaps failed. Only connections that refer to one need it, and what is not known of it they read:
    /// the others must not wait for it. Returns who should be looked at.
    pub fn config_maps_unavailable(&self) -> Vec<Wake> {
        let mut inner = self.lock();
        let was_listed = std::mem::replace(&mut inner.config_maps.is_listed, true);
        self.notice_completion(&mut inner);
        match was_listed {
            true => vec![],
            false => inner.everybody(),
        }
    }

    /// Takes in an event of the watch on namespaces; returns who should be looked at.
    pub fn apply_namespace(&self, event: Event<PartialObjectMeta<Namespace>>) -> Vec<Wake> {
        let mut inner = self.lock();
        let was_listed = inner.namespaces.is_listed;
        let changes = inner.namespaces.apply(event);
        if was_listed != inner.namespaces.is_listed {
            self.notice_completion(&mut inner);
            return inner.everybody();
        }
        if !was_listed {
            return vec![];
        }
        for change in changes.iter().filter(|change| change.is_gone()) {
            inner.secrets.namespace_went(&change.name);
        }
        let choices = inner.connections.choices();
        let concerned = choices.filter(|(_, choice)| changes.iter().any(|change| change.matters_to(choice)));
        let woken: Vec<Wake> = concerned.map(|(reference, _)| mapper::wake_of(reference)).collect();
        if !woken.is_empty() {
            self.news.fetch_add(1, Ordering::Relaxed);
        }
        inner.awake(woken)
    }

    /// The watch on namespaces failed. Those who serve many wait for it; the others must not. Returns who should be looked at.
    pub fn namespaces_unavailable(&self) -> Vec<Wake> {
        let mut inner = self.lock();
        let is_news = !inner.namespaces.is_listed && !inner.namespaces.is_unavailable;
        inner.namespaces.is_unavailable = true;
        self.notice_completion(&mut inner);
        if is_news { inner.everybody() } else { vec![] }
    }

    /// Whoever looks for orphans may have looked before all lists were complete, when there was nothing to see.
    fn notice_completion(&self, inner: &mut Inner) {
        if inner.is_listed() && !std::mem::replace(&mut inner.was_listed, true) {
            self.orphaned.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics half-way through a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Whether a connection is there, even one that cannot be read.
    fn is_there(&self, reference: &ConnectionReference) -> bool {
        self.connections.get(reference).is_some()
    }

    /// Whether a connection is known not to be there.
    fn is_gone(&self, reference: &ConnectionReference) -> bool {
        self.is_listed() && self.connections.is_listed(reference.kind()) && !self.is_there(reference)
    }

    fn targets(&mut self, connection: &Declared) -> Targets {
        let name = mapper::target_name(connection);
        let reference = connection.reference();
        let served = match self.connections.choice_of(connection) {
            None => {
                let own = reference.namespace().map(Arc::from).into_iter().collect();
                select::serve(connection, own, vec![], |_| false)
            }
            Some(choice) => {
                let chosen = self.namespaces.chosen(&choice).cloned().collect();
                let holding = self.secrets.namespaces_of(&reference);
                let mut holding: Vec<Arc<str>> = self.namespaces.that_stay(holding).cloned().collect();
                let places = self.places.get(&reference).into_iter().flatten();
                holding.extend(places.filter(|name| self.namespaces.is_chosen(name, &choice)).cloned());
                holding.sort();
                holding.dedup();
                let served = select::serve(connection, chosen, holding, |name| self.namespaces.refuses(name));
                match served.left_out.is_empty() {
                    true => self.places.remove(&reference),
                    false => self.places.insert(reference, served.namespaces.iter().cloned().collect()),
                };
                served
            }
        };
        Targets::new(name, served, |key| self.secrets.state(key))
    }

    /// Whether a Secret matters to a connection that would be woken for it: a cluster's connection may have its name elsewhere.
    fn is_concerned(&self, wake: &Wake, key: &ObjectKey) -> bool {
        let Some(connection) = self.connections.find(wake) else { return false };
        let reference = connection.reference();
        self.secrets.concerned.contains(key)
            || self.secrets.is_owned(&reference, key)
            || self.connections.choice(&reference).is_none_or(|it| self.namespaces.is_chosen(&key.namespace, it))
    }

    fn everybody(&self) -> Vec<Wake> {
        let all = self.connections.all();
        self.awake(all.iter().map(|connection| mapper::wake_of(&connection.reference())).collect())
    }

    fn is_listed(&self) -> bool {
        self.connections.are_listed()
            && self.secrets.is_listed
            && self.config_maps.is_listed
            && (self.namespaces.is_listed || self.namespaces.is_unavailable)
    }

    /// Nobody is woken before all lists are complete: what is not listed yet would look as if it did not exist.
    fn awake(&self, mut woken: Vec<Wake>) -> Vec<Wake> {
        if !self.is_listed() {
            return vec![];
        }
        if !self.namespaces.is_listed {
            woken.retain(|wake| wake.namespace.as_deref() != Some(mapper::NO_NAMESPACE));
        }
        woken
    }
}

/// Whether two forms of a connection ask for the same: by spec, by annotation, or by their end.
fn has_same_wishes(one: &ObjectMeta, other: &ObjectMeta) -> bool {
    one.generation == other.generation
        && one.annotations == other.annotations
        && one.deletion_timestamp.is_some() == other.deletion_timestamp.is_some()
}

/// What a connection wants for its Secrets, if that can be read.
fn policy_of(connection: &Stored) -> Option<DeletionPolicy> {
    connection.readable().map(|connection| connection.spec.deletion_policy.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kube::runtime::reflector::ObjectRef;

    use super::*;
    use crate::controller::fixture::{self, object_json};
    use crate::controller::secret_meta::SecretMeta;
    use serde_json::{Value, json};

    fn stored(resource_version: &str, change: impl FnOnce(&mut Value)) -> Stored {
        fixture::stored(object_json(|object| {
            object["metadata"]["resourceVersion"] = resource_version.into();
            change(object);
        }))
    }

    fn secret(name: &str, resource_version: &str) -> PartialObjectMeta<Secret> {
        serde_json::from_value(json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
            "metadata": {"namespace": "shop", "name": name, "uid": name, "resourceVersion": resource_version},
        }))
        .unwrap()
    }

    fn key(name: &str) -> ObjectKey {
        ObjectKey { namespace: "shop".into(), name: name.into() }
    }

    /// An index that waits for no connections of the cluster, nor for namespaces.
    fn fresh() -> Index {
        let index = Index::default();
        assert!(index.connections_unavailable(Kind::Cluster).is_empty() && index.namespaces_unavailable().is_empty());
        index
    }

    /// An index that has listed the connection `images` and these Secrets.
    fn listed(secrets: &[&str]) -> Index {
        let index = fresh();
        for event in [Event::Init, Event::InitApply(stored("10", |_| {})), Event::InitDone] {
            assert_eq!(
                index.apply_connection(Kind::Namespaced, event),
                [],
                "nobody is woken before the others are listed"
            );
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

    /// A Secret that was surely written for the connection `images`.
    fn ours(name: &str, resource_version: &str) -> PartialObjectMeta<Secret> {
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

    fn orphans(index: &Index) -> Vec<(String, Option<LastSeen>)> {
        let mut orphans: Vec<_> =
            index.orphans(Duration::ZERO).into_iter().map(|orphan| (orphan.key.name, orphan.policy)).collect();
        orphans.sort_by(|one, other| one.0.cmp(&other.0));
        orphans
    }

    #[test]
    fn what_a_connection_leaves_behind_is_an_orphan_until_it_comes_back() {
        let index = listed(&[]);
        for name in ["images", "before"] {
            index.apply_secret(Event::Apply(ours(name, "20")));
        }
        assert_eq!(orphans(&index), []);
        assert!(!index.is_gone(&ConnectionReference::namespaced("shop", "images")));
        let retain = |object: &mut Value| object["spec"]["deletionPolicy"] = "Retain".into();
        index.apply_connection(Kind::Namespaced, Event::Delete(stored("30", retain)));
        let word = Some(LastSeen::AtTheEnd(DeletionPolicy::Retain));
        assert_eq!(orphans(&index), [("before".into(), word), ("images".into(), word)], "its last form counts");
        assert!(index.is_gone(&ConnectionReference::namespaced("shop", "images")));

        index.apply_connection(
            Kind::Namespaced,
            Event::Apply(stored("31", |object| object["metadata"]["uid"] = "new".into())),
        );
        assert_eq!(orphans(&index), []);
        index.apply_connection(
            Kind::Namespaced,
            Event::Delete(stored("32", |object| object["metadata"]["uid"] = "new".into())),
        );
        index.apply_secret(Event::Delete(ours("before", "40")));
        let word = Some(LastSeen::AtTheEnd(DeletionPolicy::Delete));
        assert_eq!(orphans(&index), [("images".into(), word)]);
    }

    #[test]
    fn what_a_list_does_not_show_any_more_is_gone_but_its_last_word_may_have_been_missed() {
        let index = listed(&[]);
        index.apply_secret(Event::Apply(ours("images", "20")));
        index.apply_connection(Kind::Namespaced, Event::Init);
        assert_eq!(orphans(&index), [], "a list that has begun says nothing yet");
        index.apply_connection(Kind::Namespaced, Event::InitDone);
        assert_eq!(orphans(&index), [("images".into(), Some(LastSeen::Before(DeletionPolicy::Delete)))]);
    }

    #[test]
    fn a_secret_whose_connection_went_before_the_start_is_an_orphan_without_a_word() {
        let index = fresh();
        for event in [Event::Init, Event::InitDone] {
            index.apply_connection(Kind::Namespaced, event);
        }
        index.config_maps_unavailable();
        index.apply_secret(Event::Init);
        index.apply_secret(Event::InitApply(ours("images", "20")));
        assert_eq!(orphans(&index), [], "not before all lists are complete");
        assert!(!index.is_gone(&ConnectionReference::namespaced("shop", "images")));
        index.apply_secret(Event::InitDone);
        assert_eq!(orphans(&index), [("images".into(), None)]);
    }

    #[tokio::test]
    async fn whoever_looked_for_orphans_too_early_is_called_again_once_all_lists_are_complete() {
        let index = fresh();
        index.config_maps_unavailable();
        for event in [Event::Init, Event::InitDone] {
            index.apply_connection(Kind::Namespaced, event);
        }
        index.orphaned().await;
        for event in [Event::Init, Event::InitApply(ours("images", "20"))] {
            index.apply_secret(event);
        }
        index.orphaned().await;
        assert_eq!(orphans(&index), []);
        index.apply_secret(Event::InitDone);
        let called = tokio::time::timeout(Duration::from_secs(60), index.orphaned()).await;
        assert!(called.is_ok() && orphans(&index).len() == 1);
    }

    #[test]
    fn a_connection_that_cannot_be_read_is_not_gone() {
        let invalid = |version: &str| -> Stored {
            fixture::stored(json!({
                "apiVersion": "regcred.dev/v1alpha1", "kind": "RegistryConnection", "spec": {"provider": 7},
                "metadata": {"namespace": "shop", "name": "images", "uid": "0123456789", "resourceVersion": version},
            }))
        };
        let index = listed(&[]);
        index.apply_secret(Event::Apply(ours("images", "20")));
        for event in [Event::Init, Event::InitApply(invalid("30")), Event::InitDone] {
            index.apply_connection(Kind::Namespaced, event);
        }
        assert_eq!(orphans(&index), []);
        index.apply_connection(Kind::Namespaced, Event::Delete(stored("31", |_| {})));
        assert_eq!(orphans(&index).len(), 1);
        index.apply_connection(Kind::Namespaced, Event::Apply(invalid("32")));
        assert_eq!(orphans(&index), []);
    }

    #[test]
    fn what_a_connection_wrote_under_another_name_is_stale_and_wakes_it() {
        let index = listed(&[]);
        let reference = ConnectionReference::namespaced("shop", "images");
        index.apply_secret(Event::Apply(ours("images", "20")));
        let names = || index.written_for(&reference).into_iter().map(|(key, _)| key.name).collect::<Vec<_>>();
        assert_eq!(names(), ["images"]);
        assert_eq!(index.apply_secret(Event::Apply(ours("before", "21"))), [ObjectRef::new("images").within("shop")]);
        assert_eq!(names(), ["before", "images"]);

        let mut taken = ours("before", "22");
        taken.metadata.labels = None;
        index.apply_secret(Event::Apply(taken));
        assert_eq!(names(), ["images"], "it is not ours any more");
    }

    #[test]
    fn a_copy_by_hand_and_a_copy_elsewhere_belong_to_nobody() {
        let index = listed(&[]);
        let mut copy = ours("copy", "20");
        copy.metadata.managed_fields = None;
        let mut elsewhere = ours("images", "21");
        elsewhere.metadata.namespace = Some("other".into());
        for secret in [copy, elsewhere] {
            assert_eq!(index.apply_secret(Event::Apply(secret)), []);
        }
        index.apply_connection(Kind::Namespaced, Event::Delete(stored("30", |_| {})));
        assert_eq!(orphans(&index), []);
    }

    #[test]
    fn keeps_what_a_connection_reads_or_writes_and_drops_the_rest() {
        let index = listed(&["login", "foreign"]);
        assert!(matches!(index.secret(&key("login")), SecretState::Present(_)));
        assert_eq!(index.secret(&key("images")), SecretState::Absent);
        assert_eq!(index.secret(&key("foreign")), SecretState::Unknown);
    }

    #[test]
    fn wakes_the_connection_for_its_source_and_its_target_only() {
        let index = listed(&[]);
        for (name, woken) in [("login", 1), ("images", 1), ("foreign", 0)] {
            assert_eq!(index.apply_secret(Event::Apply(secret(name, "2"))).len(), woken, "{name} appears");
            assert_eq!(index.apply_secret(Event::Apply(secret(name, "2"))).len(), 0, "{name} as before");
            assert_eq!(index.apply_secret(Event::Delete(secret(name, "3"))).len(), woken, "{name} goes");
        }
    }

    #[test]
    fn a_secret_lost_in_a_relist_is_noticed() {
        let index = listed(&["login"]);
        index.apply_secret(Event::Init);
        assert_eq!(index.apply_secret(Event::InitDone).len(), 1);
        assert_eq!(index.secret(&key("login")), SecretState::Absent);
    }

    #[test]
    fn a_new_status_makes_nobody_forget_the_secrets() {
        let index = listed(&["login"]);
        index.learn(&key("images"), SecretState::Present(Arc::default()));
        let woken = index.apply_connection(
            Kind::Namespaced,
            Event::Apply(stored("11", |object| {
                object["status"] = json!({"observedGeneration": 1});
            })),
        );
        assert_eq!(woken.len(), 1);
        assert!(matches!(index.secret(&key("login")), SecretState::Present(_)));
    }

    #[test]
    fn a_changed_reference_forgets_the_old_secret_and_does_not_know_the_new_one() {
        let index = listed(&["login"]);
        index.apply_connection(
            Kind::Namespaced,
            Event::Apply(stored("11", |object| {
                object["spec"]["provider"]["generic"]["secretRef"]["name"] = "other".into();
            })),
        );
        assert_eq!(index.secret(&key("login")), SecretState::Unknown);
        assert_eq!(index.secret(&key("other")), SecretState::Unknown);
        assert_eq!(index.apply_secret(Event::Apply(secret("other", "12"))).len(), 1);
        assert_eq!(index.apply_secret(Event::Apply(secret("login", "13"))).len(), 0);
    }

    #[test]
    fn what_we_wrote_is_not_overtaken_by_an_older_event() {
        let index = listed(&[]);
        index.put_connection(stored("12", |object| object["status"] = json!({"secretName": "new"})));
        assert_eq!(index.apply_connection(Kind::Namespaced, Event::Apply(stored("11", |_| {}))), []);
        assert_eq!(
            index.apply_connection(Kind::Namespaced, Event::Apply(stored("12", |_| {}))),
            [],
            "our own write wakes nobody"
        );
        let status =
            index.connection(&ConnectionReference::namespaced("shop", "images")).unwrap().status().cloned().unwrap();
        assert_eq!(status.secret_name.as_deref(), Some("new"));

        let written = SecretMeta { resource_version: "20".into(), data_trusted: true, ..SecretMeta::default() };
        index.learn(&key("images"), SecretState::Present(Arc::new(written)));
        assert_eq!(index.apply_secret(Event::Apply(secret("images", "19"))).len(), 0);
        assert_eq!(index.apply_secret(Event::Delete(secret("images", "18"))).len(), 0, "its predecessor");
        assert!(matches!(index.secret(&key("images")), SecretState::Present(_)));
    }

    #[test]
    fn what_one_connection_wrote_wakes_another_that_reads_it() {
        let index = listed(&[]);
        index.apply_connection(
            Kind::Namespaced,
            Event::Apply(stored("11", |object| {
                object["metadata"]["name"] = "reader".into();
                object["spec"]["provider"]["generic"]["secretRef"]["name"] = "images".into();
            })),
        );
        let written = SecretMeta { uid: "images".into(), resource_version: "20".into(), ..SecretMeta::default() };
        index.learn(&key("images"), SecretState::Present(Arc::new(written)));
        let woken = index.apply_secret(Event::Apply(secret("images", "20")));
        assert!(woken.contains(&ObjectRef::new("reader").within("shop")), "{woken:?}");
        assert_eq!(index.apply_secret(Event::Apply(secret("images", "20"))).len(), 0, "once");
    }

    #[test]
    fn what_a_connection_wrote_for_itself_wakes_nobody() {
        let index = listed(&[]);
        let written = SecretMeta { uid: "images".into(), resource_version: "20".into(), ..SecretMeta::default() };
        index.learn(&key("images"), SecretState::Present(Arc::new(written)));
        assert_eq!(index.apply_secret(Event::Apply(secret("images", "20"))), []);
    }

    #[test]
    fn a_late_answer_about_a_secret_that_went_is_no_news() {
        let index = listed(&[]);
        index.apply_secret(Event::Apply(secret("images", "20")));
        index.apply_secret(Event::Delete(secret("images", "21")));
        let answer = |version: &str| {
            SecretState::Present(Arc::new(SecretMeta { resource_version: version.into(), ..SecretMeta::default() }))
        };
        index.learn(&key("images"), answer("20"));
        assert_eq!(index.secret(&key("images")), SecretState::Absent);
        index.learn(&key("images"), answer("22"));
        assert!(matches!(index.secret(&key("images")), SecretState::Present(_)));
    }

    #[test]
    fn a_secret_that_passed_by_before_anybody_asked_is_not_taken_for_absent() {
        let index = fresh();
        for event in [Event::Init, Event::InitDone] {
            index.apply_connection(Kind::Namespaced, event);
        }
        index.config_maps_unavailable();
        index.apply_secret(Event::Init);
        index.apply_secret(Event::InitApply(secret("login", "1")));
        index.apply_connection(Kind::Namespaced, Event::Apply(stored("10", |_| {})));
        assert_eq!(index.apply_secret(Event::InitDone).len(), 1);
        assert_eq!(index.secret(&key("login")), SecretState::Unknown);
    }

    #[test]
    fn a_list_that_is_older_than_our_own_write_does_not_set_it_back() {
        let index = listed(&[]);
        index.put_connection(stored("12", |object| object["status"] = json!({"secretName": "new"})));
        for event in [Event::Init, Event::InitApply(stored("11", |_| {})), Event::InitDone] {
            index.apply_connection(Kind::Namespaced, event);
        }
        let status =
            index.connection(&ConnectionReference::namespaced("shop", "images")).unwrap().status().cloned().unwrap();
        assert_eq!(status.secret_name.as_deref(), Some("new"));
    }

    #[test]
    fn a_write_that_brought_a_wish_along_is_left_to_the_watch() {
        type Change = fn(&mut Value);
        let changes: [(&str, Change); 3] = [
            ("another spec", |object| object["metadata"]["generation"] = 2.into()),
            ("a request", |object| {
                object["metadata"]["annotations"] = json!({"regcred.dev/test-requested-at": "now"});
            }),
            ("its end", |object| object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into()),
        ];
        for (name, change) in changes {
            let index = listed(&[]);
            // The answer to a write of a status comes after the wish, and may be seen before it.
            index.put_connection(stored("12", change));
            assert_eq!(index.apply_connection(Kind::Namespaced, Event::Apply(stored("11", change))).len(), 1, "{name}");
        }
    }

    #[test]
    fn a_connection_that_becomes_unreadable_still_exists_and_only_its_delivered_secret_is_followed() {
        let index = listed(&["login"]);
        let unreadable = |version: &str, change: fn(&mut Value)| {
            stored(version, |object| {
                object["status"] = json!({"secretName": "images"});
                object["spec"] = json!({"provider": 7});
                change(object);
            })
        };
        let wake: Wake = ObjectRef::new("images").within("shop");
        let woken = std::slice::from_ref(&wake);
        assert_eq!(index.apply_connection(Kind::Namespaced, Event::Apply(unreadable("11", |_| {}))), woken);
        assert!(index.connection(&ConnectionReference::namespaced("shop", "images")).unwrap().readable().is_none());
        assert_eq!(index.secret(&key("login")), SecretState::Unknown);
        assert_eq!(index.apply_secret(Event::Apply(secret("login", "12"))), []);
        assert_eq!(index.apply_secret(Event::Apply(secret("images", "13"))), woken);
        assert_eq!(index.apply_secret(Event::Delete(secret("images", "14"))), woken);
        // A relist of the same keeps it.
        for event in [Event::Init, Event::InitApply(unreadable("11", |_| {})), Event::InitDone] {
            index.apply_connection(Kind::Namespaced, event);
        }
        assert!(index.connection(&ConnectionReference::namespaced("shop", "images")).is_some());

        assert_eq!(index.apply_connection(Kind::Namespaced, Event::Apply(stored("15", |_| {}))), woken, "it is mended");
        assert_eq!(index.apply_secret(Event::Apply(secret("login", "16"))), woken);
        index.apply_connection(Kind::Namespaced, Event::Apply(unreadable("17", |_| {})));
        index.apply_connection(Kind::Namespaced, Event::Delete(unreadable("18", |_| {})));
        assert!(index.connection(&ConnectionReference::namespaced("shop", "images")).is_none());
    }

    #[test]
    fn another_connection_of_the_same_name_is_not_the_one_that_went() {
        let index = listed(&[]);
        let metadata = |uid: &str| stored("10", |object| object["metadata"]["uid"] = uid.into());
        assert!(index.is_alive(&metadata("0123456789")) && !index.is_alive(&metadata("another")));
    }

    #[test]
    fn a_watch_on_config_maps_that_fails_keeps_nobody_waiting() {
        let index = fresh();
        for event in [Event::Init, Event::InitApply(stored("10", |_| {})), Event::InitDone] {
            index.apply_connection(Kind::Namespaced, event);
        }
        for event in [Event::Init, Event::InitDone] {
            index.apply_secret(event);
        }
        assert!(!index.is_synced());
        assert_eq!(index.config_maps_unavailable().len(), 1);
        assert_eq!(index.config_maps_unavailable().len(), 0);
        assert!(index.is_synced());
    }
}
