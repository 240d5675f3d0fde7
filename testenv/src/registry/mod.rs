//! A real distribution registry on loopback, with passwords that tests change and an access log that they assert on.
//!
//! Plain http, as every client expects of a loopback registry. It can be away for a while and come back at the same
//! address with what it stores. What its log means is not decided here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::access::{self, Access, Log};
use crate::crane::Crane;
use crate::process::Process;
use crate::scratch::Scratch;
use crate::tools::{self, Tool};
use crate::wait::eventually;

/// How long it may take until it listens.
const DEADLINE: Duration = Duration::from_secs(60);

/// How long a request that has begun may take to be finished, and how often the log is looked at meanwhile.
const FINISHED: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(2);

/// Stands in place of a hash that no password has.
const LOCKED: &str = "*";

/// The cheapest there is (2^4 rounds): every single request pays for it.
const BCRYPT_COST: u32 = 4;

/// How many lines of the log go into an error.
const TAIL: usize = 20;

/// A running registry, see the module. Dropping it ends it.
#[derive(Debug)]
pub struct Registry {
    state: Mutex<State>,
    program: PathBuf,
    port: u16,
    crane: Crane,
    scratch: Scratch,
}

#[derive(Debug, Default)]
struct State {
    process: Option<Process>,
    /// User to bcrypt hash, or to [`LOCKED`].
    users: BTreeMap<String, String>,
    /// When the password file was last said to be written.
    written: Option<SystemTime>,
}

impl Registry {
    /// Starts one on a free port, without any user: nobody gets in before [`Registry::set_password`].
    ///
    /// # Errors
    /// A program cannot be built, or the registry does not come up; with the last lines of its log.
    pub async fn start() -> Result<Self> {
        let wanted = [Tool::Registry, Tool::Crane];
        let mut programs = tokio::task::spawn_blocking(move || tools::paths(&wanted)).await??;
        let (Some(crane), Some(program)) = (programs.pop(), programs.pop()) else {
            bail!("two programs were asked for")
        };
        let scratch = Scratch::new("testenv-registry")?;
        let crane = Crane::new(crane)?;
        let mut registry = Self { state: Mutex::default(), program, port: 0, crane, scratch };
        registry.write_passwords(&mut registry.state())?;
        registry.port = registry.listen(0).await?;
        Ok(registry)
    }

    /// Host and port, as they begin an image name.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The client for this registry.
    pub fn crane(&self) -> &Crane {
        &self.crane
    }

    /// The scratch folder with log and storage.
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// The process id; `None` while it is away.
    pub fn pid(&self) -> Option<u32> {
        self.state().process.as_ref().map(Process::pid)
    }

    /// Lets `user` in with `password` and no other one. Holds for every request from now on.
    ///
    /// # Errors
    /// The password file cannot be written.
    pub fn set_password(&self, user: &str, password: &str) -> Result<()> {
        let hash = bcrypt::hash(password, BCRYPT_COST).context("hash a password")?;
        let mut state = self.state();
        state.users.insert(user.to_owned(), hash);
        self.write_passwords(&mut state)
    }

    /// Lets `user` in no longer. Holds for every request from now on. Also for a stranger, whose refused logins can then
    /// be counted: the registry's log names only users it knows.
    ///
    /// # Errors
    /// The password file cannot be written.
    pub fn remove_user(&self, user: &str) -> Result<()> {
        let mut state = self.state();
        state.users.insert(user.to_owned(), LOCKED.to_owned());
        self.write_passwords(&mut state)
    }

    /// Every answered request so far; none that a client has its answer to is missing.
    ///
    /// The registry writes its first line about a request before any byte of the answer leaves, so such a request is in
    /// the log by now. Only the end of a long answer may leave before the last line: therefore this blocks until every
    /// request that has begun is finished, which takes no time unless one is under way.
    ///
    /// # Errors
    /// The log cannot be read, or a request does not come to its end, such as an upload whose client waits for this.
    pub fn access_log(&self) -> Result<Vec<Access>> {
        let started = Instant::now();
        let mut log = self.read_log()?;
        let mut begun = std::mem::take(&mut log.open);
        while !begun.is_empty() && self.is_running() {
            if started.elapsed() >= FINISHED {
                let requests: Vec<String> = begun.into_values().collect();
                bail!("not finished after {} s: {}", FINISHED.as_secs(), requests.join(", "));
            }
            thread::sleep(POLL);
            log = self.read_log()?;
            begun.retain(|id, _| log.open.contains_key(id));
        }
        Ok(log.answered)
    }

    /// How many logins of `user` were refused since it was first let in or removed.
    ///
    /// # Errors
    /// See [`Registry::access_log`]; also if `user` never was let in or removed: the log does not name strangers.
    pub fn failed_logins(&self, user: &str) -> Result<usize> {
        if !self.state().users.contains_key(user) {
            bail!("the registry does not name {user} in its log before set_password or remove_user")
        }
        let log = self.access_log()?;
        Ok(log.iter().filter(|access| access.is_failed_login() && access.user.as_deref() == Some(user)).count())
    }

    /// Takes it down: connections to its port are refused until [`Registry::resume`]. Lets it finish what it has begun,
    /// so that nothing it has answered is missing in the log; what does not come to its end is cut off.
    pub fn pause(&self) {
        let _ = self.access_log();
        self.state().process = None;
    }

    /// Brings it back at the same address, with what it stored and who may log in.
    ///
    /// # Errors
    /// It does not come up, for example because another program has taken the port meanwhile.
    pub async fn resume(&self) -> Result<()> {
        if self.pid().is_some() {
            return Ok(());
        }
        self.listen(self.port).await.map(drop)
    }

    /// Ends it, as a drop does.
    pub fn stop(self) {}

    /// Starts the program on `port`, or on a free one if that is 0, and returns the port it listens on.
    async fn listen(&self, port: u16) -> Result<u16> {
        let config = self.scratch.path().join("config.json");
        fs::write(&config, self.config(port).to_string()).context("write the registry's configuration")?;
        let seen = fs::read(self.log()).unwrap_or_default().len();
        let mut command = Command::new(&self.program);
        command.arg("serve").arg(&config);
        // Nobody collects its traces, and no setting of the caller's may change its configuration.
        command.env("OTEL_TRACES_EXPORTER", "none");
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"REGISTRY_")) {
            command.env_remove(name);
        }
        let process = Process::spawn("registry", &command, &self.log())?;
        let listening = eventually("the registry", DEADLINE, async || {
            if let Some(status) = process.try_wait()? {
                return Ok(Some(Err(anyhow::anyhow!("the registry ended ({status}):\n{}", process.tail(TAIL)))));
            }
            let log = fs::read(self.log())?;
            Ok(listening_port(&String::from_utf8_lossy(&log[seen.min(log.len())..])).map(Ok))
        });
        let port = listening.await.with_context(|| process.tail(TAIL))??;
        self.state().process = Some(process);
        Ok(port)
    }

    /// JSON, because every reader of YAML understands it.
    fn config(&self, port: u16) -> serde_json::Value {
        let folder = self.scratch.path();
        json!({
            "version": "0.1",
            "log": { "level": "info", "formatter": "json" },
            "storage": { "filesystem": { "rootdirectory": folder.join("storage") }, "delete": { "enabled": true } },
            "http": { "addr": format!("127.0.0.1:{port}"), "secret": "testenv" },
            "auth": { "htpasswd": { "realm": "testenv", "path": folder.join("htpasswd") } },
        })
    }

    fn read_log(&self) -> Result<Log> {
        let text = fs::read(self.log()).context("read the registry's log")?;
        access::read(&String::from_utf8_lossy(&text))
    }

    fn is_running(&self) -> bool {
        self.state().process.as_ref().is_some_and(|process| matches!(process.try_wait(), Ok(None)))
    }

    fn log(&self) -> PathBuf {
        self.scratch.path().join("registry.log")
    }

    /// The registry reads the file again when its time has changed, and file systems keep time coarsely: so each
    /// writing sets a later time than the one before. Renamed into place, so that no half file is ever read.
    fn write_passwords(&self, state: &mut State) -> Result<()> {
        let lines: Vec<String> = state.users.iter().map(|(user, hash)| format!("{user}:{hash}\n")).collect();
        let next = self.scratch.path().join("htpasswd.next");
        fs::write(&next, lines.concat()).context("write the password file")?;
        let now = SystemTime::now();
        let time = state.written.map_or(now, |before| now.max(before + Duration::from_secs(1)));
        let file = fs::File::options().write(true).open(&next).context("open the password file")?;
        file.set_modified(time).context("set the password file's time")?;
        state.written = Some(time);
        fs::rename(&next, self.scratch.path().join("htpasswd")).context("put the password file in place")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the port from the line that the registry writes once it listens.
fn listening_port(log: &str) -> Option<u16> {
    let (_, after) = log.split_once("listening on 127.0.0.1:")?;
    let digits = after.find(|c: char| !c.is_ascii_digit())?;
    after[..digits].parse().ok()
}
