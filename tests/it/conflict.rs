//! What belongs to others is never touched.

use anyhow::Result;
use k8s_openapi::api::{
    admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    core::v1::{ResourceQuota, Secret},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use regcred::api::ConditionType;
use serde_json::{Value, json};
use testenv::eventually;

use crate::scenario::{DEADLINE, PASSWORD, Scenario, tell, tell_all};

async fn refuses(name: &str, make: impl AsyncFn(&Scenario) -> Result<Secret>) -> Result<()> {
    let scenario = Scenario::start(name).await?;
    let foreign = make(&scenario).await?;
    scenario.write_login("login", PASSWORD).await?;
    scenario.connect("images", scenario.spec()).await?;
    let connection = scenario.ready("images", "False", "TargetConflict").await?;

    assert_eq!(
        tell_all(&connection),
        ["False/TargetConflict", "True/LoginProven", "False/TargetConflict", "-", "True/TargetConflict"]
    );
    let status = connection.status.unwrap_or_default();
    assert_eq!(status.targets.map(|targets| targets.failed), Some(1));
    assert_eq!(status.last_error.and_then(|error| error.field).as_deref(), Some("spec.secret.name"));
    assert_eq!(scenario.secrets().get("images").await?, foreign, "not one byte changed");

    scenario.delete_secret("images").await?;
    scenario.ready("images", "True", "LoginProven").await?;
    assert_eq!(scenario.good_logins()?, 1, "the proof still holds");
    scenario.finish().await
}

fn secret(type_: &str, metadata: Value, data: Value) -> Result<Secret> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Secret", "type": type_, "metadata": metadata, "stringData": data,
    }))?)
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_to_overwrite_a_foreign_secret() -> Result<()> {
    refuses("foreign", async |scenario| {
        let config = json!({".dockerconfigjson": r#"{"auths":{}}"#});
        let secret = secret("kubernetes.io/dockerconfigjson", json!({"name": "images"}), config)?;
        Ok(scenario.secrets().create(&Default::default(), &secret).await?)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_to_overwrite_a_secret_of_another_type_even_with_our_labels() -> Result<()> {
    refuses("type", async |scenario| {
        let reference = regcred::domain::reference::ConnectionReference::namespaced(&scenario.namespace, "images");
        let metadata = json!({
            "name": "images",
            "labels": {"app.kubernetes.io/managed-by": "regcred", "regcred.dev/connection": reference.label_value()},
            "annotations": {"regcred.dev/connection": reference.to_string(), "regcred.dev/namespace": scenario.namespace},
        });
        let secret = secret("Opaque", metadata, json!({".dockerconfigjson": "{}"}))?;
        Ok(scenario.secrets().create(&Default::default(), &secret).await?)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_connections_that_want_one_secret_do_not_fight() -> Result<()> {
    let scenario = Scenario::start("fight").await?;
    scenario.connected("images").await?;
    let delivered = scenario.secrets().get("images").await?;

    let mut spec = scenario.spec();
    spec["secret"] = json!({"name": "images"});
    scenario.connect("other", spec).await?;
    let other = scenario.ready("other", "False", "TargetConflict").await?;
    let message = other.status.unwrap_or_default().last_error.map(|error| error.message).unwrap_or_default();
    assert!(message.contains(&format!("belongs to RegistryConnection/{}/images", scenario.namespace)), "{message}");
    assert_eq!(scenario.secrets().get("images").await?, delivered);
    let first = scenario.connections().get("images").await?;
    assert_eq!(tell(&first, ConditionType::Ready), "True/LoginProven");
    scenario.finish().await
}

/// Denies Secrets of the docker config type in a namespace, in the words of a CEL expression and with the status code of a
/// reason.
pub async fn deny(client: &Client, namespace: &str, words: &str, reason: &str) -> Result<()> {
    let name = format!("deny-{namespace}");
    let policy: ValidatingAdmissionPolicy = serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "resources": ["secrets"], "operations": ["CREATE", "UPDATE"],
            }]},
            "validations": [{
                "expression": "object.type != 'kubernetes.io/dockerconfigjson'", "messageExpression": words,
                "reason": reason,
            }],
        },
    }))?;
    let binding: ValidatingAdmissionPolicyBinding = serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {
            "policyName": name, "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}},
        },
    }))?;
    Api::all(client.clone()).create(&Default::default(), &policy).await?;
    Api::all(client.clone()).create(&Default::default(), &binding).await?;
    let trial = secret("kubernetes.io/dockerconfigjson", json!({"name": "trial"}), json!({".dockerconfigjson": "{}"}))?;
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    eventually("the policy to act", DEADLINE, async || {
        Ok(secrets.create(&dry_run, &trial).await.is_err().then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_denies_the_secret_is_told_in_its_own_words() -> Result<()> {
    let scenario = Scenario::start("policy").await?;
    deny(&scenario.client, &scenario.namespace, "'ask the platform team for ' + object.metadata.name", "Invalid")
        .await?;
    scenario.write_login("login", PASSWORD).await?;
    scenario.connect("images", scenario.spec()).await?;
    let denied = scenario.ready("images", "False", "Forbidden").await?;
    assert_eq!(tell_all(&denied), ["False/Forbidden", "True/LoginProven", "False/Forbidden", "-", "True/Forbidden"]);
    let message = denied.status.unwrap_or_default().last_error.map(|error| error.message).unwrap_or_default();
    assert!(message.contains("ask the platform team for images"), "{message}");
    assert_eq!(scenario.calls.count(|call| call.is("create", "secrets", "")), 1, "a decision is not argued with");
    Ok(())
}

/// The words of a policy that quotes what it denies.
pub const QUOTING: &str = "'no such data here: ' + string(object.data['.dockerconfigjson'])";

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_with_any_status_code_is_told() -> Result<()> {
    let scenario = Scenario::start("code").await?;
    deny(&scenario.client, &scenario.namespace, "'too much'", "RequestEntityTooLarge").await?;
    scenario.write_login("login", PASSWORD).await?;
    scenario.connect("images", scenario.spec()).await?;
    let denied = scenario.ready("images", "False", "Forbidden").await?;
    let message = denied.status.unwrap_or_default().last_error.map(|error| error.message).unwrap_or_default();
    assert!(message.contains("too much"), "{message}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_quotes_the_secret_is_not_repeated() -> Result<()> {
    let scenario = Scenario::start("quotes").await?;
    deny(&scenario.client, &scenario.namespace, QUOTING, "Invalid").await?;
    scenario.write_login("login", PASSWORD).await?;
    scenario.connect("images", scenario.spec()).await?;
    let denied = scenario.ready("images", "False", "Forbidden").await?;
    let message = denied.status.unwrap_or_default().last_error.map(|error| error.message).unwrap_or_default();
    assert!(message.contains("are withheld"), "{message}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn annotations_that_are_too_large_beside_those_of_the_operator_are_told_with_their_field_and_heal() -> Result<()>
{
    let scenario = Scenario::start("labels").await?;
    scenario.write_login("login", PASSWORD).await?;
    let mut spec = scenario.spec();
    spec["secret"] = json!({"annotations": {"team": "x".repeat(256 * 1024 - 4)}});
    scenario.connect("images", spec).await?;
    let refused = scenario.ready("images", "False", "InvalidSpec").await?;
    let error = refused.status.unwrap_or_default().last_error.unwrap_or_else(|| panic!("no lastError"));
    assert_eq!(error.field.as_deref(), Some("spec.secret.annotations"));
    scenario.edit("images", json!({"spec": {"secret": {"annotations": {"team": "shop"}}}})).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_is_used_up_is_told_and_heals_when_it_is_raised() -> Result<()> {
    // Five minutes pass in two and a half seconds.
    let scenario = Scenario::start_fast("quota", 120).await?;
    scenario.write_login("login", PASSWORD).await?;
    let quotas: Api<ResourceQuota> = Api::namespaced(scenario.client.clone(), &scenario.namespace);
    let quota: ResourceQuota = serde_json::from_value(json!({"metadata": {"name": "few"}}))?;
    quotas.create(&Default::default(), &quota).await?;
    // The controller that counts does not run here; the API server enforces what stands in the status.
    let counted = async |allowed: &str| {
        let status = json!({"hard": {"count/secrets": allowed}, "used": {"count/secrets": "1"}});
        let patch = Patch::Merge(json!({"spec": {"hard": {"count/secrets": allowed}}, "status": status}));
        quotas.patch("few", &PatchParams::default(), &patch).await?;
        quotas.patch_status("few", &PatchParams::default(), &patch).await
    };
    counted("1").await?;

    let mut spec = scenario.spec();
    spec["refreshIntervalMinutes"] = 1440.into();
    scenario.connect("images", spec).await?;
    let denied = scenario.ready("images", "False", "Forbidden").await?;
    assert_eq!(tell_all(&denied), ["False/Forbidden", "True/LoginProven", "False/Forbidden", "-", "True/Forbidden"]);
    let message = denied.status.unwrap_or_default().last_error.map(|error| error.message).unwrap_or_default();
    assert!(message.contains("exceeded quota: few"), "{message}");

    counted("9").await?;
    scenario.ready("images", "True", "LoginProven").await?;
    assert_eq!(scenario.good_logins()?, 1, "the proof still holds");
    scenario.finish().await
}
