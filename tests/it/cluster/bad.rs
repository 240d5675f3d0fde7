//! Namespaces in which something is wrong: each fails alone, and turns nobody else's light red.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, ResourceQuota, Secret};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use regcred::api::{ConditionType, Reason};
use serde_json::json;
use testenv::{Call, Reply, eventually};
use tokio::time::Instant;

use super::{
    Wide,
    hook::{Hook, later},
    message, targets, tell,
};
use crate::scenario::{DEADLINE, PASSWORD};

/// The API server waits a little longer for a webhook.
const HANG: Duration = Duration::from_secs(28);

impl Wide {
    /// From now on no further Secret may be in a namespace.
    async fn forbid_secrets(&self, number: usize) -> Result<()> {
        let quotas: Api<ResourceQuota> = Api::namespaced(self.scenario.client.clone(), &self.namespace(number));
        let quota: ResourceQuota = serde_json::from_value(json!({"metadata": {"name": "none"}}))?;
        quotas.create(&PostParams::default(), &quota).await?;
        // The controller that counts does not run here; the API server enforces what stands in the status.
        let hard = json!({"count/secrets": "0"});
        let counted = json!({"spec": {"hard": hard}, "status": {"hard": hard, "used": {"count/secrets": "0"}}});
        quotas.patch("none", &PatchParams::default(), &Patch::Merge(&counted)).await?;
        quotas.patch_status("none", &PatchParams::default(), &Patch::Merge(&counted)).await?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_secret_and_a_quota_fail_their_own_namespaces_alone() -> Result<()> {
    let wide = Wide::start("bad").await?;
    wide.create_namespaces(0..4).await?;
    let foreign: Secret = serde_json::from_value(json!({"metadata": {"name": "images"}, "stringData": {"a": "b"}}))?;
    let foreign = wide.secrets(1).create(&PostParams::default(), &foreign).await?;
    wide.forbid_secrets(2).await?;
    wide.connect("images", wide.spec()).await?;
    let told = wide.ready("images", ("True", "LoginProven"), (2, 4)).await?;
    wide.until_delivered_to("images", &[0, 1, 3]).await?;
    ensure!(message(&told, ConditionType::Ready)?.contains("2 of 4 namespaces"), "{told:?}");
    ensure!(tell(&told, ConditionType::Delivered).starts_with("False/"), "{told:?}");
    assert_eq!(tell(&told, ConditionType::CredentialsValid), "True/LoginProven");
    let failures: Vec<(String, Reason)> =
        targets(&told).failures.into_iter().map(|failure| (failure.namespace, failure.reason)).collect();
    assert_eq!(failures, [(wide.namespace(1), Reason::TargetConflict), (wide.namespace(2), Reason::Forbidden)]);
    assert_eq!(wide.secrets(1).get("images").await?.metadata.resource_version, foreign.metadata.resource_version);

    // Others come and go meanwhile, and what is denied is not tried for every one of them.
    wide.at_rest().await?;
    wide.scenario.calls.clear();
    wide.create_namespaces(4..6).await?;
    wide.until_delivered_to("images", &[0, 1, 3, 4, 5]).await?;
    wide.at_rest().await?;
    assert_eq!(wide.scenario.calls.count(|call| call.is("create", "secrets", "")), 2);
    wide.secrets(1).delete("images", &DeleteParams::default()).await?;
    wide.ready("images", ("True", "LoginProven"), (5, 6)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_in_which_the_api_server_gives_no_decision_keeps_nobody_waiting() -> Result<()> {
    let wide = Wide::start("unsure").await?;
    wide.create_namespaces(0..40).await?;
    let hook = Hook::install(&wide, "CREATE", 7..8, later).await?;
    wide.connect("images", wide.spec()).await?;
    let told = wide.ready("images", ("True", "LoginProven"), (39, 40)).await?;
    let failures: Vec<_> = targets(&told).failures.into_iter().map(|failure| failure.namespace).collect();
    assert_eq!(failures, [wide.namespace(7)]);
    ensure!(message(&told, ConditionType::Delivered)?.contains("later"), "{told:?}");
    hook.remove(&wide).await?;
    wide.ready("images", ("True", "LoginProven"), (40, 40)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_namespaces_without_a_decision_come_after_the_others_and_are_told() -> Result<()> {
    let wide = Wide::start("unsure-many").await?;
    wide.create_namespaces(0..60).await?;
    let hook = Hook::install(&wide, "CREATE", 0..40, later).await?;
    wide.connect("images", wide.spec()).await?;
    let told = wide.ready("images", ("True", "LoginProven"), (20, 60)).await?;
    assert_eq!(targets(&told).failed, 40);
    hook.remove(&wide).await?;
    wide.ready("images", ("True", "LoginProven"), (60, 60)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_whose_webhook_hangs_keep_nobody_waiting() -> Result<()> {
    let wide = Wide::start("hanging").await?;
    wide.create_namespaces(0..60).await?;
    let hook = Hook::install(&wide, "CREATE", 0..40, |_| Reply::hang()).await?;
    wide.scenario.calls.clear();
    let begun = Instant::now();
    wide.connect("images", wide.spec()).await?;
    wide.until_delivered_to("images", &(40..60).collect::<Vec<_>>()).await?;
    wide.create_namespaces(60..61).await?;
    wide.until_delivered_to("images", &(40..61).collect::<Vec<_>>()).await?;
    let is_write = |call: &Call| call.is("create", "secrets", "");
    let answered = wide.scenario.calls.count(|call| is_write(call) && call.status.is_some());
    // On a machine on which this took so long the API server may have given up waiting for those that hang.
    if begun.elapsed() < HANG {
        assert_eq!(answered, 21);
    }
    hook.remove(&wide).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_lets_nothing_be_removed_keeps_it_alone() -> Result<()> {
    let wide = Wide::start("clinging").await?;
    wide.create_namespaces(0..40).await?;
    wide.connect("images", wide.spec()).await?;
    wide.ready("images", ("True", "LoginProven"), (40, 40)).await?;
    let hook = Hook::install(&wide, "DELETE", 0..1, later).await?;
    for number in 0..40 {
        wide.label(number, json!({"test": null})).await?;
    }
    wide.until_delivered_to("images", &[0]).await?;
    wide.create_namespaces(40..41).await?;
    wide.until_delivered_to("images", &[0, 40]).await?;
    hook.remove(&wide).await?;
    wide.until_delivered_to("images", &[40]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_whose_webhook_hangs_at_a_removal_keeps_it_alone() -> Result<()> {
    let wide = Wide::start("clinging-on").await?;
    wide.create_namespaces(0..40).await?;
    wide.connect("images", wide.spec()).await?;
    wide.ready("images", ("True", "LoginProven"), (40, 40)).await?;
    let hook = Hook::install(&wide, "DELETE", 0..1, |_| Reply::hang()).await?;
    let calls = wide.scenario.calls.clone();
    calls.clear();
    let hangs = |call: &Call| call.is("delete", "secrets", "") && call.status.is_none();
    for number in 0..40 {
        wide.label(number, json!({"test": null})).await?;
    }
    eventually("the removal to hang", DEADLINE, async || Ok((calls.count(hangs) > 0).then_some(()))).await?;
    wide.create_namespaces(40..41).await?;
    wide.until_delivered_to("images", &[0, 40]).await?;
    let answered = calls.count(|call| {
        call.is("delete", "secrets", "") && call.request.namespace == wide.namespace(0) && call.status.is_some()
    });
    assert_eq!(answered, 0, "it was served only when the API server had given up waiting");
    hook.remove(&wide).await?;
    wide.until_delivered_to("images", &[40]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_of_a_namespace_says_nothing_of_the_next_one_of_its_name() -> Result<()> {
    let wide = Wide::start("anew").await?;
    wide.create_namespaces(0..2).await?;
    wide.forbid_secrets(1).await?;
    wide.connect("images", wide.spec()).await?;
    wide.ready("images", ("True", "LoginProven"), (1, 2)).await?;
    wide.namespaces().delete(&wide.namespace(1), &DeleteParams::default()).await?;
    eventually("the namespace to go", DEADLINE, async || {
        Ok(wide.namespaces().get_opt(&wide.namespace(1)).await?.is_none().then_some(()))
    })
    .await?;
    wide.create_namespaces(1..2).await?;
    // What was denied rests for longer than this waits.
    wide.ready("images", ("True", "LoginProven"), (2, 2)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_on_its_way_out_is_left_alone_and_one_that_is_gone_is_forgotten() -> Result<()> {
    let wide = Wide::start("ends").await?;
    wide.create_namespaces(0..3).await?;
    // Something that holds the namespace.
    let maps: Api<ConfigMap> = Api::namespaced(wide.scenario.client.clone(), &wide.namespace(1));
    let map = json!({"metadata": {"name": "held", "finalizers": ["example.com/held"]}});
    maps.create(&PostParams::default(), &serde_json::from_value(map)?).await?;
    wide.connect("images", wide.spec()).await?;
    wide.ready("images", ("True", "LoginProven"), (3, 3)).await?;
    for number in [1, 2] {
        wide.namespaces().delete(&wide.namespace(number), &DeleteParams::default()).await?;
    }
    wide.until_delivered_to("images", &[0]).await?;
    let told = wide.ready("images", ("True", "LoginProven"), (1, 1)).await?;
    assert_eq!(targets(&told).failed, 0);
    wide.at_rest().await?;
    wide.scenario.calls.clear();
    ensure!(wide.scenario.calls.quiet_for(Duration::from_secs(2)).await.is_ok(), "the one that ends is tried again");
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    maps.patch("held", &Default::default(), &release).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_namespace_can_have_it_nobody_is_told_that_all_is_well() -> Result<()> {
    let wide = Wide::start("none").await?;
    wide.create_namespaces(0..1).await?;
    let foreign: Secret = serde_json::from_value(json!({"metadata": {"name": "images"}}))?;
    wide.secrets(0).create(&PostParams::default(), &foreign).await?;
    wide.connect("images", wide.spec()).await?;
    wide.ready("images", ("False", "TargetConflict"), (0, 1)).await?;
    wide.secrets(0).delete("images", &DeleteParams::default()).await?;
    wide.ready("images", ("True", "LoginProven"), (1, 1)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_connections_with_one_secret_the_holder_keeps_it_and_the_other_names_it() -> Result<()> {
    let mut wide = Wide::prepare("two").await?;
    // The minute before what a connection left behind goes passes in two seconds.
    wide.scenario.set_speed(30);
    wide.write_source("login", PASSWORD).await?;
    wide.scenario.start_operator().await?;
    wide.create_namespaces(0..2).await?;
    let mut spec = wide.spec();
    spec["secret"] = json!({"name": "images"});
    wide.connect("first", spec.clone()).await?;
    wide.ready("first", ("True", "LoginProven"), (2, 2)).await?;
    wide.create_namespaces(2..3).await?;
    wide.until_delivered_to("images", &[0, 1, 2]).await?;
    wide.connect("second", spec).await?;
    let second = wide.ready("second", ("False", "TargetConflict"), (0, 3)).await?;
    ensure!(message(&second, ConditionType::Ready)?.contains("ClusterRegistryConnection/first"), "{second:?}");
    wide.connections().delete("first", &DeleteParams::default()).await?;
    wide.ready("second", ("True", "LoginProven"), (3, 3)).await?;
    Ok(())
}
