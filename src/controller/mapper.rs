//! Which Secrets a connection is about, and back: a changed Secret is matched without starting anything. Pure.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{ResourceExt, runtime::reflector::ObjectRef};

use super::{
    secret_meta::ObjectKey,
    stored::{Stored, Unreadable},
};
use crate::{
    api::{RegistryConnection, provider::CaKind},
    domain::reference::ConnectionReference,
};

/// A connection that should be looked at.
pub type Wake = ObjectRef<Stored>;

/// The Secret the connection reads.
pub fn source(connection: &RegistryConnection) -> ObjectKey {
    ObjectKey {
        namespace: connection.namespace().unwrap_or_default(),
        name: connection.spec.provider.source_secret().name.clone(),
    }
}

/// The Secret the connection writes.
pub fn target(connection: &RegistryConnection) -> ObjectKey {
    let named = connection.spec.secret.as_ref().and_then(|secret| secret.name.clone());
    ObjectKey {
        namespace: connection.namespace().unwrap_or_default(),
        name: named.unwrap_or_else(|| connection.name_any()),
    }
}

/// The object with the registry's certificate authority.
pub fn authority(connection: &RegistryConnection) -> Option<(CaKind, ObjectKey)> {
    let reference = connection.spec.provider.authorities()?;
    let key = ObjectKey { namespace: connection.namespace().unwrap_or_default(), name: reference.name.clone() };
    Some((reference.kind, key))
}

/// All Secrets the connection is about.
pub fn secrets(connection: &RegistryConnection) -> Vec<ObjectKey> {
    let authority = authority(connection).filter(|(kind, _)| *kind == CaKind::Secret).map(|(_, key)| key);
    [source(connection), target(connection)].into_iter().chain(authority).collect()
}

/// All ConfigMaps the connection is about.
pub fn config_maps(connection: &RegistryConnection) -> Vec<ObjectKey> {
    authority(connection).filter(|(kind, _)| *kind == CaKind::ConfigMap).map(|(_, key)| key).into_iter().collect()
}

/// The Secret that a connection wrote before it could not be read any more, as its status tells.
pub fn delivered(object: &Unreadable) -> Option<ObjectKey> {
    let name = object.status.as_ref()?.secret_name.clone()?;
    Some(ObjectKey { namespace: object.metadata.namespace.clone().unwrap_or_default(), name })
}

/// The ledger of a connection, which only those have whose provider issues credentials.
pub fn ledger(connection: &RegistryConnection, namespace: &str) -> ObjectKey {
    let reference = ConnectionReference::namespaced(connection.namespace().unwrap_or_default(), connection.name_any());
    ObjectKey::of_ledger(namespace, &reference)
}

/// All Secrets to follow for a connection; ledgers are in the namespace `ledgers`.
pub fn followed_secrets(stored: &Stored, ledgers: &str) -> Vec<ObjectKey> {
    match stored {
        Stored::Readable(connection) => {
            let ledger = connection.spec.provider.issues().then(|| ledger(connection, ledgers));
            secrets(connection).into_iter().chain(ledger).collect()
        }
        Stored::Unreadable(object) => delivered(object).into_iter().collect(),
    }
}

/// All ConfigMaps to follow for a connection.
pub fn followed_config_maps(stored: &Stored, _: &str) -> Vec<ObjectKey> {
    stored.readable().map(|connection| config_maps(connection)).unwrap_or_default()
}

/// The reference of a connection with these metadata.
pub fn wake_of(metadata: &ObjectMeta) -> Wake {
    ObjectRef::new(metadata.name.as_deref().unwrap_or_default())
        .within(metadata.namespace.as_deref().unwrap_or_default())
}

/// The key of an object with these metadata.
pub fn key_of(metadata: &ObjectMeta) -> ObjectKey {
    ObjectKey {
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
    }
}

/// What a connection is about: one kind of objects. The text is the operator's namespace.
pub type About = fn(&Stored, &str) -> Vec<ObjectKey>;

/// Which connections an object of some kind concerns.
pub struct Concerned {
    about: About,
    /// The operator's namespace.
    home: String,
    ids: HashMap<ObjectKey, BTreeSet<(String, String)>>,
}

impl Concerned {
    /// Nobody yet.
    pub fn new(about: About, home: &str) -> Self {
        Self { about, home: home.to_owned(), ids: HashMap::new() }
    }

    /// What a connection is about.
    pub fn about(&self, connection: &Stored) -> Vec<ObjectKey> {
        (self.about)(connection, &self.home)
    }

    /// These connections, and nobody else.
    pub fn reset(&mut self, connections: &[Arc<Stored>]) {
        self.ids.clear();
        for connection in connections {
            self.add(connection);
        }
    }

    /// Adds what a connection is about.
    pub fn add(&mut self, connection: &Stored) {
        for key in self.about(connection) {
            self.ids.entry(key).or_default().insert(id(connection));
        }
    }

    /// Removes what a connection was about, except what its new form still is; returns the objects that now concern
    /// nobody.
    pub fn remove(&mut self, connection: &Stored, new: Option<&Stored>) -> Vec<ObjectKey> {
        let kept = new.map(|new| self.about(new)).unwrap_or_default();
        let mut unconcerned = vec![];
        for key in self.about(connection).into_iter().filter(|key| !kept.contains(key)) {
            let Some(ids) = self.ids.get_mut(&key) else { continue };
            ids.remove(&id(connection));
            if ids.is_empty() {
                self.ids.remove(&key);
                unconcerned.push(key);
            }
        }
        unconcerned
    }

    /// Whether an object concerns anybody.
    pub fn contains(&self, key: &ObjectKey) -> bool {
        self.ids.contains_key(key)
    }

    /// The objects that concern somebody.
    pub fn keys(&self) -> impl Iterator<Item = &ObjectKey> {
        self.ids.keys()
    }

    /// The connections an object concerns.
    pub fn wakes(&self, key: &ObjectKey) -> Vec<Wake> {
        let ids = self.ids.get(key).into_iter().flatten();
        ids.map(|(namespace, name)| ObjectRef::new(name).within(namespace)).collect()
    }
}

fn id(connection: &Stored) -> (String, String) {
    (connection.namespace().unwrap_or_default(), connection.name_any())
}
