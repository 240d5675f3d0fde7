//! What a scrape tells of connections that live on the real API server.

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use testenv::eventually;

use crate::{
    conflict::deny,
    scenario::{DEADLINE, PASSWORD, Scenario, WRONG, get, tell},
};

impl Scenario {
    /// The lines of a scrape that name a connection of this namespace, without the labels that say so.
    async fn series_of(&self, connection: &str) -> Result<Vec<String>> {
        let text = get(self.metrics_addr.context("no operator")?, "/metrics").await?.1;
        let labels = format!("namespace=\"{}\",name=\"{connection}\"", self.namespace);
        Ok(text.lines().filter(|line| line.contains(&labels)).map(|line| line.replace(&labels, "")).collect())
    }

    async fn errors(&self, class: &str, reason: &str) -> Result<f64> {
        self.metric(&format!("regcred_reconcile_errors_total{{class=\"{class}\",reason=\"{reason}\"}}")).await
    }

    async fn target_writes(&self, op: &str, result: &str) -> Result<f64> {
        self.metric(&format!("regcred_target_writes_total{{op=\"{op}\",result=\"{result}\"}}")).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_connection_has_a_result_and_the_times_of_its_credential_until_it_is_deleted() -> Result<()> {
    let scenario = Scenario::start("metrics").await?;
    let connection = scenario.connected("images").await?;
    let success = connection.status.and_then(|status| status.last_success_at).context("no success")?.0.as_second();
    let succeeded = format!("regcred_credential_last_success_timestamp_seconds{{}} {success}");
    let result = |result: &str| format!("regcred_connection_test_result{{,result=\"{result}\"}} 1");
    assert_eq!(scenario.series_of("images").await?, [result("LoginProven"), succeeded.clone()]);

    scenario.write_login("login", WRONG).await?;
    scenario.ready("images", "False", "InvalidCredentials").await?;
    assert_eq!(scenario.series_of("images").await?, [result("InvalidCredentials"), succeeded.clone()]);

    // As whoever knows when a credential ends says it.
    let ends = json!({"status": {"credential": {"expiresAt": "2099-01-01T00:00:00Z"}}});
    scenario.connections().patch_status("images", &PatchParams::default(), &Patch::Merge(ends)).await?;
    let ends = "regcred_credential_expiry_timestamp_seconds{} 4070908800".to_owned();
    eventually("the time of expiry", DEADLINE, async || {
        let told = scenario.series_of("images").await?;
        Ok((told == [result("InvalidCredentials"), succeeded.clone(), ends.clone()]).then_some(()))
    })
    .await?;

    scenario
        .connect(
            "waiting",
            json!({"provider": {"generic": {
                "registryUrl": format!("http://{}", scenario.shared.registry.host()), "secretRef": {"name": "absent"},
            }}}),
        )
        .await?;
    scenario.ready("waiting", "False", "SecretNotFound").await?;
    assert_eq!(scenario.series_of("waiting").await?, [result("Unknown")]);

    for name in ["images", "waiting"] {
        scenario.connections().delete(name, &DeleteParams::default()).await?;
        eventually("its series to vanish", DEADLINE, async || {
            Ok(scenario.series_of(name).await?.is_empty().then_some(()))
        })
        .await?;
    }
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_try_that_meets_a_problem_counts_once_and_waiting_does_not_count() -> Result<()> {
    let mut scenario = Scenario::start("errors").await?;
    scenario.connect("images", scenario.spec()).await?;
    scenario.ready("images", "False", "SecretNotFound").await?;
    assert_eq!(scenario.errors("Missing", "SecretNotFound").await?, 1.0);

    scenario.write_login("login", WRONG).await?;
    scenario.ready("images", "False", "InvalidCredentials").await?;
    assert_eq!(scenario.errors("UsersTurn", "InvalidCredentials").await?, 1.0);

    // The connection is looked at again and again, and the login is not tried.
    let passes = scenario.metric("regcred_reconciles_total{result=\"completed\"}").await?;
    for number in 0..3 {
        scenario.edit_secret("login", json!({"metadata": {"labels": {"touched": number.to_string()}}})).await?;
        eventually("another pass", DEADLINE, async || {
            let now = scenario.metric("regcred_reconciles_total{result=\"completed\"}").await?;
            Ok((now > passes + f64::from(number)).then_some(()))
        })
        .await?;
    }
    assert_eq!(scenario.errors("UsersTurn", "InvalidCredentials").await?, 1.0, "only remembered");

    scenario.edit("images", json!({"spec": {"provider": {"generic": {"registryUrl": "http://r.example"}}}})).await?;
    scenario.ready("images", "False", "InvalidSpec").await?;
    scenario.edit("images", json!({"metadata": {"labels": {"a": "b"}}})).await?;
    scenario.write_login("login", PASSWORD).await?;
    scenario.until("images", |now| tell(now, regcred::api::ConditionType::Ready) == "False/InvalidSpec").await?;
    assert_eq!(scenario.errors("UsersTurn", "InvalidSpec").await?, 1.0, "each spec counts once");

    scenario.stop_operator().await?;
    scenario.start_operator().await?;
    scenario.until_all_looked_at().await?;
    assert_eq!(scenario.errors("UsersTurn", "InvalidSpec").await?, 0.0, "a restart finds nothing new");
    assert!(scenario.metric("regcred_reconcile_duration_seconds_count").await? >= 1.0);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_counted_by_what_they_do_and_what_came_of_them() -> Result<()> {
    let scenario = Scenario::start("writes").await?;
    scenario.connected("images").await?;
    assert_eq!(scenario.target_writes("create", "written").await?, 1.0);

    scenario.edit_secret("images", json!({"metadata": {"labels": {"regcred.dev/connection": null}}})).await?;
    let is_whole = |secret: &Secret| {
        secret.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key("regcred.dev/connection"))
    };
    scenario.until_secret("images", is_whole).await?;
    eventually("the write to be counted", DEADLINE, async || {
        Ok((scenario.target_writes("update", "written").await? == 1.0).then_some(()))
    })
    .await?;

    deny(&scenario.client, &scenario.namespace, "'no'", "Forbidden").await?;
    let mut spec = scenario.spec();
    spec["secret"] = json!({"name": "another"});
    scenario.connect("denied", spec).await?;
    scenario.ready("denied", "False", "Forbidden").await?;
    assert_eq!(scenario.target_writes("create", "denied").await?, 1.0);
    assert_eq!(scenario.errors("Ours", "Forbidden").await?, 1.0);
    for (op, result, count) in [("create", "written", 1.0), ("update", "written", 1.0), ("update", "denied", 0.0)] {
        assert_eq!(scenario.target_writes(op, result).await?, count, "{op} {result}");
    }
    scenario.finish().await
}
