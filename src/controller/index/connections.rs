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
    api::{Declared, Selection},
    controller::{
        mapper::{NO_NAMESPACE, Wake, wake_of},
        select::Choice,
        sighting::is_older,
        stored::Stored,
    },
    domain::reference::{ConnectionReference, Kind},
};

/// See the module.
pub(super) struct Connections {
    writer: reflector::store::Writer<Stored>,
    store: Store<Stored>,
    /// What those of the cluster choose that can be read, so that an event about one of many namespaces neither looks at the
    /// connections of all others nor reads a selection again. Changed by `put` and `remove` only.
    choices: BTreeMap<ConnectionReference, Arc<Choice>>,
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
        Self {
            writer,
            store,
            choices: BTreeMap::new(),
            listing: BTreeMap::new(),
            listed: BTreeSet::new(),
            unavailable: BTreeSet::new(),
        }
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

    /// What the connections of the cluster choose, but for those that cannot be read.
    pub(super) fn choices(&self) -> impl Iterator<Item = (&ConnectionReference, &Choice)> {
        self.choices.iter().map(|(reference, choice)| (reference, choice.as_ref()))
    }

    /// What the newest known form of one chooses; none if it cannot be read, or serves its own namespace only.
    pub(super) fn choice(&self, reference: &ConnectionReference) -> Option<&Choice> {
        self.choices.get(reference).map(Arc::as_ref)
    }

    /// What this form of one chooses, which need not be the newest; none if it serves its own namespace only.
    pub(super) fn choice_of(&self, connection: &Declared) -> Option<Arc<Choice>> {
        let selection = connection.selection.as_ref()?;
        let reference = connection.reference();
        if self.get(&reference).is_some_and(|known| selection_of(&known) == Some(selection)) {
            return self.choices.get(&reference).cloned();
        }
        Some(Arc::new(Choice::new(connection.name(), selection)))
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
            self.choose(&connection);
        }
        self.writer.apply_watcher_event(&Event::Apply(connection));
    }

    /// Takes note of what one of the cluster chooses from now on. Most new forms of one choose as the last did.
    fn choose(&mut self, new: &Stored) {
        let reference = new.reference();
        match selection_of(new) {
            None => drop(self.choices.remove(&reference)),
            Some(selection) => {
                if self.get(&reference).is_none_or(|known| selection_of(&known) != Some(selection)) {
                    let choice = Choice::new(reference.name(), selection);
                    self.choices.insert(reference, Arc::new(choice));
                }
            }
        }
    }

    pub(super) fn remove(&mut self, connection: &Stored) {
        self.choices.remove(&connection.reference());
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

/// Which namespaces a connection asks for, if it is one of the cluster and can be read.
fn selection_of(connection: &Stored) -> Option<&Selection> {
    connection.readable()?.selection.as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ClusterRegistryConnection;
    use crate::controller::{
        fixture::{self, object_json},
        stored::Sent,
    };
    use serde_json::{Value, json};

    /// A connection of the cluster for the namespaces of these names.
    fn wide(names: &[&str]) -> Declared {
        let wide = object_json(|object| {
            object["metadata"].as_object_mut().unwrap().remove("namespace");
            object["spec"]["visibility"] = json!("Selected");
            object["spec"]["namespaces"] = json!(names);
        });
        serde_json::from_value::<ClusterRegistryConnection>(wide).unwrap().into()
    }

    fn unreadable() -> Stored {
        let object = object_json(|object| {
            object["metadata"].as_object_mut().unwrap().remove("namespace");
            object["spec"] = Value::Null;
        });
        serde_json::from_value::<Sent<ClusterRegistryConnection>>(object).unwrap().stored
    }

    fn takes(choice: &Choice, namespace: &str) -> bool {
        choice.takes(namespace, &BTreeMap::new())
    }

    #[test]
    fn what_one_of_the_cluster_chooses_is_read_again_only_if_it_was_edited() {
        let mut connections = Connections::new();
        let (shop, store) = (wide(&["shop"]), wide(&["store"]));
        connections.put(shop.clone().into());
        let kept = connections.choice_of(&shop).unwrap();
        assert!(takes(&kept, "shop") && !takes(&kept, "store"));
        connections.put(Declared { status: Some(Default::default()), ..shop.clone() }.into());
        assert!(Arc::ptr_eq(&kept, &connections.choice_of(&shop).unwrap()), "a status is no edit");

        connections.put(store.clone().into());
        let choices =
            |connections: &Connections| connections.choices().map(|(_, choice)| takes(choice, "store")).collect();
        let newest: Vec<bool> = choices(&connections);
        assert_eq!(newest, [true], "the newest form counts");
        let old = connections.choice_of(&shop).unwrap();
        assert!(takes(&old, "shop") && !takes(&old, "store"), "but for who works on an older one");
    }

    #[test]
    fn one_that_cannot_be_read_or_is_gone_chooses_nothing_any_more() {
        let shop = wide(&["shop"]);
        let mut connections = Connections::new();
        connections.put(shop.clone().into());
        connections.put(unreadable());
        assert!(connections.choice(&shop.reference()).is_none() && connections.choices().next().is_none());
        connections.put(shop.clone().into());
        assert!(connections.choice(&shop.reference()).is_some_and(|choice| takes(choice, "shop")));
        connections.remove(&shop.clone().into());
        assert!(connections.choice(&shop.reference()).is_none() && connections.choices().next().is_none());

        connections.put(shop.clone().into());
        connections.begin(Kind::Cluster);
        connections.end(Kind::Cluster);
        assert!(connections.choices().next().is_none(), "a list does not show it any more");
    }

    #[test]
    fn connections_of_both_kinds_that_share_a_name_are_two() {
        let (wide, narrow) = (Stored::from(wide(&[])), fixture::stored(object_json(|_| {})));
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
