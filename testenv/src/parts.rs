//! The command lines of a control plane's parts, and the files that these name.
//!
//! Says how each part is configured and why; starting them and waiting for them is not done here.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::audit;
use crate::certificates::{Authority, SigningKey};

/// The controllers that run: what deletes namespaces and dependents, makes ServiceAccounts, adds roles to the usual ones, and rolls
/// out Deployments.
const CONTROLLERS: &str = "namespace-controller,serviceaccount-controller,garbage-collector-controller,\
                           clusterrole-aggregation-controller,deployment-controller,replicaset-controller";

/// The user that the API server's own RBAC rules are made for.
pub(crate) const CONTROLLERS_USER: &str = "system:kube-controller-manager";

/// etcd with one member, on `port`.
pub(crate) fn etcd(program: &Path, folder: &Path, port: u16) -> Command {
    let url = format!("http://127.0.0.1:{port}");
    let mut command = Command::new(program);
    command.arg("--data-dir").arg(folder.join("etcd"));
    command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
    // A single member talks to no peer; port 0 because it insists on listening for one.
    command.args(["--listen-peer-urls", "http://127.0.0.1:0", "--log-level", "warn"]);
    // The data is worth nothing after a crash.
    command.arg("--unsafe-no-fsync");
    command
}

/// The API server on `port`, over the etcd on port `store`.
pub(crate) fn apiserver(
    program: &Path,
    folder: &Path,
    (authority, tokens): (&Authority, &SigningKey),
    port: u16,
    store: u16,
    audit_log: &Path,
) -> Result<Command> {
    let file = |name: &str, content: &str| {
        let path = folder.join(name);
        fs::write(&path, content).with_context(|| format!("write {}", path.display())).map(|()| path)
    };
    let names = ["localhost", "kubernetes", "kubernetes.default.svc"];
    let (certificate, key) = authority.server(&names)?.write(folder, "apiserver")?;
    let mut command = Command::new(program);
    for (flag, path) in [
        ("--client-ca-file", file("authority.crt", authority.certificate())?),
        ("--tls-cert-file", certificate),
        ("--tls-private-key-file", key),
        ("--service-account-key-file", file("service-account.pub", &tokens.public)?),
        ("--service-account-signing-key-file", file("service-account.key", &tokens.private)?),
        ("--audit-policy-file", file("audit-policy.json", audit::POLICY)?),
        ("--audit-log-path", audit_log.to_owned()),
    ] {
        command.arg(flag).arg(path);
    }
    command.arg(format!("--secure-port={port}"));
    command.arg(format!("--etcd-servers=http://127.0.0.1:{store}"));
    command.args([
        // In megabytes: never moved aside, because what is asserted on must stay in one file.
        "--audit-log-maxsize=100000",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.0.0.0/24",
        // There is nobody to reach the API server through its Service, and loopback is no valid endpoint.
        "--endpoint-reconciler-type=none",
    ]);
    Ok(command)
}

/// The controllers, under the identity in `kubeconfig`.
pub(crate) fn controllers(program: &Path, kubeconfig: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg("--kubeconfig").arg(kubeconfig);
    command.arg(format!("--controllers={CONTROLLERS}"));
    command.args(["--use-service-account-credentials", "--leader-elect=false", "--secure-port=0"]);
    // Unthrottled: the deletion of a namespace sends some sixty requests.
    command.args(["--kube-api-qps=1000", "--kube-api-burst=2000"]);
    command
}
