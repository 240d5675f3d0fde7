//! Values for the unit tests of the steps: a connection that was proven and delivered, and ways to change it.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Context, mapper,
    memory::Memory,
    observe::Observed,
    plan::{Write, plan},
    request::Requests,
    secret_meta::SecretMeta,
    sighting::SecretState,
    validate::{Connection, Site, validate},
    verify::Proven,
};
use crate::{
    api::{RegistryConnection, status::DeliveredCredential},
    cli::{LogFormat, RunArguments},
    clock::Clock,
    domain::{
        credential::Credential,
        ledger::{Entry, Issuer},
    },
    run::{self, Outside},
};

/// When the connection was made, tested and delivered.
pub(super) fn created() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

/// Some minutes later.
pub(super) fn minutes_later(minutes: i64) -> Timestamp {
    created() + jiff::SignedDuration::from_mins(minutes)
}

/// A fresh connection to `r.example`, changed as a test wants.
pub(crate) fn object(change: impl FnOnce(&mut Value)) -> RegistryConnection {
    let mut object = json!({
        "apiVersion": "regcred.dev/v1alpha1", "kind": "RegistryConnection",
        "metadata": {
            "name": "images", "namespace": "shop", "uid": "0123456789", "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"provider": {"generic": {"registryUrl": "https://r.example", "secretRef": {"name": "login"}}}},
    });
    change(&mut object);
    serde_json::from_value(object).unwrap()
}

/// The same after it was proven and delivered.
pub(crate) fn delivered(change: impl FnOnce(&mut Value)) -> RegistryConnection {
    object(|object| {
        let condition = |kind: &str, reason: &str| {
            json!({
                "type": kind, "status": "True", "reason": reason, "message": "m", "observedGeneration": 1,
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            })
        };
        object["status"] = json!({
            "observedGeneration": 1, "provider": "generic", "registryHost": "r.example", "secretName": "images",
            "observedInputs": [{"kind": "Secret", "name": "login", "uid": "s", "resourceVersion": "1"}],
            "credential": {"revision": "r1"},
            "lastTest": {"time": "2026-01-01T00:00:00Z", "verdict": "LoginProven"},
            "lastRefreshAt": "2026-01-01T00:00:00Z",
            "conditions": [
                condition("Ready", "LoginProven"), condition("CredentialsValid", "LoginProven"),
                condition("Delivered", "Delivered"),
            ],
        });
        change(object);
    })
}

/// The connection as the later steps see it.
pub(super) fn connection(object: &RegistryConnection) -> Connection {
    validate(object, false).unwrap_or_else(|problem| panic!("{problem:?}"))
}

/// The registry of a connection that names it.
pub(super) fn site(connection: &Connection) -> Site {
    connection.site.clone().unwrap()
}

/// A Secret that exists, in some version.
pub(super) fn present(uid: &str, resource_version: &str) -> SecretState {
    SecretState::Present(Arc::new(SecretMeta {
        uid: uid.into(),
        resource_version: resource_version.into(),
        ..SecretMeta::default()
    }))
}

/// A login that counts as proven.
pub(super) fn proven() -> Proven {
    Proven::for_test(Credential::new("user".into(), "password".into()).unwrap())
}

/// A delivered credential of this name.
pub(super) fn named(revision: &str) -> DeliveredCredential {
    DeliveredCredential { revision: revision.into(), id: None, issued_at: None, expires_at: None }
}

/// The target as a plan would make it for a revision.
pub(super) fn target(connection: &Connection, revision: &str) -> SecretState {
    holding(connection, &named(revision))
}

/// The target as a plan would make it for this credential.
pub(super) fn holding(connection: &Connection, credential: &DeliveredCredential) -> SecretState {
    let plan = plan(connection, &site(connection), &proven(), credential, &SecretState::Absent);
    let Write::Create(secret) = &plan.writes[0].write else { panic!("not a creation") };
    let mut secret = (**secret).clone();
    secret.metadata.uid = Some("t".into());
    secret.metadata.resource_version = Some("5".into());
    SecretState::Present(Arc::new(SecretMeta { data_trusted: true, ..SecretMeta::from_secret(&secret) }))
}

/// The same connection if DigitalOcean issued its credentials, for the same registry.
pub(super) fn issuing(object: &RegistryConnection) -> Connection {
    let provider = json!({"digitalocean": {"registryName": "team", "secretRef": {"name": "login"}}});
    Connection { provider: serde_json::from_value(provider).unwrap(), ..connection(object) }
}

/// A credential that such a connection had issued, at a minute, for some minutes.
pub(super) fn entry(connection: &Connection, revision: &str, minute: i64, life: i64) -> Entry {
    Entry {
        revision: revision.into(),
        id: None,
        credential: Credential::new("user".into(), format!("password-{revision}")).unwrap(),
        issued_at: minutes_later(minute),
        expires_at: minutes_later(minute + life),
        registry: site(connection).endpoint.registry.host().clone(),
        plain_http: false,
        config_key: Some(site(connection).config_key.as_str().into()),
        proven: true,
        refused: false,
        issuer: Issuer::Digitalocean { revoke_url: "https://revoke.example".into() },
        terms: connection.provider.terms(),
        request: None,
        api_digest: None,
    }
}

/// Everything as it should be around an object: its source as it was judged, its target as it was delivered.
pub(super) fn observed(object: RegistryConnection) -> Observed {
    Observed {
        status: object.status.clone().unwrap_or_default(),
        source: present("s", "1"),
        authority: None,
        target: holding(
            &connection(&object),
            object.status.as_ref().and_then(|status| status.credential.as_ref()).unwrap_or(&named("r1")),
        ),
        target_key: mapper::target(&object),
        ledger: SecretState::Unknown,
        memory: Memory::default(),
        requests: Requests::default(),
        object: Arc::new(object),
    }
}

/// What passes work with, with an API server that is not there.
pub(super) fn nowhere() -> Context {
    let arguments = RunArguments {
        allow_loopback: true,
        ca_file: None,
        https_proxy: None,
        no_proxy: None,
        forbid_private_addresses: false,
        revocation_grace: jiff::SignedDuration::from_mins(10),
        metrics_addr: ([127, 0, 0, 1], 0).into(),
        log_format: LogFormat::Text,
        namespace: "regcred-system".into(),
    };
    let client = kube::Client::try_from(kube::Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap();
    run::context(client, &arguments, Clock::system(), Outside::default()).unwrap()
}
