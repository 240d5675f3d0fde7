//! What the provider refuses, and what happens while it is away: told once, in words that help, without a storm.

use anyhow::{Context as _, Result, ensure};
use jiff::SignedDuration;
use serde_json::json;
use testenv::{
    eventually,
    provider::{ApiRequest, Login, Outage, digital_ocean},
};

use super::{Ocean, SCOPES, login, revision, trouble};
use crate::scenario::{DEADLINE, tell_all};

const SECRET: &str = "spec.provider.digitalocean.secretRef";
const NAME: &str = "spec.provider.digitalocean.registryName";

/// Five minutes pass in two and a half seconds.
const FAST: u32 = 120;

#[tokio::test(flavor = "multi_thread")]
async fn an_api_token_that_is_wrong_or_may_too_little_is_told_with_the_remedy_and_not_tried_again_and_again()
-> Result<()> {
    // A minute passes in a tenth of a second.
    let world = Ocean::start("token", 600).await?;
    let table: [(&str, String, &str, &[&str]); 3] = [
        ("unknown", "dop_v1_unknown".into(), "InvalidCredentials", &["registry:read", "registry:update"]),
        ("reads", world.ocean.add_token(&SCOPES[..1]), "InsufficientScope", &["registry:read", "registry:update"]),
        (
            "elsewhere",
            world.ocean.add_token(&["droplet:read"]),
            "InsufficientScope",
            &["registry:read", "registry:update"],
        ),
    ];
    world.write_token(&table[0].1).await?;
    let mut spec = world.spec();
    spec["refreshIntervalMinutes"] = 1440.into();
    world.scenario.connect("images", spec).await?;
    for (name, token, code, words) in table {
        world.write_token(&token).await?;
        let told = world.scenario.ready("images", "False", code).await?;
        let trouble = trouble(&told).context("no trouble")?;
        assert_eq!((trouble.code.as_str(), trouble.field.as_deref()), (code, Some(SECRET)), "{name}");
        let hint = trouble.hint.unwrap_or_default();
        assert!(words.iter().all(|word| hint.contains(word)), "{name}: {hint}");
        assert!(trouble.request_id.is_some(), "{name}");
        // A right that is missing says nothing of the credentials that were issued before.
        let valid = if code == "InvalidCredentials" { "False" } else { "Unknown" };
        let expected = [
            format!("False/{code}"),
            format!("{valid}/{code}"),
            format!("False/{code}"),
            "-".into(),
            format!("True/{code}"),
        ];
        assert_eq!(tell_all(&told), expected, "{name}");
    }
    // Rights are asked for every ten minutes, as they come without a sign.
    let (before, since) = (world.ocean.requests().len(), world.ocean.clock().now());
    world.scenario.minutes(60).await?;
    let asked = world.ocean.requests().len() - before;
    let minutes = usize::try_from(world.ocean.clock().now().duration_since(since).as_mins())?;
    assert!(asked <= 1 + minutes / 10, "{asked} requests in {minutes} min");
    assert!(world.scenario.secrets().get_opt("images").await?.is_none());

    world.write_token(&world.ocean.add_token(SCOPES)).await?;
    world.scenario.ready("images", "True", "LoginProven").await?;
    assert_eq!(world.ocean.issued(), 1);
    let mut world = world;
    world.scenario.stop_operator().await?;
    world.scenario.judge().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_api_token_leaves_the_last_credential_until_its_end_which_is_told_once() -> Result<()> {
    let world = Ocean::start("revoked", FAST).await?;
    let token = world.ocean.add_token(SCOPES);
    world.write_token(&token).await?;
    let mut spec = world.spec();
    spec["refreshIntervalMinutes"] = 5.into();
    spec["provider"]["digitalocean"]["expirySeconds"] = 1800.into();
    world.scenario.connect("images", spec).await?;
    world.scenario.ready("images", "True", "LoginProven").await?;
    world.ocean.revoke_token(&token);
    let told = world.scenario.ready("images", "False", "InvalidCredentials").await?;
    let end = told.status.clone().and_then(|status| status.credential?.expires_at).context("no end")?.0;
    let delivered = world.scenario.secrets().get("images").await?;
    let (user, password) = login(&delivered)?;
    assert!(world.ocean.accepts(&user, &password).await? || world.ocean.clock().now() >= end, "it works until its end");
    assert_eq!(trouble(&told).and_then(|trouble| trouble.field).as_deref(), Some(SECRET));

    world.scenario.ready("images", "False", "Expired").await?;
    world.scenario.minutes(15).await?;
    let refused = world.ocean.requests().iter().filter(|request| request.status == Some(401)).count();
    assert!(refused <= 3, "{refused} requests with a token that was refused");
    assert_eq!(world.scenario.until_told("Expired").await?.len(), 1);
    assert_eq!(world.scenario.secrets().get("images").await?, delivered, "what was delivered stays");
    let metrics = world.scenario.metrics().await?;
    let expiry = metrics.lines().find(|line| line.starts_with("regcred_credential_expiry_timestamp_seconds{"));
    assert!(expiry.is_some_and(|line| line.ends_with(&format!(" {}", end.as_second()))), "{expiry:?} {end}");

    world.write_token(&world.ocean.add_token(SCOPES)).await?;
    let mended = world.scenario.ready("images", "True", "LoginProven").await?;
    assert_ne!(revision(&mended), revision(&told));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_not_there_or_not_the_only_one_is_told_at_its_field() -> Result<()> {
    let paths = [digital_ocean::Paths::Both, digital_ocean::Paths::New, digital_ocean::Paths::Old];
    for (at, paths) in paths.into_iter().enumerate() {
        let is_old = paths == digital_ocean::Paths::Old;
        let mut registries = vec!["shop".to_owned()];
        registries.extend(is_old.then(|| "team".to_owned()));
        let options = digital_ocean::Options { paths, registries, ..Default::default() };
        let mut world = Ocean::prepare_with(&format!("unknown-{at}"), 1, options).await?;
        world.start_operator().await?;
        world.write_token(&world.ocean.add_token(SCOPES)).await?;
        let mut spec = world.spec();
        if !is_old {
            spec["provider"]["digitalocean"]["registryName"] = "nowhere".into();
        }
        world.scenario.connect("images", spec).await?;
        let told = world.scenario.ready("images", "False", "InvalidSpec").await?;
        let trouble = trouble(&told).context("no trouble")?;
        assert_eq!(trouble.field.as_deref(), Some(NAME), "{paths:?}");
        assert!(trouble.hint.is_some_and(|hint| hint.contains("registryName")), "{paths:?}");
        assert_eq!(trouble.message.contains("several"), is_old, "{paths:?}: {}", trouble.message);
        assert!(world.ocean.requests().len() <= 3 && world.ocean.issued() == 0, "{:?}", world.ocean.requests());
        world.scenario.finish().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_path_serves_an_account_with_one_registry() -> Result<()> {
    let options = digital_ocean::Options { paths: digital_ocean::Paths::Old, speed: 30, ..Default::default() };
    let mut world = Ocean::prepare_with("old", 30, options).await?;
    world.start_operator().await?;
    let connection = world.connected_with(|spec| spec["refreshIntervalMinutes"] = 1440.into()).await?;
    world.ask_for_refresh("now").await?;
    world.renewed(revision(&connection).unwrap_or_default()).await?;
    world.until_alive(1).await?;
    assert_eq!(world.ocean.issued(), 2);
    world.scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_down_past_the_end_is_told_once_and_made_up_for_when_it_is_back() -> Result<()> {
    let world = Ocean::start("down", FAST).await?;
    let before = world
        .connected_with(|spec| {
            spec["refreshIntervalMinutes"] = 5.into();
            spec["provider"]["digitalocean"]["expirySeconds"] = 1800.into();
        })
        .await?;
    world.ocean.pause(Outage::Closed);
    let dark = world.scenario.until("images", |now| tell_all(now)[1] == "Unknown/Unreachable").await?;
    assert_eq!(tell_all(&dark)[..3], ["True/LoginProven", "Unknown/Unreachable", "True/Delivered"]);
    let end = dark.status.clone().and_then(|status| status.credential?.expires_at).context("no end")?.0;
    let (asked, since) = (world.ocean.requests().len(), world.ocean.clock().now());
    world.scenario.ready("images", "False", "Expired").await?;
    world.scenario.minutes(20).await?;
    assert_eq!(world.scenario.until_told("Expired").await?.len(), 1);
    let metrics = world.scenario.metrics().await?;
    let expiry = metrics.lines().find(|line| line.starts_with("regcred_credential_expiry_timestamp_seconds{"));
    assert!(expiry.is_some_and(|line| line.ends_with(&format!(" {}", end.as_second()))), "{expiry:?} {end}");
    // Pauses grow to between 1 s and 5 min, two and a half in the mean.
    let minutes = usize::try_from(world.ocean.clock().now().duration_since(since).as_mins())?;
    let asked = world.ocean.requests().len() - asked;
    assert!(asked <= 12 + minutes, "{asked} requests in {minutes} min");

    world.ocean.resume();
    let after = world.scenario.ready("images", "True", "LoginProven").await?;
    assert_ne!(revision(&after), revision(&before));
    let (user, password) = login(&world.scenario.secrets().get("images").await?)?;
    ensure!(world.ocean.accepts(&user, &password).await?, "what is delivered works");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn all_who_share_an_api_token_wait_while_its_limit_is_reached_and_nobody_else() -> Result<()> {
    // A minute passes in three seconds.
    let speed = 20;
    let options = digital_ocean::Options { speed, requests_a_minute: 2, ..Default::default() };
    let mut world = Ocean::prepare_with("limit", speed, options).await?;
    world.start_operator().await?;
    world.write_token(&world.ocean.add_token(SCOPES)).await?;
    let own = json!({"token": world.ocean.add_token(SCOPES)});
    world.scenario.write_secret("own", "Opaque", own).await?;
    let names = ["one", "two", "three", "four"];
    for name in names {
        let mut spec = world.spec();
        spec["refreshIntervalMinutes"] = 1440.into();
        world.scenario.connect(name, spec).await?;
    }
    let refused = || {
        let is_refused = |request: &ApiRequest| request.status == Some(429);
        world.ocean.requests().iter().filter(|request| is_refused(request)).count()
    };
    eventually("the limit", DEADLINE, async || Ok((refused() >= 1).then_some(()))).await?;
    let mut spec = world.spec();
    spec["provider"]["digitalocean"]["secretRef"]["name"] = "own".into();
    world.scenario.connect("other", spec).await?;
    world.scenario.ready("other", "True", "LoginProven").await?;
    for name in names {
        world.scenario.ready(name, "True", "LoginProven").await?;
    }
    // Only who was on its way already learns it for itself.
    assert!(refused() <= 2 * names.len(), "{:?}", world.ocean.requests());
    assert_eq!(world.ocean.issued(), names.len() + 1);
    let first = world.ocean.requests().into_iter().find(|request| request.status == Some(429)).context("no limit")?;
    let soon = first.at + SignedDuration::from_secs(20);
    let is_early = |at| at > first.at + SignedDuration::from_secs(10) && at < soon;
    let early = world.ocean.requests().into_iter().filter(|one| one.login == Login::ApiToken(0) && is_early(one.at));
    assert_eq!(early.count(), 0, "{:?}", world.ocean.requests());
    world.scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_shorter_than_two_intervals_is_refused_by_the_api_server_at_its_field() -> Result<()> {
    let world = Ocean::prepare("short", 1).await?;
    for (interval, life, is_accepted) in [(Some(30), 3599, false), (Some(30), 3600, true), (None, 3599, false)] {
        let mut spec = world.spec();
        if let Some(interval) = interval {
            spec["refreshIntervalMinutes"] = json!(interval);
        }
        spec["provider"]["digitalocean"]["expirySeconds"] = life.into();
        let made = world.scenario.connect(&format!("images-{life}"), spec).await;
        match made {
            Ok(_) => assert!(is_accepted, "{life}"),
            Err(error) => {
                let error = format!("{error:#}");
                assert!(!is_accepted && error.contains("expirySeconds"), "{life}: {error}");
            }
        }
    }
    Ok(())
}
