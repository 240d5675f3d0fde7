//! What connections left behind: Secrets of those that are gone, and of names they do not write any more.

use std::{sync::Arc, time::Duration};

use super::{Index, LastSeen, departures::Departure};
use crate::{
    controller::{
        secret_meta::{ObjectKey, SecretMeta},
        sighting::SecretState,
    },
    domain::reference::ConnectionReference,
};

/// A Secret that was written for a connection which is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// The Secret.
    pub key: ObjectKey,
    /// What is known of it.
    pub seen: Arc<SecretMeta>,
    /// Whose it was.
    pub reference: ConnectionReference,
    /// Since when this process has known its connection to be gone, as uptime.
    pub since: Duration,
    /// What its connection wanted for it, as this process saw it.
    pub policy: Option<LastSeen>,
}

impl Index {
    /// All Secrets whose connection is known not to be there. Forgets the connections that left none and went before the
    /// uptime `forget_before`.
    pub fn orphans(&self, forget_before: Duration) -> Vec<Orphan> {
        let inner = &mut *self.lock();
        if !inner.is_listed() {
            return vec![];
        }
        let (owners, ledgers) = (inner.secrets.owners(), inner.secrets.ledgers());
        let left_something =
            |reference: &ConnectionReference| owners.contains(reference) || ledgers.contains(reference);
        inner.departures.forget(forget_before, left_something);
        let mut orphans = vec![];
        for reference in owners.references().filter(|reference| inner.is_gone(reference)) {
            let Some(Departure { since, policy }) = inner.departures.of(reference) else { continue };
            for (key, seen) in inner.secrets.owners().all_of(reference) {
                let (key, seen) = (ObjectKey::clone(key), Arc::clone(seen));
                orphans.push(Orphan { key, seen, reference: reference.clone(), since, policy });
            }
        }
        orphans
    }

    /// All ledgers whose connection is known not to be there.
    pub fn orphaned_ledgers(&self) -> Vec<Orphan> {
        let inner = self.lock();
        if !inner.is_listed() {
            return vec![];
        }
        let mut orphans = vec![];
        for (reference, key) in inner.secrets.ledgers().all().filter(|(reference, _)| inner.is_gone(reference)) {
            let Some(Departure { since, policy }) = inner.departures.of(reference) else { continue };
            if let SecretState::Present(seen) = inner.secrets.state(key) {
                orphans.push(Orphan { key: key.clone(), seen, reference: reference.clone(), since, policy });
            }
        }
        orphans
    }

    /// The Secrets that surely were written for a connection.
    pub fn written_for(&self, reference: &ConnectionReference) -> Vec<(ObjectKey, Arc<SecretMeta>)> {
        let inner = self.lock();
        let all = inner.secrets.owners().all_of(reference);
        all.map(|(key, seen)| (ObjectKey::clone(key), Arc::clone(seen))).collect()
    }

    /// Those of these Secrets that are there.
    pub fn present(&self, keys: &[Arc<ObjectKey>]) -> Vec<(ObjectKey, Arc<SecretMeta>)> {
        if keys.is_empty() { vec![] } else { self.lock().secrets.present(keys.iter()) }
    }

    /// Completes once there may be new orphans: at once if that happened since it completed last.
    pub async fn orphaned(&self) {
        self.orphaned.notified().await;
    }

    /// Whether a connection is known not to be there.
    pub fn is_gone(&self, reference: &ConnectionReference) -> bool {
        self.lock().is_gone(reference)
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::{reflector::ObjectRef, watcher::Event};
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        api::connection::DeletionPolicy,
        controller::{
            fixture,
            index::fixture::{fresh, listed, ours, stored},
            stored::Stored,
        },
        domain::reference::Kind,
    };

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
}
