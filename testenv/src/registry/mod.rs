//! A real distribution registry on loopback, with logins that tests change and an access log that they assert on.
//!
//! Plain http, as every client expects of a loopback registry, or TLS; logins are judged by itself or by a token server.
//! It can be away for a while and come back at the same address with what it stores. What its log means is not decided
//! here.

mod htpasswd;
mod settings;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::access::{self, Access, Log, Scheme};
use crate::crane::Crane;
use crate::process::Process;
use crate::scratch::Scratch;
use crate::tools::{self, Tool};
use crate::wait::eventually;
use htpasswd::Htpasswd;
pub use settings::{Authentication, Options};
use settings::{Login, Settings};

/// How long it may take until it listens.
const DEADLINE: Duration = Duration::from_secs(60);

/// How long a request that has begun may take to be finished, and how often the log is looked at meanwhile.
const FINISHED: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(2);

/// How many lines of the log go into an error.
const TAIL: usize = 20;

/// A running registry, see the module. Dropping it ends it.
#[derive(Debug)]
pub struct Registry {
    process: Mutex<Option<Process>>,
    program: PathBuf,
    port: u16,
    settings: Settings,
    crane: Crane,
    scratch: Scratch,
}

impl Registry {
    /// Starts one on a free port, with plain http and without any user: nobody gets in before
    /// [`Registry::set_password`].
    ///
    /// # Errors
    /// A program cannot be built, or the registry does not come up; with the last lines of its log.
    pub async fn start() -> Result<Self> {
        Self::start_with(Options::default()).await
    }

    /// Starts one on a free port. Its client trusts the authorities of its certificate and of its token server.
    ///
    /// # Errors
    /// As [`Registry::start`].
    pub async fn start_with(options: Options) -> Result<Self> {
        let wanted = [Tool::Registry, Tool::Crane];
        let mut programs = tokio::task::spawn_blocking(move || tools::paths(&wanted)).await??;
        let (Some(crane), Some(program)) = (programs.pop(), programs.pop()) else {
            bail!("two programs were asked for")
        };
        let scratch = Scratch::new("testenv-registry")?;
        let mut crane = Crane::new(crane)?;
        let authorities = options.authorities().concat();
        if !authorities.is_empty() {
            crane = crane.trusting(&authorities);
        }
        let settings = Settings::new(options, scratch.path())?;
        let mut registry = Self { process: Mutex::default(), program, port: 0, settings, crane, scratch };
        registry.port = registry.listen(0).await?;
        Ok(registry)
    }

    /// Host and port, as they begin an image name.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Scheme, host and port: `http://127.0.0.1:5000`.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.settings.tls.is_some() { "https" } else { "http" }, self.host())
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
        self.process().as_ref().map(Process::pid)
    }

    /// Lets `user` in with `password` and no other one. Holds for every request from now on.
    ///
    /// # Errors
    /// The password file cannot be written, or a token server judges logins.
    pub fn set_password(&self, user: &str, password: &str) -> Result<()> {
        self.htpasswd()?.set(user, password)
    }

    /// Lets `user` in no longer. Holds for every request from now on. Also for a stranger, whose refused logins can then
    /// be counted: the registry's log names only users it knows.
    ///
    /// # Errors
    /// The password file cannot be written, or a token server judges logins.
    pub fn remove_user(&self, user: &str) -> Result<()> {
        self.htpasswd()?.lock(user)
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
    /// See [`Registry::access_log`]; also if `user` never was let in or removed: the log does not name strangers. Also if
    /// a token server judges logins, and counts them.
    pub fn failed_logins(&self, user: &str) -> Result<usize> {
        if !self.htpasswd()?.knows(user) {
            bail!("the registry does not name {user} in its log before set_password or remove_user")
        }
        let log = self.access_log()?;
        Ok(log.iter().filter(|access| access.is_failed_login() && access.user.as_deref() == Some(user)).count())
    }

    /// Takes it down: connections to its port are refused until [`Registry::resume`]. Lets it finish what it has begun,
    /// so that nothing it has answered is missing in the log; what does not come to its end is cut off.
    pub fn pause(&self) {
        let _ = self.access_log();
        *self.process() = None;
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
        fs::write(&config, self.settings.configuration(port).to_string())
            .context("write the registry's configuration")?;
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
        *self.process() = Some(process);
        Ok(port)
    }

    fn read_log(&self) -> Result<Log> {
        let text = fs::read(self.log()).context("read the registry's log")?;
        let scheme = match self.settings.login {
            Login::Htpasswd(_) => Scheme::Basic,
            Login::Token(..) => Scheme::Bearer,
        };
        access::read(&String::from_utf8_lossy(&text), scheme)
    }

    fn is_running(&self) -> bool {
        self.process().as_ref().is_some_and(|process| matches!(process.try_wait(), Ok(None)))
    }

    fn log(&self) -> PathBuf {
        self.scratch.path().join("registry.log")
    }

    fn htpasswd(&self) -> Result<&Htpasswd> {
        match &self.settings.login {
            Login::Htpasswd(file) => Ok(file),
            Login::Token(..) => bail!("the registry has no passwords: its token server has"),
        }
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the port from the line that the registry writes once it listens.
fn listening_port(log: &str) -> Option<u16> {
    let (_, after) = log.split_once("listening on 127.0.0.1:")?;
    let digits = after.find(|c: char| !c.is_ascii_digit())?;
    after[..digits].parse().ok()
}
