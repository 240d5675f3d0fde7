//! Which Secrets a connection is about, and back: a changed Secret is matched without starting anything. Pure.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::reflector::ObjectRef;

use super::{
    secret_meta::ObjectKey,
    stored::{Stored, Unreadable},
};
use crate::{
    api::{Declared, declared, provider::CaKind},
    domain::reference::{ConnectionReference, Kind},
};

/// A connection that should be looked at.
pub type Wake = ObjectRef<Stored>;

/// The namespace in which a connection reads: its own, or the operator's, `home`.
pub fn reads_from<'a>(connection: &'a Declared, home: &'a str) -> &'a str {
    match connection.selection {
        None => connection.metadata.namespace.as_deref().unwrap_or_default(),
        Some(_) => home,
    }
}

/// The Secret the connection reads.
pub fn source(connection: &Declared, home: &str) -> ObjectKey {
    let name = connection.spec.provider.source_secret().name.clone();
    ObjectKey { namespace: reads_from(connection, home).to_owned(), name }
}

/// The name of the Secrets the connection writes.
pub fn target_name(connection: &Declared) -> &str {
    let named = connection.spec.secret.as_ref().and_then(|secret| secret.name.as_deref());
    named.unwrap_or(connection.name())
}

/// The object with the registry's certificate authority.
pub fn authority(connection: &Declared, home: &str) -> Option<(CaKind, ObjectKey)> {
    let reference = connection.spec.provider.authorities()?;
    let key = ObjectKey { namespace: reads_from(connection, home).to_owned(), name: reference.name.clone() };
    Some((reference.kind, key))
}

/// The Secrets the connection reads.
pub fn sources(connection: &Declared, home: &str) -> Vec<ObjectKey> {
    let authority = authority(connection, home).filter(|(kind, _)| *kind == CaKind::Secret).map(|(_, key)| key);
    [source(connection, home)].into_iter().chain(authority).collect()
}

/// All ConfigMaps the connection is about.
pub fn config_maps(connection: &Declared, home: &str) -> Vec<ObjectKey> {
    authority(connection, home).filter(|(kind, _)| *kind == CaKind::ConfigMap).map(|(_, key)| key).into_iter().collect()
}

/// The Secret that a connection in a namespace writes.
pub fn target(connection: &Declared) -> Option<ObjectKey> {
    let namespace = connection.reference().namespace()?.to_owned();
    Some(ObjectKey { namespace, name: target_name(connection).to_owned() })
}

/// The name of the Secrets that a connection of a cluster writes, or wrote before it could not be read any more.
pub fn name_everywhere(connection: &Stored) -> Option<&str> {
    match connection {
        Stored::Readable(connection) => connection.selection.as_ref().map(|_| target_name(connection)),
        Stored::Unreadable(object) if object.kind == Kind::Cluster => object.status.as_ref()?.secret_name.as_deref(),
        Stored::Unreadable(_) => None,
    }
}

/// The Secret that a connection wrote before it could not be read any more, as its status tells.
pub fn delivered(object: &Unreadable) -> Option<ObjectKey> {
    let name = object.status.as_ref()?.secret_name.clone()?;
    let namespace = declared::reference(object.kind, &object.metadata).namespace()?.to_owned();
    Some(ObjectKey { namespace, name })
}

/// All Secrets to follow for a connection, but for those that it writes into many namespaces; `home` is the operator's, where
/// ledgers are.
pub fn followed_secrets(stored: &Stored, home: &str) -> Vec<ObjectKey> {
    match stored {
        Stored::Readable(connection) => {
            let issues = connection.spec.provider.issues();
            let ledger = issues.then(|| ObjectKey::of_ledger(home, &connection.reference()));
            sources(connection, home).into_iter().chain(target(connection)).chain(ledger).collect()
        }
        Stored::Unreadable(object) => delivered(object).into_iter().collect(),
    }
}

/// All ConfigMaps to follow for a connection.
pub fn followed_config_maps(stored: &Stored, home: &str) -> Vec<ObjectKey> {
    stored.readable().map(|connection| config_maps(connection, home)).unwrap_or_default()
}

/// What stands for the namespace of those that have none. No namespace is called so.
pub const NO_NAMESPACE: &str = "";

/// A connection of this reference, for the run loop.
pub fn wake_of(reference: &ConnectionReference) -> Wake {
    ObjectRef::new(reference.name()).within(reference.namespace().unwrap_or(NO_NAMESPACE))
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
    ids: HashMap<ObjectKey, BTreeSet<ConnectionReference>>,
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
            self.ids.entry(key).or_default().insert(connection.reference());
        }
    }

    /// Removes what a connection was about, except what its new form still is; returns the objects that now concern
    /// nobody.
    pub fn remove(&mut self, connection: &Stored, new: Option<&Stored>) -> Vec<ObjectKey> {
        let kept = new.map(|new| self.about(new)).unwrap_or_default();
        let mut unconcerned = vec![];
        for key in self.about(connection).into_iter().filter(|key| !kept.contains(key)) {
            let Some(ids) = self.ids.get_mut(&key) else { continue };
            ids.remove(&connection.reference());
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
        ids.map(wake_of).collect()
    }
}
