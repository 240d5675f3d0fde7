//! Credentials that a provider issues, for many namespaces: one for all of them.

use anyhow::{Context as _, Result, ensure};
use regcred::api::ConditionType;
use serde_json::{Value, json};
use testenv::{
    DigitalOcean, eventually,
    provider::{Outage, digital_ocean},
};
use tokio::time::Instant;

use super::{
    Wide,
    hook::{Hook, later},
    tell,
};
use crate::{issued::SCOPES, scenario::DEADLINE};

/// A minute passes in half a second.
const FAST: u32 = 120;

/// Many namespaces.
const N: usize = 100;

/// An account for which time runs so much faster, with access to it in the source `api`, and an operator that shares its clock.
async fn start(wide: &mut Wide, speed: u32, grace: jiff::SignedDuration) -> Result<DigitalOcean> {
    let ocean = DigitalOcean::start(digital_ocean::Options { speed, ..Default::default() }).await?;
    wide.scenario.set_speed(speed);
    wide.scenario.arguments.revocation_grace = grace;
    let host = ocean.api_url();
    let host = host.strip_prefix("http://").or(host.strip_prefix("https://")).context("no URL")?.to_owned();
    wide.scenario.write_secret("api", "Opaque", json!({"token": ocean.add_token(SCOPES)})).await?;
    let marks = json!({
        "labels": {"regcred.dev/source": "true"}, "annotations": {"regcred.dev/registry-host": host},
    });
    wide.scenario.edit_secret("api", json!({"metadata": marks})).await?;
    wide.scenario.start_operator().await?;
    wide.scenario.agree_on_time(ocean.clock());
    Ok(ocean)
}

/// A connection that has its credential issued there, and renewed only if somebody asks for it.
fn spec(wide: &Wide, ocean: &DigitalOcean) -> Value {
    let mut spec = wide.spec();
    spec["provider"] = json!({"digitalocean": {
        "registryName": "shop", "apiUrl": ocean.api_url(), "secretRef": {"name": "api"},
    }});
    spec["refreshIntervalMinutes"] = 1440.into();
    spec
}

#[tokio::test(flavor = "multi_thread")]
async fn one_credential_is_issued_for_all_namespaces_and_replaced_in_all_before_it_is_revoked() -> Result<()> {
    let mut wide = Wide::prepare("minted").await?;
    let ocean = start(&mut wide, FAST, jiff::SignedDuration::from_mins(1)).await?;
    wide.create_namespaces(0..20).await?;
    wide.connect("images", spec(&wide, &ocean)).await?;
    wide.ready("images", ("True", "LoginProven"), (20, 20)).await?;
    assert_eq!((ocean.issued(), ocean.alive()), (1, 1));

    let revisions = async || {
        let all = wide.delivered("images").await?.into_values();
        let revision = |secret: k8s_openapi::api::core::v1::Secret| {
            secret.metadata.annotations.and_then(|mut all| all.remove("regcred.dev/credential-revision"))
        };
        Ok::<_, anyhow::Error>(all.filter_map(revision).collect::<std::collections::BTreeSet<_>>())
    };
    let before = revisions().await?;
    wide.scenario.calls.clear();
    let ask = json!({"metadata": {"annotations": {"regcred.dev/refresh-requested-at": "now"}}});
    wide.edit("images", ask).await?;
    eventually("another revision everywhere", DEADLINE, async || {
        let now = revisions().await?;
        Ok((now.len() == 1 && now != before).then_some(()))
    })
    .await?;
    eventually("the first to be revoked", DEADLINE, async || Ok((ocean.alive() == 1).then_some(()))).await?;
    assert_eq!(ocean.issued(), 2, "one for all of them");
    let told = wide.ready("images", ("True", "LoginProven"), (20, 20)).await?;
    assert_eq!(tell(&told, ConditionType::Delivered), "True/Delivered");
    let targets = wide.scenario.calls.count(|call| call.is("update", "secrets", "") && call.request.name == "images");
    assert_eq!(targets, 20, "each is written once");

    // A new namespace needs no other one.
    wide.create_namespaces(20..21).await?;
    wide.ready("images", ("True", "LoginProven"), (21, 21)).await?;
    ensure!(ocean.issued() == 2, "{} were issued", ocean.issued());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_where_the_api_server_gives_no_decision_is_not_revoked() -> Result<()> {
    let mut wide = Wide::prepare("undecided").await?;
    let ocean = start(&mut wide, 1, jiff::SignedDuration::ZERO).await?;
    wide.create_namespaces(0..5).await?;
    wide.connect("images", spec(&wide, &ocean)).await?;
    wide.ready("images", ("True", "LoginProven"), (5, 5)).await?;
    let hook = Hook::install(&wide, "UPDATE", 0..1, later).await?;
    wide.edit("images", json!({"metadata": {"annotations": {"regcred.dev/refresh-requested-at": "now"}}})).await?;
    wide.ready("images", ("True", "LoginProven"), (4, 5)).await?;
    let calls = wide.scenario.calls.clone();
    let namespace = wide.namespace(0);
    eventually("another try there, after a whole pass", DEADLINE, async || {
        let tries = calls.count(|call| call.is("update", "secrets", "") && call.request.namespace == namespace);
        Ok((tries >= 3).then_some(()))
    })
    .await?;
    assert_eq!((ocean.issued(), ocean.alive()), (2, 2), "one namespace still holds the first");
    hook.remove(&wide).await?;
    wide.ready("images", ("True", "LoginProven"), (5, 5)).await?;
    eventually("the first to be revoked", DEADLINE, async || Ok((ocean.alive() == 1).then_some(()))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_provider_is_in_trouble_new_namespaces_get_what_the_others_have_and_it_is_not_asked_for_them()
-> Result<()> {
    let mut wide = Wide::prepare("away").await?;
    let ocean = start(&mut wide, 1, jiff::SignedDuration::ZERO).await?;
    wide.create_namespaces(0..3).await?;
    wide.connect("images", spec(&wide, &ocean)).await?;
    wide.ready("images", ("True", "LoginProven"), (3, 3)).await?;
    ocean.pause(Outage::Unavailable);
    wide.edit("images", json!({"metadata": {"annotations": {"regcred.dev/refresh-requested-at": "now"}}})).await?;
    wide.until("images", |now| now.status.as_ref().is_some_and(|status| status.last_error.is_some())).await?;
    let (before, begun) = (ocean.requests().len(), Instant::now());
    for number in 3..30 {
        wide.create_namespaces(number..number + 1).await?;
        wide.until_delivered_to("images", &(0..=number).collect::<Vec<_>>()).await?;
    }
    let asked = ocean.requests().len() - before;
    // Two tries are at least a second apart.
    let most = begun.elapsed().as_secs() + 2;
    ensure!(u64::try_from(asked)? <= most, "{asked} requests for 27 namespaces, of which {most} in their time");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_namespaces_cost_one_credential_and_as_many_ledger_writes_as_one_namespace() -> Result<()> {
    let mut wide = Wide::prepare("ledgers").await?;
    // Without grace there is no need for time to run faster, and with that for numbers to be told more often.
    let ocean = start(&mut wide, 1, jiff::SignedDuration::ZERO).await?;
    wide.create_namespaces(0..N).await?;
    wide.scenario.calls.clear();
    wide.connect("images", spec(&wide, &ocean)).await?;
    let before = wide.ready("images", ("True", "LoginProven"), (100, 100)).await?;
    let before = before.status.and_then(|status| status.credential);
    wide.at_rest().await?;
    assert_eq!((ocean.issued(), ocean.alive()), (1, 1));
    let mut asked = wide.asked();
    assert_eq!(asked.take("create secrets"), N);
    // docs/design/0014: issued, so there is a ledger; accepted.
    assert_eq!((asked.take("create secrets at home"), asked.take("patch secrets at home")), (1, 1));
    let (told, reads) = (asked.take_statuses(), asked.take_source_reads());
    ensure!(told <= 2, "{told} statuses for one delivery");
    ensure!(reads <= 2, "{reads} reads: the access and, where nothing says that there is none, the ledger");
    asked.nothing_else()?;

    wide.scenario.calls.clear();
    let ask = json!({"metadata": {"annotations": {"regcred.dev/refresh-requested-at": "now"}}});
    wide.edit("images", ask).await?;
    wide.until("images", |now| {
        now.status.as_ref().is_some_and(|status| status.credential != before)
            && tell(now, ConditionType::Delivered) == "True/Delivered"
    })
    .await?;
    eventually("the first to be revoked", DEADLINE, async || Ok((ocean.alive() == 1).then_some(()))).await?;
    wide.at_rest().await?;
    assert_eq!(ocean.issued(), 2, "one for all of them");
    let mut asked = wide.asked();
    assert_eq!(asked.take("update secrets"), N);
    // Issued, accepted in the place of the first, and the first revoked.
    assert_eq!(asked.take("patch secrets at home"), 3);
    let (told, reads) = (asked.take_statuses(), asked.take_source_reads());
    ensure!(told <= 2, "{told} statuses for one renewal");
    ensure!(reads <= 4, "{reads} reads: access and ledger to renew, and both to revoke");
    asked.nothing_else()?;
    Ok(())
}
