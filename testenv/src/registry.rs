//! A real distribution registry on loopback, with passwords that tests change and an access log that they assert on.
//!
//! Plain http, as every client expects of a loopback registry. It can be away for a while and come back at the same
//! address with what it stores.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::json;

use crate::crane::Crane;
use crate::process::Process;
use crate::scratch::Scratch;
use crate::tools::{self, Tool};
use crate::wait::eventually;

/// How long it may take until it listens.
const DEADLINE: Duration = Duration::from_secs(60);

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
    /// User to bcrypt hash.
    users: BTreeMap<String, String>,
    /// When the password file was last said to be written.
    written: Option<SystemTime>,
}

/// One answered request.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
pub struct Access {
    /// The HTTP method.
    pub method: String,
    /// The path, without query.
    pub path: String,
    /// The answer's status.
    pub status: u16,
    /// Whether the request carried an `Authorization` header at all.
    pub authorization: bool,
    /// The user of a Basic login, accepted or not.
    #[serde(default)]
    pub user: Option<String>,
}

impl Access {
    /// Whether somebody tried to log in and was refused; a first, anonymous try is none.
    pub fn is_failed_login(&self) -> bool {
        self.status == 401 && self.authorization
    }
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

    /// Lets `user` in no longer. Holds for every request from now on.
    ///
    /// # Errors
    /// The password file cannot be written.
    pub fn remove_user(&self, user: &str) -> Result<()> {
        let mut state = self.state();
        state.users.remove(user);
        self.write_passwords(&mut state)
    }

    /// Every answered request so far. A line is written before its answer leaves, so none that a client has is missing.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn access_log(&self) -> Result<Vec<Access>> {
        let text = fs::read_to_string(self.log()).context("read the registry's log")?;
        // A last line that is still being written is left out.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let lines = whole.lines().filter(|line| line.starts_with("{\"method\""));
        lines.map(|line| serde_json::from_str(line).with_context(|| format!("an access log line: {line}"))).collect()
    }

    /// How many logins of `user` were refused.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn failed_logins(&self, user: &str) -> Result<usize> {
        let log = self.access_log()?;
        Ok(log.iter().filter(|access| access.is_failed_login() && access.user.as_deref() == Some(user)).count())
    }

    /// Takes it down: connections to its port are refused until [`Registry::resume`].
    pub fn pause(&self) {
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
            "log": { "level": "info", "formatter": "json", "accesslog": { "disabled": true } },
            "storage": { "filesystem": { "rootdirectory": folder.join("storage") }, "delete": { "enabled": true } },
            "http": { "addr": format!("127.0.0.1:{port}"), "secret": "testenv" },
            "auth": { "htpasswd": { "realm": "testenv", "path": folder.join("htpasswd") } },
        })
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
