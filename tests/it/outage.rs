//! A registry that cannot be asked is no reason to take anything away.

use anyhow::Result;
use k8s_openapi::api::{
    core::v1::{Secret, ServiceAccount},
    rbac::v1::{ClusterRole, ClusterRoleBinding},
};
use regcred::api::Reason;
use serde_json::json;
use testenv::eventually;
use tokio::{io::AsyncWriteExt, net::TcpListener};

use crate::scenario::{DEADLINE, PASSWORD, Scenario, WRONG, tell_all};

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_down_takes_nothing_away_and_recovers_by_itself() -> Result<()> {
    let scenario = Scenario::start("down").await?;
    let registry = scenario.connected_elsewhere("images", |_| {}).await?;
    let delivered = scenario.secrets().get("images").await?;

    registry.pause();
    registry.set_password(&scenario.namespace, "the-new-one")?;
    scenario.write_login("login", "the-new-one").await?;
    let waiting = scenario.until("images", |now| tell_all(now)[1] == "Unknown/Unreachable").await?;
    assert_eq!(tell_all(&waiting), ["True/LoginProven", "Unknown/Unreachable", "True/Delivered", "-", "-"]);
    assert_eq!(scenario.secrets().get("images").await?, delivered);

    registry.resume().await?;
    scenario
        .until("images", |now| tell_all(now) == ["True/LoginProven", "True/LoginProven", "True/Delivered", "-", "-"])
        .await?;
    let renewed = scenario.secrets().get("images").await?;
    assert_ne!(renewed.data, delivered.data);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_was_never_reached_is_waited_for() -> Result<()> {
    let scenario = Scenario::start("never").await?;
    let registry = scenario.registry_elsewhere().await?;
    registry.pause();
    scenario.write_login("login", PASSWORD).await?;
    scenario.connect("images", scenario.spec_at(&format!("http://{}", registry.host()))).await?;
    let waiting = scenario.ready("images", "False", "Unreachable").await?;
    assert_eq!(
        tell_all(&waiting),
        ["False/Unreachable", "Unknown/Unreachable", "False/Unreachable", "True/Unreachable", "-"]
    );
    assert!(scenario.secrets().get_opt("images").await?.is_none());
    registry.resume().await?;
    scenario.ready("images", "True", "LoginProven").await?;
    scenario.finish().await
}

/// A listener that gives one answer to everybody.
async fn answering(answer: &'static str) -> Result<std::net::SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0; 4096];
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut buffer).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    Ok(address)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_odd_answer_has_its_reason_and_is_no_refusal() -> Result<()> {
    let scenario = Scenario::start("odd").await?;
    scenario.write_login("login", PASSWORD).await?;
    for (name, scheme, answer, status, reason) in [
        (
            "limited",
            "http",
            "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n",
            "False",
            Reason::RateLimited,
        ),
        ("blocked", "http", "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "False", Reason::AccessBlocked),
        ("broken", "http", "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", "False", Reason::UpstreamError),
        ("nothing", "http", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "False", Reason::NotARegistry),
        (
            "elsewhere",
            "http",
            "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n",
            "False",
            Reason::NotARegistry,
        ),
        (
            "no-challenge",
            "http",
            "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
            "False",
            Reason::ProtocolError,
        ),
        (
            "token",
            "http",
            "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"http://127.0.0.1:1/t\"\r\nContent-Length: 0\r\n\r\n",
            "False",
            Reason::TokenServerNotTrusted,
        ),
        ("noise", "http", "SSH-2.0-OpenSSH_9.9\r\n", "False", Reason::Unreachable),
        ("no-tls", "https", "HTTP/1.1 400 Bad Request\r\n\r\n", "False", Reason::TlsFailed),
        ("open", "http", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "True", Reason::Unverified),
    ] {
        let address = answering(answer).await?;
        scenario.connect(name, scenario.spec_at(&format!("{scheme}://{address}"))).await?;
        let connection = scenario.ready(name, status, reason.as_str()).await?;
        assert_eq!(scenario.secrets().get_opt(name).await?.is_some(), status == "True", "{name}");
        assert_ne!(tell_all(&connection)[1], "False/InvalidCredentials", "{name}");
    }
    scenario.connect("metadata", scenario.spec_at("https://169.254.169.254")).await?;
    scenario.ready("metadata", "False", "AddressNotAllowed").await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_secret_is_restored_while_the_registry_is_down() -> Result<()> {
    // Five minutes pass in two and a half seconds.
    let scenario = Scenario::start_fast("lost", 120).await?;
    let registry = scenario.connected_elsewhere("images", |spec| spec["refreshIntervalMinutes"] = 5.into()).await?;
    let delivered = scenario.secrets().get("images").await?;

    registry.pause();
    scenario.until("images", |now| tell_all(now)[1] == "Unknown/Unreachable").await?;
    scenario.delete_secret("images").await?;
    let restored = scenario.until_secret("images", |secret| secret.metadata.uid != delivered.metadata.uid).await?;
    assert_eq!(restored.data, delivered.data);
    scenario
        .until("images", |now| tell_all(now) == ["True/LoginProven", "Unknown/Unreachable", "True/Delivered", "-", "-"])
        .await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_stays_refused_while_the_registry_is_down() -> Result<()> {
    // Thirty minutes pass in three seconds.
    let scenario = Scenario::start_fast("still", 600).await?;
    let registry = scenario.connected_elsewhere("images", |_| {}).await?;
    scenario.write_login("login", WRONG).await?;
    scenario.ready("images", "False", "InvalidCredentials").await?;

    registry.pause();
    eventually("a try that reached nobody", DEADLINE, async || {
        Ok((scenario.metric("regcred_logins_total{result=\"Unreachable\"}").await? >= 2.0).then_some(()))
    })
    .await?;
    let connection = scenario.connections().get("images").await?;
    assert_eq!(tell_all(&connection)[..3], ["False/InvalidCredentials", "False/InvalidCredentials", "True/Delivered"]);
    scenario.finish().await
}

/// A ServiceAccount `operator` with the operator's rights, but other verbs on Secrets and on the status; returns the role.
pub async fn account(scenario: &Scenario, secrets: &[&str], status: &[&str]) -> Result<ClusterRole> {
    let name = format!("{}-operator", scenario.namespace);
    let accounts: kube::Api<ServiceAccount> = kube::Api::namespaced(scenario.client.clone(), &scenario.namespace);
    let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": "operator"}}))?;
    accounts.create(&Default::default(), &account).await?;
    let role: ClusterRole = serde_json::from_value(json!({
        "metadata": {"name": name},
        "rules": [
            {"apiGroups": [""], "resources": ["secrets"], "verbs": secrets},
            {"apiGroups": ["regcred.dev"], "resources": ["registryconnections"], "verbs": ["list", "watch"]},
            {"apiGroups": ["regcred.dev"], "resources": ["registryconnections/status"], "verbs": status},
            {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
        ],
    }))?;
    let binding: ClusterRoleBinding = serde_json::from_value(json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "namespace": scenario.namespace, "name": "operator"}],
    }))?;
    let roles: kube::Api<ClusterRole> = kube::Api::all(scenario.client.clone());
    let bindings: kube::Api<ClusterRoleBinding> = kube::Api::all(scenario.client.clone());
    bindings.create(&Default::default(), &binding).await?;
    Ok(roles.create(&Default::default(), &role).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_is_told_and_heals() -> Result<()> {
    let mut scenario = Scenario::prepare("rights").await?;
    let mut role = account(&scenario, &["list", "watch", "get"], &["patch"]).await?;
    scenario.act_as("operator").await?;

    scenario.write_login("login", PASSWORD).await?;
    scenario.connect("images", scenario.spec()).await?;
    let denied = scenario.ready("images", "False", "Forbidden").await?;
    assert_eq!(tell_all(&denied), ["False/Forbidden", "True/LoginProven", "False/Forbidden", "-", "True/Forbidden"]);

    let verbs = ["list", "watch", "get", "create", "update", "patch"].map(str::to_owned).to_vec();
    role.rules.iter_mut().flatten().take(1).for_each(|rule| rule.verbs.clone_from(&verbs));
    let roles: kube::Api<ClusterRole> = kube::Api::all(scenario.client.clone());
    roles.replace(&role.metadata.name.clone().unwrap_or_default(), &Default::default(), &role).await?;
    // A change around the target ends the pause: a foreign Secret that comes and goes.
    let foreign: Secret = serde_json::from_value(json!({"metadata": {"name": "images"}}))?;
    scenario.secrets().create(&Default::default(), &foreign).await?;
    scenario.ready("images", "False", "TargetConflict").await?;
    scenario.delete_secret("images").await?;
    scenario.ready("images", "True", "LoginProven").await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_password_is_tried_once_even_if_the_status_cannot_be_written() -> Result<()> {
    let mut scenario = Scenario::prepare("mute").await?;
    account(&scenario, &["list", "watch", "get", "create", "update", "patch"], &["get"]).await?;
    scenario.act_as("operator").await?;
    scenario.write_login("login", WRONG).await?;
    scenario.connect("images", scenario.spec()).await?;
    eventually("three passes that were cut short", DEADLINE, async || {
        Ok((scenario.metric("regcred_reconciles_total{result=\"cut_short\"}").await? >= 3.0).then_some(()))
    })
    .await?;
    assert_eq!(scenario.failed_logins()?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_touched_while_it_rests_is_not_tried_for_every_touch() -> Result<()> {
    let scenario = Scenario::start("touched").await?;
    scenario.write_login("login", PASSWORD).await?;
    let address = answering("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 600\r\nContent-Length: 0\r\n\r\n").await?;
    scenario.connect("images", scenario.spec_at(&format!("http://{address}"))).await?;
    scenario.ready("images", "False", "RateLimited").await?;
    let tries = async || scenario.metric("regcred_logins_total{result=\"RateLimited\"}").await;
    let passes = async || scenario.metric("regcred_reconciles_total{result=\"completed\"}").await;
    let before = tries().await?;
    for touch in 0..5 {
        let seen = passes().await?;
        scenario.edit_secret("login", json!({"metadata": {"annotations": {"touch": touch.to_string()}}})).await?;
        eventually("a look at it", DEADLINE, async || Ok((passes().await? > seen).then_some(()))).await?;
    }
    assert_eq!(tries().await?, before, "the pause goes on");
    scenario.edit("images", json!({"spec": {"test": {"timeoutSeconds": 20}}})).await?;
    eventually("the edit to be tried", DEADLINE, async || Ok((tries().await? > before).then_some(()))).await?;
    Ok(())
}
