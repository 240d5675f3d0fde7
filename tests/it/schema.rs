//! What the API server refuses by itself, with a message that names the field.

use anyhow::{Context as _, Result};
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, Patch, PatchParams, ValidationDirective},
};
use serde_json::{Value, json};

use crate::scenario::Scenario;

type Change = fn(&mut Value);

/// The message with which the API server refuses the object.
async fn refusal(scenario: &Scenario, object: &Value) -> Result<String> {
    match dry_run(scenario, object).await {
        Ok(()) => anyhow::bail!("it was accepted"),
        Err(error) => match error.downcast::<kube::Error>()? {
            kube::Error::Api(status) => Ok(status.message.clone()),
            error => Err(error.into()),
        },
    }
}

fn object(scenario: &Scenario) -> Value {
    json!({
        "apiVersion": "regcred.dev/v1alpha1", "kind": "RegistryConnection",
        "metadata": {"name": "images"}, "spec": scenario.spec(),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_specs_that_cannot_work_and_names_the_field() -> Result<()> {
    let scenario = Scenario::prepare("schema").await?;
    let cases: [(&str, Change, &[&str]); 32] = [
        ("no provider", |o| o["spec"]["provider"] = json!({}), &["spec.provider", "exactly one provider", "generic"]),
        ("provider absent", |o| o["spec"] = json!({}), &["spec.provider"]),
        (
            "two providers",
            |o| o["spec"]["provider"]["dockerhub"] = json!({"secretRef": {"name": "x"}}),
            &["spec.provider", "exactly one provider", "dockerhub, generic"],
        ),
        ("unknown provider", |o| o["spec"]["provider"]["other"] = json!({}), &["spec.provider.other"]),
        (
            "target named as source of Docker Hub",
            |o| {
                o["spec"]["provider"] = json!({"dockerhub": {"secretRef": {"name": "login"}}});
                o["spec"]["secret"] = json!({"name": "login"});
            },
            &["spec.secret.name", "spec.provider.dockerhub.secretRef.name"],
        ),
        (
            "https and insecure",
            |o| {
                o["spec"]["provider"]["generic"]["registryUrl"] = "https://r.example".into();
                o["spec"]["provider"]["generic"]["insecure"] = true.into();
            },
            &["spec.provider.generic.insecure", "caRef"],
        ),
        (
            "scheme in the image host",
            |o| o["spec"]["provider"]["generic"]["imageHost"] = "https://r.example".into(),
            &["spec.provider.generic.imageHost", "no scheme"],
        ),
        (
            "path in a token host",
            |o| o["spec"]["provider"]["generic"]["trustedTokenHosts"] = json!(["a.example", "b.example/token"]),
            &["spec.provider.generic.trustedTokenHosts", "no path"],
        ),
        (
            "too many token hosts",
            |o| o["spec"]["provider"]["generic"]["trustedTokenHosts"] = json!(vec!["a.example"; 9]),
            &["spec.provider.generic.trustedTokenHosts", "8"],
        ),
        (
            "kind of the authority",
            |o| o["spec"]["provider"]["generic"]["caRef"] = json!({"kind": "Pod", "name": "x"}),
            &["spec.provider.generic.caRef.kind", "ConfigMap"],
        ),
        ("upper case in the prefix", |o| o["spec"]["repositoryPrefix"] = "Team".into(), &["spec.repositoryPrefix"]),
        ("slash behind the prefix", |o| o["spec"]["repositoryPrefix"] = "team/".into(), &["spec.repositoryPrefix"]),
        ("mode of the test", |o| o["spec"]["test"] = json!({"mode": "Maybe"}), &["spec.test.mode", "Required"]),
        (
            "time limit of the test",
            |o| o["spec"]["test"] = json!({"timeoutSeconds": 31}),
            &["spec.test.timeoutSeconds", "30"],
        ),
        (
            "path tricks in a repository",
            |o| o["spec"]["test"] = json!({"repositories": [{"name": "a/../b"}]}),
            &["spec.test.repositories[0].name"],
        ),
        (
            "tag that is none",
            |o| o["spec"]["test"] = json!({"repositories": [{"name": "a", "reference": "a/b"}]}),
            &["spec.test.repositories[0].reference"],
        ),
        (
            "too many repositories",
            |o| o["spec"]["test"] = json!({"repositories": vec![json!({"name": "a"}); 9]}),
            &["spec.test.repositories", "8"],
        ),
        (
            "interval too short",
            |o| o["spec"]["refreshIntervalMinutes"] = 4.into(),
            &["spec.refreshIntervalMinutes", "5"],
        ),
        (
            "interval too long",
            |o| o["spec"]["refreshIntervalMinutes"] = 1441.into(),
            &["spec.refreshIntervalMinutes", "1440"],
        ),
        (
            "user info",
            |o| o["spec"]["provider"]["generic"]["registryUrl"] = "https://u:p@r.example".into(),
            &["spec.provider.generic.registryUrl", "password"],
        ),
        (
            "query",
            |o| o["spec"]["provider"]["generic"]["registryUrl"] = "https://r.example?x".into(),
            &["spec.provider.generic.registryUrl", "query"],
        ),
        (
            "scheme",
            |o| o["spec"]["provider"]["generic"]["registryUrl"] = "ftp://r.example".into(),
            &["spec.provider.generic.registryUrl", "https://"],
        ),
        (
            "empty URL",
            |o| o["spec"]["provider"]["generic"]["registryUrl"] = "".into(),
            &["spec.provider.generic.registryUrl"],
        ),
        ("unknown field", |o| o["spec"]["refreshInterval"] = 5.into(), &["spec.refreshInterval"]),
        (
            "namespace of the Secret",
            |o| o["spec"]["provider"]["generic"]["secretRef"]["namespace"] = "x".into(),
            &["spec.provider.generic.secretRef.namespace"],
        ),
        ("target named as source", |o| o["spec"]["secret"] = json!({"name": "login"}), &["spec.secret.name"]),
        ("connection named as source", |o| o["metadata"]["name"] = "login".into(), &["spec.secret.name"]),
        ("name of the target", |o| o["spec"]["secret"] = json!({"name": "Not A Name"}), &["spec.secret.name"]),
        (
            "path as name of the source",
            |o| o["spec"]["provider"]["generic"]["secretRef"]["name"] = "../x".into(),
            &["spec.provider.generic.secretRef.name"],
        ),
        ("dots in the name of the target", |o| o["spec"]["secret"] = json!({"name": "a..b"}), &["spec.secret.name"]),
        (
            "reserved label",
            |o| o["spec"]["secret"] = json!({"labels": {"app.kubernetes.io/managed-by": "me"}}),
            &["spec.secret.labels"],
        ),
        (
            "reserved annotation",
            |o| o["spec"]["secret"] = json!({"annotations": {"regcred.dev/x": "1"}}),
            &["spec.secret.annotations"],
        ),
    ];
    for (name, change, words) in cases {
        let mut object = object(&scenario);
        change(&mut object);
        let message = refusal(&scenario, &object).await.with_context(|| name.to_owned())?;
        for word in words {
            assert!(message.contains(word), "{name}: {word:?} is not in {message:?}");
        }
        println!("{name}: {message}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_to_change_the_provider() -> Result<()> {
    let scenario = Scenario::prepare("provider").await?;
    scenario.connect("images", scenario.spec()).await?;
    for (name, provider, words) in [
        (
            "another one",
            json!({"generic": null, "dockerhub": {"secretRef": {"name": "login"}}}),
            "the provider cannot be changed",
        ),
        ("none", json!({"generic": null}), "the provider cannot be changed"),
    ] {
        let patch = Patch::Merge(json!({"spec": {"provider": provider}}));
        let parameters = PatchParams { field_validation: Some(ValidationDirective::Strict), ..PatchParams::default() };
        let error = scenario.connections().patch("images", &parameters, &patch).await.err().context("accepted")?;
        let kube::Error::Api(status) = error else { return Err(error.into()) };
        assert!(status.message.contains("spec.provider") && status.message.contains(words), "{}", status.message);
        println!("{name}: {}", status.message);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn adds_nothing_to_the_users_spec_and_a_fresh_object_is_in_progress() -> Result<()> {
    let scenario = Scenario::prepare("default").await?;
    let created = scenario.connect("images", scenario.spec()).await?;
    assert_eq!(serde_json::to_value(&created.spec)?, scenario.spec());
    assert_eq!(created.status.and_then(|status| status.observed_generation), Some(-1));
    Ok(())
}

/// What `kubectl apply --dry-run=server` does.
async fn dry_run(scenario: &Scenario, object: &Value) -> Result<()> {
    let object: DynamicObject = serde_json::from_value(object.clone())?;
    let types = object.types.clone().context("no apiVersion or kind")?;
    let group_version_kind = kube::core::GroupVersionKind::try_from(&types)?;
    let resource = kube::discovery::pinned_kind(&scenario.client, &group_version_kind).await?.0;
    let objects: Api<DynamicObject> = Api::namespaced_with(scenario.client.clone(), &scenario.namespace, &resource);
    let parameters = PatchParams {
        dry_run: true,
        field_manager: Some("test".into()),
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::default()
    };
    objects.patch(&object.name_any(), &parameters, &Patch::Apply(&object)).await?;
    Ok(())
}
