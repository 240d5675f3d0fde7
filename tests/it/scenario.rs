//! One test's own world: a namespace, an account at the registry, and an operator that sees nothing else.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use futures::FutureExt;
use http::Uri;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, api::ApiResource};
use regcred::{
    api::RegistryConnection,
    cli::{LogFormat, RunArguments},
    clock::Clock,
    controller::{Context, PASS_LIMIT},
    run::Outside,
};
use testenv::{Calls, Faults, eventually, fault::Counts, namespace};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

use crate::{closing::Seen, names::Names, refusing::refusing};
pub use crate::{
    shared::{
        DEADLINE, PASSWORD, Secure, Shared, WRONG, alone, install, install_crds, loose, loosened, secure,
        secure_if_used, shared,
    },
    tell::{get, is_ready, tell, tell_all},
};

/// One test's namespace, registry account and operator.
pub struct Scenario {
    pub shared: &'static Shared,
    pub client: Client,
    pub namespace: String,
    pub calls: Calls,
    operator: Option<Operator>,
    /// The ServiceAccount the operator acts as; an administrator if there is none.
    account: Option<kube::Config>,
    pub metrics_addr: Option<SocketAddr>,
    speed: u32,
    /// The clock of the operator that was started last: time does not go back with a new one.
    pub clock: Option<Clock>,
    /// How operators are started from now on.
    pub arguments: RunArguments,
    /// Host names made up for operators started from now on, and for those that run.
    pub names: Arc<Names>,
    /// Listeners that operators started from now on take for the API server too.
    pub more_api_servers: Vec<SocketAddr>,
    /// What operators started from now on see of this namespace only.
    pub confined: &'static [&'static str],
    /// How long one pass of the operator may take.
    pub pass_limit: Duration,
    /// What the requests of operators started from now on meet with, and which of them count.
    pub faults: Option<(Faults, Counts)>,
    /// Requests to these addresses of operators started from now on are refused as invalid.
    pub refused: Option<fn(&Uri) -> bool>,
    pub seen: Seen,
    /// Every password the user wrote into a Secret.
    pub passwords: Mutex<BTreeSet<String>>,
    /// How often a wrong password is tried once more: for a user who asks, or by a fresh process that finds its Secret touched.
    pub tried_again: usize,
    /// When it began.
    pub began: Instant,
}

/// A running operator.
struct Operator {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<()>>,
}

impl Scenario {
    /// A fresh namespace with an account of the same name at the registry, without an operator.
    pub async fn prepare(name: &str) -> Result<Self> {
        Self::prepare_on(shared().await?, name).await
    }

    /// The same on other shared parts.
    pub async fn prepare_on(shared: &'static Shared, name: &str) -> Result<Self> {
        let client = shared.plane.client()?;
        let namespace = namespace(&client, name).await?;
        shared.registry.set_password(&namespace, PASSWORD)?;
        let resource = ApiResource::erase::<RegistryConnection>(&());
        let seen = Seen::watch(Api::namespaced_with(client.clone(), &namespace, &resource));
        Ok(Self {
            shared,
            client,
            namespace,
            calls: Calls::new(),
            operator: None,
            account: None,
            metrics_addr: None,
            speed: 1,
            clock: None,
            arguments: RunArguments {
                allow_loopback: true,
                ca_file: None,
                https_proxy: None,
                no_proxy: None,
                forbid_private_addresses: false,
                require_source_host: false,
                revocation_grace: jiff::SignedDuration::from_mins(10),
                max_writes_per_second: None,
                metrics_addr: "127.0.0.1:0".parse()?,
                log_format: LogFormat::Text,
                installation: "regcred".into(),
                namespace: "regcred-system".into(),
            },
            names: Arc::default(),
            more_api_servers: vec![],
            confined: &testenv::client::CONFINED,
            pass_limit: PASS_LIMIT,
            refused: None,
            faults: None,
            seen,
            passwords: Mutex::default(),
            tried_again: 0,
            began: Instant::now(),
        })
    }

    /// The same with an operator.
    pub async fn start(name: &str) -> Result<Self> {
        let mut scenario = Self::prepare(name).await?;
        scenario.start_operator().await?;
        Ok(scenario)
    }

    /// The same with an operator for which time runs faster.
    pub async fn start_fast(name: &str, speed: u32) -> Result<Self> {
        let mut scenario = Self::prepare(name).await?;
        scenario.set_speed(speed);
        scenario.start_operator().await?;
        Ok(scenario)
    }

    /// Starts the operator and waits until it has the whole picture.
    pub async fn start_operator(&mut self) -> Result<()> {
        let config = self.account.clone().unwrap_or_else(|| self.shared.operator.clone());
        let mut client = testenv::client::confined_client(config, &self.namespace, self.confined, &self.calls)?;
        if let Some((faults, counts)) = &self.faults {
            client = faults.on(client, *counts);
        }
        if let Some(is_refused) = self.refused {
            client = refusing(client, is_refused);
        }
        let clock = match &self.clock {
            Some(before) => before.of_successor(),
            None if self.speed == 1 => Clock::system(),
            None => Clock::running(self.speed),
        };
        self.clock = Some(clock.clone());
        let api_server = self.more_api_servers.iter().copied().chain([self.api_server()?]).collect();
        let outside = Outside { api_server, lookup: self.names.clone() };
        let context = regcred::run::context(client, &self.arguments, clock, outside)?;
        let context = Arc::new(Context { pass_limit: self.pass_limit, ..context });
        let listener = TcpListener::bind(self.arguments.metrics_addr).await?;
        self.metrics_addr = Some(listener.local_addr()?);
        let (stop, stopped) = oneshot::channel();
        let shutdown = async { drop(stopped.await) }.boxed().shared();
        let task = tokio::spawn(regcred::run::run(Arc::clone(&context), listener, shutdown));
        self.operator = Some(Operator { stop, task });
        eventually("the operator to be synced", DEADLINE, async || Ok(context.index.is_synced().then_some(()))).await
    }

    /// Where the API server is.
    pub fn api_server(&self) -> Result<SocketAddr> {
        let url = self.shared.plane.config().cluster_url;
        Ok(url.authority().context("the API server's address")?.as_str().parse()?)
    }

    /// Starts the operator under the rights of a ServiceAccount.
    pub async fn act_as(&mut self, account: &str) -> Result<()> {
        self.account = Some(self.shared.plane.service_account_config(&self.namespace, account).await?);
        self.start_operator().await
    }

    /// How much faster time runs for the operator.
    pub fn speed(&self) -> u32 {
        self.speed
    }

    /// Lets time run faster for operators started from now on.
    pub fn set_speed(&mut self, speed: u32) {
        (self.speed, self.clock) = (speed, None);
    }

    /// Stops the operator as SIGTERM does.
    pub async fn stop_operator(&mut self) -> Result<()> {
        let Some(operator) = self.operator.take() else { return Ok(()) };
        drop(operator.stop);
        tokio::time::timeout(DEADLINE, operator.task).await.context("the operator did not end")???;
        Ok(())
    }

    /// Whether an operator runs.
    pub fn has_operator(&self) -> bool {
        self.operator.is_some()
    }

    /// Ends the operator as SIGKILL does: in the middle of whatever it does.
    pub async fn kill_operator(&mut self) {
        let Some(operator) = self.operator.take() else { return };
        operator.task.abort();
        drop(operator.task.await);
    }

    /// An image name in the account's part of the registry.
    pub fn image(&self) -> String {
        format!("{}/{}/app:v1", self.shared.registry.host(), self.namespace)
    }

    /// Access to the namespace's Secrets.
    pub fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Access to the namespace's connections.
    pub fn connections(&self) -> Api<RegistryConnection> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Waits until the Ready condition has this value and reason for the current generation.
    pub async fn ready(&self, name: &str, status: &str, reason: &str) -> Result<RegistryConnection> {
        self.until(name, |connection| is_ready(connection, status, reason))
            .await
            .with_context(|| format!("waiting for Ready {status} {reason}"))
    }

    /// Waits until the connection is as wanted and the operator has finished what it was doing: its event comes after the
    /// status.
    pub async fn until(&self, name: &str, wanted: impl Fn(&RegistryConnection) -> bool) -> Result<RegistryConnection> {
        let found = eventually(format!("connection {name}"), DEADLINE, async || {
            let connection = self.connections().get(name).await?;
            if wanted(&connection) {
                return Ok(Some(connection));
            }
            bail!("{}", serde_json::to_string(&connection.status)?)
        })
        .await?;
        if self.operator.is_some() {
            eventually("the operator to be at rest", DEADLINE, async || {
                Ok((self.metric("regcred_reconciles_under_way").await? == 0.0).then_some(()))
            })
            .await?;
        }
        Ok(found)
    }

    /// Waits until the Secret is as wanted.
    pub async fn until_secret(&self, name: &str, wanted: impl Fn(&Secret) -> bool) -> Result<Secret> {
        eventually(format!("Secret {name}"), DEADLINE, async || {
            Ok(self.secrets().get_opt(name).await?.filter(|secret| wanted(secret)))
        })
        .await
    }

    /// Failed logins of this scenario's account at the registry so far.
    pub fn failed_logins(&self) -> Result<usize> {
        self.shared.registry.failed_logins(&self.namespace)
    }

    /// Logins of this scenario's account that the registry accepted so far.
    pub fn good_logins(&self) -> Result<usize> {
        let log = self.shared.registry.access_log()?;
        Ok(log
            .iter()
            .filter(|access| {
                access.status == 200 && access.path == "/v2/" && access.user.as_deref() == Some(&self.namespace)
            })
            .count())
    }

    /// The value of one metric; zero while it does not exist.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let text = get(self.metrics_addr.context("no operator")?, "/metrics").await?.1;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(Ok(0.0), |value| Ok(value.trim().parse()?))
    }

    /// The pull credentials the kubelet would find for the scenario's image in this Secret.
    pub async fn kubelet_finds(&self, secret: &str) -> Result<Vec<(String, String)>> {
        self.shared.keyring.credentials(&self.image(), &[self.secrets().get(secret).await?])
    }
}
