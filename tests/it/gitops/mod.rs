//! What Argo CD and Flux make of connections and of the Secrets they deliver.

mod court;
mod files;
mod odd;
mod rows;
mod secrets;

use anyhow::Result;

use crate::docs::root;

/// The health check for Argo CD.
const SCRIPT: &str = "deploy/argocd/health.lua";

/// What installs it.
pub const CONFIG: &str = "deploy/argocd/argocd-cm.yaml";

/// The health check for Argo CD, as it is shipped.
pub fn script() -> Result<String> {
    Ok(std::fs::read_to_string(root().join(SCRIPT))?)
}

/// Whether Argo CD and kstatus mean the same by what they say of an object.
pub fn agree(kstatus: &str, health: &str, is_suspended: bool) -> bool {
    match (kstatus, health) {
        ("Current", "Healthy") => !is_suspended,
        ("Failed", "Degraded") | ("InProgress" | "Terminating", "Progressing") => true,
        // Nothing goes on in what is suspended; kstatus does not know that it is.
        ("Current" | "InProgress", "Suspended") => is_suspended,
        _ => false,
    }
}
