//! Builds one program from its Go module into the cache.
//!
//! Processes that need the same program at the same time build it once (a lock file), a build that is killed midway
//! leaves no half binary (built under another name, then renamed), and no build outlives the one who asked for it.
//! Which programs there are is not decided here.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::process::Process;
use crate::tools::{Tool, cache_folder, source};

/// How often a running build says that it still runs.
const PROGRESS: Duration = Duration::from_secs(10);

/// How many lines of a failed build's output go into the error.
const TAIL: usize = 30;

/// The cache key of `tool`: changes with its module's files and with the Go version.
pub(crate) fn key(tool: Tool) -> Result<String> {
    let go = go_version()?;
    let mut digest = Sha256::new();
    digest.update(go);
    for file in module_files(&source(tool))? {
        digest.update(file.file_name().unwrap_or_default().as_encoded_bytes());
        digest.update([0]);
        digest.update(fs::read(&file).with_context(|| format!("read {}", file.display()))?);
        digest.update([0]);
    }
    let mut key = format!("{}-", tool.module());
    for byte in digest.finalize().iter().take(8) {
        write!(key, "{byte:02x}")?;
    }
    Ok(key)
}

/// Builds `tool` at `target` unless another process has just done so. `index` of `total` is for the progress lines.
pub(crate) fn into(tool: Tool, target: &Path, index: usize, total: usize) -> Result<()> {
    require_go(tool)?;
    let folder = target.parent().context("a cached binary lies in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    // One lock for all tools: a Go build uses every core already.
    let lock = File::create(cache_folder()?.join("lock")).context("open the lock of the tool cache")?;
    if lock.try_lock().is_err() {
        say(&format!("{}: waiting for another build", tool.name()));
        lock.lock().context("lock the tool cache")?;
    }
    if target.exists() {
        return Ok(());
    }
    let half = folder.join(format!("{}.building", tool.name()));
    let log = folder.join(format!("{}.log", tool.name()));
    let _ = fs::remove_file(&log);
    let label = format!("building {} ({index} of {total})", tool.name());
    say(&label);
    let started = Instant::now();
    let build = Process::spawn(tool.name(), &command(tool, &half)?, &log)?;
    let status = loop {
        if let Some(status) = build.wait(PROGRESS)? {
            break status;
        }
        say(&format!("{label}: {} s", started.elapsed().as_secs()));
    };
    if !status.success() {
        bail!("building {} failed ({status}), the end of {}:\n{}", tool.name(), log.display(), build.tail(TAIL));
    }
    fs::rename(&half, target).with_context(|| format!("move {} into place", half.display()))?;
    say(&format!("{label}: done in {} s", started.elapsed().as_secs()));
    Ok(())
}

fn command(tool: Tool, output: &Path) -> Result<Command> {
    let mut go = Command::new("go");
    go.arg("build").arg("-ldflags").arg(linker_flags(tool)?).arg("-o").arg(output).arg(tool.package());
    go.current_dir(source(tool));
    // Whatever the caller's settings are, the same module must give the same program, for this machine.
    go.env("GOFLAGS", "-trimpath -mod=readonly -buildvcs=false");
    go.env("GOTOOLCHAIN", "local").env("GOWORK", "off").env("CGO_ENABLED", "0");
    for name in ["GOOS", "GOARCH", "GOEXPERIMENT"] {
        go.env_remove(name);
    }
    Ok(go)
}

/// Drops debug information (links faster, a third of the size) and stamps Kubernetes programs with their version, which
/// `/version` answers and clients decide by.
fn linker_flags(tool: Tool) -> Result<String> {
    let mut flags = "-s -w".to_owned();
    if tool.module() != "kubernetes" {
        return Ok(flags);
    }
    let version = required_version(tool, "k8s.io/kubernetes ")?;
    let mut parts = version.trim_start_matches('v').split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    for package in ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"] {
        for (name, value) in [
            ("gitVersion", version.as_str()),
            ("gitMajor", major),
            ("gitMinor", minor),
            ("gitTreeState", "archive"),
            ("gitCommit", "unknown"),
        ] {
            write!(flags, " -X {package}.{name}={value}")?;
        }
    }
    Ok(flags)
}

/// What follows `prefix` on the first line of the module file that starts with it.
fn required_version(tool: Tool, prefix: &str) -> Result<String> {
    let path = source(tool).join("go.mod");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let line = text.lines().find_map(|line| line.trim().trim_start_matches("require ").strip_prefix(prefix));
    Ok(line.with_context(|| format!("no line `{prefix}…` in {}", path.display()))?.trim().to_owned())
}

fn require_go(tool: Tool) -> Result<()> {
    let needed = required_version(tool, "go ")?;
    let found = go_version()?;
    if numbers(found) < numbers(&needed) {
        bail!("building {} needs Go {needed} or newer, but {found} is installed", tool.name());
    }
    Ok(())
}

/// `go1.26.8` or `1.26` as comparable numbers; a missing part counts as 0.
fn numbers(version: &str) -> [u32; 3] {
    let mut parts = version.trim_start_matches("go").split(|c: char| !c.is_ascii_digit()).map(|part| part.parse());
    [0; 3].map(|zero| parts.next().and_then(Result::ok).unwrap_or(zero))
}

/// The installed Go, such as `go1.26.8`.
fn go_version() -> Result<&'static str> {
    static VERSION: OnceLock<Option<String>> = OnceLock::new();
    let version = VERSION.get_or_init(|| {
        let output = Command::new("go").args(["env", "GOVERSION"]).env("GOTOOLCHAIN", "local").output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        (output.status.success() && text.starts_with("go")).then(|| text.trim().to_owned())
    });
    version.as_deref().context("Go was not found: it builds the programs the tests run; install it from go.dev/dl")
}

fn module_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(module_files(&path)?);
        } else if path.extension().is_some_and(|extension| ["go", "mod", "sum"].iter().any(|known| extension == *known))
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Written straight to the handle: a test's captured output would hide it, and a build takes minutes.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "testenv: {line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_go_versions_by_number() {
        assert!(numbers("go1.26.8") > numbers("1.26.0"));
        assert!(numbers("go1.9.7") < numbers("1.26"));
        assert!(numbers("go1.27rc1") > numbers("1.26.8"));
    }

    #[test]
    fn every_tool_has_a_module_with_checksums() {
        for tool in Tool::ALL {
            assert!(source(tool).join("go.sum").is_file(), "{}", tool.name());
        }
    }
}
