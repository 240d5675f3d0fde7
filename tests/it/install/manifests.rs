//! The manifests in `deploy/` are what the chart renders, and install as they are.

use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::json;
use testenv::{Helm, tools::Tool};

use super::cluster::Cluster;
use crate::shared::{CHART, OPERATOR_NAMESPACE};

/// What the manifests begin with: the chart leaves the namespace to Helm.
const HEAD: &str = "\
# Installs regcred without Helm: kubectl apply -f, or -k with the kustomization beside it. Rendered from charts/regcred.
apiVersion: v1
kind: Namespace
metadata:
  name: regcred-system
  labels:
    app.kubernetes.io/name: regcred
    pod-security.kubernetes.io/enforce: restricted
";

fn path(relative: &str) -> String {
    format!("{}/{relative}", env!("CARGO_MANIFEST_DIR"))
}

/// What the chart renders with these arguments, without the remarks of Helm.
async fn rendered(arguments: &[&str]) -> Result<String> {
    let template = ["template", "regcred", CHART, "--namespace", OPERATOR_NAMESPACE];
    let text = Helm::find().await?.run(&[&template, arguments].concat()).await?;
    let objects = text.split("---\n").map(|object| {
        let lines = object.lines().filter(|line| !line.starts_with("# Source: ") && !line.trim().is_empty());
        lines.map(|line| format!("{line}\n")).collect::<String>()
    });
    // Helm keeps what a template says of objects that it does not make.
    let is_object = |object: &String| object.lines().any(|line| line.starts_with("kind: "));
    Ok(objects.filter(is_object).collect::<Vec<_>>().join("---\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn they_install_as_they_are_with_kubectl_and_by_kustomize() -> Result<()> {
    for arguments in
        [&["apply", "-f", "deploy/install.yaml", "-f", "deploy/autolink.yaml"][..], &["apply", "-k", "deploy"]]
    {
        let cluster = Cluster::start().await?;
        let program = tokio::task::spawn_blocking(|| testenv::tools::path(Tool::Kubectl)).await??;
        let mut kubectl = Command::new(program);
        kubectl.args(arguments).env_clear().env("HOME", "/nowhere").current_dir(env!("CARGO_MANIFEST_DIR"));
        kubectl.env("KUBECONFIG", cluster.plane.kubeconfig_path());
        let output = tokio::task::spawn_blocking(move || kubectl.output()).await??;
        ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        // The manifests do not allow this, and there is no other registry here.
        let pod = cluster.pod_with("regcred-a", &[("REGCRED_ALLOW_LOOPBACK", "1")]).await?;
        cluster.connect_with("images", json!({"autoLinkPattern": null})).await?;
        cluster.ready("images").await?;
        // As docs/install.md says for who wants Helm after all.
        let delivered = cluster.delivered().await?;
        cluster.helm(&["upgrade", "--install", "regcred", CHART, "--take-ownership", "--force-conflicts"]).await?;
        cluster.ready("images").await?;
        pod.end().await?;
        ensure!(cluster.delivered().await? == delivered);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_manifests_are_what_the_chart_renders() -> Result<()> {
    let values = ["--set", "crds.keep=false", "--set", "autoLink.mode=serviceAccount"];
    let text = rendered(&values).await?;
    expectorate::assert_contents(path("deploy/install.yaml"), &format!("{HEAD}---\n{text}"));
    let policy = ["--set", "autoLink.mode=policy", "--show-only", "templates/autolink.yaml"];
    expectorate::assert_contents(path("deploy/autolink.yaml"), &rendered(&policy).await?);
    Ok(())
}
