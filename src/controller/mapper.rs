//! Which Secrets a connection is about, and back: a changed Secret is matched without starting anything. Pure.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{ResourceExt, runtime::reflector::ObjectRef};

use super::secret_meta::SecretKey;
use crate::api::RegistryConnection;

/// A connection that should be looked at.
pub type Wake = ObjectRef<RegistryConnection>;

/// The Secret the connection reads.
pub fn source(connection: &RegistryConnection) -> SecretKey {
    SecretKey {
        namespace: connection.namespace().unwrap_or_default(),
        name: connection.spec.provider.source_secret().name.clone(),
    }
}

/// The Secret the connection writes.
pub fn target(connection: &RegistryConnection) -> SecretKey {
    let named = connection.spec.secret.as_ref().and_then(|secret| secret.name.clone());
    SecretKey {
        namespace: connection.namespace().unwrap_or_default(),
        name: named.unwrap_or_else(|| connection.name_any()),
    }
}

/// All Secrets the connection is about.
pub fn keys(connection: &RegistryConnection) -> [SecretKey; 2] {
    [source(connection), target(connection)]
}

/// The reference of a connection with these metadata.
pub fn wake_of(metadata: &ObjectMeta) -> Wake {
    ObjectRef::new(metadata.name.as_deref().unwrap_or_default())
        .within(metadata.namespace.as_deref().unwrap_or_default())
}

/// The key of a Secret with these metadata.
pub fn key_of(metadata: &ObjectMeta) -> SecretKey {
    SecretKey {
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
    }
}

/// Which connections a Secret concerns.
#[derive(Default)]
pub struct Concerned(HashMap<SecretKey, BTreeSet<(String, String)>>);

impl Concerned {
    /// What these connections are about.
    pub fn of(connections: &[Arc<RegistryConnection>]) -> Self {
        let mut concerned = Self::default();
        for connection in connections {
            concerned.add(connection);
        }
        concerned
    }

    /// Adds what a connection is about.
    pub fn add(&mut self, connection: &RegistryConnection) {
        for key in keys(connection) {
            self.0.entry(key).or_default().insert(id(connection));
        }
    }

    /// Removes what a connection was about, except `kept`; returns the Secrets that now concern nobody.
    pub fn remove(&mut self, connection: &RegistryConnection, kept: &[SecretKey]) -> Vec<SecretKey> {
        let mut unconcerned = vec![];
        for key in keys(connection).into_iter().filter(|key| !kept.contains(key)) {
            let Some(ids) = self.0.get_mut(&key) else { continue };
            ids.remove(&id(connection));
            if ids.is_empty() {
                self.0.remove(&key);
                unconcerned.push(key);
            }
        }
        unconcerned
    }

    /// Whether a Secret concerns anybody.
    pub fn contains(&self, key: &SecretKey) -> bool {
        self.0.contains_key(key)
    }

    /// The Secrets that concern somebody.
    pub fn keys(&self) -> impl Iterator<Item = &SecretKey> {
        self.0.keys()
    }

    /// The connections a Secret concerns.
    pub fn wakes(&self, key: &SecretKey) -> Vec<Wake> {
        let ids = self.0.get(key).into_iter().flatten();
        ids.map(|(namespace, name)| ObjectRef::new(name).within(namespace)).collect()
    }
}

fn id(connection: &RegistryConnection) -> (String, String) {
    (connection.namespace().unwrap_or_default(), connection.name_any())
}
