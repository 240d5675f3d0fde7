//! Nothing is done twice, and nothing at all when there is nothing to do.

use std::time::Duration;

use anyhow::{Result, anyhow};
use serde_json::json;
use testenv::certificates::Authority;

use crate::scenario::{PASSWORD, Scenario};

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_minute_costs_no_request() -> Result<()> {
    let scenario = Scenario::start("idle").await?;
    scenario.connected("images").await?;
    scenario
        .connect("broken", {
            let mut spec = scenario.spec();
            spec["provider"]["generic"]["secretRef"]["name"] = "nowhere".into();
            spec
        })
        .await?;
    scenario.ready("broken", "False", "SecretNotFound").await?;
    let quiet = scenario.calls.quiet_for(Duration::from_secs(60)).await;
    quiet.map_err(|calls| anyhow!("requests in an idle minute: {calls:?}"))?;
    assert_eq!(scenario.good_logins()?, 1);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_costs_no_write_no_login_and_no_read() -> Result<()> {
    let mut scenario = Scenario::start("restart").await?;
    scenario.connected("images").await?;
    scenario.write_login("bad-login", "wrong").await?;
    for (name, source, reason) in
        [("refused", "bad-login", "InvalidCredentials"), ("missing", "nowhere", "SecretNotFound")]
    {
        let mut spec = scenario.spec();
        spec["provider"]["generic"]["secretRef"]["name"] = source.into();
        scenario.connect(name, spec).await?;
        scenario.ready(name, "False", reason).await?;
    }
    scenario.write_secret("keyless", "Opaque", json!({"x": "y"})).await?;
    let mut spec = scenario.spec();
    spec["provider"]["generic"]["secretRef"]["name"] = "keyless".into();
    scenario.connect("no-key", spec).await?;
    scenario.ready("no-key", "False", "SecretKeyMissing").await?;
    scenario.write_secret("ca", "Opaque", json!({"ca.crt": Authority::new()?.certificate()})).await?;
    for (name, status, reason, change) in [
        ("off", "True", "NotTested", json!({"test": {"mode": "Off"}})),
        (
            "no-ca",
            "False",
            "CaNotFound",
            json!({"provider": {"generic": {"caRef": {"kind": "ConfigMap", "name": "x"}}}}),
        ),
        ("no-repo", "False", "RepositoryNotFound", json!({"test": {"repositories": [{"name": "nobodys/app"}]}})),
        (
            "with-ca",
            "True",
            "LoginProven",
            json!({"provider": {"generic": {"caRef": {"kind": "Secret", "name": "ca"}}}}),
        ),
    ] {
        let mut spec = scenario.spec();
        json_patch::merge(&mut spec, &change);
        scenario.connect(name, spec).await?;
        scenario.ready(name, status, reason).await?;
    }

    scenario.stop_operator().await?;
    scenario.calls.clear();
    let logins = (scenario.good_logins()?, scenario.failed_logins()?);
    scenario.start_operator().await?;
    scenario.until_all_looked_at().await?;

    let calls = scenario.calls.all();
    assert!(calls.iter().all(|call| call.request.verb == "watch"), "{calls:?}");
    assert_eq!(
        calls.len(),
        7,
        "one stream for each kind of connections, for Secrets, ConfigMaps, namespaces, ServiceAccounts, tables: {calls:?}"
    );
    assert_eq!((scenario.good_logins()?, scenario.failed_logins()?), logins);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_finds_everything_as_it_was_costs_one_login_and_one_status_write() -> Result<()> {
    // Five minutes pass in two and a half seconds.
    let mut scenario = Scenario::start_fast("interval", 120).await?;
    scenario.write_login("login", PASSWORD).await?;
    let mut spec = scenario.spec();
    spec["refreshIntervalMinutes"] = 5.into();
    scenario.connect("images", spec).await?;
    let first = scenario.ready("images", "True", "LoginProven").await?;
    let promised = first.status.clone().and_then(|status| status.next_refresh_at);
    let later = scenario
        .until("images", |now| {
            now.status.as_ref().map(|s| &s.last_refresh_at) != first.status.as_ref().map(|s| &s.last_refresh_at)
        })
        .await?;
    scenario.stop_operator().await?;
    let status = later.status.unwrap_or_default();
    assert!(status.last_refresh_at >= promised, "not before the promised time");
    assert_eq!(status.credential, first.status.and_then(|status| status.credential));
    let logins = scenario.good_logins()?;
    assert!(logins > 1);
    let writes = scenario.calls.writes();
    let (of_status, others): (Vec<_>, Vec<_>) =
        writes.iter().partition(|call| call.is("patch", "registryconnections", "status"));
    // Creating it takes one more: a status says whose a Secret is before there is one.
    assert_eq!(of_status.len(), logins + 1, "{writes:?}");
    assert!(
        matches!(others.as_slice(), [secret, event] if secret.is("create", "secrets", "") && event.is("create", "events", "")),
        "{others:?}"
    );
    Ok(())
}
