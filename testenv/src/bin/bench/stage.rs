//! What the benchmark runs on: a control plane, a registry, a provider, and the accounts of those who are measured.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use testenv::process::Process;
use testenv::provider::digital_ocean;
use testenv::tools::{self, Tool};
use testenv::{ControlPlane, DigitalOcean, Registry, Scratch};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::audit::{Who, Window};
use crate::floor::{self, Job, Verb};
use crate::machine::{Cpu, Pids, now};
use crate::operator::{NAMESPACE, Operator};
use crate::options::Options;
use crate::setup::{FLOOR, OPERATOR, install, open_account};

/// How the audit log names [`OPERATOR`].
pub const OPERATOR_USER: &str = "system:serviceaccount:regcred-system:regcred";

/// How the audit log names [`FLOOR`].
pub const FLOOR_USER: &str = "system:serviceaccount:regcred-system:bare-loop";

/// The registry's name at the provider.
pub const REGISTRY: &str = "team";

/// The account at the registry with passwords.
pub const LOGIN: (&str, &str) = ("team-puller", "team-puller-password");

/// The programs, so that they are built in one go.
const TOOLS: [Tool; 6] =
    [Tool::KubeApiserver, Tool::KubeControllerManager, Tool::Kubectl, Tool::Etcd, Tool::Registry, Tool::Crane];

/// For so long after a kind is established the API server delays every creation of that kind by two seconds, so that the
/// other members of a control plane know it too (apiextensions-apiserver, `customresource_handler.go`, `justCreated`).
const KIND_IS_NEW: Duration = Duration::from_secs(3);

/// How often the end of another program, or the audit log, is looked at.
pub const POLL: Duration = Duration::from_millis(50);

/// Who has not worked for so long is at rest.
const QUIET: Duration = Duration::from_secs(2);

/// How long anything may take that takes a while for every target, and how much more for each.
const DEADLINE: (Duration, Duration) = (Duration::from_secs(120), Duration::from_millis(50));

/// See the module. Dropping it ends it all.
pub struct Stage {
    /// The operator, while it runs.
    pub operator: Option<Operator>,
    /// The registry that judges logins by passwords.
    pub registry: Registry,
    /// The provider, with a registry of its own.
    pub ocean: DigitalOcean,
    /// The control plane.
    pub plane: ControlPlane,
    /// An administrator's client.
    pub client: Client,
    /// What was asked of the API server.
    pub window: Window,
    /// What the command line says.
    pub options: Options,
    /// How the operator reaches the API server, and how the bare loop does.
    kubeconfigs: (PathBuf, PathBuf),
    folder: Scratch,
}

impl Stage {
    /// Sets it, without any operator.
    pub async fn set(options: &Options) -> Result<Self> {
        spawn_blocking(|| tools::paths(&TOOLS)).await??;
        let folder = Scratch::new("regcred-bench")?;
        let account = digital_ocean::Options { registries: vec![REGISTRY.to_owned()], ..Default::default() };
        let (plane, registry, ocean) =
            tokio::try_join!(ControlPlane::start(), Registry::start(), DigitalOcean::start(account))?;
        registry.set_password(LOGIN.0, LOGIN.1)?;
        let kubectl = spawn_blocking(|| tools::path(Tool::Kubectl)).await??;
        install(&kubectl, &plane.kubeconfig_path(), folder.path()).await?;
        let client = plane.client()?;
        open_account(&client).await?;
        sleep(KIND_IS_NEW).await;
        let operator = plane.service_account_kubeconfig(NAMESPACE, OPERATOR).await?;
        let floor = plane.service_account_kubeconfig(NAMESPACE, FLOOR).await?;
        let window = Window::new(plane.follow_audit());
        let (kubeconfigs, options) = ((operator, floor), options.clone());
        Ok(Self { operator: None, registry, ocean, plane, client, window, options, kubeconfigs, folder })
    }

    /// Starts the operator, and waits until it has nothing more to do.
    pub async fn start(&mut self) -> Result<&Operator> {
        self.start_at_once().await?;
        self.quiet(Some(Who::Operator)).await?;
        self.operator()
    }

    /// Starts the operator, and waits until it is ready.
    pub async fn start_at_once(&mut self) -> Result<&Operator> {
        let log = self.folder.path().join("operator.log");
        let operator = Operator::start(&self.options.operator, &self.kubeconfigs.0, &log).await?;
        Ok(self.operator.insert(operator))
    }

    /// Kills the operator, if it runs. Its watches are in the audit log then: they are written down when they end.
    pub async fn kill(&mut self) -> Result<()> {
        if let Some(operator) = self.operator.take() {
            operator.kill();
            sleep(QUIET / 4).await;
        }
        self.window.look()
    }

    /// The running operator.
    pub fn operator(&self) -> Result<&Operator> {
        self.operator.as_ref().context("the operator runs")
    }

    /// Where the files of this run are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Whose CPU time is read.
    pub fn pids(&self) -> Result<Pids> {
        let of = |name| self.plane.pid(name).with_context(|| format!("{name} runs"));
        let writer = self.operator.as_ref().map(Operator::pid);
        Ok(Pids { writer, apiserver: of("kube-apiserver")?, etcd: of("etcd")?, harness: std::process::id() })
    }

    /// Waits until somebody, or everybody, has been at rest for a while.
    pub async fn quiet(&mut self, sender: Option<Who>) -> Result<()> {
        let (since, begun) = (Instant::now(), now()?);
        loop {
            self.window.look()?;
            let rest = now()?.duration_since(self.window.last_work(sender).unwrap_or(begun).max(begun));
            if rest.as_secs_f64() >= QUIET.as_secs_f64() {
                return Ok(());
            }
            self.is_in_time(since, "rest")?;
            sleep(POLL).await;
        }
    }

    /// Waits until the audit log has so many writes of the operator to Secrets of these names.
    pub async fn until_written(&mut self, verb: &str, name: &str, count: usize) -> Result<()> {
        let since = Instant::now();
        loop {
            self.window.look()?;
            let found = self.window.count(Who::Operator, verb, "secrets", name);
            if found >= count {
                return Ok(());
            }
            self.is_in_time(since, &format!("{count} times {verb} of {name}; there were {found}"))?;
            sleep(POLL).await;
        }
    }

    /// Fails if the operator, where there is one, has ended, or if it takes too long.
    pub fn is_in_time(&self, since: Instant, what: &str) -> Result<()> {
        self.operator.as_ref().map_or(Ok(()), Operator::is_alive)?;
        let most = DEADLINE.0 + DEADLINE.1 * u32::try_from(self.options.targets)?;
        if since.elapsed() > most {
            let tail = self.operator.as_ref().map(Operator::tail).unwrap_or_default();
            bail!("waited {} s for {what}\n{tail}", most.as_secs());
        }
        Ok(())
    }

    /// Runs the bare loop over these targets, and takes them away again: wall time by the audit log, and CPU seconds.
    pub async fn bare_loop(
        &mut self,
        verb: Verb,
        secret: Secret,
        targets: Vec<(String, String)>,
    ) -> Result<(f64, Cpu)> {
        ensure!(self.operator.is_none(), "the bare loop runs alone");
        self.quiet(None).await?;
        self.window.begin()?;
        let (path, count) = (self.folder.path().join("floor.json"), targets.len());
        let job = Job { kubeconfig: self.kubeconfigs.1.clone(), secret, targets, verb, pids: self.pids()? };
        std::fs::write(&path, serde_json::to_vec(&job)?).context("write the bare loop's job")?;
        let mut command = Command::new(std::env::current_exe().context("find this program's own path")?);
        command.arg(crate::FLOOR).arg(&path);
        self.ran("the bare loop", &command).await?;
        let cpu =
            serde_json::from_slice(&std::fs::read(floor::answer(&path))?).context("read the bare loop's answer")?;
        // The entry of the last answer is written right after it.
        self.quiet(Some(Who::Floor)).await?;
        let verb = match verb {
            Verb::Post => "create",
            Verb::Put => "update",
        };
        let found = self.window.count(Who::Floor, verb, "secrets", "");
        ensure!(found == count, "the audit log has {found} writes of the bare loop instead of {count}");
        let first = self.window.first(Who::Floor, verb, "secrets", "")?;
        let last = self.window.last(Who::Floor, verb, "secrets", "")?;
        println!("the bare loop: {verb} of {count} Secrets");
        Ok((crate::audit::seconds(first, last), cpu))
    }

    async fn ran(&self, name: &str, command: &Command) -> Result<()> {
        ran(name, command, self.folder.path()).await
    }
}

/// Runs a program to its good end.
pub async fn ran(name: &str, command: &Command, folder: &Path) -> Result<()> {
    let process = Process::spawn(name, command, &folder.join("programs.log"))?;
    loop {
        match process.try_wait()? {
            None => sleep(POLL).await,
            Some(status) if status.success() => return Ok(()),
            Some(status) => bail!("{name} failed ({status}):\n{}", process.tail(20)),
        }
    }
}
