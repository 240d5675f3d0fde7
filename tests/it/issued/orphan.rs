//! What becomes of issued credentials whose connection goes, or changes its provider.

use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use jiff::SignedDuration;
use regcred::controller::sweep::GRACE;
use serde_json::json;
use testenv::{eventually, provider::digital_ocean};

use super::{Ocean, login, revision};
use crate::{
    another::uid,
    reinstall::uninstall,
    scenario::{DEADLINE, PASSWORD, install_crds},
    shared::apart,
};

/// A minute passes in half a second.
const FAST: u32 = 120;

/// How much the clocks of operator and provider may differ: some thousandths of a second, fast as they are.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn when_a_connection_is_deleted_all_it_had_issued_is_revoked_after_its_secret_is_gone_and_the_grace() -> Result<()>
{
    let world = Ocean::start("deleted", FAST).await?;
    let connection = world.connected_with(|spec| spec["refreshIntervalMinutes"] = 1440.into()).await?;
    world.ask_for_refresh("now").await?;
    world.renewed(revision(&connection).unwrap_or_default()).await?;
    let (deleted, grace) = (world.ocean.clock().now(), SignedDuration::from_mins(1));
    world.scenario.disconnect("images").await?;
    world.scenario.until_gone("images").await?;
    world.until_alive(0).await?;
    world.scenario.until_no_ledger().await?;
    let revocations = world.revocations();
    assert_eq!((world.ocean.issued(), revocations.len()), (2, 2), "{:?}", world.ocean.requests());
    let least = SignedDuration::try_from(GRACE)? + grace;
    assert!(revocations[1].at >= deleted + least - CLOCKS_DIFFER, "{deleted}: {revocations:?}");
    let quiet = world.scenario.calls.quiet_for(Duration::from_secs(2)).await;
    quiet.map_err(|calls| anyhow!("requests about what is gone: {calls:?}"))?;
    assert_eq!(world.ocean.requests().len(), 4);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_be_retained_is_not_revoked_and_runs_out() -> Result<()> {
    let world = Ocean::start("retained", FAST).await?;
    let connection = world
        .connected_with(|spec| {
            // Seldom enough that it does not end in the middle of a renewal.
            (spec["refreshIntervalMinutes"], spec["deletionPolicy"]) = (40.into(), "Retain".into());
            spec["provider"]["digitalocean"]["expirySeconds"] = 4800.into();
        })
        .await?;
    world.ask_for_refresh("now").await?;
    world.renewed(revision(&connection).unwrap_or_default()).await?;
    world.scenario.disconnect("images").await?;
    world.until_alive(1).await?;
    let target = world.scenario.secrets().get("images").await?;
    let (user, password) = login(&target)?;
    ensure!(world.ocean.accepts(&user, &password).await?, "what is delivered works on");
    world.scenario.minutes(3).await?;
    ensure!(world.ocean.alive() == 1, "what is delivered is not revoked");
    assert_eq!(world.scenario.secrets().get("images").await?, target);
    let (issued, revoked) = (world.ocean.issued(), world.revocations().len());
    assert_eq!(issued, revoked + 1, "{:?}", world.ocean.requests());
    world.scenario.until_no_ledger().await?;
    assert_eq!((world.ocean.alive(), world.revocations().len()), (0, revoked), "it ran out");
    assert_eq!(world.scenario.secrets().get("images").await?, target);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_kind_revokes_nothing_that_is_delivered() -> Result<()> {
    let (shared, _guard) = apart().await?;
    let options = digital_ocean::Options { speed: FAST, ..Default::default() };
    let mut world = Ocean::prepare_on(shared, "kind", FAST, options).await?;
    world.start_operator().await?;
    let connection = world.connected_with(|spec| spec["refreshIntervalMinutes"] = 1440.into()).await?;
    let target = world.scenario.secrets().get("images").await?;
    uninstall(shared).await?;
    world.scenario.until_left("is not installed").await?;
    world.scenario.until_told("NotRevoked").await?;
    world.scenario.minutes(5).await?;
    install_crds(&world.scenario.client).await?;
    world.scenario.until_left("installed anew since").await?;
    world.scenario.minutes(5).await?;
    assert_eq!((world.ocean.requests().len(), world.ocean.alive()), (1, 1));
    assert_eq!(world.scenario.secrets().get("images").await?, target);

    let mut spec = world.spec();
    spec["refreshIntervalMinutes"] = 1440.into();
    world.scenario.connect("images", spec).await?;
    let anew = world.scenario.ready("images", "True", "LoginProven").await?;
    assert_ne!(anew.metadata.uid, connection.metadata.uid);
    let adopted = world.scenario.secrets().get("images").await?;
    assert_eq!((uid(&adopted), login(&adopted)?), (uid(&target), login(&target)?));
    assert_eq!(world.ocean.issued(), 1);
    // The ledger knows the connection there is from its next write on.
    world.ask_for_refresh("now").await?;
    world.renewed(revision(&anew).unwrap_or_default()).await?;
    world.scenario.disconnect("images").await?;
    world.until_alive(0).await?;
    world.scenario.until_no_ledger().await?;
    world.scenario.stop_operator().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_of_another_provider_in_the_place_of_one_has_its_credentials_revoked() -> Result<()> {
    let world = Ocean::start("generic", FAST).await?;
    world.connected_with(|spec| spec["refreshIntervalMinutes"] = 1440.into()).await?;
    let before = world.scenario.secrets().get("images").await?;
    world.scenario.write_login("login", PASSWORD).await?;
    world.scenario.disconnect("images").await?;
    let mut spec = world.scenario.spec();
    spec["refreshIntervalMinutes"] = 1440.into();
    world.scenario.connect("images", spec).await?;
    let replaced = world.ocean.clock().now();
    world.scenario.ready("images", "True", "LoginProven").await?;
    let after = world.scenario.secrets().get("images").await?;
    assert_eq!(uid(&after), uid(&before));
    assert_eq!(login(&after)?.1, PASSWORD);
    world.until_alive(0).await?;
    world.scenario.until_no_ledger().await?;
    let revocations = world.revocations();
    assert_eq!(revocations.len(), 1);
    assert!(
        revocations[0].at >= replaced + SignedDuration::from_mins(1) - CLOCKS_DIFFER,
        "{replaced}: {revocations:?}"
    );
    world.scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_deleted_connection_left_is_revoked_by_the_next_operator_even_with_the_api_token_gone() -> Result<()> {
    let mut world = Ocean::start("next", FAST).await?;
    world.connected_with(|spec| spec["refreshIntervalMinutes"] = 1440.into()).await?;
    world.scenario.stop_operator().await?;
    world.scenario.disconnect("images").await?;
    world.scenario.delete_secret("api").await?;
    world.start_operator().await?;
    world.until_alive(0).await?;
    world.scenario.until_no_ledger().await?;
    world.scenario.until_gone("images").await?;
    eventually("one revocation", DEADLINE, async || Ok((world.revocations().len() == 1).then_some(()))).await?;
    assert!(world.scenario.told("NotRevoked").await?.is_empty());
    let left = json!(world.scenario.left().await?);
    assert_eq!(left, json!([]));
    Ok(())
}
