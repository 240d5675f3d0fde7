//! Which Secrets were written for which connection, whether that still exists or not.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use crate::{
    controller::{secret_meta::ObjectKey, sighting::SecretState},
    domain::reference::ConnectionReference,
};

/// See the module.
#[derive(Default)]
pub(super) struct Owners(HashMap<ConnectionReference, BTreeSet<Arc<ObjectKey>>>);

impl Owners {
    /// Whose a Secret in this state surely is.
    pub(super) fn of(key: &ObjectKey, state: Option<&SecretState>) -> Option<ConnectionReference> {
        match state {
            Some(SecretState::Present(meta)) => meta.owner(key),
            Some(SecretState::Absent | SecretState::Unknown) | None => None,
        }
    }

    /// Takes note that a Secret has another owner than before.
    pub(super) fn hand_over(
        &mut self,
        key: &Arc<ObjectKey>,
        before: Option<ConnectionReference>,
        after: Option<ConnectionReference>,
    ) {
        if before == after {
            return;
        }
        if let Some(before) = before
            && let Some(keys) = self.0.get_mut(&before)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.0.remove(&before);
            }
        }
        if let Some(after) = after {
            self.0.entry(after).or_default().insert(Arc::clone(key));
        }
    }

    /// Whether anything was written for this connection.
    pub(super) fn contains(&self, reference: &ConnectionReference) -> bool {
        self.0.contains_key(reference)
    }

    /// Whether this was written for this connection.
    pub(super) fn has(&self, reference: &ConnectionReference, key: &ObjectKey) -> bool {
        self.0.get(reference).is_some_and(|keys| keys.contains(key))
    }

    /// Everything that was written for this connection.
    pub(super) fn keys_of(&self, reference: &ConnectionReference) -> impl Iterator<Item = &Arc<ObjectKey>> {
        self.0.get(reference).into_iter().flatten()
    }

    /// All connections for which anything was written.
    pub(super) fn references(&self) -> impl Iterator<Item = &ConnectionReference> {
        self.0.keys()
    }
}
