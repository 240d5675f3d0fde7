//! What the cluster looks like, as the watches tell it: all connections, and the metadata of the Secrets and ConfigMaps
//! they are about. The only state reconciles share; nothing here does IO.
//!
//! What the watches tell comes in through `events`, what reads and writes of ours tell through `answers`. Besides what is read
//! here, `targets` tells what a connection serves, `orphans` what connections left behind, and `links` who is to name their
//! Secrets.

mod accounts;
mod answers;
mod config_maps;
mod connections;
mod departures;
mod events;
#[cfg(test)]
mod fixture;
mod ledgers;
mod links;
mod listing;
mod namespaces;
mod orphans;
mod owners;
mod secrets;
mod shared;
mod tables;
mod targets;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use kube::runtime::reflector::Store;
use tokio::sync::Notify;

use super::{
    secret_meta::ObjectKey,
    sighting::{SecretState, Sighting},
    stored::Stored,
};
use crate::{
    api::{names::DEFAULT_OPERATOR_NAMESPACE, provider::CaKind},
    clock::Clock,
    domain::reference::ConnectionReference,
};
use accounts::Accounts;
use config_maps::ConfigMaps;
use connections::Connections;
use departures::Departures;
pub use departures::LastSeen;
pub use links::Moment;
use links::{Bells, Links};
pub use namespaces::NamespaceId;
use namespaces::Namespaces;
pub use orphans::Orphan;
use secrets::Secrets;
use tables::Tables;

/// See the module.
pub struct Index {
    inner: Mutex<Inner>,
    store: Store<Stored>,
    clock: Clock,
    /// Something may have lost its connection.
    orphaned: Notify,
    bells: Bells,
    /// How often a connection changed, or a namespace that matters to one. It is counted while nobody can look.
    news: AtomicU64,
}

struct Inner {
    connections: Connections,
    secrets: Secrets,
    config_maps: ConfigMaps,
    namespaces: Namespaces,
    accounts: Accounts,
    tables: Tables,
    links: Links,
    /// Who has a place among those that a connection may serve, where not all have one. A tenant who deletes the Secret must not
    /// lose it to another.
    places: HashMap<ConnectionReference, BTreeSet<Arc<str>>>,
    departures: Departures,
    /// All lists were complete when this was asked last.
    was_listed: bool,
}

impl Default for Index {
    fn default() -> Self {
        Self::new(Clock::system(), DEFAULT_OPERATOR_NAMESPACE)
    }
}

impl Index {
    /// An empty one that goes by this clock; ledgers are in the operator's namespace.
    pub fn new(clock: Clock, namespace: &str) -> Self {
        let inner = Inner {
            connections: Connections::new(),
            secrets: Secrets::new(namespace),
            config_maps: ConfigMaps::of(namespace),
            namespaces: Namespaces::default(),
            accounts: Accounts::default(),
            tables: Tables::default(),
            links: Links::default(),
            places: HashMap::new(),
            departures: Departures::default(),
            was_listed: false,
        };
        Self {
            store: inner.connections.store(),
            inner: Mutex::new(inner),
            clock,
            orphaned: Notify::new(),
            bells: Bells::default(),
            news: AtomicU64::new(0),
        }
    }
}

impl Index {
    /// All connections, for the run loop; those that cannot be read too.
    pub fn store(&self) -> Store<Stored> {
        self.store.clone()
    }

    /// Another number than before if a connection or a namespace changed since.
    pub fn news(&self) -> u64 {
        self.news.load(Ordering::Relaxed)
    }

    /// True once all lists are complete.
    pub fn is_synced(&self) -> bool {
        self.lock().is_listed()
    }

    /// The newest known form of a connection.
    pub fn connection(&self, reference: &ConnectionReference) -> Option<Arc<Stored>> {
        self.lock().connections.get(reference)
    }

    /// Whether this connection, and not another one of its name, is still there.
    pub fn is_alive(&self, connection: &Stored) -> bool {
        self.connection(&connection.reference()).is_some_and(|known| known.meta().uid == connection.meta().uid)
    }

    /// What is known of a Secret.
    pub fn secret(&self, key: &ObjectKey) -> SecretState {
        self.lock().secrets.state(key)
    }

    /// Which namespace has this name now.
    pub fn namespace(&self, name: &str) -> Option<NamespaceId> {
        self.lock().namespaces.id(name)
    }

    /// What is known of the object with a registry's certificate authority.
    pub fn authority(&self, kind: CaKind, key: &ObjectKey) -> Sighting {
        match kind {
            CaKind::Secret => self.secret(key).sighting(),
            CaKind::ConfigMap => self.lock().config_maps.sighting(key),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics half-way through a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Whether a connection is there, even one that cannot be read.
    fn is_there(&self, reference: &ConnectionReference) -> bool {
        self.connections.get(reference).is_some()
    }

    /// Whether a connection is known not to be there.
    fn is_gone(&self, reference: &ConnectionReference) -> bool {
        self.is_listed() && self.connections.is_listed(reference.kind()) && !self.is_there(reference)
    }

    fn is_listed(&self) -> bool {
        self.connections.are_listed()
            && self.secrets.is_listed
            && self.config_maps.is_listed
            && (self.namespaces.is_listed || self.namespaces.is_unavailable)
    }
}

#[cfg(test)]
mod tests {
    use super::fixture::{listed, stored};

    #[test]
    fn another_connection_of_the_same_name_is_not_the_one_that_went() {
        let index = listed(&[]);
        let metadata = |uid: &str| stored("10", |object| object["metadata"]["uid"] = uid.into());
        assert!(index.is_alive(&metadata("0123456789")) && !index.is_alive(&metadata("another")));
    }
}
