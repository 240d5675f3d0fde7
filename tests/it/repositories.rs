//! Repositories that a login must be able to pull from.

use anyhow::Result;
use regcred::api::{RegistryConnection, status::RepositoryVerdict};
use serde_json::{Value, json};

use crate::scenario::{PASSWORD, Scenario, secure, tell_all};

/// What the last test found of each repository.
fn found(connection: &RegistryConnection) -> Vec<RepositoryVerdict> {
    let test = connection.status.clone().and_then(|status| status.last_test);
    test.map(|test| test.repositories.into_iter().map(|repository| repository.verdict).collect()).unwrap_or_default()
}

fn error(connection: &RegistryConnection) -> String {
    let error = connection.status.clone().and_then(|status| status.last_error);
    error.map(|error| format!("{}: {} ({:?})", error.code, error.message, error.field)).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_repository_proves_more_than_a_login() -> Result<()> {
    let scenario = Scenario::start("private").await?;
    let secure = secure().await?;
    let mut spec = scenario.account_at(secure).await?;
    let (account, crane) = (&scenario.namespace, secure.registry.crane());
    crane.push(&format!("{}/{account}/app:v1", secure.registry.host()), account, PASSWORD).await?;
    let public = format!("{account}/public");
    crane.push(&format!("{}/{public}:v1", secure.registry.host()), account, PASSWORD).await?;
    secure.tokens.publish(&public);
    spec["test"] = json!({"repositories": [
        {"name": format!("{account}/app"), "reference": "v1"},
        {"name": format!("{account}/app"), "reference": "v2"},
        {"name": format!("{account}/app")},
        {"name": public, "reference": "v1"},
    ]});
    scenario.connect("images", spec).await?;
    let connection = scenario.ready("images", "True", "RepositoriesProven").await?;
    use RepositoryVerdict::{PubliclyReadable, PullProven, TagMissing};
    assert_eq!(found(&connection), [PullProven, TagMissing, PullProven, PubliclyReadable]);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_repository_proves_nothing_about_the_login() -> Result<()> {
    let scenario = Scenario::start("public").await?;
    let secure = secure().await?;
    let mut spec = scenario.account_at(secure).await?;
    let account = &scenario.namespace;
    let public = format!("{account}/public");
    secure.registry.crane().push(&format!("{}/{public}:v1", secure.registry.host()), account, PASSWORD).await?;
    secure.tokens.publish(&public);
    spec["test"] = json!({"repositories": [{"name": public, "reference": "v1"}]});
    scenario.connect("images", spec).await?;
    let connection = scenario.ready("images", "True", "LoginProven").await?;
    assert_eq!(found(&connection), [RepositoryVerdict::PubliclyReadable]);
    scenario.finish().await
}

/// A repository of somebody else, and one that nobody has.
async fn failing(scenario: &Scenario, kind: &str) -> Result<(Value, String)> {
    let secure = secure().await?;
    let mut spec = scenario.account_at(secure).await?;
    let owner = format!("owner-of-{}", scenario.namespace);
    secure.tokens.set_password(&owner, PASSWORD);
    let repository = format!("{owner}/app");
    secure.registry.crane().push(&format!("{}/{repository}:v1", secure.registry.host()), &owner, PASSWORD).await?;
    let listed = if kind == "missing" { format!("{}/nothing", scenario.namespace) } else { repository.clone() };
    spec["test"] = json!({"repositories": [{"name": listed, "reference": "v1"}]});
    Ok((spec, repository))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_without_the_right_to_a_repository_is_not_delivered_before_it_has_it() -> Result<()> {
    // Ten minutes pass in five seconds.
    let scenario = Scenario::start_fast("scope", 120).await?;
    let (spec, repository) = failing(&scenario, "foreign").await?;
    scenario.connect("images", spec).await?;
    let connection = scenario.ready("images", "False", "InsufficientScope").await?;
    let told =
        ["False/InsufficientScope", "True/LoginProven", "False/InsufficientScope", "True/InsufficientScope", "-"];
    assert_eq!(tell_all(&connection), told);
    assert_eq!(found(&connection), [RepositoryVerdict::InsufficientScope]);
    assert!(error(&connection).contains(&repository), "{}", error(&connection));
    assert!(scenario.secrets().get_opt("images").await?.is_none());

    secure().await?.tokens.grant(&scenario.namespace, &repository, &["pull"]);
    let connection = scenario.ready("images", "True", "RepositoriesProven").await?;
    assert_eq!(found(&connection), [RepositoryVerdict::PullProven]);
    assert_eq!(secure().await?.tokens.failed_logins(&scenario.namespace), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_does_not_exist_is_named() -> Result<()> {
    let scenario = Scenario::start("missing").await?;
    let (spec, _) = failing(&scenario, "missing").await?;
    scenario.connect("images", spec).await?;
    let connection = scenario.ready("images", "False", "RepositoryNotFound").await?;
    assert_eq!(tell_all(&connection)[1], "True/LoginProven");
    assert_eq!(found(&connection), [RepositoryVerdict::RepositoryNotFound]);
    assert!(error(&connection).contains("spec.test.repositories"), "{}", error(&connection));
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_delivered_stays_when_a_repository_fails_and_comes_back_when_it_is_lost() -> Result<()> {
    // Ten minutes pass in five seconds.
    let scenario = Scenario::start_fast("keeps", 120).await?;
    let (mut spec, repository) = failing(&scenario, "foreign").await?;
    let test = spec["test"].take();
    scenario.connect("images", spec).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    let delivered = scenario.secrets().get("images").await?;

    scenario.edit("images", json!({"spec": {"test": test}})).await?;
    let connection = scenario.ready("images", "False", "InsufficientScope").await?;
    assert_eq!(tell_all(&connection)[2], "True/Delivered");
    assert_eq!(scenario.secrets().get("images").await?, delivered);

    scenario.delete_secret("images").await?;
    let restored = scenario.until_secret("images", |secret| secret.metadata.uid != delivered.metadata.uid).await?;
    assert_eq!(restored.data, delivered.data);
    secure().await?.tokens.grant(&scenario.namespace, &repository, &["pull"]);
    scenario.ready("images", "True", "RepositoriesProven").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_with_basic_authentication_is_asked_for_repositories_too() -> Result<()> {
    let scenario = Scenario::start("basic").await?;
    scenario.write_login("login", PASSWORD).await?;
    scenario.shared.registry.crane().push(&scenario.image(), &scenario.namespace, PASSWORD).await?;
    let name = format!("{}/app", scenario.namespace);
    let mut spec = scenario.spec();
    spec["test"] = json!({"repositories": [{"name": name, "reference": "v1"}, {"name": name, "reference": "v2"}]});
    scenario.connect("images", spec.clone()).await?;
    let connection = scenario.ready("images", "True", "RepositoriesProven").await?;
    assert_eq!(found(&connection), [RepositoryVerdict::PullProven, RepositoryVerdict::TagMissing]);

    spec["test"] = json!({"repositories": [{"name": "nobodys/app", "reference": "v1"}]});
    spec["secret"] = json!({"name": "other"});
    scenario.connect("missing", spec).await?;
    scenario.ready("missing", "False", "RepositoryNotFound").await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_lets_two_logins_for_one_host_live_side_by_side() -> Result<()> {
    let scenario = Scenario::start("prefix").await?;
    scenario.write_login("login", PASSWORD).await?;
    for prefix in ["team", "team-b"] {
        let mut spec = scenario.spec();
        spec["repositoryPrefix"] = prefix.into();
        scenario.connect(prefix, spec).await?;
        scenario.ready(prefix, "True", "LoginProven").await?;
    }
    let host = scenario.shared.registry.host();
    let secrets = [scenario.secrets().get("team").await?, scenario.secrets().get("team-b").await?];
    let found = |image: &str, secrets: &[_]| scenario.shared.keyring.credentials(&format!("{host}/{image}"), secrets);
    for (image, team, both) in
        [("team/web:v1", 1, 1), ("team/a/b/c:v1", 1, 1), ("team-b/web:v1", 0, 1), ("other/web:v1", 0, 0)]
    {
        assert_eq!(found(image, &secrets[..1])?.len(), team, "{image} with the first");
        assert_eq!(found(image, &secrets)?.len(), both, "{image} with both");
    }

    let before = scenario.connections().get("team").await?.status.and_then(|status| status.credential);
    scenario.edit("team", json!({"spec": {"repositoryPrefix": null}})).await?;
    scenario
        .until("team", |now| {
            now.status.as_ref().and_then(|status| status.credential.clone()) != before
                && tell_all(now)[2] == "True/Delivered"
        })
        .await?;
    assert_eq!(found("other/web:v1", &[scenario.secrets().get("team").await?])?.len(), 1);
    assert_eq!(scenario.good_logins()?, 1, "another prefix is no other login");
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_may_reach_a_registry_elsewhere_than_the_nodes_do() -> Result<()> {
    let scenario = Scenario::start("elsewhere").await?;
    scenario.write_login("login", PASSWORD).await?;
    let mut spec = scenario.spec();
    spec["provider"]["generic"]["imageHost"] = "Registry.Example.com:5000".into();
    scenario.connect("images", spec).await?;
    let connection = scenario.ready("images", "True", "LoginProven").await?;
    let host = connection.status.and_then(|status| status.registry_host);
    assert_eq!(host, Some(scenario.shared.registry.host()));
    let secret = scenario.secrets().get("images").await?;
    let found = |image: &str| scenario.shared.keyring.credentials(image, std::slice::from_ref(&secret));
    assert_eq!(found("registry.example.com:5000/team/web:v1")?.len(), 1);
    assert_eq!(found(&scenario.image())?.len(), 0);
    scenario.finish().await
}
