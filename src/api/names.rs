//! Every name that regcred puts into a cluster. All derive from the API group; nothing else spells them out.

/// The API group of all kinds.
pub const GROUP: &str = "regcred.dev";

/// The field manager of every write, and the reporting controller of every event.
pub const FIELD_MANAGER: &str = "regcred";

/// Label with the constant value [`FIELD_MANAGER`] on every object regcred writes.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";

/// Annotation on the Lease: which installation of the operator's namespace wrote it last.
pub const INSTALLATION_ANNOTATION: &str = "regcred.dev/installation";

/// Label on a target Secret: the connection's reference as a hash, so that it can be selected.
pub const CONNECTION_LABEL: &str = "regcred.dev/connection";

/// Annotation on a target Secret: the connection's reference in words. It must agree with the label.
pub const CONNECTION_ANNOTATION: &str = "regcred.dev/connection";

/// Annotation on a target Secret: the namespace it was written for. A copy elsewhere is not ours.
pub const NAMESPACE_ANNOTATION: &str = "regcred.dev/namespace";

/// Annotation on a target Secret: the revision of the credential it holds.
pub const REVISION_ANNOTATION: &str = "regcred.dev/credential-revision";

/// Annotation on a target Secret: the key of its one entry, which says what images it serves.
pub const CONFIG_KEY_ANNOTATION: &str = "regcred.dev/docker-config-key";

/// Annotation on a target Secret: the keys of the extra labels the user asked for, separated by commas.
pub const EXTRA_LABELS_ANNOTATION: &str = "regcred.dev/extra-labels";

/// Annotation on a target Secret: the keys of the extra annotations the user asked for, separated by commas.
pub const EXTRA_ANNOTATIONS_ANNOTATION: &str = "regcred.dev/extra-annotations";

/// Annotation on a target Secret: what deleting its connection does to it, as the connection said when it was written last.
pub const DELETION_POLICY_ANNOTATION: &str = "regcred.dev/deletion-policy";

/// Annotation on a target Secret: when the connection it was written for was created, by the API server's clock. A
/// CustomResourceDefinition that is younger says nothing about that connection.
pub const CONNECTION_CREATED_ANNOTATION: &str = "regcred.dev/connection-created-at";

/// Annotation with a time in RFC 3339: on a source Secret, by a user, when the login in it ends; on a target Secret, by
/// regcred, when the credential in it does.
pub const EXPIRES_AT_ANNOTATION: &str = "regcred.dev/expires-at";

/// Annotation of Argo CD on a target Secret, with the value [`COMPARE_OPTIONS`]: that it stands in no repository makes no
/// application out of sync.
pub const COMPARE_OPTIONS_ANNOTATION: &str = "argocd.argoproj.io/compare-options";

/// See [`COMPARE_OPTIONS_ANNOTATION`].
pub const COMPARE_OPTIONS: &str = "IgnoreExtraneous";

/// Annotation of Argo CD on a target Secret, with the value [`SYNC_OPTIONS`]: Argo CD does not delete it because it stands in
/// no repository.
pub const SYNC_OPTIONS_ANNOTATION: &str = "argocd.argoproj.io/sync-options";

/// See [`SYNC_OPTIONS_ANNOTATION`].
pub const SYNC_OPTIONS: &str = "Prune=false";

/// The Secret type of a ledger.
pub const LEDGER_TYPE: &str = "regcred.dev/ledger";

/// The data key of a ledger.
pub const LEDGER_KEY: &str = "ledger.json";

/// What the name of every ledger begins with; the label value of its connection follows.
pub const LEDGER_PREFIX: &str = "regcred-ledger-";

/// Annotation on a ledger: the revision of a credential in it that was issued and not judged for good yet. Absent if there
/// is none.
pub const CANDIDATE_ANNOTATION: &str = "regcred.dev/candidate-revision";

/// Annotation on a ledger: from when on a credential in it is to be revoked, at the earliest. Absent if none is.
pub const REVOKE_FROM_ANNOTATION: &str = "regcred.dev/revoke-from";

/// Annotation a user may put on a connection: any new value asks for a refresh now.
pub const REFRESH_REQUESTED_ANNOTATION: &str = "regcred.dev/refresh-requested-at";

/// Annotation a user may put on a connection: any new value asks for a test now.
pub const TEST_REQUESTED_ANNOTATION: &str = "regcred.dev/test-requested-at";

/// Annotation a user may put on a source Secret: the credential in it is used for this registry host only.
pub const REGISTRY_HOST_ANNOTATION: &str = "regcred.dev/registry-host";

/// Label on a source Secret of a cluster's connection, with the value `true`: it may be read for such connections.
pub const SOURCE_LABEL: &str = "regcred.dev/source";

/// What the label begins with, with the value `true`, by which a namespace asks for the Secret of a connection with visibility
/// `OptIn`; the connection's name follows.
pub const IMPORT_LABEL_PREFIX: &str = "regcred.dev/import.";

/// Label on a namespace, with the value `true`: no cluster's connection delivers here.
pub const EXCLUDE_LABEL: &str = "regcred.dev/exclude";

/// Annotation a user may put on a cluster's connection: an edit may take the Secret from so many namespaces.
pub const ALLOW_REMOVAL_ANNOTATION: &str = "regcred.dev/allow-removal-of";

/// Annotation on a ServiceAccount and on a table of images: which Secrets regcred named there, for which connections, as JSON.
pub const LINKS_ANNOTATION: &str = "regcred.dev/links";

/// The ConfigMap in each namespace from which the admission policy reads which Secrets go with which images.
pub const TABLE: &str = "regcred-autolink";

/// The key of [`TABLE`] under which the ServiceAccounts stand whose Pods get nothing by their images, one per line. No Secret has
/// such a name.
pub const TABLE_EXCLUDED: &str = "_excludedServiceAccounts";

/// The MutatingAdmissionPolicy that reads [`TABLE`], and its binding.
pub const AUTOLINK_POLICY: &str = "autolink.regcred.dev";

/// The ServiceAccount of Pods that name none.
pub const DEFAULT_SERVICE_ACCOUNT: &str = "default";

/// Annotation of Kubernetes on a ServiceAccount, with the value `true`, in any of its spellings: its Pods may name only Secrets that it names too.
pub const MOUNTABLE_SECRETS_ANNOTATION: &str = "kubernetes.io/enforce-mountable-secrets";

/// The label that Kubernetes itself puts on every namespace, with its name.
pub const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Namespaces of Kubernetes itself: served only if they are named.
pub const SYSTEM_NAMESPACES: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];

/// The Secret type of every target, and one of the accepted types of a source.
pub const DOCKER_CONFIG_JSON_TYPE: &str = "kubernetes.io/dockerconfigjson";

/// The data key of a Secret of type [`DOCKER_CONFIG_JSON_TYPE`].
pub const DOCKER_CONFIG_JSON_KEY: &str = ".dockerconfigjson";

/// The operator's namespace when neither the Pod nor the user says another.
pub const DEFAULT_OPERATOR_NAMESPACE: &str = "regcred-system";

/// What the name of a Secret looks like (RFC 1123 subdomain), as a regular expression for the schema.
pub const OBJECT_NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// What the name of a namespace looks like (RFC 1123 label), as a regular expression for the schema.
pub const NAMESPACE_PATTERN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

/// The same in words, for those who have to correct one.
pub const OBJECT_NAME_IN_WORDS: &str = "use at most 253 lower-case letters, digits, - and ., with a letter or digit at both ends and on both sides of each dot";

/// Whether a text can be the name of a Secret: [`OBJECT_NAME`], and at most 253 characters. Names go into the paths of
/// requests, so one that is no name must never get there.
pub fn is_object_name(text: &str) -> bool {
    let is_alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        bytes.first().copied().is_some_and(is_alphanumeric)
            && bytes.last().copied().is_some_and(is_alphanumeric)
            && bytes.iter().all(|byte| is_alphanumeric(*byte) || *byte == b'-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_names_of_objects() {
        for (text, expected) in [
            ("login", true),
            ("a.b-c.1", true),
            ("0", true),
            ("", false),
            ("a..b", false),
            ("-a", false),
            ("a.", false),
            ("A", false),
            ("a b", false),
            ("login?x=y", false),
            ("../../victim/secrets/login", false),
        ] {
            assert_eq!(is_object_name(text), expected, "{text}");
        }
        assert!(!is_object_name(&"a".repeat(254)));
    }
}
