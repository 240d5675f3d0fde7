//! The order of things: how often something is issued, tested, written and revoked, and when. Whoever pulls does not notice.

use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use jiff::{SignedDuration, Timestamp};
use testenv::{
    eventually,
    provider::{Outage, digital_ocean},
};

use super::{Ocean, docker_config, login, revision};
use crate::scenario::DEADLINE;

/// Five minutes pass in three seconds.
const FAST: u32 = 100;

const GRACE: SignedDuration = SignedDuration::from_mins(4);

/// How much the clocks of operator and provider may differ: some thousandths of a second, fast as they are.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_secs(5);

/// Whoever pulls: what it pulls with, when that was seen to be delivered last, and whether it is still.
struct Node {
    config: Vec<u8>,
    seen: Timestamp,
    is_outdated: bool,
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_pulls_notices_nothing_of_three_renewals() -> Result<()> {
    let mut world = Ocean::prepare("pulls", FAST).await?;
    world.scenario.arguments.revocation_grace = GRACE;
    world.start_operator().await?;
    world.ocean.push("shop/web:v1").await?;
    world.connected_with(|spec| spec["refreshIntervalMinutes"] = 5.into()).await?;
    let (crane, image) = (world.ocean.registry().crane(), world.ocean.image("shop/web:v1"));
    let now = || world.ocean.clock().now();

    let mut node: Option<Node> = None;
    let (mut fresh, mut old) = (0, 0);
    while world.ocean.issued() < 4 || world.revocations().is_empty() {
        // One reads the Secret before each pull.
        let (read, secret) = (now(), world.scenario.secrets().get("images").await?);
        let config = docker_config(&secret)?;
        match crane.pull(&image, config).await {
            Ok(_) => fresh += 1,
            Err(error) => ensure!(now() >= read + GRACE, "a pull with what was delivered: {error:#}"),
        }
        // The other keeps what it has for nearly the grace after it was replaced.
        let anew = || Node { config: config.to_vec(), seen: read, is_outdated: false };
        let node = node.get_or_insert_with(anew);
        node.is_outdated |= node.config != config;
        if !node.is_outdated {
            node.seen = read;
        } else if now() >= node.seen + GRACE - SignedDuration::from_mins(2) {
            *node = anew();
        }
        match crane.pull(&image, &node.config).await {
            Ok(_) => old += usize::from(node.is_outdated),
            Err(error) => {
                ensure!(now() >= node.seen + GRACE, "a pull with what was delivered a while ago: {error:#}");
            }
        }
    }
    world.scenario.stop_operator().await?;
    assert!(fresh >= 4 && old >= 1, "{fresh} pulls, {old} with what was replaced");

    let (mints, revocations) = (world.mints(), world.revocations());
    assert_eq!(mints.len() + revocations.len(), world.ocean.requests().len(), "{:?}", world.ocean.requests());
    for (replaced, revocation) in mints.iter().skip(1).zip(&revocations) {
        assert!(revocation.at >= replaced.at + GRACE - CLOCKS_DIFFER, "{:?}", world.ocean.requests());
    }
    world.scenario.judge().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_grace_counts_from_the_delivery_however_long_the_provider_took() -> Result<()> {
    // A minute passes in a second.
    let world = Ocean::start("late", 60).await?;
    let connection = world.connected_with(|spec| spec["refreshIntervalMinutes"] = 1440.into()).await?;
    let old = world.scenario.secrets().get("images").await?;
    world.ocean.pause(Outage::Late(Duration::from_secs(2)));
    world.ask_for_refresh("now").await?;
    let mut seen = world.ocean.clock().now();
    eventually("the delivery", DEADLINE, async || {
        let before = world.ocean.clock().now();
        let is_replaced = world.scenario.secrets().get("images").await?.data != old.data;
        seen = if is_replaced { seen } else { before };
        Ok(is_replaced.then_some(()))
    })
    .await?;
    world.ocean.resume();
    world.renewed(revision(&connection).unwrap_or_default()).await?;
    world.until_alive(1).await?;
    let revoked = world.revocations()[0].at;
    assert!(
        revoked >= seen + SignedDuration::from_mins(1) - CLOCKS_DIFFER,
        "{revoked} although it was there at {seen}"
    );
    world.scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_costs_two_writes_of_the_ledger_and_a_revocation_one() -> Result<()> {
    let world = Ocean::start("writes", 20).await?;
    let connection = world.connected_with(|spec| spec["refreshIntervalMinutes"] = 1440.into()).await?;
    let scenario = &world.scenario;
    let before = revision(&connection).unwrap_or_default().to_owned();
    let logins = world.ocean.logins().len();
    scenario.calls.clear();
    world.ask_for_refresh("now").await?;
    world.renewed(&before).await?;
    let calls = scenario.calls.all();
    let [ledger, target, status] = scenario.written();
    assert_eq!((ledger, target), (2, 1), "{calls:?}");
    assert!(status <= 2, "{calls:?}");
    assert_eq!(world.ocean.logins().len(), logins + 1, "one test");

    scenario.calls.clear();
    world.until_alive(1).await?;
    eventually("the ledger to be written", DEADLINE, async || Ok((scenario.written()[0] > 0).then_some(()))).await?;
    let requests = world.ocean.requests().len();
    let quiet = scenario.calls.quiet_for(Duration::from_secs(1)).await;
    // What came before the silence is about the revocation alone.
    if let Err(calls) = quiet {
        scenario.calls.quiet_for(Duration::from_secs(1)).await.map_err(|more| anyhow!("{calls:?} and {more:?}"))?;
    }
    let calls = scenario.calls.all();
    assert_eq!(scenario.written(), [1, 0, 0], "{calls:?}");
    assert_eq!(world.ocean.requests().len(), requests);
    assert_eq!(requests, 3, "two mints and a revocation: {:?}", world.ocean.requests());
    world.scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn between_refreshes_nothing_is_sent_nor_after_a_restart() -> Result<()> {
    // A second is a quarter of an hour.
    let mut world = Ocean::start("rest", 900).await?;
    world.connected_with(|spec| spec["refreshIntervalMinutes"] = 1440.into()).await?;
    let quiet = async |world: &Ocean| {
        let quiet = world.scenario.calls.quiet_for(Duration::from_secs(2)).await;
        quiet.map_err(|calls| anyhow!("requests at rest: {calls:?}"))
    };
    let (requests, logins) = (world.ocean.requests(), world.ocean.logins());
    quiet(&world).await?;
    world.scenario.stop_operator().await?;
    world.scenario.calls.clear();
    world.scenario.start_operator().await?;
    world.scenario.until_all_looked_at().await?;
    let calls = world.scenario.calls.all();
    assert!(calls.iter().all(|call| call.request.verb == "watch"), "{calls:?}");
    quiet(&world).await?;
    assert_eq!((world.ocean.requests(), world.ocean.logins()), (requests, logins));
    world.scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_was_deleted_while_nobody_ran_is_restored_from_the_ledger() -> Result<()> {
    let mut world = Ocean::start("lost", 1).await?;
    world.connected().await?;
    let before = login(&world.scenario.secrets().get("images").await?)?;
    let logins = world.ocean.logins();
    world.scenario.stop_operator().await?;
    world.scenario.delete_secret("images").await?;
    world.start_operator().await?;
    let restored = world.scenario.until_secret("images", |_| true).await?;
    assert_eq!(login(&restored)?, before);
    assert_eq!((world.ocean.issued(), world.ocean.requests().len()), (1, 1));
    assert_eq!(world.ocean.logins(), logins, "it was proven before");
    world.scenario.ready("images", "True", "LoginProven").await?;
    world.scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_credential_that_the_registry_does_not_know_yet_is_tried_again_and_not_replaced() -> Result<()> {
    let speed = 20;
    let options = digital_ocean::Options { speed, effective_after: Duration::from_secs(30), ..Default::default() };
    let mut world = Ocean::prepare_with("slow", speed, options).await?;
    world.start_operator().await?;
    world.connected().await?;
    let refused = world.ocean.logins().iter().filter(|login| login.status == 401).count();
    assert!(refused >= 1, "{:?}", world.ocean.logins());
    assert!(refused <= 15, "{refused} tries within 30 s");
    assert_eq!((world.ocean.issued(), world.revocations().len()), (1, 0), "{:?}", world.ocean.requests());
    let (user, password) = login(&world.scenario.secrets().get("images").await?)?;
    ensure!(world.ocean.accepts(&user, &password).await?, "what is delivered works");
    world.scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn near_expiry_a_refresh_is_a_test_and_a_renewal_comes_at_half_of_the_life() -> Result<()> {
    let world = Ocean::start("half", FAST).await?;
    world
        .connected_with(|spec| {
            (spec["refreshIntervalMinutes"], spec["renewalPolicy"]) = (5.into(), "NearExpiry".into());
            spec["provider"]["digitalocean"]["expirySeconds"] = 1800.into();
        })
        .await?;
    eventually("a renewal", DEADLINE, async || {
        let (issued, logins) = (world.ocean.issued(), world.ocean.logins().len());
        ensure!(issued == 2, "{issued} issued, {logins} logins");
        Ok(Some(logins))
    })
    .await
    .and_then(|logins| {
        ensure!(logins >= 3, "{logins} logins before half of the life is over");
        Ok(())
    })?;
    let mints = world.mints();
    let after = mints[1].at.duration_since(mints[0].at);
    assert!(after >= SignedDuration::from_mins(15) - CLOCKS_DIFFER, "{after}");
    assert!(after < SignedDuration::from_mins(25), "{after}");
    let mut world = world;
    world.scenario.stop_operator().await?;
    world.scenario.judge().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_has_as_many_requests_as_the_interval_says() -> Result<()> {
    // Four hours pass in four seconds.
    let mut world = Ocean::start("day", 3600).await?;
    world.connected_with(|spec| spec["refreshIntervalMinutes"] = 240.into()).await?;
    eventually("five renewals", DEADLINE, async || Ok((world.ocean.issued() >= 5).then_some(()))).await?;
    world.scenario.stop_operator().await?;
    let mints = world.mints();
    // From the second on they are on the grid.
    let hours = mints[4].at.duration_since(mints[1].at).as_secs_f64() / 3600.0;
    assert!((10.0..16.0).contains(&hours), "three times four hours, and less than one more: {hours}");
    let (all, revoked) = (world.ocean.requests().len(), world.revocations().len());
    assert_eq!(all, mints.len() + revoked, "{:?}", world.ocean.requests());
    assert!(revoked >= mints.len() - 2, "{revoked}");
    let config = world.scenario.secrets().get("images").await?;
    let (user, password) = login(&config)?;
    ensure!(world.ocean.accepts(&user, &password).await?, "what is delivered works");
    Ok(())
}
