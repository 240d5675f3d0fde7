//! The provider union: exactly one key of `spec.provider`, one struct per provider.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{keys::DATA_KEY, names::OBJECT_NAME};

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

/// DigitalOcean Container Registry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DigitalOcean {
    /// The name of the registry, as it stands in image names behind `registry.digitalocean.com/`: at most 63 lower-case
    /// letters, digits and -.
    #[schemars(length(min = 1, max = 63), regex(pattern = DIGITALOCEAN_REGISTRY_NAME))]
    #[x_kube(validation = Rule::new(NAME_ALONE_RULE).message(NAME_ALONE_MESSAGE))]
    pub registry_name: String,

    /// The Secret with an API token of the DigitalOcean account, in the connection's namespace, under the key `token` or the
    /// one that `tokenKey` names. The token needs the scopes `registry:read` and `registry:update`. If the Secret carries the
    /// annotation `regcred.dev/registry-host`, the token is sent only to an API at the hosts named there.
    pub secret_ref: SecretReference,

    /// True: the issued credentials may push too. Absent means false: they can only pull.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_write: Option<bool>,

    /// How long an issued credential works, in seconds: at least twice the refresh interval, at most 1576800000 (50 years).
    /// Absent means three refresh intervals, but at least an hour.
    #[schemars(range(min = MIN_LIFE_SECONDS, max = MAX_DIGITALOCEAN_LIFE_SECONDS))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiry_seconds: Option<i64>,

    /// Where the API is, if it is reached at another address than most: `https://`, a host, and a path if need be. The API
    /// token is sent there, and credentials are revoked at the same host and port. `http://` is for loopback addresses only,
    /// which need the flag `--allow-loopback`. Absent means `https://api.digitalocean.com`, with `https://cloud.digitalocean.com`
    /// for revoking.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(
        validation = Rule::new(API_URL_RULE).message(API_URL_MESSAGE),
        validation = Rule::new(API_URL_PARTS_RULE).message(API_URL_PARTS_MESSAGE),
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_url: Option<String>,
}

/// IONOS Container Registry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.registryName) != has(self.registryId)")
        .message("exactly one of registryName and registryId must be given, to say which registry it is")
        .field_path(".registryName"),
)]
pub struct Ionos {
    /// The name of the registry: 3 to 63 lower-case letters, digits and -, with a letter at the start and no - at the end.
    /// Exactly one of this and `registryId` is given. Absent means that `registryId` says which registry it is.
    #[schemars(length(min = 3, max = 63), regex(pattern = IONOS_REGISTRY_NAME))]
    #[x_kube(validation = Rule::new(NAME_ALONE_RULE).message(NAME_ALONE_MESSAGE))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry_name: Option<String>,

    /// The ID of the registry, a UUID, which stays the same when another one takes the name. Absent means that `registryName`
    /// says which registry it is.
    #[schemars(length(min = 1, max = 64), regex(pattern = IONOS_REGISTRY_ID))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry_id: Option<String>,

    /// The Secret with access to the IONOS API, in the connection's namespace: an API token under the key `token` or the one
    /// that `tokenKey` names, or user name and password of a user under `username` and `password` or the keys that
    /// `usernameKey` and `passwordKey` name. A token is used where both are there. The user must have the right to manage
    /// container registries. If the Secret carries the annotation `regcred.dev/registry-host`, what it holds is sent only to an
    /// API at the hosts named there.
    pub secret_ref: SecretReference,

    /// The number of the contract that the registry belongs to, for users with several. Absent means the user's own contract.
    #[schemars(range(min = 1, max = MAX_CONTRACT_NUMBER))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contract_number: Option<i64>,

    /// What the issued tokens may do, at least one scope and at most 16. A test of repositories needs `pull` for them. Absent
    /// means pulling from all repositories: type `repository`, name `*`, action `pull`.
    #[schemars(length(min = 1, max = 16))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<IonosScope>>,

    /// How long an issued token works, in minutes: at least twice the refresh interval, at most 525600 (a year). Absent means
    /// three refresh intervals, but at least an hour.
    #[schemars(range(min = MIN_LIFE_SECONDS / 60, max = MAX_IONOS_LIFE_MINUTES))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_ttl_minutes: Option<i64>,

    /// Where the API is, if it is reached at another address than most: `https://`, a host, and a path if need be. What the
    /// Secret holds is sent there. `http://` is for loopback addresses only, which need the flag `--allow-loopback`. Absent
    /// means `https://api.ionos.com/containerregistries`.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(
        validation = Rule::new(API_URL_RULE).message(API_URL_MESSAGE),
        validation = Rule::new(API_URL_PARTS_RULE).message(API_URL_PARTS_MESSAGE),
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_url: Option<String>,
}

/// What an IONOS token may do with something in the registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct IonosScope {
    /// The kind of thing: `repository` for what is in repositories, `registry` for the list of them.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 32), regex(pattern = IONOS_SCOPE_TYPE))]
    pub kind: String,

    /// The name of the repository or other thing, without the host; `*` stands for any text.
    #[schemars(length(min = 1, max = 255), regex(pattern = IONOS_SCOPE_NAME))]
    pub name: String,

    /// What the token may do with it, at most 8 words such as `pull`, `push` and `delete`; `*` stands for all.
    #[schemars(length(min = 1, max = 8), inner(length(min = 1, max = 32), regex(pattern = IONOS_SCOPE_ACTION)))]
    pub actions: Vec<String>,
}

/// The name of a DigitalOcean registry, as a regular expression for the schema. It goes into the paths of requests.
pub const DIGITALOCEAN_REGISTRY_NAME: &str = "^[a-z0-9-]+$";

/// The same in words.
pub const DIGITALOCEAN_REGISTRY_NAME_IN_WORDS: &str = "use at most 63 lower-case letters, digits and -, without the host, such as team for registry.digitalocean.com/team";

/// The name of an IONOS registry, as a regular expression for the schema.
pub const IONOS_REGISTRY_NAME: &str = "^[a-z][a-z0-9-]*[a-z0-9]$";

/// The same in words.
pub const IONOS_REGISTRY_NAME_IN_WORDS: &str = "use 3 to 63 lower-case letters, digits and -, with a letter at the start and no - at the end, without the host, such as team for team.cr.de-fra.ionos.com";

/// The ID of an IONOS registry, as a regular expression for the schema. It goes into the paths of requests.
pub const IONOS_REGISTRY_ID: &str = "^[A-Za-z0-9-]+$";

/// The same in words.
pub const IONOS_REGISTRY_ID_IN_WORDS: &str = "use the UUID that IONOS shows for the registry";

/// The type of an IONOS scope, as a regular expression for the schema.
pub const IONOS_SCOPE_TYPE: &str = "^[a-z]+$";

/// The same in words.
pub const IONOS_SCOPE_TYPE_IN_WORDS: &str = "use lower-case letters, such as repository";

/// The name in an IONOS scope, as a regular expression for the schema.
pub const IONOS_SCOPE_NAME: &str = "^[A-Za-z0-9._/*-]+$";

/// The same in words.
pub const IONOS_SCOPE_NAME_IN_WORDS: &str = "use the name of a repository, such as team/web, or *";

/// An action of an IONOS scope, as a regular expression for the schema.
pub const IONOS_SCOPE_ACTION: &str = "^([a-z]+|[*])$";

/// The same in words.
pub const IONOS_SCOPE_ACTION_IN_WORDS: &str = "use lower-case letters, such as pull, or *";

/// What tells the name of a registry from where it is.
const NAME_ALONE_RULE: &str = "!self.contains('.') && !self.contains('/') && !self.contains(':')";

/// What is said of a name with more in it.
const NAME_ALONE_MESSAGE: &str = "registryName is the name alone: no host, no path, no scheme";

/// What the schema asks of the address of an API. Whether there really is a host in it takes a parser of URLs.
const API_URL_RULE: &str = r"self.lowerAscii().matches(r'^(https://[^/\\\s]+|http://(localhost|127[.][0-9.]+|[[]::1[]])(:[0-9]+)?)(/[^\\\s]*)?$')";

/// What is said of an address that is none of an API.
pub const API_URL_MESSAGE: &str =
    "apiUrl must begin with https:// and a host, and hold no blank; http:// is for loopback addresses only";

/// What an address of an API must not hold.
const API_URL_PARTS_RULE: &str = "!self.contains('@') && !self.contains('?') && !self.contains('#')";

/// What is said if it does.
pub const API_URL_PARTS_MESSAGE: &str = "apiUrl must not contain a user name, a password, a query or a fragment: what gives access to the API stands in the Secret named by secretRef";

/// The largest number of a contract with IONOS: what a number in JSON can hold for sure.
pub const MAX_CONTRACT_NUMBER: i64 = 9_007_199_254_740_991;

/// The shortest life of an issued credential, in seconds: twice the shortest refresh interval.
pub const MIN_LIFE_SECONDS: i64 = 600;

/// The longest life DigitalOcean gives a credential, in seconds (its Terraform provider has the number).
pub const MAX_DIGITALOCEAN_LIFE_SECONDS: i64 = 1_576_800_000;

/// The longest life of an IONOS token, in minutes: a year, beyond which nobody means a short-lived token.
pub const MAX_IONOS_LIFE_MINUTES: i64 = 525_600;

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
