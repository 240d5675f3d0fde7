//! What connections left behind: Secrets of those that are gone, and of names they do not write any more.

use std::{sync::Arc, time::Duration};

use super::{Index, LastSeen, departures::Departure};
use crate::{
    controller::{
        secret_meta::{ObjectKey, SecretMeta},
        sighting::SecretState,
        targets::Targets,
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
            for (key, seen) in inner.secrets.present(inner.secrets.owners().keys_of(reference)) {
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
        inner.secrets.present(inner.secrets.owners().keys_of(reference))
    }

    /// Those of them that are not among the targets.
    pub fn written_besides(
        &self,
        reference: &ConnectionReference,
        targets: &Targets,
    ) -> Vec<(ObjectKey, Arc<SecretMeta>)> {
        let inner = self.lock();
        inner.secrets.present(targets.without(inner.secrets.owners().keys_of(reference)))
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
