//! Others who write ServiceAccounts too.

use std::time::Duration;

use anyhow::Result;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use testenv::eventually;

use super::{named, told};
use crate::scenario::{DEADLINE, Scenario};

/// How fast the clock runs while somebody fights. Not faster: what lasts for ten minutes of the operator's time is no fight any
/// more, and machines can be that slow.
const FIGHT: u32 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_foreign_rewrites_end_with_the_entries_of_both_sides() -> Result<()> {
    let scenario = Scenario::start_fast("rewrites", 20).await?;
    scenario.create_account("builder", &["theirs"]).await?;
    scenario.linked("images", json!({"serviceAccounts": ["builder"], "refreshIntervalMinutes": 1440})).await?;
    scenario.calls.clear();
    for number in 0..100 {
        let rewritten = json!({"imagePullSecrets": [{"name": "theirs"}, {"name": format!("theirs-{}", number % 3)}]});
        scenario.edit_account("builder", rewritten).await?;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    scenario.until_named_by("builder", &["theirs", "theirs-0", "images"]).await?;
    let writes = scenario.account_writes();
    let conflicts = scenario.account_conflicts();
    println!("{writes} writes against 100, and {conflicts} that came too late");
    // A write of theirs makes one of ours come too late, no more: it is not tried again before it was looked what they wrote.
    assert!(writes <= 12 && conflicts <= 100, "{writes} writes, {conflicts} that came too late");
    scenario.until_linked("images", "True/Linked").await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_it_away_for_ever_is_told_of_and_left_alone_in_the_end() -> Result<()> {
    let scenario = Scenario::start_fast("fight", FIGHT).await?;
    scenario.create_account("builder", &["theirs"]).await?;
    scenario.linked("images", json!({"serviceAccounts": ["builder"]})).await?;
    scenario.calls.clear();
    // A controller that knows only what it wants.
    let fighter = {
        let accounts = scenario.accounts();
        tokio::spawn(async move {
            loop {
                let account = accounts.get("builder").await?;
                if named(&account) != ["theirs"] {
                    let patch = Patch::Merge(json!({"imagePullSecrets": [{"name": "theirs"}]}));
                    accounts.patch("builder", &PatchParams::default(), &patch).await?;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            #[expect(unreachable_code, reason = "the type of the task")]
            Ok::<(), anyhow::Error>(())
        })
    };
    let told_of = scenario.until_linked("images", "False/LinkConflict").await?;
    let (_, message) = told(&told_of);
    assert!(message.contains("something else keeps taking Secret images off ServiceAccount builder"), "{message}");
    eventually("the end of it", DEADLINE, async || {
        let before = scenario.account_writes();
        // Half an hour by the operator's clock, six times the longest pause before it is left alone.
        tokio::time::sleep(Duration::from_secs(9)).await;
        Ok((scenario.account_writes() == before).then_some(()))
    })
    .await?;
    let writes = scenario.account_writes();
    assert!((10..=20).contains(&writes), "{writes} writes");
    fighter.abort();

    // Whoever edits the connection wants it tried again.
    scenario.edit("images", json!({"spec": {"serviceAccounts": ["builder", "default"]}})).await?;
    scenario.until_named_by("builder", &["theirs", "images"]).await?;
    scenario.until_linked("images", "True/Linked").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_away_once_is_put_back_at_once() -> Result<()> {
    let scenario = Scenario::start("once").await?;
    scenario.linked("images", json!({"isDefault": true})).await?;
    scenario.edit_account("default", json!({"imagePullSecrets": null})).await?;
    scenario.until_named_by("default", &["images"]).await?;
    // With everything that is ours.
    scenario
        .edit_account("default", json!({"imagePullSecrets": [{"name": "x"}], "metadata": {"annotations": null}}))
        .await?;
    scenario.until_named_by("default", &["x", "images"]).await?;
    assert_eq!(scenario.account_writes(), 3);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_made_immutable_again_and_again_is_told_of_and_left_alone_in_the_end() -> Result<()> {
    let scenario = Scenario::start_fast("immutable", FIGHT).await?;
    scenario.open_tables().await?;
    scenario.linked("images", json!({"autoLinkPattern": "r.example/*"})).await?;
    scenario.calls.clear();
    let fighter = {
        let tables = scenario.config_maps();
        tokio::spawn(async move {
            let theirs = Patch::Merge(json!({"data": {"images": "r.example/other"}, "immutable": true}));
            loop {
                // It may be gone, or immutable already.
                drop(tables.patch("regcred-autolink", &PatchParams::default(), &theirs).await);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    };
    let told_of = scenario.until_linked("images", "False/LinkConflict").await?;
    assert!(
        told(&told_of).1.contains("something else keeps changing ConfigMap regcred-autolink"),
        "{:?}",
        told(&told_of)
    );
    let writes = || scenario.calls.count(|call| call.request.is_write() && call.request.resource == "configmaps");
    eventually("the end of it", DEADLINE, async || {
        let before = writes();
        tokio::time::sleep(Duration::from_secs(9)).await;
        Ok((writes() == before).then_some(()))
    })
    .await?;
    println!("{} writes", writes());
    assert!(writes() <= 60, "{} writes", writes());
    fighter.abort();
    scenario.edit("images", json!({"spec": {"autoLinkPattern": "r.example/new/*"}})).await?;
    eventually("the table to be right", DEADLINE, async || {
        let table = scenario.config_maps().get_opt("regcred-autolink").await?.and_then(|table| table.data);
        Ok(table.filter(|data| data.get("images").is_some_and(|line| line == "r.example/new/*")))
    })
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_somebody_made_up_cost_a_few_requests_at_a_time() -> Result<()> {
    let mut scenario = Scenario::prepare("forged").await?;
    scenario.set_speed(20);
    let created = now_in_the_cluster(&scenario).await?;
    let holders = |from: usize| -> serde_json::Map<String, serde_json::Value> {
        (from..from + 300)
            .map(|number| (format!("ClusterRegistryConnection/made-up-{number}"), created.clone().into()))
            .collect()
    };
    let text = json!({"mine": holders(0)}).to_string();
    scenario.create_account("builder", &["mine"]).await?;
    scenario.edit_account("builder", json!({"metadata": {"annotations": {"regcred.dev/links": text}}})).await?;
    // Too much to be ours.
    let text = json!({"a": holders(0), "b": holders(300)}).to_string();
    scenario.create_account("other", &["a", "b"]).await?;
    scenario.edit_account("other", json!({"metadata": {"annotations": {"regcred.dev/links": text}}})).await?;
    // Those of a connection that was there once are few.
    let text = json!({"left": {"ClusterRegistryConnection/left": created}}).to_string();
    scenario.create_account("third", &["left"]).await?;
    scenario.edit_account("third", json!({"metadata": {"annotations": {"regcred.dev/links": text}}})).await?;
    scenario.start_operator().await?;
    let accounts = json!({"serviceAccounts": ["builder", "other", "third"], "refreshIntervalMinutes": 1440});
    scenario.linked("images", accounts).await?;
    scenario.until_named_by("other", &["a", "b", "images"]).await?;
    scenario.until_named_by("third", &["images"]).await?;
    let looks = || scenario.calls.count(|call| call.is("get", "clusterregistryconnections", ""));
    println!("{} looks for 300 connections that somebody made up", looks());
    assert!((1..=100).contains(&looks()), "{} looks", looks());
    assert_eq!(
        scenario.named_by("builder").await?,
        ["mine", "images"],
        "that of so many it is not asked for all at once"
    );
    Ok(())
}

/// The time as the API server tells it, of something that was made just now.
async fn now_in_the_cluster(scenario: &Scenario) -> Result<String> {
    let made = scenario.create_account("clock", &[]).await?;
    made.metadata.creation_timestamp.map(|time| time.0.to_string()).ok_or_else(|| anyhow::anyhow!("no time"))
}
