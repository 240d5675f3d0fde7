use serde_json::json;

use super::*;
use crate::{
    api::provider::{DigitalOcean, Ionos},
    domain::ledger::SecretPlace,
    problem::field,
    provider::fixture::{World, problem, secret},
};

fn digital_ocean(more: &Value) -> DigitalOcean {
    let mut spec = json!({"registryName": "team", "secretRef": {"name": "api"}});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(spec).unwrap()
}

fn ionos(more: &Value) -> Ionos {
    let mut spec = json!({"registryName": "demo", "secretRef": {"name": "api"}});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(spec).unwrap()
}

#[test]
fn an_api_is_where_the_provider_has_it_or_where_the_spec_says() {
    for (given, allow_loopback, at_digital_ocean, at_ionos) in [
        (json!({}), false, Some("https://api.digitalocean.com/"), Some("https://api.ionos.com/containerregistries")),
        (json!({"apiUrl": "https://a.example/x/"}), false, Some("https://a.example/x"), Some("https://a.example/x")),
        (json!({"apiUrl": "http://127.0.0.1:1"}), true, Some("http://127.0.0.1:1/"), Some("http://127.0.0.1:1/")),
        (json!({"apiUrl": "http://127.0.0.1:1"}), false, None, None),
        (json!({"apiUrl": "http://a.example"}), true, None, None),
    ] {
        let (digital_ocean, ionos) = (digital_ocean(&given), ionos(&given));
        for (provider, expected, field) in [
            (IssuedBy::Digitalocean(&digital_ocean), at_digital_ocean, field::DIGITALOCEAN_API_URL),
            (IssuedBy::Ionos(&ionos), at_ionos, field::IONOS_API_URL),
        ] {
            match (api(provider, allow_loopback), expected) {
                (Ok(api), expected) => assert_eq!(Some(api.url.as_str()), expected, "{given}"),
                (Err(problem), None) => {
                    assert_eq!((problem.reason, problem.field), (Reason::InvalidSpec, Some(field)), "{given}");
                    assert!(problem.hint.is_some());
                }
                (Err(problem), Some(_)) => panic!("{given}: {problem:?}"),
            }
        }
    }
}

#[test]
fn a_registry_is_reached_as_far_as_who_named_it_may_decide() {
    for (given, registry, plain_http, private, this_machine) in [
        (json!({}), "registry.digitalocean.com", false, true, false),
        (json!({"apiUrl": "https://a.example:8443"}), "a.example:5000", false, true, false),
        (json!({"apiUrl": "https://a.example"}), "10.0.0.7:5000", false, false, false),
        (json!({"apiUrl": "https://10.0.0.7"}), "10.0.0.7:5000", false, true, false),
        (json!({"apiUrl": "http://127.0.0.1:1"}), "127.0.0.1:5000", true, true, true),
        (json!({"apiUrl": "https://127.0.0.1:1"}), "127.0.0.1:5000", false, true, true),
        (json!({"apiUrl": "http://127.0.0.1:1"}), "r.example", false, false, false),
    ] {
        let provider = digital_ocean(&given);
        let api = api(IssuedBy::Digitalocean(&provider), true).unwrap();
        let endpoint = api.endpoint(&RegistryHost::parse(registry).unwrap()).unwrap();
        let found = (endpoint.registry.is_plain_http(), endpoint.private, endpoint.this_machine);
        assert_eq!(found, (plain_http, private, this_machine), "{given} {registry}");
    }
}

#[test]
fn a_life_is_what_the_spec_says_or_three_intervals_within_what_is_possible() {
    let minutes = |number: u64| Duration::from_secs(number * 60);
    for (given, interval, expected) in [
        (json!({}), minutes(60), minutes(180)),
        (json!({}), minutes(5), minutes(60)),
        (json!({}), Duration::MAX, Duration::from_secs(1_576_800_000)),
        (json!({"expirySeconds": 7200}), minutes(5), minutes(120)),
        (json!({"expirySeconds": 1}), minutes(5), minutes(10)),
        (json!({"expirySeconds": -7200}), minutes(5), minutes(10)),
        (json!({"expirySeconds": i64::MAX}), minutes(5), Duration::from_secs(1_576_800_000)),
    ] {
        assert_eq!(life(IssuedBy::Digitalocean(&digital_ocean(&given)), interval), expected, "{given}");
    }
    for (given, interval, expected) in [
        (json!({}), minutes(60), minutes(180)),
        (json!({}), minutes(400_000), minutes(525_600)),
        (json!({"tokenTtlMinutes": 120}), minutes(5), minutes(120)),
        (json!({"tokenTtlMinutes": i64::MAX}), minutes(5), minutes(525_600)),
        (json!({"tokenTtlMinutes": i64::MIN}), minutes(5), minutes(10)),
    ] {
        assert_eq!(life(IssuedBy::Ionos(&ionos(&given)), interval), expected, "{given}");
    }
}

#[tokio::test]
async fn access_is_read_from_the_secret_and_every_problem_points_there() {
    let bound = |host: &str| {
        let mut secret = secret("api", "Opaque", &[("token", "canary")]);
        secret["metadata"]["annotations"] = json!({"regcred.dev/registry-host": host});
        secret
    };
    let (digital_ocean, ionos) = (digital_ocean(&json!({})), ionos(&json!({})));
    for (name, secrets, expected) in [
        ("there", vec![secret("api", "Opaque", &[("token", "canary")])], None),
        ("bound", vec![bound("api.digitalocean.com,api.ionos.com")], None),
        ("bound elsewhere", vec![bound("registry.digitalocean.com")], Some(Reason::HostMismatch)),
        ("missing", vec![], Some(Reason::SecretNotFound)),
        ("without a key", vec![secret("api", "Opaque", &[])], Some(Reason::SecretKeyMissing)),
        ("a ledger", vec![secret("api", "regcred.dev/ledger", &[("token", "canary")])], Some(Reason::SecretMalformed)),
    ] {
        let world = World::with(secrets);
        for (provider, field) in [
            (IssuedBy::Digitalocean(&digital_ocean), field::DIGITALOCEAN_SECRET_REF),
            (IssuedBy::Ionos(&ionos), field::IONOS_SECRET_REF),
        ] {
            let result = access(&world.io(), provider).await;
            let Some(reason) = expected else {
                let (access, input) = result.unwrap_or_else(|error| panic!("{name}: {error}"));
                assert!(access.digest("").is_some() && input.resource_version == "7", "{name}");
                continue;
            };
            if let Err(Error::Unusable { inputs, .. }) = &result {
                assert_eq!(inputs.len(), usize::from(reason != Reason::SecretNotFound), "{name}");
            }
            let problem = problem(name, result);
            assert_eq!((problem.reason, problem.field), (reason, Some(field)), "{name}");
            if reason == Reason::SecretNotFound {
                assert!(
                    problem.hint.is_some_and(|hint| hint.ends_with("api --namespace team --from-literal=token=..."))
                );
            }
        }
    }
}

#[tokio::test]
async fn access_to_what_was_issued_before_is_read_as_it_was_recorded() {
    let issuer = |name: &str, token_key: Option<&str>, api_url: &str| Issuer::Ionos {
        api_url: api_url.into(),
        registry_id: "r-1".into(),
        contract_number: None,
        secret: SecretPlace {
            namespace: "team".into(),
            name: name.into(),
            username_key: None,
            password_key: None,
            token_key: token_key.map(str::to_owned),
        },
    };
    let mut bound = secret("bound", "Opaque", &[("t", "canary")]);
    bound["metadata"]["annotations"] = json!({"regcred.dev/registry-host": "api.example"});
    let world = World::with(vec![bound]);
    for (name, issuer, expected) in [
        ("there", issuer("bound", Some("t"), "https://api.example/x"), true),
        ("another host", issuer("bound", Some("t"), "https://other.example"), false),
        ("another key", issuer("bound", None, "https://api.example"), false),
        ("gone", issuer("gone", None, "https://api.example"), false),
        ("no address", issuer("bound", Some("t"), "canary"), false),
        ("not needed", Issuer::Digitalocean { revoke_url: "https://c.example".into() }, false),
    ] {
        let found = access_at(&world.io(), &issuer).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(found.is_some(), expected, "{name}");
    }
    let denied = access_at(&world.io(), &issuer("forbidden", None, "https://api.example")).await;
    assert!(matches!(denied, Err(Error::Denied(_))), "the right may come back");
}
