//! Obtaining a credential: one file per provider.
//!
//! Some read a login that stands in a Secret ([`CredentialSource`]); others ask an API to issue one ([`issuing`]).

pub mod access;
mod api_url;
pub mod authorities;
mod digitalocean;
mod dockerhub;
pub mod endpoint;
#[cfg(test)]
mod fixture;
mod generic;
mod ionos;
pub mod issuing;
mod login_secret;
mod refusal;
mod secret_values;
mod service;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client, Resource, core::NamespaceResourceScope};
use serde::de::DeserializeOwned;

use crate::{
    api::{
        Reason,
        provider::{GivenBy, Provider},
        status::ObservedInput,
    },
    clock::Clock,
    domain::credential::Credential,
    net::Http,
    problem::{Problem, field},
};

use endpoint::Endpoint;
pub use secret_values::Binds;
use secret_values::check_marked;

/// A registry credential that a user put into a Secret.
pub trait CredentialSource {
    /// Reads the credential for a registry.
    ///
    /// # Errors
    /// [`Error`] says who has to move.
    fn read(&self, io: &Io<'_>, endpoint: &Endpoint) -> impl Future<Output = Result<Given, Error>> + Send;
}

/// A credential and what it was read from.
pub struct Given {
    /// The credential.
    pub credential: Credential,
    /// When it expires, if that is known.
    pub expires_at: Option<Timestamp>,
    /// The object it was read from, as it was then.
    pub input: ObservedInput,
}

/// Why there is no credential.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was read cannot be used; it makes no sense to read it again before it changes.
    #[error("{}", problem.message)]
    Unusable {
        /// What is wrong with it.
        problem: Box<Problem>,
        /// What was read; nothing if it does not exist.
        inputs: Vec<ObservedInput>,
    },
    /// The provider's API refused, failed, or answered what it should not have.
    #[error("{}", .0.message)]
    Provider(Box<Problem>),
    /// The API server refused the read.
    #[error("{}", .0.message)]
    Denied(Box<Problem>),
    /// The API server did not answer as expected; trying again may help.
    #[error("failed to read a referenced object")]
    Api(#[source] kube::Error),
}

impl Error {
    /// The same error, pointing to a field.
    fn at(self, field: &'static str) -> Self {
        match self {
            Self::Denied(problem) => Self::Denied(Box::new(problem.at(field))),
            Self::Unusable { problem, inputs } => Self::Unusable { problem: Box::new(problem.at(field)), inputs },
            other @ (Self::Provider(_) | Self::Api(_)) => other,
        }
    }
}

/// Where a provider reads, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sources {
    /// Any Secret and ConfigMap of this namespace, whose users declare the connection.
    Any {
        /// The connection's.
        namespace: String,
        /// Whether a Secret has to name the host for which it is meant.
        binds: Binds,
    },
    /// Of this namespace, whose users declare no connection, Secrets that are marked as meant for all who may declare one of a
    /// cluster, and for one host; and any ConfigMap.
    Marked {
        /// The operator's.
        namespace: String,
    },
}

/// What a provider may use, and nothing else: Secrets and ConfigMaps by name, in one namespace, the guarded way out, and the
/// time.
pub struct Io<'a> {
    client: &'a Client,
    sources: Sources,
    http: &'a Http,
    clock: &'a Clock,
}

impl<'a> Io<'a> {
    /// Access for a connection with these sources.
    pub fn new(client: &'a Client, sources: Sources, http: &'a Http, clock: &'a Clock) -> Self {
        Self { client, sources, http, clock }
    }

    /// The namespace all reads go to.
    pub fn namespace(&self) -> &str {
        match &self.sources {
            Sources::Any { namespace, .. } | Sources::Marked { namespace } => namespace,
        }
    }

    /// Whether a host that the connection names may be in a private network: whoever declares a connection of a cluster may
    /// reach what the operator can reach.
    fn may_reach_private(&self) -> bool {
        match &self.sources {
            Sources::Any { .. } => !self.http.forbids_private(),
            Sources::Marked { .. } => true,
        }
    }

    /// Whether a Secret must name the host for which it is meant.
    fn binds(&self) -> Binds {
        match &self.sources {
            Sources::Any { binds, .. } => *binds,
            Sources::Marked { .. } => Binds::Always,
        }
    }

    /// Reads a Secret that the connection may read; none if it does not exist.
    async fn secret(&self, name: &str) -> Result<Option<(Secret, ObservedInput)>, Error> {
        let Some((secret, input)) = self.read::<Secret>("Secret", "secrets", name).await? else { return Ok(None) };
        match &self.sources {
            Sources::Any { .. } => {}
            Sources::Marked { .. } => check_marked(&secret, name)
                .map_err(|problem| Error::Unusable { problem: Box::new(problem), inputs: vec![input.clone()] })?,
        }
        Ok(Some((secret, input)))
    }

    /// Reads a ConfigMap; none if it does not exist.
    async fn config_map(&self, name: &str) -> Result<Option<(ConfigMap, ObservedInput)>, Error> {
        self.read("ConfigMap", "configmaps", name).await
    }

    async fn read<K>(&self, kind: &str, resource: &str, name: &str) -> Result<Option<(K, ObservedInput)>, Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let objects: Api<K> = Api::namespaced(self.client.clone(), self.namespace());
        match objects.get_opt(name).await {
            Ok(None) => Ok(None),
            Ok(Some(object)) => {
                let input = ObservedInput {
                    kind: kind.into(),
                    name: name.into(),
                    uid: object.meta().uid.clone().unwrap_or_default(),
                    resource_version: object.meta().resource_version.clone().unwrap_or_default(),
                };
                Ok(Some((object, input)))
            }
            Err(kube::Error::Api(status)) if status.is_forbidden() => Err(Error::Denied(Box::new(
                Problem::new(
                    Reason::Forbidden,
                    format!("the operator may not read {kind} {name:?}: {}", status.message),
                )
                .hint(format!("grant the operator's ServiceAccount the verb get on {resource} in this namespace")),
            ))),
            Err(error) => Err(Error::Api(error)),
        }
    }
}

/// The field that names the Secret with the login.
pub fn secret_ref_field(provider: &Provider) -> &'static str {
    match provider {
        Provider::Generic(_) => field::SECRET_REF,
        Provider::Dockerhub(_) => field::DOCKERHUB_SECRET_REF,
        Provider::Digitalocean(_) => field::DIGITALOCEAN_SECRET_REF,
        Provider::Ionos(_) => field::IONOS_SECRET_REF,
    }
}

/// The problem of a Secret that does not exist.
pub fn secret_not_found(field: &'static str, namespace: &str, name: &str) -> Problem {
    let keys = match field {
        field::DIGITALOCEAN_SECRET_REF | field::IONOS_SECRET_REF => "--from-literal=token=...",
        _ => "--from-literal=username=... --from-literal=password=...",
    };
    Problem::new(Reason::SecretNotFound, format!("Secret {name:?} does not exist in namespace {namespace:?}"))
        .at(field)
        .hint(format!("create it: kubectl create secret generic {name} --namespace {namespace} {keys}"))
}

/// Reads the credential of a provider whose credentials are given.
///
/// # Errors
/// As for [`CredentialSource::read`].
pub async fn read(io: &Io<'_>, provider: GivenBy<'_>, endpoint: &Endpoint) -> Result<Given, Error> {
    match provider {
        GivenBy::Generic(generic) => generic.read(io, endpoint).await,
        GivenBy::Dockerhub(docker_hub) => docker_hub.read(io, endpoint).await,
    }
}
