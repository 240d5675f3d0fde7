//! The provider union: exactly one key of `spec.provider`, one struct per provider.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::names::OBJECT_NAME;

/// Where the credential comes from: exactly one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Provider {
    /// Any registry that speaks the OCI distribution protocol, with a user name and a password from a Secret.
    Generic(Generic),
}

impl Provider {
    /// The key under `spec.provider`, for columns, events and metrics.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Generic(_) => "generic",
        }
    }

    /// The name of the Secret the provider reads, in the connection's own namespace.
    ///
    /// Data on the type, so that a watch event can be matched without starting a provider.
    pub fn source_secret(&self) -> &SecretReference {
        match self {
            Self::Generic(generic) => &generic.secret_ref,
        }
    }
}

/// Any registry with a user name and a password.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Generic {
    /// Where the registry is: a host, with a port if it is not the usual one, as in `https://registry.example.com:5000`.
    /// Without a scheme https is meant. Plain http is possible for loopback addresses only, and only when the operator
    /// was started with `--allow-loopback`. User name, password, query and fragment do not belong here.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(
        validation = Rule::new("!self.contains('@')")
            .message("registryUrl must not contain a user name or password: put them into the Secret named by secretRef"),
        validation = Rule::new("!self.contains('?') && !self.contains('#')")
            .message("registryUrl must not contain a query or a fragment"),
        validation = Rule::new("!self.contains('://') || self.lowerAscii().startsWith('https://') || self.lowerAscii().startsWith('http://')")
            .message("registryUrl must begin with https:// or http://, or have no scheme"),
    )]
    pub registry_url: String,

    /// The Secret with the login, in the connection's namespace. Accepted are the types `Opaque` and
    /// `kubernetes.io/basic-auth` (keys `username` and `password`) and `kubernetes.io/dockerconfigjson` (the entry for
    /// this registry's host). If it carries the annotation `regcred.dev/registry-host`, it is used for that host only.
    pub secret_ref: SecretReference,
}

/// A Secret in the connection's own namespace, and the keys to read from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// The name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,

    /// The key that holds the user name. Absent means `username`. Without meaning for Secrets of type
    /// `kubernetes.io/dockerconfigjson`.
    #[schemars(length(min = 1, max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username_key: Option<String>,

    /// The key that holds the password. Absent means `password`. Without meaning for Secrets of type
    /// `kubernetes.io/dockerconfigjson`.
    #[schemars(length(min = 1, max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_key: Option<String>,
}
