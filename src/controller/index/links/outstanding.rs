//! Which namespaces are still to be looked at for whom.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::domain::reference::ConnectionReference;

/// See the module. There may be thousands of connections with a namespace of their own, and a few of the cluster with thousands of
/// namespaces.
#[derive(Default)]
pub(super) struct Outstanding {
    /// By the namespace that they are in.
    own: BTreeMap<Arc<str>, BTreeSet<ConnectionReference>>,
    of_the_cluster: BTreeMap<ConnectionReference, BTreeSet<Arc<str>>>,
}

impl Outstanding {
    /// These are to be looked at for a connection. None at all means that it is not known yet which.
    pub(super) fn set(&mut self, reference: ConnectionReference, namespaces: BTreeSet<Arc<str>>) {
        match reference.namespace() {
            Some(own) => drop(self.own.entry(own.into()).or_default().insert(reference)),
            None => drop(self.of_the_cluster.insert(reference, namespaces)),
        }
    }

    /// Whether any is still to be looked at for a connection.
    pub(super) fn contains(&self, reference: &ConnectionReference) -> bool {
        match reference.namespace() {
            Some(own) => self.own.get(own).is_some_and(|all| all.contains(reference)),
            None => self.of_the_cluster.contains_key(reference),
        }
    }

    /// Nobody waits any more for what becomes of a connection.
    pub(super) fn remove(&mut self, reference: &ConnectionReference) {
        match reference.namespace() {
            Some(own) => {
                if let Some(all) = self.own.get_mut(own) {
                    all.remove(reference);
                }
            }
            None => drop(self.of_the_cluster.remove(reference)),
        }
    }

    /// A namespace was looked at, or cannot be any more.
    pub(super) fn was_looked_at(&mut self, namespace: &str) {
        self.own.remove(namespace);
        self.of_the_cluster.retain(|_, namespaces| !(namespaces.remove(namespace) && namespaces.is_empty()));
    }

    /// Nobody can look at any.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_waits_until_all_its_namespaces_were_looked_at() {
        let (own, wide) = (ConnectionReference::namespaced("a", "images"), ConnectionReference::cluster("images"));
        let mut outstanding = Outstanding::default();
        outstanding.set(own.clone(), ["a".into()].into());
        outstanding.set(wide.clone(), ["a".into(), "b".into()].into());
        outstanding.was_looked_at("a");
        assert!(!outstanding.contains(&own) && outstanding.contains(&wide));
        outstanding.was_looked_at("c");
        outstanding.was_looked_at("b");
        assert!(!outstanding.contains(&wide));
        outstanding.set(wide.clone(), BTreeSet::new());
        outstanding.was_looked_at("a");
        assert!(outstanding.contains(&wide), "it is not known yet which they are");
        outstanding.remove(&wide);
        assert!(!outstanding.contains(&wide));
    }
}
