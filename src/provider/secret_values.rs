//! What is read from any Secret of a user: the values of its keys, and the hosts it is bound to. Pure.

use k8s_openapi::api::core::v1::Secret;

use crate::{
    api::{
        Reason,
        names::{FIELD_MANAGER, LEDGER_TYPE, MANAGED_BY_LABEL, REGISTRY_HOST_ANNOTATION, SOURCE_LABEL},
    },
    domain::{
        credential::Credential,
        host::{RegistryHost, host_of_docker_config_key},
    },
    problem::Problem,
};

/// The bytes of a key.
pub(super) fn value<'a>(secret: &'a Secret, key: &str) -> Option<&'a [u8]> {
    secret.data.as_ref()?.get(key).map(|value| value.0.as_slice())
}

/// The text of a key; none if there is no such key.
///
/// # Errors
/// A [`Problem`] if it is no text.
pub(super) fn text(secret: &Secret, name: &str, key: &str) -> Result<Option<String>, Problem> {
    let text = value(secret, key).map(|bytes| String::from_utf8(bytes.to_vec())).transpose();
    text.map_err(|_| malformed(format!("the value of key {key:?} in Secret {name:?} is not UTF-8 text")))
}

/// The login of these two parts.
///
/// # Errors
/// A [`Problem`] if nobody could accept it.
pub(super) fn login(name: &str, username: String, password: String) -> Result<Credential, Problem> {
    Credential::new(username, password).map_err(|error| {
        malformed(format!("Secret {name:?} holds no usable login: {error}"))
            .hint("a line break often comes from echo or an editor; kubectl create secret --from-literal adds none")
    })
}

/// The problem of a Secret without a key.
pub(super) fn key_missing(secret: &Secret, name: &str, key: &str) -> Problem {
    const SHOWN: usize = 5;
    let keys: Vec<&str> = secret.data.iter().flatten().map(|(key, _)| key.as_str()).collect();
    let present = match keys.len() {
        0 => "it has no keys at all".to_owned(),
        count if count > SHOWN => format!("it has {} and {} more", keys[..SHOWN].join(", "), count - SHOWN),
        _ => format!("it has {}", keys.join(", ")),
    };
    Problem::new(Reason::SecretKeyMissing, format!("Secret {name:?} has no key {key:?}; {present}"))
}

/// The problem of a Secret with a value that cannot be used.
pub(super) fn malformed(message: String) -> Problem {
    Problem::new(Reason::SecretMalformed, message)
}

/// Whether a Secret must name the host for which it is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binds {
    /// If it names hosts, it is meant for those.
    IfItSays,
    /// It must name them.
    Always,
}

/// Whether a Secret in the operator's namespace is meant for connections of the cluster: nobody else's may be sent away.
///
/// # Errors
/// A [`Problem`] without a field.
pub(super) fn check_marked(secret: &Secret, name: &str) -> Result<(), Problem> {
    let label = |key: &str| secret.metadata.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
    if secret.type_.as_deref() == Some(LEDGER_TYPE) || label(MANAGED_BY_LABEL) == Some(FIELD_MANAGER) {
        let message = format!("Secret {name:?} in the operator's namespace is one that regcred writes itself");
        return Err(Problem::new(Reason::SourceNotAllowed, message).hint("refer to a Secret of your own"));
    }
    if label(SOURCE_LABEL) == Some("true") {
        return Ok(());
    }
    let message = format!(
        "Secret {name:?} in the operator's namespace does not carry the label {SOURCE_LABEL}: \"true\", so it is not meant for \
         connections of the cluster"
    );
    Err(Problem::new(Reason::SourceNotAllowed, message)
        .hint("label it, if everybody who may create such connections may use it; or refer to another one"))
}

/// A Secret may be bound to hosts by annotation. It is then never used for another one.
///
/// # Errors
/// A [`Problem`] without field and hint.
pub(super) fn check_bound_host(
    secret: &Secret,
    name: &str,
    wanted: &RegistryHost,
    binds: Binds,
) -> Result<(), Problem> {
    let Some(bound) = secret.metadata.annotations.as_ref().and_then(|a| a.get(REGISTRY_HOST_ANNOTATION)) else {
        return match binds {
            Binds::IfItSays => Ok(()),
            Binds::Always => Err(Problem::new(
                Reason::SourceNotAllowed,
                format!("Secret {name:?} does not say for which host it is meant"),
            )
            .hint(format!("annotate it with {REGISTRY_HOST_ANNOTATION}: {wanted}, if it may be sent there"))),
        };
    };
    is_bound_to(bound, name, wanted).map_err(|message| Problem::new(Reason::HostMismatch, message))
}

/// Whether an annotation names a host; what is wrong, in a sentence, if it does not.
fn is_bound_to(bound: &str, name: &str, wanted: &RegistryHost) -> Result<(), String> {
    let hosts = bound.split(',').map(host_of_docker_config_key).collect::<Option<Vec<_>>>();
    let Some(hosts) = hosts.filter(|hosts| !hosts.is_empty()) else {
        return Err(format!(
            "the annotation {REGISTRY_HOST_ANNOTATION} of Secret {name:?} is not a registry host, nor several separated by \
             commas"
        ));
    };
    if hosts.contains(wanted) {
        return Ok(());
    }
    Err(format!(
        "Secret {name:?} is bound to {} by its annotation {REGISTRY_HOST_ANNOTATION}; this connection would use it for \
         {wanted}",
        shown(&hosts)
    ))
}

/// Some hosts, for a message.
pub(super) fn shown(hosts: &[RegistryHost]) -> String {
    let hosts: Vec<&str> = hosts.iter().take(5).map(RegistryHost::as_str).collect();
    hosts.join(", ")
}
