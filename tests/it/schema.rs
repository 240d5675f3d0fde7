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
    for Refused { name, change, field, seen } in cases::REFUSED.iter().chain(cases::REFUSED_OF_ISSUERS) {
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
    for (name, change) in cases::ACCEPTED.iter().chain(cases::ACCEPTED_OF_ISSUERS) {
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
        let message = refused_edit(&scenario, "images", json!({"provider": provider})).await?;
        assert!(message.contains("spec.provider") && message.contains(words), "{message}");
        println!("{name}: {message}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_to_change_one_provider_that_issues_credentials_into_another() -> Result<()> {
    let scenario = Scenario::prepare("issuers").await?;
    let digital_ocean = json!({"registryName": "team", "secretRef": {"name": "api"}});
    let ionos = json!({"registryName": "team", "secretRef": {"name": "api"}});
    scenario.connect("ocean", json!({"provider": {"digitalocean": digital_ocean}})).await?;
    scenario.connect("ionos", json!({"provider": {"ionos": ionos}})).await?;
    for (connection, provider) in [
        ("ocean", json!({"digitalocean": null, "ionos": ionos})),
        ("ionos", json!({"ionos": null, "digitalocean": digital_ocean})),
        ("ionos", json!({"ionos": null, "dockerhub": {"secretRef": {"name": "api"}}})),
    ] {
        let message = refused_edit(&scenario, connection, json!({"provider": provider})).await?;
        assert!(message.contains("spec.provider") && message.contains("the provider cannot be changed"), "{message}");
    }
    // What is not the provider's key may change, also which registry it is.
    let by_id =
        json!({"provider": {"ionos": {"registryName": null, "registryId": "6a1d0fd4-4b4a-4e4f-9b4e-2f0c1c4c6c1e"}}});
    edit(&scenario, "ionos", by_id).await?;
    edit(&scenario, "ocean", json!({"provider": {"digitalocean": {"registryName": "other", "readWrite": true}}}))
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_an_interval_that_has_become_too_long_for_the_life_of_credentials() -> Result<()> {
    let scenario = Scenario::prepare("lives").await?;
    for (name, provider, field) in [
        (
            "ocean",
            json!({"digitalocean": {"registryName": "team", "secretRef": {"name": "api"}, "expirySeconds": 3600}}),
            "spec.provider.digitalocean.expirySeconds",
        ),
        (
            "ionos",
            json!({"ionos": {"registryName": "team", "secretRef": {"name": "api"}, "tokenTtlMinutes": 60}}),
            "spec.provider.ionos.tokenTtlMinutes",
        ),
    ] {
        scenario.connect(name, json!({"provider": provider, "refreshIntervalMinutes": 20})).await?;
        edit(&scenario, name, json!({"refreshIntervalMinutes": 30})).await?;
        let message = refused_edit(&scenario, name, json!({"refreshIntervalMinutes": 31})).await?;
        assert!(message.contains(field) && message.contains("times spec.refreshIntervalMinutes"), "{message}");
        println!("{name}: {message}");
        // Absent means 30, which is just short enough.
        edit(&scenario, name, json!({"refreshIntervalMinutes": null})).await?;
    }
    Ok(())
}

/// Changes a part of the spec of a connection.
async fn edit(scenario: &Scenario, name: &str, spec: Value) -> Result<(), kube::Error> {
    let patch = Patch::Merge(json!({ "spec": spec }));
    let parameters = PatchParams { field_validation: Some(ValidationDirective::Strict), ..PatchParams::default() };
    scenario.connections().patch(name, &parameters, &patch).await.map(drop)
}

/// The message with which the API server refuses to change a part of the spec.
async fn refused_edit(scenario: &Scenario, name: &str, spec: Value) -> Result<String> {
    match edit(scenario, name, spec).await.err().context("it was accepted")? {
        kube::Error::Api(status) => Ok(status.message.clone()),
        error => Err(error.into()),
    }
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
