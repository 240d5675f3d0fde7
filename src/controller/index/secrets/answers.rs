//! What the API server told of Secrets in answer to reads and writes of ours.

use std::sync::Arc;

use super::Secrets;
use crate::controller::{
    secret_meta::{ObjectKey, SecretMeta},
    sighting::{SecretState, is_older},
};

impl Secrets {
    /// Takes in what a read or write of ours told about a Secret, unless the watch already told something newer. `is_there`
    /// tells which namespaces are.
    pub(in crate::controller::index) fn learn(
        &mut self,
        key: &ObjectKey,
        state: SecretState,
        is_there: impl Fn(&str) -> bool,
    ) {
        let newest = match (self.known.get(key), state) {
            (Some(SecretState::Unknown), state) => state,
            (None, SecretState::Absent) if !self.concerned.contains(key) => return,
            (None | Some(SecretState::Absent), SecretState::Present(new)) => {
                let went = self.gone.get(key);
                if went.is_some_and(|went| is_older(&new.resource_version, went)) {
                    return;
                }
                // If it went with its namespace, no event will ever say so again.
                if !self.concerned.contains(key) && !is_there(&key.namespace) {
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
            (None, state) => state,
            // The watch follows what it once showed; only it knows when that is gone.
            (Some(SecretState::Present(_) | SecretState::Absent), SecretState::Absent | SecretState::Unknown) => return,
        };
        let is_ahead = self.known.get(key).map(SecretState::sighting) != Some(newest.sighting());
        self.set(key, newest);
        if is_ahead && let Some((shared, _)) = self.known.get_key_value(key) {
            self.ahead.insert(Arc::clone(shared));
        }
    }
}
