//! What every scenario stands on: the shared parts, an operator of its own, and the closing checks.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use futures::FutureExt;
use k8s_openapi::{
    ByteString, api::core::v1::Secret, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DeleteParams, Patch, PatchParams, PostParams},
};
use regcred::{
    api::{ConditionType, RegistryConnection, condition, connection::crds},
    cli::{LogFormat, RunArguments},
    clock::Clock,
};
use serde_json::{Value, json};
use testenv::{Calls, Conditions, ControlPlane, Keyring, Registry, Snapshot, eventually, namespace};
use tokio::{
    net::TcpListener,
    sync::{OnceCell, oneshot},
    task::JoinHandle,
};

/// How long anything may take before a test gives up.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A password that must never show up anywhere.
pub const PASSWORD: &str = "right-password-1";

/// A password the registry does not know.
pub const WRONG: &str = "wrong-password-2";

/// What all scenarios share; it ends with the process.
pub struct Shared {
    pub plane: ControlPlane,
    pub registry: Registry,
    pub keyring: Keyring,
    conditions: Conditions,
}

static SHARED: OnceCell<Shared> = OnceCell::const_new();

/// The shared parts, started by whoever comes first.
pub async fn shared() -> Result<&'static Shared> {
    SHARED
        .get_or_try_init(async || {
            let (plane, registry) = tokio::try_join!(ControlPlane::start(), Registry::start())?;
            install_crds(&plane.client()?).await?;
            Ok(Shared { plane, registry, keyring: Keyring::start()?, conditions: Conditions::start()? })
        })
        .await
}

/// Installs the CustomResourceDefinitions and waits until the API server serves them.
pub async fn install_crds(client: &Client) -> Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for crd in crds() {
        definitions.create(&PostParams::default(), &crd).await?;
    }
    let connections: Api<RegistryConnection> = Api::all(client.clone());
    eventually("the kinds to be served", DEADLINE, async || Ok(Some(connections.list(&Default::default()).await?)))
        .await?;
    Ok(())
}

/// One test's namespace, registry account and operator.
pub struct Scenario {
    pub shared: &'static Shared,
    pub client: Client,
    pub namespace: String,
    pub calls: Calls,
    operator: Option<Operator>,
    /// The ServiceAccount the operator acts as; an administrator if there is none.
    account: Option<kube::Config>,
    pub metrics_addr: Option<std::net::SocketAddr>,
    speed: u32,
}

/// A running operator.
struct Operator {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<()>>,
}

impl Scenario {
    /// A fresh namespace with an account of the same name at the registry, without an operator.
    pub async fn prepare(name: &str) -> Result<Self> {
        let shared = shared().await?;
        let client = shared.plane.client()?;
        let namespace = namespace(&client, name).await?;
        shared.registry.set_password(&namespace, PASSWORD)?;
        Ok(Self {
            shared,
            client,
            namespace,
            calls: Calls::new(),
            operator: None,
            account: None,
            metrics_addr: None,
            speed: 1,
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
        let config = self.account.clone().unwrap_or_else(|| self.shared.plane.config());
        let client =
            testenv::client::confined_client(config, &self.namespace, &testenv::client::CONFINED, &self.calls)?;
        let arguments = RunArguments {
            allow_loopback: true,
            metrics_addr: "127.0.0.1:0".parse()?,
            log_format: LogFormat::Text,
            namespace: "regcred-system".into(),
        };
        let clock = if self.speed == 1 { Clock::system() } else { Clock::running(self.speed) };
        let context = Arc::new(regcred::run::context(client, &arguments, clock)?);
        let listener = TcpListener::bind(arguments.metrics_addr).await?;
        self.metrics_addr = Some(listener.local_addr()?);
        let (stop, stopped) = oneshot::channel();
        let shutdown = async { drop(stopped.await) }.boxed().shared();
        let task = tokio::spawn(regcred::run::run(Arc::clone(&context), listener, shutdown));
        self.operator = Some(Operator { stop, task });
        eventually("the operator to be synced", DEADLINE, async || Ok(context.index.is_synced().then_some(()))).await
    }

    /// Starts the operator under the rights of a ServiceAccount.
    pub async fn act_as(&mut self, account: &str) -> Result<()> {
        self.account = Some(self.shared.plane.service_account_config(&self.namespace, account).await?);
        self.start_operator().await
    }

    /// Lets time run faster for operators started from now on.
    pub fn set_speed(&mut self, speed: u32) {
        self.speed = speed;
    }

    /// Stops the operator as SIGTERM does.
    pub async fn stop_operator(&mut self) -> Result<()> {
        let Some(operator) = self.operator.take() else { return Ok(()) };
        drop(operator.stop);
        tokio::time::timeout(DEADLINE, operator.task).await.context("the operator did not end")???;
        Ok(())
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

    /// Writes a Secret with a login as users do.
    pub async fn write_login(&self, name: &str, password: &str) -> Result<Secret> {
        self.write_secret(name, "Opaque", json!({"username": self.namespace, "password": password})).await
    }

    /// Creates a Secret or replaces its data.
    pub async fn write_secret(&self, name: &str, type_: &str, data: Value) -> Result<Secret> {
        let data: std::collections::BTreeMap<String, ByteString> =
            serde_json::from_value::<serde_json::Map<String, Value>>(data)?
                .into_iter()
                .map(|(key, value)| (key, ByteString(value.as_str().unwrap_or_default().as_bytes().to_vec())))
                .collect();
        let secret: Secret = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Secret", "type": type_,
            "metadata": {"name": name}, "data": data,
        }))?;
        let secrets = self.secrets();
        Ok(match secrets.get_opt(name).await? {
            Some(old) => {
                let mut new = secret;
                new.metadata.resource_version = old.resource_version();
                secrets.replace(name, &PostParams::default(), &new).await?
            }
            None => secrets.create(&PostParams::default(), &secret).await?,
        })
    }

    /// The spec of a connection to the shared registry that reads the Secret `login`.
    pub fn spec(&self) -> Value {
        json!({"provider": {"generic": {
            "registryUrl": format!("http://{}", self.shared.registry.host()), "secretRef": {"name": "login"},
        }}})
    }

    /// Creates a connection.
    pub async fn connect(&self, name: &str, spec: Value) -> Result<RegistryConnection> {
        let connection: RegistryConnection = serde_json::from_value(json!({
            "apiVersion": "regcred.dev/v1alpha1", "kind": "RegistryConnection",
            "metadata": {"name": name, "namespace": self.namespace}, "spec": spec,
        }))?;
        Ok(self.connections().create(&PostParams::default(), &connection).await?)
    }

    /// Changes a connection with a merge patch.
    pub async fn edit(&self, name: &str, patch: Value) -> Result<RegistryConnection> {
        Ok(self.connections().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?)
    }

    /// Changes a Secret with a merge patch.
    pub async fn edit_secret(&self, name: &str, patch: Value) -> Result<Secret> {
        Ok(self.secrets().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?)
    }

    /// Waits until the Ready condition has this value and reason for the current generation.
    pub async fn ready(&self, name: &str, status: &str, reason: &str) -> Result<RegistryConnection> {
        self.until(name, |connection| is_ready(connection, status, reason))
            .await
            .with_context(|| format!("waiting for Ready {status} {reason}"))
    }

    /// Waits until the connection is as wanted.
    pub async fn until(&self, name: &str, wanted: impl Fn(&RegistryConnection) -> bool) -> Result<RegistryConnection> {
        eventually(format!("connection {name}"), DEADLINE, async || {
            let connection = self.connections().get(name).await?;
            if wanted(&connection) {
                return Ok(Some(connection));
            }
            bail!("{}", serde_json::to_string(&connection.status)?)
        })
        .await
    }

    /// Waits until the Secret is as wanted.
    pub async fn until_secret(&self, name: &str, wanted: impl Fn(&Secret) -> bool) -> Result<Secret> {
        eventually(format!("Secret {name}"), DEADLINE, async || {
            Ok(self.secrets().get_opt(name).await?.filter(|secret| wanted(secret)))
        })
        .await
    }

    /// A connection that is ready, with its login Secret, and nothing counted yet.
    pub async fn connected(&self, name: &str) -> Result<RegistryConnection> {
        self.write_login("login", PASSWORD).await?;
        self.connect(name, self.spec()).await?;
        self.ready(name, "True", "LoginProven").await
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

    /// The pull credentials the kubelet would find for the scenario's image in this Secret.
    pub async fn kubelet_finds(&self, secret: &str) -> Result<Vec<(String, String)>> {
        self.shared.keyring.credentials(&self.image(), &[self.secrets().get(secret).await?])
    }

    /// The closing checks: another pass over everything writes nothing, every status passes the rules of GitOps tools, and
    /// every Secret that was written passes the kubelet's keyring.
    pub async fn finish(mut self) -> Result<()> {
        let kinds = [ApiResource::erase::<RegistryConnection>(&())];
        let before = Snapshot::take(&self.client, &self.namespace, &kinds).await?;
        self.stop_operator().await?;
        self.calls.clear();
        self.start_operator().await?;
        self.until_all_looked_at().await?;
        let after = Snapshot::take(&self.client, &self.namespace, &kinds).await?;
        let differences = before.differences(&after);
        ensure!(differences.is_empty(), "a second pass wrote something: {differences:?}");
        self.judge().await?;
        self.stop_operator().await
    }

    /// Waits until a fresh operator has looked at every connection: its metrics count the passes.
    pub async fn until_all_looked_at(&self) -> Result<()> {
        let connections = self.connections().list(&Default::default()).await?.items.len();
        eventually("every connection to be looked at", DEADLINE, async || {
            let passes = self.metric("regcred_reconciles_total{result=\"completed\"}").await?;
            Ok((passes >= connections as f64).then_some(()))
        })
        .await
    }

    /// The value of one metric; zero while it does not exist.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let text = get(self.metrics_addr.context("no operator")?, "/metrics").await?.1;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(Ok(0.0), |value| Ok(value.trim().parse()?))
    }

    async fn judge(&self) -> Result<()> {
        for connection in self.connections().list(&Default::default()).await? {
            let mut object = serde_json::to_value(&connection)?;
            object["apiVersion"] = "regcred.dev/v1alpha1".into();
            object["kind"] = "RegistryConnection".into();
            let judgement = self.shared.conditions.judge(&object)?;
            ensure!(judgement.violations.is_empty(), "{}: {:?}", connection.name_any(), judgement.violations);
            let expected = match &connection.status {
                Some(status) if condition::is_true(&status.conditions, ConditionType::Stalled) => "Failed",
                Some(status) if condition::is_true(&status.conditions, ConditionType::Ready) => "Current",
                Some(_) | None => "InProgress",
            };
            ensure!(
                judgement.kstatus == expected,
                "{}: kstatus says {}, expected {expected}",
                connection.name_any(),
                judgement.kstatus
            );
        }
        for secret in self.secrets().list(&Default::default()).await? {
            if secret.labels().get("app.kubernetes.io/managed-by").is_some_and(|manager| manager == "regcred") {
                let found = self.shared.keyring.credentials(&self.image(), std::slice::from_ref(&secret))?;
                ensure!(found.len() == 1, "the kubelet finds {} credentials in {}", found.len(), secret.name_any());
            }
        }
        Ok(())
    }

    /// Deletes a Secret.
    pub async fn delete_secret(&self, name: &str) -> Result<()> {
        self.secrets().delete(name, &DeleteParams::default()).await?;
        Ok(())
    }
}

/// Whether the Ready condition has this value and reason and is about the current generation.
pub fn is_ready(connection: &RegistryConnection, status: &str, reason: &str) -> bool {
    let Some(observed) = &connection.status else { return false };
    observed.observed_generation == connection.metadata.generation
        && condition::find(&observed.conditions, ConditionType::Ready)
            .is_some_and(|ready| ready.status == status && ready.reason == reason)
}

/// The value of a condition as `True/Reason`, or `-` if it is absent.
pub fn tell(connection: &RegistryConnection, kind: ConditionType) -> String {
    let conditions = connection.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    condition::find(conditions, kind).map_or_else(|| "-".into(), |found| format!("{}/{}", found.status, found.reason))
}

/// All conditions at a glance: Ready, CredentialsValid, Delivered, Reconciling, Stalled.
pub fn tell_all(connection: &RegistryConnection) -> [String; 5] {
    use ConditionType::{CredentialsValid, Delivered, Ready, Reconciling, Stalled};
    [Ready, CredentialsValid, Delivered, Reconciling, Stalled].map(|kind| tell(connection, kind))
}

/// One HTTP GET on loopback: status code and body.
pub async fn get(address: std::net::SocketAddr, path: &str) -> Result<(u16, String)> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: test\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no head")?;
    let status = head.split_whitespace().nth(1).context("no status")?.parse()?;
    Ok((status, body.to_owned()))
}
