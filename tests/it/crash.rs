//! A fault of ours in one pass: its connection says so, the others go on, and nothing of its words is shown.

use std::process::Command;

use anyhow::{Context as _, Result};
use regcred::{api::Reason, cli::LogFormat};
use serde_json::json;
use testenv::eventually;

use crate::scenario::{DEADLINE, PASSWORD, Scenario, tell_all};

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_one_pass_is_told_and_all_others_go_on() -> Result<()> {
    let scenario = Scenario::prepare("panic").await?;
    scenario.names.panic_at("broken.example");
    let mut scenario = scenario;
    scenario.start_operator().await?;
    scenario.write_login("login", PASSWORD).await?;
    // More of them than there are workers, so that one that never came back would be noticed.
    for index in 0..40 {
        let mut spec = scenario.spec_at("http://broken.example");
        // One that panics may have sent its login, so those who share its account would rest.
        if index != 7 {
            let (secret, user) = (format!("login-{index}"), format!("user-{index}"));
            scenario.write_secret(&secret, "Opaque", json!({"username": user, "password": PASSWORD})).await?;
            spec["provider"]["generic"]["secretRef"]["name"] = secret.into();
        }
        spec["provider"]["generic"]["insecure"] = true.into();
        scenario.connect(&format!("broken-{index}"), spec).await?;
    }
    scenario.connect("images", scenario.spec()).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    for index in 0..40 {
        let broken = scenario.ready(&format!("broken-{index}"), "False", "InternalError").await?;
        assert_eq!(
            tell_all(&broken),
            ["False/InternalError", "Unknown/InternalError", "False/InternalError", "-", "True/InternalError"]
        );
        let error = broken.status.and_then(|status| status.last_error).context("no lastError")?;
        assert_eq!(error.code, Reason::InternalError);
        assert!(error.hint.is_some_and(|hint| hint.contains("report it")) && !error.message.contains("resolver"));
    }
    let panics = scenario.names.panics_at("broken.example");
    assert!(panics <= 40, "{panics} panics of 40 connections");
    let is_about = |call: &testenv::Call| call.request.name.starts_with("broken-");
    assert_eq!(scenario.calls.count(|call| call.is("patch", "registryconnections", "status") && is_about(call)), 40);

    // Whatever changes gives it another chance at once.
    scenario.names.set("broken.example", scenario.shared.registry.host().parse()?);
    scenario.edit("broken-7", json!({"spec": {"refreshIntervalMinutes": 5}})).await?;
    let healed = scenario.ready("broken-7", "True", "LoginProven").await?;
    assert_eq!(healed.status.and_then(|status| status.last_error), None);
    scenario.names.panic_at("broken.example");
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_that_panicked_is_tried_again_by_itself_after_minutes() -> Result<()> {
    // Five minutes pass in two and a half seconds.
    let mut scenario = Scenario::prepare("again").await?;
    scenario.set_speed(120);
    scenario.names.panic_at("broken.example");
    scenario.start_operator().await?;
    scenario.write_login("login", PASSWORD).await?;
    let mut spec = scenario.spec_at("http://broken.example");
    spec["provider"]["generic"]["insecure"] = true.into();
    scenario.connect("images", spec).await?;
    scenario.ready("images", "False", "InternalError").await?;
    eventually("another try", DEADLINE, async || Ok((scenario.names.panics_at("broken.example") >= 2).then_some(())))
        .await?;
    scenario.names.set("broken.example", scenario.shared.registry.host().parse()?);
    scenario.ready("images", "True", "LoginProven").await?;
    Ok(())
}

/// Part of a message of a panic, which must not be shown.
const CANARY: &str = "hunt\u{e9}r2";

#[test]
#[ignore = "the test below runs it in a process of its own"]
fn panics_with_a_password_on_its_lips() {
    regcred::telemetry::init(LogFormat::Text);
    assert!(std::panic::catch_unwind(|| CANARY[..5].len()).is_err());
}

#[test]
fn the_log_tells_the_place_of_a_panic_and_not_its_words() -> Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--exact", "crash::panics_with_a_password_on_its_lips", "--ignored", "--nocapture"]);
    let output = command.env("RUST_LOG", "info").output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("regcred panicked") && text.contains("tests/it/crash.rs:"), "{text}");
    assert!(!text.contains("hunt"), "{text}");
    Ok(())
}
