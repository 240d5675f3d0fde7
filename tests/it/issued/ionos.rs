//! Tokens of IONOS: found by name, ended by ID, and looked for where nobody wrote them down.

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use serde_json::{Value, json};
use testenv::{Fault, Faults, eventually, provider::ionos};

use super::{Cloud, login, revision, trouble};
use crate::scenario::{DEADLINE, is_ready, tell_all};

/// A minute passes in a second.
const FAST: u32 = 60;

fn options(speed: u32) -> ionos::Options {
    ionos::Options { speed, ..Default::default() }
}

impl Cloud {
    /// Creates a token by hand, with the user's own access.
    pub async fn create_token(&self, token: &str, name: &str) -> Result<()> {
        let id = self.ionos.id("shop")?;
        let body = json!({"properties": {
            "name": name, "status": "enabled", "scopes": [{"type": "repository", "name": "*", "actions": ["pull"]}],
            "expiryDate": (self.ionos.clock().now() + SignedDuration::from_hours(48)).to_string(),
        }});
        let (status, _) = post(&self.ionos.api_url(), &format!("/registries/{id}/tokens"), token, &body).await?;
        ensure!(status == 201, "{status}");
        Ok(())
    }

    fn names(&self) -> Result<Vec<String>> {
        Ok(self.ionos.tokens("shop")?.into_iter().map(|token| token.name).collect())
    }
}

/// One POST to an API on loopback: status and answer.
async fn post(api: &str, path: &str, token: &str, body: &Value) -> Result<(u16, String)> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (host, base) = api.strip_prefix("http://").and_then(|rest| rest.split_once('/')).context("no address")?;
    let mut stream = tokio::net::TcpStream::connect(host).await?;
    let body = body.to_string();
    let head = format!(
        "POST /{base}{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = answer.split(' ').nth(1).context("no status")?.parse()?;
    Ok((status, answer))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_created_renewed_and_deleted_by_whatever_way_in_there_is() -> Result<()> {
    for way in ["name", "id", "login"] {
        let world = Cloud::start_with(way, FAST, options(FAST)).await?;
        let secret = match way {
            "login" => json!({"username": "owner", "password": world.ionos.add_user("owner")}),
            _ => json!({"token": world.ionos.add_token()}),
        };
        world.scenario.write_secret("api", "Opaque", secret).await?;
        let mut spec = world.spec();
        spec["refreshIntervalMinutes"] = 1440.into();
        if way == "id" {
            let ionos = spec["provider"]["ionos"].as_object_mut().context("no provider")?;
            ionos.remove("registryName");
            ionos.insert("registryId".into(), world.ionos.id("shop")?.into());
        }
        world.scenario.connect("images", spec).await?;
        let before = world.scenario.ready("images", "True", "LoginProven").await?;
        let (user, password) = login(&world.scenario.secrets().get("images").await?)?;
        let uid = before.metadata.uid.clone().context("no UID")?;
        assert!(world.names()?[0].starts_with(&format!("regcred-{uid}-")), "{way}: {:?}", world.names()?);
        ensure!(world.ionos.accepts("shop", &user, &password).await?, "{way}");
        world.refreshed(&before).await?;
        world.until_tokens(1).await?;
        ensure!(!world.ionos.accepts("shop", &user, &password).await?, "{way}: the replaced one is deleted");
        assert_eq!((world.ionos.issued(), world.requests("DELETE")), (2, 1), "{way}");
        world.scenario.until("images", |now| is_ready(now, "True", "LoginProven")).await?;
        eventually("all to be looked for", DEADLINE, async || {
            let ledger = world.scenario.ledger_text().await?;
            Ok((ledger.get("straySince").is_none()).then_some(()))
        })
        .await?;
        world.scenario.finish().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_costs_three_writes_of_the_ledger() -> Result<()> {
    let world = Cloud::start("three", 20).await?;
    let before = world.connected_with(|spec| spec["refreshIntervalMinutes"] = 1440.into()).await?;
    let rest = async || {
        eventually("all to be looked for", DEADLINE, async || {
            let ledger = world.scenario.ledger_text().await?;
            Ok((ledger.get("straySince").is_none()).then_some(()))
        })
        .await
    };
    rest().await?;
    world.scenario.calls.clear();
    world.refreshed(&before).await?;
    let ([ledger, target, status], calls) = (world.scenario.written(), world.scenario.calls.all());
    assert_eq!((ledger, target), (3, 1), "{calls:?}");
    assert!(status <= 2, "{calls:?}");
    world.until_tokens(1).await?;
    rest().await?;
    world.scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_not_running_yet_is_waited_for() -> Result<()> {
    let world = Cloud::start_with("new", FAST, ionos::Options { registries: vec![], ..options(FAST) }).await?;
    world.ionos.create_registry("shop")?;
    world.scenario.write_secret("api", "Opaque", json!({"token": world.ionos.add_token()})).await?;
    let mut spec = world.spec();
    spec["refreshIntervalMinutes"] = 1440.into();
    world.scenario.connect("images", spec).await?;
    let waiting = world.scenario.ready("images", "False", "RegistryNotReady").await?;
    let told =
        ["False/RegistryNotReady", "Unknown/RegistryNotReady", "False/RegistryNotReady", "True/RegistryNotReady", "-"];
    assert_eq!(tell_all(&waiting), told);
    assert_eq!(world.ionos.issued(), 0);
    world.ionos.finish_registry("shop").await?;
    world.scenario.ready("images", "True", "LoginProven").await?;
    assert_eq!(world.ionos.issued(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_several_contracts_says_which() -> Result<()> {
    let contracts = vec![31_000_001, 31_000_002];
    let world = Cloud::start_with("contract", 1, ionos::Options { contracts, ..options(1) }).await?;
    world.scenario.write_secret("api", "Opaque", json!({"token": world.ionos.add_token()})).await?;
    world.scenario.connect("images", world.spec()).await?;
    let told = world.scenario.until("images", |now| trouble(now).is_some()).await?;
    let hint = trouble(&told).and_then(|trouble| trouble.hint).unwrap_or_default();
    assert!(hint.contains("contractNumber"), "{hint} {:?}", tell_all(&told));
    let number = json!({"spec": {"provider": {"ionos": {"contractNumber": 31_000_001}}}});
    world.scenario.edit("images", number).await?;
    world.scenario.ready("images", "True", "LoginProven").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_may_do_what_the_scopes_say_and_else_pull() -> Result<()> {
    let world = Cloud::start("scopes", 1).await?;
    world.ionos.push("shop", "team/web:v1").await?;
    world.ionos.push("shop", "other:v1").await?;
    let registry = world.ionos.registry("shop")?;
    let crane = registry.crane();
    let pulls = async |image: &str| -> Result<bool> {
        let secret = world.scenario.secrets().get("images").await?;
        Ok(crane.pull(&world.ionos.image("shop", image)?, super::docker_config(&secret)?).await.is_ok())
    };
    let before = world.connected().await?;
    assert!(pulls("team/web:v1").await? && pulls("other:v1").await?);
    let scopes = json!([{"type": "repository", "name": "team/web", "actions": ["pull"]}]);
    world.scenario.edit("images", json!({"spec": {"provider": {"ionos": {"scopes": scopes}}}})).await?;
    world.scenario.renewed(revision(&before).unwrap_or_default()).await?;
    assert!(pulls("team/web:v1").await? && !pulls("other:v1").await?, "only what the scopes say");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_wrote_down_is_deleted_if_it_is_surely_ours_and_old() -> Result<()> {
    let world = Cloud::start_with("strays", FAST, ionos::Options { page: 40, ..options(FAST) }).await?;
    let token = world.ionos.add_token();
    world.scenario.write_secret("api", "Opaque", json!({"token": token})).await?;
    let mut spec = world.spec();
    spec["refreshIntervalMinutes"] = 1440.into();
    world.scenario.connect("images", spec).await?;
    let before = world.scenario.ready("images", "True", "LoginProven").await?;
    let uid = before.metadata.uid.clone().context("no UID")?;
    let at = |time: Timestamp| format!("{:x}", time.as_millisecond());
    // More than one page of others, and ours among them.
    for number in 0..85 {
        world.create_token(&token, &format!("somebody-{number}")).await?;
    }
    let old = world.ionos.clock().now() - SignedDuration::from_mins(20);
    let stray = format!("regcred-{uid}-{}", at(old));
    let kept = [
        format!("regcred-{}-{}", "0".repeat(36), at(old)),
        format!("regcred-{uid}-by-hand"),
        format!("xregcred-{}-{}", &uid[..8], at(old)),
    ];
    for name in kept.iter().chain([&stray]) {
        world.create_token(&token, name).await?;
    }
    for number in 85..110 {
        world.create_token(&token, &format!("somebody-{number}")).await?;
    }
    // The provider says when it was created, and that must be a while ago, too.
    world.scenario.minutes(16).await?;
    let young = format!("regcred-{uid}-{}", at(world.ionos.clock().now()));
    world.create_token(&token, &young).await?;
    assert!(world.names()?.contains(&stray), "only renewals look for it");
    world.refreshed(&before).await?;
    let mine = |names: &[String]| names.iter().filter(|name| !name.starts_with("somebody-")).count();
    eventually("the stray and what was replaced to go", DEADLINE, async || {
        let names = world.names()?;
        ensure!(mine(&names) == kept.len() + 2, "{names:?}");
        Ok(Some(()))
    })
    .await?;
    let names = world.names()?;
    assert!(kept.iter().chain([&young]).all(|name| names.contains(name)) && !names.contains(&stray), "{names:?}");
    assert_eq!(names.len() - mine(&names), 110);
    let (user, password) = login(&world.scenario.secrets().get("images").await?)?;
    ensure!(world.ionos.accepts("shop", &user, &password).await?, "what is delivered stays");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_connection_has_its_tokens_deleted_as_long_as_there_is_a_way_in() -> Result<()> {
    let world = Cloud::start("gone", 120).await?;
    let before = world.connected_with(|spec| spec["refreshIntervalMinutes"] = 1440.into()).await?;
    world.refreshed(&before).await?;
    world.scenario.disconnect("images").await?;
    world.scenario.until_gone("images").await?;
    world.until_tokens(0).await?;
    world.scenario.until_no_ledger().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_way_in_a_deleted_connection_leaves_tokens_that_run_out_and_an_event() -> Result<()> {
    let mut world = Cloud::start("shut", 240).await?;
    let faults = Faults::new();
    world.scenario.stop_operator().await?;
    world.scenario.faults = Some((faults.clone(), |request| request.resource == "events"));
    world.scenario.start_operator().await?;
    world
        .connected_with(|spec| {
            spec["refreshIntervalMinutes"] = 5.into();
            // Long enough for all that is to happen before the end, however busy the machine is.
            spec["provider"]["ionos"]["tokenTtlMinutes"] = 90.into();
        })
        .await?;
    world.scenario.delete_secret("api").await?;
    // The deleted Secret is told, too, and whoever cannot tell something tries again.
    world.scenario.until_told("SecretNotFound").await?;
    faults.arm(1, Fault::Answer(500));
    world.scenario.disconnect("images").await?;
    let ledger = world.scenario.ledger().await?.context("no ledger")?.name_any();
    // What was replaced before the Secret went may be told of, too: renewals are seconds apart.
    let of_ledger = async || {
        let mut told = world.scenario.told("NotRevoked").await?;
        told.retain(|told| told.contains(&ledger) && told.contains("expire"));
        anyhow::Ok(told)
    };
    eventually("an event about the ledger", DEADLINE, async || Ok((!of_ledger().await?.is_empty()).then_some(())))
        .await?;
    let asked = world.ionos.requests().len();
    world.scenario.until_no_ledger().await?;
    assert_eq!(world.ionos.alive(), 0, "it ran out");
    assert_eq!(world.ionos.requests().len(), asked, "nothing is asked without a way in");
    assert_eq!(of_ledger().await?.len(), 1);
    assert_eq!(faults.has_met().as_deref(), Some("create events"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_stand_for_nothing_any_more_keep_nobody_from_another_credential() -> Result<()> {
    let world = Cloud::start("names", 1).await?;
    let before = world.connected_with(|spec| spec["refreshIntervalMinutes"] = 1440.into()).await?;
    // As many as an outage leaves in which the provider takes requests and answers none.
    let mut ledger = world.scenario.ledger_text().await?;
    let issuer = ledger["current"]["issuer"].clone();
    let name = |number: i32| json!({"name": format!("lost-{number}"), "at": "2026-01-01T00:00:00Z", "issuer": issuer});
    ledger["names"] = (0..16).map(name).collect();
    world.scenario.overwrite_ledger(ledger.to_string().as_bytes()).await?;
    world.refreshed(&before).await?;
    assert_eq!(world.scenario.ledger_text().await?.get("names"), None);
    Ok(())
}
