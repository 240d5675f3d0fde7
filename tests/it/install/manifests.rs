//! The manifests in `deploy/` are what the chart renders, and install as they are.

use anyhow::Result;
use testenv::Helm;

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
async fn the_manifests_are_what_the_chart_renders() -> Result<()> {
    let values = ["--set", "crds.keep=false", "--set", "autoLink.mode=serviceAccount"];
    let text = rendered(&values).await?;
    expectorate::assert_contents(path("deploy/install.yaml"), &format!("{HEAD}---\n{text}"));
    let policy = ["--set", "autoLink.mode=policy", "--show-only", "templates/autolink.yaml"];
    expectorate::assert_contents(path("deploy/autolink.yaml"), &rendered(&policy).await?);
    Ok(())
}
