//! The real `kubectl`, run and shown as a user would run it.

use std::ffi::OsStr;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::{DEADLINE, told};

/// A kubectl for one cluster.
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    /// Where it keeps its cache instead of the user's home.
    home: PathBuf,
    /// Where relative paths in its arguments begin.
    root: PathBuf,
}

/// A command that has ended well.
pub struct Ran {
    /// When it was started.
    pub started: Instant,
    /// When it had returned.
    pub returned: Instant,
}

/// A child that does not outlive the wait for it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Kubectl {
    /// `program`, talking to the cluster of `kubeconfig`.
    pub fn new(program: PathBuf, kubeconfig: PathBuf, home: &Path, root: &Path) -> Self {
        Self { program, kubeconfig, home: home.to_owned(), root: root.to_owned() }
    }

    /// Where the program lies.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Prints a command, runs it, and prints what it printed.
    pub async fn show(&self, arguments: &[&str]) -> Result<Ran> {
        let words: Vec<String> = arguments.iter().map(|argument| quoted(argument)).collect();
        let line = format!("kubectl {}", words.join(" "));
        told::command(&line);
        let (mut output, errors) = std::io::pipe().context("make a pipe")?;
        let mut command = Command::new(&self.program);
        command.args(arguments.iter().map(OsStr::new)).current_dir(&self.root);
        command.env("KUBECONFIG", &self.kubeconfig).env("HOME", &self.home).stdin(Stdio::null());
        command.stdout(errors.try_clone().context("share a pipe")?).stderr(errors);

        let started = Instant::now();
        let mut running = Running(command.spawn().with_context(|| format!("start {}", self.program.display()))?);
        // It holds write ends of the pipe, which would never end.
        drop(command);
        let reading = spawn_blocking(move || {
            let mut text = String::new();
            output.read_to_string(&mut text).map(|_| text)
        });
        let said = timeout(DEADLINE, reading).await;
        let said = said.with_context(|| format!("`{line}` took longer than {} s", DEADLINE.as_secs()))???;
        let status = running.0.wait().context("wait for kubectl")?;
        let returned = Instant::now();
        told::lines(&said);
        ensure!(status.success(), "`{line}` failed ({status})");
        Ok(Ran { started, returned })
    }
}

/// An argument as a shell needs it.
fn quoted(argument: &str) -> String {
    let plain = argument.chars().all(|c| c.is_ascii_alphanumeric() || "-_./=:,@".contains(c));
    if plain { argument.to_owned() } else { format!("'{argument}'") }
}
