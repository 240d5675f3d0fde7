//! What a connection serves: the namespaces that it chooses among those there are, and the Secrets in them.

use std::sync::Arc;

use super::{Index, Inner};
use crate::{
    api::Declared,
    controller::{mapper, select, targets::Targets},
};

impl Index {
    /// The Secrets that a connection writes now, and what is known of them.
    pub fn targets(&self, connection: &Declared) -> Targets {
        let mut inner = self.lock();
        let targets = inner.targets(connection);
        let others = targets.without(inner.secrets.owners().keys_of(&connection.reference())).cloned().collect();
        targets.at(self.news(), others)
    }
}

impl Inner {
    fn targets(&mut self, connection: &Declared) -> Targets {
        let name = mapper::target_name(connection);
        let reference = connection.reference();
        let served = match self.connections.choice_of(connection) {
            None => {
                let own = reference.namespace().map(Arc::from).into_iter().collect();
                select::serve(connection, own, vec![], |_| false)
            }
            Some(choice) => {
                let chosen = self.namespaces.chosen(&choice).cloned().collect();
                let holding = self.secrets.namespaces_of(&reference);
                let mut holding: Vec<Arc<str>> = self.namespaces.that_stay(holding).cloned().collect();
                let places = self.places.get(&reference).into_iter().flatten();
                holding.extend(places.filter(|name| self.namespaces.is_chosen(name, &choice)).cloned());
                holding.sort();
                holding.dedup();
                let served = select::serve(connection, chosen, holding, |name| self.namespaces.refuses(name));
                match served.left_out.is_empty() {
                    true => self.places.remove(&reference),
                    false => self.places.insert(reference, served.namespaces.iter().cloned().collect()),
                };
                served
            }
        };
        Targets::new(name, served, |key| self.secrets.state(key))
    }
}
