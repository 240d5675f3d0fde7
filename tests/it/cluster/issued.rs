//! Credentials that a provider issues, for many namespaces: one for all of them.

use anyhow::{Context as _, Result, ensure};
use regcred::api::ConditionType;
use serde_json::{Value, json};
use testenv::{
    DigitalOcean, eventually,
    provider::{Outage, digital_ocean},
};

use super::{Wide, tell};
use crate::{issued::SCOPES, scenario::DEADLINE};

/// A minute passes in half a second.
const FAST: u32 = 120;

/// An operator at a provider, with the access it needs, for both of which time goes by so fast.
async fn prepared(name: &str, speed: u32) -> Result<(Wide, DigitalOcean)> {
    let mut wide = Wide::prepare(name).await?;
    let ocean = DigitalOcean::start(digital_ocean::Options { speed, ..Default::default() }).await?;
    wide.scenario.set_speed(speed);
    wide.scenario.arguments.revocation_grace = jiff::SignedDuration::from_mins(1);
    let host = ocean.api_url();
    let host = host.strip_prefix("http://").or(host.strip_prefix("https://")).context("no URL")?.to_owned();
    wide.scenario.write_secret("api", "Opaque", json!({"token": ocean.add_token(SCOPES)})).await?;
    let marks = json!({
        "labels": {"regcred.dev/source": "true"}, "annotations": {"regcred.dev/registry-host": host},
    });
    wide.scenario.edit_secret("api", json!({"metadata": marks})).await?;
    wide.scenario.start_operator().await?;
    wide.scenario.agree_on_time(ocean.clock());
    Ok((wide, ocean))
}

/// A connection whose credential is renewed when somebody asks for that.
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
    let (wide, ocean) = prepared("minted", FAST).await?;
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
async fn while_the_provider_is_in_trouble_new_namespaces_get_what_the_others_have_and_it_is_not_asked_for_them()
-> Result<()> {
    let (wide, ocean) = prepared("away", 1).await?;
    wide.create_namespaces(0..3).await?;
    wide.connect("images", spec(&wide, &ocean)).await?;
    wide.ready("images", ("True", "LoginProven"), (3, 3)).await?;
    ocean.pause(Outage::Unavailable);
    wide.edit("images", json!({"metadata": {"annotations": {"regcred.dev/refresh-requested-at": "now"}}})).await?;
    wide.until("images", |now| now.status.as_ref().is_some_and(|status| status.last_error.is_some())).await?;
    let before = ocean.requests().len();
    for number in 3..30 {
        wide.create_namespaces(number..number + 1).await?;
        wide.until_delivered_to("images", &(0..=number).collect::<Vec<_>>()).await?;
    }
    let asked = ocean.requests().len() - before;
    ensure!(asked < 10, "{asked} requests for 27 namespaces");
    Ok(())
}
