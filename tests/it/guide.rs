//! The commands of the pages for users, run as they stand there with the real `kubectl`.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use testenv::{
    Scratch, eventually,
    tools::{self, Tool},
};
use tokio::task::spawn_blocking;

use crate::{
    docs::{Fence, fences, root},
    scenario::{DEADLINE, PASSWORD, Scenario},
};

/// How long one fence may take, in seconds; the commands in it have shorter limits of their own.
const LIMIT: &str = "150";

/// A terminal in the namespace of a scenario.
struct Terminal {
    folder: Scratch,
}

impl Terminal {
    async fn open(scenario: &Scenario) -> Result<Self> {
        let folder = Scratch::new("guide")?;
        let program = spawn_blocking(|| tools::path(Tool::Kubectl)).await??;
        std::os::unix::fs::symlink(program, folder.path().join("kubectl"))?;
        let mut kubeconfig = scenario.shared.plane.kubeconfig();
        for context in &mut kubeconfig.contexts {
            context.context.as_mut().context("an empty context")?.namespace = Some(scenario.namespace.clone());
        }
        testenv::kubeconfig::write(&kubeconfig, &folder.path().join("kubeconfig"))?;
        Ok(Self { folder })
    }

    /// Runs lines as a user would type them; what they print.
    async fn run(&self, lines: &str) -> Result<String> {
        let folder: PathBuf = self.folder.path().to_owned();
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", folder.display());
        let text = lines.to_owned();
        let output = spawn_blocking(move || {
            Command::new("timeout")
                .args([LIMIT, "bash", "-euc", &text])
                .current_dir(&folder)
                .env_clear()
                .env("PATH", path)
                .env("HOME", &folder)
                .env("KUBECONFIG", folder.join("kubeconfig"))
                .stdin(Stdio::null())
                .output()
        })
        .await??;
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "{lines}: {said}");
        Ok(said)
    }
}

/// The fences of a page, with what its reader is to replace replaced.
fn page(scenario: &Scenario, path: &Path) -> Result<Vec<Fence>> {
    let host = scenario.shared.registry.host();
    let text = std::fs::read_to_string(path)?
        .replace("https://registry.example.com", &format!("http://{host}"))
        .replace("registry.example.com", &host)
        .replace("robot", &scenario.namespace)
        .replace("change-me", PASSWORD);
    Ok(fences(&text)?.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guide_from_nothing_to_a_pod_can_be_followed_word_by_word() -> Result<()> {
    let mut scenario = Scenario::start("guide").await?;
    // The reader of the guide writes one with kubectl.
    scenario.tried_again = 1;
    // And has a namespace in which Pods can be.
    let accounts: Api<ServiceAccount> = Api::namespaced(scenario.client.clone(), &scenario.namespace);
    eventually("the ServiceAccount `default`", DEADLINE, async || Ok(accounts.get_opt("default").await?)).await?;
    let terminal = Terminal::open(&scenario).await?;
    let mut ran = 0;
    for Fence { language, text, remark, line } in page(&scenario, &root().join("docs/getting-started/generic.md"))? {
        let remark = remark.unwrap_or_default();
        match language.as_str() {
            "yaml" => {
                let name = remark.strip_prefix("file: ").with_context(|| format!("line {line}: no file"))?;
                std::fs::write(terminal.folder.path().join(name), &text)?;
            }
            "sh" if remark.starts_with("not run: ") => {}
            "sh" => {
                let is_rotation = text.contains("the-new-one");
                if is_rotation {
                    // What the reader does at the registry.
                    scenario.shared.registry.set_password(&scenario.namespace, "the-new-one")?;
                }
                println!("{}", terminal.run(&text).await.with_context(|| format!("line {line}"))?);
                if is_rotation {
                    let login = (scenario.namespace.clone(), "the-new-one".to_owned());
                    eventually("the new password", DEADLINE, async || {
                        Ok((scenario.kubelet_finds("team-images").await? == [login.clone()]).then_some(()))
                    })
                    .await?;
                }
                ran += 1;
            }
            _ => {}
        }
    }
    assert!(ran >= 10, "{ran} fences");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_page_for_troubles_work() -> Result<()> {
    let scenario = Scenario::start("troubles").await?;
    scenario.connected("team-images").await?;
    let terminal = Terminal::open(&scenario).await?;
    let mut ran = 0;
    for Fence { language, text, remark, line } in page(&scenario, &root().join("docs/troubleshooting.md"))? {
        let is_run = !remark.unwrap_or_default().starts_with("not run: ");
        if language == "sh" && is_run {
            println!("{}", terminal.run(&text).await.with_context(|| format!("line {line}"))?);
            ran += 1;
        }
    }
    assert!(ran >= 6, "{ran} fences");
    Ok(())
}
