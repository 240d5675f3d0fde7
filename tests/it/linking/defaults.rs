//! One default for each registry in a namespace.

use anyhow::Result;
use kube::api::DeleteParams;
use serde_json::json;

use super::told;
use crate::scenario::{PASSWORD, Scenario};

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_keeps_the_default_and_the_next_one_takes_over_when_it_goes() -> Result<()> {
    let scenario = Scenario::start("default").await?;
    scenario.linked("first", json!({"isDefault": true})).await?;
    // Times of creation have whole seconds, and then UIDs decide.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    scenario.connect("second", scenario.spec_with(json!({"isDefault": true}))).await?;
    let taken = scenario.ready("second", "False", "DefaultTaken").await?;
    let (linked, message) = told(&taken);
    assert_eq!(linked, "False/DefaultTaken");
    let holder = format!("RegistryConnection/{}/first is the default", scenario.namespace);
    assert!(message.contains(&holder), "{message}");
    assert_eq!(
        taken.status.clone().and_then(|status| status.last_error).and_then(|error| error.field).as_deref(),
        Some("spec.isDefault")
    );
    assert_eq!(scenario.named_by("default").await?, ["first"]);

    // Another registry, or a part of this one, is another matter.
    scenario.linked("team", json!({"isDefault": true, "repositoryPrefix": "team"})).await?;
    scenario.until_named_by("default", &["first", "team"]).await?;

    scenario.edit("first", json!({"spec": {"isDefault": null}})).await?;
    scenario.until_named_by("default", &["team", "second"]).await?;
    scenario.ready("second", "True", "LoginProven").await?;
    scenario.until_linked("second", "True/Linked").await?;
    scenario.connections().delete("team", &DeleteParams::default()).await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_the_default_is_ready_all_the_same_if_another_link_works() -> Result<()> {
    let scenario = Scenario::start("both").await?;
    scenario.create_account("builder", &[]).await?;
    scenario.linked("first", json!({"isDefault": true})).await?;
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    scenario.write_login("login", PASSWORD).await?;
    let both = json!({"isDefault": true, "serviceAccounts": ["builder"]});
    scenario.connect("second", scenario.spec_with(both)).await?;
    scenario.until_linked("second", "False/DefaultTaken").await?;
    scenario.ready("second", "True", "LoginProven").await?;
    scenario.until_named_by("builder", &["second"]).await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_account_is_linked_as_soon_as_its_namespace_has_it() -> Result<()> {
    let scenario = Scenario::start("anew").await?;
    scenario.linked("images", json!({"isDefault": true})).await?;
    scenario.accounts().delete("default", &DeleteParams::default()).await?;
    // The controller of Kubernetes makes it anew.
    scenario.until_named_by("default", &["images"]).await?;
    scenario.until_linked("images", "True/Linked").await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn suspending_links_nothing_more_and_unlinks_nothing() -> Result<()> {
    let scenario = Scenario::start("suspended").await?;
    scenario.linked("images", json!({"isDefault": true, "serviceAccounts": ["later"]})).await?;
    scenario.edit("images", json!({"spec": {"suspend": true, "isDefault": false}})).await?;
    scenario.until("images", |now| now.status.as_ref().is_some_and(|status| status.suspended == Some(true))).await?;
    scenario.create_account("later", &[]).await?;
    scenario.calls.quiet_for(std::time::Duration::from_secs(2)).await.map_err(|calls| anyhow::anyhow!("{calls:?}"))?;
    assert_eq!(scenario.named_by("default").await?, ["images"]);
    assert_eq!(scenario.named_by("later").await?, [""; 0]);

    scenario.edit("images", json!({"spec": {"suspend": false}})).await?;
    scenario.until_named_by("later", &["images"]).await?;
    scenario.until_named_by("default", &[]).await?;
    scenario.until_linked("images", "True/Linked").await?;
    scenario.finish().await
}
