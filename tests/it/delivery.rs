//! From a connection to a Secret with which a client pulls, and the Secret kept as it should be.

use anyhow::{Result, ensure};
use kube::{ResourceExt, api::DeleteParams};
use regcred::api::names::{DOCKER_CONFIG_JSON_KEY, DOCKER_CONFIG_JSON_TYPE, REVISION_ANNOTATION};
use serde_json::json;

use crate::scenario::{PASSWORD, Scenario, tell_all};

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_becomes_a_secret_with_which_a_client_pulls() -> Result<()> {
    let scenario = Scenario::start("pull").await?;
    let crane = scenario.shared.registry.crane();
    let pushed = crane.push(&scenario.image(), &scenario.namespace, PASSWORD).await?;

    let connection = scenario.connected("images").await?;

    let secret = scenario.secrets().get("images").await?;
    assert_eq!(secret.type_.as_deref(), Some(DOCKER_CONFIG_JSON_TYPE));
    let config = &secret.data.clone().unwrap_or_default()[DOCKER_CONFIG_JSON_KEY].0;
    assert_eq!(crane.pull(&scenario.image(), config).await?.digest, pushed);
    assert_eq!(scenario.kubelet_finds("images").await?, [(scenario.namespace.clone(), PASSWORD.to_owned())]);

    assert_eq!(tell_all(&connection), ["True/LoginProven", "True/LoginProven", "True/Delivered", "-", "-"]);
    let status = connection.status.clone().unwrap_or_default();
    assert_eq!(status.provider.as_deref(), Some("generic"));
    assert_eq!(status.registry_host, Some(scenario.shared.registry.host()));
    assert_eq!(status.secret_name.as_deref(), Some("images"));
    assert_eq!(status.targets.map(|targets| (targets.desired, targets.current, targets.failed)), Some((1, 1, 0)));
    assert_eq!(
        secret.annotations().get(REVISION_ANNOTATION),
        status.credential.map(|credential| credential.revision).as_ref()
    );
    assert_eq!(status.last_error, None);
    assert!(status.next_refresh_at > status.last_refresh_at);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn creating_a_connection_costs_one_secret_write_and_two_status_writes() -> Result<()> {
    let scenario = Scenario::start("cost").await?;
    scenario.connected("images").await?;

    let calls = &scenario.calls;
    let writes = calls.writes();
    assert_eq!(calls.count(|call| call.is("create", "secrets", "")), 1, "{writes:?}");
    assert!(calls.count(|call| call.is("patch", "registryconnections", "status")) <= 2, "{writes:?}");
    let events = calls.count(|call| call.is("create", "events", ""));
    assert_eq!(
        writes.len(),
        1 + calls.count(|call| call.is("patch", "registryconnections", "status")) + events,
        "{writes:?}"
    );
    assert_eq!(calls.count(|call| call.is("get", "secrets", "")), 1, "the source is read once: {:?}", calls.all());
    assert_eq!(scenario.good_logins()?, 1);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_password_is_proven_and_delivered_at_once_into_the_same_secret() -> Result<()> {
    let scenario = Scenario::start("rotate").await?;
    let before = scenario.connected("images").await?;
    let secret = scenario.secrets().get("images").await?;

    scenario.shared.registry.set_password(&scenario.namespace, "another-password")?;
    scenario.calls.clear();
    scenario.write_login("login", "another-password").await?;
    let after = scenario
        .until("images", |now| {
            now.status.as_ref().map(|s| &s.credential) != before.status.as_ref().map(|s| &s.credential)
                && tell_all(now)[2] == "True/Delivered"
        })
        .await?;

    assert_eq!(tell_all(&after)[0], "True/LoginProven");
    let new = scenario.secrets().get("images").await?;
    assert_eq!(new.uid(), secret.uid(), "the Secret is changed in place");
    assert_eq!(scenario.kubelet_finds("images").await?[0].1, "another-password");
    assert_eq!(scenario.calls.count(|call| call.is("update", "secrets", "")), 1);
    assert!(scenario.calls.count(|call| call.is("patch", "registryconnections", "status")) <= 2);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_follows_name_labels_and_annotations_of_the_spec() -> Result<()> {
    let scenario = Scenario::start("marks").await?;
    scenario.write_login("login", PASSWORD).await?;
    let mut spec = scenario.spec();
    spec["secret"] = json!({"name": "pull", "labels": {"team": "shop", "a/b": "c"}, "annotations": {"note": "x, y"}});
    scenario.connect("images", spec).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    let secret = scenario.secrets().get("pull").await?;
    assert_eq!(secret.labels().get("team").map(String::as_str), Some("shop"));
    assert_eq!(secret.annotations().get("note").map(String::as_str), Some("x, y"));

    // A stranger's label stays; one that is dropped from the spec goes.
    scenario.edit_secret("pull", json!({"metadata": {"labels": {"theirs": "stays"}}})).await?;
    scenario.edit("images", json!({"spec": {"secret": {"labels": {"team": "store", "a/b": null}}}})).await?;
    let secret =
        scenario.until_secret("pull", |secret| secret.labels().get("team").is_some_and(|team| team == "store")).await?;
    assert_eq!(secret.labels().get("theirs").map(String::as_str), Some("stays"));
    assert_eq!(secret.labels().get("a/b"), None);
    scenario.ready("images", "True", "LoginProven").await?;
    assert_eq!(scenario.good_logins()?, 1, "labels are no reason for another login");
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_or_edited_secret_is_put_right_with_one_write() -> Result<()> {
    let scenario = Scenario::start("repair").await?;
    scenario.connected("images").await?;
    let delivered = scenario.secrets().get("images").await?;

    scenario.calls.clear();
    scenario.delete_secret("images").await?;
    let restored = scenario.until_secret("images", |secret| secret.uid() != delivered.uid()).await?;
    assert_eq!(restored.data, delivered.data);
    assert_eq!(scenario.calls.count(|call| call.is("create", "secrets", "")), 1);

    scenario.calls.clear();
    let wrong = json!({"data": {DOCKER_CONFIG_JSON_KEY: "e30=", "extra": "eA=="}, "metadata": {"labels": {"regcred.dev/connection": null}}});
    scenario.edit_secret("images", wrong).await?;
    let repaired = scenario
        .until_secret("images", |secret| {
            secret.data.as_ref().is_some_and(|data| {
                data.get(DOCKER_CONFIG_JSON_KEY) == delivered.data.as_ref().and_then(|d| d.get(DOCKER_CONFIG_JSON_KEY))
            })
        })
        .await?;
    assert_eq!(repaired.uid(), restored.uid());
    assert_eq!(repaired.labels(), delivered.labels());
    assert!(repaired.data.unwrap_or_default().contains_key("extra"), "a key that is not ours stays");
    assert_eq!(scenario.calls.count(|call| call.is("patch", "secrets", "")), 1);
    assert_eq!(scenario.good_logins()?, 1, "a repair needs no login");
    ensure!(scenario.calls.count(|call| call.is("patch", "registryconnections", "status")) == 0);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_deleted_and_created_anew_takes_its_secret_over_in_place() -> Result<()> {
    let scenario = Scenario::start("leave").await?;
    scenario.connected("images").await?;
    let delivered = scenario.secrets().get("images").await?;

    scenario.connections().delete("images", &DeleteParams::default()).await?;
    scenario.connect("images", scenario.spec()).await?;
    scenario.ready("images", "True", "LoginProven").await?;

    let adopted = scenario.secrets().get("images").await?;
    assert_eq!(adopted.uid(), delivered.uid());
    assert_ne!(adopted.annotations().get(REVISION_ANNOTATION), delivered.annotations().get(REVISION_ANNOTATION));
    scenario.finish().await
}
