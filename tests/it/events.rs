//! Events tell transitions, each once, and nothing else.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use k8s_openapi::api::events::v1::Event;
use kube::{Api, ResourceExt};
use regcred::api::RegistryConnection;
use serde_json::json;
use testenv::eventually;

use crate::scenario::{DEADLINE, PASSWORD, Scenario, WRONG, tell_all};

impl Scenario {
    /// How often each kind of event was published about a connection, as `Warning InvalidCredentials`.
    async fn events_about(&self, connection: &str) -> Result<BTreeMap<String, i32>> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let mut counts = BTreeMap::new();
        for event in events.list(&Default::default()).await? {
            let regarding = event.regarding.as_ref().and_then(|regarding| regarding.name.as_deref());
            if regarding == Some(connection) {
                let kind = format!("{} {}", event.type_.unwrap_or_default(), event.reason.unwrap_or_default());
                // A repeat within minutes is added to the event of the first time.
                *counts.entry(kind).or_default() += event.series.map_or(1, |series| series.count);
            }
        }
        Ok(counts)
    }

    /// Writes a login, and waits until the last verdict is about it.
    async fn judged(&self, password: &str, conditions: [&str; 5]) -> Result<RegistryConnection> {
        let secret = self.write_login("login", password).await?;
        self.until("images", |now| {
            let inputs = now.status.iter().flat_map(|status| &status.observed_inputs);
            let is_judged = inputs
                .into_iter()
                .any(|input| Some(&input.resource_version) == secret.metadata.resource_version.as_ref());
            is_judged && tell_all(now) == conditions
        })
        .await
    }
}

const GOOD: [&str; 5] = ["True/LoginProven", "True/LoginProven", "True/Delivered", "-", "-"];

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_life_of_a_connection_has_one_event_for_each_turn() -> Result<()> {
    let mut scenario = Scenario::start("events").await?;
    let registry = scenario.connected_elsewhere("images", |_| {}).await?;
    let mut expected: BTreeMap<String, i32> = BTreeMap::new();
    let mut told = async |scenario: &Scenario, step: &str, kind: Option<&str>| -> Result<()> {
        if let Some(kind) = kind {
            *expected.entry(kind.to_owned()).or_default() += 1;
        }
        let found = scenario.events_about("images").await?;
        ensure!(found == expected, "{step}: {found:?} instead of {expected:?}");
        Ok(())
    };
    let (good, refused) = (Some("Normal LoginProven"), Some("Warning InvalidCredentials"));
    told(&scenario, "created", good).await?;

    let wrong =
        ["False/InvalidCredentials", "False/InvalidCredentials", "True/Delivered", "-", "True/InvalidCredentials"];
    let first = scenario.judged(WRONG, wrong).await?;
    told(&scenario, "a wrong password", refused).await?;

    // Two refusals in one second are one.
    let tested = first.status.and_then(|status| status.last_test).map(|test| test.time.0.as_second());
    eventually("the next second", DEADLINE, async || Ok((Some(now()) > tested).then_some(()))).await?;
    scenario.judged("wrong-password-3", wrong).await?;
    told(&scenario, "another wrong password", refused).await?;

    scenario.judged(PASSWORD, GOOD).await?;
    told(&scenario, "the right password", good).await?;

    let edited = scenario.edit("images", json!({"spec": {"suspend": true}})).await?;
    scenario.until("images", |now| is_about(now, &edited)).await?;
    told(&scenario, "suspended", Some("Normal Suspended")).await?;
    let edited = scenario.edit("images", json!({"spec": {"refreshIntervalMinutes": 60}})).await?;
    scenario.until("images", |now| is_about(now, &edited)).await?;
    told(&scenario, "edited while suspended", None).await?;
    let edited = scenario.edit("images", json!({"spec": {"suspend": null}})).await?;
    scenario.until("images", |now| is_about(now, &edited)).await?;
    told(&scenario, "resumed", good).await?;

    registry.pause();
    registry.set_password(&scenario.namespace, "the-new-one")?;
    scenario.write_login("login", "the-new-one").await?;
    scenario.until("images", |now| tell_all(now)[1] == "Unknown/Unreachable").await?;
    told(&scenario, "an outage", Some("Warning Unreachable")).await?;
    registry.resume().await?;
    scenario.until("images", |now| tell_all(now) == GOOD).await?;
    told(&scenario, "the end of the outage, and a new login", good).await?;

    let lost = scenario.secrets().get("images").await?;
    scenario.delete_secret("images").await?;
    scenario.until_secret("images", |secret| secret.uid() != lost.uid()).await?;
    scenario.edit_secret("images", json!({"metadata": {"labels": {"regcred.dev/connection": null}}})).await?;
    scenario.until_secret("images", |secret| secret.labels().contains_key("regcred.dev/connection")).await?;
    scenario.until("images", |now| tell_all(now) == GOOD).await?;
    told(&scenario, "drift was repaired", None).await?;

    let edited = scenario.edit("images", json!({"spec": {"test": {"timeoutSeconds": 9}}})).await?;
    scenario.until("images", |now| is_about(now, &edited)).await?;
    told(&scenario, "an edit that changes nothing", None).await?;

    scenario.stop_operator().await?;
    scenario.start_operator().await?;
    scenario.until_all_looked_at().await?;
    told(&scenario, "restarted", None).await?;
    scenario.finish().await
}

fn is_about(connection: &RegistryConnection, edited: &RegistryConnection) -> bool {
    connection.status.as_ref().is_some_and(|status| status.observed_generation == edited.metadata.generation)
}

#[expect(clippy::disallowed_methods, reason = "the status tells whole seconds of this clock")]
fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}
