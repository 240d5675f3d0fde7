//! Values for the unit tests of the steps: a connection that was proven and delivered, and ways to change it.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Context, mapper,
    memory::{Denial, Memory},
    observe::Observed,
    plan::{Turn, Write, plan},
    policy::Delivery,
    request::Requests,
    secret_meta::SecretMeta,
    select::Served,
    sighting::SecretState,
    stored::{Sent, Stored},
    tally::Tally,
    targets::Targets,
    validate::{Connection, Site, validate},
    verify::Proven,
};
use crate::{
    api::{
        Declared, Reason, RegistryConnection,
        status::{self, DeliveredCredential},
    },
    cli::{LogFormat, RunArguments},
    clock::Clock,
    domain::{
        credential::Credential,
        ledger::{Entry, Issuer},
    },
    problem::Problem,
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
pub(crate) fn object_json(change: impl FnOnce(&mut Value)) -> Value {
    let mut object = json!({
        "apiVersion": "regcred.dev/v1alpha1", "kind": "RegistryConnection",
        "metadata": {
            "name": "images", "namespace": "shop", "uid": "0123456789", "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"provider": {"generic": {"registryUrl": "https://r.example", "secretRef": {"name": "login"}}}},
    });
    change(&mut object);
    object
}

/// The same after it was proven and delivered.
pub(crate) fn delivered_json(change: impl FnOnce(&mut Value)) -> Value {
    object_json(|object| {
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

/// The same, as the later steps see them.
pub(crate) fn object(change: impl FnOnce(&mut Value)) -> Declared {
    declared(object_json(change))
}

/// The same after it was proven and delivered.
pub(crate) fn delivered(change: impl FnOnce(&mut Value)) -> Declared {
    declared(delivered_json(change))
}

fn declared(object: Value) -> Declared {
    serde_json::from_value::<RegistryConnection>(object).unwrap().into()
}

/// An object as the API server stores it.
pub(crate) fn stored(object: Value) -> Stored {
    serde_json::from_value::<Sent<RegistryConnection>>(object).unwrap().stored
}

/// The connection as the later steps see it.
pub(super) fn connection(object: &Declared) -> Connection {
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

/// The only target of a connection, in this state.
pub(super) fn one(connection: &Connection, state: SecretState) -> Targets {
    let namespaces = connection.reference.namespace().map(Arc::from).into_iter().collect();
    Targets::new(&connection.target.name, Served { namespaces, ..Served::default() }, |_| state.clone())
}

/// How it stands if that follows for the connection.
pub(super) fn standing(delivery: Delivery) -> Tally {
    Tally { delivery, targets: status::Targets::default() }
}

/// The API server does not let its target be written until then.
pub(super) fn deny(observed: &mut Observed, until: Timestamp) {
    let revision = observed.status.credential.as_ref().map(|credential| credential.revision.clone());
    let state = observed.targets.state("shop").cloned().unwrap();
    let denial = Denial {
        count: 0,
        since: created(),
        not_before: until,
        basis: observed.denial_basis(revision.as_deref(), &state),
        in_namespace: None,
        is_decided: true,
        problem: Problem::new(Reason::Forbidden, "m"),
    };
    observed.memory.denials = Arc::new([(Arc::from("shop"), denial)].into());
}

/// The target as a plan would make it for a revision.
pub(super) fn target(connection: &Connection, revision: &str) -> SecretState {
    holding(connection, &named(revision))
}

/// The target as a plan would make it for this credential.
pub(super) fn holding(connection: &Connection, credential: &DeliveredCredential) -> SecretState {
    holding_in(connection, connection.reference.namespace().unwrap_or_default(), credential)
}

/// The same in one of many namespaces.
pub(super) fn holding_in(connection: &Connection, namespace: &str, credential: &DeliveredCredential) -> SecretState {
    let served = Served { namespaces: vec![Arc::from(namespace)], ..Served::default() };
    let targets = Targets::new(&connection.target.name, served, |_| SecretState::Absent);
    let mut plan = plan(connection, &proven(), credential, &targets, |_, _| Turn::Soon);
    let Some(Write::Create(mut secret)) = plan.next().map(|planned| planned.write) else { panic!("not a creation") };
    secret.metadata.uid = Some("t".into());
    secret.metadata.resource_version = Some("5".into());
    SecretState::Present(Arc::new(SecretMeta { data_trusted: true, ..SecretMeta::from_secret(&secret) }))
}

/// The same connection if DigitalOcean issued its credentials, for the same registry.
pub(super) fn issuing(object: &Declared) -> Connection {
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
pub(super) fn observed(object: Declared) -> Observed {
    Observed {
        links: None,
        is_hurried: false,
        status: object.status.clone().unwrap_or_default(),
        source: present("s", "1"),
        authority: None,
        source_key: mapper::source(&object, "regcred-system"),
        targets: {
            let (connection, delivered) = (connection(&object), object.status.as_ref());
            let delivered = delivered.and_then(|status| status.credential.clone());
            one(&connection, holding(&connection, &delivered.unwrap_or(named("r1"))))
        },
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
        require_source_host: false,
        revocation_grace: jiff::SignedDuration::from_mins(10),
        metrics_addr: ([127, 0, 0, 1], 0).into(),
        log_format: LogFormat::Text,
        max_writes_per_second: None,
        installation: "regcred".into(),
        namespace: "regcred-system".into(),
    };
    let client = kube::Client::try_from(kube::Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap();
    run::context(client, &arguments, Clock::system(), Outside::default()).unwrap()
}
