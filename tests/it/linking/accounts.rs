//! The ServiceAccounts that a connection names.

use anyhow::Result;
use kube::api::DeleteParams;
use serde_json::json;
use testenv::eventually;

use super::{claimed, told};
use crate::scenario::{DEADLINE, PASSWORD, Scenario, WRONG};

#[tokio::test(flavor = "multi_thread")]
async fn the_accounts_that_a_connection_names_are_linked_with_one_write_each() -> Result<()> {
    let scenario = Scenario::start("accounts").await?;
    scenario.create_account("builder", &["mine", "theirs"]).await?;
    scenario.until_named_by("default", &[]).await?;

    let connection = scenario.linked("images", json!({"isDefault": true, "serviceAccounts": ["builder"]})).await?;

    let builder = scenario.until_named_by("builder", &["mine", "theirs", "images"]).await?;
    scenario.until_named_by("default", &["images"]).await?;
    let reference = format!("RegistryConnection/{}/images", scenario.namespace);
    let created = connection.metadata.creation_timestamp.as_ref().map(|time| time.0.to_string());
    assert_eq!(claimed(&builder), json!({"images": {reference: created}}));
    assert_eq!(scenario.account_writes(), 2, "{:?}", scenario.calls.writes());
    assert_eq!(connection.status.and_then(|status| status.linked_service_accounts), Some(2));
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn links_do_not_wait_for_a_login_that_works() -> Result<()> {
    let scenario = Scenario::start("early").await?;
    scenario.write_login("login", WRONG).await?;
    scenario.connect("images", scenario.spec_with(json!({"isDefault": true}))).await?;
    scenario.until_named_by("default", &["images"]).await?;
    let refused = scenario.ready("images", "False", "InvalidCredentials").await?;
    assert_eq!(told(&refused), ("True/Linked".into(), "1 ServiceAccount names Secret images".into()));
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_linked_before_the_login_is_tried() -> Result<()> {
    let scenario = Scenario::start("first").await?;
    scenario.write_login("login", PASSWORD).await?;
    scenario.connect("images", scenario.spec_with(json!({"isDefault": true}))).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    let calls = scenario.calls.all();
    let at = |verb: &str, resource: &str| calls.iter().position(|call| call.is(verb, resource, ""));
    let (linked, read) = (at("patch", "serviceaccounts"), at("get", "secrets"));
    assert!(linked.is_some() && linked < at("create", "secrets"), "{calls:?}");
    // The source is read right before the login.
    assert!(linked < read.filter(|at| calls[*at].uri.ends_with("/login")).or(Some(usize::MAX)), "{calls:?}");
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_does_not_exist_is_linked_when_it_does_and_again_when_it_is_made_anew() -> Result<()> {
    let scenario = Scenario::start("later").await?;
    scenario.write_login("login", PASSWORD).await?;
    scenario.connect("images", scenario.spec_with(json!({"serviceAccounts": ["builder"]}))).await?;
    let waiting = scenario.until_linked("images", "False/Progressing").await?;
    let (_, message) = told(&waiting);
    let name = format!("ServiceAccount {}/builder does not exist, and is linked when it does", scenario.namespace);
    assert!(message.contains(&name), "{message}");
    scenario.ready("images", "True", "LoginProven").await?;

    for _ in 0..3 {
        scenario.create_account("builder", &[]).await?;
        scenario.until_named_by("builder", &["images"]).await?;
        scenario.until_linked("images", "True/Linked").await?;
        scenario.accounts().delete("builder", &DeleteParams::default()).await?;
        scenario.until_linked("images", "False/Progressing").await?;
    }
    assert_eq!(scenario.account_writes(), 3);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_user_named_is_not_ours_and_stays() -> Result<()> {
    let scenario = Scenario::start("users").await?;
    scenario.create_account("builder", &["images", "last"]).await?;
    scenario.linked("images", json!({"serviceAccounts": ["builder"]})).await?;
    assert_eq!(scenario.account_writes(), 0, "it names the Secret already");
    scenario.edit("images", json!({"spec": {"serviceAccounts": null}})).await?;
    scenario.until_linked("images", "-").await?;
    assert_eq!(scenario.named_by("builder").await?, ["images", "last"]);
    assert_eq!(scenario.account_writes(), 0);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_secret_of_the_name_is_never_named() -> Result<()> {
    let scenario = Scenario::prepare("taken").await?;
    scenario.write_secret("images", "Opaque", json!({"password": "x"})).await?;
    let mut scenario = scenario;
    scenario.start_operator().await?;
    scenario.write_login("login", PASSWORD).await?;
    scenario.connect("images", scenario.spec_with(json!({"isDefault": true}))).await?;
    let refused = scenario.ready("images", "False", "TargetConflict").await?;
    assert_eq!(told(&refused).0, "False/TargetConflict");
    assert_eq!(scenario.named_by("default").await?, [""; 0]);
    assert_eq!(scenario.account_writes(), 0);

    scenario.delete_secret("images").await?;
    scenario.until_named_by("default", &["images"]).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    scenario.until_linked("images", "True/Linked").await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_accounts_beside_the_one_that_is_named_are_not_touched() -> Result<()> {
    let scenario = Scenario::start("crowd").await?;
    use futures::{StreamExt, TryStreamExt, stream};
    stream::iter(0..2000)
        .map(async |number| scenario.create_account(&format!("account-{number}"), &[]).await)
        .buffer_unordered(16)
        .try_collect::<Vec<_>>()
        .await?;
    let named: Vec<String> = (0..32).map(|number| format!("account-{}", number * 50)).collect();
    let connection = scenario.linked("images", json!({"serviceAccounts": named})).await?;
    assert_eq!(connection.status.and_then(|status| status.linked_service_accounts), Some(32));
    assert_eq!(scenario.account_writes(), 32);
    eventually("all of them", DEADLINE, async || {
        let accounts = scenario.accounts().list(&Default::default()).await?;
        let linked = accounts.iter().filter(|account| super::named(account) == ["images"]).count();
        Ok((linked == 32).then_some(()))
    })
    .await?;
    scenario.finish().await
}
