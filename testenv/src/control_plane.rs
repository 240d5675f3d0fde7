//! A real control plane on loopback: etcd, kube-apiserver and the controllers that tests depend on.
//!
//! Real authentication, RBAC, admission, garbage collection and ServiceAccount tokens; no nodes, no scheduler. It lives in
//! one scratch folder on free ports, so any number can run side by side, and it is gone when its owner is.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::config::Kubeconfig;
use kube::{Api, Client};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::audit::{self, AuditEvent, Follower};
use crate::certificates::{Authority, SigningKey};
use crate::kubeconfig::{self, Login};
use crate::parts;
use crate::process::Process;
use crate::scratch::Scratch;
use crate::tools::{self, Tool};
use crate::wait::eventually;

/// How long each part may take to become ready; a busy machine needs far more than an idle one.
const DEADLINE: Duration = Duration::from_secs(90);

/// How long one look at a part may take before the next one.
const LOOK: Duration = Duration::from_secs(2);

/// How often the start is tried when another program took a port between its choice and its use.
const ATTEMPTS: usize = 4;

/// What programs say when that has happened.
const PORT_TAKEN: &str = "address already in use";

/// The name of the API server's process.
const APISERVER: &str = "kube-apiserver";

/// How many lines of a log go into an error.
const TAIL: usize = 20;

/// How long a handed-out ServiceAccount token is valid, in seconds.
const TOKEN_SECONDS: i64 = 24 * 60 * 60;

/// A running control plane, see the module. Dropping it ends it.
#[derive(Debug)]
pub struct ControlPlane {
    // Dropped in this order: first who talks, then who answers, then the folder they write into.
    processes: Vec<Process>,
    kubeconfig: Kubeconfig,
    config: kube::Config,
    authority: Authority,
    /// What signs the tokens of ServiceAccounts.
    tokens: SigningKey,
    port: u16,
    /// Where etcd listens.
    store: u16,
    scratch: Scratch,
}

impl ControlPlane {
    /// Starts one and waits until it is ready: `/readyz` is ok and the `default` ServiceAccount exists. Builds the
    /// programs first if need be.
    ///
    /// # Errors
    /// Names the part that failed, with the last lines of its log.
    pub async fn start() -> Result<Self> {
        let wanted = [Tool::Etcd, Tool::KubeApiserver, Tool::KubeControllerManager];
        let programs = tokio::task::spawn_blocking(move || tools::paths(&wanted)).await??;
        let mut attempt = 1;
        loop {
            match Self::launch(&programs).await {
                Err(error) if attempt < ATTEMPTS && format!("{error:#}").contains(PORT_TAKEN) => attempt += 1,
                other => return other,
            }
        }
    }

    async fn launch(programs: &[PathBuf]) -> Result<Self> {
        let [etcd, apiserver, controllers] = programs else { bail!("three programs make a control plane") };
        let scratch = Scratch::new("testenv-control-plane")?;
        let authority = Authority::new()?;
        let port = free_port()?;
        let admin = authority.client("testenv-admin", Some("system:masters"))?;
        let admin = kubeconfig::kubeconfig(port, authority.certificate(), &Login::Certificate(&admin))?;
        kubeconfig::write(&admin, &scratch.path().join("admin.kubeconfig"))?;
        let config = kubeconfig::config(admin.clone()).await?;
        let tokens = SigningKey::new()?;
        let processes = Vec::new();
        let mut plane = Self { processes, kubeconfig: admin, config, authority, tokens, port, store: 0, scratch };

        plane.store = plane.start_etcd(etcd).await?;
        plane.start_apiserver(apiserver)?;
        let client = plane.client()?;
        plane.ready("the API server", async || Ok(readyz(&client).await?.then_some(()))).await?;
        plane.start_controllers(controllers)?;
        let accounts = Api::<ServiceAccount>::namespaced(client, "default");
        plane.ready("the default ServiceAccount", async || Ok(accounts.get_opt("default").await?.map(drop))).await?;
        Ok(plane)
    }

    async fn start_etcd(&mut self, program: &Path) -> Result<u16> {
        let port = free_port()?;
        self.spawn("etcd", &parts::etcd(program, self.folder(), port))?;
        self.ready("etcd", async || Ok(Some(TcpStream::connect(("127.0.0.1", port)).await?))).await?;
        Ok(port)
    }

    /// Ends the API server and starts another one at the same address, with what the first has stored. Does not wait until it
    /// answers.
    ///
    /// # Errors
    /// It does not end, or cannot be started.
    pub async fn restart_apiserver(&mut self) -> Result<()> {
        let at =
            self.processes.iter().position(|process| process.name() == APISERVER).context("the API server runs")?;
        let old = self.processes.remove(at);
        tokio::task::spawn_blocking(move || {
            old.signal_term()?;
            old.wait(DEADLINE)?.context("the API server did not end")
        })
        .await??;
        let program = tokio::task::spawn_blocking(|| tools::path(Tool::KubeApiserver)).await??;
        self.start_apiserver(&program)
    }

    fn start_apiserver(&mut self, program: &Path) -> Result<()> {
        let audit_log = self.audit_log();
        let keys = (&self.authority, &self.tokens);
        let mut command = parts::apiserver(program, self.folder(), keys, self.port, self.store, &audit_log)?;
        // Tests keep it busy for minutes, and memory is cheaper than time.
        command.env("GOGC", "400");
        self.spawn(APISERVER, &command)
    }

    fn start_controllers(&mut self, program: &Path) -> Result<()> {
        let identity = self.authority.client(parts::CONTROLLERS_USER, None)?;
        let kubeconfig = self.write_kubeconfig("controllers", &Login::Certificate(&identity))?;
        self.spawn("kube-controller-manager", &parts::controllers(program, &kubeconfig))
    }

    fn spawn(&mut self, name: &str, command: &Command) -> Result<()> {
        let process = Process::spawn(name, command, &self.folder().join(format!("{name}.log")))?;
        self.processes.insert(0, process);
        Ok(())
    }

    /// Waits for `look`, and fails at once when a part has ended meanwhile.
    async fn ready<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Result<Option<T>>) -> Result<()> {
        let answer = eventually(what, DEADLINE, async || match self.ended()? {
            Some(error) => Ok(Some(Err(error))),
            // Without a limit a look at a foreign program on a lost port would hide that ours has ended.
            None => Ok(timeout(LOOK, look()).await.context("no answer")??.map(|_| Ok(()))),
        });
        match answer.await {
            Ok(answer) => answer,
            Err(error) => {
                let logs: Vec<String> = self.processes.iter().map(log_end).collect();
                Err(error.context(logs.join("\n")))
            }
        }
    }

    fn ended(&self) -> Result<Option<anyhow::Error>> {
        for process in &self.processes {
            if let Some(status) = process.try_wait()? {
                let error = anyhow::anyhow!("{} ended ({status})\n{}", process.name(), log_end(process));
                return Ok(Some(error));
            }
        }
        Ok(None)
    }

    /// The scratch folder with all logs; gone with the control plane unless kept.
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// Leaves the scratch folder in place for good.
    pub fn keep(&mut self) {
        self.scratch.keep();
    }

    /// The process ids of its parts.
    pub fn pids(&self) -> Vec<u32> {
        self.processes.iter().map(Process::pid).collect()
    }

    /// The API server.
    ///
    /// # Errors
    /// It was ended.
    pub fn apiserver(&self) -> Result<&Process> {
        self.processes.iter().find(|process| process.name() == APISERVER).context("the API server runs")
    }

    /// The process id of one part, such as `kube-apiserver`.
    pub fn pid(&self, name: &str) -> Option<u32> {
        self.processes.iter().find(|process| process.name() == name).map(Process::pid)
    }

    /// The API server's address, such as `https://127.0.0.1:40001`.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The administrator's kubeconfig (group `system:masters`).
    pub fn kubeconfig(&self) -> Kubeconfig {
        self.kubeconfig.clone()
    }

    /// The administrator's kubeconfig as a file.
    pub fn kubeconfig_path(&self) -> PathBuf {
        self.folder().join("admin.kubeconfig")
    }

    /// The administrator's client configuration, without kube's own retries.
    pub fn config(&self) -> kube::Config {
        self.config.clone()
    }

    /// A new administrator's client, without kube's own retries. It belongs to the async runtime that it is made in, so
    /// tests that share a control plane each make their own.
    ///
    /// # Errors
    /// The client cannot be put together.
    pub fn client(&self) -> Result<Client> {
        Client::try_from(self.config()).context("make a client")
    }

    /// A client configuration for a ServiceAccount, by a real token that is valid for a day.
    ///
    /// # Errors
    /// The ServiceAccount does not exist.
    pub async fn service_account_config(&self, namespace: &str, name: &str) -> Result<kube::Config> {
        let token = self.token(namespace, name).await?;
        let login = Login::Token(&token);
        kubeconfig::config(kubeconfig::kubeconfig(self.port, self.authority.certificate(), &login)?).await
    }

    /// The same as a kubeconfig file.
    ///
    /// # Errors
    /// The ServiceAccount does not exist, or the file cannot be written.
    pub async fn service_account_kubeconfig(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let token = self.token(namespace, name).await?;
        self.write_kubeconfig(&format!("{namespace}.{name}"), &Login::Token(&token))
    }

    async fn token(&self, namespace: &str, name: &str) -> Result<String> {
        let accounts = Api::<ServiceAccount>::namespaced(self.client()?, namespace);
        let spec = TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let answer = accounts.create_token_request(name, &PostParams::default(), &request).await;
        let answer = answer.with_context(|| format!("a token for the ServiceAccount {namespace}/{name}"))?;
        Ok(answer.status.context("a token request without an answer")?.token)
    }

    fn write_kubeconfig(&self, name: &str, login: &Login<'_>) -> Result<PathBuf> {
        let path = self.folder().join(format!("{name}.kubeconfig"));
        kubeconfig::write(&kubeconfig::kubeconfig(self.port, self.authority.certificate(), login)?, &path)?;
        Ok(path)
    }

    /// The answered requests so far whose line in the log contains `text`, such as a namespace's name: a long log takes long
    /// to read. An entry is written right after its answer, so wait for what must be there.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn audit_events(&self, text: &str) -> Result<Vec<AuditEvent>> {
        audit::read(&self.audit_log(), text)
    }

    /// Follows the audit log from its beginning.
    pub fn follow_audit(&self) -> Follower {
        Follower::new(self.audit_log())
    }

    fn audit_log(&self) -> PathBuf {
        self.folder().join("audit.log")
    }

    /// Ends it, as a drop does.
    pub fn stop(self) {}
}

async fn readyz(client: &Client) -> Result<bool> {
    let request = http::Request::get("/readyz").body(Vec::new())?;
    Ok(client.request_text(request).await? == "ok")
}

/// A port nobody listens on at this moment.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("find a free port")?;
    Ok(listener.local_addr()?.port())
}

fn log_end(process: &Process) -> String {
    format!("the end of {}:\n{}", process.log().display(), process.tail(TAIL))
}
