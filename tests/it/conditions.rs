//! The table of conditions, row by row: each is brought about with objects, and read back from the API server.
//!
//! Rows that need more than objects stand elsewhere: a missing right in `outage`, a fault of our own in `crash`, a policy
//! and a quota in `conflict`.

use anyhow::{Context as _, Result};
use futures::StreamExt;
use kube::{
    Api,
    api::DynamicObject,
    core::ApiResource,
    runtime::{WatchStreamExt, watcher},
};
use regcred::api::RegistryConnection;
use serde_json::{Value, json};

use crate::conflict::deny;
use crate::scenario::{DEADLINE, PASSWORD, Scenario, WRONG, secure, tell_all};

/// Ready, CredentialsValid, Delivered, Reconciling, Stalled.
type Row = [&'static str; 5];

impl Scenario {
    /// Waits until all conditions are as a row of the table says, for the current spec.
    async fn reads(&self, name: &str, row: Row) -> Result<RegistryConnection> {
        let is_it = |now: &RegistryConnection| {
            now.status.as_ref().and_then(|status| status.observed_generation) == now.metadata.generation
                && tell_all(now) == row
        };
        self.until(name, is_it).await.with_context(|| format!("{name}: waiting for {row:?}"))
    }

    /// A connection that differs from the usual one by a merge patch of its spec.
    async fn connect_with(&self, name: &str, change: Value) -> Result<()> {
        let mut spec = self.spec();
        json_patch::merge(&mut spec, &change);
        self.connect(name, spec).await?;
        Ok(())
    }
}

fn reading(secret: &str) -> Value {
    json!({"provider": {"generic": {"secretRef": {"name": secret}}}})
}

fn at(url: &str) -> Value {
    json!({"provider": {"generic": {"registryUrl": url}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_the_table_before_anything_is_delivered() -> Result<()> {
    let scenario = Scenario::start("rows").await?;
    scenario.write_login("login", PASSWORD).await?;
    scenario.write_login("wrong", WRONG).await?;
    scenario.write_secret("noise", "Opaque", json!({"username": "a:b", "password": "c"})).await?;
    scenario.write_secret("conflict", "Opaque", json!({"x": "y"})).await?;
    let silent = scenario.registry_elsewhere().await?;
    silent.pause();
    let secure = secure().await?;
    let mut lacking = scenario.account_at(secure).await?;
    lacking["test"] = json!({"repositories": [{"name": format!("{}/nothing", scenario.namespace), "reference": "v1"}]});

    let rows: [(&str, Value, Row); 9] = [
        ("suspended", json!({"suspend": true}), ["False/Suspended", "Unknown/Suspended", "False/Suspended", "-", "-"]),
        (
            "senseless",
            at("https://index.docker.io"),
            ["False/InvalidSpec", "Unknown/InvalidSpec", "False/InvalidSpec", "-", "True/InvalidSpec"],
        ),
        (
            "malformed",
            reading("noise"),
            ["False/SecretMalformed", "Unknown/SecretMalformed", "False/SecretMalformed", "-", "True/SecretMalformed"],
        ),
        (
            "refused",
            reading("wrong"),
            [
                "False/InvalidCredentials",
                "False/InvalidCredentials",
                "False/InvalidCredentials",
                "-",
                "True/InvalidCredentials",
            ],
        ),
        (
            "missing",
            reading("nowhere"),
            ["False/SecretNotFound", "Unknown/SecretNotFound", "False/SecretNotFound", "True/SecretNotFound", "-"],
        ),
        (
            "waiting",
            at(&format!("http://{}", silent.host())),
            ["False/Unreachable", "Unknown/Unreachable", "False/Unreachable", "True/Unreachable", "-"],
        ),
        (
            "conflict",
            json!({}),
            ["False/TargetConflict", "True/LoginProven", "False/TargetConflict", "-", "True/TargetConflict"],
        ),
        (
            "untested",
            json!({"test": {"mode": "Off"}}),
            ["True/NotTested", "Unknown/NotTested", "True/Delivered", "-", "-"],
        ),
        ("proven", json!({}), ["True/LoginProven", "True/LoginProven", "True/Delivered", "-", "-"]),
    ];
    for (name, change, _) in &rows {
        scenario.connect_with(name, change.clone()).await?;
    }
    scenario.connect("lacking", lacking).await?;
    for (name, _, row) in rows {
        scenario.reads(name, row).await?;
    }
    let row =
        ["False/RepositoryNotFound", "True/LoginProven", "False/RepositoryNotFound", "True/RepositoryNotFound", "-"];
    scenario.reads("lacking", row).await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_the_table_beside_a_delivered_credential() -> Result<()> {
    let scenario = Scenario::start("beside").await?;
    let registry = scenario.connected_elsewhere("images", |_| {}).await?;
    let proven = ["True/LoginProven", "True/LoginProven", "True/Delivered", "-", "-"];
    scenario.reads("images", proven).await?;

    scenario.write_secret("login", "Opaque", json!({"username": "a:b", "password": "c"})).await?;
    let row = ["False/SecretMalformed", "Unknown/SecretMalformed", "True/Delivered", "-", "True/SecretMalformed"];
    scenario.reads("images", row).await?;

    scenario.write_login("login", WRONG).await?;
    let row =
        ["False/InvalidCredentials", "False/InvalidCredentials", "True/Delivered", "-", "True/InvalidCredentials"];
    scenario.reads("images", row).await?;

    scenario.delete_secret("login").await?;
    let row = ["False/SecretNotFound", "Unknown/SecretNotFound", "True/Delivered", "True/SecretNotFound", "-"];
    scenario.reads("images", row).await?;

    scenario.write_login("login", PASSWORD).await?;
    scenario.reads("images", proven).await?;
    registry.pause();
    scenario.edit("images", json!({"metadata": {"annotations": {"regcred.dev/test-requested-at": "1"}}})).await?;
    scenario.reads("images", ["True/LoginProven", "Unknown/Unreachable", "True/Delivered", "-", "-"]).await?;
    registry.resume().await?;
    scenario.reads("images", proven).await?;

    scenario.edit("images", json!({"spec": {"suspend": true}})).await?;
    scenario.reads("images", proven).await?;
    scenario.edit("images", json!({"spec": {"suspend": false}})).await?;
    scenario.reads("images", proven).await?;

    let nothing = json!([{"name": format!("{}/nothing", scenario.namespace), "reference": "v1"}]);
    scenario.edit("images", json!({"spec": {"test": {"repositories": nothing}}})).await?;
    let row = ["False/RepositoryNotFound", "True/LoginProven", "True/Delivered", "True/RepositoryNotFound", "-"];
    scenario.reads("images", row).await?;
    scenario.edit("images", json!({"spec": {"test": null}})).await?;
    scenario.reads("images", proven).await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_a_secret_that_was_delivered_and_cannot_be_written_any_more() -> Result<()> {
    let scenario = Scenario::start("unwritable").await?;
    scenario.connected("images").await?;
    let proven = ["True/LoginProven", "True/LoginProven", "True/Delivered", "-", "-"];

    scenario.write_secret("foreign", "Opaque", json!({"x": "y"})).await?;
    scenario.edit("images", json!({"spec": {"secret": {"name": "foreign"}}})).await?;
    let row = ["False/TargetConflict", "True/LoginProven", "False/TargetConflict", "-", "True/TargetConflict"];
    scenario.reads("images", row).await?;
    scenario.edit("images", json!({"spec": {"secret": null}})).await?;
    scenario.reads("images", proven).await?;

    deny(&scenario.client, &scenario.namespace, "'not now'", "Invalid").await?;
    scenario.edit("images", json!({"spec": {"secret": {"labels": {"team": "shop"}}}})).await?;
    let row = ["False/Forbidden", "True/LoginProven", "False/Forbidden", "-", "True/Forbidden"];
    scenario.reads("images", row).await?;
    scenario.edit("images", json!({"spec": {"secret": null}})).await?;
    scenario.reads("images", proven).await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_beside_a_delivered_login_that_has_ended() -> Result<()> {
    // Five minutes pass in five seconds.
    let scenario = Scenario::start_fast("past", 60).await?;
    let registry = scenario.connected_elsewhere("images", |spec| spec["refreshIntervalMinutes"] = 1440.into()).await?;
    scenario.end_in(5).await?;
    // Reconciling or Stalled names what is in the way; the others name the end.
    let reads = async |reconciling: &str, stalled: &str| {
        let row = ["False/Expired", "False/Expired", "True/Delivered", reconciling, stalled];
        let found = scenario.until("images", |now| tell_all(now) == row).await;
        found.with_context(|| format!("waiting for {row:?}"))
    };
    reads("-", "True/Expired").await?;

    scenario.delete_secret("login").await?;
    reads("True/SecretNotFound", "-").await?;
    reads("-", "True/SecretNotFound").await?;

    scenario.write_login("login", WRONG).await?;
    reads("-", "True/InvalidCredentials").await?;

    registry.pause();
    registry.set_password(&scenario.namespace, "another-password")?;
    scenario.write_login("login", "another-password").await?;
    reads("True/Unreachable", "-").await?;

    registry.resume().await?;
    scenario.reads("images", ["True/LoginProven", "True/LoginProven", "True/Delivered", "-", "-"]).await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_delivery_is_seen_under_way() -> Result<()> {
    let scenario = Scenario::start("way").await?;
    let resource = ApiResource::erase::<RegistryConnection>(&());
    let connections: Api<DynamicObject> = Api::namespaced_with(scenario.client.clone(), &scenario.namespace, &resource);
    scenario.write_login("login", PASSWORD).await?;
    let forms = watcher(connections, watcher::Config::default()).default_backoff().applied_objects();
    let under_way = forms.filter_map(async |form| {
        let connection: RegistryConnection = serde_json::from_value(serde_json::to_value(form.ok()?).ok()?).ok()?;
        Some(tell_all(&connection))
    });
    let mut under_way = std::pin::pin!(under_way);
    scenario.connect("images", scenario.spec()).await?;
    let wanted = ["False/Progressing", "True/LoginProven", "False/Progressing", "True/Progressing", "-"];
    let seen = async { while under_way.next().await.is_some_and(|row| row != wanted) {} };
    tokio::time::timeout(DEADLINE, seen).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_becomes_stalled_after_five_minutes() -> Result<()> {
    // Five minutes pass in two and a half seconds.
    let scenario = Scenario::start_fast("stalls", 120).await?;
    scenario.connect("images", scenario.spec()).await?;
    let row = ["False/SecretNotFound", "Unknown/SecretNotFound", "False/SecretNotFound"];
    let reconciling = scenario.reads("images", [row[0], row[1], row[2], "True/SecretNotFound", "-"]).await?;
    let stalled = scenario.reads("images", [row[0], row[1], row[2], "-", "True/SecretNotFound"]).await?;
    let since = |connection: &RegistryConnection, kind: &str| {
        let conditions = connection.status.clone().map(|status| status.conditions).unwrap_or_default();
        conditions.into_iter().find(|found| found.type_ == kind).map(|found| found.last_transition_time.0)
    };
    let waited = since(&stalled, "Stalled")
        .context("Stalled")?
        .duration_since(since(&reconciling, "Reconciling").context("Reconciling")?);
    assert!(waited >= jiff::SignedDuration::from_mins(5), "{waited}");
    scenario.write_login("login", PASSWORD).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    scenario.finish().await
}
