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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::secret_meta::SecretMeta;
    use serde_json::json;
    use std::sync::Arc;

    const NAMESPACE: &str = "regcred-system";

    fn reference(name: &str) -> ConnectionReference {
        ConnectionReference::namespaced("shop", name)
    }

    fn ledger_of(reference: &ConnectionReference) -> SecretState {
        let metadata = json!({
            "uid": "l", "resourceVersion": "1",
            "labels": {"app.kubernetes.io/managed-by": "regcred", "regcred.dev/connection": reference.label_value()},
            "annotations": {"regcred.dev/connection": reference.to_string()},
        });
        SecretState::Present(Arc::new(SecretMeta::from_metadata(&serde_json::from_value(metadata).unwrap())))
    }

    #[test]
    fn knows_the_ledgers_of_connections_until_they_go() {
        let (images, charts) = (reference("images"), reference("charts"));
        let key = |reference| ObjectKey::of_ledger(NAMESPACE, reference);
        let mut ledgers = Ledgers::of(NAMESPACE);
        assert!(ledgers.see(&key(&images), &ledger_of(&images)) && ledgers.see(&key(&charts), &ledger_of(&charts)));
        assert!(ledgers.see(&key(&images), &ledger_of(&images)), "seen again");
        assert!(ledgers.contains(&images) && ledgers.contains(&charts) && ledgers.all().count() == 2);
        assert!(!ledgers.see(&key(&images), &SecretState::Absent));
        assert!(!ledgers.contains(&images) && ledgers.contains(&charts));
        assert_eq!(ledgers.all().collect::<Vec<_>>(), [(&charts, &key(&charts))]);
    }

    #[test]
    fn takes_nothing_else_for_a_ledger() {
        let images = reference("images");
        let key = ObjectKey::of_ledger(NAMESPACE, &images);
        let cases = [
            ("in another namespace", ObjectKey { namespace: "shop".into(), ..key.clone() }, ledger_of(&images)),
            ("of another name", ObjectKey { name: "images".into(), ..key.clone() }, ledger_of(&images)),
            ("of another connection", key.clone(), ledger_of(&reference("charts"))),
            ("without marks", key.clone(), SecretState::Present(Arc::default())),
            ("not known", key.clone(), SecretState::Unknown),
        ];
        for (name, key, state) in cases {
            let mut ledgers = Ledgers::of(NAMESPACE);
            assert!(!ledgers.see(&key, &state), "{name}");
            assert_eq!(ledgers.all().count(), 0, "{name}");
        }
        let mut ledgers = Ledgers::of(NAMESPACE);
        ledgers.see(&key, &ledger_of(&images));
        ledgers.see(&key, &SecretState::Present(Arc::default()));
        assert!(!ledgers.contains(&images), "somebody took its marks away");
    }
}
