//! All connections of both kinds, in one store for the run loop. Each kind is listed by a watch of its own.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Resource,
    runtime::{
        reflector::{self, Store},
        watcher::Event,
    },
};

use crate::{
    controller::{
        mapper::{NO_NAMESPACE, Wake, wake_of},
        sighting::is_older,
        stored::Stored,
    },
    domain::reference::{ConnectionReference, Kind},
};

/// See the module.
pub(super) struct Connections {
    writer: reflector::store::Writer<Stored>,
    store: Store<Stored>,
    /// What the lists that are coming in have shown so far.
    listing: BTreeMap<Kind, Vec<Stored>>,
    /// The kinds of which a list was complete.
    listed: BTreeSet<Kind>,
    /// The kinds that could not be listed when that was tried first; nobody waits for them.
    unavailable: BTreeSet<Kind>,
}

impl Connections {
    pub(super) fn new() -> Self {
        let (store, mut writer) = reflector::store();
        // The run loop waits for a list; what it must not work on before all are complete is not told to it.
        writer.apply_watcher_event(&Event::Init);
        writer.apply_watcher_event(&Event::InitDone);
        let (listing, listed) = (BTreeMap::new(), BTreeSet::new());
        Self { writer, store, listing, listed, unavailable: BTreeSet::new() }
    }

    pub(super) fn store(&self) -> Store<Stored> {
        self.store.clone()
    }

    /// The newest known form of one.
    pub(super) fn get(&self, reference: &ConnectionReference) -> Option<Arc<Stored>> {
        self.store.get(&wake_of(reference))
    }

    pub(super) fn find(&self, wake: &Wake) -> Option<Arc<Stored>> {
        self.store.get(wake)
    }

    pub(super) fn all(&self) -> Vec<Arc<Stored>> {
        self.store.state()
    }

    /// Whether a kind was listed, so that what is not there does not exist.
    pub(super) fn is_listed(&self, kind: Kind) -> bool {
        self.listed.contains(&kind)
    }

    /// Whether nobody has to wait for a list of connections any more.
    pub(super) fn are_listed(&self) -> bool {
        self.is_listed(Kind::Namespaced) && (self.is_listed(Kind::Cluster) || self.unavailable.contains(&Kind::Cluster))
    }

    /// A kind cannot be listed now. True if somebody waited for it.
    pub(super) fn unavailable(&mut self, kind: Kind) -> bool {
        !self.is_listed(kind) && self.unavailable.insert(kind)
    }

    /// Whether this is an older form of one than is known.
    pub(super) fn is_outdated(&self, reference: &ConnectionReference, metadata: &ObjectMeta) -> bool {
        let version = |metadata: &ObjectMeta| metadata.resource_version.clone().unwrap_or_default();
        self.get(reference).is_some_and(|known| {
            known.meta().uid == metadata.uid && is_older(&version(metadata), &version(known.meta()))
        })
    }

    pub(super) fn put(&mut self, mut connection: Stored) {
        // The store takes a reference into a namespace for one without, if nothing else has its name.
        if connection.kind() == Kind::Cluster {
            connection.meta_mut().namespace = Some(NO_NAMESPACE.to_owned());
        }
        self.writer.apply_watcher_event(&Event::Apply(connection));
    }

    pub(super) fn remove(&mut self, connection: &Stored) {
        self.writer.apply_watcher_event(&Event::Delete(connection.clone()));
    }

    /// A list of a kind begins; what came of an earlier one does not count.
    pub(super) fn begin(&mut self, kind: Kind) {
        self.listing.insert(kind, vec![]);
    }

    /// A list shows this one.
    pub(super) fn shows(&mut self, kind: Kind, connection: Stored) {
        self.listing.entry(kind).or_default().push(connection);
    }

    /// The list of a kind is complete; returns those that it lacks.
    pub(super) fn end(&mut self, kind: Kind) -> Vec<Arc<Stored>> {
        let shown = self.listing.remove(&kind).unwrap_or_default();
        let references: HashSet<ConnectionReference> = shown.iter().map(Stored::reference).collect();
        let is_lacking = |known: &Arc<Stored>| known.kind() == kind && !references.contains(&known.reference());
        let lacking: Vec<Arc<Stored>> = self.all().into_iter().filter(is_lacking).collect();
        lacking.iter().for_each(|gone| self.remove(gone));
        for connection in shown {
            // A list may be older than what a write of ours returned.
            if !self.is_outdated(&connection.reference(), connection.meta()) {
                self.put(connection);
            }
        }
        self.listed.insert(kind);
        lacking
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::fixture::{self, object_json};
    use crate::{api::ClusterRegistryConnection, api::Declared};
    use serde_json::json;

    #[test]
    fn connections_of_both_kinds_that_share_a_name_are_two() {
        let wide = object_json(|object| {
            object["metadata"].as_object_mut().unwrap().remove("namespace");
            object["spec"]["visibility"] = json!("All");
        });
        let wide: Declared = serde_json::from_value::<ClusterRegistryConnection>(wide).unwrap().into();
        let (wide, narrow) = (Stored::from(wide), fixture::stored(object_json(|_| {})));
        let mut connections = Connections::new();
        connections.put(wide.clone());
        assert!(
            connections.get(&narrow.reference()).is_none(),
            "the one of the cluster is not the one of the namespace"
        );
        connections.put(narrow.clone());
        assert_eq!(connections.all().len(), 2);
        connections.remove(&narrow);
        assert!(connections.get(&narrow.reference()).is_none() && connections.get(&wide.reference()).is_some());
        let kept = connections.get(&wide.reference()).unwrap();
        connections.remove(&kept);
        assert!(connections.all().is_empty());
    }
}
