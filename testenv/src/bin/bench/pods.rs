//! How long the creation of a Pod takes with so many patterns in its namespace (S9), beside one without a table and one before the
//! policy was there; and once more without an operator.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DynamicObject, PostParams};
use serde_json::{Value, json};
use testenv::tools::{self, Tool};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::cluster::{connection, kind};
use crate::figures::{Check, Figures, Latency, Report};
use crate::stage::{POLL, Stage, ran};

/// How many patterns the namespaces have, one from each connection.
const PATTERNS: [usize; 4] = [0, 1, 20, 100];

/// How many Pods are created in each of them.
const PODS: usize = 100;

/// How many Pods of many containers.
const LARGE_PODS: usize = 20;

/// How many containers these have.
const CONTAINERS: usize = 100;

/// Runs it.
pub async fn run(stage: &mut Stage, report: &mut Report) -> Result<()> {
    for patterns in PATTERNS {
        stage.create_namespace(namespace(patterns), false).await?;
    }
    // The account `default` comes after its namespace, and no Pod can be created before it.
    for patterns in PATTERNS {
        let since = Instant::now();
        while create(stage, patterns, 4).await.is_err() {
            stage.is_in_time(since, "a first Pod")?;
            sleep(POLL).await;
        }
    }
    measure(stage, report, "before the policy was there", false).await?;
    for patterns in PATTERNS {
        for number in 0..patterns {
            connect(stage, patterns, number).await?;
        }
    }
    apply_policy(stage).await?;
    stage.start().await?;
    let since = Instant::now();
    while create(stage, 100, 4).await?.is_empty() {
        stage.is_in_time(since, "a Pod that names a Secret")?;
        sleep(POLL).await;
    }
    measure(stage, report, "with the operator", true).await?;
    stage.kill().await?;
    measure(stage, report, "with the operator stopped", true).await
}

fn namespace(patterns: usize) -> String {
    format!("pods-{patterns:03}")
}

/// A connection whose pattern fits no image but that of the last one.
async fn connect(stage: &Stage, patterns: usize, number: usize) -> Result<()> {
    let path = if number + 1 == patterns { "team" } else { "other" };
    let spec = json!({
        "provider": {"generic": {"registryUrl": "https://registry.example.com", "secretRef": {"name": "login"}}},
        "autoLinkPattern": format!("registry.example.com/{path}-{number:03}/**"),
    });
    let object = connection("RegistryConnection", &format!("images-{number:03}"), spec);
    let connections: Api<DynamicObject> =
        Api::namespaced_with(stage.client.clone(), &namespace(patterns), &kind("RegistryConnection"));
    connections.create(&PostParams::default(), &object).await.context("create a connection")?;
    Ok(())
}

/// A Pod with so many containers, of which the last has the image that fits.
fn pod(patterns: usize, containers: usize) -> Value {
    let last = patterns.saturating_sub(1);
    let image = |number: usize| match number + 1 == containers {
        true => format!("registry.example.com/team-{last:03}/app:v1"),
        false => format!("registry.example.com/elsewhere/app-{number}:v1"),
    };
    let container = |number: usize| json!({"name": format!("c{number}"), "image": image(number)});
    json!({
        "metadata": {"generateName": "pod-"},
        "spec": {"containers": (0..containers).map(container).collect::<Vec<_>>()},
    })
}

/// Creates one; returns the Secrets that it names.
async fn create(stage: &Stage, patterns: usize, containers: usize) -> Result<Vec<String>> {
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), &namespace(patterns));
    let pod = pods.create(&PostParams::default(), &serde_json::from_value(pod(patterns, containers))?).await?;
    let secrets = pod.spec.and_then(|spec| spec.image_pull_secrets).unwrap_or_default();
    Ok(secrets.into_iter().map(|secret| secret.name).collect())
}

/// Creates Pods in all namespaces in turn, so that what else happens on the machine happens to all of them.
async fn measure(stage: &mut Stage, report: &mut Report, when: &str, is_linked: bool) -> Result<()> {
    let mut took: Vec<Vec<f64>> = vec![vec![]; PATTERNS.len()];
    let (mut large, mut linked) = (vec![], 0);
    for number in 0..PODS {
        for (patterns, took) in PATTERNS.into_iter().zip(&mut took) {
            let since = Instant::now();
            linked += create(stage, patterns, 4).await?.len();
            took.push(since.elapsed().as_secs_f64());
        }
        if number < LARGE_PODS {
            let since = Instant::now();
            linked += create(stage, PATTERNS[3], CONTAINERS).await?.len();
            large.push(since.elapsed().as_secs_f64());
        }
    }
    let created = PODS * PATTERNS.len() + LARGE_PODS;
    let mut figures = Figures {
        id: "S9".to_owned(),
        title: format!("{created} Pods, {when}"),
        targets: created,
        ..Figures::default()
    };
    for (patterns, took) in PATTERNS.into_iter().zip(took) {
        let what = format!("creation of a Pod with 4 containers asked until answered, {patterns} patterns");
        figures.latencies.push(Latency::new(&what, took));
    }
    let what = format!("the same with {CONTAINERS} containers, {} patterns", PATTERNS[3]);
    figures.latencies.push(Latency::new(&what, large));
    println!("{}", figures.title);
    for latency in &figures.latencies {
        println!("  {}: p50 {:.1} ms, p99 {:.1} ms", latency.what, latency.p50, latency.p99);
    }
    let expected = if is_linked { PODS * (PATTERNS.len() - 1) + LARGE_PODS } else { 0 };
    report.checks.push(Check::new(&format!("S9 Pods that name the Secret, {when}"), expected..=expected, linked));
    report.scenarios.push(figures);
    Ok(())
}

/// Applies the policy as it is shipped.
async fn apply_policy(stage: &Stage) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the crate lies in the repository")?;
    let kubectl = spawn_blocking(|| tools::path(Tool::Kubectl)).await??;
    let mut command = Command::new(kubectl);
    command.args(["apply", "--filename", "deploy/autolink.yaml"]).current_dir(root);
    command.env("KUBECONFIG", stage.plane.kubeconfig_path()).env("HOME", stage.folder());
    ensure!(root.join("deploy/autolink.yaml").is_file(), "there is no deploy/autolink.yaml");
    ran("kubectl", &command, stage.folder()).await
}
