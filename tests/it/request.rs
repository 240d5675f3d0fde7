//! A user who does not want to wait asks by annotation.

use anyhow::Result;
use regcred::api::RegistryConnection;
use serde_json::{Value, json};

use crate::scenario::{PASSWORD, Scenario, WRONG, tell_all};

impl Scenario {
    /// Asks for a test or a refresh, as `kubectl annotate` does.
    async fn request(&self, what: &str, value: &str) -> Result<()> {
        let annotation = format!("regcred.dev/{what}-requested-at");
        self.edit("images", json!({"metadata": {"annotations": {annotation: value}}})).await?;
        Ok(())
    }

    /// Waits until the status echoes the request.
    async fn handled(&self, what: &str, value: &str) -> Result<RegistryConnection> {
        self.until("images", |now| echo(now, what).as_str() == Some(value)).await
    }
}

fn echo(connection: &RegistryConnection, what: &str) -> Value {
    let field = format!("lastHandled{}At", if what == "test" { "Test" } else { "Refresh" });
    serde_json::to_value(&connection.status).unwrap_or_default()[field].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_lifts_the_pause_after_a_refusal_once_for_each_value() -> Result<()> {
    let mut scenario = Scenario::start("again").await?;
    scenario.write_login("login", WRONG).await?;
    scenario.connect("images", scenario.spec()).await?;
    scenario.ready("images", "False", "InvalidCredentials").await?;
    assert_eq!(scenario.failed_logins()?, 1);

    scenario.tried_again = 1;
    scenario.request("test", "first").await?;
    let refused = scenario.handled("test", "first").await?;
    assert_eq!(tell_all(&refused)[0], "False/InvalidCredentials");
    assert_eq!(scenario.failed_logins()?, 2);
    scenario.stop_operator().await?;
    scenario.start_operator().await?;
    scenario.until_all_looked_at().await?;
    assert_eq!(scenario.failed_logins()?, 2, "a restart does not ask again");

    // The account gets the password that stands in the Secret: nothing in the cluster changes.
    scenario.shared.registry.set_password(&scenario.namespace, WRONG)?;
    scenario.request("refresh", "2026-11-21T12:00:00Z").await?;
    let proven = scenario.handled("refresh", "2026-11-21T12:00:00Z").await?;
    assert_eq!(tell_all(&proven)[0], "True/LoginProven");
    assert_eq!(echo(&proven, "test"), "first", "the other echo stays");
    assert_eq!(scenario.failed_logins()?, 2);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_a_healthy_connection_costs_one_login_and_one_write() -> Result<()> {
    let scenario = Scenario::start("asked").await?;
    let before = scenario.connected("images").await?;
    let delivered = scenario.secrets().get("images").await?;
    let logins = scenario.good_logins()?;
    scenario.calls.clear();

    scenario.request("test", "now").await?;
    let after = scenario.handled("test", "now").await?;
    assert_eq!(scenario.good_logins()?, logins + 1);
    let writes = scenario.calls.writes();
    assert_eq!(writes.len(), 1, "{writes:?}");
    assert!(writes[0].is("patch", "registryconnections", "status"), "{writes:?}");
    assert_eq!(scenario.secrets().get("images").await?, delivered);
    let revision = |connection: RegistryConnection| connection.status.and_then(|status| status.credential);
    assert_eq!(revision(after), revision(before));
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_while_suspended_and_is_answered_where_nothing_can_be_tested() -> Result<()> {
    let scenario = Scenario::start("cannot").await?;
    scenario.connected("images").await?;
    scenario.edit("images", json!({"spec": {"suspend": true}})).await?;
    let logins = scenario.good_logins()?;
    scenario.request("test", "asleep").await?;
    scenario.ready("images", "True", "LoginProven").await?;
    assert_eq!(scenario.good_logins()?, logins);
    scenario.edit("images", json!({"spec": {"suspend": null}})).await?;
    scenario.handled("test", "asleep").await?;
    assert_eq!(scenario.good_logins()?, logins + 1);

    scenario.delete_secret("login").await?;
    scenario.request("test", "nothing to read").await?;
    let missing = scenario.handled("test", "nothing to read").await?;
    assert_eq!(tell_all(&missing)[0], "False/SecretNotFound");
    scenario.write_login("login", PASSWORD).await?;
    scenario.ready("images", "True", "LoginProven").await?;

    let endless = "x".repeat(100_000);
    scenario.request("refresh", &endless).await?;
    let handled = scenario.until("images", |now| echo(now, "refresh").is_string()).await?;
    let echo = echo(&handled, "refresh");
    assert!(echo.as_str().is_some_and(|echo| echo.starts_with("sha256:") && echo.len() == 39), "{echo}");
    scenario.finish().await
}
