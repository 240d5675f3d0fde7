//! The provider union: exactly one key of `spec.provider`, one struct per provider.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{keys::DATA_KEY, names::OBJECT_NAME};

pub use super::issuer::{
    DigitalOcean, Ionos, IonosScope, MAX_DIGITALOCEAN_LIFE_SECONDS, MAX_IONOS_LIFE_MINUTES, MIN_LIFE_SECONDS,
};

/// Where the credential comes from: exactly one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Provider {
    /// Any registry that speaks the OCI distribution protocol, with a user name and a password from a Secret.
    Generic(Generic),
    /// Docker Hub, with a user name and a password or access token from a Secret.
    Dockerhub(DockerHub),
    /// DigitalOcean Container Registry: credentials that its API issues for a while, renewed and revoked by the operator.
    Digitalocean(DigitalOcean),
    /// IONOS Container Registry: tokens that its API issues for a while, renewed and deleted by the operator.
    Ionos(Ionos),
}

impl Provider {
    /// The key under `spec.provider`, for columns, events and metrics.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Generic(_) => "generic",
            Self::Dockerhub(_) => "dockerhub",
            Self::Digitalocean(_) => "digitalocean",
            Self::Ionos(_) => "ionos",
        }
    }

    /// How the credential is come by.
    pub fn way(&self) -> Way<'_> {
        match self {
            Self::Generic(generic) => Way::Given(GivenBy::Generic(generic)),
            Self::Dockerhub(docker_hub) => Way::Given(GivenBy::Dockerhub(docker_hub)),
            Self::Digitalocean(digital_ocean) => Way::Issued(IssuedBy::Digitalocean(digital_ocean)),
            Self::Ionos(ionos) => Way::Issued(IssuedBy::Ionos(ionos)),
        }
    }

    /// True if an API issues the credential.
    pub fn issues(&self) -> bool {
        matches!(self.way(), Way::Issued(_))
    }

    /// The name of the Secret the provider reads, in the connection's own namespace.
    ///
    /// Data on the type, so that a watch event can be matched without starting a provider.
    pub fn source_secret(&self) -> &SecretReference {
        match self {
            Self::Generic(generic) => &generic.secret_ref,
            Self::Dockerhub(docker_hub) => &docker_hub.secret_ref,
            Self::Digitalocean(digital_ocean) => &digital_ocean.secret_ref,
            Self::Ionos(ionos) => &ionos.secret_ref,
        }
    }

    /// The object with the certificate authority of the registry, in the connection's own namespace.
    pub fn authorities(&self) -> Option<&CaReference> {
        match self {
            Self::Generic(generic) => generic.ca_ref.as_ref(),
            Self::Dockerhub(_) | Self::Digitalocean(_) | Self::Ionos(_) => None,
        }
    }
}

/// How a credential is come by.
#[derive(Clone, Copy)]
pub enum Way<'a> {
    /// It stands in a Secret as it is.
    Given(GivenBy<'a>),
    /// An API issues it for a while: it is recorded in a ledger, renewed and revoked.
    Issued(IssuedBy<'a>),
}

/// Providers of credentials that stand in a Secret.
#[derive(Clone, Copy)]
pub enum GivenBy<'a> {
    /// Any registry.
    Generic(&'a Generic),
    /// Docker Hub.
    Dockerhub(&'a DockerHub),
}

/// Providers that issue credentials.
#[derive(Clone, Copy)]
pub enum IssuedBy<'a> {
    /// DigitalOcean Container Registry.
    Digitalocean(&'a DigitalOcean),
    /// IONOS Container Registry.
    Ionos(&'a Ionos),
}

/// Any registry with a user name and a password.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.insecure) || !self.insecure || !self.registryUrl.trim().lowerAscii().startsWith('https://')")
        .message("insecure means plain http, but registryUrl begins with https://: remove one of the two; for a certificate of your own authority use caRef")
        .field_path(".insecure"),
)]
pub struct Generic {
    /// Where the registry is: a host, with a port if it is not the usual one, as in `https://registry.example.com:5000`.
    /// Without a scheme https is meant, or http with `insecure: true`. `/v1`, `/v2` and a slash at the end are ignored;
    /// upper case and IDNA are normalised. User name, password, query, fragment and any other path do not belong here.
    /// `http://` needs `insecure: true`, except for loopback addresses, which need the flag `--allow-loopback`. Docker Hub has
    /// a provider of its own, `dockerhub`.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(
        validation = Rule::new("!self.contains('@')")
            .message("registryUrl must not contain a user name or password: put them into the Secret named by secretRef"),
        validation = Rule::new("!self.contains('?') && !self.contains('#')")
            .message("registryUrl must not contain a query or a fragment"),
        validation = Rule::new("!self.contains('://') || self.trim().lowerAscii().startsWith('https://') || self.trim().lowerAscii().startsWith('http://')")
            .message("registryUrl must begin with https:// or http://, or have no scheme"),
    )]
    pub registry_url: String,

    /// The Secret with the login, in the connection's namespace. Accepted are the types `Opaque` and
    /// `kubernetes.io/basic-auth` (keys `username` and `password`) and `kubernetes.io/dockerconfigjson` (the entry for
    /// this registry's host). If it carries the annotation `regcred.dev/registry-host`, it is used for the hosts named
    /// there only.
    pub secret_ref: SecretReference,

    /// The host as it stands in image names, such as `registry.example.com:5000`, when the operator reaches the registry
    /// at another address than the nodes do. No scheme, no path. Absent means the host of `registryUrl`.
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(
        validation = Rule::new("!self.contains('/') && !self.contains('@')")
            .message("imageHost must be a host with an optional port, as it begins an image name: no scheme, no path"),
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_host: Option<String>,

    /// The certificate authority that signed the registry's certificate, and its token server's, if the operator does
    /// not know it: a ConfigMap or Secret in the connection's namespace. It is trusted besides those the operator trusts, and
    /// a change of it is seen at once. Absent means only what the operator trusts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<CaReference>,

    /// True: the registry speaks plain http. The login then crosses the network unencrypted. It never makes the operator
    /// ignore a certificate. Absent means false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub insecure: Option<bool>,

    /// Hosts besides the registry's own that may receive the login because the registry's token server is there, such as
    /// `auth.example.com` or `auth.example.com:5001`. Those of Docker Hub, GitLab.com and
    /// DigitalOcean are known without. Absent means none.
    #[schemars(length(max = 8), inner(length(min = 1, max = 255)))]
    #[x_kube(
        validation = Rule::new("self.all(host, !host.contains('/') && !host.contains('@'))")
            .message("trustedTokenHosts must list hosts with an optional port: no scheme, no path"),
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trusted_token_hosts: Option<Vec<String>>,
}

/// Docker Hub.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DockerHub {
    /// The Secret with the login, in the connection's namespace: the Docker ID (not the e-mail address) or the name of an
    /// organisation as user name, and a password, a personal or an organisation access token as password. The same types
    /// are accepted as for `generic`.
    pub secret_ref: SecretReference,
}

/// An object in the connection's own namespace that holds certificates, and the key to read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaReference {
    /// What kind of object it is.
    pub kind: CaKind,

    /// The object's name.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,

    /// The key that holds one or more certificates as PEM text. Absent means `ca.crt`.
    #[schemars(length(min = 1, max = 253), regex(pattern = DATA_KEY))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// The kinds of objects that certificates are read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CaKind {
    /// A Secret.
    Secret,
    /// A ConfigMap.
    ConfigMap,
}

impl CaKind {
    /// The name of the kind.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        }
    }
}

/// A Secret in the connection's own namespace, and the keys to read from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// The name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,

    /// The key that holds the user name. Absent means `username`. Without meaning for Secrets of type
    /// `kubernetes.io/dockerconfigjson`, and for `digitalocean`.
    #[schemars(length(min = 1, max = 253), regex(pattern = DATA_KEY))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username_key: Option<String>,

    /// The key that holds the password. Absent means `password`. Without meaning for Secrets of type
    /// `kubernetes.io/dockerconfigjson`, and for `digitalocean`.
    #[schemars(length(min = 1, max = 253), regex(pattern = DATA_KEY))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_key: Option<String>,

    /// The key that holds the API token, for `digitalocean` and `ionos`. Absent means `token`. Without meaning for `generic`
    /// and `dockerhub`.
    #[schemars(length(min = 1, max = 253), regex(pattern = DATA_KEY))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_key: Option<String>,
}
