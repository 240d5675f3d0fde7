//! Every way in which the Secret with the login can be wrong is named, and heals by itself when it is put right.

use anyhow::Result;
use regcred::api::Reason;
use serde_json::{Value, json};

use crate::scenario::{PASSWORD, Scenario, tell, tell_all};
use regcred::api::ConditionType;

async fn told_then_healed(name: &str, reason: Reason, wrong: impl AsyncFn(&Scenario) -> Result<()>) -> Result<()> {
    let scenario = Scenario::start(name).await?;
    wrong(&scenario).await?;
    scenario.connect("images", scenario.spec()).await?;
    let connection = scenario.ready("images", "False", reason.as_str()).await?;

    let is_missing = matches!(reason, Reason::SecretNotFound | Reason::SecretKeyMissing);
    let progress = if is_missing { ConditionType::Reconciling } else { ConditionType::Stalled };
    assert_eq!(tell(&connection, progress), format!("True/{reason}"));
    assert_eq!(tell(&connection, ConditionType::CredentialsValid), format!("Unknown/{reason}"));
    let error = connection.status.unwrap_or_default().last_error.unwrap_or_else(|| panic!("no lastError"));
    assert_eq!(error.field.as_deref(), Some("spec.provider.generic.secretRef"));
    assert!(error.hint.is_some(), "{error:?}");
    assert_eq!(scenario.failed_logins()?, 0, "nothing was sent to the registry");

    let old = scenario.secrets().get_opt("login").await?;
    if old.is_some_and(|old| old.type_.as_deref() != Some("Opaque")) {
        // A type cannot be edited.
        scenario.delete_secret("login").await?;
    }
    scenario.write_login("login", PASSWORD).await?;
    let healed = scenario.ready("images", "True", "LoginProven").await?;
    assert_eq!(tell_all(&healed), ["True/LoginProven", "True/LoginProven", "True/Delivered", "-", "-"]);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_secret_is_named_and_heals() -> Result<()> {
    told_then_healed("absent", Reason::SecretNotFound, async |_| Ok(())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_key_is_named_and_heals() -> Result<()> {
    told_then_healed("key", Reason::SecretKeyMissing, async |scenario| {
        scenario.write_secret("login", "Opaque", json!({"user": "x", "password": "y"})).await.map(drop)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_docker_config_is_named_and_heals() -> Result<()> {
    told_then_healed("malformed", Reason::SecretMalformed, async |scenario| {
        let config = json!({"auths": {scenario.shared.registry.host(): {"auth": "no base64"}}}).to_string();
        let data = json!({".dockerconfigjson": config});
        scenario.write_secret("login", "kubernetes.io/dockerconfigjson", data).await.map(drop)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_docker_config_for_another_host_is_named_and_heals() -> Result<()> {
    told_then_healed("host", Reason::HostMismatch, async |scenario| {
        let config = json!({"auths": {"other.example": {"username": "x", "password": "y"}}}).to_string();
        let data = json!({".dockerconfigjson": config});
        scenario.write_secret("login", "kubernetes.io/dockerconfigjson", data).await.map(drop)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_every_accepted_type_of_secret() -> Result<()> {
    let scenario = Scenario::start("types").await?;
    let (user, host) = (scenario.namespace.as_str(), scenario.shared.registry.host());
    let config =
        json!({"auths": {format!("https://{host}/v1/"): {"username": user, "password": PASSWORD}}}).to_string();
    let cases: [(&str, &str, Value); 3] = [
        ("opaque", "Opaque", json!({"username": user, "password": PASSWORD})),
        ("basic", "kubernetes.io/basic-auth", json!({"username": user, "password": PASSWORD})),
        ("docker", "kubernetes.io/dockerconfigjson", json!({".dockerconfigjson": config})),
    ];
    for (name, type_, data) in cases {
        scenario.write_secret(&format!("{name}-login"), type_, data).await?;
        let mut spec = scenario.spec();
        spec["provider"]["generic"]["secretRef"]["name"] = format!("{name}-login").into();
        scenario.connect(name, spec).await?;
        scenario.ready(name, "True", "LoginProven").await?;
        assert_eq!(scenario.kubelet_finds(name).await?, [(user.to_owned(), PASSWORD.to_owned())], "{name}");
    }
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_disappears_is_told_and_the_delivered_secret_stays() -> Result<()> {
    let scenario = Scenario::start("vanish").await?;
    scenario.connected("images").await?;
    let delivered = scenario.secrets().get("images").await?;

    scenario.delete_secret("login").await?;
    let connection = scenario.ready("images", "False", "SecretNotFound").await?;
    assert_eq!(tell(&connection, ConditionType::Delivered), "True/Delivered");
    assert_eq!(scenario.secrets().get("images").await?, delivered);

    scenario.calls.clear();
    scenario.write_login("login", PASSWORD).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    assert_eq!(scenario.good_logins()?, 1, "the login that was proven before needs no second proof");
    assert_eq!(scenario.calls.count(|call| call.is("patch", "secrets", "") || call.is("update", "secrets", "")), 0);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn where_secrets_have_to_name_their_host_one_that_does_not_is_sent_nowhere() -> Result<()> {
    let mut scenario = Scenario::prepare("unnamed").await?;
    scenario.arguments.require_source_host = true;
    scenario.start_operator().await?;
    scenario.write_login("login", PASSWORD).await?;
    scenario.connect("images", scenario.spec()).await?;
    let refused = scenario.ready("images", "False", "SourceNotAllowed").await?;
    let hint = refused.status.unwrap_or_default().last_error.and_then(|error| error.hint).unwrap_or_default();
    let host = scenario.shared.registry.host();
    assert!(hint.contains(&format!("annotate it with regcred.dev/registry-host: {host}")), "{hint}");
    assert_eq!(scenario.good_logins()? + scenario.failed_logins()?, 0);
    scenario.edit_secret("login", json!({"metadata": {"annotations": {"regcred.dev/registry-host": host}}})).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    scenario.finish().await
}
