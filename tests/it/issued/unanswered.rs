//! Answers that do not come at the worst moment: of the API server, of the provider.

use anyhow::{Result, ensure};
use regcred::api::{RegistryConnection, names::LEDGER_PREFIX};
use serde_json::json;
use testenv::{
    DigitalOcean, Fault, Faults, eventually,
    provider::{Outage, digital_ocean},
};

use super::{Ocean, SCOPES, revision};
use crate::scenario::{DEADLINE, is_ready};

/// A minute passes in half a second.
const FAST: u32 = 120;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_revoked_because_nobody_knew_that_it_was_written_down_is_not_taken_for_refused() -> Result<()> {
    let mut world = Ocean::prepare("ended", FAST).await?;
    let faults = Faults::new();
    world.scenario.faults = Some((faults.clone(), |request| request.name.starts_with(LEDGER_PREFIX)));
    world.start_operator().await?;
    let before = world.connected_with(|spec| spec["refreshIntervalMinutes"] = 1440.into()).await?;
    // The ledger is read, then written; and then the API server is away as long as it is tried.
    faults.arm(2, Fault::AnswerLost);
    world.ask_for_refresh("now").await?;
    let mut met = vec![faults.met().await];
    for _ in 0..3 {
        faults.arm(1, Fault::Answer(500));
        met.push(faults.met().await);
    }
    ensure!(met[0].starts_with("patch ") && met[1..].iter().all(|met| met.starts_with("get ")), "{met:?}");
    world.renewed(revision(&before).unwrap_or_default()).await?;
    world.until_alive(1).await?;
    assert_eq!(world.ocean.issued(), 3);
    assert_eq!(world.scenario.told("InvalidCredentials").await?, Vec::<String>::new());
    world.scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_provider_keeps_no_revocation_at_another_one_waiting() -> Result<()> {
    let world = Ocean::start("silent", FAST).await?;
    let first = world.connected_with(|spec| spec["refreshIntervalMinutes"] = 1440.into()).await?;
    world.ocean.pause(Outage::Silent);
    let other = DigitalOcean::start(digital_ocean::Options { speed: FAST, ..Default::default() }).await?;
    world.scenario.agree_on_time(other.clock());
    world.scenario.write_secret("other", "Opaque", json!({"token": other.add_token(SCOPES)})).await?;
    let provider = json!({"digitalocean": {"apiUrl": other.api_url(), "secretRef": {"name": "other"}}});
    world.scenario.edit("images", json!({"spec": {"provider": provider}})).await?;
    // The operator is hardly ever at rest: it asks the silent one again and again.
    let renewed = async |before: &RegistryConnection| {
        eventually("another revision", DEADLINE, async || {
            let now = world.scenario.connections().get("images").await?;
            Ok((is_ready(&now, "True", "LoginProven") && revision(&now) != revision(before)).then_some(now))
        })
        .await
    };
    let second = renewed(&first).await?;
    world.ask_for_refresh("now").await?;
    renewed(&second).await?;
    eventually("one to be left at the other", DEADLINE, async || Ok((other.alive() == 1).then_some(()))).await?;
    let told = world.scenario.until_told("NotRevoked").await?;
    ensure!(told[0].contains("did not answer"), "{told:?}");
    assert_eq!((world.ocean.alive(), other.issued()), (1, 2));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_ledger_is_told_once_however_long_nothing_can_be_issued() -> Result<()> {
    let world = Ocean::start("once", FAST).await?;
    let before = world.connected_with(|spec| spec["refreshIntervalMinutes"] = 1440.into()).await?;
    world.ocean.pause(Outage::Unavailable);
    world.scenario.delete_ledger().await?;
    world.scenario.until_told("LedgerLost").await?;
    // It is tried again every five minutes at least.
    let asked = world.ocean.requests().len();
    eventually("some tries", DEADLINE, async || Ok((world.ocean.requests().len() > asked + 3).then_some(()))).await?;
    world.ocean.resume();
    world.renewed(revision(&before).unwrap_or_default()).await?;
    assert_eq!(world.scenario.told("LedgerLost").await?.len(), 1);
    world.scenario.finish().await
}
