//! Registries with a token server, and with an authority of their own.

use anyhow::Result;
use kube::api::DeleteParams;
use regcred::api::names::DOCKER_CONFIG_JSON_KEY;
use serde_json::json;

use crate::scenario::{PASSWORD, Scenario, Secure, WRONG, secure, tell_all};

#[tokio::test(flavor = "multi_thread")]
async fn a_login_at_a_token_server_is_proven_and_delivered_and_a_client_pulls_with_it() -> Result<()> {
    let scenario = Scenario::start("token").await?;
    let secure = secure().await?;
    let spec = scenario.account_at(secure).await?;
    let image = format!("{}/{}/app:v1", secure.registry.host(), scenario.namespace);
    let pushed = secure.registry.crane().push(&image, &scenario.namespace, PASSWORD).await?;
    let pushes = secure.tokens.logins(&scenario.namespace);

    scenario.connect("images", spec).await?;
    let connection = scenario.ready("images", "True", "LoginProven").await?;
    assert_eq!(tell_all(&connection), ["True/LoginProven", "True/LoginProven", "True/Delivered", "-", "-"]);
    assert_eq!(secure.tokens.logins(&scenario.namespace) - pushes, 1, "one login for one test");

    let secret = scenario.secrets().get("images").await?;
    let config = &secret.data.clone().unwrap_or_default()[DOCKER_CONFIG_JSON_KEY].0;
    assert_eq!(secure.registry.crane().pull(&image, config).await?.digest, pushed);
    assert_eq!(scenario.shared.keyring.credentials(&image, &[secret])?.len(), 1);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_refused_by_the_token_server_and_not_tried_again() -> Result<()> {
    let scenario = Scenario::start("refused").await?;
    let secure = secure().await?;
    let spec = scenario.account_at(secure).await?;
    scenario.write_login("login", WRONG).await?;
    scenario.connect("images", spec).await?;
    let connection = scenario.ready("images", "False", "InvalidCredentials").await?;
    let error = connection.status.and_then(|status| status.last_error).unwrap_or_else(|| panic!("no error"));
    assert!(error.message.starts_with("login: the token server localhost:"), "{}", error.message);
    assert!(error.message.contains("(401)") && error.message.contains("login"), "{}", error.message);
    scenario.edit("images", json!({"spec": {"secret": {"labels": {"touched": "yes"}}}})).await?;
    scenario.until("images", |now| now.status.as_ref().and_then(|s| s.observed_generation) == Some(2)).await?;
    assert_eq!(secure.tokens.failed_logins(&scenario.namespace), 1);

    scenario.write_login("login", PASSWORD).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    assert_eq!(secure.tokens.failed_logins(&scenario.namespace), 1);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_server_that_is_not_trusted_is_told_nothing_until_it_is() -> Result<()> {
    let scenario = Scenario::start("trust").await?;
    let secure = Secure::start().await?;
    let mut spec = scenario.account_at(&secure).await?;
    spec["provider"]["generic"]["trustedTokenHosts"] = json!([]);
    scenario.connect("images", spec).await?;
    let connection = scenario.ready("images", "False", "TokenServerNotTrusted").await?;
    let told = ["False/TokenServerNotTrusted", "Unknown/TokenServerNotTrusted", "False/TokenServerNotTrusted"];
    assert_eq!(tell_all(&connection)[..3], told);
    let error = connection.status.and_then(|status| status.last_error).unwrap_or_else(|| panic!("no error"));
    assert_eq!(error.field.as_deref(), Some("spec.provider.generic.trustedTokenHosts"));
    assert!(error.hint.is_some_and(|hint| hint.contains(&secure.token_host())));
    assert_eq!(secure.tokens.listener().connections(), 0);

    let trusted = json!({"spec": {"provider": {"generic": {"trustedTokenHosts": [secure.token_host()]}}}});
    scenario.edit("images", trusted).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    assert!(secure.tokens.listener().was_told(PASSWORD), "the listener notices a login when there is one");
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_authority_is_waited_for_and_a_new_one_is_used_at_once() -> Result<()> {
    let scenario = Scenario::start("authority").await?;
    let secure = secure().await?;
    let spec = scenario.account_at(secure).await?;
    scenario.config_maps().delete("authority", &DeleteParams::default()).await?;
    scenario.connect("images", spec).await?;
    let connection = scenario.ready("images", "False", "CaNotFound").await?;
    assert_eq!(tell_all(&connection)[3], "True/CaNotFound", "it is waited for");
    assert_eq!(secure.tokens.logins(&scenario.namespace), 0);

    scenario.write_authority("authority", "not a certificate").await?;
    let connection = scenario.ready("images", "False", "SecretMalformed").await?;
    let error = connection.status.and_then(|status| status.last_error).unwrap_or_else(|| panic!("no error"));
    assert_eq!(error.field.as_deref(), Some("spec.provider.generic.caRef"));

    scenario.write_authority("authority", Secure::start().await?.authority.certificate()).await?;
    scenario.ready("images", "False", "TlsFailed").await?;
    scenario.write_authority("authority", secure.authority.certificate()).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_may_stand_in_a_secret_under_any_key() -> Result<()> {
    let scenario = Scenario::start("secret-ca").await?;
    let secure = secure().await?;
    let mut spec = scenario.account_at(secure).await?;
    spec["provider"]["generic"]["caRef"] = json!({"kind": "Secret", "name": "authority", "key": "root.pem"});
    scenario.write_secret("authority", "Opaque", json!({"ca.crt": secure.authority.certificate()})).await?;
    scenario.connect("images", spec).await?;
    scenario.ready("images", "False", "CaNotFound").await?;
    scenario.write_secret("authority", "Opaque", json!({"root.pem": secure.authority.certificate()})).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_authority_is_a_tls_failure_that_names_the_field() -> Result<()> {
    let scenario = Scenario::start("unknown").await?;
    let secure = secure().await?;
    let mut spec = scenario.account_at(secure).await?;
    spec["provider"]["generic"]["caRef"] = json!(null);
    scenario.connect("images", spec).await?;
    let connection = scenario.ready("images", "False", "TlsFailed").await?;
    let error = connection.status.and_then(|status| status.last_error).unwrap_or_else(|| panic!("no error"));
    assert!(error.hint.is_some_and(|hint| hint.contains("caRef")));
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_must_be_asked_for() -> Result<()> {
    let scenario = Scenario::start("insecure").await?;
    let port =
        scenario.shared.registry.host().rsplit(':').next().map(str::parse::<u16>).transpose()?.unwrap_or_default();
    scenario.names.set("registry.example.test", ([127, 0, 0, 1], port).into());
    scenario.write_login("login", PASSWORD).await?;
    scenario.connect("images", scenario.spec_at(&format!("http://registry.example.test:{port}"))).await?;
    let connection = scenario.ready("images", "False", "InvalidSpec").await?;
    let error = connection.status.and_then(|status| status.last_error).unwrap_or_else(|| panic!("no error"));
    assert!(error.hint.is_some_and(|hint| hint.contains("spec.provider.generic.insecure")));
    scenario.edit("images", json!({"spec": {"provider": {"generic": {"insecure": true}}}})).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_is_made_once_for_a_host_not_for_every_test() -> Result<()> {
    // Five minutes pass in two and a half seconds.
    let mut scenario = Scenario::prepare("control").await?;
    scenario.set_speed(120);
    scenario.start_operator().await?;
    let secure = Secure::start().await?;
    let mut spec = scenario.account_at(&secure).await?;
    spec["refreshIntervalMinutes"] = 5.into();
    scenario.connect("images", spec.clone()).await?;
    let first = scenario.ready("images", "True", "LoginProven").await?;
    let strangers = || {
        let requests = secure.tokens.requests();
        requests.iter().filter(|one| one.authorization && one.user.as_deref() != Some(&scenario.namespace)).count()
    };
    assert_eq!(strangers(), 1, "the token server gives tokens to those without a login too");

    spec["secret"] = json!({"name": "second"});
    scenario.connect("other", spec).await?;
    scenario.ready("other", "True", "LoginProven").await?;
    scenario
        .until("images", |now| {
            let tested = |connection: &regcred::api::RegistryConnection| {
                connection.status.clone().and_then(|status| status.last_test).map(|test| test.time)
            };
            tested(now) != tested(&first)
        })
        .await?;
    assert_eq!(strangers(), 1);
    Ok(())
}
