//! APIs that answer what no API should: told as such, what they issued is ended, and the API token goes nowhere else.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::SignedDuration;
use serde_json::{Value, json};
use testenv::{Listener, Reply, Seen, eventually};

use super::{prepared, trouble};
use crate::scenario::{DEADLINE, WRONG, shared};

/// The API token, which would be noticed anywhere.
const TOKEN: &str = "dop_v1_5c21f7e09ab34d68";

/// What the API issues.
const ISSUED: &str = "dor_v1_90be44c7d1f2a863";

/// What the API answers to a request for a credential.
struct Case {
    name: &'static str,
    reply: fn(elsewhere: &str) -> Reply,
    /// Whether something in the answer can be revoked.
    is_revoked: bool,
}

fn config(auth: &str) -> Value {
    json!({"auth": STANDARD.encode(auth)})
}

fn good() -> Value {
    config(&format!("owner@example.com:{ISSUED}"))
}

fn auths(auths: Value) -> Reply {
    Reply::status(200).json(&json!({ "auths": auths }))
}

const CASES: &[Case] = &[
    Case { name: "no-auth", reply: |_| auths(json!({"127.0.0.1:1": {}})), is_revoked: false },
    Case { name: "no-auths", reply: |_| Reply::status(200).json(&json!({})), is_revoked: false },
    Case { name: "empty", reply: |_| Reply::status(200), is_revoked: false },
    Case { name: "garbage", reply: |_| Reply::status(200).body("<html>dor_v1_"), is_revoked: false },
    Case { name: "no-base64", reply: |_| auths(json!({"127.0.0.1:1": {"auth": "%%%"}})), is_revoked: false },
    Case { name: "no-colon", reply: |_| auths(json!({"127.0.0.1:1": config(ISSUED)})), is_revoked: true },
    Case { name: "no-user", reply: |_| auths(json!({"127.0.0.1:1": config(&format!(":{ISSUED}"))})), is_revoked: true },
    Case { name: "long", reply: |_| Reply::status(200).body(vec![b' '; 10 << 20]), is_revoked: false },
    Case { name: "endless", reply: |_| Reply::status(200).endless_body(), is_revoked: false },
    Case { name: "no-host", reply: |_| auths(json!({"not a host": good()})), is_revoked: true },
    Case { name: "hub", reply: |_| auths(json!({"docker.io": good()})), is_revoked: true },
    Case {
        name: "two-hosts",
        reply: |elsewhere| auths(json!({"127.0.0.1:1": good(), elsewhere: good()})),
        is_revoked: true,
    },
    Case {
        name: "redirect",
        reply: |elsewhere| Reply::status(302).header("Location", &format!("http://{elsewhere}/v2/x")),
        is_revoked: false,
    },
    Case {
        name: "redirect-for-good",
        reply: |elsewhere| Reply::status(308).header("Location", &format!("http://{elsewhere}/v2/x")),
        is_revoked: false,
    },
];

fn is_revocation(seen: &Seen) -> bool {
    seen.method == "POST" && seen.path() == "/v1/oauth/revoke"
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_none_are_told_as_such_and_what_they_issued_is_revoked() -> Result<()> {
    let mut scenario = prepared(shared().await?, "scripted", 60).await?;
    scenario.start_operator().await?;
    scenario.write_secret("api", "Opaque", json!({"token": TOKEN})).await?;
    let elsewhere = Listener::plain(|_| Reply::status(200))?;
    let mut apis = vec![];
    for Case { name, reply, is_revoked } in CASES {
        let host = elsewhere.host();
        let api = Listener::plain(move |seen| if is_revocation(seen) { Reply::status(204) } else { reply(&host) })?;
        let spec = json!({"provider": {"digitalocean": {
            "registryName": "shop", "apiUrl": api.url(), "secretRef": {"name": "api"},
        }}});
        scenario.connect(name, spec).await?;
        apis.push((name, is_revoked, api));
    }
    for (name, is_revoked, api) in &apis {
        let told = scenario.ready(name, "False", "ProtocolError").await?;
        let trouble = trouble(&told).context("no trouble")?;
        assert_eq!(trouble.field.as_deref(), Some("spec.provider.digitalocean.apiUrl"), "{name}: {}", trouble.message);
        assert!(trouble.hint.is_some(), "{name}");
        let revoked: Vec<_> = api.requests().into_iter().filter(is_revocation).collect();
        assert_eq!(!revoked.is_empty(), **is_revoked, "{name}: {}", trouble.message);
        for revocation in revoked {
            assert_eq!(revocation.body, format!("token={ISSUED}").into_bytes(), "{name}");
            assert_eq!(revocation.bearer(), Some(ISSUED), "{name}");
        }
        assert_eq!(trouble.message.contains("was revoked"), **is_revoked, "{name}: {}", trouble.message);
        ensure!(!trouble.message.contains("dor_v1_"), "{name}: {}", trouble.message);
        assert!(scenario.secrets().get_opt(name).await?.is_none(), "{name}");
    }
    assert_eq!(elsewhere.connections(), 0);
    // On a busy machine an answer may not have come in time before it could be told what is wrong with it.
    let asked = |api: &Listener| api.requests().iter().filter(|seen| !is_revocation(seen)).count();
    let before: Vec<usize> = apis.iter().map(|(_, _, api)| asked(api)).collect();
    scenario.minutes(10).await?;
    for ((name, _, api), before) in apis.iter().zip(before) {
        let asked = asked(api) - before;
        assert!(asked <= 6, "{name}: {asked} requests in ten minutes");
    }
    scenario.judge().await
}

/// What is changed in an answer.
type Change = fn(&mut Value);

/// An IONOS whose answer to a new token says this of its end and its login.
fn ionos(change: Change, host: Arc<str>) -> Result<Listener> {
    let id = "6a1d0fd4-4b4a-4e4f-9b4e-2f0c1c4c6c1e";
    Listener::plain(move |seen| match (seen.method.as_str(), seen.path()) {
        ("GET", "/registries") => Reply::status(200).json(&json!({"items": [{
            "id": id, "metadata": {"state": "Running"}, "properties": {"name": "shop", "hostname": &*host},
        }]})),
        ("POST", _) => {
            let asked: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
            let mut answer = json!({"id": "0d5e7f52-4b4a-4e4f-9b4e-2f0c1c4c6c1e", "properties": {
                "name": asked["properties"]["name"], "expiryDate": asked["properties"]["expiryDate"],
                "status": "enabled", "credentials": {"username": asked["properties"]["name"], "password": WRONG},
            }});
            change(&mut answer);
            Reply::status(201).json(&answer)
        }
        ("DELETE", _) => Reply::status(204),
        _ => Reply::status(404),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_ionos_that_has_ended_or_cannot_be_used_is_deleted_again() -> Result<()> {
    let mut scenario = prepared(shared().await?, "token-scripts", 60).await?;
    scenario.start_operator().await?;
    scenario.write_secret("api", "Opaque", json!({"token": TOKEN})).await?;
    let registry = Listener::plain(|_| Reply::status(503))?;
    let table: [(&str, Change); 5] = [
        ("past", |answer| answer["properties"]["expiryDate"] = "2020-01-01T00:00:00Z".into()),
        ("no-end", |answer| answer["properties"]["expiryDate"] = Value::Null),
        ("no-password", |answer| answer["properties"]["credentials"]["password"] = "".into()),
        ("no-login", |answer| answer["properties"]["credentials"] = Value::Null),
        ("nonsense", |answer| answer["properties"]["expiryDate"] = "soon".into()),
    ];
    for (name, change) in table {
        let api = ionos(change, registry.host().into())?;
        let spec = json!({"provider": {"ionos": {
            "registryName": "shop", "apiUrl": api.url(), "secretRef": {"name": "api"},
        }}});
        scenario.connect(name, spec).await?;
        scenario.ready(name, "False", "ProtocolError").await.with_context(|| name.to_owned())?;
        eventually(format!("{name}: the end of the token"), DEADLINE, async || {
            let methods: Vec<_> = api.requests().into_iter().map(|seen| seen.method).collect();
            ensure!(methods.iter().any(|method| method == "DELETE"), "{methods:?}");
            Ok(Some(()))
        })
        .await?;
        assert!(scenario.secrets().get_opt(name).await?.is_none(), "{name}");
    }
    assert_eq!(registry.connections(), 0, "no such login is ever tried");
    scenario.minutes(SignedDuration::from_mins(2).as_mins()).await?;
    scenario.judge().await
}
