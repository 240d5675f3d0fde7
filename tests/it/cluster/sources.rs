//! What a connection of the cluster may read: Secrets of the operator's namespace that are marked for it, and for one host.

use anyhow::{Result, ensure};
use regcred::api::ConditionType;
use serde_json::{Value, json};

use super::{Wide, message, tell};
use crate::scenario::PASSWORD;

#[tokio::test(flavor = "multi_thread")]
async fn only_marked_and_bound_secrets_of_the_operators_namespace_are_read() -> Result<()> {
    let mut wide = Wide::prepare("marked").await?;
    let host = wide.scenario.shared.registry.host();
    wide.scenario.write_login("login", PASSWORD).await?;
    wide.scenario.start_operator().await?;
    wide.create_namespaces(0..1).await?;
    wide.connect("images", wide.spec()).await?;
    let says = async |reason: &str, words: &str, hint: &str| {
        wide.until("images", |now| {
            let error = now.status.as_ref().and_then(|status| status.last_error.as_ref());
            tell(now, ConditionType::Ready) == format!("False/{reason}")
                && error.is_some_and(|error| {
                    error.message.contains(words) && error.hint.as_ref().is_some_and(|said| said.contains(hint))
                })
        })
        .await
    };
    says("SourceNotAllowed", "label regcred.dev/source", "label it").await?;
    wide.scenario.edit_secret("login", json!({"metadata": {"labels": {"regcred.dev/source": "true"}}})).await?;
    says("SourceNotAllowed", "for which host", "regcred.dev/registry-host").await?;
    let bound = |host: &str| json!({"metadata": {"annotations": {"regcred.dev/registry-host": host}}});
    wide.scenario.edit_secret("login", bound("elsewhere.example")).await?;
    says("HostMismatch", "elsewhere.example", "").await?;
    assert_eq!(wide.scenario.good_logins()? + wide.scenario.failed_logins()?, 0, "nothing was sent anywhere");
    wide.scenario.edit_secret("login", bound(&host)).await?;
    wide.ready("images", ("True", "LoginProven"), (1, 1)).await?;

    // What is taken back is not used any more, and what was delivered stays.
    wide.scenario.edit_secret("login", json!({"metadata": {"labels": {"regcred.dev/source": null}}})).await?;
    wide.ready("images", ("False", "SourceNotAllowed"), (1, 1)).await?;
    wide.until_delivered_to("images", &[0]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_docker_config_names_its_host_by_itself_and_what_regcred_writes_is_no_source() -> Result<()> {
    let wide = Wide::start("configs").await?;
    wide.create_namespaces(0..1).await?;
    let host = wide.scenario.shared.registry.host();
    let login = json!({"username": wide.scenario.namespace, "password": PASSWORD});
    let config = json!({"auths": {&*host: login}}).to_string();
    wide.scenario
        .write_secret("config", "kubernetes.io/dockerconfigjson", json!({".dockerconfigjson": config}))
        .await?;
    wide.scenario.edit_secret("config", json!({"metadata": {"labels": {"regcred.dev/source": "true"}}})).await?;
    let mut spec = wide.spec();
    spec["provider"]["generic"]["secretRef"]["name"] = "config".into();
    wide.connect("images", spec.clone()).await?;
    wide.ready("images", ("True", "LoginProven"), (1, 1)).await?;

    let ours = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "regcred"}}});
    wide.scenario.edit_secret("config", ours).await?;
    wide.ready("images", ("False", "SourceNotAllowed"), (1, 1)).await?;

    // A ledger is one by its type, whatever else it says of itself.
    wide.scenario.write_secret("ledger", "regcred.dev/ledger", login).await?;
    let marks = json!({
        "labels": {"regcred.dev/source": "true"}, "annotations": {"regcred.dev/registry-host": host},
    });
    wide.scenario.edit_secret("ledger", json!({"metadata": marks})).await?;
    spec["provider"]["generic"]["secretRef"]["name"] = "ledger".into();
    wide.connect("others", spec).await?;
    let told = wide.ready("others", ("False", "SourceNotAllowed"), (0, 1)).await?;
    ensure!(message(&told, ConditionType::Ready)?.contains("regcred writes itself"), "{told:?}");
    Ok(())
}

/// A field of a schema that names an object.
fn references(schema: &Value, path: &str, found: &mut Vec<(String, Vec<String>)>) {
    let Some(properties) = schema["properties"].as_object() else { return };
    if path.ends_with("Ref") {
        found.push((path.to_owned(), properties.keys().cloned().collect()));
    }
    for (name, property) in properties {
        references(property, &format!("{path}.{name}"), found);
        references(&property["items"], &format!("{path}.{name}"), found);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_reference_of_either_kind_can_name_another_namespace() -> Result<()> {
    let wide = Wide::prepare("reach").await?;
    let mut seen = 0;
    for crd in regcred::api::crds() {
        let kind = crd.spec.names.kind.clone();
        let schema = serde_json::to_value(&crd.spec.versions[0].schema)?["openAPIV3Schema"].clone();
        let mut found = vec![];
        references(&schema["properties"]["spec"], "spec", &mut found);
        for (path, fields) in found {
            seen += 1;
            ensure!(
                !fields.iter().any(|field| field.to_lowercase().contains("namespace")),
                "{kind} {path}: {fields:?}"
            );
            for name in ["other/login", "../other/secrets/login", "other%2Flogin", "login?x", ".."] {
                let mut object = json!({
                    "apiVersion": "regcred.dev/v1alpha1", "kind": kind, "metadata": {"name": "images"}, "spec": {},
                });
                if kind == "RegistryConnection" {
                    object["metadata"]["namespace"] = wide.scenario.namespace.clone().into();
                } else {
                    object["spec"]["visibility"] = "All".into();
                }
                let mut at = &mut object;
                for part in path.split('.') {
                    at = &mut at[part];
                }
                at["name"] = name.into();
                let message = refusal(&wide, &object).await?;
                ensure!(message.contains(&format!("{path}.name")), "{kind} {path} {name}: {message}");
            }
        }
    }
    ensure!(seen >= 10, "only {seen} references were found");
    Ok(())
}

/// What the API server has against an object.
async fn refusal(wide: &Wide, object: &Value) -> Result<String> {
    use kube::api::{DynamicObject, PostParams};
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let (kind, namespace) = (object["kind"].as_str().unwrap_or_default(), &wide.scenario.namespace);
    let object: DynamicObject = serde_json::from_value(object.clone())?;
    let client = wide.scenario.client.clone();
    let api: kube::Api<DynamicObject> = match kind {
        "RegistryConnection" => {
            let resource = kube::api::ApiResource::erase::<regcred::api::RegistryConnection>(&());
            kube::Api::namespaced_with(client, namespace, &resource)
        }
        _ => {
            let resource = kube::api::ApiResource::erase::<regcred::api::ClusterRegistryConnection>(&());
            kube::Api::all_with(client, &resource)
        }
    };
    match api.create(&dry_run, &object).await {
        Ok(_) => Ok("accepted".into()),
        Err(kube::Error::Api(status)) => Ok(status.message.clone()),
        Err(error) => Err(error.into()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn selections_that_make_no_sense_are_refused_with_the_field() -> Result<()> {
    let wide = Wide::prepare("senseless").await?;
    type Change = fn(&mut Value);
    let cases: [(&str, Change, &str, &str); 9] = [
        (
            "no visibility",
            |o| drop(o["spec"].as_object_mut().map(|spec| spec.remove("visibility"))),
            "spec.visibility",
            "Required",
        ),
        (
            "a selector with All",
            |o| o["spec"]["visibility"] = "All".into(),
            "spec.namespaceSelector",
            "visibility Selected only",
        ),
        (
            "names with OptIn",
            |o| {
                o["spec"] = json!({"provider": o["spec"]["provider"], "visibility": "OptIn", "namespaces": ["a"]});
            },
            "spec.namespaces",
            "visibility Selected only",
        ),
        (
            "Selected by nothing",
            |o| drop(o["spec"].as_object_mut().map(|spec| spec.remove("namespaceSelector"))),
            "spec.visibility",
            "needs spec.namespaceSelector or spec.namespaces",
        ),
        (
            "a long name with OptIn",
            |o| {
                o["spec"] = json!({"provider": o["spec"]["provider"], "visibility": "OptIn"});
                o["metadata"]["name"] = "n".repeat(57).into();
            },
            "metadata.name",
            "at most 56 characters",
        ),
        (
            "an empty selector",
            |o| o["spec"]["namespaceSelector"] = json!({}),
            "spec.namespaceSelector",
            "at least 1 properties",
        ),
        (
            "an expression without values",
            |o| o["spec"]["namespaceSelector"] = json!({"matchExpressions": [{"key": "a", "operator": "In"}]}),
            "spec.namespaceSelector.matchExpressions[0].values",
            "In and NotIn need values",
        ),
        ("no target at all", |o| o["spec"]["maxTargets"] = 0.into(), "spec.maxTargets", "greater than or equal to 1"),
        (
            "a pattern of paths",
            |o| o["spec"]["excludeNamespaces"] = json!(["a/*"]),
            "spec.excludeNamespaces[0]",
            "should match",
        ),
    ];
    for (name, change, field, words) in cases {
        let mut object = json!({
            "apiVersion": "regcred.dev/v1alpha1", "kind": "ClusterRegistryConnection", "metadata": {"name": "images"},
            "spec": wide.spec(),
        });
        change(&mut object);
        let message = refusal(&wide, &object).await?;
        ensure!(message.contains(field) && message.contains(words), "{name}: {message}");
    }
    Ok(())
}
