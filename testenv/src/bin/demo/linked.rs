//! The fourth part of the story: a Deployment whose Pods name the Secret although nobody wrote so, and a Pod that was there before
//! its connection.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Secret, ServiceAccount};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, PostParams},
};
use serde_json::json;

use crate::{
    stage::Stage,
    story::{AUTHORITY, PASSWORD, REGISTRY, USER, image},
    told,
    wide::until,
};

const EXAMPLE: &str = "linked.yaml";
const NAMESPACE: &str = "market";
const SOURCE: &str = "registry-login";
const CONNECTION: &str = "market-images";
const DEPLOYMENT: &str = "stall";
/// A ServiceAccount that the connection does not name.
const ACCOUNT: &str = "visitor";

/// Tells it; `number` is that of its first step. Returns the number of the step after it.
pub async fn tell(stage: &Stage, number: usize) -> Result<usize> {
    a_pod_without_a_connection(stage, number).await?;
    a_connection_without_a_login(stage, number + 1).await?;
    the_login(stage, number + 2).await?;
    Ok(number + 3)
}

async fn a_pod_without_a_connection(stage: &Stage, number: usize) -> Result<()> {
    told::step(number, "A Deployment of a private image, in a namespace without a connection");
    let kubectl = &stage.kubectl;
    kubectl.show(&["apply", "--filename", "deploy/autolink.yaml"]).await?;
    kubectl.show(&["create", "namespace", NAMESPACE]).await?;
    let client = stage.plane.client()?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), NAMESPACE);
    until("the default account", async || Ok(accounts.get_opt("default").await?.map(drop))).await?;
    let labels = json!({"app": DEPLOYMENT});
    let container = json!({"name": "web", "image": image(&stage.registry.host())});
    let template = json!({"metadata": {"labels": labels}, "spec": {"containers": [container]}});
    let object = json!({
        "metadata": {"name": DEPLOYMENT},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    });
    let deployment: Deployment = serde_json::from_value(object)?;
    Api::namespaced(client.clone(), NAMESPACE).create(&PostParams::default(), &deployment).await?;
    let pod = until("its Pod", async || Ok(pods(&client).await?.pop())).await?;
    ensure!(named(&pod).is_empty(), "the Pod names {:?}", named(&pod));
    told::fact(&format!(
        "Pod {} names no Secret: it would never pull {}",
        pod.name_any(),
        image(&stage.registry.host())
    ));
    Ok(())
}

async fn a_connection_without_a_login(stage: &Stage, number: usize) -> Result<()> {
    told::step(number, "A connection whose login is not there yet, and the Pods from then on");
    let client = stage.plane.client()?;
    let host = stage.registry.host();
    let kubectl = &stage.kubectl;
    let certificate = format!("--from-file={}", stage.authority.display());
    kubectl.show(&["create", "configmap", AUTHORITY, "--namespace", NAMESPACE, &certificate]).await?;
    let url = format!("registryUrl: https://{REGISTRY}");
    let trust = format!(
        "registryUrl: https://{host}\n      caRef: {{kind: ConfigMap, name: {AUTHORITY}}}\n      trustedTokenHosts: [\"{}\"]",
        stage.token_host()
    );
    let pattern = (format!("{REGISTRY}/shop/*"), format!("{host}/shop/*"));
    let file = stage.example(EXAMPLE, &[(&url, &trust), (&pattern.0, &pattern.1)])?;
    told::fact(&format!("the file is examples/{EXAMPLE} with the hosts and the authority of this machine"));
    let file = file.to_str().context("a path in UTF-8")?;
    kubectl.show(&["apply", "--namespace", NAMESPACE, "--filename", file]).await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), NAMESPACE);
    until("the default account to be linked", async || {
        let names = accounts.get("default").await?.image_pull_secrets.unwrap_or_default();
        Ok(names.iter().any(|secret| secret.name == CONNECTION).then_some(()))
    })
    .await?;
    kubectl
        .show(&[
            "get",
            "serviceaccount",
            "default",
            "--namespace",
            NAMESPACE,
            "--output",
            "jsonpath={.imagePullSecrets}",
        ])
        .await?;
    kubectl
        .show(&["get", "configmap", "regcred-autolink", "--namespace", NAMESPACE, "--output", "jsonpath={.data}"])
        .await?;
    let before = pods(&client).await?;
    ensure!(before.iter().all(|pod| named(pod).is_empty()), "a Pod that was there has changed");
    kubectl.show(&["delete", "pods", "--all", "--namespace", NAMESPACE, "--wait=false"]).await?;
    let is_new = |pod: &Pod| before.iter().all(|old| old.metadata.uid != pod.metadata.uid);
    let pod = until("another Pod", async || Ok(pods(&client).await?.into_iter().find(|pod| is_new(pod)))).await?;
    ensure!(named(&pod) == [CONNECTION], "the Pod names {:?}", named(&pod));
    told::fact(&format!(
        "Pod {} names Secret {CONNECTION}, which nobody wrote there and which does not exist yet",
        pod.name_any()
    ));
    a_pod_of_an_account_that_names_nothing(stage).await?;
    kubectl.show(&["get", "regconn", "--namespace", NAMESPACE]).await?;
    Ok(())
}

/// What the image alone does.
async fn a_pod_of_an_account_that_names_nothing(stage: &Stage) -> Result<()> {
    let (client, kubectl) = (stage.plane.client()?, &stage.kubectl);
    kubectl.show(&["create", "serviceaccount", ACCOUNT, "--namespace", NAMESPACE]).await?;
    let image = image(&stage.registry.host());
    let container = json!({"name": "try", "image": image});
    let spec = json!({"serviceAccountName": ACCOUNT, "containers": [container]});
    let object: Pod = serde_json::from_value(json!({"metadata": {"name": "try"}, "spec": spec}))?;
    let pods: Api<Pod> = Api::namespaced(client, NAMESPACE);
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    // The API server looks for new policies every second.
    until("the policy to be heeded", async || {
        let pod = pods.create(&dry_run, &object).await?;
        Ok((named(&pod) == [CONNECTION]).then_some(()))
    })
    .await?;
    let (image, account) = (format!("--image={image}"), format!(r#"{{"spec":{{"serviceAccountName":"{ACCOUNT}"}}}}"#));
    let run = ["run", "try", &image, "--namespace", NAMESPACE, "--overrides", &account, "--dry-run=server"];
    kubectl.show(&[&run[..], &["--output", "jsonpath={.spec.imagePullSecrets}"]].concat()).await?;
    told::fact(&format!("a Pod of account {ACCOUNT}, which names no Secret, gets it by its image"));
    Ok(())
}

async fn the_login(stage: &Stage, number: usize) -> Result<()> {
    told::step(number, "The login, and the pull that the Pod was waiting for");
    let client = stage.plane.client()?;
    let literals = [format!("--from-literal=username={USER}"), format!("--from-literal=password={PASSWORD}")];
    let create = ["create", "secret", "generic", SOURCE, "--namespace", NAMESPACE, &literals[0], &literals[1]];
    let ran = stage.kubectl.show(&create).await?;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
    let secret = until("the Secret", async || Ok(secrets.get_opt(CONNECTION).await?)).await?;
    let took = told::milliseconds(Instant::now().saturating_duration_since(ran.started));
    told::fact(&format!("Secret {CONNECTION} is there {took} after kubectl was started"));
    let config = secret.data.as_ref().and_then(|data| data.get(".dockerconfigjson")).context("no docker config")?;
    let image = image(&stage.registry.host());
    let pulled = stage.registry.crane().pull(&image, &config.0).await?;
    told::fact(&format!("pulled {image} with what the Pod names: {}", pulled.digest));
    let about = ["regconn", CONNECTION, "--namespace", NAMESPACE];
    for condition in ["condition=Ready", "condition=Linked"] {
        stage.kubectl.show(&[&["wait", "--for", condition, "--timeout", "30s"], &about[..]].concat()).await?;
    }
    let conditions = "jsonpath={range .status.conditions[*]}{.type}={.status} {.reason}: {.message}{'\\n'}{end}";
    stage.kubectl.show(&[&["get"], &about[..], &["--output", conditions]].concat()).await?;
    Ok(())
}

async fn pods(client: &Client) -> Result<Vec<Pod>> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    Ok(pods.list(&ListParams::default().labels(&format!("app={DEPLOYMENT}"))).await?.items)
}

/// The Secrets that a Pod names.
fn named(pod: &Pod) -> Vec<&str> {
    let secrets = pod.spec.iter().flat_map(|spec| spec.image_pull_secrets.iter().flatten());
    secrets.map(|secret| secret.name.as_str()).collect()
}
