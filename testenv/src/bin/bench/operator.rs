//! The operator as it is measured: its own process, the shipped binary, the flags of any installation on loopback.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use testenv::process::Process;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::machine::{Memory, now};

/// The arguments: the defaults, except that registries on this machine may be reached and that the port is a free one.
pub const ARGUMENTS: [&str; 4] = ["run", "--allow-loopback", "--metrics-addr", "127.0.0.1:0"];

/// The operator's own namespace.
pub const NAMESPACE: &str = "regcred-system";

/// How long it may take until it is ready.
const DEADLINE: Duration = Duration::from_secs(120);

/// How often it is asked whether it is ready: finer than what is measured, and nothing but its own endpoint.
const POLL: Duration = Duration::from_millis(5);

/// How long one such question may take.
const PROBE: Duration = Duration::from_secs(1);

/// How many lines of the log go into an error.
const TAIL: usize = 20;

/// A running operator. Dropping it kills it.
pub struct Operator {
    process: Process,
    /// When the process was started.
    pub started: Timestamp,
    /// From there to the first `/readyz` that was answered with 200: everything is listed.
    pub ready_after: Duration,
}

impl Operator {
    /// Starts it and waits until it says that it is ready.
    pub async fn start(program: &Path, kubeconfig: &Path, log: &Path) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(ARGUMENTS).env("KUBECONFIG", kubeconfig);
        // The same Pod, whose container is started anew: its lease is its own.
        command.env("POD_NAME", "regcred-0");
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("REGCRED_")) {
            command.env_remove(name);
        }
        for name in ["RUST_LOG", "POD_NAMESPACE", "KUBERNETES_SERVICE_HOST"] {
            command.env_remove(name);
        }
        let seen = std::fs::read(log).map_or(0, |text| text.len());
        let (started, since) = (now()?, Instant::now());
        let process = Process::spawn("regcred", &command, log)?;
        let mut address = None;
        loop {
            if let Some(status) = process.try_wait()? {
                bail!("regcred ended ({status}):\n{}", process.tail(TAIL));
            }
            address = address.or_else(|| listening(log, seen));
            if let Some(address) = &address
                && is_ready(address).await
            {
                return Ok(Self { process, started, ready_after: since.elapsed() });
            }
            if since.elapsed() > DEADLINE {
                bail!("regcred was not ready after {} s:\n{}", DEADLINE.as_secs(), process.tail(TAIL));
            }
            sleep(POLL).await;
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Its memory.
    pub fn memory(&self) -> Result<Memory> {
        Memory::of(self.pid())
    }

    /// Fails if it has ended.
    pub fn is_alive(&self) -> Result<()> {
        match self.process.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("regcred ended ({status}):\n{}", self.process.tail(TAIL)),
        }
    }

    /// Ends it with SIGKILL, as a node that fails does.
    pub fn kill(self) {
        self.process.kill();
    }

    /// The last lines of its log.
    pub fn tail(&self) -> String {
        self.process.tail(TAIL)
    }
}

/// The address in the line that it logs at its start, behind what earlier ones have logged.
fn listening(log: &Path, seen: usize) -> Option<String> {
    let text = std::fs::read(log).ok()?;
    let text = String::from_utf8_lossy(text.get(seen..)?);
    let (_, after) = text.split_once("metrics_addr=")?;
    // Followed by something else, or the line may be only half there.
    let (address, _) = after.split_once(char::is_whitespace)?;
    Some(address.to_owned())
}

async fn is_ready(address: &str) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"GET /readyz HTTP/1.0\r\nHost: bench\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.context("read an answer")?;
        anyhow::Ok(answer.split(' ').nth(1) == Some("200"))
    };
    timeout(PROBE, ask).await.is_ok_and(|answer| answer.unwrap_or(false))
}
