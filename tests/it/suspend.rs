//! Suspended means: nothing is tested or written, and what exists stays.

use std::time::Duration;

use anyhow::{Result, anyhow};
use serde_json::json;

use crate::scenario::{PASSWORD, Scenario, WRONG, tell_all};

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_suspended_from_the_start_does_nothing_until_it_is_resumed() -> Result<()> {
    let scenario = Scenario::start("asleep").await?;
    scenario.write_login("login", PASSWORD).await?;
    let mut spec = scenario.spec();
    spec["suspend"] = true.into();
    scenario.connect("images", spec).await?;
    let suspended = scenario.ready("images", "False", "Suspended").await?;
    assert_eq!(tell_all(&suspended), ["False/Suspended", "Unknown/Suspended", "False/Suspended", "-", "-"]);
    assert_eq!((scenario.good_logins()?, scenario.secrets().get_opt("images").await?), (0, None));

    scenario.edit("images", json!({"spec": {"suspend": false}})).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_connection_keeps_what_it_delivered_and_what_it_said() -> Result<()> {
    let scenario = Scenario::start("pause").await?;
    let before = scenario.connected("images").await?;

    scenario.calls.clear();
    let edited = scenario.edit("images", json!({"spec": {"suspend": true}})).await?;
    let suspended = scenario.ready("images", "True", "LoginProven").await?;
    assert_eq!(suspended.metadata.generation, edited.metadata.generation);
    assert_eq!(tell_all(&suspended), tell_all(&before));
    assert_eq!(suspended.status.unwrap_or_default().next_refresh_at, None);

    let good = scenario.good_logins()?;
    scenario.calls.clear();
    scenario.write_login("login", WRONG).await?;
    scenario.delete_secret("images").await?;
    let quiet = scenario.calls.quiet_for(Duration::from_secs(2)).await;
    quiet.map_err(|calls| anyhow!("requests while suspended: {calls:?}"))?;
    assert_eq!(scenario.calls.count(|call| !call.is_hum()), 0);
    assert_eq!((scenario.good_logins()?, scenario.failed_logins()?), (good, 0));

    scenario.edit("images", json!({"spec": {"suspend": null}})).await?;
    scenario.ready("images", "False", "InvalidCredentials").await?;
    assert_eq!(scenario.failed_logins()?, 1, "what happened meanwhile is acted on now");
    assert!(
        scenario.secrets().get_opt("images").await?.is_none(),
        "a lost Secret is not restored from a refused login"
    );
    scenario.finish().await
}
