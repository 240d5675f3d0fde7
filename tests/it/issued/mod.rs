//! Credentials that a provider issues: one after another, each proven before it replaces the one before, and revoked after it
//! was replaced. The providers are fakes whose credentials a real registry accepts, as long as they are good.

mod first;

use anyhow::{Context as _, Result, ensure};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use regcred::api::{
    RegistryConnection,
    names::{DOCKER_CONFIG_JSON_KEY, LEDGER_KEY, LEDGER_PREFIX},
};
use serde_json::{Value, json};
use testenv::{DigitalOcean, eventually, provider::digital_ocean};

use crate::scenario::{DEADLINE, Scenario, is_ready};

/// The rights an API token of DigitalOcean needs.
pub const SCOPES: &[&str] = &["registry:read", "registry:update"];

/// A scenario with an account at DigitalOcean, whose one registry is called `shop`.
pub struct Ocean {
    pub scenario: Scenario,
    pub ocean: DigitalOcean,
}

impl Ocean {
    /// One with an operator for which time runs so fast, as it does at the provider.
    pub async fn start(name: &str, speed: u32) -> Result<Self> {
        let mut this = Self::prepare(name, speed).await?;
        this.scenario.start_operator().await?;
        Ok(this)
    }

    /// The same without an operator.
    pub async fn prepare(name: &str, speed: u32) -> Result<Self> {
        let options = digital_ocean::Options { speed, ..Default::default() };
        Self::prepare_with(name, speed, options).await
    }

    /// The same with another account.
    pub async fn prepare_with(name: &str, speed: u32, options: digital_ocean::Options) -> Result<Self> {
        let mut scenario = Scenario::prepare(name).await?;
        if speed > 1 {
            scenario.set_speed(speed);
        }
        // Each operator sees one namespace, so that is where its ledgers are.
        scenario.arguments.namespace.clone_from(&scenario.namespace);
        scenario.arguments.revocation_grace = SignedDuration::from_mins(1);
        Ok(Self { scenario, ocean: DigitalOcean::start(options).await? })
    }

    /// Writes the Secret `api` with an API token.
    pub async fn write_token(&self, token: &str) -> Result<Secret> {
        self.scenario.write_secret("api", "Opaque", json!({"token": token})).await
    }

    /// The spec of a connection that reads it.
    pub fn spec(&self) -> Value {
        json!({"provider": {"digitalocean": {
            "registryName": "shop", "apiUrl": self.ocean.api_url(), "secretRef": {"name": "api"},
        }}})
    }

    /// A connection named `images` that is ready.
    pub async fn connected(&self) -> Result<RegistryConnection> {
        self.connected_with(|_| {}).await
    }

    /// The same with a changed spec.
    pub async fn connected_with(&self, change: impl FnOnce(&mut Value)) -> Result<RegistryConnection> {
        self.write_token(&self.ocean.add_token(SCOPES)).await?;
        let mut spec = self.spec();
        change(&mut spec);
        self.scenario.connect("images", spec).await?;
        self.scenario.ready("images", "True", "LoginProven").await
    }

    /// Waits until the connection has another credential than this.
    pub async fn renewed(&self, before: &str) -> Result<RegistryConnection> {
        self.scenario
            .until("images", |now| {
                revision(now).is_some_and(|now| now != before) && is_ready(now, "True", "LoginProven")
            })
            .await
    }

    /// Asks for a refresh.
    pub async fn ask_for_refresh(&self, value: &str) -> Result<()> {
        let annotations = json!({"regcred.dev/refresh-requested-at": value});
        self.scenario.edit("images", json!({"metadata": {"annotations": annotations}})).await?;
        Ok(())
    }

    /// Waits until so many credentials work at the provider.
    pub async fn until_alive(&self, count: usize) -> Result<()> {
        eventually(format!("{count} credentials to work"), DEADLINE, async || {
            let alive = self.ocean.alive();
            ensure!(alive == count, "{alive} work");
            Ok(Some(()))
        })
        .await
    }
}

/// The revision of the delivered credential.
pub fn revision(connection: &RegistryConnection) -> Option<&str> {
    Some(connection.status.as_ref()?.credential.as_ref()?.revision.as_str())
}

/// The login that a Secret holds.
pub fn login(secret: &Secret) -> Result<(String, String)> {
    let data = secret.data.as_ref().context("no data")?;
    let config: Value = serde_json::from_slice(&data[DOCKER_CONFIG_JSON_KEY].0)?;
    let entry = config["auths"].as_object().and_then(|auths| auths.values().next()).context("no entry")?;
    let text = |key: &str| entry[key].as_str().map(str::to_owned).context("no text");
    Ok((text("username")?, text("password")?))
}

impl Scenario {
    /// The one ledger in the scenario's namespace.
    pub async fn ledger(&self) -> Result<Option<Secret>> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.arguments.namespace);
        let all = secrets.list(&Default::default()).await?.items;
        Ok(all.into_iter().find(|one| one.metadata.name.as_deref().is_some_and(|name| name.starts_with(LEDGER_PREFIX))))
    }

    /// What stands in it.
    pub async fn ledger_text(&self) -> Result<Value> {
        let ledger = self.ledger().await?.context("no ledger")?;
        Ok(serde_json::from_slice(&ledger.data.context("no data")?[LEDGER_KEY].0)?)
    }
}
