//! The Secrets that a connection writes: one of the same name in each namespace that it serves, which is a single one unless it
//! is a cluster's connection. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{secret_meta::ObjectKey, select::Served, sighting::SecretState};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    name: String,
    /// By namespace.
    states: BTreeMap<Arc<str>, SecretState>,
    left_out: Vec<Arc<str>>,
    dropped: BTreeSet<Arc<str>>,
    blocked: usize,
    others: Vec<Arc<ObjectKey>>,
    as_of: u64,
}

impl Targets {
    /// Secrets of this name in the namespaces that are served; `state` tells what is known of each.
    pub fn new(name: &str, served: Served, state: impl Fn(&ObjectKey) -> SecretState) -> Self {
        let Served { namespaces, left_out, blocked, dropped } = served;
        let mut key = ObjectKey { namespace: String::new(), name: name.to_owned() };
        let states = namespaces.into_iter().map(|namespace| {
            key.namespace.clear();
            key.namespace.push_str(&namespace);
            let state = state(&key);
            (namespace, state)
        });
        Self {
            name: name.to_owned(),
            states: states.collect(),
            left_out,
            dropped: dropped.into_iter().collect(),
            blocked,
            others: vec![],
            as_of: 0,
        }
    }

    /// These, as they were at this number of [`super::index::Index::news`], when these others were there.
    pub fn at(self, as_of: u64, others: Vec<Arc<ObjectKey>>) -> Self {
        Self { as_of, others, ..self }
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
        self.states.iter()
    }

    /// The key of the one in a namespace.
    pub fn key(&self, namespace: &str) -> ObjectKey {
        ObjectKey { namespace: namespace.to_owned(), name: self.name.clone() }
    }

    /// What is known of the one in a namespace; none if there is to be none.
    pub fn state(&self, namespace: &str) -> Option<&SecretState> {
        self.states.get(namespace)
    }

    /// Whether this is one of them.
    pub fn contains(&self, key: &ObjectKey) -> bool {
        key.name == self.name && self.states.contains_key(key.namespace.as_str())
    }

    /// Those of these keys that are none of them. The keys come in their order.
    pub fn without<'a>(
        &'a self,
        keys: impl Iterator<Item = &'a Arc<ObjectKey>>,
    ) -> impl Iterator<Item = &'a Arc<ObjectKey>> {
        let mut namespaces = self.states.keys().peekable();
        keys.filter(move |key| {
            // Side by side: looking up each of many would take longer than a pass should.
            while namespaces.next_if(|known| known.as_ref() < key.namespace.as_str()).is_some() {}
            key.name != self.name || namespaces.peek().is_none_or(|known| known.as_ref() != key.namespace)
        })
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

    /// In how many of the namespaces the Secret waits for somebody to allow its removal.
    pub fn blocked(&self) -> usize {
        self.blocked
    }

    /// Takes in what is known of one now.
    pub fn learn(&mut self, namespace: &str, state: SecretState) {
        if let Some(known) = self.states.get_mut(namespace) {
            *known = state;
        }
    }
}
