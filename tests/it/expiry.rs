//! A login whose end is known: told in time, and not tried when it has come.

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::scenario::{PASSWORD, Scenario, tell_all};

const EXPIRES_AT: &str = "regcred.dev/expires-at";

/// A quarter of an hour passes in seven and a half seconds.
const SPEED: u32 = 120;

impl Scenario {
    /// A connection that is not tested again for a day, whose login ends in some minutes.
    async fn connect_ending(&self, minutes: i64) -> Result<Timestamp> {
        self.write_login("login", PASSWORD).await?;
        let end = self.end_in(minutes).await?;
        let mut spec = self.spec();
        spec["refreshIntervalMinutes"] = 1440.into();
        self.connect("images", spec).await?;
        Ok(end)
    }

    /// Says that the login ends some minutes from now.
    pub async fn end_in(&self, minutes: i64) -> Result<Timestamp> {
        #[expect(clippy::disallowed_methods, reason = "a user's annotation names the time of the real world")]
        let end = Timestamp::from_second(Timestamp::now().as_second())? + SignedDuration::from_mins(minutes);
        self.edit_secret("login", json!({"metadata": {"annotations": {EXPIRES_AT: end.to_string()}}})).await?;
        Ok(end)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_ends_is_told_and_not_tried_any_more() -> Result<()> {
    let scenario = Scenario::start_fast("ends", SPEED).await?;
    let end = scenario.connect_ending(15).await?;
    let proven = scenario.ready("images", "True", "LoginProven").await?;
    let expires_at = proven.status.and_then(|status| status.credential?.expires_at);
    assert_eq!(expires_at.map(|time| time.0), Some(end));
    let delivered = scenario.secrets().get("images").await?;
    assert_eq!(delivered.metadata.annotations.clone().unwrap_or_default()[EXPIRES_AT], end.to_string());

    let expired = scenario.ready("images", "False", "Expired").await?;
    let told = ["False/Expired", "False/Expired", "True/Delivered", "-", "True/Expired"];
    assert_eq!(tell_all(&expired), told);
    assert_eq!(scenario.secrets().get("images").await?, delivered, "what was delivered stays");
    assert_eq!((scenario.good_logins()?, scenario.failed_logins()?), (1, 0));

    // It was made to last longer.
    scenario.end_in(60 * 24).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    assert_eq!(scenario.good_logins()?, 1, "the same login was proven before");

    scenario.edit_secret("login", json!({"metadata": {"annotations": {EXPIRES_AT: null}}})).await?;
    scenario
        .until("images", |now| {
            now.status.as_ref().is_some_and(|s| s.credential.as_ref().is_some_and(|c| c.expires_at.is_none()))
        })
        .await?;
    let forever = scenario
        .until_secret("images", |secret| {
            !secret.metadata.annotations.clone().unwrap_or_default().contains_key(EXPIRES_AT)
        })
        .await?;
    assert_eq!(forever.metadata.uid, delivered.metadata.uid);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_has_ended_is_never_delivered_nor_is_one_whose_end_makes_no_sense() -> Result<()> {
    let scenario = Scenario::start("ended").await?;
    scenario.connect_ending(-1).await?;
    let expired = scenario.ready("images", "False", "Expired").await?;
    assert_eq!(tell_all(&expired), ["False/Expired", "False/Expired", "False/Expired", "-", "True/Expired"]);
    let error = expired.status.and_then(|status| status.last_error).unwrap_or_else(|| panic!("no error"));
    assert_eq!(error.field.as_deref(), Some("spec.provider.generic.secretRef"));
    assert!(error.message.contains("login") && error.message.contains(EXPIRES_AT), "{}", error.message);

    for nonsense in ["", "soon", "2027-01-31", "31.01.2027 12:00"] {
        scenario.edit_secret("login", json!({"metadata": {"annotations": {EXPIRES_AT: nonsense}}})).await?;
        let told = scenario.ready("images", "False", "SecretMalformed").await?;
        let hint = told.status.and_then(|status| status.last_error?.hint).unwrap_or_default();
        assert!(hint.contains("RFC 3339"), "{hint}");
    }
    assert_eq!(scenario.good_logins()? + scenario.failed_logins()?, 0);
    assert!(scenario.secrets().get_opt("images").await?.is_none());
    scenario.write_secret("login", "Opaque", json!({"username": scenario.namespace, "password": PASSWORD})).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_connection_tells_that_its_login_ended() -> Result<()> {
    let scenario = Scenario::start_fast("sleeps", SPEED).await?;
    scenario.connect_ending(15).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    scenario.edit("images", json!({"spec": {"suspend": true}})).await?;
    let expired = scenario.ready("images", "False", "Expired").await?;
    assert_eq!(tell_all(&expired)[2], "True/Delivered");
    scenario.finish().await
}
