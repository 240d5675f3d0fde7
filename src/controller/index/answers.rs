//! What the API server told in answer to reads and writes of ours, which may be ahead of the watches or behind them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::Index;
use crate::{
    api::provider::CaKind,
    controller::{
        secret_meta::ObjectKey,
        sighting::{SecretState, Sighting},
        stored::Stored,
    },
};

impl Index {
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
        let was_there = matches!(inner.secrets.state(key), SecretState::Present(_));
        inner.secrets.learn(key, state, |namespace| inner.namespaces.is_there(namespace));
        if !was_there && matches!(inner.secrets.state(key), SecretState::Present(_)) {
            inner.secret_changed(&key.namespace);
            self.ring(inner);
        }
        if inner.secrets.take_news() {
            self.orphaned.notify_one();
        }
    }
}

/// Whether two forms of a connection ask for the same: by spec, by annotation, or by their end.
pub(super) fn has_same_wishes(one: &ObjectMeta, other: &ObjectMeta) -> bool {
    one.generation == other.generation
        && one.annotations == other.annotations
        && one.deletion_timestamp.is_some() == other.deletion_timestamp.is_some()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kube::runtime::{reflector::ObjectRef, watcher::Event};
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        controller::{
            index::fixture::{key, listed, secret, stored},
            secret_meta::SecretMeta,
        },
        domain::reference::{ConnectionReference, Kind},
    };

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
}
