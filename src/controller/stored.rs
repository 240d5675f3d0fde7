//! A connection as the API server holds it: readable or not.
//!
//! An object may have been stored under an older, a newer or a looser schema. It exists all the same, and its user is to be
//! told. Only metadata must be readable, and every API server sees to that.

use std::{borrow::Cow, marker::PhantomData, sync::Arc};

use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::Resource;
use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};

use super::{
    decode::{Misfit, decode},
    report::MAX_STATUS,
};
use crate::{
    api::{ClusterRegistryConnection, Declared, RegistryConnection, RegistryConnectionStatus, declared},
    domain::reference::{ConnectionReference, Kind},
};

/// Where `kubectl apply` keeps its copy of the object.
const LAST_APPLIED_ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A status longer than this, in bytes, was not written by us, and must not be carried on.
const TOO_LONG: usize = 2 * MAX_STATUS;

/// See the module. Cheap to clone. What nobody needs is dropped: managedFields, and kubectl's copy of the object.
#[derive(Clone, Debug)]
pub enum Stored {
    /// One to work on.
    Readable(Arc<Declared>),
    /// One to report on.
    Unreadable(Arc<Unreadable>),
}

/// A connection whose spec cannot be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Unreadable {
    /// Its kind.
    pub kind: Kind,
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// What can be read of its status.
    pub status: Option<RegistryConnectionStatus>,
    /// What is wrong with its spec.
    pub misfit: Misfit,
}

impl Stored {
    /// The connection, if it can be read.
    pub fn readable(&self) -> Option<&Arc<Declared>> {
        match self {
            Self::Readable(connection) => Some(connection),
            Self::Unreadable(_) => None,
        }
    }

    /// What it reports.
    pub fn status(&self) -> Option<&RegistryConnectionStatus> {
        match self {
            Self::Readable(connection) => connection.status.as_ref(),
            Self::Unreadable(object) => object.status.as_ref(),
        }
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Readable(connection) => connection.kind(),
            Self::Unreadable(object) => object.kind,
        }
    }

    /// Kind, namespace and name.
    pub fn reference(&self) -> ConnectionReference {
        declared::reference(self.kind(), self.meta())
    }

    /// Its metadata.
    pub fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Readable(connection) => &connection.metadata,
            Self::Unreadable(object) => &object.metadata,
        }
    }

    /// Reads an object of a kind. Its metadata must be readable, and every API server sees to that.
    fn read(kind: Kind, mut object: Map<String, Value>) -> Result<Self, Misfit> {
        let mut metadata = object.remove("metadata").unwrap_or_default();
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.remove("managedFields");
        }
        let metadata = decode("metadata", Some(&metadata))?;
        let status = object.get("status").and_then(readable_status);
        let status = status.filter(|status| serde_json::to_vec(status).is_ok_and(|text| text.len() <= TOO_LONG));
        let spec = object.get("spec");
        // The body and the selection stand side by side in one map.
        let selection = match kind {
            Kind::Namespaced => Ok(None),
            Kind::Cluster => decode("spec", spec).map(Some),
        };
        let both = decode("spec", spec).and_then(|body| Ok((body, selection?)));
        Ok(match both {
            Ok((spec, selection)) => Declared { metadata, spec, selection, status }.into(),
            Err(misfit) => Self::Unreadable(Arc::new(Unreadable { kind, metadata, status, misfit })),
        })
    }
}

impl From<Declared> for Stored {
    fn from(mut connection: Declared) -> Self {
        connection.metadata.managed_fields = None;
        if let Some(annotations) = &mut connection.metadata.annotations {
            annotations.remove(LAST_APPLIED_ANNOTATION);
        }
        Self::Readable(Arc::new(connection))
    }
}

/// What can be read of a status. If that is not all, it is about no generation, so that the next pass takes nothing in it
/// for settled and writes it anew.
fn readable_status(value: &Value) -> Option<RegistryConnectionStatus> {
    if let Ok(status) = decode("status", Some(value)) {
        return Some(status);
    }
    let is_readable = |name: &str, value: &Value| {
        let alone = Value::Object(Map::from_iter([(name.to_owned(), value.clone())]));
        decode::<RegistryConnectionStatus>("status", Some(&alone)).is_ok()
    };
    let mut fields = value.as_object()?.clone();
    fields.retain(|name, value| is_readable(name, value));
    let status: RegistryConnectionStatus = decode("status", Some(&Value::Object(fields))).ok()?;
    Some(RegistryConnectionStatus { observed_generation: None, ..status })
}

/// For the run loop, which tells connections of both kinds apart by their namespace: see [`super::mapper::NO_NAMESPACE`].
impl Resource for Stored {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind(_: &()) -> Cow<'_, str> {
        RegistryConnection::kind(&())
    }

    fn group(_: &()) -> Cow<'_, str> {
        RegistryConnection::group(&())
    }

    fn version(_: &()) -> Cow<'_, str> {
        RegistryConnection::version(&())
    }

    fn plural(_: &()) -> Cow<'_, str> {
        RegistryConnection::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        Self::meta(self)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Readable(connection) => &mut Arc::make_mut(connection).metadata,
            Self::Unreadable(object) => &mut Arc::make_mut(object).metadata,
        }
    }
}

/// A type of the API that is one of the kinds of connections.
pub trait OfKind: Resource<DynamicType = ()> + Send + Sync + 'static {
    /// Which.
    const KIND: Kind;
}

impl OfKind for RegistryConnection {
    const KIND: Kind = Kind::Namespaced;
}

impl OfKind for ClusterRegistryConnection {
    const KIND: Kind = Kind::Cluster;
}

/// A connection of one kind as the API server sends it.
pub struct Sent<K> {
    /// What is kept of it.
    pub stored: Stored,
    kind: PhantomData<fn() -> K>,
}

impl<K> Clone for Sent<K> {
    fn clone(&self) -> Self {
        Self { stored: self.stored.clone(), kind: PhantomData }
    }
}

impl<K> std::fmt::Debug for Sent<K> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.stored.fmt(formatter)
    }
}

impl<'de, K: OfKind> Deserialize<'de> for Sent<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = Stored::read(K::KIND, Map::deserialize(deserializer)?);
        let stored = stored.map_err(|misfit| de::Error::custom(misfit.message))?;
        Ok(Self { stored, kind: PhantomData })
    }
}

impl<K: OfKind> Resource for Sent<K> {
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind(_: &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group(_: &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version(_: &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural(_: &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        self.stored.meta()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.stored.meta_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::fixture::{self, delivered, delivered_json};
    use serde_json::json;

    fn stored(change: impl FnOnce(&mut Value)) -> Stored {
        fixture::stored(delivered_json(change))
    }

    #[test]
    fn a_good_object_is_read_whole_but_for_its_managed_fields() {
        let stored = stored(|object| object["metadata"]["managedFields"] = json!([{"manager": "kubectl"}]));
        assert_eq!(**stored.readable().unwrap(), delivered(|_| {}));
    }

    #[test]
    fn one_whose_spec_cannot_be_read_keeps_name_and_status() {
        let Stored::Unreadable(object) = stored(|object| object["spec"]["provider"] = 7.into()) else {
            panic!("it was read")
        };
        assert_eq!(object.metadata.name.as_deref(), Some("images"));
        assert_eq!(object.misfit.field, "spec.provider");
        assert_eq!(object.status, delivered(|_| {}).status);
        let Stored::Unreadable(object) = stored(|object| drop(object.as_object_mut().unwrap().remove("spec"))) else {
            panic!("it was read")
        };
        assert_eq!(object.misfit.message, "spec is missing");
    }

    #[test]
    fn a_status_that_cannot_be_read_makes_no_object_unreadable_and_is_about_no_generation() {
        type Change = fn(&mut Value);
        let cases: [(Change, bool); 5] = [
            (|status| *status = json!("nonsense"), false),
            (|status| status["secretName"] = "s".repeat(TOO_LONG).into(), false),
            (|status| *status = json!([]), false),
            (|status| status["lastTest"] = json!({"time": "yesterday", "verdict": 7}), true),
            (|status| status["conditions"] = json!([{"type": "Ready"}]), true),
        ];
        for (change, keeps_credential) in cases {
            let stored = stored(|object| change(&mut object["status"]));
            let status = stored.readable().unwrap().status.clone().unwrap_or_default();
            assert_eq!(status.observed_generation, None);
            assert_eq!(status.credential.is_some(), keeps_credential);
            assert_eq!(status.secret_name.is_some(), keeps_credential);
        }
    }
}
