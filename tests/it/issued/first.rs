//! The way of a credential that is issued: into the ledger, through a test, into the Secret, and out again.

use anyhow::{Result, ensure};

use super::{Ocean, login, revision};

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_issued_proven_and_delivered_once() -> Result<()> {
    let world = Ocean::start("issued", 1).await?;
    let connection = world.connected().await?;
    let status = connection.status.clone().unwrap_or_default();
    assert_eq!(status.registry_host, Some(world.ocean.host()));
    assert_eq!(world.ocean.issued(), 1, "{:?}", world.ocean.requests());

    let (user, password) = login(&world.scenario.secrets().get("images").await?)?;
    ensure!(world.ocean.accepts(&user, &password).await?, "the delivered credential works");
    let ledger = world.scenario.ledger_text().await?;
    assert_eq!(ledger["current"]["revision"].as_str(), revision(&connection));
    assert_eq!((ledger["version"].as_u64(), &ledger["candidate"]), (Some(1), &serde_json::Value::Null));
    world.scenario.finish().await?;
    assert_eq!(world.ocean.issued(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_is_asked_for_renews_and_revokes_after_the_grace() -> Result<()> {
    let world = Ocean::start("renewed", 30).await?;
    let connection = world.connected_with(|spec| spec["refreshIntervalMinutes"] = 1440.into()).await?;
    let before = revision(&connection).unwrap_or_default().to_owned();
    let old = login(&world.scenario.secrets().get("images").await?)?;

    world.ask_for_refresh("now").await?;
    world.renewed(&before).await?;
    let new = login(&world.scenario.secrets().get("images").await?)?;
    ensure!(old != new, "another credential is delivered");
    ensure!(world.ocean.accepts(&old.0, &old.1).await?, "the old one works on during the grace");

    world.until_alive(1).await?;
    ensure!(!world.ocean.accepts(&old.0, &old.1).await?, "the old one is revoked");
    ensure!(world.ocean.accepts(&new.0, &new.1).await?, "the new one works");
    assert_eq!(world.ocean.issued(), 2);
    world.scenario.finish().await
}
