//! What users, and other programs, do to a ledger and to what is rendered from it.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use kube::ResourceExt;
use regcred::api::names::{LEDGER_KEY, LEDGER_TYPE};
use serde_json::json;

use super::{Ocean, SCOPES, login, revision, trouble};
use crate::{another::uid, scenario::is_ready};

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_is_gone_or_damaged_means_one_new_credential_and_an_event() -> Result<()> {
    for (name, damage) in
        [("gone", None), ("garbled", Some("no such thing")), ("cut", Some("{\"version\": 1, \"current\": {"))]
    {
        let world = Ocean::start(name, 1).await?;
        let before = world.connected().await?;
        match damage {
            None => world.scenario.delete_ledger().await?,
            Some(text) => drop(world.scenario.overwrite_ledger(text.as_bytes()).await?),
        }
        let after = world.renewed(revision(&before).unwrap_or_default()).await?;
        let told = world.scenario.until_told("LedgerLost").await?;
        assert_eq!((told.len(), world.ocean.issued()), (1, 2), "{name}: {told:?}");
        let (user, password) = login(&world.scenario.secrets().get("images").await?)?;
        ensure!(world.ocean.accepts(&user, &password).await?, "{name}: the new one works");
        let ledger = world.scenario.ledger_text().await?;
        assert_eq!(ledger["current"]["revision"].as_str(), revision(&after), "{name}");
        world.scenario.finish().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_of_a_newer_version_is_told_and_neither_overwritten_nor_replaced() -> Result<()> {
    let mut world = Ocean::start("newer", 1).await?;
    let before = world.connected().await?;
    let target = world.scenario.secrets().get("images").await?;
    let right = world.scenario.ledger_text().await?;
    let mut newer = right.clone();
    newer["version"] = 2.into();
    let written = world.scenario.overwrite_ledger(newer.to_string().as_bytes()).await?;
    let told = world.scenario.troubled("Forbidden").await?;
    let hint = trouble(&told).and_then(|trouble| trouble.hint).unwrap_or_default();
    assert!(hint.contains("version"), "{hint}");
    // Nor does anything change that who asks for a new one, or a restart.
    world.ask_for_refresh("now").await?;
    world
        .scenario
        .until("images", |now| {
            now.status.as_ref().is_some_and(|status| status.last_handled_refresh_at.as_deref() == Some("now"))
        })
        .await?;
    world.scenario.stop_operator().await?;
    world.scenario.start_operator().await?;
    world.scenario.until_all_looked_at().await?;
    let ledger = world.scenario.ledger().await?.context("no ledger")?;
    assert_eq!((ledger.data, ledger.metadata.resource_version), (written.data, written.metadata.resource_version));
    assert_eq!(world.scenario.secrets().get("images").await?, target);
    assert_eq!(world.ocean.issued(), 1);

    world.scenario.overwrite_ledger(right.to_string().as_bytes()).await?;
    let after = world.scenario.ready("images", "True", "LoginProven").await?;
    assert_eq!((revision(&after), world.ocean.issued()), (revision(&before), 1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_another_type_in_the_place_of_a_ledger_is_told_and_left_alone() -> Result<()> {
    let mut world = Ocean::start("foreign", 1).await?;
    let before = world.connected().await?;
    let name = world.scenario.ledger().await?.context("no ledger")?.name_any();
    world.scenario.stop_operator().await?;
    world.scenario.delete_secret(&name).await?;
    world.scenario.write_secret(&name, "Opaque", json!({LEDGER_KEY: "mine"})).await?;
    world.start_operator().await?;
    let told = world.scenario.troubled("Forbidden").await?;
    assert!(trouble(&told).is_some_and(|trouble| trouble.message.contains(&name)), "{told:?}");
    let secret = world.scenario.secrets().get(&name).await?;
    assert_eq!(secret.type_.as_deref(), Some("Opaque"));
    assert_eq!(world.ocean.issued(), 1);
    world.scenario.delete_secret(&name).await?;
    world.renewed(revision(&before).unwrap_or_default()).await?;
    assert_eq!(world.ocean.issued(), 2);
    let ledger = world.scenario.ledger().await?.context("no ledger")?;
    assert_eq!(ledger.type_.as_deref(), Some(LEDGER_TYPE));
    world.scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_target_is_restored_from_the_ledger_even_while_nothing_can_be_issued() -> Result<()> {
    let mut world = Ocean::start("restored", 1).await?;
    let connection = world.connected().await?;
    let before = login(&world.scenario.secrets().get("images").await?)?;
    world.scenario.delete_secret("images").await?;
    assert_eq!(login(&world.scenario.until_secret("images", |_| true).await?)?, before);
    world.scenario.ready("images", "True", "LoginProven").await?;
    assert_eq!(world.ocean.requests().len(), 1, "{:?}", world.ocean.requests());

    world.write_token("dop_v1_wrong").await?;
    world.scenario.troubled("InvalidCredentials").await?;
    world.scenario.delete_secret("images").await?;
    assert_eq!(login(&world.scenario.until_secret("images", |_| true).await?)?, before);
    world.scenario.troubled("InvalidCredentials").await?;
    world.scenario.stop_operator().await?;
    world.scenario.delete_secret("images").await?;
    world.start_operator().await?;
    assert_eq!(login(&world.scenario.until_secret("images", |_| true).await?)?, before);
    let told = world.scenario.troubled("InvalidCredentials").await?;
    assert_eq!(revision(&told), revision(&connection));
    assert_eq!((world.ocean.issued(), world.ocean.requests().len()), (1, 2), "{:?}", world.ocean.requests());

    // A right one is tried at once.
    world.write_token(&world.ocean.add_token(SCOPES)).await?;
    world.scenario.ready("images", "True", "LoginProven").await?;
    world.scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_created_anew_takes_over_what_was_issued_before() -> Result<()> {
    let world = Ocean::start("replaced", 30).await?;
    let connection = world.connected_with(|spec| spec["refreshIntervalMinutes"] = 1440.into()).await?;
    let before = world.scenario.secrets().get("images").await?;
    world.scenario.disconnect("images").await?;
    let mut spec = world.spec();
    spec["refreshIntervalMinutes"] = 1440.into();
    world.scenario.connect("images", spec).await?;
    let anew = world.scenario.ready("images", "True", "LoginProven").await?;
    assert_ne!(anew.metadata.uid, connection.metadata.uid);
    let after = world.scenario.secrets().get("images").await?;
    assert_eq!((uid(&after), login(&after)?), (uid(&before), login(&before)?));
    // Longer than it takes to remove what an absent connection leaves behind.
    world.scenario.minutes(4).await?;
    assert_eq!((world.ocean.issued(), world.ocean.requests().len()), (1, 1));
    assert_eq!(login(&world.scenario.secrets().get("images").await?)?, login(&before)?);
    world.scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_issued_for_a_suspended_connection() -> Result<()> {
    // A second is five minutes.
    let world = Ocean::start("suspended", 300).await?;
    world.write_token(&world.ocean.add_token(SCOPES)).await?;
    let mut spec = world.spec();
    (spec["suspend"], spec["refreshIntervalMinutes"]) = (true.into(), 5.into());
    world.scenario.connect("images", spec).await?;
    world.scenario.ready("images", "False", "Suspended").await?;
    world.ask_for_refresh("first").await?;
    world.scenario.minutes(10).await?;
    assert_eq!((world.ocean.requests().len(), world.scenario.ledger().await?.is_some()), (0, false));

    world.scenario.edit("images", json!({"spec": {"suspend": false}})).await?;
    world.scenario.until("images", |now| is_ready(now, "True", "LoginProven")).await?;
    world.scenario.edit("images", json!({"spec": {"suspend": true}})).await?;
    world
        .scenario
        .until("images", |now| {
            now.status.as_ref().is_some_and(|status| status.observed_generation == now.metadata.generation)
        })
        .await?;
    let (mints, target) = (world.ocean.issued(), world.scenario.secrets().get("images").await?);
    world.ask_for_refresh("second").await?;
    world.scenario.minutes(20).await?;
    assert_eq!(world.ocean.issued(), mints);
    assert_eq!(world.scenario.secrets().get("images").await?, target);
    let quiet = world.scenario.calls.quiet_for(Duration::from_secs(1)).await;
    quiet.map_err(|calls| anyhow!("requests about what is suspended: {calls:?}"))?;
    world.scenario.finish().await
}
