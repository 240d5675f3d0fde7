//! Others who write ServiceAccounts too.

use std::time::Duration;

use anyhow::Result;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use testenv::eventually;

use super::{named, told};
use crate::scenario::{DEADLINE, Scenario};

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
    assert!(writes <= 12 && conflicts <= 30, "{writes} writes, {conflicts} that came too late");
    scenario.until_linked("images", "True/Linked").await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_it_away_for_ever_is_told_of_and_left_alone_in_the_end() -> Result<()> {
    let scenario = Scenario::start_fast("fight", 600).await?;
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
        // An hour and a half by the operator's clock.
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
