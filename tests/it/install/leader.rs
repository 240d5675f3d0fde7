//! Two replicas, of which one works: killed, replaced, frozen, cut off.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Secret};
use kube::{Api, api::DeleteParams};
use serde_json::json;
use testenv::{DigitalOcean, Fault, Faults, eventually, provider::digital_ocean};

use super::{cluster::Cluster, pod::Pod, wire::Wire};
use crate::{
    issued::SCOPES,
    scenario::{DEADLINE, get},
    shared::OPERATOR_NAMESPACE,
};

/// Longer than a lease lasts.
const LONGER_THAN_A_LEASE: Duration = Duration::from_secs(20);

/// Two replicas; the first one leads, and the second one is ready to.
async fn two() -> Result<(Cluster, Pod, Pod)> {
    let cluster = Cluster::installed().await?;
    let first = cluster.pod("regcred-a").await?;
    cluster.led_by("regcred-a").await?;
    let second = cluster.pod("regcred-b").await?;
    second.running.ready().await?;
    first.running.ready().await?;
    ensure!(first.running.log()?.contains("this process leads"), "{}", first.running.log()?);
    second.running.logs("this process follows").await?;
    Ok((cluster, first, second))
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_leader_is_killed_the_follower_goes_on_and_issues_nothing_again() -> Result<()> {
    let (cluster, first, second) = two().await?;
    cluster.connect("images").await?;
    cluster.ready("images").await?;
    let delivered = cluster.delivered().await?;
    drop(first);
    let killed = Instant::now();
    let address = second.running.address().await?;
    ensure!(get(address, "/metrics").await?.1.contains("\nregcred_leading 0\n"));
    cluster.led_by("regcred-b").await?;
    eventually("it to tell so", DEADLINE, async || {
        Ok(get(address, "/metrics").await?.1.contains("\nregcred_leading 1\n").then_some(()))
    })
    .await?;
    println!("a crash: another one leads after {:.1} s", killed.elapsed().as_secs_f32());
    cluster.connect("more").await?;
    cluster.ready("more").await?;
    let after = cluster.delivered().await?;
    ensure!(delivered.0.iter().all(|secret| after.0.contains(secret)), "{delivered:?} {after:?}");
    second.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_hands_over_without_a_wait() -> Result<()> {
    let (cluster, first, second) = two().await?;
    let ended = Instant::now();
    first.end().await?;
    cluster.led_by("regcred-b").await?;
    println!("a rollout: another one leads after {:.2} s", ended.elapsed().as_secs_f32());
    cluster.connect("images").await?;
    cluster.ready("images").await?;
    second.end().await?;
    // Whoever comes next need not wait either.
    let started = Instant::now();
    let third = cluster.pod("regcred-c").await?;
    cluster.led_by("regcred-c").await?;
    println!(
        "after the last one was ended: another one leads {:.2} s after its start",
        started.elapsed().as_secs_f32()
    );
    third.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_api_server_is_frozen_nobody_ends_and_then_one_goes_on() -> Result<()> {
    let (cluster, first, second) = two().await?;
    cluster.connect("images").await?;
    cluster.ready("images").await?;
    let delivered = cluster.delivered().await?;
    cluster.plane.apiserver()?.freeze()?;
    tokio::time::sleep(LONGER_THAN_A_LEASE).await;
    ensure!(first.running.log()?.contains("soon nothing is written"), "{}", first.running.log()?);
    for pod in [&first, &second] {
        // A new start would not mend it.
        ensure!(get(pod.running.address().await?, "/livez").await?.0 == 200);
        ensure!(pod.running.process.try_wait()?.is_none(), "{}", pod.running.log()?);
    }
    cluster.plane.apiserver()?.thaw()?;
    let thawed = Instant::now();
    cluster.connect("more").await?;
    cluster.ready("more").await?;
    println!("a frozen API server: work goes on {:.1} s after it thawed", thawed.elapsed().as_secs_f32());
    let after = cluster.delivered().await?;
    ensure!(delivered.0.iter().all(|secret| after.0.contains(secret)), "{delivered:?} {after:?}");
    // Whoever leads now, the other one follows, or has ended to be started anew.
    let leader = cluster.leader().await?.context("a leader")?;
    let (leader, other) = if leader == "regcred-a" { (first, second) } else { (second, first) };
    ensure!(leader.running.process.try_wait()?.is_none());
    ensure!(!leader.running.log()?.contains("the lease was lost"));
    drop(other);
    leader.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_stops_writing_before_another_one_begins() -> Result<()> {
    let cluster = Cluster::installed().await?;
    let wire = Wire::to(cluster.plane.config().cluster_url.port_u16().context("a port")?).await?;
    let first = cluster.pod_by(&wire, "regcred-a").await?;
    cluster.led_by("regcred-a").await?;
    let second = cluster.pod("regcred-b").await?;
    second.running.ready().await?;
    first.running.ready().await?;
    // In the midst of its work.
    cluster.connect("images").await?;
    wire.cut();
    let cut = Instant::now();
    let address = first.running.address().await?;
    eventually("the first one to stop writing", DEADLINE, async || {
        Ok(get(address, "/metrics").await?.1.contains("\nregcred_leading 0\n").then_some(()))
    })
    .await?;
    ensure!(cluster.leader().await?.as_deref() == Some("regcred-a"), "somebody else began before");
    println!("cut off: nothing is written any more after {:.1} s", cut.elapsed().as_secs_f32());
    ensure!(get(address, "/livez").await?.0 == 200, "a new start would not mend it");
    cluster.led_by("regcred-b").await?;
    cluster.ready("images").await?;
    println!("cut off: another one leads after {:.1} s", cut.elapsed().as_secs_f32());
    cluster.connect("more").await?;
    cluster.ready("more").await?;
    let delivered = cluster.delivered().await?;
    wire.mend();
    ensure!(!first.until_ended().await?.success());
    ensure!(first.running.log()?.contains("the lease was lost to"), "{}", first.running.log()?);
    ensure!(cluster.delivered().await? == delivered);
    ensure!(cluster.leader().await?.as_deref() == Some("regcred-b"));
    second.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_frozen_while_another_one_led_and_ended_does_not_go_on_either() -> Result<()> {
    let (cluster, first, second) = two().await?;
    first.running.process.freeze()?;
    cluster.led_by("regcred-b").await?;
    second.end().await?;
    ensure!(cluster.leader().await?.is_none(), "it was not given back");
    first.running.process.thaw()?;
    ensure!(!first.until_ended().await?.success());
    let log = first.running.log()?;
    ensure!(log.contains("another process may have led"), "{log}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_deleted_stays_with_the_leader() -> Result<()> {
    let (cluster, first, second) = two().await?;
    let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), OPERATOR_NAMESPACE);
    leases.delete("regcred", &DeleteParams::default()).await?;
    cluster.led_by("regcred-a").await?;
    cluster.connect("images").await?;
    cluster.ready("images").await?;
    first.end().await?;
    second.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_frozen_writes_nothing_any_more_and_ends() -> Result<()> {
    let (cluster, first, second) = two().await?;
    first.running.process.freeze()?;
    let frozen = Instant::now();
    cluster.led_by("regcred-b").await?;
    println!("a frozen leader: another one leads after {:.1} s", frozen.elapsed().as_secs_f32());
    cluster.connect("images").await?;
    cluster.ready("images").await?;
    let delivered = cluster.delivered().await?;
    first.running.process.thaw()?;
    let status = first.until_ended().await?;
    ensure!(!status.success());
    let log = first.running.log()?;
    ensure!(log.contains("the lease was lost to") && log.contains("regcred-b"), "{log}");
    ensure!(cluster.leader().await?.as_deref() == Some("regcred-b"));
    ensure!(cluster.delivered().await? == delivered);
    second.end().await
}

/// What happens to a leader.
#[derive(Clone, Copy, Debug)]
enum End {
    Crash,
    Rollout,
    Freeze,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_ends_as_a_credential_is_issued_costs_one_more_at_most() -> Result<()> {
    let cluster = Cluster::installed().await?;
    let faults = Faults::new();
    let options = digital_ocean::Options { faults: Some(faults.clone()), ..Default::default() };
    let ocean = DigitalOcean::start(options).await?;
    let api: Secret = serde_json::from_value(json!({
        "metadata": {"name": "api"}, "stringData": {"token": ocean.add_token(SCOPES)},
    }))?;
    cluster.secrets().create(&Default::default(), &api).await?;
    let provider = json!({"generic": null, "digitalocean": {
        "registryName": "shop", "apiUrl": ocean.api_url(), "secretRef": {"name": "api"},
    }});
    let issued = json!({"provider": provider, "autoLinkPattern": null});

    let mut leader = cluster.pod("regcred-a").await?;
    leader.running.ready().await?;
    cluster.connect_with("clean", issued.clone()).await?;
    cluster.ready("clean").await?;
    let mint = faults.seen().iter().position(|words| words.contains("/docker-credentials")).context("no mint")? + 1;
    ensure!(ocean.issued() == 1);

    for (next, end) in [("regcred-b", End::Crash), ("regcred-c", End::Rollout), ("regcred-d", End::Freeze)] {
        let name = format!("{end:?}").to_lowercase();
        let before = (ocean.issued(), cluster.delivered().await?);
        let follower = cluster.pod(next).await?;
        follower.running.ready().await?;
        faults.arm(mint, Fault::StopAfter);
        cluster.connect_with(&name, issued.clone()).await?;
        let met = faults.met().await;
        ensure!(met.contains("/docker-credentials"), "{met}");
        match end {
            End::Crash => leader.running.process.kill(),
            // What it waits for never comes, so it ends with work unfinished.
            End::Rollout => leader.running.process.signal_term()?,
            End::Freeze => leader.running.process.freeze()?,
        }
        faults.release();
        cluster.led_by(next).await?;
        cluster.ready(&name).await?;
        if let End::Freeze = end {
            leader.running.process.thaw()?;
        }
        leader.until_ended().await?;
        let issued = ocean.issued() - before.0;
        ensure!((1..=2).contains(&issued), "{name}: {issued} were issued");
        let (secrets, _) = cluster.delivered().await?;
        ensure!(before.1.0.iter().all(|secret| secrets.contains(secret)), "{name}: {:?} {secrets:?}", before.1.0);
        println!("{name}: {issued} issued");
        leader = follower;
    }
    leader.end().await
}
