//! The docker config format inside Secrets of type `kubernetes.io/dockerconfigjson`: reading an entry, writing one.
//!
//! Errors never carry any of the text: it holds passwords.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret, SecretSlice};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

use super::{
    credential::{Credential, InvalidCredential},
    host::{RegistryHost, host_of_docker_config_key},
    image::RepositoryName,
};

/// The key of an entry: which images its login serves, as the kubelet reads it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConfigKey(String);

impl ConfigKey {
    /// The key for the images of a host, or of the repositories below a prefix of it.
    ///
    /// With a prefix it ends in a slash, because the kubelet compares plain strings: without it, `team` would serve
    /// `team-b/app` too. For all of Docker Hub every client expects one old address.
    pub fn new(host: &RegistryHost, prefix: Option<&RepositoryName>) -> Self {
        Self(match prefix {
            Some(prefix) => format!("{host}/{prefix}/"),
            None if host.is_docker_hub() => "https://index.docker.io/v1/".to_owned(),
            None => host.to_string(),
        })
    }

    /// The key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A complete docker config with one entry, ready for a Secret.
#[derive(Clone)]
pub struct DockerConfig(SecretSlice<u8>);

impl DockerConfig {
    /// The config with `credential` as the entry of `key`.
    ///
    /// It holds `username`, `password` and `auth`: the docker client reads only `auth`, several tools inside clusters
    /// only the other two, and the kubelet prefers `auth`.
    pub fn new(key: &ConfigKey, credential: &Credential) -> Self {
        #[derive(Serialize)]
        struct Entry<'a> {
            username: &'a str,
            password: &'a str,
            auth: String,
        }
        let (username, password) = (credential.username(), credential.password());
        let auth = STANDARD.encode(format!("{username}:{password}"));
        let config = BTreeMap::from([("auths", BTreeMap::from([(key.as_str(), Entry { username, password, auth })]))]);
        // Maps with string keys and string values always serialise.
        Self(SecretSlice::from(serde_json::to_vec(&config).unwrap_or_default()))
    }

    /// The JSON text.
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

/// Why no credential could be read from a docker config.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Not JSON, or not of the shape `{"auths": {...}}`.
    #[error("it is not a docker config: expected JSON with an object \"auths\"")]
    NotADockerConfig,
    /// No entry for the wanted host.
    #[error("it has no entry for {host}; its entries are for: {found}")]
    NoEntry {
        /// The wanted host.
        host: String,
        /// The hosts it has entries for, shortened.
        found: String,
    },
    /// The entry has neither `auth` nor `username` and `password` as texts.
    #[error("its entry for {0} has neither a readable \"auth\" nor \"username\" and \"password\"")]
    NoLogin(String),
    /// The entry's `auth` is not base64 of `user:password`.
    #[error("the \"auth\" of its entry for {0} is not the base64 form of user:password")]
    BadAuth(String),
    /// The entry's login could never work.
    #[error("in its entry for {host}, {source}")]
    Invalid {
        /// The host of the entry.
        host: String,
        /// The broken rule.
        source: InvalidCredential,
    },
}

/// The entry for `host` in a docker config. A non-empty `auth` wins over `username` and `password`, as for the kubelet.
///
/// # Errors
/// [`ReadError`] without any of the text.
pub fn read(config: &[u8], host: &RegistryHost) -> Result<Credential, ReadError> {
    let config: Map<String, Value> = serde_json::from_slice(config).map_err(|_| ReadError::NotADockerConfig)?;
    let auths = config.get("auths").and_then(Value::as_object).ok_or(ReadError::NotADockerConfig)?;
    let entry = auths.get(host.as_str()).or_else(|| {
        let mut entries = auths.iter();
        entries.find(|(key, _)| host_of_docker_config_key(key).as_ref() == Some(host)).map(|(_, entry)| entry)
    });
    let Some(entry) = entry else {
        return Err(ReadError::NoEntry { host: host.to_string(), found: shown_hosts(auths.keys()) });
    };
    let text = |key: &str| entry.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let (username, password) = match text("auth") {
        Some(auth) => decode_auth(auth).ok_or_else(|| ReadError::BadAuth(host.to_string()))?,
        None => match (text("username"), text("password")) {
            (Some(username), Some(password)) => (username.to_owned(), password.to_owned()),
            _ => return Err(ReadError::NoLogin(host.to_string())),
        },
    };
    Credential::new(username, password).map_err(|source| ReadError::Invalid { host: host.to_string(), source })
}

fn decode_auth(auth: &str) -> Option<(String, String)> {
    let decoded = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
    let (username, password) = decoded.split_once(':')?;
    Some((username.to_owned(), password.to_owned()))
}

/// The hosts of some keys for a message. Only what parses as an address is shown: a key may hold anything.
fn shown_hosts<'a>(keys: impl Iterator<Item = &'a String>) -> String {
    const SHOWN: usize = 5;
    let mut hosts: Vec<String> = keys.filter_map(|key| host_of_docker_config_key(key)).map(|h| h.to_string()).collect();
    hosts.sort();
    hosts.dedup();
    match hosts.len() {
        0 => "none".to_owned(),
        count if count > SHOWN => format!("{} and {} more", hosts[..SHOWN].join(", "), count - SHOWN),
        _ => hosts.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::host::RegistryUrl;

    fn host(text: &str) -> RegistryHost {
        RegistryUrl::parse(text).unwrap().host().clone()
    }

    fn login(result: Result<Credential, ReadError>) -> Result<(String, String), ReadError> {
        result.map(|credential| (credential.username().to_owned(), credential.password().to_owned()))
    }

    #[test]
    fn reads_back_what_it_writes() {
        let host = host("registry.example.com:5000");
        let credential = Credential::new("user".into(), "pa:ss \"word\"".into()).unwrap();
        let config = DockerConfig::new(&ConfigKey::new(&host, None), &credential);
        assert_eq!(login(read(config.expose(), &host)), Ok(("user".into(), "pa:ss \"word\"".into())));
    }

    #[test]
    fn keys_are_those_that_the_kubelet_matches() {
        let team = RepositoryName::parse("team").unwrap();
        for (host, prefix, expected) in [
            (host("registry.example.com:5000"), None, "registry.example.com:5000"),
            (host("registry.example.com"), Some(&team), "registry.example.com/team/"),
            (RegistryHost::docker_hub(), None, "https://index.docker.io/v1/"),
            (RegistryHost::docker_hub(), Some(&team), "docker.io/team/"),
        ] {
            assert_eq!(ConfigKey::new(&host, prefix).as_str(), expected);
        }
    }

    #[test]
    fn reads_the_forms_that_clients_write() {
        let auth = STANDARD.encode("user:pass:word");
        for (name, config) in [
            ("auth only", format!(r#"{{"auths":{{"r.example":{{"auth":"{auth}"}}}}}}"#)),
            ("key with scheme", format!(r#"{{"auths":{{"https://r.example":{{"auth":"{auth}"}}}}}}"#)),
            ("key with /v1/", format!(r#"{{"auths":{{"https://r.example/v1/":{{"auth":"{auth}"}}}}}}"#)),
            ("plain fields", r#"{"auths":{"r.example":{"username":"user","password":"pass:word"}}}"#.into()),
            (
                "auth wins over plain fields",
                format!(r#"{{"auths":{{"r.example":{{"username":"x","password":"y","auth":"{auth}"}}}}}}"#),
            ),
            ("odd neighbours", format!(r#"{{"auths":{{"a":7,"r.example":{{"auth":"{auth}"}}}},"HttpHeaders":{{}}}}"#)),
        ] {
            let result = login(read(config.as_bytes(), &host("r.example")));
            assert_eq!(result, Ok(("user".into(), "pass:word".into())), "{name}");
        }
    }

    #[test]
    fn says_what_is_wrong_without_a_word_of_the_content() {
        let canary = "hunter2-canary";
        for (config, expected) in [
            ("hunter2-canary".to_owned(), ReadError::NotADockerConfig),
            (r#"["hunter2-canary"]"#.into(), ReadError::NotADockerConfig),
            (r#"[{"r.example":{"password":"hunter2-canary"}}]"#.into(), ReadError::NotADockerConfig),
            (r#"{"auths":"hunter2-canary"}"#.into(), ReadError::NotADockerConfig),
            (
                r#"{"auths":{"other.example":{"password":"hunter2-canary"}}}"#.into(),
                ReadError::NoEntry { host: "r.example".into(), found: "other.example".into() },
            ),
            (r#"{"auths":{"r.example":{"password":"hunter2-canary"}}}"#.into(), ReadError::NoLogin("r.example".into())),
            (r#"{"auths":{"r.example":{"auth":"hunter2-canary"}}}"#.into(), ReadError::BadAuth("r.example".into())),
            (
                format!(r#"{{"auths":{{"r.example":{{"auth":"{}"}}}}}}"#, STANDARD.encode("hunter2-canary")),
                ReadError::BadAuth("r.example".into()),
            ),
            (
                format!(r#"{{"auths":{{"r.example":{{"auth":"{}"}}}}}}"#, STANDARD.encode("user:hunter2-canary\n")),
                ReadError::Invalid { host: "r.example".into(), source: InvalidCredential::ControlInPassword },
            ),
        ] {
            let error = login(read(config.as_bytes(), &host("r.example"))).unwrap_err();
            assert_eq!(error, expected, "{config}");
            assert!(!format!("{error} {error:?}").contains(canary), "{error}");
        }
    }
}
