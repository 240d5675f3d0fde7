//! The parts of `spec.provider` for providers whose API issues credentials: which registry, with which access to the API, how
//! long a credential works. The texts of the fields are the user's manual.
//!
//! What stands in the schema as a rule of text is repeated by `controller::validate`, for `regcred check` and for objects that
//! were stored under another schema.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::provider::SecretReference;

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
