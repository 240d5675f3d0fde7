//! What changes around a credential while it is delivered: a Secret that goes and comes back, another API, another name of the
//! target, an image that is pushed later.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testenv::{Ionos, eventually, provider::ionos};

use super::{Cloud, Ocean, login, revision, trouble};
use crate::scenario::{DEADLINE, is_ready};

/// A minute passes in half a second.
const FAST: u32 = 120;

#[tokio::test(flavor = "multi_thread")]
async fn an_api_secret_that_comes_back_as_it_was_is_used_again_and_costs_no_credential() -> Result<()> {
    let world = Ocean::start("restored", FAST).await?;
    world.connected_with(|spec| spec["refreshIntervalMinutes"] = 1440.into()).await?;
    let secret = world.scenario.secrets().get("api").await?;
    let token = secret.data.context("no data")?.remove("token").context("no token")?;
    world.scenario.delete_secret("api").await?;
    let before = world.scenario.troubled("SecretNotFound").await?;
    world.scenario.write_secret("api", "Opaque", json!({"token": std::str::from_utf8(&token.0)?})).await?;
    world.scenario.until("images", |now| is_ready(now, "True", "LoginProven") && trouble(now).is_none()).await?;
    assert_eq!(world.ocean.issued(), 1);
    world.ask_for_refresh("now").await?;
    world.renewed(revision(&before).unwrap_or_default()).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_gives_access_to_one_api_is_not_sent_to_another_that_issued_something_before() -> Result<()> {
    let world = Cloud::start("moved", FAST).await?;
    let before = world.connected_with(|spec| spec["refreshIntervalMinutes"] = 1440.into()).await?;
    let (user, password) = login(&world.scenario.secrets().get("images").await?)?;
    let other = Ionos::start(ionos::Options { speed: FAST, ..Default::default() }).await?;
    world.scenario.agree_on_time(other.clock());
    world.scenario.write_secret("other", "Opaque", json!({"token": other.add_token()})).await?;
    let provider = json!({"ionos": {"apiUrl": other.api_url(), "secretRef": {"name": "other"}}});
    world.scenario.edit("images", json!({"spec": {"provider": provider}})).await?;
    world.scenario.renewed(revision(&before).unwrap_or_default()).await?;
    // Only with its own token can it be deleted there.
    world.until_tokens(0).await?;
    ensure!(!world.ionos.accepts("shop", &user, &password).await?, "it works on");
    assert_eq!(other.alive(), 1);
    world.scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stays_behind_under_another_name_works_on() -> Result<()> {
    let world = Ocean::start("renamed", FAST).await?;
    let retain = |spec: &mut Value| {
        (spec["refreshIntervalMinutes"], spec["deletionPolicy"]) = (1440.into(), "Retain".into());
    };
    let before = world.connected_with(retain).await?;
    let (user, password) = login(&world.scenario.secrets().get("images").await?)?;
    world.scenario.edit("images", json!({"spec": {"secret": {"name": "pictures"}}})).await?;
    eventually("the other name", DEADLINE, async || Ok(world.scenario.secrets().get_opt("pictures").await?)).await?;
    world.ask_for_refresh("now").await?;
    world.renewed(revision(&before).unwrap_or_default()).await?;
    // By then it is known that what the other one holds stays.
    world.scenario.minutes(4).await?;
    world.ask_for_refresh("again").await?;
    // What only the target held is revoked; what the other one holds is not.
    eventually("three, of which two work", DEADLINE, async || {
        Ok((world.ocean.issued() == 3 && world.ocean.alive() == 2).then_some(()))
    })
    .await?;
    world.scenario.minutes(5).await?;
    ensure!(world.ocean.accepts(&user, &password).await?, "what a Secret holds works on");
    assert_eq!((world.ocean.issued(), world.ocean.alive()), (3, 2));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_pushed_later_is_noticed_and_the_wait_for_it_is_calm() -> Result<()> {
    let world = Ocean::start("later", FAST).await?;
    world.scenario.write_secret("api", "Opaque", json!({"token": world.ocean.add_token(super::SCOPES)})).await?;
    let mut spec = world.spec();
    spec["refreshIntervalMinutes"] = 1440.into();
    spec["test"] = json!({"repositories": [{"name": "shop/late"}]});
    world.scenario.connect("images", spec).await?;
    world.scenario.ready("images", "False", "RepositoryNotFound").await?;
    world.scenario.minutes(25).await?;
    let looks = world.scenario.calls.all().iter().filter(|call| call.is("get", "secrets", "")).count();
    ensure!(looks < 20, "{looks} reads of Secrets");
    world.ocean.push("shop/late:v1").await?;
    world.scenario.ready("images", "True", "RepositoriesProven").await?;
    assert_eq!(world.ocean.issued(), 1);
    world.scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_a_lost_ledger_held_are_found_even_if_the_connection_goes() -> Result<()> {
    let world = Cloud::start("lost", 240).await?;
    let before = world.connected_with(|spec| spec["refreshIntervalMinutes"] = 1440.into()).await?;
    world.scenario.minutes(16).await?;
    world.scenario.delete_ledger().await?;
    world.scenario.renewed(revision(&before).unwrap_or_default()).await?;
    world.scenario.disconnect("images").await?;
    world.until_tokens(0).await?;
    world.scenario.until_no_ledger().await?;
    assert_eq!(world.ionos.alive(), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_were_chosen_for_another_api_credential_are_looked_for_before_they_are_forgotten() -> Result<()> {
    let world = Cloud::start("chosen", FAST).await?;
    let before = world.connected_with(|spec| spec["refreshIntervalMinutes"] = 1440.into()).await?;
    let secret = world.scenario.secrets().get("api").await?.data.context("no data")?;
    let token = std::str::from_utf8(&secret["token"].0)?.to_owned();
    let name = format!("regcred-{}-1a2010c378c", "0".repeat(36));
    world.create_token(&token, &name).await?;
    let mut ledger = world.scenario.ledger_text().await?;
    let mut issuer = ledger["current"]["issuer"].clone();
    issuer["ionos"]["secret"]["name"] = "gone".into();
    ledger["names"] = json!([{"name": name, "at": "2026-01-01T00:00:00Z", "issuer": issuer}]);
    world.scenario.overwrite_ledger(ledger.to_string().as_bytes()).await?;
    world.refreshed(&before).await?;
    world.until_tokens(1).await?;
    testenv::eventually("the name to be forgotten", crate::scenario::DEADLINE, async || {
        Ok(world.scenario.ledger_text().await?.get("names").is_none().then_some(()))
    })
    .await?;
    world.scenario.finish().await
}
