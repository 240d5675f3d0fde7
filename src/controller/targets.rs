//! The Secrets that a connection writes: one of the same name in each namespace that it serves, which is a single one unless it
//! is a cluster's connection. Pure.

use std::{collections::BTreeSet, sync::Arc};

use super::{secret_meta::ObjectKey, select::Served, sighting::SecretState};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    name: String,
    /// By namespace, in the order of the names.
    states: Vec<(Arc<str>, SecretState)>,
    left_out: Vec<Arc<str>>,
    dropped: BTreeSet<Arc<str>>,
    blocked: usize,
    others: Vec<Arc<ObjectKey>>,
    as_of: u64,
}

impl Targets {
    /// Secrets of this name in the namespaces that are served; `state` tells what is known of the one in each, in their order.
    pub fn new(name: &str, served: Served, mut state: impl FnMut(&Arc<str>) -> SecretState) -> Self {
        let Served { namespaces, left_out, blocked, dropped } = served;
        let states = namespaces.into_iter().map(|namespace| {
            let state = state(&namespace);
            (namespace, state)
        });
        Self {
            name: name.to_owned(),
            states: states.collect(),
            left_out,
            dropped: dropped.into_iter().collect(),
            blocked: blocked.len(),
            others: vec![],
            as_of: 0,
        }
    }

    /// These, as they were at this number of [`super::index::Index::news`].
    pub fn at(self, as_of: u64) -> Self {
        Self { as_of, ..self }
    }

    /// These, and besides them the others that were written for the connection: of other names, and in namespaces that are not
    /// served or on their way out.
    pub fn with_others(self, others: Vec<Arc<ObjectKey>>) -> Self {
        Self { others, ..self }
    }

    /// The Secrets that surely were written for the connection and are none of these, as far as was known.
    pub fn others(&self) -> &[Arc<ObjectKey>] {
        &self.others
    }

    /// At which number of [`super::index::Index::news`] this was so.
    pub fn as_of(&self) -> u64 {
        self.as_of
    }

    /// The name of all of them.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many there are to be.
    pub fn len(&self) -> usize {
        self.states.len()
    }

    /// True if there are to be none.
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// Namespaces and what is known of the Secrets in them.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &SecretState)> {
        self.states.iter().map(|(namespace, state)| (namespace, state))
    }

    /// The key of the one in a namespace.
    pub fn key(&self, namespace: &str) -> ObjectKey {
        ObjectKey { namespace: namespace.to_owned(), name: self.name.clone() }
    }

    /// What is known of the one in a namespace; none if there is to be none.
    pub fn state(&self, namespace: &str) -> Option<&SecretState> {
        self.states.get(self.place(namespace)?).map(|(_, state)| state)
    }

    /// Whether this is one of them.
    pub fn contains(&self, key: &ObjectKey) -> bool {
        key.name == self.name && self.place(&key.namespace).is_some()
    }

    /// The namespaces that are there and not served any more.
    pub fn dropped(&self) -> &BTreeSet<Arc<str>> {
        &self.dropped
    }

    /// Whether the namespace is there and not served any more.
    pub fn is_dropped(&self, namespace: &str) -> bool {
        self.dropped.contains(namespace)
    }

    /// Namespaces that are chosen and beyond what the connection may serve.
    pub fn left_out(&self) -> &[Arc<str>] {
        &self.left_out
    }

    /// In how many namespaces the Secret waits for somebody to allow its removal; until then it is looked after as before.
    pub fn blocked(&self) -> usize {
        self.blocked
    }

    /// Takes in what is known of one now.
    pub fn learn(&mut self, namespace: &str, state: SecretState) {
        if let Some((_, known)) = self.place(namespace).and_then(|place| self.states.get_mut(place)) {
            *known = state;
        }
    }

    fn place(&self, namespace: &str) -> Option<usize> {
        self.states.binary_search_by(|(known, _)| known.as_ref().cmp(namespace)).ok()
    }
}
