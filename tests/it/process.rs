//! The shipped command as a process of its own, with a control plane to itself.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::{Event, Secret};
use kube::{Api, Client, ResourceExt, api::DynamicObject};
use regcred::api::{RegistryConnection, provider::Provider};
use serde_json::{Value, json};
use testenv::{ControlPlane, Listener, Registry, Reply, Scratch, eventually, namespace, process::Process};

use crate::{
    conflict::{QUOTING, deny},
    scenario::{DEADLINE, get, install_crds, is_ready},
    shared::{OPERATOR_NAMESPACE, install_chart},
};

/// A password that would be noticed anywhere.
const CANARY: &str = "c4nary+Pa55/word=never";

/// A token that would be noticed anywhere.
const TOKEN: &str = "t0ken-c4nary.never/shown+at~all";

/// The password of a proxy, which would be noticed anywhere.
const PROXY: &str = "pr0xy-c4nary-never";

/// What every operator in these tests is told; by the environment, as a chart does it.
pub const ON_LOOPBACK: [(&str, &str); 2] = [("REGCRED_ALLOW_LOOPBACK", "1"), ("REGCRED_METRICS_ADDR", "127.0.0.1:0")];

/// The operator as a process, and its log.
pub struct Running {
    pub process: Process,
    log: PathBuf,
    _scratch: Scratch,
}

impl Running {
    /// Starts it against the cluster that the kubeconfig names.
    pub fn start(kubeconfig: &Path, rust_log: &str, environment: &[(&str, &str)]) -> Result<Self> {
        let scratch = Scratch::new("process")?;
        let log = scratch.path().join("regcred.log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_regcred"));
        command.arg("run").envs(environment.iter().copied()).env("KUBECONFIG", kubeconfig).env("RUST_LOG", rust_log);
        Ok(Self { process: Process::spawn("regcred", &command, &log)?, log, _scratch: scratch })
    }

    /// What it logged so far.
    pub fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(&self.log)?).into_owned())
    }

    /// Waits until it has logged this.
    pub async fn logs(&self, text: &str) -> Result<()> {
        eventually(format!("{text:?} in the log"), DEADLINE, async || Ok(self.log()?.contains(text).then_some(())))
            .await
    }

    /// The address it says it serves metrics at.
    pub async fn address(&self) -> Result<SocketAddr> {
        eventually("the metrics address in the log", DEADLINE, async || {
            let log = self.log()?;
            // As text, and as JSON.
            let rest = ["metrics_addr=", "\"metrics_addr\":\""].iter().find_map(|before| log.split_once(before));
            let address = rest.and_then(|(_, rest)| rest.split([' ', '"', '\n']).next());
            Ok(address.map(str::parse).transpose()?)
        })
        .await
    }

    /// Waits until it has the whole picture.
    pub async fn ready(&self) -> Result<()> {
        let address = self.address().await?;
        eventually("/readyz", DEADLINE, async || {
            let (status, body) = get(address, "/readyz").await?;
            if status == 200 { Ok(Some(())) } else { bail!("{status} {body}") }
        })
        .await
    }
}

/// Installs the chart; how its operator reaches the API server.
pub async fn installed_on(plane: &ControlPlane, values: &[&str]) -> Result<PathBuf> {
    install_chart(plane, values).await?;
    plane.service_account_kubeconfig(OPERATOR_NAMESPACE, "regcred").await
}

fn connection(namespace: &str, registry: &Registry) -> Result<RegistryConnection> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "regcred.dev/v1alpha1", "kind": "RegistryConnection",
        "metadata": {"name": "images", "namespace": namespace},
        "spec": {"provider": {"generic": {
            "registryUrl": format!("http://{}", registry.host()), "secretRef": {"name": "login"},
        }}},
    }))?)
}

async fn write_login(client: &Client, namespace: &str, username: &str, password: &str) -> Result<()> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret: Secret = serde_json::from_value(json!({
        "metadata": {"name": "login"}, "stringData": {"username": username, "password": password},
    }))?;
    match secrets.get_opt("login").await? {
        Some(_) => secrets.patch("login", &Default::default(), &kube::api::Patch::Merge(&secret)).await?,
        None => secrets.create(&Default::default(), &secret).await?,
    };
    Ok(())
}

/// Every form in which a text could slip into an output.
fn forms(secret: &str) -> Vec<(&'static str, String)> {
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let escaped: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let bytes = format!("{:?}", secret.as_bytes());
    let mut forms = vec![
        ("plain", secret.to_owned()),
        ("URL", escaped),
        ("hex", hex.clone()),
        ("upper hex", hex.to_uppercase()),
        ("list of bytes", bytes.trim_matches(['[', ']']).to_owned()),
    ];
    // base64 of a text inside another one depends on the position modulo three; the ends depend on the neighbours.
    for shift in 0..3 {
        let encoded = STANDARD.encode(format!("{}{secret}", "x".repeat(shift)));
        let start = if shift == 0 { 0 } else { 4 };
        forms.push(("base64", encoded[start..encoded.len() - 4].to_owned()));
    }
    forms
}

fn assert_clean(what: &str, text: &str, secrets: &[&str]) -> Result<()> {
    for secret in secrets {
        for (form, canary) in forms(secret) {
            if let Some(at) = text.find(&canary) {
                let line = text[..at].lines().count();
                bail!("a password is in {what} in {form} form, line {line}");
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_appears_nowhere_be_it_a_password_a_token_or_the_login_of_a_proxy() -> Result<()> {
    let (plane, registry) = tokio::try_join!(ControlPlane::start(), Registry::start())?;
    let client = plane.client()?;
    let operator = installed_on(&plane, &[]).await?;
    let namespace = namespace(&client, "canary").await?;
    let wrong = "an0ther+Canary/that-is=wrong";
    registry.set_password("canary", CANARY)?;
    write_login(&client, &namespace, "canary", CANARY).await?;
    // Both refuse what does not carry their canary, so each is really used.
    let with_token = Listener::plain(|seen| {
        let is_right = seen.basic().is_some_and(|(_, password)| password == CANARY);
        if seen.path() == "/token" {
            return if is_right { Reply::status(200).json(&json!({"token": TOKEN})) } else { Reply::status(401) };
        }
        if seen.bearer() == Some(TOKEN) {
            return Reply::status(200);
        }
        let realm = format!("http://{}/token", seen.header("host").unwrap_or_default());
        Reply::status(401).header("WWW-Authenticate", &format!("Bearer realm=\"{realm}\",service=\"x\""))
    })?;
    let proxy = Listener::plain(|_| Reply::status(403))?;
    let proxy_url = format!("http://proxy-user:{PROXY}@{}", proxy.host());
    let variables = [&ON_LOOPBACK[..], &[("REGCRED_HTTPS_PROXY", proxy_url.as_str())]].concat();
    let running = Running::start(&operator, "trace", &variables)?;
    let connections: Api<RegistryConnection> = Api::namespaced(client.clone(), &namespace);
    connections.create(&Default::default(), &connection(&namespace, &registry)?).await?;
    for (name, url) in [("token", with_token.url()), ("proxied", "https://registry.example.com".to_owned())] {
        let mut other = connection(&namespace, &registry)?;
        other.metadata.name = Some(name.into());
        let Provider::Generic(generic) = &mut other.spec.provider else { bail!("another provider") };
        generic.registry_url = url;
        connections.create(&Default::default(), &other).await?;
    }
    for (name, status, reason) in [("token", "True", "LoginProven"), ("proxied", "False", "Unreachable")] {
        eventually(format!("{name}: {reason}"), DEADLINE, async || {
            Ok(Some(connections.get(name).await?).filter(|now| is_ready(now, status, reason)))
        })
        .await?;
    }
    ensure!(proxy.was_told(PROXY), "the proxy was not told its login");
    let until = async |status: &str, reason: &str| {
        eventually(format!("Ready {status} {reason}"), DEADLINE, async || {
            Ok(Some(connections.get("images").await?).filter(|now| is_ready(now, status, reason)))
        })
        .await
    };

    // A good login, a refused one, malformed ones, a repair: every path that holds a credential.
    until("True", "LoginProven").await?;
    write_login(&client, &namespace, "canary", wrong).await?;
    until("False", "InvalidCredentials").await?;
    write_login(&client, &namespace, "canary", &format!("{CANARY}\n")).await?;
    until("False", "SecretMalformed").await?;
    write_login(&client, &namespace, &format!("{CANARY}:"), CANARY).await?;
    until("False", "SecretMalformed").await?;
    write_login(&client, &namespace, "canary", CANARY).await?;
    until("True", "LoginProven").await?;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    secrets.delete("images", &Default::default()).await?;
    eventually("the Secret again", DEADLINE, async || Ok(secrets.get_opt("images").await?)).await?;

    // Somebody else's policy that quotes what it denies.
    deny(&client, &namespace, QUOTING, "Invalid").await?;
    let mut denied = connection(&namespace, &registry)?;
    denied.metadata.name = Some("denied".into());
    connections.create(&Default::default(), &denied).await?;
    eventually("the denial", DEADLINE, async || {
        Ok(Some(connections.get("denied").await?).filter(|now| is_ready(now, "False", "Forbidden")))
    })
    .await?;

    let (_, metrics) = get(running.address().await?, "/metrics").await?;
    ensure!(metrics.contains("regcred_logins_total{result=\"LoginProven\"}"), "{metrics}");
    running.process.signal_term()?;
    ensure!(running.process.wait(DEADLINE)?.is_some_and(|status| status.success()), "it did not end well");

    let log = running.log()?;
    for source in ["kube_client", "hyper", "rustls"] {
        ensure!(log.lines().any(|line| line.contains(&format!(" {source}"))), "no line from {source} in the log");
    }
    let known = [CANARY, wrong, TOKEN, PROXY];
    assert_clean("the log", &log, &known)?;
    assert_clean("the metrics", &metrics, &known)?;
    let events: Api<Event> = Api::namespaced(client.clone(), &namespace);
    let events = serde_json::to_string(&events.list(&Default::default()).await?.items)?;
    ensure!(events.contains("InvalidCredentials"), "no event about the refusal");
    assert_clean("the events", &events, &known)?;
    let told = serde_json::to_string(&connections.list(&Default::default()).await?.items)?;
    ensure!(told.contains("are withheld"), "no word about the denial");
    assert_clean("the connections", &told, &known)?;
    let delivered = secrets.get("images").await?;
    assert_clean("the Secret's metadata", &serde_json::to_string(&delivered.metadata)?, &known)?;
    // The check can fail: the Secret's data hold the password.
    ensure!(assert_clean("the data", &serde_json::to_string(&delivered.data)?, &known).is_err());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn started_before_its_kinds_exist_it_waits_says_so_once_and_goes_on_by_itself() -> Result<()> {
    let (plane, registry) = tokio::try_join!(ControlPlane::start(), Registry::start())?;
    let client = plane.client()?;
    let operator = installed_on(&plane, &["crds.enabled=false"]).await?;
    let running = Running::start(
        &operator,
        "info",
        &[&ON_LOOPBACK[..], &[("REGCRED_LOG_FORMAT", "json"), ("POD_NAMESPACE", OPERATOR_NAMESPACE)]].concat(),
    )?;
    running.logs("\"registryconnections\",\"error\":\"the kind is not installed").await?;
    let address = eventually("the metrics address", DEADLINE, async || {
        let log = running.log()?;
        let first: Value = serde_json::from_str(log.lines().next().context("no line yet")?)?;
        Ok(first["metrics_addr"].as_str().map(str::parse::<SocketAddr>).transpose()?)
    })
    .await?;
    assert_eq!(get(address, "/livez").await?.0, 200);
    assert_eq!(get(address, "/readyz").await?.0, 503);

    let namespace = namespace(&client, "early").await?;
    registry.set_password("user", "password")?;
    write_login(&client, &namespace, "user", "password").await?;
    install_crds(&client).await?;
    let connections: Api<RegistryConnection> = Api::namespaced(client.clone(), &namespace);
    connections.create(&Default::default(), &connection(&namespace, &registry)?).await?;
    eventually("Ready", DEADLINE, async || {
        Ok(Some(connections.get("images").await?).filter(|now| is_ready(now, "True", "LoginProven")))
    })
    .await?;
    assert_eq!(get(address, "/readyz").await?.0, 200);
    let log = running.log()?;
    assert_eq!(log.matches("the kind is not installed").count(), 2, "once for each kind: {log}");
    assert!(log.lines().next().is_some_and(|line| line.contains("\"namespace\":\"regcred-system\"")), "{log}");
    let whose = format!("\"connection\":\"RegistryConnection/{namespace}/images\"");
    assert!(log.contains(&whose) && !log.contains("object.ref"), "it is not told whose pass it was: {log}");
    for line in log.lines() {
        serde_json::from_str::<Value>(line).with_context(|| format!("not JSON: {line}"))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_it_within_its_grace_even_with_a_registry_that_does_not_answer() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let client = plane.client()?;
    let operator = installed_on(&plane, &[]).await?;
    let namespace = namespace(&client, "term").await?;
    write_login(&client, &namespace, "user", "password").await?;
    // Accepts connections and never says a word.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = silent.local_addr()?;
    let running = Running::start(&operator, "info", &ON_LOOPBACK)?;
    running.ready().await?;
    let object: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "regcred.dev/v1alpha1", "kind": "RegistryConnection",
        "metadata": {"name": "images"},
        "spec": {"provider": {"generic": {"registryUrl": format!("http://{address}"), "secretRef": {"name": "login"}}}},
    }))?;
    let resource = kube::api::ApiResource::erase::<RegistryConnection>(&());
    let objects: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource);
    objects.create(&Default::default(), &object).await?;
    let (_held, _) = tokio::time::timeout(DEADLINE, silent.accept()).await??;

    running.process.signal_term()?;
    let status = running.process.wait(Duration::from_secs(30))?.context("it did not end")?;
    assert!(status.success(), "{status}");
    let log = running.log()?;
    assert!(log.contains("SIGTERM: ending") && log.contains("work unfinished"), "{log}");
    Ok(())
}

#[test]
fn wrong_arguments_and_a_missing_cluster_are_told_in_one_sentence() -> Result<()> {
    let run = |arguments: &[&str]| -> Result<(bool, String)> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_regcred"));
        let output =
            command.args(arguments).env("KUBECONFIG", "/nowhere/kubeconfig").env("HOME", "/nowhere").output()?;
        Ok((output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()))
    };
    for (arguments, words) in [
        (&["run", "--metrics-addr", "127.0.0.1:0"][..], "set KUBECONFIG to a kubeconfig file"),
        (&["run", "--metrics-addr", "somewhere"], "is not an address"),
        (&["run", "--unknown"], "unexpected argument '--unknown'"),
    ] {
        let (success, text) = run(arguments)?;
        assert!(!success && text.contains(words), "{arguments:?}: {text}");
        assert!(!text.contains("panicked"), "{text}");
    }
    Ok(())
}

#[test]
fn whoever_has_read_enough_of_the_output_may_hang_up() -> Result<()> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_regcred"));
    let mut child = command.arg("crd").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    drop(child.stdout.take());
    let output = child.wait_with_output()?;
    ensure!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    Ok(())
}

#[test]
fn prints_its_kinds_as_yaml() -> Result<()> {
    let output = Command::new(env!("CARGO_BIN_EXE_regcred")).arg("crd").output()?;
    let text = String::from_utf8(output.stdout)?;
    assert_eq!(text, regcred::api::crd::crds_yaml()?);
    let crds: Vec<k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition> =
        serde_saphyr::from_multiple(&text)?;
    let names: Vec<String> = crds.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["registryconnections.regcred.dev", "clusterregistryconnections.regcred.dev"]);
    Ok(())
}
