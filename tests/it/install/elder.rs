//! Two installations, of which the older one works.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use testenv::eventually;

use super::cluster::Cluster;
use crate::scenario::{DEADLINE, get};

/// Waits until an operator says that the installation of the other tests works, and it does not.
async fn yields(address: SocketAddr) -> Result<()> {
    let words = "an older installation of regcred works, regcred-system/regcred";
    eventually("the second one to say so", DEADLINE, async || {
        let (status, body) = get(address, "/readyz").await?;
        ensure!(status == 503 && body.contains(words), "{status} {body}");
        Ok(Some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_installation_does_nothing_and_says_why_until_the_first_one_is_gone() -> Result<()> {
    let cluster = Cluster::installed().await?;
    let first = cluster.pod("regcred-a").await?;
    cluster.led_by("regcred-a").await?;
    // Helm itself refuses a whole second one.
    let refused = cluster.install_in("elsewhere", &[]).await.unwrap_err();
    ensure!(format!("{refused:#}").contains("meta.helm.sh/release-namespace"), "{refused:#}");
    let without = [
        "crds.enabled=false",
        "policies.operator=false",
        "policies.tables=false",
        "policies.leases=false",
        "autoLink.mode=serviceAccount",
    ];
    cluster.install_in("elsewhere", &[&without[..], &["fullnameOverride=second"]].concat()).await?;
    let second = cluster.pod_in("elsewhere", "second", "second-a").await?;
    yields(second.running.address().await?).await?;
    cluster.connect("images").await?;
    cluster.ready("images").await?;
    let written = cluster.plane.audit_events("system:serviceaccount:elsewhere:second")?;
    let written: Vec<_> = written.iter().filter(|event| !["get", "list", "watch"].contains(&&*event.verb)).collect();
    ensure!(written.is_empty(), "{written:?}");
    first.end().await?;
    second.running.ready().await?;
    cluster.connect("more").await?;
    cluster.ready("more").await?;
    // When the older one comes back, it begins once the younger one has ended.
    let again = cluster.pod("regcred-b").await?;
    ensure!(!second.until_ended().await?.success());
    ensure!(second.running.log()?.contains("an older installation of regcred works"), "{}", second.running.log()?);
    cluster.connect("again").await?;
    cluster.ready("again").await?;
    ensure!(again.running.log()?.contains("this one begins once that has noticed"), "{}", again.running.log()?);
    again.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_installation_in_the_same_namespace_leaves_the_lease_alone() -> Result<()> {
    let cluster = Cluster::installed().await?;
    let first = cluster.pod("regcred-a").await?;
    cluster.led_by("regcred-a").await?;
    let second = cluster.pod_with("other-a", &[("REGCRED_INSTALLATION", "other")]).await?;
    let address = second.running.address().await?;
    yields(address).await?;
    // In a rollout the lease goes to a replica of the same installation, although the other one waits for longer.
    first.end().await?;
    let third = cluster.pod("regcred-b").await?;
    cluster.led_by("regcred-b").await?;
    yields(address).await?;
    third.end().await?;
    second.end().await
}
