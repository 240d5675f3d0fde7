//! The judges tell good from bad.

use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};
use testenv::{Conditions, Health, HealthCheck, Keyring};

fn pull_secret(auths: &Value) -> Secret {
    let config = json!({ "auths": auths }).to_string();
    let mut secret: Secret = serde_json::from_value(json!({ "type": "kubernetes.io/dockerconfigjson" })).unwrap();
    let data = secret.data.get_or_insert_default();
    data.insert(".dockerconfigjson".to_owned(), k8s_openapi::ByteString(config.into_bytes()));
    secret
}

#[test]
fn the_keyring_answers_as_the_kubelet_does() {
    let keyring = Keyring::start().unwrap();
    let secret = pull_secret(&json!({
        "r.example:5000": { "username": "wide", "password": "1" },
        "r.example:5000/team": { "username": "narrow", "password": "2" },
    }));
    let users = |image: &str| -> Vec<String> {
        let found = keyring.credentials(image, std::slice::from_ref(&secret)).unwrap();
        found.into_iter().map(|(user, _)| user).collect()
    };
    assert_eq!(users("r.example:5000/team/app:v1"), ["narrow", "wide"]);
    assert_eq!(users(&format!("r.example:5000/other@sha256:{}", "0".repeat(64))), ["wide"]);
    assert!(users("r.example/team/app:v1").is_empty());
    let pair = keyring.credentials("r.example:5000/other", std::slice::from_ref(&secret)).unwrap();
    assert_eq!(pair, [("wide".to_owned(), "1".to_owned())]);

    let broken = pull_secret(&json!({ "elsewhere.example": { "auth": "not base64!" } }));
    let refused = keyring.credentials("r.example:5000/team/app:v1", &[secret.clone(), broken]).unwrap_err();
    assert!(refused.to_string().contains("illegal base64"), "{refused}");
    assert_eq!(users("r.example:5000/x").len(), 1, "it answers on after an error");
}

fn object(generation: i64, status: &Value) -> Value {
    let metadata = json!({ "name": "one", "namespace": "default", "generation": generation });
    json!({ "apiVersion": "regcred.dev/v1alpha1", "kind": "RegistryConnection", "metadata": metadata, "status": status })
}

fn condition(kind: &str, status: &str, generation: i64) -> Value {
    let time = "2026-01-01T00:00:00Z";
    json!({ "type": kind, "status": status, "reason": "Reason", "message": "text", "observedGeneration": generation,
            "lastTransitionTime": time })
}

#[test]
fn the_rules_for_conditions_answer_as_gitops_tools_do() {
    let rules = Conditions::start().unwrap();
    let judge = |generation, status: Value| rules.judge(&object(generation, &status)).unwrap();

    let fresh = judge(1, json!({ "observedGeneration": -1 }));
    assert_eq!(fresh.kstatus, "InProgress");

    let ready = ["Ready", "CredentialsValid", "Delivered"].map(|kind| condition(kind, "True", 2));
    let current = judge(2, json!({ "observedGeneration": 2, "conditions": ready }));
    assert_eq!((current.kstatus.as_str(), current.violations), ("Current", Vec::new()));

    let stalled = json!([condition("Ready", "False", 2), condition("Stalled", "True", 2)]);
    let failed = judge(2, json!({ "observedGeneration": 2, "conditions": stalled }));
    assert_eq!((failed.kstatus.as_str(), failed.violations), ("Failed", Vec::new()));

    let waiting = json!([condition("Ready", "False", 2), condition("Reconciling", "True", 2)]);
    let progress = judge(2, json!({ "observedGeneration": 2, "conditions": waiting }));
    assert_eq!((progress.kstatus.as_str(), progress.violations), ("InProgress", Vec::new()));

    let contradiction = json!([condition("Ready", "True", 1), condition("Stalled", "True", 2)]);
    let wrong = judge(2, json!({ "observedGeneration": 1, "conditions": contradiction }));
    assert!(wrong.violations.iter().any(|line| line.starts_with("error: ")), "{wrong:?}");
    assert!(wrong.violations.iter().any(|line| line.starts_with("warning: ")), "{wrong:?}");
}

#[test]
fn health_checks_run_as_in_argo_cd() {
    let check = HealthCheck::start().unwrap();
    let subject = object(3, &json!({ "observedGeneration": 3, "conditions": [condition("Ready", "True", 3), null] }));
    let run = |script: &str| check.run(script, &subject);
    let refused = |script: &str| run(script).unwrap_err().to_string();
    let says = |message: &str| Health { status: "Healthy".to_owned(), message: message.to_owned() };

    let echo = |value: &str| run(&format!("return {{status = 'Healthy', message = tostring({value})}}")).unwrap();
    assert_eq!(echo("obj.metadata.generation == 3"), says("true"));
    assert_eq!(echo("#obj.status.conditions .. obj.status.conditions[1].type"), says("1Ready"));
    assert_eq!(
        echo("type(ipairs) .. type(table.concat) .. type(require('os').time())"),
        says("functionfunctionnumber")
    );
    assert_eq!(echo("string"), says("nil"), "there is no string library");
    assert_eq!(echo("os"), says("nil"), "what is left of os is a module");
    assert_eq!(echo("require('os').exit"), says("nil"), "and can do no harm");

    assert!(refused("return ('x'):upper()").contains("attempt to index"), "text has no methods");
    assert!(refused("return obj.no.such.field").contains("attempt to index"));
    assert!(refused("while true do end").contains("deadline"));
    assert!(refused("return 'Healthy'").contains("expect table output"));
    assert!(refused("return").contains("not nil"));
    assert!(refused("this is no Lua").contains("syntax error") || refused("this is no Lua").contains("parse error"));
    assert_eq!(run("return {status = 'Fine'}").unwrap().status, "Unknown");
    assert_eq!(echo("'it answers on after errors'"), says("it answers on after errors"));
}
