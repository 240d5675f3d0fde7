//! What each event costs, by the logs of the API server and of the registry: the check that does not rest on our record.

use anyhow::{Result, bail, ensure};
use serde_json::json;
use testenv::eventually;

use crate::{
    outage::account,
    scenario::{DEADLINE, PASSWORD, Scenario, WRONG},
};

/// Requests that the operator's ServiceAccount made in the scenario's namespace, and logins of its registry account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cost {
    /// Secrets that were read.
    reads: usize,
    /// Secrets that were created or changed.
    writes: usize,
    /// Statuses that were written.
    statuses: usize,
    /// Events.
    events: usize,
    /// Logins that the registry accepted.
    accepted: usize,
    /// Logins that the registry refused.
    refused: usize,
    /// Anything else but watches.
    others: usize,
}

impl Cost {
    fn so_far(scenario: &Scenario) -> Result<Self> {
        let user = format!("system:serviceaccount:{}:operator", scenario.namespace);
        let mut cost =
            Self { accepted: scenario.good_logins()?, refused: scenario.failed_logins()?, ..Self::default() };
        for event in scenario.shared.plane.audit_events(&user)? {
            let object = &event.object_ref;
            if event.user.username != user || event.verb == "watch" {
                continue;
            }
            let count = match (event.verb.as_str(), object.resource.as_str(), object.subresource.as_str()) {
                ("get", "secrets", "") => &mut cost.reads,
                ("create" | "update" | "patch", "secrets", "") => &mut cost.writes,
                ("patch", "registryconnections", "status") => &mut cost.statuses,
                ("create" | "patch", "events", "") => &mut cost.events,
                _ => &mut cost.others,
            };
            *count += 1;
        }
        Ok(cost)
    }

    fn plus(self, other: Self) -> Self {
        Self {
            reads: self.reads + other.reads,
            writes: self.writes + other.writes,
            statuses: self.statuses + other.statuses,
            events: self.events + other.events,
            accepted: self.accepted + other.accepted,
            refused: self.refused + other.refused,
            others: self.others + other.others,
        }
    }
}

async fn start(name: &str, speed: u32) -> Result<Scenario> {
    let mut scenario = Scenario::prepare(name).await?;
    account(&scenario, &["list", "watch", "get", "create", "update", "patch", "delete"], &["patch"]).await?;
    scenario.set_speed(speed);
    scenario.act_as("operator").await?;
    Ok(scenario)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_costs_what_the_table_says_and_nothing_else() -> Result<()> {
    let scenario = start("cost", 1).await?;
    let mut expected = Cost::default();
    // A new login is recorded before the Secret carries it, hence two statuses. The Secret is written only for a new one.
    let table = [
        ("created", Cost { reads: 1, writes: 1, statuses: 2, events: 1, accepted: 1, ..Cost::default() }),
        ("touched", Cost { reads: 1, ..Cost::default() }),
        ("changed", Cost { reads: 1, writes: 1, statuses: 2, events: 1, accepted: 1, ..Cost::default() }),
        ("refused", Cost { reads: 1, statuses: 1, events: 1, refused: 1, ..Cost::default() }),
        ("repaired", Cost { reads: 1, statuses: 1, events: 1, accepted: 1, ..Cost::default() }),
        ("Secret lost", Cost { reads: 1, writes: 1, ..Cost::default() }),
    ];
    for (event, cost) in table {
        match event {
            "created" => drop(scenario.connected("images").await?),
            "changed" => {
                scenario.shared.registry.set_password(&scenario.namespace, "right-password-3")?;
                scenario.write_login("login", "right-password-3").await?;
            }
            "refused" => drop(scenario.write_login("login", WRONG).await?),
            "repaired" => drop(scenario.write_login("login", "right-password-3").await?),
            "touched" => {
                drop(scenario.edit_secret("login", json!({"metadata": {"annotations": {"touched": "yes"}}})).await?);
            }
            "Secret lost" => scenario.delete_secret("images").await?,
            other => bail!("nothing is known of {other}"),
        }
        expected = expected.plus(cost);
        eventually(event, DEADLINE, async || {
            let found = Cost::so_far(&scenario)?;
            ensure!(found == expected, "{found:?} instead of {expected:?}");
            Ok(Some(()))
        })
        .await?;
    }
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_costs_one_read_one_login_and_one_status() -> Result<()> {
    // Five minutes pass in one and a half seconds.
    let mut scenario = start("cost-refresh", 200).await?;
    scenario.write_login("login", PASSWORD).await?;
    let mut spec = scenario.spec();
    spec["refreshIntervalMinutes"] = 5.into();
    scenario.connect("images", spec).await?;
    eventually("three refreshes", DEADLINE, async || Ok((scenario.good_logins()? > 3).then_some(()))).await?;
    scenario.stop_operator().await?;
    let tests = scenario.good_logins()?;
    let expected = Cost { reads: tests, writes: 1, statuses: tests + 1, events: 1, accepted: tests, ..Cost::default() };
    eventually("the log", DEADLINE, async || {
        let found = Cost::so_far(&scenario)?;
        ensure!(found == expected, "{found:?} instead of {expected:?}");
        Ok(Some(()))
    })
    .await
}
