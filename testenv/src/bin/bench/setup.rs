//! What is in the cluster before anything is measured: the kinds, and the accounts of those who are measured.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::json;

use crate::operator::NAMESPACE;
use crate::stage::ran;

/// The account of the operator.
pub const OPERATOR: &str = "regcred";

/// The account of the bare loop.
pub const FLOOR: &str = "bare-loop";

/// Defines the kinds, and waits until the API server serves them.
pub async fn define_kinds(kubectl: &Path, kubeconfig: &Path, folder: &Path) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the crate lies in the repository")?;
    for arguments in [
        &["apply", "--filename", "crds/"][..],
        &["wait", "--for", "condition=Established", "--timeout", "30s", "--filename", "crds/"],
    ] {
        let mut command = Command::new(kubectl);
        command.args(arguments).current_dir(root).env("KUBECONFIG", kubeconfig).env("HOME", folder);
        ran("kubectl", &command, folder).await?;
    }
    Ok(())
}

/// Both may do everything: what the operator may do is not what is measured, and that the loop may do the same is fair.
pub async fn open_accounts(client: &Client) -> Result<()> {
    let parameters = PostParams::default();
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": NAMESPACE}}))?;
    Api::all(client.clone()).create(&parameters, &namespace).await.context("make the operator's namespace")?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), NAMESPACE);
    for name in [OPERATOR, FLOOR] {
        let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        accounts.create(&parameters, &account).await.context("make a ServiceAccount")?;
        let binding: ClusterRoleBinding = serde_json::from_value(json!({
            "metadata": {"name": format!("bench-{name}")},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "namespace": NAMESPACE, "name": name}],
        }))?;
        Api::all(client.clone()).create(&parameters, &binding).await.context("give a ServiceAccount its rights")?;
    }
    Ok(())
}
