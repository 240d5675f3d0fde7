//! A temporary folder that is gone when we are.
//!
//! Removed on drop, and by a watcher on a lifeline when the runner is killed. Kept, and announced, when the
//! environment variable `REGCRED_KEEP` is set or `keep` was called. This module must not know what is in the folder.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// Set to any value but the empty one, scratch folders stay.
pub const KEEP_VARIABLE: &str = "REGCRED_KEEP";

/// Waits for the end of the lifeline, then removes the folder. The processes that write into it are killed at the same
/// moment, so the first try can lose against a file that is just being written.
const SCRIPT: &str = r#"
read -r _
tries=0
until rm -rf -- "$1" && [ ! -e "$1" ]; do
  tries=$((tries + 1))
  [ "$tries" -lt 100 ] || exit 1
  sleep 0.05
done
"#;

/// A temporary folder, see the module.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
    watcher: Option<Child>,
    keep: bool,
}

impl Scratch {
    /// Makes a folder whose name starts with `prefix`.
    ///
    /// # Errors
    /// The folder or its watcher cannot be made.
    pub fn new(prefix: &str) -> Result<Self> {
        let folder =
            tempfile::Builder::new().prefix(&format!("{prefix}-")).tempdir().context("make a temporary folder")?;
        let mut scratch = Self { folder, watcher: None, keep: false };
        if std::env::var_os(KEEP_VARIABLE).is_some_and(|value| !value.is_empty()) {
            scratch.keep();
        } else {
            let watcher = Command::new("/bin/sh")
                .args(["-c", SCRIPT, "sh"])
                .arg(scratch.path())
                .current_dir("/")
                .process_group(0)
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .context("start the watcher of a temporary folder")?;
            scratch.watcher = Some(watcher);
        }
        Ok(scratch)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Leaves the folder in place for good and says where it is.
    pub fn keep(&mut self) {
        self.keep = true;
        self.folder.disable_cleanup(true);
        self.dismiss();
        // Written straight to the handle: a test's captured output would hide it.
        let _ = writeln!(std::io::stderr(), "kept: {}", self.path().display());
    }

    fn dismiss(&mut self) {
        if let Some(mut watcher) = self.watcher.take() {
            // Killed before its lifeline closes, so it cannot act.
            let _ = watcher.kill();
            let _ = watcher.wait();
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        // Letting go of the lifeline removes the folder, and waiting makes it certain before the drop returns.
        if let Some(mut watcher) = self.watcher.take() {
            drop(watcher.stdin.take());
            let _ = watcher.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_gone_after_drop() {
        let scratch = Scratch::new("testenv-scratch").unwrap();
        let path = scratch.path().to_owned();
        std::fs::write(path.join("file"), "x").unwrap();
        drop(scratch);
        assert!(!path.exists());
    }
}
