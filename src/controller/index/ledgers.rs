//! Which connections have a ledger, whether they still exist or not.

use std::collections::HashMap;

use crate::{
    api::names::LEDGER_PREFIX,
    controller::{secret_meta::ObjectKey, sighting::SecretState},
    domain::reference::ConnectionReference,
};

/// See the module.
pub(super) struct Ledgers {
    namespace: String,
    by_connection: HashMap<ConnectionReference, ObjectKey>,
}

impl Ledgers {
    /// None yet, in the operator's namespace.
    pub(super) fn of(namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), by_connection: HashMap::new() }
    }

    /// Takes note of what a Secret now is; true if it is a ledger.
    pub(super) fn see(&mut self, key: &ObjectKey, state: &SecretState) -> bool {
        if key.namespace != self.namespace || !key.name.starts_with(LEDGER_PREFIX) {
            return false;
        }
        let owner = match state {
            SecretState::Present(meta) => meta.ledger_of(key, &self.namespace),
            SecretState::Absent | SecretState::Unknown => None,
        };
        match owner {
            Some(reference) => {
                self.by_connection.insert(reference, key.clone());
                true
            }
            None => {
                self.by_connection.retain(|_, known| known != key);
                false
            }
        }
    }

    /// Whether a connection has one.
    pub(super) fn contains(&self, reference: &ConnectionReference) -> bool {
        self.by_connection.contains_key(reference)
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = (&ConnectionReference, &ObjectKey)> {
        self.by_connection.iter()
    }
}
