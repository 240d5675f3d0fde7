//! What all scenarios share: one control plane, one registry, the judges.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::{
    api::{
        admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
        core::v1::{ConfigMap, Namespace, Secret},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSONSchemaProps},
};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
};
use regcred::api::{ClusterRegistryConnection, RegistryConnection, crd::crds};
use serde_json::json;
use testenv::{
    Calls, Conditions, ControlPlane, HealthCheck, Helm, Keyring, Registry, TokenServer, certificates::Authority,
    eventually, registry, token_server,
};
use tokio::sync::OnceCell;

/// How long anything may take before a test gives up.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// A password that must never show up anywhere.
pub const PASSWORD: &str = "right-password-1";

/// A password the registry does not know.
pub const WRONG: &str = "wrong-password-2";

/// What all scenarios share; it ends with the process.
pub struct Shared {
    pub plane: ControlPlane,
    /// How an operator of the installed chart reaches the API server: under its account, with its rights.
    pub operator: kube::Config,
    pub registry: Registry,
    pub keyring: Keyring,
    pub conditions: Conditions,
    pub health: HealthCheck,
}

impl Shared {
    /// A client of an operator that sees these resources in one namespace only.
    pub fn operator_client(&self, namespace: &str, resources: &[&str], calls: &Calls) -> Result<Client> {
        testenv::client::confined_client(self.operator.clone(), namespace, resources, calls)
    }
}

static SHARED: OnceCell<Shared> = OnceCell::const_new();

/// The shared parts, started by whoever comes first.
pub async fn shared() -> Result<&'static Shared> {
    SHARED.get_or_try_init(installed).await
}

async fn installed() -> Result<Shared> {
    let shared = start(&[]).await?;
    served(&shared.plane.client()?).await?;
    Ok(shared)
}

static APART: OnceCell<Shared> = OnceCell::const_new();

/// The parts of those who change what is there once per cluster, such as the CustomResourceDefinition. One at a time:
/// hold the guard as long as they are used.
pub async fn apart() -> Result<(&'static Shared, tokio::sync::MutexGuard<'static, ()>)> {
    static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let guard = ONE.lock().await;
    let shared = APART.get_or_try_init(installed).await?;
    Ok((shared, guard))
}

static ALONE: OnceCell<Shared> = OnceCell::const_new();

/// The parts of those whose operator sees the whole cluster, in which there is nothing but theirs. One at a time: hold the guard
/// as long as they are used, and leave nothing behind.
pub async fn alone() -> Result<(&'static Shared, tokio::sync::MutexGuard<'static, ()>)> {
    static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let guard = ONE.lock().await;
    let shared = ALONE.get_or_try_init(installed).await?;
    Ok((shared, guard))
}

static WIDE: OnceCell<Shared> = OnceCell::const_new();

/// The same for connections of a cluster, which leave namespaces behind.
pub async fn wide() -> Result<(&'static Shared, tokio::sync::MutexGuard<'static, ()>)> {
    static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let guard = ONE.lock().await;
    let shared = WIDE.get_or_try_init(installed).await?;
    Ok((shared, guard))
}

static LOOSE: OnceCell<Shared> = OnceCell::const_new();

/// The same with a schema that lets everything in, as an older, a newer or a foreign one may. Only the tests of objects that
/// cannot be read need it.
pub async fn loose() -> Result<&'static Shared> {
    LOOSE
        .get_or_try_init(async || {
            let shared = start(&["crds.enabled=false"]).await?;
            install(&shared.plane.client()?, loosened(crds())).await?;
            Ok(shared)
        })
        .await
}

async fn start(values: &[&str]) -> Result<Shared> {
    let (plane, registry) = tokio::try_join!(ControlPlane::start(), Registry::start())?;
    // Scenarios deliver there to show that it takes the name of the namespace.
    install_chart(&plane, &[&["protectedNamespaces.allow={kube-public}"], values].concat()).await?;
    let client = plane.client()?;
    except_for_open_tables(&client).await?;
    let operator = plane.service_account_config(OPERATOR_NAMESPACE, "regcred").await?;
    let_operators_have_namespaces(&client, Client::try_from(operator.clone())?).await?;
    let (keyring, conditions, health) = (Keyring::start()?, Conditions::start()?, HealthCheck::start()?);
    Ok(Shared { plane, operator, registry, keyring, conditions, health })
}

/// Many operators share this cluster, with an account in one namespace and ledgers and Leases in as many as there are scenarios. What
/// the policy says of their place is tried in `install::policies`.
async fn let_operators_have_namespaces(client: &Client, operator: Client) -> Result<()> {
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
    let mut policy = policies.get("operator.regcred.dev").await?;
    let mut changed = 0;
    for validation in policy.spec.iter_mut().flat_map(|spec| &mut spec.validations).flatten() {
        let of_a_place = ["!variables.isLedger ||", "variables.resource != \"leases\" ||"];
        if of_a_place.iter().any(|begin| validation.expression.starts_with(begin)) {
            let own = format!("request.namespace == \"{OPERATOR_NAMESPACE}\"");
            validation.expression = validation.expression.replace(&own, "true");
            changed += 1;
        }
    }
    ensure!(changed == 2, "{policy:?}");
    policies.replace("operator.regcred.dev", &PostParams::default(), &policy).await?;
    let (maps, secrets): (Api<ConfigMap>, Api<Secret>) =
        (Api::namespaced(operator.clone(), "default"), Api::namespaced(operator, "default"));
    let other: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "other"}}))?;
    let ledger: Secret = serde_json::from_value(json!({
        "metadata": {"name": "ledger", "labels": {"app.kubernetes.io/managed-by": "regcred"}}, "type": "regcred.dev/ledger",
    }))?;
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    eventually("the policy to be in force as it is now", DEADLINE, async || {
        let is_in_force =
            maps.create(&dry_run, &other).await.is_err() && secrets.create(&dry_run, &ledger).await.is_ok();
        Ok(is_in_force.then_some(()))
    })
    .await
}

/// The label of namespaces in which anybody may write the table, so that scenarios can show what comes of that.
const OPEN_TABLES: &str = "test/open-tables";

async fn except_for_open_tables(client: &Client) -> Result<()> {
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client.clone());
    let selector = json!({"matchExpressions": [{"key": OPEN_TABLES, "operator": "DoesNotExist"}]});
    let patch = Patch::Merge(json!({"spec": {"matchResources": {"namespaceSelector": selector}}}));
    bindings.patch("tables.regcred.dev", &PatchParams::default(), &patch).await?;
    Ok(())
}

/// Lets anybody write the table of a namespace.
pub async fn open_tables(client: &Client, namespace: &str) -> Result<()> {
    let label = Patch::Merge(json!({"metadata": {"labels": {OPEN_TABLES: ""}}}));
    Api::<Namespace>::all(client.clone()).patch(namespace, &PatchParams::default(), &label).await?;
    let tables: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let table: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "regcred-autolink"}}))?;
    eventually("the policy to see the label", DEADLINE, async || {
        match tables.create(&PostParams { dry_run: true, ..PostParams::default() }, &table).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(Some(())),
            result => Ok(result.map(|_| Some(()))?),
        }
    })
    .await
}

/// The chart's folder.
pub const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/regcred");

/// Where the chart is installed.
pub const OPERATOR_NAMESPACE: &str = "regcred-system";

/// Installs the chart with these values, as `--set` takes them.
pub async fn install_chart(plane: &ControlPlane, values: &[&str]) -> Result<()> {
    let helm = Helm::find().await?.with(&plane.kubeconfig_path());
    let values = values.iter().flat_map(|value| ["--set", value]);
    let install = ["install", "regcred", CHART, "--namespace", OPERATOR_NAMESPACE, "--create-namespace"];
    helm.run(&install.into_iter().chain(values).collect::<Vec<_>>()).await.map(drop)
}

/// The same kinds with spec and status of any shape.
pub fn loosened(mut crds: Vec<CustomResourceDefinition>) -> Vec<CustomResourceDefinition> {
    let versions = crds.iter_mut().flat_map(|crd| &mut crd.spec.versions);
    for schema in versions.filter_map(|version| version.schema.as_mut()?.open_api_v3_schema.as_mut()) {
        let anything =
            || JSONSchemaProps { x_kubernetes_preserve_unknown_fields: Some(true), ..JSONSchemaProps::default() };
        schema.properties = Some(["spec", "status"].map(|name| (name.to_owned(), anything())).into());
        (schema.required, schema.x_kubernetes_validations) = (None, None);
    }
    crds
}

/// A registry as most are: with a token server of its own, both over TLS by an authority that nobody else trusts.
pub struct Secure {
    pub authority: Authority,
    pub tokens: TokenServer,
    pub registry: Registry,
}

impl Secure {
    /// One of its own, for tests that count what others must not add to.
    pub async fn start() -> Result<Self> {
        let authority = Authority::new()?;
        let tls = Some(authority.server(&["localhost"])?);
        let tokens = TokenServer::start_with(token_server::Options { tls: tls.clone(), ..Default::default() })?;
        let options = registry::Options { authentication: tokens.trust().into(), tls };
        Ok(Self { registry: Registry::start_with(options).await?, authority, tokens })
    }

    /// The host of the token server, as `trustedTokenHosts` lists it.
    pub fn token_host(&self) -> String {
        format!("localhost:{}", self.tokens.listener().port())
    }
}

static SECURE: OnceCell<Secure> = OnceCell::const_new();

/// The one that scenarios share, if any of them used it.
pub fn secure_if_used() -> Option<&'static Secure> {
    SECURE.get()
}

/// The one that scenarios share.
pub async fn secure() -> Result<&'static Secure> {
    SECURE.get_or_try_init(Secure::start).await
}

/// Installs the policy that links Pods by their images, as it is shipped.
pub async fn install_policy(client: &Client) -> Result<()> {
    for object in policy()? {
        let (api, _) = policy_api(client, &object)?;
        let parameters = PatchParams { field_manager: Some("test".into()), force: true, ..PatchParams::default() };
        api.patch(POLICY, &parameters, &Patch::Apply(&object)).await?;
    }
    Ok(())
}

/// The name of the policy and of its binding.
pub const POLICY: &str = "autolink.regcred.dev";

/// The policy and its binding, as they are shipped.
pub fn policy() -> Result<Vec<DynamicObject>> {
    let yaml = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/autolink.yaml");
    Ok(serde_saphyr::from_multiple(&std::fs::read_to_string(yaml)?)?)
}

/// Access to objects of the kind of this one.
pub fn policy_api(client: &Client, object: &DynamicObject) -> Result<(Api<DynamicObject>, String)> {
    let kind = object.types.clone().context("an object without a kind")?.kind;
    let gvk = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", &kind);
    let plural =
        if kind.ends_with("Binding") { "mutatingadmissionpolicybindings" } else { "mutatingadmissionpolicies" };
    Ok((Api::all_with(client.clone(), &ApiResource::from_gvk_with_plural(&gvk, plural)), kind))
}

/// Installs the CustomResourceDefinitions and waits until the API server serves them.
pub async fn install_crds(client: &Client) -> Result<()> {
    install(client, crds()).await
}

/// Installs those of these that are not there, and waits until the API server serves all connections.
pub async fn install(client: &Client, crds: Vec<CustomResourceDefinition>) -> Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for crd in crds {
        match definitions.create(&PostParams::default(), &crd).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            result => drop(result?),
        }
    }
    served(client).await
}

async fn served(client: &Client) -> Result<()> {
    let namespaced: Api<RegistryConnection> = Api::all(client.clone());
    let cluster: Api<ClusterRegistryConnection> = Api::all(client.clone());
    eventually("the kinds to be served", DEADLINE, async || {
        namespaced.list_metadata(&Default::default()).await?;
        Ok(Some(cluster.list_metadata(&Default::default()).await?))
    })
    .await?;
    Ok(())
}
