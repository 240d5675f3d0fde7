//! Which namespaces are served, and what becomes of those that are not any more.

use anyhow::{Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use regcred::api::ConditionType;
use serde_json::json;

use testenv::eventually;

use super::{Wide, message, targets, tell};
use crate::scenario::DEADLINE;

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_is_served_as_soon_as_it_is_selected_and_loses_the_secret_when_it_is_not() -> Result<()> {
    let wide = Wide::start("comes").await?;
    wide.connect("images", wide.spec()).await?;
    let connection = wide.ready("images", ("True", "LoginProven"), (0, 0)).await?;
    ensure!(message(&connection, ConditionType::Ready)?.contains("SelectsNothing"), "{connection:?}");
    assert_eq!(tell(&connection, ConditionType::Delivered), "True/SelectsNothing");

    wide.create_namespaces(0..3).await?;
    wide.until_delivered_to("images", &[0, 1, 2]).await?;
    wide.create_namespace(3, json!({})).await?;
    wide.label(3, wide.labels()).await?;
    wide.until_delivered_to("images", &[0, 1, 2, 3]).await?;
    wide.label(1, json!({"test": null})).await?;
    wide.until_delivered_to("images", &[0, 2, 3]).await?;
    wide.label(2, json!({"regcred.dev/exclude": "true"})).await?;
    wide.until_delivered_to("images", &[0, 3]).await?;
    wide.edit("images", json!({"spec": {"excludeNamespaces": [wide.namespace(0)]}})).await?;
    wide.until_delivered_to("images", &[3]).await?;
    wide.edit("images", json!({"spec": {"excludeNamespaces": null, "deletionPolicy": "Retain"}})).await?;
    wide.until_delivered_to("images", &[0, 3]).await?;
    wide.label(3, json!({"test": null})).await?;
    wide.until_delivered_to("images", &[0]).await?;
    wide.ready("images", ("True", "LoginProven"), (1, 1)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_can_be_named_and_those_of_kubernetes_itself_must_be() -> Result<()> {
    let wide = Wide::start("named").await?;
    wide.create_namespaces(0..2).await?;
    let mut spec = wide.spec();
    spec["namespaceSelector"] = json!(null);
    spec["namespaces"] = json!([wide.namespace(1), wide.namespace(2), "kube-public"]);
    spec["secret"] = json!({"name": "named"});
    wide.connect("named", spec).await?;
    wide.ready("named", ("True", "LoginProven"), (2, 2)).await?;
    wide.until_delivered_to("named", &[1]).await?;
    wide.create_namespaces(2..3).await?;
    wide.until_delivered_to("named", &[1, 2]).await?;

    let mut spec = wide.spec();
    spec["visibility"] = "All".into();
    spec["namespaceSelector"] = json!(null);
    spec["secret"] = json!({"name": "everywhere"});
    spec["excludeNamespaces"] = json!([format!("{}-*1", wide.scenario.namespace)]);
    wide.connect("everywhere", spec).await?;
    wide.until_delivered_to("everywhere", &[0, 2]).await?;
    eventually("all to be wanted", DEADLINE, async || {
        let all = wide.namespaces().list_metadata(&Default::default()).await?.items;
        // Other tests leave some that refuse, or are on their way out.
        let wants = |one: &ObjectMeta| {
            let labels = one.labels.clone().unwrap_or_default();
            one.deletion_timestamp.is_none() && !labels.contains_key("regcred.dev/exclude")
        };
        let there = all.iter().filter(|one| wants(&one.metadata)).count();
        let desired = targets(&wide.connections().get("everywhere").await?).desired;
        // But for the one that is excluded, and the three of Kubernetes.
        ensure!(usize::try_from(desired)? == there - 4, "{desired} of {there}");
        Ok(Some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_is_served_where_nobody_else_is() -> Result<()> {
    let wide = Wide::start("asks").await?;
    let mut spec = wide.spec();
    spec["visibility"] = "OptIn".into();
    spec["namespaceSelector"] = json!(null);
    wide.connect("asked-for", spec).await?;
    wide.create_namespaces(0..2).await?;
    wide.create_namespace(2, json!({"regcred.dev/import.asked-for": "true"})).await?;
    wide.create_namespace(3, json!({"regcred.dev/import.asked-for": "true", "regcred.dev/exclude": "true"})).await?;
    wide.create_namespace(4, json!({"regcred.dev/import.another": "true"})).await?;
    wide.until_delivered_to("asked-for", &[2]).await?;
    wide.label(0, json!({"regcred.dev/import.asked-for": "true"})).await?;
    wide.until_delivered_to("asked-for", &[0, 2]).await?;
    wide.label(2, json!({"regcred.dev/import.asked-for": "false"})).await?;
    wide.until_delivered_to("asked-for", &[0]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn those_that_are_served_stay_so_when_more_are_selected_than_may_be() -> Result<()> {
    let mut wide = Wide::start("few").await?;
    wide.create_namespaces(5..8).await?;
    let mut spec = wide.spec();
    spec["maxTargets"] = 3.into();
    wide.connect("images", spec).await?;
    wide.ready("images", ("True", "LoginProven"), (3, 3)).await?;
    wide.create_namespaces(0..2).await?;
    let told = wide.ready("images", ("True", "LoginProven"), (3, 5)).await?;
    wide.until_delivered_to("images", &[5, 6, 7]).await?;
    assert_eq!(tell(&told, ConditionType::Delivered), "False/TooManyTargets");
    let failures: Vec<_> = targets(&told).failures.into_iter().map(|failure| failure.namespace).collect();
    assert_eq!(failures, [wide.namespace(0), wide.namespace(1)]);

    // Nor does it change who they are if one of them deletes the Secret, or the operator starts again; but who goes makes room.
    wide.secrets(6).delete("images", &Default::default()).await?;
    wide.until_delivered_to("images", &[5, 6, 7]).await?;
    wide.scenario.stop_operator().await?;
    wide.scenario.start_operator().await?;
    wide.at_rest().await?;
    wide.until_delivered_to("images", &[5, 6, 7]).await?;
    wide.label(6, json!({"test": null})).await?;
    wide.until_delivered_to("images", &[0, 5, 7]).await?;
    wide.edit("images", json!({"spec": {"maxTargets": null}})).await?;
    wide.until_delivered_to("images", &[0, 1, 5, 7]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_would_take_the_secret_from_many_waits_until_that_is_allowed() -> Result<()> {
    let mut wide = Wide::start("drops").await?;
    wide.create_namespaces(0..12).await?;
    wide.connect("images", wide.spec()).await?;
    let all: Vec<usize> = (0..12).collect();
    wide.until_delivered_to("images", &all).await?;
    let kept = |count: usize| (0..count).map(|number| wide.namespace(number)).collect::<Vec<_>>();
    let only = |count: usize| json!({"spec": {"namespaceSelector": null, "namespaces": kept(count)}});

    // Two of twelve are few.
    wide.edit("images", only(10)).await?;
    wide.until_delivered_to("images", &all[..10]).await?;
    wide.edit("images", only(4)).await?;
    let blocked = wide.ready("images", ("True", "LoginProven"), (10, 10)).await?;
    wide.until_delivered_to("images", &all[..10]).await?;
    assert_eq!(tell(&blocked, ConditionType::Delivered), "False/RemovalBlocked");
    let error = blocked.status.as_ref().and_then(|status| status.last_error.clone());
    let hint = error.and_then(|error| error.hint).unwrap_or_default();
    ensure!(hint.contains("regcred.dev/allow-removal-of: \"6\""), "{hint}");
    assert_eq!(targets(&blocked).blocked, Some(6));

    // A restart changes nothing about that, and those who are selected are still looked after.
    wide.scenario.stop_operator().await?;
    wide.scenario.start_operator().await?;
    wide.secrets(3).delete("images", &Default::default()).await?;
    wide.until_delivered_to("images", &all[..10]).await?;
    // Nor does it leave anybody behind when the login changes.
    let login = STANDARD.encode(format!("{}:another-password-5", wide.scenario.namespace));
    wide.scenario.shared.registry.set_password(&wide.scenario.namespace, "another-password-5")?;
    wide.scenario.edit_secret("login", json!({"stringData": {"password": "another-password-5"}})).await?;
    eventually("all ten to hold the new login", DEADLINE, async || {
        let holding = wide.delivered("images").await?.into_values();
        let configs = holding.filter_map(|secret| secret.data?.remove(".dockerconfigjson"));
        let renewed = configs.filter(|config| String::from_utf8_lossy(&config.0).contains(&login)).count();
        ensure!(renewed == 10, "{renewed}");
        Ok(Some(()))
    })
    .await?;
    let allow = |count: &str| json!({"metadata": {"annotations": {"regcred.dev/allow-removal-of": count}}});
    wide.scenario.calls.clear();
    let passes = async || wide.scenario.metric("regcred_reconciles_total{result=\"completed\"}").await;
    wide.at_rest().await?;
    let before = passes().await?;
    wide.edit("images", allow("5")).await?;
    eventually("a look at it", DEADLINE, async || Ok((passes().await? > before).then_some(()))).await?;
    wide.at_rest().await?;
    assert_eq!(wide.writes()[2], 0, "fewer are allowed than would go");
    wide.until_delivered_to("images", &all[..10]).await?;
    wide.edit("images", allow("6")).await?;
    wide.until_delivered_to("images", &all[..4]).await?;
    wide.until("images", |now| tell(now, ConditionType::Delivered) == "True/Delivered").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_name_takes_the_place_of_the_old_one_in_every_namespace() -> Result<()> {
    let wide = Wide::start("renames").await?;
    wide.create_namespaces(0..3).await?;
    wide.connect("images", wide.spec()).await?;
    wide.until_delivered_to("images", &[0, 1, 2]).await?;
    // Somebody else's of the new name is in one of them.
    let foreign = serde_json::from_value(json!({"metadata": {"name": "new"}}))?;
    wide.secrets(1).create(&Default::default(), &foreign).await?;
    wide.edit("images", json!({"spec": {"secret": {"name": "new"}}})).await?;
    wide.until_delivered_to("new", &[0, 1, 2]).await?;
    wide.until_delivered_to("images", &[1]).await?;
    Ok(())
}
