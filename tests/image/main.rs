//! The image that `make image` has built, as a node would run it.
//!
//! Not a part of `make test`: the release build takes minutes. `make test-image` builds the image first, and `.ci/run` runs
//! it; what can be said of an image without building the program stands in `tests/it/image.rs`.

#![allow(clippy::unwrap_used, clippy::panic)]

mod unpacked;

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use testenv::{
    ControlPlane, Helm, Scratch, eventually,
    image::{Architecture, LABELS, PROGRAM, Program, ROOTS, USER, private_folders},
    process::Process,
};

use crate::unpacked::Unpacked;

const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn it_holds_a_static_program_and_the_authorities_and_no_path_of_this_machine() -> Result<()> {
    let image = Unpacked::pull().await?;
    assert_eq!(image.files, [ROOTS, PROGRAM]);
    let architecture = Architecture::own().context("a machine that images are made for")?;
    Program::read(&image.path(PROGRAM), architecture, &private_folders())?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_who_runs_what_and_starts_no_shell() -> Result<()> {
    let image = Unpacked::pull().await?;
    let config = &image.config["config"];
    assert_eq!(config["User"], USER);
    assert_eq!(config["Entrypoint"], serde_json::json!(["/regcred"]));
    assert!(config["Cmd"].is_null() && config["Env"].is_null(), "{config}");
    for (name, value) in LABELS {
        assert_eq!(config["Labels"][name], value);
    }
    assert_eq!(image.config["os"], "linux");
    assert_eq!(image.config["architecture"], Architecture::own().context("an architecture")?.name());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn its_program_needs_no_other_file_and_no_variable() -> Result<()> {
    let image = Unpacked::pull().await?;
    // But for the one in which `chroot` is looked for.
    let path = std::env::var_os("PATH").context("a PATH")?;
    let output = image.command(&["--version"]).env_clear().env("PATH", path).output()?;
    let said = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    assert_eq!(said, format!("regcred {}\n", env!("CARGO_PKG_VERSION")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn its_operator_finds_the_authorities_and_becomes_ready() -> Result<()> {
    let (image, plane) = tokio::try_join!(Unpacked::pull(), ControlPlane::start())?;
    let helm = Helm::find().await?.with(&plane.kubeconfig_path());
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/regcred");
    helm.run(&["install", "regcred", chart, "--namespace", "regcred-system", "--create-namespace"]).await?;
    let account = plane.service_account_kubeconfig("regcred-system", "regcred").await?;
    image.add("kubeconfig", &std::fs::read(account)?)?;

    let scratch = Scratch::new("image")?;
    let mut command = image.command(&["run"]);
    command.env_clear().env("PATH", std::env::var_os("PATH").context("a PATH")?);
    command.env("KUBECONFIG", "/kubeconfig").env("REGCRED_METRICS_ADDR", "127.0.0.1:0").env("RUST_LOG", "info");
    let operator = Process::spawn("regcred", &command, &scratch.path().join("regcred.log"))?;
    let log = || std::fs::read_to_string(operator.log()).unwrap_or_default();
    let address: SocketAddr = eventually("the metrics address in the log", DEADLINE, async || {
        let log = log();
        let rest = log.split_once("metrics_addr=").and_then(|(_, rest)| rest.split([' ', '\n']).next());
        Ok(rest.map(str::parse).transpose()?)
    })
    .await
    .with_context(log)?;
    eventually("/readyz", DEADLINE, async || {
        let answer = unpacked::get(address, "/readyz").await?;
        Ok(answer.starts_with("HTTP/1.1 200 ").then_some(()))
    })
    .await
    .with_context(log)?;
    operator.signal_term()?;
    ensure!(operator.wait(DEADLINE)?.is_some_and(|status| status.success()), "it did not end well: {}", log());
    // It says so when there are none.
    ensure!(!log().contains("root certificates"), "{}", log());
    Ok(())
}
