//! The one vocabulary of causes: condition reason, event reason, metric label and `lastError.code`.
//!
//! A new value needs a row in [`Reason::ALL`], a [`Class`], a cause and a fix; the compiler and the reference page
//! test ask for each.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize};

/// Who has to move next, which decides conditions and retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Nothing is wrong.
    Good,
    /// Work is under way.
    UnderWay,
    /// Something referenced is not there yet; a watch brings us back when it appears.
    Missing,
    /// The user has to change something.
    UsersTurn,
    /// Time or someone else's repair will help; retried with back-off.
    Wait,
    /// A fault of this operator or of its installation.
    Ours,
}

impl Class {
    /// The name as it stands in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "Good",
            Self::UnderWay => "UnderWay",
            Self::Missing => "Missing",
            Self::UsersTurn => "UsersTurn",
            Self::Wait => "Wait",
            Self::Ours => "Ours",
        }
    }

    /// True if something is wrong.
    pub fn is_trouble(self) -> bool {
        match self {
            Self::Good | Self::UnderWay => false,
            Self::Missing | Self::UsersTurn | Self::Wait | Self::Ours => true,
        }
    }
}

/// Defines the enum, its list and its texts in one place, so that none of them can be forgotten.
macro_rules! reasons {
    ($($variant:ident: $class:ident, $cause:literal, $fix:literal;)*) => {
        /// Why something is as it is. The text of each value is its name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        pub enum Reason {
            $(#[doc = $cause] $variant,)*
        }

        impl Reason {
            /// All values, in the order of the reference page.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name as it stands in conditions, events and metrics.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant),)* }
            }

            /// Who has to move next.
            pub fn class(self) -> Class {
                match self { $(Self::$variant => Class::$class,)* }
            }

            /// What brings this value about, in one sentence.
            pub fn cause(self) -> &'static str {
                match self { $(Self::$variant => $cause,)* }
            }

            /// What to do about it, in one sentence.
            pub fn fix(self) -> &'static str {
                match self { $(Self::$variant => $fix,)* }
            }
        }
    };
}

reasons! {
    LoginProven: Good,
        "The registry refused an anonymous request and accepted the same request with the credential.",
        "Nothing to do.";
    RepositoriesProven: Good,
        "The registry accepted the login and let it read at least one of the listed repositories that not everybody may read, and no listed one failed.",
        "Nothing to do.";
    Unverified: Good,
        "The registry lets in requests without a login, or with any login, so a login proves nothing.",
        "Nothing to do; the credential is delivered as it is given. Listing a private repository under `spec.test.repositories` can prove it.";
    NotTested: Good,
        "`spec.test.mode` is `Off`, so the credential is delivered without having been tested.",
        "Nothing to do; set `spec.test.mode` to `Required` once the operator can reach the registry.";
    Delivered: Good,
        "The Secret holds the current credential.",
        "Nothing to do.";
    Linked: Good,
        "The ServiceAccounts that the connection names have the Secret under `imagePullSecrets`, and Pods with matching images get it when they are created.",
        "Nothing to do.";
    SelectsNothing: Good,
        "A cluster's connection selects no namespace that exists, so there is nowhere to deliver to.",
        "Nothing to do if that is meant; else correct the selection, or label the namespaces.";
    Suspended: Good,
        "`spec.suspend` is true: nothing is tested or written, and what exists stays.",
        "Set `spec.suspend` to false to go on.";
    Progressing: UnderWay,
        "Work on this connection is under way.",
        "Wait a moment.";
    SecretNotFound: Missing,
        "The Secret with the registry login, or with the access to the provider's API, does not exist.",
        "Create it in the connection's namespace, or correct the name in `secretRef`.";
    SecretKeyMissing: Missing,
        "The Secret with the registry login, or with the access to the provider's API, lacks a key that is needed.",
        "Add the key, or name another one in `secretRef`.";
    RepositoryNotFound: Missing,
        "The registry accepted the login, but a repository under `spec.test.repositories` does not exist, or is hidden from this login.",
        "Correct the repository's name, create it, or give the login the right to pull from it; it is asked for again every ten minutes.";
    CaNotFound: Missing,
        "The ConfigMap or Secret that `caRef` names, or the key in it, does not exist.",
        "Create it in the connection's namespace, or correct `caRef`.";
    InvalidSpec: UsersTurn,
        "A field of the connection has a value that cannot be used, such as the name of a registry that the provider does not have.",
        "Correct the field that the message names.";
    SecretMalformed: UsersTurn,
        "The Secret with the registry login, or with the access to the provider's API, or the object that `caRef` names, holds a value that cannot be used.",
        "Write it anew, as the hint says.";
    HostMismatch: UsersTurn,
        "The Secret names a host, and it is not the one that this connection would send it to: its registry, or its provider's API.",
        "Use a Secret made for this host, or correct `registryUrl` or `apiUrl`.";
    Expired: UsersTurn,
        "The time of the annotation `regcred.dev/expires-at` on the Secret with the registry login has come, or a credential that the provider issued expired before another one could be issued.",
        "Put a new login into the Secret, and correct or remove the annotation; a login that has ended is not tried. Where a provider issues the credentials, mend what the message names.";
    InvalidCredentials: UsersTurn,
        "The registry refused the login, or the provider's API refused the credential that new logins are issued with; the message says which.",
        "Put the right user name and password, or API token, into the Secret; they are tried at once.";
    InsufficientScope: UsersTurn,
        "The registry accepted the login, but does not let it pull from a repository under `spec.test.repositories`; or the provider's API accepted its token, which lacks a scope or right that issuing takes.",
        "Give the login the right to pull from it; it is asked for again every ten minutes. Give the API token the scopes that the message names, or put one that has them into the Secret.";
    TokenServerNotTrusted: UsersTurn,
        "The registry sends logins to a token server on another host, which this connection does not trust. Nothing was sent there.",
        "If that host belongs to the registry, add it to `spec.provider.generic.trustedTokenHosts`.";
    AddressNotAllowed: UsersTurn,
        "The host of the registry, or of the provider's API, is or resolves to an address the operator never connects to.",
        "Use an address that is none of those; the message says which kind it is.";
    TargetConflict: UsersTurn,
        "A Secret of the wanted name exists and does not belong to this connection.",
        "Delete that Secret, or choose another name in `spec.secret.name`.";
    SourceNotAllowed: UsersTurn,
        "A cluster's connection refers to a Secret that is not meant for such connections: it lacks the label `regcred.dev/source`, names no host, or is one that regcred writes itself.",
        "Label the Secret `regcred.dev/source: \"true\"`, and name its host in the annotation `regcred.dev/registry-host`, if everybody who may create such connections may use it.";
    TooManyTargets: UsersTurn,
        "More namespaces are selected than `spec.maxTargets` allows; those that are served already stay so.",
        "Raise `spec.maxTargets`, or select fewer namespaces.";
    RemovalBlocked: UsersTurn,
        "An edit of the selection would take the Secret from more than a fifth of its namespaces; it stays, and is renewed, until that is allowed.",
        "If that is meant, set the annotation `regcred.dev/allow-removal-of` on the connection to the count in the message; else select the namespaces again.";
    DefaultTaken: UsersTurn,
        "Another connection, which was created earlier, is the default of the namespace for the same registry; the message names it.",
        "Remove `spec.isDefault` from one of the two; if the other one goes, this one takes over by itself.";
    LinkConflict: UsersTurn,
        "Something else keeps taking the Secret off a ServiceAccount or out of the table of images, or somebody else made a ConfigMap `regcred-autolink`.",
        "Find out who writes the object that the message names, and let only one of the two do it; delete a ConfigMap that regcred did not make, or rename it.";
    AutoLinkUnsupported: UsersTurn,
        "The connection has an `autoLinkPattern`, but the cluster has no MutatingAdmissionPolicy `autolink.regcred.dev` with its binding, so Pods get no Secret by their images.",
        "On Kubernetes 1.36 and later, apply `deploy/autolink.yaml`; before that, use `spec.isDefault` or `spec.serviceAccounts`.";
    NotRemoved: UsersTurn,
        "A Secret was left in place that no connection writes any more: it cannot be told for sure that it may go, or the operator has no right to remove it. Only in Events.",
        "Read the message; if nothing needs that Secret, delete it with `kubectl delete secret`.";
    NotRevoked: UsersTurn,
        "A credential that was replaced could not be revoked at its provider; it works until it expires. Only in Events.",
        "Read the message; it is tried again until then, or revoke it in the provider's console.";
    LedgerLost: UsersTurn,
        "The ledger of a connection was deleted or damaged, so a new credential is issued. Only in Events.",
        "Find out who touches Secrets in the operator's namespace; nothing else needs to be done.";
    RateLimited: Wait,
        "The registry, or the provider's API, asked to be called less often, or logins of this user failed so often within ten minutes that one more could lock the account.",
        "Wait; the operator goes on when the time that was named, or those ten minutes, are over. In the second case, look for Secrets that hold a wrong password of this user. A provider's API counts all calls with one token: `spec.renewalPolicy: NearExpiry` takes fewer.";
    AccessBlocked: Wait,
        "The registry, or the provider's API, refused to talk to the operator (403), which says nothing about the password.",
        "Check its allow-list or firewall for the operator's address.";
    Unreachable: Wait,
        "The registry, or the provider's API, could not be reached: name resolution, connection or time limit.",
        "Check host name, port and network policies; delivered Secrets stay as they are.";
    TlsFailed: Wait,
        "The registry, or the provider's API, was reached, but no trusted TLS connection could be made.",
        "Check the registry's certificate and the scheme of `registryUrl`; name the authority that signed it in `caRef`.";
    UpstreamError: Wait,
        "The registry, or the provider's API, answered with an error of its own.",
        "Look at the health of the registry or the provider; the operator tries again.";
    RegistryNotReady: Wait,
        "The provider has not made the registry ready yet, or the registry does not know a credential yet that was issued just now.",
        "Wait; the operator tries again.";
    NotARegistry: Wait,
        "The host answers, but not as a registry does.",
        "Check `registryUrl`: it is the host before the first slash of an image name.";
    ProtocolError: Ours,
        "An answer of the registry, or of the provider's API, does not follow the protocol as this operator knows it.",
        "Check `registryUrl` or `apiUrl`; if it is right, report the answer that the message describes.";
    InternalError: Ours,
        "A fault in regcred ended the work on this connection; others are not affected.",
        "Report it with the operator's log of that time; the operator tries again every few minutes.";
    Forbidden: Ours,
        "The API server refused a request of the operator: missing rights, a quota or a policy.",
        "Read the message: grant the right, raise the quota, or exempt the operator from the policy.";
}

impl Reason {
    /// True if the login is good, but a repository it should be able to pull from is out of its reach.
    pub fn is_of_a_repository(self) -> bool {
        matches!(self, Self::RepositoryNotFound | Self::InsufficientScope)
    }

    /// True if a test can come to this verdict. A status by a newer operator may hold another one.
    pub fn is_verdict(self) -> bool {
        self.is_acceptance() || self == Self::InvalidCredentials
    }

    /// True if a credential with this verdict may be delivered.
    pub fn is_acceptance(self) -> bool {
        matches!(self, Self::LoginProven | Self::RepositoriesProven | Self::Unverified | Self::NotTested)
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A status written by a newer operator may hold a reason that this one does not know. It must stay readable, so such
/// a reason is read as [`Reason::Progressing`], which counts as no proof of anything.
impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Cow::<'de, str>::deserialize(deserializer)?;
        Ok(Self::ALL.iter().copied().find(|reason| reason.as_str() == name).unwrap_or(Self::Progressing))
    }
}

/// A plain string in the schema: an operator newer than the installed CRD must be able to write its status.
impl JsonSchema for Reason {
    fn schema_name() -> Cow<'static, str> {
        "Reason".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string", "maxLength": 64 })
    }
}

/// The table of all reasons for the reference page.
pub fn reference_table() -> String {
    let mut table = String::from("| Reason | Cause | What to do |\n|---|---|---|\n");
    for reason in Reason::ALL {
        table.push_str(&format!("| `{reason}` | {} | {} |\n", reason.cause(), reason.fix()));
    }
    table
}
