//! Edits of the spec and restarts in awkward moments: what was known of one credential or registry is never taken for
//! knowledge of another.

use std::time::Duration;

use anyhow::Result;
use regcred::api::ConditionType;
use serde_json::json;
use testenv::{Fault, Faults, Registry, eventually};

use crate::scenario::{DEADLINE, PASSWORD, Scenario, WRONG, tell, tell_all};

/// An address at which nobody listens.
fn nowhere() -> Result<String> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(format!("http://{}", listener.local_addr()?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_by_one_registry_says_nothing_of_another() -> Result<()> {
    let scenario = Scenario::start("move").await?;
    scenario.write_login("login", WRONG).await?;
    scenario.connect("images", scenario.spec()).await?;
    scenario.ready("images", "False", "InvalidCredentials").await?;

    let edit = |url: String| json!({"spec": {"provider": {"generic": {"registryUrl": url}}}});
    scenario.edit("images", edit(nowhere()?)).await?;
    let moved = scenario.ready("images", "False", "Unreachable").await?;
    assert_eq!(moved.status.and_then(|status| status.last_test), None);
    let passes = scenario.metric("regcred_reconciles_total{result=\"completed\"}").await?;
    scenario.ready("images", "False", "Unreachable").await?;
    assert!(passes < 20.0, "{passes} passes");

    let registry = Registry::start().await?;
    registry.set_password(&scenario.namespace, WRONG)?;
    scenario.edit("images", edit(format!("http://{}", registry.host()))).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_spec_is_proven_even_if_the_operator_restarts_before_it_can_be() -> Result<()> {
    let mut scenario = Scenario::start("key").await?;
    let registry = scenario.registry_elsewhere().await?;
    let data = json!({"username": scenario.namespace, "password": PASSWORD, "next": "the-next-one"});
    scenario.write_secret("login", "Opaque", data).await?;
    scenario.connect("images", scenario.spec_at(&format!("http://{}", registry.host()))).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    let before = scenario.secrets().get("images").await?;

    registry.pause();
    scenario.edit("images", json!({"spec": {"provider": {"generic": {"secretRef": {"passwordKey": "next"}}}}})).await?;
    scenario.until("images", |now| tell(now, ConditionType::CredentialsValid) == "Unknown/Unreachable").await?;
    scenario.stop_operator().await?;
    scenario.start_operator().await?;
    registry.set_password(&scenario.namespace, "the-next-one")?;
    registry.resume().await?;
    scenario.until("images", |now| tell(now, ConditionType::CredentialsValid) == "True/LoginProven").await?;
    let after = scenario.secrets().get("images").await?;
    assert_ne!(after.data, before.data, "the Secret holds the login that was proven");
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_during_an_outage_proves_nothing() -> Result<()> {
    // Five minutes pass in two and a half seconds.
    let mut scenario = Scenario::start_fast("dark", 120).await?;
    let registry = scenario.connected_elsewhere("images", |spec| spec["refreshIntervalMinutes"] = 5.into()).await?;
    registry.pause();
    let dark = scenario.until("images", |now| tell_all(now)[1] == "Unknown/Unreachable").await?;

    scenario.stop_operator().await?;
    scenario.calls.clear();
    scenario.start_operator().await?;
    eventually("a try after the restart", DEADLINE, async || {
        Ok((scenario.metric("regcred_logins_total{result=\"Unreachable\"}").await? >= 1.0).then_some(()))
    })
    .await?;
    let after = scenario.until("images", |now| tell_all(now)[1] == "Unknown/Unreachable").await?;
    assert_eq!(after.status, dark.status, "nothing new is known, so nothing new is said");
    assert!(scenario.calls.writes().is_empty(), "{:?}", scenario.calls.writes());
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn several_connections_may_read_one_secret_and_one_may_read_what_another_writes() -> Result<()> {
    let scenario = Scenario::start("share").await?;
    scenario.connected("first").await?;
    scenario.connect("second", scenario.spec()).await?;
    let mut spec = scenario.spec();
    spec["provider"]["generic"]["secretRef"]["name"] = "first".into();
    scenario.connect("third", spec).await?;
    for name in ["second", "third"] {
        scenario.ready(name, "True", "LoginProven").await?;
    }

    scenario.shared.registry.set_password(&scenario.namespace, "rotated")?;
    scenario.write_login("login", "rotated").await?;
    for name in ["first", "second", "third"] {
        let user = scenario.namespace.clone();
        eventually(format!("the new password in {name}"), DEADLINE, async || {
            Ok((scenario.kubelet_finds(name).await? == [(user.clone(), "rotated".to_owned())]).then_some(()))
        })
        .await?;
        scenario.ready(name, "True", "LoginProven").await?;
    }
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_for_a_connection_that_went_during_its_login() -> Result<()> {
    let scenario = Scenario::start("went").await?;
    // A registry that answers only when told to.
    let slow = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    scenario.write_login("login", PASSWORD).await?;
    scenario.connect("images", scenario.spec_at(&format!("http://{}", slow.local_addr()?))).await?;
    let (mut stream, _) = tokio::time::timeout(DEADLINE, slow.accept()).await??;
    scenario.connections().delete("images", &Default::default()).await?;
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await?;

    eventually("the end of the pass", DEADLINE, async || {
        Ok((scenario.metric("regcred_reconciles_total{result=\"completed\"}").await? >= 1.0).then_some(()))
    })
    .await?;
    assert!(scenario.secrets().get_opt("images").await?.is_none());
    assert_eq!(scenario.calls.count(|call| call.is("create", "secrets", "")), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_never_answered_holds_nobody_for_ever() -> Result<()> {
    let mut scenario = Scenario::prepare("stuck").await?;
    scenario.pass_limit = Duration::from_secs(1);
    let faults = Faults::new();
    faults.arm(1, Fault::NeverAnswered);
    scenario.faults = Some((faults, |request| request.subresource == "status"));
    scenario.start_operator().await?;
    scenario.connected("images").await?;
    assert!(scenario.metric("regcred_reconciles_total{result=\"cut_short\"}").await? >= 1.0);
    assert_eq!(scenario.good_logins()?, 1, "what was learned before is not lost");
    scenario.finish().await
}
