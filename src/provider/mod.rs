//! Obtaining a credential: one file per provider.

mod generic;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

use crate::{
    api::{Reason, provider::Provider, status::ObservedInput},
    domain::{credential::Credential, host::RegistryHost},
    problem::{Problem, field},
};

/// One way to obtain a registry credential.
pub trait CredentialSource {
    /// Obtains the credential for `registry`.
    ///
    /// # Errors
    /// [`Error`] says who has to move.
    fn issue(&self, io: &Io<'_>, registry: &RegistryHost) -> impl Future<Output = Result<Issued, Error>> + Send;
}

/// A credential and what it was made from.
pub struct Issued {
    /// The credential.
    pub credential: Credential,
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
        /// What was read; none if it does not exist.
        input: Option<ObservedInput>,
    },
    /// The API server refused the read.
    #[error("{}", .0.message)]
    Denied(Box<Problem>),
    /// The API server did not answer as expected; trying again may help.
    #[error("failed to read the referenced Secret")]
    Api(#[source] kube::Error),
}

/// What a provider may use, and nothing else: one Secret by name, in one namespace.
pub struct Io<'a> {
    client: &'a Client,
    namespace: &'a str,
}

impl<'a> Io<'a> {
    /// Access for a connection in `namespace`.
    pub fn new(client: &'a Client, namespace: &'a str) -> Self {
        Self { client, namespace }
    }

    /// The namespace all reads go to.
    pub fn namespace(&self) -> &str {
        self.namespace
    }

    /// Reads a Secret.
    async fn secret(&self, name: &str) -> Result<(Secret, ObservedInput), Error> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), self.namespace);
        match secrets.get_opt(name).await {
            Ok(Some(secret)) => {
                let input = ObservedInput {
                    kind: "Secret".into(),
                    name: name.into(),
                    uid: secret.metadata.uid.clone().unwrap_or_default(),
                    resource_version: secret.metadata.resource_version.clone().unwrap_or_default(),
                };
                Ok((secret, input))
            }
            Ok(None) => Err(Error::Unusable { problem: Box::new(secret_not_found(self.namespace, name)), input: None }),
            Err(kube::Error::Api(status)) if status.is_forbidden() => Err(Error::Denied(Box::new(
                Problem::new(
                    Reason::Forbidden,
                    format!("the operator may not read Secret {name:?}: {}", status.message),
                )
                .at(field::SECRET_REF)
                .hint("grant the operator's ServiceAccount the verb get on secrets in this namespace"),
            ))),
            Err(error) => Err(Error::Api(error)),
        }
    }
}

/// The problem of a Secret that does not exist.
pub fn secret_not_found(namespace: &str, name: &str) -> Problem {
    Problem::new(Reason::SecretNotFound, format!("Secret {name:?} does not exist in namespace {namespace:?}"))
        .at(field::SECRET_REF)
        .hint(format!(
            "create it: kubectl create secret generic {name} --namespace {namespace} --from-literal=username=... \
             --from-literal=password=..."
        ))
}

impl CredentialSource for Provider {
    async fn issue(&self, io: &Io<'_>, registry: &RegistryHost) -> Result<Issued, Error> {
        match self {
            Self::Generic(generic) => generic.issue(io, registry).await,
        }
    }
}
