//! A child process that cannot outlive us.
//!
//! The child leads its own process group. A watcher inside that group reads from a pipe (the lifeline) whose only write
//! end is ours; when we end, however we end, the kernel closes it and the watcher kills the group. So this also holds
//! after SIGKILL, when no destructor runs. This module must not know what it runs.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// Moves the lifeline to descriptor 3, leaves the watcher behind and becomes the program, so that the spawned pid, its
/// signals and its exit status are the program's own.
const SCRIPT: &str = r#"
exec 3<&0 </dev/null
( read -r _ <&3; kill -KILL 0 ) >/dev/null 2>&1 &
exec 3<&-
exec "$@"
"#;

/// How often a running child is looked at; `std` has no wait with a deadline.
const POLL: Duration = Duration::from_millis(10);

/// A running (or ended) program with its log. Dropping it kills it, its children and its watcher.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    pid: u32,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    child: Child,
    /// `None` once the whole group is gone.
    lifeline: Option<ChildStdin>,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` with stdin from /dev/null and both outputs appended to `log_file`.
    ///
    /// Only program, arguments, environment changes and working directory are taken from `command`.
    ///
    /// # Errors
    /// The log cannot be opened or the program cannot be started. A program that does not exist shows only as exit
    /// status 127, because a shell starts it.
    pub fn spawn(name: &str, command: &Command, log_file: &Path) -> Result<Self> {
        let log = open_log(log_file)?;
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", SCRIPT, "sh"]).arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(key, value),
                None => shell.env_remove(key),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            shell.current_dir(folder);
        }
        let errors = log.try_clone().context("duplicate the log's descriptor")?;
        let mut child = shell
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        let lifeline = child.stdin.take();
        Ok(Self {
            name: name.to_owned(),
            log: log_file.to_owned(),
            pid: child.id(),
            state: Mutex::new(State { child, lifeline, status: None }),
        })
    }

    /// The name it was started under, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The program's process id, which is also its process group.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Stops the program in the midst of what it does (SIGSTOP), until [`Process::thaw`].
    ///
    /// # Errors
    /// The signal cannot be sent.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets the program go on.
    ///
    /// # Errors
    /// The signal cannot be sent.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Asks the program to end. Nothing happens if it has ended already.
    ///
    /// # Errors
    /// The signal cannot be sent.
    pub fn signal_term(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let mut state = self.state();
        if state.ended()?.is_some() {
            return Ok(());
        }
        kill_process(Pid::from_child(&state.child), signal).with_context(|| format!("{signal:?} to {}", self.name))
    }

    /// The exit status if the program has ended.
    ///
    /// # Errors
    /// The operating system cannot tell.
    pub fn try_wait(&self) -> Result<Option<ExitStatus>> {
        self.state().ended()
    }

    /// Blocks until the program has ended, at most `timeout`. `None` means it is still running.
    ///
    /// # Errors
    /// The operating system cannot tell.
    pub fn wait(&self, timeout: Duration) -> Result<Option<ExitStatus>> {
        let deadline = Instant::now() + timeout;
        loop {
            let status = self.try_wait()?;
            if status.is_some() || Instant::now() >= deadline {
                return Ok(status);
            }
            thread::sleep(POLL);
        }
    }

    /// Kills the program, everything it started and the watcher, and reaps it.
    pub fn kill(&self) {
        let mut state = self.state();
        let Some(lifeline) = state.lifeline.take() else { return };
        // The group id cannot have been reused: the watcher is still a member of the group.
        let _ = kill_process_group(Pid::from_child(&state.child), Signal::KILL);
        drop(lifeline);
        if state.status.is_none() {
            state.status = state.child.wait().ok();
        }
    }

    /// The last `lines` lines of the log, for messages.
    pub fn tail(&self, lines: usize) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn ended(&mut self) -> Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.child.try_wait().context("look after a child process")?;
        }
        Ok(self.status)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn open_log(path: &Path) -> Result<File> {
    let mut log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("open the log {}", path.display()))?;
    // An empty write proves that the log is writable before anything depends on it.
    log.write_all(b"").with_context(|| format!("write the log {}", path.display()))?;
    Ok(log)
}
