//! `secret.name` changed: the new Secret first, then the old one, as the deletionPolicy says.

use std::time::Duration;

use anyhow::{Result, anyhow};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use serde_json::{Value, json};
use testenv::eventually;

use crate::{
    another::{Witness, uid},
    scenario::{DEADLINE, PASSWORD, Scenario, WRONG},
};

fn named(name: &str) -> Value {
    json!({"spec": {"secret": {"name": name}}})
}

/// Whether a Secret says this of the end of its connection.
fn says(policy: &str) -> impl Fn(&Secret) -> bool {
    move |secret| secret.annotations().get("regcred.dev/deletion-policy").is_some_and(|word| word == policy)
}

/// What was asked for, statuses aside too.
fn secrets_asked(scenario: &Scenario) -> Vec<String> {
    scenario.asked().into_iter().filter(|line| !line.ends_with("/status")).collect()
}

async fn quiet(scenario: &Scenario) -> Result<()> {
    let quiet = scenario.calls.quiet_for(Duration::from_secs(2)).await;
    quiet.map_err(|calls| anyhow!("requests: {calls:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_secret_is_written_anew_before_the_old_one_goes() -> Result<()> {
    let scenario = Scenario::start("rename").await?;
    scenario.connected("images").await?;
    let witness = Witness::watch(&scenario).await?;
    scenario.calls.clear();
    scenario.edit("images", named("new")).await?;
    scenario.until_gone("images").await?;
    witness.sees("-images").await?;
    let seen = witness.all();
    assert!(seen.len() == 2 && seen[0].starts_with("+new") && seen[1].starts_with("-images"), "{seen:?}");
    let connection = scenario.ready("images", "True", "LoginProven").await?;
    assert_eq!(connection.status.unwrap_or_default().secret_name.as_deref(), Some("new"));
    quiet(&scenario).await?;
    // The source, the new Secret; then a look at the old one and at the connection, and the removal.
    let expected = ["get secrets", "create secrets", "get secrets", "get registryconnections", "delete secrets"];
    assert_eq!(secrets_asked(&scenario), expected);
    assert_eq!(scenario.kubelet_finds("new").await?.len(), 1);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_renamed_to_be_retained_says_so_and_stays_even_if_the_policy_changes_later() -> Result<()> {
    let scenario = Scenario::start("renkeep").await?;
    scenario.connected("images").await?;
    let delivered = scenario.secrets().get("images").await?;
    scenario.calls.clear();
    // In one edit, so that the old Secret was never delivered to under the new policy.
    scenario.edit("images", json!({"spec": {"secret": {"name": "new"}, "deletionPolicy": "Retain"}})).await?;
    let kept = scenario.until_secret("images", says("Retain")).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    quiet(&scenario).await?;
    assert_eq!((uid(&kept), &kept.data), (uid(&delivered), &delivered.data));
    assert!(scenario.secrets().get_opt("new").await?.is_some());
    assert_eq!(secrets_asked(&scenario), ["get secrets", "create secrets", "patch secrets"]);

    scenario.calls.clear();
    scenario.edit("images", json!({"spec": {"deletionPolicy": "Delete"}})).await?;
    scenario.until_secret("new", says("Delete")).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    quiet(&scenario).await?;
    assert_eq!(scenario.secrets().get("images").await?, kept);
    assert_eq!(scenario.calls.count(|call| call.is("get", "registryconnections", "")), 0, "no look at what stays");
    assert_eq!(scenario.left().await?, Vec::<String>::new(), "it stays because somebody wanted it");
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_an_earlier_connection_left_on_purpose_is_not_taken_by_one_of_another_target() -> Result<()> {
    let scenario = Scenario::start("renleft").await?;
    scenario.connected("images").await?;
    scenario.edit("images", json!({"spec": {"deletionPolicy": "Retain"}})).await?;
    let left = scenario.until_secret("images", says("Retain")).await?;
    scenario.disconnect("images").await?;

    let mut spec = scenario.spec();
    spec["secret"] = json!({"name": "new"});
    scenario.connect("images", spec).await?;
    scenario.until_secret("new", says("Delete")).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    scenario.calls.clear();
    quiet(&scenario).await?;
    assert_eq!(scenario.secrets().get("images").await?, left);
    assert_eq!(scenario.left().await?, Vec::<String>::new());
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_created_anew_under_another_target_takes_the_old_secret_away_while_the_kind_stands() -> Result<()>
{
    let mut scenario = Scenario::start("rennew").await?;
    scenario.connected("images").await?;
    scenario.stop_operator().await?;
    scenario.disconnect("images").await?;
    let created = |secret: &Secret| secret.annotations()["regcred.dev/connection-created-at"].clone();
    let before: Timestamp = created(&scenario.secrets().get("images").await?).parse()?;
    // Creation times are whole seconds; only another one tells an earlier connection.
    let mut spec = scenario.spec();
    spec["secret"] = json!({"name": "new"});
    eventually("a connection with another creation time", DEADLINE, async || {
        scenario.connect("images", spec.clone()).await?;
        let now = scenario.connections().get("images").await?.metadata.creation_timestamp;
        if now.is_some_and(|now| now.0 > before) {
            return Ok(Some(()));
        }
        scenario.disconnect("images").await?;
        Ok(None)
    })
    .await?;
    scenario.calls.clear();
    scenario.start_operator().await?;
    scenario.until_gone("images").await?;
    scenario.ready("images", "True", "LoginProven").await?;
    quiet(&scenario).await?;
    let expected = [
        "get secrets",
        "create secrets",
        "get secrets",
        "get registryconnections",
        "get customresourcedefinitions",
        "delete secrets",
    ];
    assert_eq!(secrets_asked(&scenario), expected);

    // One that was written for a connection from before the kind was installed proves nobody's wish.
    let mut old = scenario.secrets().get("new").await?;
    (old.metadata.name, old.metadata.uid, old.metadata.resource_version) = (Some("older".into()), None, None);
    old.annotations_mut().insert("regcred.dev/connection-created-at".into(), "2001-01-01T00:00:00Z".into());
    scenario.forge(serde_json::to_value(&old)?).await?;
    scenario.until_left("installed anew since").await?;
    scenario.calls.clear();
    quiet(&scenario).await?;
    assert!(scenario.secrets().get_opt("older").await?.is_some());
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_while_nobody_ran_and_a_crash_between_new_and_old_are_made_good() -> Result<()> {
    let mut scenario = Scenario::start("renstop").await?;
    scenario.connected("images").await?;
    scenario.stop_operator().await?;
    scenario.edit("images", named("new")).await?;
    scenario.start_operator().await?;
    scenario.until_gone("images").await?;
    scenario.ready("images", "True", "LoginProven").await?;
    let new = scenario.secrets().get("new").await?;

    // As if it had crashed before it removed the old one: the new one is current, nothing else is due.
    scenario.stop_operator().await?;
    let mut old = new.clone();
    (old.metadata.name, old.metadata.uid, old.metadata.resource_version) = (Some("images".into()), None, None);
    scenario.forge(serde_json::to_value(&old)?).await?;
    scenario.calls.clear();
    scenario.start_operator().await?;
    scenario.until_gone("images").await?;
    quiet(&scenario).await?;
    assert_eq!(scenario.asked(), ["get secrets", "get registryconnections", "delete secrets"]);
    assert_eq!(scenario.secrets().get("new").await?, new);

    // And one that appears while it runs, as a backup may bring it back.
    scenario.forge(serde_json::to_value(&old)?).await?;
    scenario.until_gone("images").await?;
    assert_eq!(scenario.secrets().get("new").await?, new);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn renamed_back_and_forth_there_is_always_one_and_in_the_end_the_right_one() -> Result<()> {
    let scenario = Scenario::start("renback").await?;
    scenario.connected("images").await?;
    let witness = Witness::watch(&scenario).await?;
    for round in 0..6 {
        scenario.edit("images", named(if round % 2 == 0 { "b" } else { "images" })).await?;
    }
    scenario.edit("images", named("b")).await?;
    scenario.until_secret("b", |_| true).await?;
    scenario.until_gone("images").await?;
    scenario.ready("images", "True", "LoginProven").await?;
    assert!(scenario.secrets().get_opt("b").await?.is_some());
    let mut there: std::collections::BTreeSet<String> = ["images".to_owned()].into();
    for line in witness.all() {
        let name = line[1..].split(' ').next().unwrap_or_default().to_owned();
        if line.starts_with('+') {
            there.insert(name)
        } else {
            there.remove(&name)
        };
        assert!(!there.is_empty(), "a moment without a Secret: {:?}", witness.all());
    }
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn renamed_onto_a_foreign_secret_the_old_one_stays() -> Result<()> {
    let scenario = Scenario::start("renalien").await?;
    scenario.connected("images").await?;
    let delivered = scenario.secrets().get("images").await?;
    let foreign = scenario.write_secret("taken", "Opaque", json!({"a": "b"})).await?;
    scenario.edit("images", named("taken")).await?;
    scenario.ready("images", "False", "TargetConflict").await?;
    quiet(&scenario).await?;
    assert_eq!(scenario.secrets().get("images").await?, delivered);
    assert_eq!(scenario.secrets().get("taken").await?, foreign);
    scenario.delete_secret("taken").await?;
    scenario.until_gone("images").await?;
    assert_ne!(uid(&scenario.until_secret("taken", |_| true).await?), uid(&foreign));
    scenario.ready("images", "True", "LoginProven").await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn renamed_while_the_login_is_refused_the_old_one_stays_until_a_login_is_accepted() -> Result<()> {
    let scenario = Scenario::start("renbad").await?;
    scenario.connected("images").await?;
    let delivered = scenario.secrets().get("images").await?;
    scenario.write_login("login", WRONG).await?;
    scenario.ready("images", "False", "InvalidCredentials").await?;
    scenario.edit("images", named("new")).await?;
    scenario
        .until("images", |now| now.status.as_ref().is_some_and(|s| s.secret_name.as_deref() == Some("new")))
        .await?;
    quiet(&scenario).await?;
    assert_eq!(scenario.secrets().get("images").await?, delivered);
    assert!(scenario.secrets().get_opt("new").await?.is_none());
    scenario.write_login("login", PASSWORD).await?;
    scenario.until_gone("images").await?;
    assert!(scenario.secrets().get_opt("new").await?.is_some());
    scenario.ready("images", "True", "LoginProven").await?;
    scenario.finish().await
}
