//! Starts a control plane and a registry, says where they are, and stays until its stdin ends or it is killed.
//!
//! To look around by hand; also the subject of the test that nothing outlives its starter.
#![allow(clippy::print_stdout)]

use testenv::{ControlPlane, Registry};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (plane, registry) = tokio::try_join!(ControlPlane::start(), Registry::start())?;
    let answer = serde_json::json!({
        "kubeconfig": plane.kubeconfig_path(),
        "registry": registry.host(),
        "folders": [plane.folder(), registry.folder()],
        "pids": plane.pids().into_iter().chain(registry.pid()).collect::<Vec<_>>(),
    });
    println!("{answer}");
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}
