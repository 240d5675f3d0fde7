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
    own: BTreeMap<Arc<str>, BTreeMap<ConnectionReference, Moment>>,
    of_the_cluster: BTreeMap<ConnectionReference, (Moment, BTreeSet<Arc<str>>)>,
    now: Moment,
}

/// When somebody asked: a look that began before does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Outstanding {
    /// These are to be looked at for a connection. None at all means that it is not known yet which.
    pub(super) fn set(&mut self, reference: ConnectionReference, namespaces: BTreeSet<Arc<str>>) {
        self.now.0 += 1;
        match reference.namespace() {
            Some(own) => drop(self.own.entry(own.into()).or_default().insert(reference, self.now)),
            None => drop(self.of_the_cluster.insert(reference, (self.now, namespaces))),
        }
    }

    /// This moment, for a look that begins.
    pub(super) fn now(&self) -> Moment {
        self.now
    }

    /// Whether any is still to be looked at for a connection.
    pub(super) fn contains(&self, reference: &ConnectionReference) -> bool {
        match reference.namespace() {
            Some(own) => self.own.get(own).is_some_and(|all| all.contains_key(reference)),
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

    /// A namespace was looked at from this moment on. Returns the connections that wait for no other one.
    pub(super) fn was_looked_at(&mut self, namespace: &str, since: Moment) -> Vec<ConnectionReference> {
        let mut done = vec![];
        if let Some(all) = self.own.get_mut(namespace) {
            done.extend(all.extract_if(.., |_, asked| *asked <= since).map(|(reference, _)| reference));
            if all.is_empty() {
                self.own.remove(namespace);
            }
        }
        let is_done = |(asked, namespaces): &mut (Moment, BTreeSet<Arc<str>>)| {
            *asked <= since && namespaces.remove(namespace) && namespaces.is_empty()
        };
        let of_the_cluster = self.of_the_cluster.extract_if(.., |_, asked| is_done(asked));
        done.extend(of_the_cluster.map(|(reference, _)| reference));
        done
    }

    /// A namespace is gone.
    pub(super) fn went(&mut self, namespace: &str) -> Vec<ConnectionReference> {
        self.was_looked_at(namespace, self.now)
    }

    /// Nobody can look at any.
    pub(super) fn clear(&mut self) {
        (self.own, self.of_the_cluster) = Default::default();
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
        assert_eq!(outstanding.was_looked_at("a", Moment(1)), std::slice::from_ref(&own));
        assert!(!outstanding.contains(&own) && outstanding.contains(&wide));
        assert_eq!(outstanding.was_looked_at("a", outstanding.now()), []);
        assert_eq!(outstanding.was_looked_at("c", outstanding.now()), []);
        assert_eq!(outstanding.went("b"), std::slice::from_ref(&wide));
        assert!(!outstanding.contains(&wide));
        outstanding.set(own.clone(), ["a".into()].into());
        outstanding.was_looked_at("a", Moment(2));
        assert!(outstanding.contains(&own), "that look began before it was asked for");
        outstanding.set(wide.clone(), BTreeSet::new());
        outstanding.went("a");
        assert!(outstanding.contains(&wide), "it is not known yet which they are");
        outstanding.remove(&wide);
        assert!(!outstanding.contains(&wide));
    }
}
