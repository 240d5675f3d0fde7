//! What the API server refuses by itself, with a message that names the field.

use anyhow::{Context as _, Result};
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, Patch, PatchParams, ValidationDirective},
};
use serde_json::{Value, json};

use crate::{
    cases::{self, Refused, Seen},
    scenario::Scenario,
};

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

#[tokio::test(flavor = "multi_thread")]
async fn refuses_specs_that_cannot_work_and_names_the_field() -> Result<()> {
    let scenario = Scenario::prepare("schema").await?;
    let mut wrong = vec![];
    for Refused { name, change, field, seen } in cases::REFUSED {
        let object = cases::changed(*change);
        match seen {
            Seen::ByBoth(words) => match refusal(&scenario, &object).await {
                Ok(message) => {
                    wrong.extend(
                        words
                            .iter()
                            .chain([field])
                            .filter(|word| !message.contains(**word))
                            .map(|word| format!("{name}: {word:?} is not in {message:?}")),
                    );
                    println!("{name}: {message}");
                }
                Err(error) => wrong.push(format!("{name}: {error:#}")),
            },
            Seen::ByValidate(why) => {
                if let Err(error) = dry_run(&scenario, &object).await {
                    wrong.push(format!(
                        "{name}: the API server sees it after all, not only validate ({why}): {error:#}"
                    ));
                }
            }
        }
    }
    anyhow::ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn accepts_specs_at_the_limits() -> Result<()> {
    let scenario = Scenario::prepare("limits").await?;
    let mut wrong = vec![];
    for (name, change) in cases::ACCEPTED {
        if let Err(error) = dry_run(&scenario, &cases::changed(*change)).await {
            wrong.push(format!("{name}: {error:#}"));
        }
    }
    anyhow::ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
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
