//! The namespaces there are, as the watch tells it: their labels, and which are on their way out.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use k8s_openapi::{api::core::v1::Namespace as Object, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{core::PartialObjectMeta, runtime::watcher::Event};

use super::shared::Shared;
use crate::{
    api::names::NAMESPACE_NAME_LABEL,
    controller::{
        select::{self, Choice},
        sighting::is_older,
    },
};

/// See the module.
#[derive(Default)]
pub(super) struct Namespaces {
    known: BTreeMap<Arc<str>, Namespace>,
    labels: Shared<BTreeMap<String, String>>,
    /// What the list that is coming in has shown so far.
    seen: Option<BTreeSet<Arc<str>>>,
    /// The first list is complete.
    pub(super) is_listed: bool,
    /// It could not be had when it was tried first; only those wait for it who serve many namespaces.
    pub(super) is_unavailable: bool,
}

/// Tells a namespace from another one of its name. Stands for its UID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamespaceId(u64);

/// What is kept of a namespace.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Namespace {
    id: NamespaceId,
    labels: Arc<BTreeMap<String, String>>,
    /// It is being deleted, and takes nothing new.
    is_ending: bool,
    resource_version: Box<str>,
}

/// A namespace as it was and as it is; none if it was not or is not there.
pub(super) struct Change {
    pub(super) name: Arc<str>,
    before: Option<Namespace>,
    after: Option<Namespace>,
}

impl Change {
    /// Whether it makes a difference to who chooses so.
    pub(super) fn matters_to(&self, choice: &Choice) -> bool {
        let chosen =
            |namespace: &Option<Namespace>| namespace.as_ref().is_some_and(|it| it.is_chosen(&self.name, choice));
        chosen(&self.before) != chosen(&self.after)
            || chosen(&self.after) && self.is_made_anew()
            || self.turns_to_refuse()
    }

    /// Whether it says now that it wants nothing: whoever is not to remove the Secret elsewhere does it here.
    fn turns_to_refuse(&self) -> bool {
        let refuses = |namespace: &Option<Namespace>| namespace.as_ref().is_some_and(|it| select::refuses(&it.labels));
        !refuses(&self.before) && refuses(&self.after)
    }

    fn is_made_anew(&self) -> bool {
        let id = |namespace: &Option<Namespace>| namespace.as_ref().map(|namespace| namespace.id);
        id(&self.before) != id(&self.after)
    }

    /// Whether it is gone now.
    pub(super) fn is_gone(&self) -> bool {
        self.after.is_none()
    }
}

impl Namespace {
    fn of(metadata: ObjectMeta, shared: &mut Shared<BTreeMap<String, String>>) -> Self {
        let mut labels = metadata.labels.unwrap_or_default();
        // It says what is known already, of every namespace.
        if labels.get(NAMESPACE_NAME_LABEL) == metadata.name.as_ref() {
            labels.remove(NAMESPACE_NAME_LABEL);
        }
        let mut hasher = DefaultHasher::new();
        metadata.uid.hash(&mut hasher);
        let id = NamespaceId(hasher.finish());
        let resource_version = metadata.resource_version.unwrap_or_default().into();
        let labels = shared.one(Arc::new(labels));
        Self { id, labels, is_ending: metadata.deletion_timestamp.is_some(), resource_version }
    }

    fn is_chosen(&self, name: &str, choice: &Choice) -> bool {
        !self.is_ending && choice.takes(name, &self.labels)
    }
}

impl Namespaces {
    /// Those that are chosen, in the order of their names.
    pub(super) fn chosen<'a>(&'a self, choice: &'a Choice) -> impl Iterator<Item = &'a Arc<str>> {
        self.known.iter().filter(|(name, namespace)| namespace.is_chosen(name, choice)).map(|(name, _)| name)
    }

    /// Which of these are there to stay, by the name of the namespace that each is in. They come in the order of these names.
    pub(super) fn staying<'a, T>(
        &'a self,
        all: impl Iterator<Item = (&'a str, T)>,
    ) -> impl Iterator<Item = (Option<&'a Arc<str>>, T)> {
        let mut known = self.known.iter().peekable();
        all.map(move |(name, it)| {
            while known.next_if(|(known, _)| known.as_ref() < name).is_some() {}
            let found = known.peek().filter(|(known, namespace)| known.as_ref() == name && !namespace.is_ending);
            (found.map(|(known, _)| *known), it)
        })
    }

    /// Whether one of this name was shown and did not go since.
    pub(super) fn is_there(&self, name: &str) -> bool {
        self.known.contains_key(name)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether one is being deleted, and takes nothing new, or is gone.
    pub(super) fn is_going(&self, name: &str) -> bool {
        self.known.get(name).map_or(self.is_listed, |namespace| namespace.is_ending)
    }

    /// Which one has this name now.
    pub(super) fn id(&self, name: &str) -> Option<NamespaceId> {
        self.known.get(name).map(|namespace| namespace.id)
    }

    /// Whether one says of itself that it wants nothing.
    pub(super) fn refuses(&self, name: &str) -> bool {
        self.known.get(name).is_some_and(|namespace| select::refuses(&namespace.labels))
    }

    /// Whether one is chosen.
    pub(super) fn is_chosen(&self, name: &str, choice: &Choice) -> bool {
        self.known.get(name).is_some_and(|namespace| namespace.is_chosen(name, choice))
    }

    /// Takes in an event of the watch; returns what changed.
    pub(super) fn apply(&mut self, event: Event<PartialObjectMeta<Object>>) -> Vec<Change> {
        match event {
            Event::Init => {
                self.seen = Some(BTreeSet::new());
                vec![]
            }
            Event::InitApply(object) => {
                let change = self.see(object.metadata);
                if let Some(seen) = &mut self.seen {
                    seen.insert(Arc::clone(&change.name));
                }
                vec![change]
            }
            Event::InitDone => {
                self.is_listed = true;
                let seen = self.seen.take().unwrap_or_default();
                let gone: Vec<Arc<str>> = self.known.keys().filter(|name| !seen.contains(*name)).cloned().collect();
                gone.into_iter().map(|name| self.miss(name)).collect()
            }
            Event::Apply(object) => vec![self.see(object.metadata)],
            Event::Delete(object) => vec![self.miss(object.metadata.name.unwrap_or_default().into())],
        }
    }

    fn see(&mut self, metadata: ObjectMeta) -> Change {
        let name = metadata.name.clone().unwrap_or_default();
        let (name, before) = match self.known.get_key_value(name.as_str()) {
            Some((name, known)) => (Arc::clone(name), Some(known.clone())),
            None => (Arc::from(name), None),
        };
        let after = Namespace::of(metadata, &mut self.labels);
        if before.as_ref().is_some_and(|before| is_older(&after.resource_version, &before.resource_version)) {
            return Change { name, after: before.clone(), before };
        }
        self.known.insert(Arc::clone(&name), after.clone());
        Change { name, before, after: Some(after) }
    }

    fn miss(&mut self, name: Arc<str>) -> Change {
        let before = self.known.remove(&name);
        Change { name, before, after: None }
    }
}
