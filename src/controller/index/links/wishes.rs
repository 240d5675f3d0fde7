//! Which namespaces are to be looked at because of what a connection asks for.

use std::{collections::BTreeSet, sync::Arc};

use super::super::Inner;
use crate::{
    api::{Declared, cluster::DEFAULT_MAX_TARGETS},
    controller::stored::Stored,
    domain::reference::{ConnectionReference, Kind},
    linking::wish::Wish,
};

impl Inner {
    /// Takes note of what a connection asks for now, before it is put among the others. True if that is something else.
    pub(in crate::controller::index) fn wishes_change(&mut self, new: &Stored) -> bool {
        let reference = new.reference();
        let before = self.links.wishes.get(&reference).cloned();
        let wish = match new {
            Stored::Readable(connection) => Wish::of(connection).map(Arc::new),
            // It is not known what it asks for now: what it had stays its own.
            Stored::Unreadable(_) => before.as_deref().map(|before| Arc::new(before.clone().at_rest())),
        };
        if before == wish {
            return false;
        }
        let served = self.wake_served(&reference);
        // Somebody wants something else there now.
        for namespace in &served {
            self.accounts.forget_losses(namespace);
            self.tables.forget_losses(namespace);
        }
        self.links.has_patterns |= wish.as_ref().is_some_and(|wish| wish.pattern.is_some());
        match wish {
            Some(wish) => drop(self.links.wishes.insert(reference, wish)),
            None => drop(self.links.wishes.remove(&reference)),
        }
        true
    }

    /// Looks at the namespaces that a connection serves now, if it asks for something else; it was put among the others.
    pub(in crate::controller::index) fn wishes_changed(&mut self, new: &Stored, is_new: bool) {
        let reference = new.reference();
        if !self.links.wishes.contains_key(&reference) {
            self.links.outstanding.remove(&reference);
            return;
        }
        if let Some(connection) = new.readable() {
            self.find_out_who_waits(connection);
        }
        if is_new {
            let served = self.wake_served(&reference);
            self.is_outstanding(reference, served);
        }
    }

    /// A list of the connections of a kind is complete.
    pub(in crate::controller::index) fn wishes_listed(&mut self, kind: Kind) {
        // What changed meanwhile was not shown, nor what it was before.
        self.wake_all_claimed();
        for connection in self.connections.all().into_iter().filter(|connection| connection.kind() == kind) {
            let is_new = self.wishes_change(&connection);
            self.wishes_changed(&connection, is_new);
        }
    }

    /// A connection went. Whoever was not the default may be now; what is named for it stays for a while.
    pub(in crate::controller::index) fn wishes_went(&mut self, reference: &ConnectionReference) {
        if self.links.wishes.contains_key(reference) {
            self.wake_served(reference);
        }
        self.links.wishes.remove(reference);
        self.links.outstanding.remove(reference);
        self.links.blocked.remove(reference);
        self.wake_claimed(reference);
    }

    /// A connection is there that was not, or was not known: what is named for an earlier one of its name is its own now.
    pub(in crate::controller::index) fn connection_came(&mut self, reference: &ConnectionReference) {
        self.wake_claimed(reference);
    }

    /// Takes note of which namespaces a connection serves although they are not chosen any more, and which not although they are.
    pub(in crate::controller::index) fn served_otherwise(
        &mut self,
        reference: &ConnectionReference,
        blocked: &[Arc<str>],
        places_before: Option<&BTreeSet<Arc<str>>>,
    ) {
        if !self.links.wishes.contains_key(reference) {
            return;
        }
        let before = self.links.blocked.remove(reference).unwrap_or_default();
        let blocked: BTreeSet<Arc<str>> = blocked.iter().cloned().collect();
        self.links.woken.extend(before.symmetric_difference(&blocked).cloned());
        if !blocked.is_empty() {
            self.links.blocked.insert(reference.clone(), blocked);
        }
        let places = self.places.get(reference);
        if places != places_before {
            self.links.woken.extend(places.into_iter().chain(places_before).flatten().cloned());
        }
    }

    /// Whether a namespace that changed finds a place must be known before anybody acts on it. Most connections serve all that
    /// there are.
    pub(in crate::controller::index) fn find_out_who_has_a_place(&mut self, reference: &ConnectionReference) {
        let Some(connection) = self.connections.get(reference) else { return };
        let Some(connection) = connection.readable().filter(|_| self.links.wishes.contains_key(reference)) else {
            return;
        };
        let max = connection.selection.as_ref().and_then(|selection| selection.max_targets);
        let max = usize::try_from(max.unwrap_or(DEFAULT_MAX_TARGETS)).unwrap_or(usize::MAX);
        if self.namespaces.len() > max {
            self.targets(connection);
        }
    }

    /// Whether an edit has to wait must be known before anybody acts on it.
    fn find_out_who_waits(&mut self, connection: &Declared) {
        if connection.kind() == Kind::Cluster && self.is_listed() {
            self.targets(connection);
        }
    }

    /// These namespaces are to be looked at before it is known what became of the links of a connection.
    fn is_outstanding(&mut self, reference: ConnectionReference, served: BTreeSet<Arc<str>>) {
        // Before all lists are complete, it is not known which these are.
        let is_known = self.are_links_known() && (self.namespaces.is_listed || reference.kind() == Kind::Namespaced);
        match served.is_empty() && is_known || self.accounts.is_unavailable || self.tables.is_unavailable {
            true => self.links.outstanding.remove(&reference),
            false => self.links.outstanding.set(reference, served),
        }
    }

    /// Looks at all namespaces that matter: the lists are complete.
    pub(in crate::controller::index) fn wake_everywhere(&mut self) {
        if !self.are_links_known() {
            return;
        }
        let references: Vec<ConnectionReference> = self.links.wishes.keys().cloned().collect();
        for reference in references {
            let connection = self.connections.get(&reference);
            if let Some(connection) = connection.as_deref().and_then(Stored::readable) {
                self.find_out_who_waits(connection);
            }
            let served = self.wake_served(&reference);
            self.is_outstanding(reference, served);
        }
        self.wake_all_claimed();
    }

    /// Looks at the namespaces that a connection serves as it is known now; returns them.
    fn wake_served(&mut self, reference: &ConnectionReference) -> BTreeSet<Arc<str>> {
        let served: BTreeSet<Arc<str>> = match (reference.namespace(), self.connections.choice(reference)) {
            (Some(own), _) => [Arc::from(own)].into(),
            (None, Some(choice)) => {
                let blocked = self.links.blocked.get(reference).into_iter().flatten();
                self.namespaces.chosen(choice).chain(blocked).cloned().collect()
            }
            (None, None) => BTreeSet::new(),
        };
        self.links.woken.extend(served.iter().cloned());
        served
    }

    /// Looks at the namespaces where something is named for a connection.
    fn wake_claimed(&mut self, reference: &ConnectionReference) {
        match reference.namespace() {
            Some(own) if self.accounts.has_claims(own) || self.tables.has_claims(own) => {
                self.links.woken.insert(own.into());
            }
            Some(_) => {}
            None => self.wake_all_claimed(),
        }
    }

    /// Looks at all namespaces where anything is named for anybody.
    pub(in crate::controller::index) fn wake_all_claimed(&mut self) {
        let claimed = self.accounts.namespaces_with_claims().chain(self.tables.namespaces());
        self.links.woken.extend(claimed.cloned());
    }
}
