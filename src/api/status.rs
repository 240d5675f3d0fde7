//! What the operator reports. Only `controller::report` writes it; it stays below 4 KiB whatever happens.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::{Reason, connection::MAX_TEST_REPOSITORIES};

/// What is true of a connection. Times change only when the thing they describe happened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegistryConnectionStatus {
    /// The generation of the spec that this status is about; -1 before the first pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The key under `spec.provider`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,

    /// The host at which the operator reaches the registry, with the port if it is not the usual one; `docker.io` for Docker
    /// Hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry_host: Option<String>,

    /// The name of the Secret that is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,

    /// The objects that the last definite verdict is about. While they stay as they are, nothing is read or tried again
    /// before its time, not even by a restarted operator.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub observed_inputs: Vec<ObservedInput>,

    /// The credential that is delivered, never its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<DeliveredCredential>,

    /// The last test that came to a definite verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_test: Option<LastTest>,

    /// When the connection was last refreshed: its login tested to a definite verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_refresh_at: Option<Time>,

    /// When it will be refreshed next if nothing changes before. Absent while suspended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_refresh_at: Option<Time>,

    /// When a test was last a success: the registry accepted the login, and no repository under `spec.test.repositories`
    /// failed. A refusal does not change it. Absent if nothing was tested yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_success_at: Option<Time>,

    /// True while the operator leaves the connection alone because of `spec.suspend`. Absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspended: Option<bool>,

    /// The value of the annotation `regcred.dev/refresh-requested-at` that was acted on last. A value of more than 64
    /// characters stands here as `sha256:` and 32 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub last_handled_refresh_at: Option<String>,

    /// The value of the annotation `regcred.dev/test-requested-at` that was acted on last, in the same form.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub last_handled_test_at: Option<String>,

    /// How many Secrets are wanted, and how many hold the current credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub targets: Option<Targets>,

    /// How many ServiceAccounts name the Secret because of this connection. Absent if none is to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linked_service_accounts: Option<i32>,

    /// What is wrong now. Absent when nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<LastError>,

    /// `Ready`, `CredentialsValid` and `Delivered` always; `Linked` while links are asked for; `Reconciling` and `Stalled` only while they are True.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// An object that was read for a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObservedInput {
    /// The object's kind.
    pub kind: String,
    /// The object's name, in the connection's namespace.
    pub name: String,
    /// The object's UID.
    pub uid: String,
    /// The object's resourceVersion when it was read.
    pub resource_version: String,
}

/// What is known of the delivered credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveredCredential {
    /// An opaque name, new for every change of the credential and never used again. Each Secret carries the revision it
    /// holds in the annotation `regcred.dev/credential-revision`.
    pub revision: String,
    /// The provider's name for it, for providers that issue credentials and name them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub id: Option<String>,
    /// When it was issued, for providers that issue credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_at: Option<Time>,
    /// When it expires, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
}

/// A test with a definite verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastTest {
    /// When it was made.
    pub time: Time,
    /// What it found.
    pub verdict: Reason,
    /// Since when the registry refuses this very login. Absent unless it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused_since: Option<Time>,
    /// What it found of each repository under `spec.test.repositories`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_TEST_REPOSITORIES))]
    pub repositories: Vec<TestedRepository>,
    /// What the verdict on the login rests on where those without a login get in too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<Control>,
}

impl LastTest {
    /// What it came to: the verdict on the login, or what keeps the first repository that failed out of its reach.
    pub fn result(&self) -> Reason {
        let failed = self.repositories.iter().find_map(|repository| repository.verdict.failure());
        failed.filter(|_| self.verdict.is_acceptance()).unwrap_or(self.verdict)
    }

    /// True if the registry was asked, accepted the login, and let it read what it must be able to read.
    pub fn is_success(&self) -> bool {
        let result = self.result();
        result.is_acceptance() && result != Reason::NotTested
    }
}

/// Whether a registry refuses a login that cannot be right. Such a login is sent at most once a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Control {
    /// Where: the registry, and how it wants to be asked.
    pub door: String,
    /// When that was found out.
    pub time: Time,
    /// True: it was refused, so an accepted login is a right one. False: it was accepted, or got no clear answer.
    pub refused: bool,
}

/// What a test found of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TestedRepository {
    /// The repository's name.
    pub name: String,
    /// What was found.
    pub verdict: RepositoryVerdict,
}

/// What the login can do with a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RepositoryVerdict {
    /// It can be pulled from, and not by everybody.
    PullProven,
    /// It can be read, but it has no such tag or digest.
    TagMissing,
    /// Everybody can pull from it, so it proves nothing.
    PubliclyReadable,
    /// The login may not pull from it.
    InsufficientScope,
    /// It does not exist, or is hidden from this login.
    RepositoryNotFound,
    /// It could not be found out; also what a newer operator wrote and this one does not know.
    #[serde(other)]
    Inconclusive,
}

impl RepositoryVerdict {
    /// The reason, if it makes a test fail.
    pub fn failure(self) -> Option<Reason> {
        match self {
            Self::InsufficientScope => Some(Reason::InsufficientScope),
            Self::RepositoryNotFound => Some(Reason::RepositoryNotFound),
            // In a definite verdict it stands beside one of the two.
            Self::Inconclusive | Self::PullProven | Self::TagMissing | Self::PubliclyReadable => None,
        }
    }
}

/// A plain string in the schema, as for [`Reason`].
impl JsonSchema for RepositoryVerdict {
    fn schema_name() -> Cow<'static, str> {
        "RepositoryVerdict".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string", "maxLength": 64 })
    }
}

/// How far delivery is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Targets {
    /// Secrets that should exist.
    pub desired: i32,
    /// Secrets that hold the current credential.
    pub current: i32,
    /// Secrets that could not be written.
    pub failed: i32,
    /// Secrets that are kept until somebody allows their removal, see `RemovalBlocked`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked: Option<i32>,
    /// Where they could not be written, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub failures: Vec<TargetFailure>,
}

/// A Secret that could not be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetFailure {
    /// The Secret's namespace.
    pub namespace: String,
    /// Why it could not be written.
    pub reason: Reason,
}

/// What is wrong, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastError {
    /// The reason.
    pub code: Reason,
    /// What happened, in a sentence of at most 1 KiB; never with a text from the other side's body.
    pub message: String,
    /// The path of the field to change, if a change of a field would mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The provider's own name for the request that failed, for its support.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub request_id: Option<String>,
}
