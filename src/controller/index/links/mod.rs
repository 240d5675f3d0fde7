//! Who asks for links where, and what became of it. What changes calls for another look at a namespace; see [`crate::linking`].
//!
//! What the watches tell comes in through `events`; `wishes` says which namespaces are to be looked at because of a connection, and
//! `results` what became of the looks.

mod events;
mod outstanding;
mod results;
mod wishes;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
    sync::Arc,
};

use tokio::sync::Notify;

use super::{Index, Inner, departures::Departure};
use crate::{
    api::{connection::DeletionPolicy, names::SYSTEM_NAMESPACES},
    controller::{
        secret_meta::{ObjectKey, Ownership},
        sighting::SecretState,
        stored::Stored,
    },
    domain::reference::{ConnectionReference, Kind},
    linking::{
        place::{Asking, Losses, Naming, Place, Word},
        standing::{Standing, Support},
        wish::{Identity, Wish},
    },
};
pub use outstanding::Moment;
use outstanding::Outstanding;

/// Of so many connections at most it is asked what they want of a namespace. What is named for others stays: somebody made it up.
const MAX_HOLDERS: usize = 2000;

/// See the module.
#[derive(Default)]
pub(super) struct Links {
    /// The connections that ask for links; in this order those of the cluster come first, then those of each namespace.
    wishes: BTreeMap<ConnectionReference, Arc<Wish>>,
    /// The namespaces that a connection of the cluster goes on serving until it is allowed not to.
    blocked: HashMap<ConnectionReference, BTreeSet<Arc<str>>>,
    /// The namespaces to look at.
    woken: BTreeSet<Arc<str>>,
    /// Those that were not looked at since a connection changed.
    outstanding: Outstanding,
    standings: BTreeMap<Arc<str>, Vec<Standing>>,
    support: Support,
    /// The first try to list ServiceAccounts, or tables, failed. That alone says nothing: a server without streamed lists refuses it,
    /// and takes the next one.
    has_failed: (bool, bool),
    /// Somebody asks for Pods to be linked by their images, or did.
    has_patterns: bool,
    /// Connections of which there is something new to tell.
    told: BTreeSet<ConnectionReference>,
}

/// Who waits for what is told here.
#[derive(Default)]
pub(super) struct Bells {
    /// A namespace is to be looked at.
    pub(in crate::controller::index) woken: Notify,
    /// A namespace was looked at.
    pub(in crate::controller::index) looked_at: Notify,
    /// There is something new to tell of a connection.
    pub(in crate::controller::index) told: Notify,
    /// Somebody asks for Pods to be linked by their images.
    pub(in crate::controller::index) patterns: Notify,
}

impl Links {
    /// The connections that ask for links in a namespace, or may, if they are of the cluster.
    fn asking<'a>(&'a self, namespace: &str) -> impl Iterator<Item = &'a Arc<Wish>> {
        let first = ConnectionReference::namespaced("", "");
        let cluster = self.wishes.range((Bound::Unbounded, Bound::Excluded(first))).map(|(_, wish)| wish);
        let from = ConnectionReference::namespaced(namespace, "");
        let namespace = namespace.to_owned();
        let own = self.wishes.range(from..).take_while(move |(it, _)| it.namespace() == Some(&namespace));
        cluster.chain(own.map(|(_, wish)| wish))
    }

    /// ServiceAccounts could not be listed; true if that is not the first time.
    fn accounts_failed(&mut self) -> bool {
        std::mem::replace(&mut self.has_failed.0, true)
    }

    /// Tables could not be listed; true if that is not the first time.
    fn tables_failed(&mut self) -> bool {
        std::mem::replace(&mut self.has_failed.1, true)
    }

    /// Whether not all namespaces that a connection serves were looked at since it changed, or nobody has found out yet whether the
    /// policy is there.
    fn are_under_way(&self, reference: &ConnectionReference) -> bool {
        let has_pattern = || self.wishes.get(reference).is_some_and(|wish| wish.pattern.is_some());
        self.outstanding.contains(reference) || self.support == Support::Unknown && has_pattern()
    }
}

impl Inner {
    /// Whether a connection that asks for links does so in a namespace.
    fn serves(&self, wish: &Wish, namespace: &str) -> bool {
        let reference = &wish.connection.reference;
        let Some(choice) = self.connections.choice(reference) else {
            return reference.namespace() == Some(namespace);
        };
        let has_place = || self.places.get(reference).is_none_or(|places| places.contains(namespace));
        let waits = || self.links.blocked.get(reference).is_some_and(|blocked| blocked.contains(namespace));
        self.namespaces.is_chosen(namespace, choice) && has_place() || waits()
    }

    /// What is known of a connection for which something is named in a namespace.
    fn word(&self, reference: &ConnectionReference, namespace: &str) -> Word {
        let is_elsewhere = reference.namespace().is_some_and(|own| own != namespace);
        // It has no say here, whoever wrote so; or nobody knows yet what it serves.
        if is_elsewhere || reference.kind() == Kind::Cluster && !self.namespaces.is_listed {
            return Word::Silent;
        }
        match self.connections.get(reference).as_deref() {
            Some(Stored::Readable(connection)) => {
                let is_at_rest = self.links.wishes.get(reference).is_some_and(|wish| wish.is_at_rest);
                match is_at_rest || connection.spec.suspend.unwrap_or(false) {
                    true => Word::Silent,
                    false => Word::Speaks(Identity::of(connection)),
                }
            }
            Some(Stored::Unreadable(_)) => Word::Silent,
            None => match self.departures.of(reference).filter(|_| self.is_gone(reference)) {
                Some(Departure { since, policy }) => Word::Gone { since, policy },
                None => Word::Silent,
            },
        }
    }

    /// What is known of the Secret that a connection wants named in a namespace.
    fn naming(&self, wish: &Wish, namespace: &str) -> Naming {
        let key = ObjectKey { namespace: namespace.to_owned(), name: wish.secret.clone() };
        let reference = &wish.connection.reference;
        match self.secrets.state(&key) {
            SecretState::Present(meta) if meta.ownership(reference) == Ownership::Ours => Naming::There,
            SecretState::Present(_) => Naming::Foreign,
            SecretState::Absent => Naming::Awaited,
            SecretState::Unknown if reference.kind() == Kind::Cluster && self.secrets.is_surveyed(&wish.secret) => {
                Naming::Awaited
            }
            SecretState::Unknown => Naming::Unknown,
        }
    }

    /// Whether all is known that links go by.
    fn are_links_known(&self) -> bool {
        self.is_listed() && self.accounts.is_listed && self.tables.is_listed
    }
}

impl Index {
    /// Everything about the links of a namespace; none if nothing is to be written there.
    pub fn place(&self, namespace: &str) -> Option<Place> {
        let inner = self.lock();
        if !inner.are_links_known() || inner.namespaces.is_going(namespace) {
            return None;
        }
        let asking = inner.links.asking(namespace).filter(|wish| inner.serves(wish, namespace));
        let mut asking: Vec<Asking> =
            asking.map(|wish| Asking { wish: Arc::clone(wish), secret: inner.naming(wish, namespace) }).collect();
        asking.sort_by(|one, other| one.wish.connection.by_age(&other.wish.connection));
        let mut place = Place {
            asking,
            words: BTreeMap::new(),
            accounts: inner.accounts.of(namespace).collect(),
            table: inner.tables.of(namespace),
            is_of_the_system: SYSTEM_NAMESPACES.contains(&namespace),
            moment: inner.links.outstanding.now(),
        };
        let words = place.holders().into_iter().map(|holder| (holder.clone(), inner.word(holder, namespace)));
        place.words = words.take(MAX_HOLDERS).collect();
        Some(place)
    }

    /// How often the table of a namespace was taken away, if that happened lately.
    pub fn table_losses(&self, namespace: &str) -> Option<Losses> {
        self.lock().tables.losses(namespace)
    }

    /// What a Secret says that the end of a connection does to it; none if it is not the connection's, or not there.
    pub fn policy_on(&self, key: &ObjectKey, reference: &ConnectionReference) -> Option<DeletionPolicy> {
        match self.secret(key) {
            SecretState::Present(meta) if meta.ownership(reference) == Ownership::Ours => {
                Some(meta.deletion_policy().unwrap_or(DeletionPolicy::Retain))
            }
            SecretState::Present(_) | SecretState::Absent | SecretState::Unknown => None,
        }
    }

    /// Whether it is known in which namespaces there are Secrets of a name.
    pub fn is_surveyed(&self, name: &str) -> bool {
        self.lock().secrets.is_surveyed(name)
    }

    /// All Secrets of a name are known now.
    pub fn surveyed(&self, name: &str) {
        self.lock().secrets.surveyed(name);
    }
}
