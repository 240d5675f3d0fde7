//! Delivered Secrets stand in no repository, and Argo CD neither minds nor deletes them.

use anyhow::Result;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use serde_json::json;

use crate::scenario::{PASSWORD, Scenario};

const COMPARE: &str = "argocd.argoproj.io/compare-options";
const SYNC: &str = "argocd.argoproj.io/sync-options";

/// What Argo CD puts on the objects of an application, and knows them by: a label, or an annotation.
const TRACKING_LABEL: &str = "app.kubernetes.io/instance";
const TRACKING_ID: &str = "argocd.argoproj.io/tracking-id";

fn options(secret: &Secret) -> [Option<&str>; 2] {
    [COMPARE, SYNC].map(|key| secret.annotations().get(key).map(String::as_str))
}

#[tokio::test(flavor = "multi_thread")]
async fn argo_cd_neither_misses_a_delivered_secret_in_the_repository_nor_prunes_it() -> Result<()> {
    let ours = [Some("IgnoreExtraneous"), Some("Prune=false")];
    let scenario = Scenario::start("tracked").await?;
    scenario.connected("images").await?;
    let tracked =
        json!({"labels": {TRACKING_LABEL: "shop"}, "annotations": {TRACKING_ID: "shop:regcred.dev/x:y/images"}});
    scenario.edit("images", json!({"metadata": tracked})).await?;
    scenario.edit_secret("login", json!({"metadata": tracked})).await?;
    // A write that comes after both.
    scenario.edit("images", json!({"spec": {"secret": {"labels": {"team": "shop"}}}})).await?;
    let secret = scenario.until_secret("images", |secret| secret.labels().contains_key("team")).await?;
    assert_eq!(options(&secret), ours);
    assert!(!secret.labels().contains_key(TRACKING_LABEL), "the Secret is no part of the application");
    assert!(!secret.annotations().contains_key(TRACKING_ID));

    for drift in [json!({SYNC: null}), json!({COMPARE: null, SYNC: "Prune=true"})] {
        scenario.edit_secret("images", json!({"metadata": {"annotations": drift}})).await?;
        scenario.until_secret("images", |secret| options(secret) == ours).await?;
    }
    scenario.ready("images", "True", "LoginProven").await?;
    assert_eq!(scenario.good_logins()?, 1, "annotations are no reason for another login");
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_user_says_to_argo_cd_stands_instead() -> Result<()> {
    let scenario = Scenario::start("said").await?;
    scenario.write_login("login", PASSWORD).await?;
    let mut spec = scenario.spec();
    spec["secret"] = json!({"annotations": {SYNC: "Prune=confirm"}, "labels": {TRACKING_LABEL: "shop"}});
    scenario.connect("images", spec).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    let secret = scenario.secrets().get("images").await?;
    assert_eq!(options(&secret), [Some("IgnoreExtraneous"), Some("Prune=confirm")]);
    assert_eq!(secret.labels().get(TRACKING_LABEL).map(String::as_str), Some("shop"));

    scenario.edit("images", json!({"spec": {"secret": null}})).await?;
    let ours = [Some("IgnoreExtraneous"), Some("Prune=false")];
    let secret = scenario.until_secret("images", |secret| options(secret) == ours).await?;
    assert!(!secret.labels().contains_key(TRACKING_LABEL));
    scenario.ready("images", "True", "LoginProven").await?;
    scenario.finish().await
}
