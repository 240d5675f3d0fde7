//! Edits of one object as fast as the API server takes them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

use anyhow::Result;
use futures::future::try_join_all;
use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use regcred::api::ConditionType;
use serde::de::DeserializeOwned;
use serde_json::json;
use testenv::eventually;

use crate::scenario::{DEADLINE, PASSWORD, Scenario, tell};

/// How many edits of each object there are at least.
const EDITS: usize = 300;

/// How many hands edit each object at the same time.
const HANDS: usize = 3;

/// Edits one annotation again and again until it is told to stop; returns how often.
async fn edit<K>(api: Api<K>, name: &'static str, count: Arc<AtomicUsize>, stop: Arc<AtomicBool>) -> Result<()>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    while !stop.load(Ordering::Relaxed) {
        let edit = count.fetch_add(1, Ordering::Relaxed);
        let patch = Patch::Merge(json!({"metadata": {"annotations": {"edit": edit.to_string()}}}));
        api.patch_metadata(name, &PatchParams::default(), &patch).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_edits_on_one_connection_and_its_login_keeps_nobody_waiting() -> Result<()> {
    let scenario = Scenario::start("storm").await?;
    scenario.connected("images").await?;
    scenario.calls.clear();
    let delivered = scenario.secrets().get("images").await?;
    let before = (scenario.good_logins()?, scenario.metric("regcred_reconciles_total{result=\"completed\"}").await?);

    let (connection_edits, login_edits) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let stop = Arc::new(AtomicBool::new(false));
    let started = Instant::now();
    let storm: Vec<_> = (0..HANDS)
        .flat_map(|_| {
            let (connections, secrets) = (scenario.connections(), scenario.secrets());
            [
                tokio::spawn(edit(connections, "images", Arc::clone(&connection_edits), Arc::clone(&stop))),
                tokio::spawn(edit(secrets, "login", Arc::clone(&login_edits), Arc::clone(&stop))),
            ]
        })
        .collect();
    // In the middle of it somebody else comes.
    let data = json!({"username": scenario.namespace, "password": PASSWORD});
    scenario.write_secret("calm-login", "Opaque", data).await?;
    let mut spec = scenario.spec();
    spec["provider"]["generic"]["secretRef"]["name"] = "calm-login".into();
    scenario.connect("calm", spec).await?;
    eventually("the other one to be ready", DEADLINE, async || {
        let calm = scenario.connections().get("calm").await?;
        Ok((tell(&calm, ConditionType::Ready) == "True/LoginProven").then_some(()))
    })
    .await?;
    let waited = started.elapsed();
    eventually("enough edits", DEADLINE, async || {
        let counts = [&connection_edits, &login_edits].map(|count| count.load(Ordering::Relaxed));
        Ok(counts.iter().all(|count| *count >= EDITS).then_some(()))
    })
    .await?;
    stop.store(true, Ordering::Relaxed);
    for result in try_join_all(storm).await? {
        result?;
    }
    let took = started.elapsed();
    // The last edit is not lost in it.
    scenario.edit("images", json!({"spec": {"secret": {"labels": {"storm": "over"}}}})).await?;
    let after = scenario.until_secret("images", |secret| secret.labels().contains_key("storm")).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    assert_eq!((after.uid(), &after.data), (delivered.uid(), &delivered.data));

    let edits = connection_edits.load(Ordering::Relaxed) + login_edits.load(Ordering::Relaxed);
    let passes = scenario.metric("regcred_reconciles_total{result=\"completed\"}").await? - before.1;
    let reads = scenario.calls.count(|call| call.is("get", "secrets", ""));
    let writes = scenario.calls.writes();
    println!(
        "{edits} edits in {took:?}: the other was ready after {waited:?}; {passes} passes, {reads} reads of Secrets, \
         {} writes",
        writes.len()
    );
    assert_eq!(scenario.good_logins()?, before.0, "the other one shares the login that was tested before");
    let written = |resource: &str, subresource: &str, name: &str| {
        writes
            .iter()
            .filter(|call| {
                (call.request.resource.as_str(), call.request.subresource.as_str()) == (resource, subresource)
                    && call.request.name == name
            })
            .count()
    };
    // Once for the label, and once more at most for its status: a touch of the login is no news.
    assert_eq!(written("secrets", "", "images"), 1, "{writes:?}");
    assert!(written("registryconnections", "status", "images") <= 2, "{writes:?}");
    assert!(passes <= (edits + 20) as f64, "{passes} passes");
    scenario.finish().await
}
