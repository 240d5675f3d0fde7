//! A docker config is read as it stands, is written as every client reads it, and is never quoted in an error.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use regcred::domain::{
    credential::Credential,
    docker_config::{ConfigKey, DockerConfig, ReadError, read},
    host::{RegistryHost, host_of_docker_config_key},
    image::RepositoryName,
};
use serde_json::{Map, Value};

/// What holds for any bytes as a config.
pub fn holds(config: &[u8]) {
    let parsed: Option<Value> = serde_json::from_slice(config).ok();
    let auths = parsed.as_ref().and_then(Value::as_object).and_then(|config| config.get("auths")?.as_object());
    let keys = auths.iter().flat_map(|auths| auths.keys());
    let mut hosts: BTreeSet<RegistryHost> = keys.filter_map(|key| host_of_docker_config_key(key)).collect();
    hosts.insert(RegistryHost::docker_hub());
    hosts.extend(RegistryHost::parse("r.example"));
    for host in hosts {
        let login = |config: &[u8]| {
            let login = read(config, &host);
            login.map(|credential| (credential.username().to_owned(), credential.password().to_owned()))
        };
        let Some(auths) = auths else {
            assert_eq!(login(config), Err(ReadError::NotADockerConfig));
            continue;
        };
        // Written anew, every key occurs once.
        let anew = Value::from(Map::from_iter([("auths".to_owned(), Value::from(auths.clone()))])).to_string();
        assert_eq!(login(anew.as_bytes()), expected(auths, &host));
        match login(config) {
            Ok(found) => {
                assert_eq!(Ok(&found), expected(auths, &host).as_ref());
                if let Ok(credential) = Credential::new(found.0, found.1) {
                    written_holds(&host, None, &credential);
                }
            }
            Err(error) => is_said_without_values(&error, auths, &host),
        }
    }
}

/// What an entry says, step by step as the kubelet reads it.
fn expected(auths: &Map<String, Value>, host: &RegistryHost) -> Result<(String, String), ReadError> {
    let is_for_host = |key: &&String| host_of_docker_config_key(key).as_ref() == Some(host);
    let Some(entry) = auths.get(host.as_str()).or_else(|| auths.get(auths.keys().find(is_for_host)?)) else {
        return Err(read(&without_values(auths), host).map(|_| ()).expect_err("there is no entry"));
    };
    let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let mut login = (text("username"), text("password"));
    if !text("auth").is_empty() {
        let bad = || ReadError::BadAuth(host.to_string());
        let decoded = STANDARD.decode(text("auth").trim()).map_err(|_| bad())?;
        let decoded = String::from_utf8(decoded).map_err(|_| bad())?;
        let colon = decoded.find(':').ok_or_else(bad)?;
        login = (decoded[..colon].to_owned(), decoded[colon + 1..].to_owned());
    } else if login.0.is_empty() || login.1.is_empty() {
        return Err(ReadError::NoLogin(host.to_string()));
    }
    match Credential::new(login.0.clone(), login.1.clone()) {
        Ok(_) => Ok(login),
        Err(source) => Err(ReadError::Invalid { host: host.to_string(), source }),
    }
}

/// The same keys, and nothing in them.
fn without_values(auths: &Map<String, Value>) -> Vec<u8> {
    let keys: Map<String, Value> = auths.keys().map(|key| (key.clone(), Value::Null)).collect();
    Value::from(Map::from_iter([("auths".to_owned(), Value::from(keys))])).to_string().into_bytes()
}

/// The texts of errors have room for the host that was asked for and for the hosts of keys, and for nothing else.
fn is_said_without_values(error: &ReadError, auths: &Map<String, Value>, wanted: &RegistryHost) {
    match error {
        ReadError::NotADockerConfig => {}
        ReadError::NoEntry { host, found } => {
            assert_eq!(host, wanted.as_str());
            let hosts = || auths.keys().filter_map(|key| host_of_docker_config_key(key));
            for shown in found.split(", ") {
                let shown = shown.split_once(" and ").map_or(shown, |(shown, _)| shown);
                assert!(
                    shown == "none" || hosts().any(|host| host.as_str() == shown),
                    "{shown:?} is the host of no key"
                );
            }
        }
        ReadError::NoLogin(host) | ReadError::BadAuth(host) | ReadError::Invalid { host, .. } => {
            assert_eq!(host, wanted.as_str());
        }
    }
}

/// What holds for a config that regcred writes: regcred and the kubelet read the same login from it, for the images it is
/// meant for and for no others.
pub fn written_holds(host: &RegistryHost, prefix: Option<&RepositoryName>, credential: &Credential) {
    let key = ConfigKey::new(host, prefix);
    let config = DockerConfig::new(&key, credential);
    let login = (credential.username(), credential.password());
    let parsed: Value = serde_json::from_slice(config.expose()).expect("JSON");
    let auths = parsed["auths"].as_object().expect("an object");
    assert_eq!((auths.len(), parsed.as_object().map(Map::len)), (1, Some(1)));
    let entry = &auths[key.as_str()];
    assert_eq!((entry["username"].as_str(), entry["password"].as_str()), (Some(login.0), Some(login.1)));
    let auth = STANDARD.decode(entry["auth"].as_str().expect("a text")).expect("standard base64 with padding");
    assert_eq!(auth, format!("{}:{}", login.0, login.1).as_bytes());
    assert!(credential.appears_in(&String::from_utf8_lossy(config.expose())), "it does not know itself again");

    let image_host = if host.is_docker_hub() { RegistryHost::docker_hub() } else { host.clone() };
    let found = read(config.expose(), &image_host);
    match prefix {
        None => {
            let found = found.unwrap_or_else(|error| panic!("{}: {error}", key.as_str()));
            assert_eq!((found.username(), found.password()), login);
        }
        // What belongs to a part of a registry is no login for the whole.
        Some(_) => assert!(matches!(found, Err(ReadError::NoEntry { .. }))),
    }
    let below = prefix.map(|prefix| format!("{prefix}/")).unwrap_or_default();
    assert!(serves(&key, &format!("{host}/{below}app")));
    assert!(!serves(&key, &format!("{host}.example/{below}app")));
    if let Some(prefix) = prefix {
        assert!(!serves(&key, &format!("{host}/{prefix}-b/app")));
    }
}

/// Whether the kubelet tries the login of a key for an image (`BasicDockerKeyring.Lookup`), for keys without wildcards:
/// the same host and port, and the key's path at the beginning of the image's. A key of `index.docker.io` without a path
/// serves Docker Hub, whatever its images are called.
fn serves(key: &ConfigKey, image: &str) -> bool {
    let address = key.as_str().strip_prefix("https://").unwrap_or(key.as_str());
    let (host, path) = address.split_at(address.find('/').unwrap_or(address.len()));
    let path = path.strip_prefix("/v1/").or(path.strip_prefix("/v2/")).unwrap_or(path);
    let (image_host, image_path) = image.split_at(image.find('/').unwrap_or(image.len()));
    let is_docker_hub = host == "index.docker.io"
        && path.is_empty()
        && RegistryHost::parse(image_host).is_ok_and(|host| host.is_docker_hub());
    is_docker_hub || (host == image_host && image_path.starts_with(path))
}
