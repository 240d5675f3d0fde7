//! A connection of either kind, as its user declared it. Whatever works on connections works on this, so that there is one
//! body of code for both: a connection in a namespace is the case of one target.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{
    ClusterRegistryConnection, RegistryConnection, RegistryConnectionSpec, RegistryConnectionStatus, Selection,
};
use crate::domain::reference::{ConnectionReference, Kind};

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub struct Declared {
    /// Name, namespace, UID, generation, annotations.
    pub metadata: ObjectMeta,
    /// What both kinds have in common.
    pub spec: RegistryConnectionSpec,
    /// Which namespaces it serves; none if it serves the one that it is in.
    pub selection: Option<Selection>,
    /// What the operator reports.
    pub status: Option<RegistryConnectionStatus>,
}

impl Declared {
    /// Kind, namespace and name.
    pub fn reference(&self) -> ConnectionReference {
        reference(self.kind(), &self.metadata)
    }

    /// The kind.
    pub fn kind(&self) -> Kind {
        match self.selection {
            Some(_) => Kind::Cluster,
            None => Kind::Namespaced,
        }
    }

    /// The name; empty only for objects that no server made.
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }
}

/// The reference of a connection of this kind with these metadata.
pub fn reference(kind: Kind, metadata: &ObjectMeta) -> ConnectionReference {
    let name = metadata.name.as_deref().unwrap_or_default();
    match kind {
        Kind::Namespaced => ConnectionReference::namespaced(metadata.namespace.as_deref().unwrap_or_default(), name),
        Kind::Cluster => ConnectionReference::cluster(name),
    }
}

impl From<RegistryConnection> for Declared {
    fn from(connection: RegistryConnection) -> Self {
        let RegistryConnection { metadata, spec, status } = connection;
        Self { metadata, spec, selection: None, status }
    }
}

impl From<ClusterRegistryConnection> for Declared {
    fn from(connection: ClusterRegistryConnection) -> Self {
        let ClusterRegistryConnection { metadata, spec, status } = connection;
        Self { metadata, spec: spec.connection, selection: Some(spec.selection), status }
    }
}
