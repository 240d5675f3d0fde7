//! The API server is another one than before: Pods are linked from the first on.

use std::time::Instant;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::{
    Api,
    api::{DynamicObject, PostParams},
};
use serde_json::json;
use testenv::{ControlPlane, eventually, namespace};

use super::pod;
use crate::{
    process::{ON_LOOPBACK, Running, installed_on},
    scenario::DEADLINE,
};

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_of_the_api_server_the_first_pod_is_linked_and_the_operator_goes_on() -> Result<()> {
    let mut plane = ControlPlane::start().await?;
    let client = plane.client()?;
    let operator = installed_on(&plane, &[]).await?;
    let namespace = namespace(&client, "restart").await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &namespace);
    eventually("the default account", DEADLINE, async || Ok(accounts.get_opt("default").await?)).await?;
    let running = Running::start(&operator, "info", &ON_LOOPBACK)?;
    running.ready().await?;
    let connection: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "regcred.dev/v1alpha1", "kind": "RegistryConnection", "metadata": {"name": "images"},
        "spec": {
            "provider": {"generic": {"registryUrl": "https://r.example", "secretRef": {"name": "login"}}},
            "autoLinkPattern": "r.example/*", "serviceAccounts": ["later"],
        },
    }))?;
    let kind = kube::api::ApiResource::erase::<regcred::api::RegistryConnection>(&());
    let connections: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &kind);
    connections.create(&PostParams::default(), &connection).await?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let object: Pod = serde_json::from_value(json!({"metadata": {"name": "app"}, "spec": pod("r.example/app")}))?;
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let admitted = async || {
        let pod = pods.create(&dry_run, &object).await?;
        let secrets = pod.spec.and_then(|spec| spec.image_pull_secrets).unwrap_or_default();
        Ok::<_, kube::Error>(secrets.into_iter().map(|secret| secret.name).collect::<Vec<_>>())
    };
    eventually("a linked Pod", DEADLINE, async || Ok((admitted().await? == ["images"]).then_some(()))).await?;

    for _ in 0..3 {
        plane.restart_apiserver().await?;
        let since = Instant::now();
        let (first, refused) = eventually("the first Pod", DEADLINE, async || match admitted().await {
            Ok(named) => Ok(Some((named, None))),
            // As long as it starts, it says nothing about Pods.
            Err(kube::Error::Api(status)) if status.code == 403 && status.message.contains("not allowed") => {
                Ok(Some((vec![], Some(status.message.clone()))))
            }
            Err(error) => Err(error.into()),
        })
        .await?;
        println!("the first Pod {:?} after the start: {first:?}", since.elapsed());
        ensure!(refused.is_none(), "{refused:?}");
        ensure!(first == ["images"], "the first Pod names {first:?}");
    }
    let later: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": "later"}}))?;
    accounts.create(&PostParams::default(), &later).await?;
    eventually("the account to be linked", DEADLINE, async || {
        let named = accounts.get("later").await?.image_pull_secrets.unwrap_or_default();
        Ok((!named.is_empty()).then_some(()))
    })
    .await
}
