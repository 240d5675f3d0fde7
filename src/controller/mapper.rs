//! Which Secrets a connection is about. Pure: a changed Secret is matched without starting anything.

use kube::ResourceExt;

use super::secret_meta::SecretKey;
use crate::api::RegistryConnection;

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
