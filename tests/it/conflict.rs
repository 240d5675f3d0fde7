//! What belongs to others is never touched.

use anyhow::Result;
use k8s_openapi::api::core::v1::Secret;
use regcred::api::ConditionType;
use serde_json::{Value, json};

use crate::scenario::{PASSWORD, Scenario, tell, tell_all};

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
