//! Configs of which the logins are known: those that regcred writes, and those that others write.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use regcred::domain::{
    credential::Credential,
    docker_config::{ReadError, read},
    host::RegistryHost,
    image::RepositoryName,
};
use serde_json::{Value, json};

use crate::{
    config,
    holds::docker_config::{holds, written_holds},
    host::host,
};

/// The parts of a login: short and long, of any characters that may occur, quotes and backslashes above all.
fn part() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{1,20}", "[\"\\\\<>&:a ]{1,8}", "[^\\p{Cc}]{1,12}", "[A-Za-z0-9_=/+.-]{100,300}"]
}

fn credential() -> impl Strategy<Value = (String, String)> {
    (part().prop_map(|text| text.replace(':', "")), part()).prop_filter("an empty name", |(name, _)| !name.is_empty())
}

/// A text that no sentence of regcred's own has a part of.
fn secret() -> impl Strategy<Value = String> {
    "[XYZQ0-9$§]{4,16}"
}

/// One entry with the secrets in whatever place and form.
fn entry() -> impl Strategy<Value = (Value, Vec<String>)> {
    (secret(), secret(), secret(), 0..9_usize).prop_map(|(name, word, third, form)| {
        let auth = STANDARD.encode(format!("{name}:{word}"));
        let entry = match form {
            0 => json!({ "auth": &word }),
            1 => json!({ "auth": STANDARD.encode(&word) }),
            2 => json!({ "auth": STANDARD.encode(format!("{name}:{word}\n")), "password": &third }),
            3 => json!({ "username": &name, "password": [&word] }),
            4 => json!({ "username": "", "password": &word, "identitytoken": &third }),
            5 => json!({ "username": format!("{name}:{third}"), "password": &word }),
            6 => json!([&name, &word]),
            7 => json!(&word),
            _ => json!({ "auth": format!("{auth}="), "email": &third }),
        };
        (entry, vec![name, word, third, auth])
    })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_written_is_read_back_by_regcred_and_by_the_kubelet(
        (username, password) in credential(),
        host in host(),
        prefix in "([a-z0-9]{1,3}(-[a-z]{1,3})?(/[a-z]{1,4})?)?",
    ) {
        let host = RegistryHost::parse(&host).unwrap();
        // All of Docker Hub is written under one name.
        let host = if host.is_docker_hub() { RegistryHost::docker_hub() } else { host };
        let credential = Credential::new(username, password).map_err(|error| TestCaseError::fail(error.to_string()))?;
        written_holds(&host, RepositoryName::parse(&prefix).as_ref(), &credential);
    }

    #[test]
    fn the_login_for_a_host_is_found_among_others_in_every_form(
        (username, password) in credential(),
        host in host(),
        others in proptest::collection::btree_map(host_of_another(), entry(), 0..4),
        key in 0..5_usize,
        is_auth in any::<bool>(),
    ) {
        let key = match key {
            0 => host.clone(),
            1 => format!("https://{host}"),
            2 => format!("https://{host}/v1/"),
            3 => format!("{host}/v2/"),
            _ => format!("http://{}/", host.to_uppercase()),
        };
        let entry = if is_auth {
            json!({ "auth": STANDARD.encode(format!("{username}:{password}")), "username": "x", "password": 7 })
        } else {
            json!({ "auth": "", "username": &username, "password": &password })
        };
        let mut auths: serde_json::Map<String, Value> =
            others.into_iter().map(|(key, (entry, _))| (key, entry)).collect();
        auths.insert(key, entry);
        let host = RegistryHost::parse(&host).unwrap();
        let host = if host.is_docker_hub() { RegistryHost::docker_hub() } else { host };
        let config = json!({ "auths": auths, "credsStore": "x" }).to_string();
        let found = read(config.as_bytes(), &host).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!((found.username(), found.password()), (username.as_str(), password.as_str()));
    }

    #[test]
    fn no_error_has_a_part_of_a_secret(
        entries in proptest::collection::vec((host_of_another(), entry()), 1..4),
        wanted in any::<prop::sample::Index>(),
        is_there in any::<bool>(),
        is_broken in any::<bool>(),
    ) {
        let secrets: Vec<&String> = entries.iter().flat_map(|(_, (_, secrets))| secrets).collect();
        let auths: serde_json::Map<String, Value> =
            entries.iter().map(|(key, (entry, _))| (key.clone(), entry.clone())).collect();
        let mut config = json!({ "auths": auths }).to_string();
        if is_broken {
            config.pop();
        }
        let host = if is_there { wanted.get(&entries).0.as_str() } else { "r.example" };
        let error = match read(config.as_bytes(), &RegistryHost::parse(host).unwrap()) {
            Err(error) => error,
            Ok(_) => return Err(TestCaseError::fail("no entry here is a login")),
        };
        prop_assert_eq!(is_broken, error == ReadError::NotADockerConfig);
        let said = format!("{error} {error:?}");
        for secret in secrets {
            let characters: Vec<char> = secret.chars().collect();
            for piece in characters.windows(4).map(|piece| piece.iter().collect::<String>()) {
                prop_assert!(!said.contains(&piece), "{piece} in {said}");
            }
        }
        holds(config.as_bytes());
    }

    #[test]
    fn of_anything_else_nothing_is_quoted(
        text in "[\\[{]?(\"(auths|auth|username|password|r\\.example|docker\\.io|dTpw|)\"|:|,|\\{|\\}|\\[|\\]|7|null| ){0,16}",
        bytes in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        holds(text.as_bytes());
        holds(&bytes);
    }
}

/// A host that is no other test's.
fn host_of_another() -> impl Strategy<Value = String> {
    "[a-z]{1,8}\\.other\\.example(:500[0-9])?"
}
