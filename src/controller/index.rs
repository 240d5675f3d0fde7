//! What the cluster looks like, as the watches tell it: all connections, and the metadata of the Secrets they read or
//! write. The only state reconciles share; nothing here does IO.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Resource, ResourceExt,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::{
        reflector::{self, ObjectRef, Store},
        watcher::Event,
    },
};

use super::{
    mapper,
    secret_meta::{SecretKey, SecretMeta},
};
use crate::api::RegistryConnection;

/// What is known of a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretState {
    /// Not looked at yet: it may exist or not.
    Unknown,
    /// It does not exist.
    Absent,
    /// It exists.
    Present(Arc<SecretMeta>),
}

/// Which form of a Secret was seen, to tell whether it is still the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// Not looked at yet.
    Unknown,
    /// It did not exist.
    Absent,
    /// This object, in this version.
    Present {
        /// Its UID.
        uid: String,
        /// Its resourceVersion.
        resource_version: String,
    },
}

impl SecretState {
    /// Which form it is.
    pub fn sighting(&self) -> Sighting {
        match self {
            Self::Unknown => Sighting::Unknown,
            Self::Absent => Sighting::Absent,
            Self::Present(meta) => {
                Sighting::Present { uid: meta.uid.clone(), resource_version: meta.resource_version.clone() }
            }
        }
    }
}

/// A connection that should be looked at.
pub type Wake = ObjectRef<RegistryConnection>;

/// See the module.
pub struct Index {
    inner: Mutex<Inner>,
    store: Store<RegistryConnection>,
}

struct Inner {
    connections: reflector::store::Writer<RegistryConnection>,
    store: Store<RegistryConnection>,
    /// Which connections read or write a Secret.
    concerned: HashMap<SecretKey, BTreeSet<(String, String)>>,
    secrets: HashMap<SecretKey, SecretState>,
    /// The Secrets seen since a list began, to notice those that went while nobody watched.
    listed: HashSet<SecretKey>,
    connections_listed: bool,
    secrets_listed: bool,
}

impl Default for Index {
    fn default() -> Self {
        let (store, connections) = reflector::store();
        let inner = Inner {
            connections,
            store: store.clone(),
            concerned: HashMap::new(),
            secrets: HashMap::new(),
            listed: HashSet::new(),
            connections_listed: false,
            secrets_listed: false,
        };
        Self { inner: Mutex::new(inner), store }
    }
}

impl Index {
    /// All connections, for the run loop.
    pub fn store(&self) -> Store<RegistryConnection> {
        self.store.clone()
    }

    /// True once both lists are complete.
    pub fn is_synced(&self) -> bool {
        let inner = self.lock();
        inner.connections_listed && inner.secrets_listed
    }

    /// The newest known form of a connection.
    pub fn connection(&self, wake: &Wake) -> Option<Arc<RegistryConnection>> {
        self.store.get(wake)
    }

    /// What is known of a Secret.
    pub fn secret(&self, key: &SecretKey) -> SecretState {
        self.lock().secrets.get(key).cloned().unwrap_or(SecretState::Unknown)
    }

    /// Takes in a connection as the API server returned it from a write of ours, ahead of the watch.
    ///
    /// One whose spec changed meanwhile is left to the watch, which also wakes those who have to act on it.
    pub fn put_connection(&self, connection: RegistryConnection) {
        let inner = &mut *self.lock();
        let known = inner.store.get(&ObjectRef::from_obj(&connection));
        let same_spec = known.is_some_and(|known| known.metadata.generation == connection.metadata.generation);
        if same_spec && !inner.is_outdated(&connection.metadata) {
            inner.connections.apply_watcher_event(&Event::Apply(connection));
        }
    }

    /// Takes in what a read or write of ours told about a Secret, unless the watch already told something newer.
    pub fn learn(&self, key: &SecretKey, state: SecretState) {
        let mut inner = self.lock();
        let newest = match (inner.secrets.get(key), state) {
            (None | Some(SecretState::Unknown), state) => state,
            (Some(SecretState::Absent), SecretState::Present(new)) => SecretState::Present(new),
            (Some(SecretState::Present(old)), SecretState::Present(new)) => {
                if old.uid == new.uid && old.resource_version == new.resource_version {
                    SecretState::Present(Arc::new(SecretMeta {
                        data_trusted: old.data_trusted || new.data_trusted,
                        unusable: old.unusable.clone().or_else(|| new.unusable.clone()),
                        ..SecretMeta::clone(old)
                    }))
                } else if is_older(&new.resource_version, &old.resource_version) {
                    return;
                } else {
                    SecretState::Present(new)
                }
            }
            // The watch follows what it once showed; only it knows when that is gone.
            (Some(SecretState::Present(_) | SecretState::Absent), SecretState::Absent | SecretState::Unknown) => return,
        };
        inner.secrets.insert(key.clone(), newest);
    }

    /// Takes in an event of the watch on connections; returns who should be looked at.
    pub fn apply_connection(&self, event: Event<DeserializeGuard<RegistryConnection>>) -> Vec<Wake> {
        let mut inner = self.lock();
        match event {
            Event::Init => {
                inner.connections.apply_watcher_event(&Event::Init);
                vec![]
            }
            Event::InitApply(guard) => {
                if let Some(connection) = decoded(guard) {
                    inner.connections.apply_watcher_event(&Event::InitApply(connection));
                }
                vec![]
            }
            Event::InitDone => {
                inner.connections.apply_watcher_event(&Event::InitDone);
                inner.concerned.clear();
                for connection in inner.store.state() {
                    inner.concern(&connection);
                }
                inner.connections_listed = true;
                inner.everybody()
            }
            Event::Apply(guard) => {
                let Some(connection) = decoded(guard) else { return vec![] };
                if inner.is_outdated(&connection.metadata) {
                    return vec![];
                }
                if let Some(old) = inner.store.get(&ObjectRef::from_obj(&connection)) {
                    if old.metadata.resource_version == connection.metadata.resource_version {
                        return vec![];
                    }
                    inner.unconcern(&old);
                }
                inner.concern(&connection);
                let wake = ObjectRef::from_obj(&connection);
                inner.connections.apply_watcher_event(&Event::Apply(connection));
                inner.awake(vec![wake])
            }
            Event::Delete(guard) => {
                let wake = wake_of(guard.meta());
                if let Some(old) = inner.store.get(&wake) {
                    inner.unconcern(&old);
                    inner.connections.apply_watcher_event(&Event::Delete((*old).clone()));
                }
                vec![]
            }
        }
    }

    /// Takes in an event of the watch on Secrets; returns who should be looked at.
    pub fn apply_secret(&self, event: Event<PartialObjectMeta<Secret>>) -> Vec<Wake> {
        let mut inner = self.lock();
        match event {
            Event::Init => {
                inner.listed.clear();
                vec![]
            }
            Event::InitApply(secret) => {
                let key = key_of(&secret.metadata);
                let woken = inner.see(&key, &secret.metadata);
                if inner.secrets.contains_key(&key) {
                    inner.listed.insert(key);
                }
                inner.awake(woken)
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut inner.listed);
                let known: HashSet<SecretKey> = inner.secrets.keys().chain(inner.concerned.keys()).cloned().collect();
                let woken = known.difference(&listed).flat_map(|key| inner.miss(key)).collect();
                if inner.secrets_listed {
                    return inner.awake(woken);
                }
                inner.secrets_listed = true;
                inner.everybody()
            }
            Event::Apply(secret) => {
                let woken = inner.see(&key_of(&secret.metadata), &secret.metadata);
                inner.awake(woken)
            }
            Event::Delete(secret) => {
                let woken = inner.miss(&key_of(&secret.metadata));
                inner.awake(woken)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics half-way through a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Records what the watch shows of a Secret; drops what concerns nobody.
    fn see(&mut self, key: &SecretKey, metadata: &ObjectMeta) -> Vec<Wake> {
        let mut meta = SecretMeta::from_metadata(metadata);
        if !self.concerned.contains_key(key) && !meta.is_marked() {
            self.secrets.remove(key);
            return vec![];
        }
        if let Some(SecretState::Present(known)) = self.secrets.get(key) {
            if !is_older(&known.resource_version, &meta.resource_version) {
                return vec![];
            }
            if known.uid == meta.uid {
                meta.unusable = known.unusable.clone();
            }
        }
        self.secrets.insert(key.clone(), SecretState::Present(Arc::new(meta)));
        self.wakes_for(key)
    }

    /// Records that a Secret does not exist.
    fn miss(&mut self, key: &SecretKey) -> Vec<Wake> {
        if !self.concerned.contains_key(key) {
            self.secrets.remove(key);
            return vec![];
        }
        match self.secrets.insert(key.clone(), SecretState::Absent) {
            Some(SecretState::Absent) => vec![],
            Some(SecretState::Present(_) | SecretState::Unknown) | None => self.wakes_for(key),
        }
    }

    fn concern(&mut self, connection: &RegistryConnection) {
        let id = (connection.namespace().unwrap_or_default(), connection.name_any());
        for key in [mapper::source(connection), mapper::target(connection)] {
            self.concerned.entry(key).or_default().insert(id.clone());
        }
    }

    fn unconcern(&mut self, connection: &RegistryConnection) {
        let id = (connection.namespace().unwrap_or_default(), connection.name_any());
        for key in [mapper::source(connection), mapper::target(connection)] {
            let Some(ids) = self.concerned.get_mut(&key) else { continue };
            ids.remove(&id);
            if ids.is_empty() {
                self.concerned.remove(&key);
                if !matches!(self.secrets.get(&key), Some(SecretState::Present(meta)) if meta.is_marked()) {
                    self.secrets.remove(&key);
                }
            }
        }
    }

    fn is_outdated(&self, metadata: &ObjectMeta) -> bool {
        self.store.get(&wake_of(metadata)).is_some_and(|known| {
            known.metadata.uid == metadata.uid
                && is_older(
                    metadata.resource_version.as_deref().unwrap_or_default(),
                    known.metadata.resource_version.as_deref().unwrap_or_default(),
                )
        })
    }

    fn wakes_for(&self, key: &SecretKey) -> Vec<Wake> {
        let ids = self.concerned.get(key).into_iter().flatten();
        ids.map(|(namespace, name)| ObjectRef::new(name).within(namespace)).collect()
    }

    fn everybody(&self) -> Vec<Wake> {
        self.awake(self.store.state().iter().map(|connection| ObjectRef::from_obj(&**connection)).collect())
    }

    /// Nobody is woken before both lists are complete: what is not listed yet would look as if it did not exist.
    fn awake(&self, woken: Vec<Wake>) -> Vec<Wake> {
        if self.connections_listed && self.secrets_listed { woken } else { vec![] }
    }
}

/// An object that can be read; managedFields are dropped, nobody needs them. One that cannot be read is left out, and
/// what was known of it before stays.
fn decoded(guard: DeserializeGuard<RegistryConnection>) -> Option<RegistryConnection> {
    match guard.0 {
        Ok(mut connection) => {
            connection.metadata.managed_fields = None;
            Some(connection)
        }
        Err(invalid) => {
            let (namespace, name) = (invalid.metadata.namespace.as_deref(), invalid.metadata.name.as_deref());
            tracing::warn!(namespace, name, error = invalid.error, "a connection cannot be read and is left alone");
            None
        }
    }
}

fn wake_of(metadata: &ObjectMeta) -> Wake {
    ObjectRef::new(metadata.name.as_deref().unwrap_or_default())
        .within(metadata.namespace.as_deref().unwrap_or_default())
}

fn key_of(metadata: &ObjectMeta) -> SecretKey {
    SecretKey {
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
    }
}

/// Whether the first resourceVersion of an object is older than the second. They are decimal numbers that grow, which
/// the API promises since Kubernetes 1.35 and every earlier server does; anything else counts as new.
fn is_older(first: &str, second: &str) -> bool {
    match (first.parse::<u128>(), second.parse::<u128>()) {
        (Ok(first), Ok(second)) => first < second,
        _ => first != second,
    }
}
