//! Kubeconfigs for one control plane. Everything is embedded, so that a file can be moved and handed out.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use k8s_openapi::ByteString;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};

use crate::certificates::Identity;

/// How a client says who it is.
#[derive(Clone, Debug)]
pub enum Login<'a> {
    /// By a client certificate.
    Certificate(&'a Identity),
    /// By a bearer token.
    Token(&'a str),
}

/// A kubeconfig for the API server on `port` of loopback, whose certificate `authority` (PEM) has signed.
///
/// # Errors
/// Never in practice; the file is put together from JSON.
pub fn kubeconfig(port: u16, authority: &str, login: &Login<'_>) -> Result<Kubeconfig> {
    let user = match login {
        Login::Certificate(identity) => json!({
            "client-certificate-data": base64(&identity.certificate)?,
            "client-key-data": base64(&identity.key)?,
        }),
        Login::Token(token) => json!({ "token": token }),
    };
    let cluster = json!({
        "server": format!("https://127.0.0.1:{port}"),
        "certificate-authority-data": base64(authority)?,
    });
    serde_json::from_value(json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "testenv", "cluster": cluster }],
        "users": [{ "name": "testenv", "user": user }],
        "contexts": [{ "name": "testenv", "context": { "cluster": "testenv", "user": "testenv" } }],
        "current-context": "testenv",
    }))
    .context("put a kubeconfig together")
}

/// Writes `kubeconfig` to `path`, as JSON, which every reader of YAML understands.
///
/// # Errors
/// The file cannot be written.
pub fn write(kubeconfig: &Kubeconfig, path: &Path) -> Result<()> {
    fs::write(path, serde_json::to_vec_pretty(kubeconfig)?).with_context(|| format!("write {}", path.display()))
}

/// A client configuration from a kubeconfig, without kube's own retries: who tests wants to see every answer.
///
/// # Errors
/// The kubeconfig does not hold together.
pub async fn config(kubeconfig: Kubeconfig) -> Result<kube::Config> {
    let options = KubeConfigOptions::default();
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.context("read a kubeconfig")?;
    config.default_retry = false;
    config.proxy_url = None;
    Ok(config)
}

fn base64(text: &str) -> Result<Value> {
    serde_json::to_value(ByteString(text.as_bytes().to_vec())).context("encode in base64")
}
