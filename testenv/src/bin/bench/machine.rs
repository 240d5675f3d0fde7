//! What the figures were measured on, and what the operating system says of a process.

use std::fs;
use std::ops::Sub;
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How many ticks of `/proc/PID/stat` make a second: USER_HZ, which is 100 on every architecture that Kubernetes runs on.
const TICKS: f64 = 100.0;

/// What the figures were measured on.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// How many cores this process may use.
    pub cores: usize,
    /// The model of the first core.
    pub cpu: String,
    /// All memory there is, in MB (a million bytes).
    pub memory_mb: f64,
    /// How many processes wanted to run over the last minute before the start: what others did on the machine.
    pub load: String,
    /// When the run began.
    pub date: String,
}

impl Machine {
    /// This one.
    pub fn read() -> Result<Self> {
        let cpu = fs::read_to_string("/proc/cpuinfo").context("read /proc/cpuinfo")?;
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let memory = fs::read_to_string("/proc/meminfo").context("read /proc/meminfo")?;
        let load = fs::read_to_string("/proc/loadavg").context("read /proc/loadavg")?;
        Ok(Self {
            cores: std::thread::available_parallelism().context("count the cores")?.get(),
            cpu: model.map_or("unknown", |(_, model)| model).to_owned(),
            memory_mb: megabytes(&memory, "MemTotal")?,
            load: load.split(' ').next().unwrap_or_default().to_owned(),
            date: format!("{:.0}", now()?),
        })
    }
}

/// The time on the clock that the API server's audit log uses, too.
pub fn now() -> Result<Timestamp> {
    Timestamp::try_from(SystemTime::now()).context("read the clock")
}

/// Memory of a process.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Memory {
    /// VmRSS: what it holds now, in MB (a million bytes).
    pub resident_mb: f64,
    /// VmHWM: the most it ever held, in MB (a million bytes).
    pub peak_mb: f64,
}

impl Memory {
    /// That of a running process.
    pub fn of(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/status");
        let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        Ok(Self { resident_mb: megabytes(&text, "VmRSS")?, peak_mb: megabytes(&text, "VmHWM")? })
    }
}

fn megabytes(text: &str, field: &str) -> Result<f64> {
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let value = value.with_context(|| format!("no {field}"))?.trim().trim_end_matches(" kB");
    let kibibytes: f64 = value.parse().with_context(|| format!("{field} is {value:?}"))?;
    Ok(kibibytes * 1024.0 / 1e6)
}

/// CPU seconds, of user and system together, of a writer, of the server that it writes to, and of who looks on.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct Cpu {
    /// The operator, or the bare loop in its place.
    pub writer: f64,
    /// kube-apiserver.
    pub apiserver: f64,
    /// etcd.
    pub etcd: f64,
    /// This program: it reads the audit log, is the provider, and does what users do.
    pub harness: f64,
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            writer: self.writer - earlier.writer,
            apiserver: self.apiserver - earlier.apiserver,
            etcd: self.etcd - earlier.etcd,
            harness: self.harness - earlier.harness,
        }
    }
}

/// The processes whose CPU time is read.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Pids {
    /// The operator, or the bare loop in its place; `None` for nobody.
    pub writer: Option<u32>,
    /// kube-apiserver.
    pub apiserver: u32,
    /// etcd.
    pub etcd: u32,
    /// This program.
    pub harness: u32,
}

impl Pids {
    /// What they have used since they were started.
    pub fn cpu(&self) -> Result<Cpu> {
        Ok(Cpu {
            writer: self.writer.map_or(Ok(0.0), cpu_seconds)?,
            apiserver: cpu_seconds(self.apiserver)?,
            etcd: cpu_seconds(self.etcd)?,
            harness: cpu_seconds(self.harness)?,
        })
    }
}

fn cpu_seconds(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    // The second field is the name in parentheses, which may hold anything; utime and stime are the 14th and the 15th.
    let (_, rest) = text.rsplit_once(") ").with_context(|| format!("{path} is not as expected"))?;
    let ticks = rest.split(' ').skip(11).take(2).map(str::parse::<f64>).sum::<Result<f64, _>>();
    Ok(ticks.with_context(|| format!("{path} is not as expected"))? / TICKS)
}
