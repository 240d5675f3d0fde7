//! Which Secrets were written for which connection, whether that still exists or not.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::{
    controller::{
        secret_meta::{ObjectKey, SecretMeta},
        sighting::SecretState,
    },
    domain::reference::ConnectionReference,
};

/// See the module. What is known of each Secret is here too, so that nobody has to look for thousands one by one.
#[derive(Default)]
pub(super) struct Owners(HashMap<ConnectionReference, BTreeMap<Arc<ObjectKey>, Arc<SecretMeta>>>);

impl Owners {
    /// Whose a Secret in this state surely is.
    pub(super) fn of(key: &ObjectKey, state: Option<&SecretState>) -> Option<ConnectionReference> {
        match state {
            Some(SecretState::Present(meta)) => meta.owner(key),
            Some(SecretState::Absent | SecretState::Unknown) | None => None,
        }
    }

    /// Takes note of what is known of a Secret now, and whose it surely was before.
    pub(super) fn see(
        &mut self,
        key: &Arc<ObjectKey>,
        before: Option<ConnectionReference>,
        state: &SecretState,
    ) -> Option<ConnectionReference> {
        let after = Self::of(key, Some(state));
        if let Some(before) = before.filter(|before| after.as_ref() != Some(before))
            && let Some(keys) = self.0.get_mut(&before)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.0.remove(&before);
            }
        }
        if let (Some(after), SecretState::Present(meta)) = (&after, state) {
            let keys = match self.0.get_mut(after) {
                Some(keys) => keys,
                None => self.0.entry(after.clone()).or_default(),
            };
            keys.insert(Arc::clone(key), Arc::clone(meta));
        }
        after
    }

    /// Whether anything was written for this connection.
    pub(super) fn contains(&self, reference: &ConnectionReference) -> bool {
        self.0.contains_key(reference)
    }

    /// Whether this was written for this connection.
    pub(super) fn has(&self, reference: &ConnectionReference, key: &ObjectKey) -> bool {
        self.0.get(reference).is_some_and(|keys| keys.contains_key(key))
    }

    /// Everything that was written for this connection, in the order of the keys.
    pub(super) fn all_of(
        &self,
        reference: &ConnectionReference,
    ) -> impl Iterator<Item = (&Arc<ObjectKey>, &Arc<SecretMeta>)> {
        self.0.get(reference).into_iter().flatten()
    }

    /// All connections for which anything was written.
    pub(super) fn references(&self) -> impl Iterator<Item = &ConnectionReference> {
        self.0.keys()
    }
}
