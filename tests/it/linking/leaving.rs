//! What was named goes when nobody asks for it any more, and not before that is sure.

use anyhow::Result;
use kube::api::DeleteParams;
use serde_json::json;
use testenv::eventually;

use super::claimed;
use crate::scenario::{DEADLINE, Scenario};

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_goes_takes_its_links_along_and_nothing_else() -> Result<()> {
    let scenario = Scenario::start("fields").await?;
    scenario.create_account("builder", &["before"]).await?;
    scenario.linked("images", json!({"isDefault": true, "serviceAccounts": ["builder"]})).await?;
    scenario
        .edit_account(
            "builder",
            json!({"imagePullSecrets": [{"name": "before"}, {"name": "images"}, {"name": "after"}]}),
        )
        .await?;
    scenario.edit("images", json!({"spec": {"serviceAccounts": null}})).await?;
    let builder = scenario.until_named_by("builder", &["before", "after"]).await?;
    assert_eq!(claimed(&builder), json!(null));
    assert_eq!(scenario.named_by("default").await?, ["images"]);
    scenario.edit("images", json!({"spec": {"isDefault": false}})).await?;
    scenario.until_named_by("default", &[]).await?;
    let ended = scenario.until_linked("images", "-").await?;
    assert_eq!(ended.status.and_then(|status| status.linked_service_accounts), None);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_deleted_unlinks_after_a_minute_and_one_that_is_to_be_retained_does_not() -> Result<()> {
    let scenario = Scenario::start_fast("deleted", 20).await?;
    scenario.create_account("builder", &["mine"]).await?;
    scenario.linked("goes", json!({"serviceAccounts": ["builder"]})).await?;
    scenario.linked("stays", json!({"serviceAccounts": ["builder"], "deletionPolicy": "Retain"})).await?;
    scenario.until_named_by("builder", &["mine", "goes", "stays"]).await?;
    for name in ["goes", "stays"] {
        scenario.connections().delete(name, &DeleteParams::default()).await?;
    }
    scenario.until_named_by("builder", &["mine", "stays"]).await?;
    eventually("the Secret to go", DEADLINE, async || {
        Ok(scenario.secrets().get_opt("goes").await?.is_none().then_some(()))
    })
    .await?;
    assert!(scenario.secrets().get_opt("stays").await?.is_some());
    assert_eq!(scenario.named_by("builder").await?, ["mine", "stays"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_made_anew_within_a_minute_keeps_its_links_and_is_remembered_instead() -> Result<()> {
    let scenario = Scenario::start("kept").await?;
    scenario.linked("images", json!({"isDefault": true})).await?;
    scenario.connections().delete("images", &DeleteParams::default()).await?;
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let anew = scenario.connect("images", scenario.spec_with(json!({"isDefault": true}))).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    let created = anew.metadata.creation_timestamp.map(|time| time.0.to_string());
    let reference = format!("RegistryConnection/{}/images", scenario.namespace);
    eventually("the annotation", DEADLINE, async || {
        let account = scenario.accounts().get("default").await?;
        Ok((claimed(&account) == json!({"images": {reference.clone(): created}})).then_some(()))
    })
    .await?;
    assert_eq!(scenario.named_by("default").await?, ["images"]);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_secret_is_named_at_once_and_its_predecessor_until_it_is_there() -> Result<()> {
    let scenario = Scenario::start("renamed").await?;
    scenario.linked("images", json!({"isDefault": true})).await?;
    scenario.edit("images", json!({"spec": {"secret": {"name": "pull"}}})).await?;
    scenario.until_named_by("default", &["pull"]).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    assert!(scenario.secrets().get_opt("pull").await?.is_some());
    assert_eq!(scenario.account_writes(), 3, "once for the new name, once for the old one");
    scenario.until_linked("images", "True/Linked").await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_left_while_nobody_looked_goes_after_a_start() -> Result<()> {
    let mut scenario = Scenario::start_fast("restart", 20).await?;
    scenario.linked("images", json!({"isDefault": true})).await?;
    scenario.stop_operator().await?;
    scenario.connections().delete("images", &DeleteParams::default()).await?;
    scenario.start_operator().await?;
    scenario.until_named_by("default", &[]).await?;
    Ok(())
}
