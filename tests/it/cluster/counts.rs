//! How many requests it takes: exactly one for each target, and nothing for what is as it should be.

use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use regcred::api::ConditionType;
use serde_json::json;

use super::{Wide, tell};
use crate::scenario::PASSWORD;

#[tokio::test(flavor = "multi_thread")]
async fn one_login_reaches_all_namespaces_with_one_write_each_and_again_when_it_changes() -> Result<()> {
    let mut wide = Wide::start("many").await?;
    reaches_all(&wide, 100).await?;

    wide.scenario.calls.clear();
    wide.scenario.stop_operator().await?;
    wide.scenario.start_operator().await?;
    wide.at_rest().await?;
    let quiet = wide.scenario.calls.quiet_for(Duration::from_secs(3)).await;
    quiet.map_err(|calls| anyhow!("requests although everything is as it was: {calls:?}"))?;
    assert_eq!(wide.writes(), [0; 4], "a restart writes nothing");
    assert_eq!(wide.scenario.calls.count(|call| call.is("get", "secrets", "")), 0, "nor does it read");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn three_times_the_namespaces_cost_three_times_the_writes_and_no_more_of_anything_else() -> Result<()> {
    reaches_all(&Wide::start("threefold").await?, 300).await
}

/// Counts what it takes to deliver a login to so many namespaces, and another one after it.
async fn reaches_all(wide: &Wide, count: usize) -> Result<()> {
    wide.create_namespaces(0..count).await?;
    wide.scenario.calls.clear();
    wide.connect("images", wide.spec()).await?;
    let all = i32::try_from(count)?;
    let connection = wide.ready("images", ("True", "LoginProven"), (all, all)).await?;
    wide.at_rest().await?;
    let [created, changed, deleted, told] = wide.writes();
    assert_eq!((created, changed, deleted), (count, 0, 0));
    ensure!(told <= 2, "{told} statuses for one delivery");
    assert_eq!(wide.scenario.good_logins()?, 1, "one test for all of them");
    let reads = wide.scenario.calls.count(|call| call.is("get", "secrets", ""));
    ensure!(reads <= 1, "{reads} reads");
    let delivered = wide.delivered("images").await?;
    assert_eq!(delivered.len(), count);
    let found = wide
        .scenario
        .shared
        .keyring
        .credentials(&wide.scenario.image(), &delivered.values().take(1).cloned().collect::<Vec<_>>())?;
    assert_eq!(found, [(wide.scenario.namespace.clone(), PASSWORD.to_owned())]);
    ensure!(serde_json::to_vec(&connection.status)?.len() < 4096, "{connection:?}");

    wide.scenario.calls.clear();
    wide.scenario.shared.registry.set_password(&wide.scenario.namespace, "another-password-3")?;
    wide.scenario.edit_secret("login", json!({"stringData": {"password": "another-password-3"}})).await?;
    let before = connection.status.as_ref().and_then(|status| status.credential.clone());
    wide.until("images", |now| {
        now.status.as_ref().is_some_and(|status| status.credential != before)
            && tell(now, ConditionType::Delivered) == "True/Delivered"
    })
    .await?;
    wide.at_rest().await?;
    let [created, changed, deleted, told] = wide.writes();
    assert_eq!((created, changed, deleted), (0, count, 0));
    ensure!(told <= 2, "{told} statuses for one rotation");
    Ok(())
}
