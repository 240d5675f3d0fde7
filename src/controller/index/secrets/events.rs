//! What the watch on Secrets tells.

use std::{collections::HashSet, sync::Arc};

use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{core::PartialObjectMeta, runtime::watcher::Event};

use super::{Concern, Secrets};
use crate::controller::{
    index::listing::Parts,
    mapper,
    secret_meta::{self, ObjectKey, SecretMeta},
    sighting::{SecretState, is_older},
};

impl Secrets {
    /// Takes in an event of the watch on Secrets; returns who should be looked at. `is_there` tells which namespaces are.
    pub(in crate::controller::index) fn apply(
        &mut self,
        event: Event<PartialObjectMeta<Secret>>,
        is_there: impl Fn(&str) -> bool,
    ) -> Vec<Concern> {
        match event {
            Event::Init => {
                self.listing.begin();
                self.surveying = self.everywhere.keys().cloned().collect();
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
                let known: HashSet<&ObjectKey> =
                    self.known.keys().map(|key| &**key).chain(self.concerned.keys()).collect();
                let missed: Vec<ObjectKey> =
                    known.into_iter().filter(|key| !seen.contains(*key) && !unsure(key)).cloned().collect();
                self.is_listed = true;
                std::mem::take(&mut self.surveying).iter().for_each(|name| self.surveyed(name));
                missed.iter().flat_map(|key| self.miss(key)).collect()
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
                // The watch on namespaces may be ahead: of one that went already nobody would take this away any more.
                if self.concerned.contains(&key) || self.is_followed(&key) && is_there(&key.namespace) {
                    self.gone.insert(key, gone);
                }
                woken
            }
        }
    }

    /// Records what the watch shows of a Secret; drops what concerns nobody.
    fn see(&mut self, key: &ObjectKey, metadata: &ObjectMeta) -> Vec<Concern> {
        // Most Secrets of a cluster are somebody else's.
        if !self.is_followed(key) && !secret_meta::says_ours(metadata) {
            self.forget(key);
            return vec![];
        }
        let mut meta = SecretMeta::from_metadata(metadata);
        if let Some(SecretState::Present(known)) = self.known.get(key) {
            if !is_older(&known.resource_version, &meta.resource_version) {
                let others = self.wakes(key);
                return if self.ahead.remove(key) && others.len() > 1 { others } else { vec![] };
            }
            if known.uid == meta.uid {
                meta.unusable = known.unusable.clone();
            }
        }
        let owner = self.set(key, SecretState::Present(Arc::new(meta)));
        self.gone.remove(key);
        self.ahead.remove(key);
        let mut woken = self.wakes(key);
        if let Some(owner) = owner.map(|owner| mapper::wake_of(&owner))
            && woken.iter().all(|(wake, _)| *wake != owner)
        {
            // Something of a connection's that is not its target: it may have to go.
            woken.push((owner, key.clone()));
        }
        woken
    }

    /// Records that a Secret does not exist.
    fn miss(&mut self, key: &ObjectKey) -> Vec<Concern> {
        if !self.concerned.contains(key) {
            // Of namespaces that come and go nothing is kept.
            let was_there = matches!(self.known.get(key), Some(SecretState::Present(_)));
            self.forget(key);
            return if was_there { self.wakes(key) } else { vec![] };
        }
        let before = self.known.get(key).cloned();
        self.set(key, SecretState::Absent);
        match before {
            Some(SecretState::Absent) => vec![],
            Some(SecretState::Present(_) | SecretState::Unknown) | None => self.wakes(key),
        }
    }
}
