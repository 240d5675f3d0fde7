//! The files for Argo CD do what their readers expect of them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::ConfigMap},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::Value;
use testenv::namespace;

use super::CONFIG;
use crate::{docs::root, scenario::shared};

#[tokio::test(flavor = "multi_thread")]
async fn the_health_checks_are_added_to_how_argo_cd_is_configured_already() -> Result<()> {
    let client = shared().await?.plane.client()?;
    let namespace = namespace(&client, "argocd").await?;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let own = BTreeMap::from([("url".to_owned(), "https://argocd.example.com".to_owned())]);
    let metadata = ObjectMeta { name: Some("argocd-cm".into()), ..ObjectMeta::default() };
    let before = ConfigMap { metadata, data: Some(own.clone()), ..ConfigMap::default() };
    maps.create(&PostParams::default(), &before).await?;

    // As `kubectl patch --patch-file` does, but for the namespace.
    let mut patch: Value = serde_saphyr::from_str(&std::fs::read_to_string(root().join(CONFIG))?)?;
    patch["metadata"]["namespace"] = namespace.into();
    let after = maps.patch("argocd-cm", &PatchParams::default(), &Patch::Strategic(&patch)).await?;
    let mut expected: BTreeMap<String, String> = serde_json::from_value(patch["data"].clone())?;
    assert_eq!(expected.len(), 2);
    expected.extend(own);
    assert_eq!(after.data, Some(expected));
    Ok(())
}

#[test]
fn in_the_example_each_wave_needs_what_the_one_before_makes() -> Result<()> {
    let text = std::fs::read_to_string(root().join("deploy/argocd/sync-waves.yaml"))?;
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text)?;
    let waves = objects.iter().map(|object| {
        let wave = object["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"].as_str();
        (object["kind"].as_str().unwrap_or_default(), wave.unwrap_or_default())
    });
    assert_eq!(waves.collect::<Vec<_>>(), [("Secret", "0"), ("RegistryConnection", "1"), ("Deployment", "2")]);
    let [login, connection, deployment] = objects.as_slice() else { unreachable!() };
    assert_eq!(connection["spec"]["provider"]["generic"]["secretRef"]["name"], login["metadata"]["name"]);
    let deployment: Deployment = serde_json::from_value(deployment.clone())?;
    let pod = deployment.spec.and_then(|spec| spec.template.spec).context("no Pod")?;
    let secrets: Vec<_> = pod.image_pull_secrets.unwrap_or_default().into_iter().map(|secret| secret.name).collect();
    assert_eq!(serde_json::to_value(secrets)?, serde_json::json!([connection["metadata"]["name"]]));
    Ok(())
}
