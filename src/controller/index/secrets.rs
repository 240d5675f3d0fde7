//! The metadata of the Secrets that connections are about, as the watch and our own reads and writes tell it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    core::PartialObjectMeta,
    runtime::{reflector::ObjectRef, watcher::Event},
};

use super::{
    ledgers::Ledgers,
    listing::{Listing, Parts},
    owners::Owners,
};
use crate::{
    controller::{
        mapper::{self, Concerned, Wake},
        secret_meta::{ObjectKey, SecretMeta},
        sighting::{SecretState, is_older},
        stored::Stored,
    },
    domain::reference::ConnectionReference,
};

/// See the module.
pub(super) struct Secrets {
    pub(super) concerned: Concerned,
    /// Changed by `set` and `forget` only, which keep `owners` in step.
    known: HashMap<ObjectKey, SecretState>,
    owners: Owners,
    /// Likewise.
    ledgers: Ledgers,
    /// A Secret that surely is ours was seen anew.
    has_news: bool,
    /// Those that were learned ahead of the watch: the writer knows of the change, other readers do not yet.
    ahead: HashSet<ObjectKey>,
    /// The list that is coming in.
    listing: Listing,
    /// The resourceVersions at which Secrets went, to tell a late answer about them from news.
    gone: HashMap<ObjectKey, String>,
    /// The first list is complete.
    pub(super) is_listed: bool,
}

impl Secrets {
    /// Nothing yet; ledgers are in this namespace.
    pub(super) fn new(namespace: &str) -> Self {
        Self {
            concerned: Concerned::new(mapper::followed_secrets, namespace),
            known: HashMap::new(),
            owners: Owners::default(),
            ledgers: Ledgers::of(namespace),
            has_news: false,
            ahead: HashSet::new(),
            listing: Listing::default(),
            gone: HashMap::new(),
            is_listed: false,
        }
    }
}

impl Secrets {
    /// What is known of one.
    pub(super) fn state(&self, key: &ObjectKey) -> SecretState {
        self.known.get(key).cloned().unwrap_or(SecretState::Unknown)
    }

    /// Takes in what a read or write of ours told about a Secret, unless the watch already told something newer.
    pub(super) fn learn(&mut self, key: &ObjectKey, state: SecretState) {
        let newest = match (self.known.get(key), state) {
            (None | Some(SecretState::Unknown), state) => state,
            (Some(SecretState::Absent), SecretState::Present(new)) => {
                let went = self.gone.get(key);
                if went.is_some_and(|went| is_older(&new.resource_version, went)) {
                    return;
                }
                SecretState::Present(new)
            }
            (Some(SecretState::Present(old)), SecretState::Present(new)) => {
                if old.uid == new.uid && old.resource_version == new.resource_version {
                    SecretState::Present(Arc::new(SecretMeta {
                        data_trusted: old.data_trusted || new.data_trusted,
                        unusable: old.unusable.clone().or_else(|| new.unusable.clone()),
                        ..SecretMeta::clone(old)
                    }))
                } else if is_older(&new.resource_version, &old.resource_version) {
                    return;
                } else {
                    SecretState::Present(new)
                }
            }
            // The watch follows what it once showed; only it knows when that is gone.
            (Some(SecretState::Present(_) | SecretState::Absent), SecretState::Absent | SecretState::Unknown) => return,
        };
        if self.known.get(key).map(SecretState::sighting) != Some(newest.sighting()) {
            self.ahead.insert(key.clone());
        }
        self.set(key, newest);
    }

    /// Begins to follow what a connection is about.
    pub(super) fn follow(&mut self, connection: &Stored) {
        let new = self.concerned.about(connection).into_iter().filter(|key| !self.concerned.contains(key));
        self.listing.follow(new);
        self.concerned.add(connection);
    }

    /// Ends to follow what a connection was about, except what its new form still is.
    pub(super) fn unfollow(&mut self, connection: &Stored, new: Option<&Stored>) {
        let unconcerned = self.concerned.remove(connection, new);
        self.drop_unconcerned(unconcerned);
    }

    /// Takes in an event of the watch on Secrets; returns who should be looked at.
    pub(super) fn apply(&mut self, event: Event<PartialObjectMeta<Secret>>) -> Vec<Wake> {
        match event {
            Event::Init => {
                self.listing.begin();
                vec![]
            }
            Event::InitApply(secret) => {
                let key = mapper::key_of(&secret.metadata);
                let woken = self.see(&key, &secret.metadata);
                if self.known.contains_key(&key) {
                    self.listing.shows(key);
                }
                woken
            }
            Event::InitDone => {
                let Parts { seen, late } = self.listing.end();
                // What nobody asked for when it passed by is not known to be absent; it must be looked at.
                let unsure = |key: &ObjectKey| late.contains(key) && !self.known.contains_key(key);
                let known: HashSet<ObjectKey> = self.known.keys().chain(self.concerned.keys()).cloned().collect();
                let missed: Vec<&ObjectKey> = known.difference(&seen).filter(|key| !unsure(key)).collect();
                self.is_listed = true;
                missed.into_iter().flat_map(|key| self.miss(key)).collect()
            }
            Event::Apply(secret) => self.see(&mapper::key_of(&secret.metadata), &secret.metadata),
            Event::Delete(secret) => {
                let (key, gone) =
                    (mapper::key_of(&secret.metadata), secret.metadata.resource_version.unwrap_or_default());
                if let Some(SecretState::Present(known)) = self.known.get(&key)
                    && is_older(&gone, &known.resource_version)
                {
                    // We made it anew before the watch told that its predecessor went.
                    return vec![];
                }
                let woken = self.miss(&key);
                if self.concerned.contains(&key) {
                    self.gone.insert(key, gone);
                }
                woken
            }
        }
    }

    /// Records what the watch shows of a Secret; drops what concerns nobody.
    fn see(&mut self, key: &ObjectKey, metadata: &ObjectMeta) -> Vec<Wake> {
        let mut meta = SecretMeta::from_metadata(metadata);
        if !self.concerned.contains(key) && !meta.is_marked() {
            self.forget(key);
            return vec![];
        }
        if let Some(SecretState::Present(known)) = self.known.get(key) {
            if !is_older(&known.resource_version, &meta.resource_version) {
                let others = self.concerned.wakes(key);
                return if self.ahead.remove(key) && others.len() > 1 { others } else { vec![] };
            }
            if known.uid == meta.uid {
                meta.unusable = known.unusable.clone();
            }
        }
        let owner = self.set(key, SecretState::Present(Arc::new(meta)));
        self.gone.remove(key);
        self.ahead.remove(key);
        if self.concerned.contains(key) {
            return self.concerned.wakes(key);
        }
        // Something of a connection's that is not its target: it may have to go.
        owner.map(|owner| ObjectRef::new(owner.name()).within(owner.namespace())).into_iter().collect()
    }

    /// Records that a Secret does not exist.
    fn miss(&mut self, key: &ObjectKey) -> Vec<Wake> {
        if !self.concerned.contains(key) {
            self.forget(key);
            return vec![];
        }
        let before = self.known.get(key).cloned();
        self.set(key, SecretState::Absent);
        match before {
            Some(SecretState::Absent) => vec![],
            Some(SecretState::Present(_) | SecretState::Unknown) | None => self.concerned.wakes(key),
        }
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

    /// All Secrets that surely were written for a connection.
    pub(super) fn owned(&self, reference: &ConnectionReference) -> Vec<(ObjectKey, Arc<SecretMeta>)> {
        let keys = self.owners.keys_of(reference).into_iter();
        keys.filter_map(|key| match self.known.get(&key) {
            Some(SecretState::Present(meta)) => Some((key, Arc::clone(meta))),
            Some(SecretState::Absent | SecretState::Unknown) | None => None,
        })
        .collect()
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
    fn set(&mut self, key: &ObjectKey, state: SecretState) -> Option<ConnectionReference> {
        let before = Owners::of(key, self.known.get(key));
        let after = Owners::of(key, Some(&state));
        self.owners.hand_over(key, before, after.clone());
        self.has_news |= self.ledgers.see(key, &state) || after.is_some();
        self.known.insert(key.clone(), state);
        after
    }

    fn forget(&mut self, key: &ObjectKey) {
        self.ahead.remove(key);
        let before = self.known.remove(key);
        self.ledgers.see(key, &SecretState::Unknown);
        self.owners.hand_over(key, Owners::of(key, before.as_ref()), None);
    }
}
