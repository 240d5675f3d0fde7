//! What a refused login does, and what it must not do.

use anyhow::Result;
use k8s_openapi::api::core::v1::Event;
use kube::{Api, ResourceExt};
use regcred::api::{Reason, names::DOCKER_CONFIG_JSON_KEY};
use serde_json::json;
use testenv::eventually;

use crate::scenario::{DEADLINE, PASSWORD, Scenario, WRONG, tell_all};

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_and_nothing_is_delivered() -> Result<()> {
    let scenario = Scenario::start("wrong").await?;
    scenario.write_login("login", WRONG).await?;
    scenario.connect("images", scenario.spec()).await?;
    let connection = scenario.ready("images", "False", "InvalidCredentials").await?;

    assert_eq!(
        tell_all(&connection),
        [
            "False/InvalidCredentials",
            "False/InvalidCredentials",
            "False/InvalidCredentials",
            "-",
            "True/InvalidCredentials"
        ]
    );
    let error = connection.status.unwrap_or_default().last_error.unwrap_or_else(|| panic!("no lastError"));
    assert_eq!(error.code, Reason::InvalidCredentials);
    assert_eq!(error.field.as_deref(), Some("spec.provider.generic.secretRef"));
    assert!(error.message.contains(&scenario.shared.registry.host()) && error.hint.is_some(), "{error:?}");
    assert!(scenario.secrets().get_opt("images").await?.is_none());
    assert_eq!(scenario.failed_logins()?, 1);

    let events: Api<Event> = Api::namespaced(scenario.client.clone(), &scenario.namespace);
    let event = eventually("a warning", DEADLINE, async || {
        Ok(events
            .list(&Default::default())
            .await?
            .items
            .into_iter()
            .find(|event| event.type_.as_deref() == Some("Warning")))
    })
    .await?;
    assert_eq!(event.reason.as_deref(), Some("InvalidCredentials"));
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_leaves_the_delivered_secret_alone_and_the_right_one_heals() -> Result<()> {
    let scenario = Scenario::start("keep").await?;
    scenario.connected("images").await?;
    let delivered = scenario.secrets().get("images").await?;

    scenario.write_login("login", WRONG).await?;
    let refused = scenario.ready("images", "False", "InvalidCredentials").await?;
    assert_eq!(
        tell_all(&refused),
        ["False/InvalidCredentials", "False/InvalidCredentials", "True/Delivered", "-", "True/InvalidCredentials"]
    );
    assert_eq!(scenario.secrets().get("images").await?, delivered, "not one byte changed");

    scenario.write_login("login", PASSWORD).await?;
    let healed = scenario.ready("images", "True", "LoginProven").await?;
    assert_eq!(healed.status.unwrap_or_default().last_error, None);
    let after = scenario.secrets().get("images").await?;
    assert_eq!(after.resource_version(), delivered.resource_version(), "the same password needs no write");
    assert_eq!(scenario.failed_logins()?, 1);
    assert_eq!(scenario.good_logins()?, 2, "what was proven before a refusal is proven anew after it");
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_password_is_not_tried_again_until_it_changes_not_even_after_a_restart() -> Result<()> {
    let mut scenario = Scenario::start("once").await?;
    scenario.write_login("login", WRONG).await?;
    scenario.connect("images", scenario.spec()).await?;
    scenario.ready("images", "False", "InvalidCredentials").await?;

    // A touched Secret with the same password is no change.
    scenario.calls.clear();
    scenario.edit_secret("login", json!({"metadata": {"annotations": {"touched": "yes"}}})).await?;
    eventually("the touched Secret to be read", DEADLINE, async || {
        Ok((scenario.calls.count(|call| call.is("get", "secrets", "")) > 0).then_some(()))
    })
    .await?;
    // Nor is a spec that says the same to the registry.
    scenario.edit("images", json!({"spec": {"refreshIntervalMinutes": 10}})).await?;
    scenario.ready("images", "False", "InvalidCredentials").await?;
    assert_eq!(scenario.failed_logins()?, 1);

    scenario.write_login("login", "yet-another-wrong-one").await?;
    eventually("the new password to be tried", DEADLINE, async || Ok((scenario.failed_logins()? == 2).then_some(())))
        .await?;
    scenario
        .until("images", |now| {
            let status = now.status.clone().unwrap_or_default();
            status.observed_inputs.iter().any(|input| input.name == "login") && status.last_error.is_some()
        })
        .await?;
    scenario.stop_operator().await?;
    scenario.start_operator().await?;
    scenario.ready("images", "False", "InvalidCredentials").await?;
    assert_eq!(scenario.failed_logins()?, 2);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_password_is_tried_again_after_thirty_minutes_and_heals_if_the_registry_changed() -> Result<()> {
    // Thirty minutes pass in three seconds.
    let scenario = Scenario::start_fast("later", 600).await?;
    scenario.write_login("login", "tomorrows-password").await?;
    scenario.connect("images", scenario.spec()).await?;
    let refused = scenario.ready("images", "False", "InvalidCredentials").await?;
    let refused_at = refused.status.unwrap_or_default().last_test.map(|test| test.time.0);

    scenario.shared.registry.set_password(&scenario.namespace, "tomorrows-password")?;
    let healed = scenario.ready("images", "True", "LoginProven").await?;
    let healed_at = healed.status.unwrap_or_default().last_test.map(|test| test.time.0);
    let waited = healed_at.zip(refused_at).map(|(healed, refused)| healed.duration_since(refused).as_mins());
    assert!(waited >= Some(30), "{waited:?} minutes");
    assert!(scenario.secrets().get("images").await?.data.unwrap_or_default().contains_key(DOCKER_CONFIG_JSON_KEY));
    Ok(())
}
