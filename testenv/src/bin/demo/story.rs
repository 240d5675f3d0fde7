//! The story: what is done, in which order, and what the cluster, the registry and the clients say to it.
//!
//! Every value that is printed was read in this run; whatever is not as it should be ends the story with an error.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, ResourceExt as _};

use crate::connection::{Sighting, Watch};
use crate::issued;
use crate::linked;
use crate::operator;
use crate::stage::Stage;
use crate::told;
use crate::wide;

/// The namespace that it plays in.
pub const NAMESPACE: &str = "shop";

/// The account that Pods are to pull with.
pub const USER: &str = "shop-puller";

/// Its password at the registry.
pub const PASSWORD: &str = "puller-password";

/// Another account, so that what is counted of [`USER`] is the operator's and the puller's alone.
const PUBLISHER: (&str, &str) = ("publisher", "publisher-password");

/// What [`PASSWORD`] is broken to.
const WRONG_PASSWORD: &str = "not-the-password";

/// The kind's definition.
const CRD: &str = "registryconnections.regcred.dev";

/// For so long after a kind is established the API server delays every creation of that kind by two seconds, so that the
/// other members of a control plane know it too (apiextensions-apiserver, `customresource_handler.go`, `justCreated`).
const KIND_IS_NEW: Duration = Duration::from_secs(2);

/// The names that stand in the example.
const EXAMPLE: &str = "own-authority.yaml";
pub const REGISTRY: &str = "registry.example.com";
const TOKEN_SERVER: &str = "auth.example.com";
pub const AUTHORITY: &str = "registry-authority";
const SOURCE: &str = "registry-login";
const TARGET: &str = "team-images";

/// The private repository.
const REPOSITORY: &str = "shop/web";

/// The private image.
pub fn image(host: &str) -> String {
    format!("{host}/{REPOSITORY}:v1")
}

/// Tells it from the beginning to the end; what it started keeps running.
pub async fn tell(stage: &mut Stage) -> Result<()> {
    the_parts(stage).await?;
    the_operator(stage).await?;
    let pushed = a_private_image(stage).await?;
    let mut watch = Watch::open(stage.plane.client()?, NAMESPACE).await?;
    a_connection(stage, &mut watch).await?;
    let delivered = the_pull(stage, &pushed).await?;
    a_wrong_password(stage, &mut watch, &delivered, &pushed).await?;
    the_recovery(stage, &mut watch, &delivered, &pushed).await?;
    let next = issued::tell(stage, 8).await?;
    let next = wide::tell(stage, next).await?;
    let next = linked::tell(stage, next).await?;
    the_cost(stage, next)
}

async fn the_parts(stage: &Stage) -> Result<()> {
    told::step(1, "A control plane and a registry with a token server, on this machine");
    let version = stage.plane.client()?.apiserver_version().await.context("ask for the version")?;
    told::fact(&format!("kube-apiserver {} answers at {}", version.git_version, stage.plane.url()));
    told::fact(&format!("the registry listens at {}", stage.registry.url()));
    told::fact(&format!("its token server is {}; an authority of their own signed both", stage.tokens.realm()));
    Ok(())
}

async fn the_operator(stage: &mut Stage) -> Result<()> {
    told::step(2, "The installation, and the operator as a process of its own, with the rights of its Pods");
    let kubectl = &stage.kubectl;
    kubectl.show(&["apply", "--filename", "deploy/install.yaml"]).await?;
    let crd = format!("crd/{CRD}");
    kubectl.show(&["wait", "--for", "condition=Established", "--timeout", "30s", &crd]).await?;
    // Established comes a moment before the kind is really served, and the operator's start is measured.
    kubectl.show(&["get", "regconn", "--all-namespaces"]).await?;
    told::command(&format!("regcred {}", operator::ARGUMENTS.join(" ")));
    let operator = stage.start_operator().await?;
    let (pid, took) = (operator.pid(), told::milliseconds(operator.ready_after));
    told::fact(&format!("process {pid} answers /readyz with 200, {took} after its start"));
    Ok(())
}

async fn a_private_image(stage: &Stage) -> Result<String> {
    told::step(3, "A private image");
    let (registry, (user, password)) = (&stage.registry, PUBLISHER);
    stage.tokens.set_password(user, password);
    stage.tokens.grant(user, REPOSITORY, &["pull", "push"]);
    stage.tokens.set_password(USER, PASSWORD);
    stage.tokens.grant(USER, REPOSITORY, &["pull"]);
    let image = image(&registry.host());
    let digest = registry.crane().push(&image, user, password).await?;
    told::fact(&format!("pushed {image} as {user}: {digest}"));
    let before = registry.access_log()?.len();
    if registry.crane().pull(&image, b"{}").await.is_ok() {
        bail!("{image} can be pulled without a login");
    }
    let log = registry.access_log()?;
    let refused = log.iter().skip(before).find(|access| access.status == 401).context("no 401 in the access log")?;
    told::fact(&format!(
        "a pull without a login fails; the registry's log: {} {} {}",
        refused.method, refused.path, refused.status
    ));
    stage.kubectl.show(&["create", "namespace", NAMESPACE]).await?;
    let literals = [format!("--from-literal=username={USER}"), format!("--from-literal=password={PASSWORD}")];
    let create = ["create", "secret", "generic", SOURCE, "--namespace", NAMESPACE, &literals[0], &literals[1]];
    stage.kubectl.show(&create).await?;
    let certificate = format!("--from-file={}", stage.authority.display());
    stage.kubectl.show(&["create", "configmap", AUTHORITY, "--namespace", NAMESPACE, &certificate]).await?;
    Ok(digest)
}

async fn a_connection(stage: &Stage, watch: &mut Watch) -> Result<()> {
    told::step(4, "A connection, and the Secret it leads to");
    let (registry, token_server) = (stage.registry.host(), stage.token_host());
    let file = stage.example(EXAMPLE, &[(REGISTRY, &registry), (TOKEN_SERVER, &token_server)])?;
    told::fact(&format!("the file is examples/{EXAMPLE} with these hosts for {REGISTRY} and {TOKEN_SERVER}"));
    let file = file.to_str().context("a path in UTF-8")?;
    the_kind_is_no_longer_new(stage).await?;
    let ran = stage.kubectl.show(&["apply", "--namespace", NAMESPACE, "--filename", file]).await?;
    let ready = watch.until_ready("True").await?;
    let from_start = told::milliseconds(ready.at.duration_since(ran.started));
    told::fact(&format!("Ready {from_start} after kubectl was started, {}", relative(ready.at, ran.returned)));
    tell_conditions(&ready);
    let requests = stage.tokens.requests();
    let logins: Vec<_> = requests.iter().filter(|request| request.user.as_deref() == Some(USER)).collect();
    let [login, pull] = logins.as_slice() else { bail!("{} logins of {USER} instead of two", logins.len()) };
    ensure!(login.scopes.is_empty(), "the login asked for {:?}", login.scopes);
    told::fact(&format!("the token server saw {USER} twice: for nothing, and for {}", pull.scopes.join(", ")));
    let log = stage.registry.access_log()?;
    for access in log.iter().filter(|access| access.user.as_deref() == Some(USER)) {
        told::fact(&format!("the registry's log: {USER} {} {} {}", access.method, access.path, access.status));
    }
    stage.kubectl.show(&["get", "regconn", "--namespace", NAMESPACE]).await?;
    stage.kubectl.show(&["get", "regconn", "--namespace", NAMESPACE, "--output", "wide"]).await?;
    stage.kubectl.show(&["get", "secrets", "--namespace", NAMESPACE]).await?;
    Ok(())
}

async fn the_pull(stage: &Stage, pushed: &str) -> Result<Secret> {
    told::step(5, "The private image, pulled with the Secret that was written");
    let secret = target(stage).await?;
    pull(stage, &secret, pushed).await?;
    let image = image(&stage.registry.host());
    let found = stage.keyring.credentials(&image, std::slice::from_ref(&secret))?;
    let users: Vec<&str> = found.iter().map(|(user, _)| user.as_str()).collect();
    ensure!(users == [USER], "the kubelet's keyring finds {users:?}");
    told::fact(&format!("the kubelet's keyring finds {} login for {image}: user {}", users.len(), users.join(", ")));
    Ok(secret)
}

async fn a_wrong_password(stage: &Stage, watch: &mut Watch, before: &Secret, pushed: &str) -> Result<()> {
    told::step(6, "A wrong password in the Secret that is read");
    let failed = stage.tokens.failed_logins(USER);
    let patched = write_password(stage, WRONG_PASSWORD).await?;
    let refused = watch.until_ready("False").await?;
    told::fact(&format!("Ready is False, {}", relative(refused.at, patched)));
    tell_conditions(&refused);
    for field in ["code", "message", "field", "hint"] {
        told::lines(&format!("lastError.{field}: {}", refused.text(&format!("/lastError/{field}"))));
    }
    told::fact(&format!("failed logins of {USER} at the token server: {}", stage.tokens.failed_logins(USER) - failed));
    stage.kubectl.show(&["get", "regconn", "--namespace", NAMESPACE]).await?;
    is_untouched(stage, before).await?;
    pull(stage, &target(stage).await?, pushed).await
}

async fn the_recovery(stage: &Stage, watch: &mut Watch, before: &Secret, pushed: &str) -> Result<()> {
    told::step(7, "The right password again");
    let patched = write_password(stage, PASSWORD).await?;
    let ready = watch.until_ready("True").await?;
    told::fact(&format!("Ready is True, {}", relative(ready.at, patched)));
    tell_conditions(&ready);
    is_untouched(stage, before).await?;
    pull(stage, &target(stage).await?, pushed).await?;
    stage.kubectl.show(&["get", "events", "--namespace", NAMESPACE]).await?;
    Ok(())
}

fn the_cost(stage: &Stage, number: usize) -> Result<()> {
    told::step(number, "What the operator takes, and its end");
    let operator = stage.operator.as_ref().context("the operator runs")?;
    told::fact(&format!(
        "resident memory of process {}: {} (peak {})",
        operator.pid(),
        operator.memory("VmRSS")?,
        operator.memory("VmHWM")?
    ));
    Ok(())
}

/// Lets the time pass in which the API server would answer the creation late: it would be measured with the rest.
async fn the_kind_is_no_longer_new(stage: &Stage) -> Result<()> {
    let crd = Api::<CustomResourceDefinition>::all(stage.plane.client()?).get(CRD).await.context("read the CRD")?;
    let conditions = crd.status.and_then(|status| status.conditions).unwrap_or_default();
    let established = conditions.into_iter().find(|condition| condition.type_ == "Established");
    let since = established.and_then(|condition| condition.last_transition_time).context("the CRD is established")?;
    let old_enough = SystemTime::from(since.0) + KIND_IS_NEW;
    // An error means that the time has passed.
    let rest = old_enough.duration_since(SystemTime::now()).unwrap_or_default();
    told::fact(&format!(
        "waited {}: the API server delays creations in the first {} s of a kind",
        told::milliseconds(rest),
        KIND_IS_NEW.as_secs()
    ));
    tokio::time::sleep(rest).await;
    Ok(())
}

/// Writes a password into the Secret that is read; returns when kubectl had returned.
async fn write_password(stage: &Stage, password: &str) -> Result<Instant> {
    let patch = format!(r#"{{"stringData":{{"password":"{password}"}}}}"#);
    let words = ["patch", "secret", SOURCE, "--namespace", NAMESPACE, "--patch", &patch];
    Ok(stage.kubectl.show(&words).await?.returned)
}

async fn target(stage: &Stage) -> Result<Secret> {
    let secrets = Api::<Secret>::namespaced(stage.plane.client()?, NAMESPACE);
    secrets.get(TARGET).await.with_context(|| format!("read Secret {TARGET}"))
}

async fn pull(stage: &Stage, secret: &Secret, pushed: &str) -> Result<()> {
    let config = secret.data.as_ref().and_then(|data| data.get(".dockerconfigjson"));
    let config = config.with_context(|| format!("Secret {TARGET} has no .dockerconfigjson"))?;
    let pulled = stage.registry.crane().pull(&image(&stage.registry.host()), &config.0).await?;
    ensure!(pulled.digest == pushed, "pulled {} instead of {pushed}", pulled.digest);
    told::fact(&format!("pulled with Secret {TARGET}: {}", pulled.digest));
    Ok(())
}

async fn is_untouched(stage: &Stage, before: &Secret) -> Result<()> {
    let now = target(stage).await?;
    let versions = (before.resource_version().unwrap_or_default(), now.resource_version().unwrap_or_default());
    ensure!(versions.0 == versions.1, "Secret {TARGET} went from version {} to {}", versions.0, versions.1);
    told::fact(&format!("Secret {TARGET} is untouched: resourceVersion {} before and now", versions.1));
    Ok(())
}

fn tell_conditions(sighting: &Sighting) {
    told::lines(&sighting.conditions().join("\n"));
}

/// A moment seen from the return of kubectl, which may come before or after it.
fn relative(moment: Instant, returned: Instant) -> String {
    match moment.checked_duration_since(returned) {
        Some(after) => format!("{} after kubectl returned", told::milliseconds(after)),
        None => format!("{} before kubectl returned", told::milliseconds(returned.duration_since(moment))),
    }
}
