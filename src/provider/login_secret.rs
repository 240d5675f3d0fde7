//! A login that stands in a Secret: which types and keys are accepted, and for which hosts it may be used.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;

use super::{
    Error, Given, Io,
    endpoint::Endpoint,
    secret_not_found,
    secret_values::{self, Binds, check_bound_host, login, malformed, shown, text, value},
};
use crate::{
    api::{
        Reason,
        names::{DOCKER_CONFIG_JSON_KEY, DOCKER_CONFIG_JSON_TYPE, EXPIRES_AT_ANNOTATION},
        provider::SecretReference,
        status::ObservedInput,
    },
    domain::{credential::Credential, docker_config, host::RegistryHost},
    problem::Problem,
};

/// What to do about a Secret that is for another host.
const MISMATCH_HINT: &str = "refer to a Secret made for this registry, or correct registryUrl";

/// Reads the login for a registry from the Secret that `field` refers to.
///
/// # Errors
/// [`Error`] says who has to move.
pub(super) async fn read(
    io: &Io<'_>,
    reference: &SecretReference,
    field: &'static str,
    endpoint: &Endpoint,
) -> Result<Given, Error> {
    let unusable = |problem: Problem, input: Option<ObservedInput>| Error::Unusable {
        problem: Box::new(problem.at(field)),
        inputs: input.into_iter().collect(),
    };
    let Some((secret, input)) = io.secret(&reference.name).await.map_err(|error| error.at(field))? else {
        return Err(unusable(secret_not_found(field, io.namespace(), &reference.name), None));
    };
    let login = login_in(&secret, reference, &hosts(endpoint), io.binds());
    match login.and_then(|credential| Ok((credential, expires_at(&secret, &reference.name)?))) {
        Ok((credential, expires_at)) => Ok(Given { credential, expires_at, input }),
        Err(problem) => Err(unusable(problem, Some(input))),
    }
}

/// The hosts the login goes to: from the operator to the registry, and from the nodes to the host in image names.
fn hosts(endpoint: &Endpoint) -> Vec<RegistryHost> {
    let registry = endpoint.registry.host();
    let mut hosts = vec![if registry.is_docker_hub() { RegistryHost::docker_hub() } else { registry.clone() }];
    hosts.extend(Some(endpoint.image_host.clone()).filter(|host| *host != hosts[0]));
    hosts
}

/// The login that a Secret holds for these hosts.
fn login_in(
    secret: &Secret,
    reference: &SecretReference,
    hosts: &[RegistryHost],
    binds: Binds,
) -> Result<Credential, Problem> {
    let name = reference.name.as_str();
    // The keys of a docker config are hosts.
    let binds = if secret.type_.as_deref() == Some(DOCKER_CONFIG_JSON_TYPE) { Binds::IfItSays } else { binds };
    for host in hosts {
        check_bound_host(secret, name, host, binds).map_err(|problem| match problem.hint {
            Some(_) => problem,
            None => problem.hint(MISMATCH_HINT),
        })?;
    }
    match secret.type_.as_deref() {
        Some(DOCKER_CONFIG_JSON_TYPE) => docker_config_login(secret, name, hosts),
        None | Some("" | "Opaque" | "kubernetes.io/basic-auth") => basic_login(secret, reference),
        Some(other) => Err(malformed(format!("Secret {name:?} has type {other:?}, which holds no registry login"))
            .hint("use type Opaque, kubernetes.io/basic-auth or kubernetes.io/dockerconfigjson")),
    }
}

/// When the login ends, as a user may say by annotation: whoever made it often knows, and the registry does not tell.
fn expires_at(secret: &Secret, name: &str) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = secret.metadata.annotations.as_ref().and_then(|a| a.get(EXPIRES_AT_ANNOTATION)) else {
        return Ok(None);
    };
    text.trim().parse().map(Some).map_err(|_| {
        malformed(format!("the annotation {EXPIRES_AT_ANNOTATION} of Secret {name:?} is not a time"))
            .hint("write it as in RFC 3339, with a zone: 2027-01-31T12:00:00Z")
    })
}

/// The entry for all of the hosts: one that names another host must not be used for it.
fn docker_config_login(secret: &Secret, name: &str, hosts: &[RegistryHost]) -> Result<Credential, Problem> {
    let config =
        value(secret, DOCKER_CONFIG_JSON_KEY).ok_or_else(|| key_missing(secret, name, DOCKER_CONFIG_JSON_KEY))?;
    let mut found: Option<Credential> = None;
    for host in hosts {
        let login = docker_config::read(config, host).map_err(|error| match error {
            docker_config::ReadError::NoEntry { .. } => mismatch(format!("Secret {name:?}: {error}")),
            _ => malformed(format!("Secret {name:?}: {error}")).hint(format!(
                "write it anew: kubectl create secret docker-registry {name} --docker-server={host} \
                 --docker-username=... --docker-password=..."
            )),
        })?;
        let is_another =
            |found: &Credential| (found.username(), found.password()) != (login.username(), login.password());
        if found.as_ref().is_some_and(is_another) {
            return Err(mismatch(format!("Secret {name:?} has different logins for {}", shown(hosts))));
        }
        found.get_or_insert(login);
    }
    found.ok_or_else(|| mismatch(format!("Secret {name:?} is asked for no host at all")))
}

fn basic_login(secret: &Secret, reference: &SecretReference) -> Result<Credential, Problem> {
    let name = reference.name.as_str();
    let text = |key: &str| text(secret, name, key)?.ok_or_else(|| key_missing(secret, name, key));
    let username = text(reference.username_key.as_deref().unwrap_or("username"))?;
    let password = text(reference.password_key.as_deref().unwrap_or("password"))?;
    login(name, username, password)
}

fn key_missing(secret: &Secret, name: &str, key: &str) -> Problem {
    secret_values::key_missing(secret, name, key)
        .hint("add the key, or name the right ones in usernameKey and passwordKey")
}

fn mismatch(message: String) -> Problem {
    Problem::new(Reason::HostMismatch, message).hint(MISMATCH_HINT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api::names::REGISTRY_HOST_ANNOTATION, domain::host::host_of_docker_config_key};
    use serde_json::json;

    fn secret(type_: &str, data: &[(&str, &str)], annotations: &[(&str, &str)]) -> Secret {
        let data: serde_json::Map<_, _> = data
            .iter()
            .map(|(key, value)| {
                ((*key).to_owned(), serde_json::to_value(k8s_openapi::ByteString(value.as_bytes().to_vec())).unwrap())
            })
            .collect();
        let annotations: serde_json::Map<_, _> =
            annotations.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        serde_json::from_value(json!({
            "metadata": {"name": "login", "annotations": annotations}, "type": type_, "data": data
        }))
        .unwrap()
    }

    fn reference(username_key: Option<&str>) -> SecretReference {
        SecretReference {
            name: "login".into(),
            username_key: username_key.map(str::to_owned),
            password_key: None,
            token_key: None,
        }
    }

    fn read(secret: &Secret, username_key: Option<&str>) -> Result<(String, String), Problem> {
        let host = host_of_docker_config_key("r.example").unwrap_or_else(|| panic!("a host"));
        login_in(secret, &reference(username_key), &[host], Binds::IfItSays)
            .map(|login| (login.username().to_owned(), login.password().to_owned()))
    }

    const LOGIN: [(&str, &str); 2] = [("username", "user"), ("password", "canary")];

    #[test]
    fn reads_every_accepted_type() {
        let expected = Ok(("user".to_owned(), "canary".to_owned()));
        let config = r#"{"auths":{"r.example":{"username":"user","password":"canary"}}}"#;
        for (name, secret, username_key) in [
            ("opaque", secret("Opaque", &LOGIN, &[]), None),
            ("basic-auth", secret("kubernetes.io/basic-auth", &LOGIN, &[]), None),
            ("docker config", secret(DOCKER_CONFIG_JSON_TYPE, &[(DOCKER_CONFIG_JSON_KEY, config)], &[]), None),
            ("other key", secret("Opaque", &[("name", "user"), ("password", "canary")], &[]), Some("name")),
            ("bound", secret("Opaque", &LOGIN, &[(REGISTRY_HOST_ANNOTATION, "https://R.example/")]), None),
            ("bound to several", secret("Opaque", &LOGIN, &[(REGISTRY_HOST_ANNOTATION, "o.example, r.example")]), None),
        ] {
            assert_eq!(read(&secret, username_key), expected, "{name}");
        }
    }

    #[test]
    fn names_what_is_wrong_and_where_but_never_a_value() {
        use Reason as R;
        let config = |text: &str| secret(DOCKER_CONFIG_JSON_TYPE, &[(DOCKER_CONFIG_JSON_KEY, text)], &[]);
        for (name, secret, reason) in [
            ("no password", secret("Opaque", &[("username", "user")], &[]), R::SecretKeyMissing),
            ("nothing", secret("Opaque", &[], &[]), R::SecretKeyMissing),
            ("no docker config", secret(DOCKER_CONFIG_JSON_TYPE, &[], &[]), R::SecretKeyMissing),
            (
                "line break",
                secret("Opaque", &[("username", "user"), ("password", "canary\n")], &[]),
                R::SecretMalformed,
            ),
            ("empty", secret("Opaque", &[("username", ""), ("password", "canary")], &[]), R::SecretMalformed),
            ("wrong type", secret("kubernetes.io/tls", &LOGIN, &[]), R::SecretMalformed),
            ("no JSON", config("canary"), R::SecretMalformed),
            ("no auths", config(r#"{"canary":1}"#), R::SecretMalformed),
            ("other host", config(r#"{"auths":{"o.example":{"password":"canary"}}}"#), R::HostMismatch),
            ("bound elsewhere", secret("Opaque", &LOGIN, &[(REGISTRY_HOST_ANNOTATION, "o.example")]), R::HostMismatch),
            ("bound to nonsense", secret("Opaque", &LOGIN, &[(REGISTRY_HOST_ANNOTATION, "a b")]), R::HostMismatch),
        ] {
            let problem = read(&secret, None).unwrap_err();
            assert_eq!(problem.reason, reason, "{name}");
            assert!(problem.hint.is_some(), "{name}");
            assert!(!format!("{problem:?}").contains("canary"), "{name}: {problem:?}");
        }
    }

    #[test]
    fn a_secret_that_names_a_host_serves_no_other_not_even_in_image_names() {
        let host = |text: &str| host_of_docker_config_key(text).unwrap_or_else(|| panic!("{text}"));
        let hosts = [host("r.example"), host("images.example")];
        let config = |text: &str| secret(DOCKER_CONFIG_JSON_TYPE, &[(DOCKER_CONFIG_JSON_KEY, text)], &[]);
        let entry = |host: &str, password: &str| format!(r#""{host}":{{"username":"u","password":"{password}"}}"#);
        let both = |second: &str| format!(r#"{{"auths":{{{},{second}}}}}"#, entry("r.example", "canary"));
        for (name, secret, expected) in [
            ("both", config(&both(&entry("images.example", "canary"))), None),
            ("one", config(&both(&entry("other.example", "canary"))), Some(Reason::HostMismatch)),
            ("different", config(&both(&entry("images.example", "x"))), Some(Reason::HostMismatch)),
            (
                "bound to one",
                secret("Opaque", &LOGIN, &[(REGISTRY_HOST_ANNOTATION, "r.example")]),
                Some(Reason::HostMismatch),
            ),
            (
                "bound to both",
                secret("Opaque", &LOGIN, &[(REGISTRY_HOST_ANNOTATION, "r.example,images.example")]),
                None,
            ),
        ] {
            let problem = login_in(&secret, &reference(None), &hosts, Binds::IfItSays).err();
            assert_eq!(problem.as_ref().map(|problem| problem.reason), expected, "{name}");
            assert!(!format!("{problem:?}").contains("canary"), "{name}");
        }
    }
}
