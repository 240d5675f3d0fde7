//! The operator as the demo runs it: its own process, the shipped binary, the flags of a test machine.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use testenv::process::Process;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::DEADLINE;

/// The arguments, shown as they are.
pub const ARGUMENTS: [&str; 6] =
    ["run", "--allow-loopback", "--metrics-addr", "127.0.0.1:0", "--revocation-grace", REVOCATION_GRACE];

/// How long a replaced credential works on: shorter than anywhere else, for somebody waits.
pub const REVOCATION_GRACE: &str = "3s";

/// The operator's ServiceAccount.
pub const ACCOUNT: &str = "regcred";

/// The operator's own namespace.
pub const NAMESPACE: &str = "regcred-system";

/// How often an answer is looked for: finer than what is measured.
const POLL: Duration = Duration::from_millis(2);

/// How long one probe may take.
const PROBE: Duration = Duration::from_secs(1);

/// How long it has after SIGTERM.
const GRACE: Duration = Duration::from_secs(10);

/// A running operator.
pub struct Operator {
    process: Process,
    address: SocketAddr,
    /// From the start of the process to the first `/readyz` that was answered with 200.
    pub ready_after: Duration,
}

impl Operator {
    /// Starts it and waits until it says that it is ready.
    pub async fn start(program: &Path, kubeconfig: &Path, log: &Path) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(ARGUMENTS).env("KUBECONFIG", kubeconfig).env("RUST_LOG", "info").env("POD_NAME", "regcred-0");
        for name in ["REGCRED_LOG_FORMAT", "POD_NAMESPACE"] {
            command.env_remove(name);
        }
        let started = Instant::now();
        let process = Process::spawn("regcred", &command, log)?;
        loop {
            if let Some(status) = process.try_wait()? {
                bail!("regcred ended ({status}):\n{}", process.tail(20));
            }
            if let Some(address) = listening(log)
                && spawn_blocking(move || is_ready(address)).await?
            {
                return Ok(Self { process, address, ready_after: started.elapsed() });
            }
            if started.elapsed() > DEADLINE {
                bail!("regcred was not ready after {} s:\n{}", DEADLINE.as_secs(), process.tail(20));
            }
            sleep(POLL).await;
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where it serves probes and metrics.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A line of `/proc/<pid>/status`, such as that of `VmRSS`.
    pub fn memory(&self, line: &str) -> Result<String> {
        let path = format!("/proc/{}/status", self.pid());
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let found = text.lines().find_map(|all| all.strip_prefix(line)?.strip_prefix(':'));
        Ok(found.with_context(|| format!("no {line} in {path}"))?.trim().to_owned())
    }

    /// Asks it to end; how it did and how long that took.
    pub fn end(self) -> Result<(String, Duration)> {
        let asked = Instant::now();
        self.process.signal_term()?;
        match self.process.wait(GRACE)? {
            Some(status) => Ok((status.to_string(), asked.elapsed())),
            None => bail!("regcred was still there {} s after SIGTERM", GRACE.as_secs()),
        }
    }
}

/// The address in the line that it logs at its start.
fn listening(log: &Path) -> Option<SocketAddr> {
    let text = std::fs::read_to_string(log).ok()?;
    let (_, after) = text.split_once("metrics_addr=")?;
    // Followed by something else, or the line may be only half there.
    let (address, _) = after.split_once(char::is_whitespace)?;
    address.parse().ok()
}

fn is_ready(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, PROBE)?;
        stream.set_read_timeout(Some(PROBE))?;
        stream.write_all(b"GET /readyz HTTP/1.0\r\nHost: demo\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.split(' ').nth(1) == Some("200"))
    };
    ask().unwrap_or(false)
}
