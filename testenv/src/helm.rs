//! The real Helm, with a home of its own: no repository, plugin or setting of the machine gets in.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use crate::scratch::Scratch;
use crate::tools::{self, Tool};

/// Helm, see the module.
#[derive(Clone, Debug)]
pub struct Helm {
    program: PathBuf,
    /// The cluster it works on; without one only what needs none works.
    kubeconfig: Option<PathBuf>,
    home: Arc<Scratch>,
}

impl Helm {
    /// Finds the program; builds it if need be.
    ///
    /// # Errors
    /// It cannot be built, or its home cannot be made.
    pub async fn find() -> Result<Self> {
        let program = tokio::task::spawn_blocking(|| tools::path(Tool::Helm)).await??;
        Ok(Self { program, kubeconfig: None, home: Arc::new(Scratch::new("testenv-helm")?) })
    }

    /// The same for a cluster.
    #[must_use]
    pub fn with(&self, kubeconfig: &Path) -> Self {
        Self { kubeconfig: Some(kubeconfig.to_owned()), ..self.clone() }
    }

    /// Runs a command and returns what it printed.
    ///
    /// # Errors
    /// It fails; with its own words.
    pub async fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.program);
        command.args(arguments).env_clear().env("HOME", self.home.path());
        // Without a cluster it must not find one by itself.
        command.env("KUBECONFIG", self.kubeconfig.as_deref().unwrap_or(Path::new("/dev/null")));
        command.stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output()).await?.context("start helm")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            bail!("helm {}: {}", arguments.join(" "), errors.trim());
        }
        String::from_utf8(output.stdout).context("what helm printed")
    }
}
