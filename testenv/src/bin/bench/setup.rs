//! What is in the cluster before anything is measured: an installation, and the account of the bare loop.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::json;

use crate::operator::NAMESPACE;
use crate::stage::ran;

/// The account of the operator, as it is installed.
pub const OPERATOR: &str = "regcred";

/// The account of the bare loop.
pub const FLOOR: &str = "bare-loop";

/// Installs the operator, whose Deployment has no node to run on, and waits until the API server serves the kinds.
pub async fn install(kubectl: &Path, kubeconfig: &Path, folder: &Path) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the crate lies in the repository")?;
    for arguments in [
        &["apply", "--filename", "deploy/install.yaml"][..],
        &["wait", "--for", "condition=Established", "--timeout", "30s", "--filename", "crds/"],
    ] {
        let mut command = Command::new(kubectl);
        command.args(arguments).current_dir(root).env("KUBECONFIG", kubeconfig).env("HOME", folder);
        ran("kubectl", &command, folder).await?;
    }
    Ok(())
}

/// The loop may do everything, and no policy looks at what it writes.
pub async fn open_account(client: &Client) -> Result<()> {
    let parameters = PostParams::default();
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), NAMESPACE);
    let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": FLOOR}}))?;
    accounts.create(&parameters, &account).await.context("make a ServiceAccount")?;
    let binding: ClusterRoleBinding = serde_json::from_value(json!({
        "metadata": {"name": format!("bench-{FLOOR}")},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "namespace": NAMESPACE, "name": FLOOR}],
    }))?;
    Api::all(client.clone()).create(&parameters, &binding).await.context("give a ServiceAccount its rights")?;
    Ok(())
}
