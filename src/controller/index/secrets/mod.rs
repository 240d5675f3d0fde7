//! The metadata of the Secrets that connections are about, as the watch and our own reads and writes tell it.

mod answers;
mod events;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::{ledgers::Ledgers, listing::Listing, owners::Owners, shared::Shared};
use crate::{
    controller::{
        mapper::{self, Concerned, Wake},
        secret_meta::{Marks, ObjectKey, SecretMeta},
        sighting::SecretState,
        stored::Stored,
    },
    domain::reference::ConnectionReference,
};

/// A connection that a Secret may concern, and that Secret.
pub(super) type Concern = (Wake, ObjectKey);

/// See the module.
pub(super) struct Secrets {
    pub(super) concerned: Concerned,
    /// The names of the Secrets that connections of a cluster write, wherever.
    everywhere: HashMap<String, BTreeSet<ConnectionReference>>,
    /// Those of these names of which it is known where there is one: what is not known does not exist.
    surveyed: BTreeSet<String>,
    /// Those that were such names when the list began that is coming in.
    surveying: BTreeSet<String>,
    /// Changed by `set` and `forget` only, which keep `owners` in step.
    known: HashMap<Arc<ObjectKey>, SecretState>,
    marks: Shared<Marks>,
    owners: Owners,
    /// Likewise.
    ledgers: Ledgers,
    /// A Secret that surely is ours was seen anew.
    has_news: bool,
    /// Those that were learned ahead of the watch: the writer knows of the change, other readers do not yet. They share their
    /// keys with `known`, and what they took is given back: there are many only while a new credential is written everywhere.
    ahead: BTreeSet<Arc<ObjectKey>>,
    /// The list that is coming in.
    listing: Listing,
    /// The resourceVersions at which Secrets went, to tell a late answer about them from news. In order, so that those of one
    /// namespace are found side by side.
    gone: BTreeMap<ObjectKey, String>,
    /// The first list is complete.
    pub(super) is_listed: bool,
}

impl Secrets {
    /// Nothing yet; ledgers are in this namespace.
    pub(super) fn new(namespace: &str) -> Self {
        Self {
            concerned: Concerned::new(mapper::followed_secrets, namespace),
            everywhere: HashMap::new(),
            surveyed: BTreeSet::new(),
            surveying: BTreeSet::new(),
            known: HashMap::new(),
            marks: Shared::default(),
            owners: Owners::default(),
            ledgers: Ledgers::of(namespace),
            has_news: false,
            ahead: BTreeSet::new(),
            listing: Listing::default(),
            gone: BTreeMap::new(),
            is_listed: false,
        }
    }
}

impl Secrets {
    /// What is known of one.
    pub(super) fn state(&self, key: &ObjectKey) -> SecretState {
        self.known.get(key).cloned().unwrap_or(SecretState::Unknown)
    }

    /// Begins to follow what a connection is about.
    pub(super) fn follow(&mut self, connection: &Stored) {
        let new = self.concerned.about(connection).into_iter().filter(|key| !self.concerned.contains(key));
        self.listing.follow(new);
        self.concerned.add(connection);
        if let Some(name) = mapper::name_everywhere(connection) {
            self.everywhere.entry(name.to_owned()).or_default().insert(connection.reference());
        }
    }

    /// Follows what these connections are about, and nothing else.
    pub(super) fn reset(&mut self, connections: &[Arc<Stored>]) {
        self.concerned.reset(connections);
        self.everywhere.clear();
        for connection in connections {
            if let Some(name) = mapper::name_everywhere(connection) {
                self.everywhere.entry(name.to_owned()).or_default().insert(connection.reference());
            }
        }
        self.surveyed.retain(|name| self.everywhere.contains_key(name));
    }

    /// Whether it is known of a name where there is a Secret called so.
    pub(super) fn is_surveyed(&self, name: &str) -> bool {
        self.surveyed.contains(name)
    }

    /// It is known now, if anybody still asks.
    pub(super) fn surveyed(&mut self, name: &str) {
        if self.everywhere.contains_key(name) {
            self.surveyed.insert(name.to_owned());
        }
    }

    /// Ends to follow what a connection was about, except what its new form still is.
    pub(super) fn unfollow(&mut self, connection: &Stored, new: Option<&Stored>) {
        let mut unconcerned = self.concerned.remove(connection, new);
        let kept = new.and_then(mapper::name_everywhere);
        if let Some(name) = mapper::name_everywhere(connection).filter(|name| kept != Some(*name))
            && let Some(references) = self.everywhere.get_mut(name)
        {
            references.remove(&connection.reference());
            if references.is_empty() {
                self.everywhere.remove(name);
                self.surveyed.remove(name);
                self.surveying.remove(name);
                self.gone.retain(|key, _| key.name != name);
                unconcerned.extend(self.known.keys().filter(|key| key.name == name).map(|key| ObjectKey::clone(key)));
                unconcerned.retain(|key| !self.concerned.contains(key));
            }
        }
        self.drop_unconcerned(unconcerned);
    }

    /// A namespace is gone, and with it all that was in it.
    pub(super) fn namespace_went(&mut self, namespace: &str) {
        let first = ObjectKey { namespace: namespace.to_owned(), name: String::new() };
        let gone = self.gone.range(first..).map(|(key, _)| key).take_while(|key| key.namespace == namespace);
        for key in gone.cloned().collect::<Vec<_>>() {
            self.gone.remove(&key);
        }
    }

    /// Whether a Secret of this name in this namespace is worth knowing of.
    fn is_followed(&self, key: &ObjectKey) -> bool {
        self.concerned.contains(key) || self.everywhere.contains_key(&key.name)
    }

    /// Whom a Secret concerns, or may concern.
    fn wakes(&self, key: &ObjectKey) -> Vec<Concern> {
        let everywhere = self.everywhere.get(&key.name).into_iter().flatten().map(mapper::wake_of);
        self.concerned.wakes(key).into_iter().chain(everywhere).map(|wake| (wake, key.clone())).collect()
    }

    /// Drops what is known of Secrets that concern nobody any more.
    fn drop_unconcerned(&mut self, keys: Vec<ObjectKey>) {
        for key in keys {
            self.gone.remove(&key);
            self.ahead.remove(&key);
            self.listing.unfollow(&key);
            if !matches!(self.known.get(&key), Some(SecretState::Present(meta)) if meta.is_marked()) {
                self.forget(&key);
            }
        }
    }

    /// Those of these Secrets that are there.
    pub(super) fn present<'a>(
        &self,
        keys: impl Iterator<Item = &'a Arc<ObjectKey>>,
    ) -> Vec<(ObjectKey, Arc<SecretMeta>)> {
        keys.filter_map(|key| match self.known.get(key) {
            Some(SecretState::Present(meta)) => Some((ObjectKey::clone(key), Arc::clone(meta))),
            Some(SecretState::Absent | SecretState::Unknown) | None => None,
        })
        .collect()
    }

    /// Whether a Secret surely was written for a connection.
    pub(super) fn is_owned(&self, reference: &ConnectionReference, key: &ObjectKey) -> bool {
        self.owners.has(reference, key)
    }

    /// For which connection a Secret surely was written.
    pub(super) fn owner(&self, key: &ObjectKey) -> Option<ConnectionReference> {
        Owners::of(key, self.known.get(key))
    }

    /// Whether a Secret of ours changed since this was asked last.
    pub(super) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.has_news)
    }

    /// The ledgers there are.
    pub(super) fn ledgers(&self) -> &Ledgers {
        &self.ledgers
    }

    /// Whose Secret is whose.
    pub(super) fn owners(&self) -> &Owners {
        &self.owners
    }

    /// Records a state; returns who surely owns the Secret then.
    fn set(&mut self, key: &ObjectKey, mut state: SecretState) -> Option<ConnectionReference> {
        if let SecretState::Present(meta) = &mut state {
            Arc::make_mut(meta).marks = self.marks.one(Arc::clone(&meta.marks));
        }
        let (shared, before) = match self.known.get_key_value(key) {
            Some((key, before)) => (Arc::clone(key), Owners::of(key, Some(before))),
            None => (Arc::new(key.clone()), None),
        };
        let after = self.owners.see(&shared, before, &state);
        self.has_news |= self.ledgers.see(key, &state) || after.is_some();
        let replaced = self.known.insert(shared, state);
        self.release(replaced);
        after
    }

    fn forget(&mut self, key: &ObjectKey) {
        self.ahead.remove(key);
        self.ledgers.see(key, &SecretState::Unknown);
        if let Some((shared, before)) = self.known.remove_entry(key) {
            self.owners.see(&shared, Owners::of(key, Some(&before)), &SecretState::Unknown);
            self.release(Some(before));
        }
    }

    /// Lets go of what was known of a Secret.
    fn release(&mut self, state: Option<SecretState>) {
        if let Some(SecretState::Present(meta)) = state {
            let marks = Arc::clone(&meta.marks);
            drop(meta);
            self.marks.release(marks);
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::watcher::Event;

    use super::*;
    use crate::controller::index::{
        Index,
        fixture::{key, namespace, secret, wide, wide_only},
    };

    /// An index with a connection of the cluster that serves the namespace `shop`.
    fn serving() -> Index {
        let index = wide_only(vec![wide("images", |_| {})]);
        assert_eq!(index.apply_namespace(Event::Apply(namespace("shop", "10"))).len(), 1);
        index
    }

    fn answer(resource_version: &str) -> SecretState {
        let resource_version = resource_version.to_owned();
        SecretState::Present(Arc::new(SecretMeta { resource_version, ..SecretMeta::default() }))
    }

    #[test]
    fn of_a_namespace_that_went_nothing_is_kept_whatever_is_told_of_it_first() {
        for is_namespace_first in [true, false] {
            let index = serving();
            index.apply_secret(Event::Apply(secret("images", "20")));
            if is_namespace_first {
                index.apply_namespace(Event::Delete(namespace("shop", "30")));
            }
            index.apply_secret(Event::Delete(secret("images", "25")));
            assert_eq!(index.lock().secrets.gone.len(), usize::from(!is_namespace_first));
            if !is_namespace_first {
                index.apply_namespace(Event::Delete(namespace("shop", "30")));
            }
            assert!(index.lock().secrets.gone.is_empty());
            assert_eq!(index.secret(&key("images")), SecretState::Unknown);
        }
    }

    #[test]
    fn a_namespace_that_went_takes_nothing_of_another_along() {
        let index = serving();
        index.apply_namespace(Event::Apply(namespace("shop-2", "11")));
        index.apply_secret(Event::Apply(secret("images", "20")));
        index.apply_secret(Event::Delete(secret("images", "25")));
        for name in ["sho", "shop-2"] {
            index.apply_namespace(Event::Delete(namespace(name, "30")));
        }
        index.learn(&key("images"), answer("20"));
        assert_eq!(index.secret(&key("images")), SecretState::Unknown, "it is still known to have gone");
        index.learn(&key("images"), answer("26"));
        assert_eq!(index.secret(&key("images")), answer("26"));
    }

    #[test]
    fn a_late_answer_about_a_namespace_that_went_is_no_news() {
        let index = serving();
        index.apply_secret(Event::Delete(secret("images", "25")));
        index.apply_namespace(Event::Delete(namespace("shop", "30")));
        index.learn(&key("images"), answer("20"));
        assert_eq!(index.secret(&key("images")), SecretState::Unknown, "no event would ever take it away");
    }
}
