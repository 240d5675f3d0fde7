//! What `onRejected: Remove` takes back, and what it must not.

use anyhow::Result;
use serde_json::json;
use testenv::eventually;

use crate::scenario::{DEADLINE, PASSWORD, Scenario, WRONG, tell_all};

/// Thirty minutes pass in three seconds.
const SPEED: u32 = 600;

const REFUSED: [&str; 5] =
    ["False/InvalidCredentials", "False/InvalidCredentials", "True/Delivered", "-", "True/InvalidCredentials"];

const REMOVED: [&str; 5] = [
    "False/InvalidCredentials",
    "False/InvalidCredentials",
    "False/InvalidCredentials",
    "-",
    "True/InvalidCredentials",
];

impl Scenario {
    async fn connect_removing(&self) -> Result<()> {
        self.write_login("login", PASSWORD).await?;
        let mut spec = self.spec();
        spec["refreshIntervalMinutes"] = 5.into();
        spec["onRejected"] = "Remove".into();
        self.connect("images", spec).await?;
        self.ready("images", "True", "LoginProven").await?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivered_login_is_taken_back_after_its_second_refusal_and_not_after_the_first() -> Result<()> {
    let mut scenario = Scenario::start_fast("revoked", SPEED).await?;
    // It is the right one that is refused.
    scenario.tried_again = 1;
    scenario.connect_removing().await?;
    let delivered = scenario.secrets().get("images").await?;
    scenario.shared.registry.set_password(&scenario.namespace, "another")?;

    scenario.until("images", |now| tell_all(now) == REMOVED).await?;
    assert!(scenario.secrets().get_opt("images").await?.is_none());
    let told: Vec<[String; 5]> = scenario.seen.of("images").iter().map(tell_all).collect();
    assert!(told.contains(&REFUSED.map(str::to_owned)), "the first refusal took nothing away: {told:?}");
    assert!(scenario.failed_logins()? >= 2);
    let deletes = scenario.calls.all().into_iter().filter(|call| call.is("delete", "secrets", "")).count();
    assert_eq!(deletes, 1);

    scenario.write_login("login", "another").await?;
    scenario.ready("images", "True", "LoginProven").await?;
    let anew = scenario.until_secret("images", |secret| secret.metadata.uid != delivered.metadata.uid).await?;
    assert_ne!(anew.data, delivered.data);
    // No refresh in the middle of the closing checks.
    scenario.edit("images", json!({"spec": {"refreshIntervalMinutes": 1440}})).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_login_that_nobody_refused_stays() -> Result<()> {
    let scenario = Scenario::start_fast("earlier", SPEED).await?;
    scenario.connect_removing().await?;
    let delivered = scenario.secrets().get("images").await?;
    scenario.write_login("login", WRONG).await?;
    eventually("a third refusal", DEADLINE, async || Ok((scenario.failed_logins()? >= 3).then_some(()))).await?;
    scenario.until("images", |now| tell_all(now) == REFUSED).await?;
    assert_eq!(scenario.secrets().get("images").await?, delivered);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_good_goes_when_the_user_comes_to_want_that() -> Result<()> {
    let mut scenario = Scenario::start_fast("later", SPEED).await?;
    scenario.tried_again = 1;
    scenario.connect_removing().await?;
    scenario.edit("images", json!({"spec": {"onRejected": "Keep"}})).await?;
    scenario.shared.registry.set_password(&scenario.namespace, "another")?;
    eventually("a second refusal", DEADLINE, async || Ok((scenario.failed_logins()? >= 2).then_some(()))).await?;
    scenario.until("images", |now| tell_all(now) == REFUSED).await?;
    let failed = scenario.failed_logins()?;
    scenario.edit("images", json!({"spec": {"onRejected": "Remove"}})).await?;
    scenario.until("images", |now| tell_all(now) == REMOVED).await?;
    assert!(scenario.secrets().get_opt("images").await?.is_none());
    assert!(scenario.failed_logins()? <= failed + 1, "at most the half hour that passed meanwhile");
    Ok(())
}
