//! What the watches tell, and who should be looked at because of it.

use std::sync::atomic::Ordering;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::{core::PartialObjectMeta, runtime::watcher::Event};

use super::{Index, Inner, LastSeen, answers::has_same_wishes};
use crate::{
    api::connection::DeletionPolicy,
    controller::{
        mapper::{self, Wake},
        secret_meta::ObjectKey,
        stored::Stored,
    },
    domain::reference::{ConnectionReference, Kind},
};

impl Index {
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
                lacking.iter().for_each(|gone| inner.wishes_went(&gone.reference()));
                inner.wishes_listed(kind);
                let lacking = lacking.iter().map(|gone| (gone.reference(), policy_of(gone)));
                let connections = &inner.connections;
                let is_there = |reference: &ConnectionReference| connections.get(reference).is_some();
                inner.departures.listed(kind, lacking, is_there, self.clock.uptime());
                self.orphaned.notify_one();
                let connections = inner.connections.all();
                inner.secrets.reset(&connections);
                inner.config_maps.concerned.reset(&connections);
                self.notice_completion(inner);
                self.ring(inner);
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
                let is_new = old.is_none();
                let is_news = !old.as_ref().is_some_and(|old| has_same_wishes(old.meta(), connection.meta()));
                let asks_for_else = is_news && inner.wishes_change(&connection);
                if is_news {
                    self.news.fetch_add(1, Ordering::Relaxed);
                }
                inner.secrets.follow(&connection);
                inner.config_maps.follow(&connection);
                if let Some(old) = old {
                    inner.secrets.unfollow(&old, Some(&connection));
                    inner.config_maps.unfollow(&old, Some(&connection));
                }
                inner.connections.put(connection.clone());
                if is_news {
                    if is_new {
                        inner.connection_came(&reference);
                    }
                    inner.wishes_changed(&connection, asks_for_else);
                    self.ring(inner);
                }
                inner.awake(vec![mapper::wake_of(&reference)])
            }
            Event::Delete(gone) => {
                let reference = gone.reference();
                self.news.fetch_add(1, Ordering::Relaxed);
                let old = inner.connections.get(&reference);
                // The event holds the last form, in case it was edited right before.
                let last = policy_of(&gone).or_else(|| old.as_deref().and_then(policy_of));
                inner.departures.went(reference.clone(), last.map(LastSeen::AtTheEnd), self.clock.uptime());
                self.orphaned.notify_one();
                inner.wishes_went(&reference);
                if let Some(old) = old {
                    inner.secrets.unfollow(&old, None);
                    inner.config_maps.unfollow(&old, None);
                    inner.connections.remove(&old);
                    inner.places.remove(&old.reference());
                }
                self.ring(inner);
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
        let inner = &mut *self.lock();
        let was_listed = inner.secrets.is_listed;
        let holder = match &event {
            Event::Delete(secret) => inner.secrets.owner(&mapper::key_of(&secret.metadata)),
            Event::Init | Event::InitApply(_) | Event::InitDone | Event::Apply(_) => None,
        };
        // Of what somebody deletes nothing is known any more afterwards.
        let holder = holder.map(|reference| mapper::wake_of(&reference));
        let mut woken = inner.secrets.apply(event, |namespace| inner.namespaces.is_there(namespace));
        if inner.secrets.take_news() {
            self.orphaned.notify_one();
        }
        woken.retain(|(wake, key)| holder.as_ref() == Some(wake) || inner.is_concerned(wake, key));
        woken.iter().for_each(|(_, key)| inner.secret_changed(&key.namespace));
        self.ring(inner);
        let woken = woken.into_iter().map(|(wake, _)| wake).collect();
        self.notice_completion(inner);
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
            // Others did not wait for this list.
            inner.wake_everywhere();
            self.ring(&inner);
            return inner.everybody();
        }
        if !was_listed {
            return vec![];
        }
        let choices = inner.connections.choices();
        let concerned = choices.filter(|(_, choice)| changes.iter().any(|change| change.matters_to(choice)));
        let concerned: Vec<ConnectionReference> = concerned.map(|(reference, _)| reference.clone()).collect();
        concerned.iter().for_each(|reference| inner.find_out_who_has_a_place(reference));
        let woken: Vec<Wake> = concerned.iter().map(mapper::wake_of).collect();
        for change in &changes {
            inner.wake_links_in(&change.name);
            if change.is_gone() {
                inner.secrets.namespace_went(&change.name);
                inner.links_went_with(&change.name);
            }
        }
        self.bells.looked_at.notify_waiters();
        self.ring(&inner);
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
            inner.wake_everywhere();
            self.ring(inner);
        }
    }
}

impl Inner {
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

    /// Nobody is woken before all lists are complete: what is not listed yet would look as if it did not exist.
    pub(super) fn awake(&self, mut woken: Vec<Wake>) -> Vec<Wake> {
        if !self.is_listed() {
            return vec![];
        }
        if !self.namespaces.is_listed {
            woken.retain(|wake| wake.namespace.as_deref() != Some(mapper::NO_NAMESPACE));
        }
        woken
    }
}

/// What a connection wants for its Secrets, if that can be read.
fn policy_of(connection: &Stored) -> Option<DeletionPolicy> {
    connection.readable().map(|connection| connection.spec.deletion_policy.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::controller::{
        index::fixture::{fresh, key, listed, namespace, secret, stored, wide, wide_only},
        sighting::SecretState,
    };
    use kube::runtime::reflector::ObjectRef;

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
    fn a_namespace_wakes_the_connections_of_the_cluster_that_choose_it_and_nobody_else() {
        let names = |object: &mut Value, name: &str| {
            object["spec"]["visibility"] = "Selected".into();
            object["spec"]["namespaces"] = json!([name]);
        };
        let index = wide_only(vec![
            wide("all", |_| {}),
            wide("other", |object| names(object, "other")),
            wide("edited", |object| names(object, "other")),
            wide("broken", |_| {}),
        ]);
        let version = |object: &mut Value| object["metadata"]["resourceVersion"] = "11".into();
        let edited = wide("edited", |object| {
            version(object);
            names(object, "shop");
        });
        let broken = wide("broken", |object| {
            version(object);
            object["spec"] = Value::Null;
        });
        for connection in [edited, broken] {
            index.apply_connection(Kind::Cluster, Event::Apply(connection));
        }
        index.apply_connection(Kind::Namespaced, Event::Apply(stored("12", |_| {})));
        let news = index.news();
        let woken = index.apply_namespace(Event::Apply(namespace("shop", "20")));
        let woken: Vec<&str> = woken.iter().map(|wake| wake.name.as_str()).collect();
        assert_eq!(woken, ["all", "edited"]);
        assert!(index.news() != news);
        let news = index.news();
        assert_eq!(index.apply_namespace(Event::Apply(namespace("shop", "21"))), [], "as before");
        assert_eq!(index.news(), news);
    }

    #[test]
    fn a_namespace_that_comes_to_refuse_wakes_those_too_who_do_not_choose_it() {
        let picky = wide("picky", |object| {
            object["spec"]["visibility"] = "Selected".into();
            object["spec"]["namespaces"] = json!(["other"]);
        });
        let index = wide_only(vec![picky]);
        let refusing = |version: &str| {
            let mut namespace = namespace("shop", version);
            namespace.metadata.labels = Some([("regcred.dev/exclude".to_owned(), "true".to_owned())].into());
            Event::Apply(namespace)
        };
        assert_eq!(index.apply_namespace(Event::Apply(namespace("shop", "20"))), []);
        assert_eq!(index.apply_namespace(refusing("21")).len(), 1, "it may hold what waits to be removed");
        assert_eq!(index.apply_namespace(refusing("22")), [], "as before");
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
