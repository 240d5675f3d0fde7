//! The third part of the story: one connection for fifty namespaces, of which each goes its own way.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, PostParams},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    DEADLINE, operator,
    stage::Stage,
    story::{AUTHORITY, PASSWORD, REGISTRY, USER},
    told,
};

const EXAMPLE: &str = "platform.yaml";
const SOURCE: &str = "platform-login";
const CONNECTION: &str = "platform-images";

/// How many namespaces there are.
const COUNT: usize = 50;

/// How often it is looked whether something has happened: finer than what is measured.
const POLL: Duration = Duration::from_millis(2);

/// Tells it; `number` is that of its first step. Returns the number of the step after it.
pub async fn tell(stage: &Stage, number: usize) -> Result<usize> {
    fifty_are_served(stage, number).await?;
    one_comes_and_one_goes(stage, number + 1).await?;
    Ok(number + 2)
}

async fn fifty_are_served(stage: &Stage, number: usize) -> Result<()> {
    told::step(number, "One connection for fifty namespaces");
    let (client, kubectl, home) = (stage.plane.client()?, &stage.kubectl, operator::NAMESPACE);
    let host = stage.registry.host();
    let literals = [format!("--from-literal=username={USER}"), format!("--from-literal=password={PASSWORD}")];
    kubectl.show(&["create", "secret", "generic", SOURCE, "--namespace", home, &literals[0], &literals[1]]).await?;
    kubectl.show(&["label", "secret", SOURCE, "--namespace", home, "regcred.dev/source=true"]).await?;
    let bound = format!("regcred.dev/registry-host={host}");
    kubectl.show(&["annotate", "secret", SOURCE, "--namespace", home, &bound]).await?;
    let certificate = format!("--from-file={}", stage.authority.display());
    kubectl.show(&["create", "configmap", AUTHORITY, "--namespace", home, &certificate]).await?;

    try_join_all((0..COUNT).map(|number| create(&client, number))).await?;
    told::fact(&format!("created {} to {} with the label images=platform", name(0), name(COUNT - 1)));
    kubectl.show(&["label", "namespace", &name(1), "regcred.dev/exclude=true"]).await?;
    kubectl.show(&["create", "secret", "generic", CONNECTION, "--namespace", &name(2)]).await?;

    let url = format!("registryUrl: https://{REGISTRY}");
    let trust = format!(
        "registryUrl: https://{host}\n      caRef: {{kind: ConfigMap, name: {AUTHORITY}}}\n      trustedTokenHosts: [\"{}\"]",
        stage.token_host()
    );
    let file = stage.example(EXAMPLE, &[(&url, &trust)])?;
    told::fact(&format!("the file is examples/{EXAMPLE} with the hosts and the authority of this machine"));
    let ran = kubectl.show(&["apply", "--filename", file.to_str().context("a path in UTF-8")?]).await?;
    // One refuses, and one has a Secret of its own.
    let wanted = COUNT - 2;
    let at =
        until("all to be served", async || Ok((current(&client).await? == Some(wanted)).then(Instant::now))).await?;
    told::fact(&format!(
        "{wanted} of {} selected namespaces have it, {} after kubectl was started",
        COUNT - 1,
        told::milliseconds(at.duration_since(ran.started))
    ));
    kubectl.show(&["get", "cregconn", "--output", "wide"]).await?;
    let status = status(&client).await?;
    told::lines(&format!("targets: {}", status["targets"]));
    ensure!(secret(&client, 1).await?.is_none(), "the one that refuses has the Secret");
    let foreign = secret(&client, 2).await?.context("the foreign Secret is gone")?;
    ensure!(foreign.type_.as_deref() == Some("Opaque"), "the foreign Secret was overwritten");
    Ok(())
}

async fn one_comes_and_one_goes(stage: &Stage, number: usize) -> Result<()> {
    told::step(number, "A namespace that comes, and one that does not want it any more");
    let (client, kubectl) = (stage.plane.client()?, &stage.kubectl);
    let started = Instant::now();
    create(&client, COUNT).await?;
    let at = until("the new one to be served", async || Ok(secret(&client, COUNT).await?.is_some().then(Instant::now)))
        .await?;
    let took = told::milliseconds(at.duration_since(started));
    told::fact(&format!("{} has it {took} after its creation was asked for", name(COUNT)));
    let ran = kubectl.show(&["label", "namespace", &name(3), "images-"]).await?;
    let at = until("the Secret to go", async || Ok(secret(&client, 3).await?.is_none().then(Instant::now))).await?;
    let took = told::milliseconds(at.saturating_duration_since(ran.started));
    told::fact(&format!("{} has lost it {took} after kubectl was started", name(3)));
    kubectl.show(&["get", "secrets", "--all-namespaces", "--field-selector", "metadata.namespace=team-04"]).await?;
    Ok(())
}

fn name(number: usize) -> String {
    format!("team-{number:02}")
}

async fn create(client: &Client, number: usize) -> Result<()> {
    let object = json!({"metadata": {"name": name(number), "labels": {"images": "platform"}}});
    let namespace: Namespace = serde_json::from_value(object)?;
    Api::all(client.clone()).create(&PostParams::default(), &namespace).await?;
    Ok(())
}

async fn secret(client: &Client, number: usize) -> Result<Option<Secret>> {
    Ok(Api::namespaced(client.clone(), &name(number)).get_opt(CONNECTION).await?)
}

async fn status(client: &Client) -> Result<Value> {
    let kind = GroupVersionKind::gvk("regcred.dev", "v1alpha1", "ClusterRegistryConnection");
    let connections: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::from_gvk(&kind));
    Ok(connections.get_status(CONNECTION).await?.data["status"].clone())
}

/// How many targets hold the credential.
async fn current(client: &Client) -> Result<Option<usize>> {
    Ok(status(client).await?["targets"]["current"].as_u64().and_then(|count| usize::try_from(count).ok()))
}

/// Waits until it has happened, and says when.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let started = Instant::now();
    while started.elapsed() < DEADLINE {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        sleep(POLL).await;
    }
    bail!("waited {} s for {what}", DEADLINE.as_secs())
}
