//! The kind `ClusterRegistryConnection`: the same body as `RegistryConnection`, and which namespaces it serves.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    connection::RegistryConnectionSpec,
    keys::{LABEL_KEY, LABEL_VALUE},
    names::NAMESPACE_PATTERN,
    status::RegistryConnectionStatus,
};

/// How many namespaces are served when the spec does not say.
pub const DEFAULT_MAX_TARGETS: i32 = 10_000;

/// The most namespaces a spec may ask for.
pub const LARGEST_MAX_TARGETS: i32 = 100_000;

/// How many namespaces can be named in one list.
pub const MAX_NAMESPACES: usize = 1000;

/// How many names or patterns of namespaces can be excluded.
pub const MAX_EXCLUDED: usize = 100;

/// How long the name of a connection with visibility `OptIn` may be: it becomes part of a label key.
pub const MAX_OPT_IN_NAME: usize = 56;

/// How many labels, or expressions, a selector may have.
const MAX_REQUIREMENTS: usize = 16;

/// How many values an expression may have.
const MAX_VALUES: usize = 64;

/// A connection to a container registry for many namespaces.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "regcred.dev",
    version = "v1alpha1",
    kind = "ClusterRegistryConnection",
    status = "RegistryConnectionStatus",
    shortname = "cregconn",
    category = "regcred",
    derive = "PartialEq",
    doc = "A connection to a container registry for many namespaces. The operator tests the login once and keeps a Secret of type kubernetes.io/dockerconfigjson with it in each of them. The Secrets that it reads are in the operator's namespace and carry the label regcred.dev/source.",
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
pub struct ClusterRegistryConnectionSpec {
    /// What both kinds have in common.
    #[serde(flatten)]
    pub connection: RegistryConnectionSpec,

    /// Which namespaces it serves.
    #[serde(flatten)]
    pub selection: Selection,
}

/// Which namespaces a connection serves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Selection {
    /// Which namespaces get the Secret. The schema tells the text of the type.
    pub visibility: Visibility,

    /// With visibility `Selected`: namespaces with these labels, besides those under `namespaces`. Absent means none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<NamespaceSelector>,

    /// With visibility `Selected`: namespaces of these names, besides those that `namespaceSelector` finds. One that does not
    /// exist is served as soon as it does. Absent means none.
    #[schemars(length(min = 1, max = MAX_NAMESPACES), inner(length(min = 1, max = 63), regex(pattern = NAMESPACE_PATTERN)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Vec<String>>,

    /// Namespaces that are not served whatever else selects them: names, in which `*` stands for any characters. A namespace
    /// can refuse for itself with the label `regcred.dev/exclude: "true"`. Absent means none.
    #[schemars(length(max = MAX_EXCLUDED), inner(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9*]([-a-z0-9*]*[a-z0-9*])?$")))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclude_namespaces: Option<Vec<String>>,

    /// How many namespaces are served at most. Those that are served already stay so when more are selected; the others are
    /// told under `TooManyTargets`. Absent means 10000.
    #[schemars(range(min = 1, max = LARGEST_MAX_TARGETS))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_targets: Option<i32>,
}

/// `All`: every namespace. `Selected`: those that `namespaceSelector` or `namespaces` selects. `OptIn`: those that ask for it
/// with the label `regcred.dev/import.<name of the connection>: "true"`. The namespaces `kube-system`, `kube-public` and
/// `kube-node-lease` are served only if `namespaces` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Visibility {
    /// Every namespace.
    All,
    /// Those that a selector or a list selects.
    Selected,
    /// Those that ask for it.
    OptIn,
}

/// Labels that a namespace must have: all that are said here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1))]
pub struct NamespaceSelector {
    /// Labels with these values. Absent means none.
    #[schemars(extend(
        "minProperties" = 1,
        "maxProperties" = MAX_REQUIREMENTS,
        "additionalProperties" = {"type": "string", "maxLength": 63, "pattern": LABEL_VALUE}
    ))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub match_labels: Option<BTreeMap<String, String>>,

    /// Conditions on labels. Absent means none.
    #[schemars(length(min = 1, max = MAX_REQUIREMENTS))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub match_expressions: Option<Vec<LabelRequirement>>,
}

/// A condition on one label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.operator in ['In', 'NotIn'] ? has(self.values) && self.values.size() > 0 : !has(self.values) || self.values.size() == 0")
        .message("operators In and NotIn need values, Exists and DoesNotExist have none")
        .field_path(".values"),
)]
pub struct LabelRequirement {
    /// The key of the label.
    #[schemars(length(min = 1, max = 317), regex(pattern = LABEL_KEY))]
    pub key: String,

    /// `In`: its value is one of these. `NotIn`: it is not, or there is no such label. `Exists`: it is there, `DoesNotExist`: it is
    /// not.
    pub operator: LabelOperator,

    /// Values, for `In` and `NotIn`. Absent means none.
    #[schemars(length(max = MAX_VALUES), inner(length(max = 63), regex(pattern = LABEL_VALUE)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values: Option<Vec<String>>,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LabelOperator {
    /// Its value is one of some.
    In,
    /// It is not.
    NotIn,
    /// It is there.
    Exists,
    /// It is not.
    DoesNotExist,
}
