//! The kind `RegistryConnection`: spec, columns, rules.
//!
//! No field of the spec has a `default:` in the schema: the server would write it into the user's object, and GitOps
//! tools would show drift. The texts of the fields are the user's manual.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{keys::LABEL_VALUE, names::OBJECT_NAME, provider::Provider, status::RegistryConnectionStatus};
use crate::domain::{
    image::{MAX_REPOSITORY, REFERENCE, REPOSITORY},
    image_pattern::MAX_PATTERN,
};

/// The refresh interval when the spec says none, in minutes.
pub const DEFAULT_REFRESH_INTERVAL_MINUTES: i32 = 30;

/// The shortest refresh interval, in minutes.
pub const MIN_REFRESH_INTERVAL_MINUTES: i32 = 5;

/// The longest refresh interval, in minutes.
pub const MAX_REFRESH_INTERVAL_MINUTES: i32 = 1440;

/// How long a test takes at most when the spec says nothing, in seconds.
pub const DEFAULT_TEST_TIMEOUT_SECONDS: i32 = 10;

/// The shortest time limit of a test, in seconds.
pub const MIN_TEST_TIMEOUT_SECONDS: i32 = 1;

/// The longest time limit of a test, in seconds: half of what a whole pass may take.
pub const MAX_TEST_TIMEOUT_SECONDS: i32 = 30;

/// How many repositories a test may ask for.
pub const MAX_TEST_REPOSITORIES: usize = 8;

/// How many ServiceAccounts can be named.
pub const MAX_SERVICE_ACCOUNTS: usize = 32;

/// A connection to a container registry: which registry, with which login, delivered as which Secret.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "regcred.dev",
    version = "v1alpha1",
    kind = "RegistryConnection",
    namespaced,
    status = "RegistryConnectionStatus",
    shortname = "regconn",
    category = "regcred",
    derive = "PartialEq",
    doc = "A connection to a container registry. The operator tests the login and keeps a Secret of type kubernetes.io/dockerconfigjson with it in the same namespace.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Provider", type_ = "string", json_path = ".status.provider"),
    printcolumn(name = "Registry", type_ = "string", json_path = ".status.registryHost"),
    printcolumn(name = "Targets", type_ = "integer", json_path = ".status.targets.current"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.credential.expiresAt"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Tested", type_ = "date", json_path = ".status.lastTest.time", priority = 1),
    printcolumn(name = "Next", type_ = "string", json_path = ".status.nextRefreshAt", priority = 1),
    printcolumn(name = "Secret", type_ = "string", json_path = ".status.secretName", priority = 1),
    printcolumn(name = "Suspended", type_ = "boolean", json_path = ".spec.suspend", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::duplicated_attributes, reason = "each column has its own type, path and priority")]
pub struct RegistryConnectionSpec {
    /// Where the credential comes from: exactly one key. Which key it is cannot be changed later.
    pub provider: Provider,

    /// How often the connection is refreshed, in minutes, from 5 to 1440: the login is tested again, and renewed first where a
    /// provider issues it (see `renewalPolicy`). Absent means 30. The first time is between an eighth and one interval after
    /// creation, the others follow at a fixed period, so that many connections spread evenly.
    #[schemars(range(min = MIN_REFRESH_INTERVAL_MINUTES, max = MAX_REFRESH_INTERVAL_MINUTES))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_interval_minutes: Option<i32>,

    /// When credentials that a provider issues are renewed. The schema tells the text of the type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renewal_policy: Option<RenewalPolicy>,

    /// Serves only repositories below this path, such as `team` for `team/web` (not for `team-b/web`, nor for a repository
    /// named just `team`), so that several connections to one host can exist side by side. Of the clients, the kubelet
    /// knows such entries; several others do not. Absent means all repositories.
    #[schemars(length(min = 1, max = MAX_REPOSITORY), regex(pattern = REPOSITORY))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository_prefix: Option<String>,

    /// How the login is tested. Absent means with a real login and no repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<Test>,

    /// The Secret to write. Absent means one with the connection's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<TargetSecret>,

    /// True: the ServiceAccount `default` of each namespace that is served names the Secret under `imagePullSecrets`, so that Pods
    /// which name no account get it. In a namespace one connection alone is the default for a registry (and prefix): the one that
    /// was created first; the others say `DefaultTaken`. Absent means false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_default: Option<bool>,

    /// ServiceAccounts that name the Secret under `imagePullSecrets`, in each namespace that is served, at most 32. One that does
    /// not exist is linked as soon as it does. What others wrote there stays. Absent means none.
    #[schemars(length(max = MAX_SERVICE_ACCOUNTS), inner(length(min = 1, max = 253), regex(pattern = OBJECT_NAME)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_accounts: Option<Vec<String>>,

    /// Pods with an image of such a name get the Secret when they are created, such as `registry.example.com/team/*`: the host as it
    /// is, then a path in which `*` stands for any characters within a segment and `**` for any characters; no tag. Images of
    /// Docker Hub are `docker.io/library/nginx` and `docker.io/acme/web`, however they are written. At most 255 characters, 8 of
    /// them asterisks. This takes Kubernetes 1.36 and the policy `autolink.regcred.dev`. Absent means that images do not matter.
    #[schemars(length(max = MAX_PATTERN))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_link_pattern: Option<String>,

    /// What a definite refusal does to the Secret. The schema tells the text of the type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_rejected: Option<OnRejected>,

    /// What the end of the connection does to the Secret. The schema tells the text of the type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,

    /// True: nothing is issued, tested or delivered, and what exists stays; what was issued still ends at its time. What happened meanwhile is acted on once it is false
    /// again. Absent means false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}

/// When credentials that a provider issues are renewed. `OnInterval`: at each refresh. `NearExpiry`: each refresh only tests
/// the credential, and it is renewed at half of its life, which takes fewer calls of the provider's API. In both cases it is
/// renewed a tenth of its life before it expires at the latest, or five minutes before if that is earlier, and at once when the
/// API credential or what is asked of the provider changes. Without meaning for logins that stand in a Secret. Absent means `OnInterval`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RenewalPolicy {
    /// At each refresh.
    #[default]
    OnInterval,
    /// At half of the life.
    NearExpiry,
}

/// What happens to the Secret once the registry has definitely refused the login in it, twice, at least 30 minutes apart.
/// `Keep`: it stays. `Remove`: it is deleted, and Pods that name it cannot restart until a login is accepted again; one that
/// holds an earlier login, which nobody refused, stays. Without meaning for credentials that a provider issues: a refused one is
/// replaced at once, and stays until there is another. Absent means `Keep`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnRejected {
    /// It stays.
    #[default]
    Keep,
    /// It is deleted.
    Remove,
}

/// What deleting the connection, or renaming its Secret, does to the Secret it wrote. `Delete`: it goes, a minute after the
/// connection; a credential that a provider issued is revoked once the connection and the Secret are gone. `Retain`: it stays,
/// and a credential that a provider issued works until it expires. Absent means `Delete`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It is deleted.
    #[default]
    Delete,
    /// It stays.
    Retain,
}

impl DeletionPolicy {
    /// The name as it stands in the spec, and on a Secret.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "Delete",
            Self::Retain => "Retain",
        }
    }

    /// The policy of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Delete, Self::Retain].into_iter().find(|policy| policy.as_str() == name)
    }
}

/// How a login is tested.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Test {
    /// Whether the login is tested. The schema tells the text of the type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<TestMode>,

    /// Repositories that the login must be able to pull from, at most 8. One that fails keeps a new login from being
    /// delivered. A repository that anybody can pull from proves nothing, which `status.lastTest` says. Absent means that
    /// none is asked for.
    #[schemars(length(max = MAX_TEST_REPOSITORIES))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repositories: Option<Vec<TestRepository>>,

    /// How long the whole test may take, in seconds, from 1 to 30. Absent means 10.
    #[schemars(range(min = MIN_TEST_TIMEOUT_SECONDS, max = MAX_TEST_TIMEOUT_SECONDS))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<i32>,
}

/// `Required`: only a login that the registry accepted is delivered. `Off`: it is delivered as it is given, for registries
/// that the operator cannot reach; the connection says `NotTested`. Absent means `Required`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TestMode {
    /// Only a login that the registry accepted is delivered.
    Required,
    /// The login is delivered as it is given.
    Off,
}

/// A repository to test a login with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TestRepository {
    /// The repository's name without the host, such as `team/web`.
    #[schemars(length(min = 1, max = MAX_REPOSITORY), regex(pattern = REPOSITORY))]
    pub name: String,

    /// A tag or digest whose manifest is asked for. Absent means that the list of tags is asked for instead, which some
    /// registries allow to fewer users than a pull.
    #[schemars(length(min = 1, max = 255), regex(pattern = REFERENCE))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

/// The Secret the operator writes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetSecret {
    /// The Secret's name. It cannot be the one that is read. A Secret of that name which regcred did not write is never
    /// changed; the connection says `TargetConflict` instead. Absent means the connection's name.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,

    /// Labels to put on the Secret besides regcred's own. A label that is dropped here is removed there. Keys under
    /// `regcred.dev/`, and `app.kubernetes.io/managed-by`, belong to the operator. Absent means none.
    #[schemars(extend(
        "maxProperties" = 32,
        "additionalProperties" = {"type": "string", "maxLength": 63, "pattern": LABEL_VALUE}
    ))]
    #[x_kube(validation = Rule::new("self.all(key, !key.startsWith('regcred.dev/') && key != 'app.kubernetes.io/managed-by')")
        .message("spec.secret.labels must not use keys under regcred.dev/ or app.kubernetes.io/managed-by: they belong to the operator"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,

    /// Annotations to put on the Secret besides regcred's own. An annotation that is dropped here is removed there. Keys
    /// under `regcred.dev/` belong to the operator. Absent means none.
    #[schemars(extend("maxProperties" = 32))]
    #[x_kube(validation = Rule::new("self.all(key, !key.startsWith('regcred.dev/'))")
        .message("spec.secret.annotations must not use keys under regcred.dev/: they belong to the operator"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}
