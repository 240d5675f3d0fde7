//! Writes that take their time: as slow as was asked for, and behind those who have no Secret yet.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use regcred::api::ConditionType;
use serde_json::json;
use testenv::eventually;

use super::{Wide, targets, tell};
use crate::scenario::DEADLINE;

/// How many namespaces there are at first.
const N: usize = 100;

/// How many Secrets may be written in a second: so few that a rotation is under way for five.
const RATE: u32 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_rotation_keeps_to_its_pace_and_a_new_namespace_is_served_before_it_ends() -> Result<()> {
    let mut wide = Wide::start("paced").await?;
    wide.create_namespaces(0..N).await?;
    wide.connect("images", wide.spec()).await?;
    let before = wide.ready("images", ("True", "LoginProven"), (100, 100)).await?;
    let before = before.status.and_then(|status| status.credential);
    wide.scenario.stop_operator().await?;
    wide.scenario.arguments.max_writes_per_second = Some(RATE);
    wide.scenario.start_operator().await?;
    wide.at_rest().await?;
    wide.scenario.calls.clear();

    let calls = wide.scenario.calls.clone();
    let began = Instant::now();
    wide.scenario.shared.registry.set_password(&wide.scenario.namespace, "another-password-4")?;
    wide.scenario.edit_secret("login", json!({"stringData": {"password": "another-password-4"}})).await?;
    eventually("the rotation to be under way", DEADLINE, async || {
        Ok((calls.count(|call| call.is("update", "secrets", "")) >= 5).then_some(()))
    })
    .await?;
    wide.create_namespaces(N..N + 1).await?;
    wide.until("images", |now| {
        let targets = targets(now);
        now.status.as_ref().is_some_and(|status| status.credential != before)
            && tell(now, ConditionType::Delivered) == "True/Delivered"
            && (targets.current, targets.desired) == (101, 101)
    })
    .await?;
    let took = began.elapsed();
    wide.at_rest().await?;

    // The newcomer comes before what is only outdated.
    let calls = calls.all();
    let newcomer = calls.iter().position(|call| call.is("create", "secrets", "")).context("no new Secret")?;
    let last = calls.iter().rposition(|call| call.is("update", "secrets", "")).context("no renewed Secret")?;
    assert_eq!(calls.get(newcomer).map(|call| &call.request.namespace), Some(&wide.namespace(N)));
    ensure!(newcomer < last, "number {newcomer} of {last}: the new namespace came last");

    // A property of the limit, not a measure of speed: between so many beats there is so much time. The first is free, and one
    // more is allowed for.
    let beats = u32::try_from(N + 1)? - 2;
    let least = Duration::from_secs(1) * beats / RATE;
    ensure!(took >= least, "{} writes at {RATE} in a second took {took:?}, which is less than {least:?}", N + 1);

    let mut asked = wide.asked();
    assert_eq!((asked.take("update secrets"), asked.take("create secrets")), (N, 1));
    // One pass goes on for so long at most.
    let (reads, passes) = (asked.take_source_reads(), 1 + took.as_secs() / 15);
    ensure!(u64::try_from(reads)? <= passes, "{reads} reads of the source in {passes} passes");
    let told = asked.take_statuses();
    ensure!(told <= 2, "{told} statuses for one rotation");
    asked.nothing_else()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_removals_keep_no_new_namespace_waiting() -> Result<()> {
    let mut wide = Wide::start("paced-removals").await?;
    wide.create_namespaces(0..N).await?;
    wide.connect("images", wide.spec()).await?;
    wide.ready("images", ("True", "LoginProven"), (100, 100)).await?;
    wide.scenario.stop_operator().await?;
    wide.scenario.arguments.max_writes_per_second = Some(RATE);
    wide.scenario.start_operator().await?;
    wide.at_rest().await?;
    let calls = wide.scenario.calls.clone();
    calls.clear();
    for number in 0..N {
        wide.label(number, json!({"test": null})).await?;
    }
    wide.create_namespaces(N..N + 1).await?;
    wide.until_delivered_to("images", &[N]).await?;
    let calls = calls.all();
    let newcomer = calls.iter().position(|call| call.is("create", "secrets", "")).context("no new Secret")?;
    let last = calls.iter().rposition(|call| call.is("delete", "secrets", "")).context("no removed Secret")?;
    ensure!(newcomer < last, "number {newcomer} of {last}: the new namespace came last");
    Ok(())
}
