//! What a connection serves: the namespaces that it chooses among those there are, and the Secrets in them.

use std::{iter, sync::Arc};

use super::{Index, Inner};
use crate::{
    api::Declared,
    controller::{
        mapper,
        secret_meta::{ObjectKey, SecretMeta},
        select,
        sighting::SecretState,
        targets::Targets,
    },
};

impl Index {
    /// The Secrets that a connection writes now, and what is known of them.
    pub fn targets(&self, connection: &Declared) -> Targets {
        let mut inner = self.lock();
        inner.targets(connection).at(self.news())
    }
}

/// A Secret that surely was written for a connection, in a namespace that is there to stay.
struct Held {
    namespace: Arc<str>,
    key: Arc<ObjectKey>,
    meta: Arc<SecretMeta>,
}

impl Inner {
    pub(super) fn targets(&mut self, connection: &Declared) -> Targets {
        let name = mapper::target_name(connection);
        let reference = connection.reference();
        let written = self.secrets.owners().all_of(&reference);
        let Some(choice) = self.connections.choice_of(connection) else {
            let own = reference.namespace().map(Arc::from).into_iter().collect();
            let targets = Targets::new(name, select::serve(connection, own, vec![], |_| false), |namespace| {
                self.secrets.state(&ObjectKey { namespace: namespace.to_string(), name: name.to_owned() })
            });
            let others = written.map(|(key, _)| key).filter(|key| !targets.contains(key)).cloned().collect();
            return targets.with_others(others);
        };
        // There may be thousands, so nothing is looked for by itself: all come in the order of the names of namespaces.
        let chosen = self.namespaces.chosen(&choice).cloned().collect();
        let (mut holding, mut held, mut others) = (Vec::<Arc<str>>::new(), vec![], vec![]);
        for (namespace, (key, meta)) in self.namespaces.staying(written.map(|it| (it.0.namespace.as_str(), it))) {
            if let Some(namespace) = namespace
                && holding.last().is_none_or(|last| !Arc::ptr_eq(last, namespace))
            {
                holding.push(Arc::clone(namespace));
            }
            match namespace.filter(|_| key.name == name) {
                Some(namespace) => {
                    let (namespace, key, meta) = (Arc::clone(namespace), Arc::clone(key), Arc::clone(meta));
                    held.push(Held { namespace, key, meta });
                }
                None => others.push(Arc::clone(key)),
            }
        }
        if let Some(places) = self.places.get(&reference) {
            holding.extend(places.iter().filter(|name| self.namespaces.is_chosen(name, &choice)).cloned());
            holding.sort();
            holding.dedup();
        }
        let mut served = select::serve(connection, chosen, holding, |name| self.namespaces.refuses(name));
        let places = match served.left_out.is_empty() {
            true => self.places.remove(&reference),
            false => self.places.insert(reference.clone(), served.namespaces.iter().cloned().collect()),
        };
        self.served_otherwise(&reference, &served.blocked, places.as_ref());
        if !served.blocked.is_empty() {
            // An edit that waits changes nothing for those who hold the Secret.
            let is_blocked = |held: &Held| served.blocked.binary_search(&held.namespace).is_ok();
            let waiting = held.iter().filter(|held| is_blocked(held)).map(|held| Arc::clone(&held.namespace));
            served.namespaces.extend(waiting.collect::<Vec<_>>());
            served.namespaces.sort();
        }
        let mut held = held.into_iter().peekable();
        let targets = Targets::new(name, served, |namespace| {
            let is_before = |held: &Held| !Arc::ptr_eq(&held.namespace, namespace) && held.namespace < *namespace;
            others.extend(iter::from_fn(|| held.next_if(is_before)).map(|unserved| unserved.key));
            match held.next_if(|held| Arc::ptr_eq(&held.namespace, namespace)) {
                Some(held) => SecretState::Present(held.meta),
                None => self.secrets.state(&ObjectKey { namespace: namespace.to_string(), name: name.to_owned() }),
            }
        });
        others.extend(held.map(|unserved| unserved.key));
        targets.with_others(others)
    }
}
