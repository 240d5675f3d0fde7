//! Credentials that a provider issues: one after another, each proven before it replaces the one before, and revoked after it
//! was replaced. The providers are fakes whose credentials a real registry accepts, as long as they are good.

mod changed;
mod first;
mod ionos;
mod ledger;
mod order;
mod orphan;
mod refused;
mod scripted;
mod secrecy;
mod unanswered;

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    ByteString,
    api::{core::v1::Secret, events::v1::Event},
};
use kube::{Api, ResourceExt};
use regcred::api::{
    RegistryConnection,
    names::{DOCKER_CONFIG_JSON_KEY, LEDGER_KEY, LEDGER_PREFIX},
    status::LastError,
};
use serde_json::{Value, json};
use testenv::{
    DigitalOcean, Ionos, eventually,
    provider::{ApiRequest, Clock, digital_ocean, ionos as ionos_api},
};

use crate::scenario::{DEADLINE, Scenario, Shared, get, is_ready, shared};

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
        this.start_operator().await?;
        Ok(this)
    }

    /// Starts an operator for which it is as late as at the provider.
    pub async fn start_operator(&mut self) -> Result<()> {
        self.scenario.start_operator().await?;
        self.scenario.agree_on_time(self.ocean.clock());
        Ok(())
    }

    /// The same without an operator.
    pub async fn prepare(name: &str, speed: u32) -> Result<Self> {
        let options = digital_ocean::Options { speed, ..Default::default() };
        Self::prepare_with(name, speed, options).await
    }

    /// The same with another account.
    pub async fn prepare_with(name: &str, speed: u32, options: digital_ocean::Options) -> Result<Self> {
        Self::prepare_on(shared().await?, name, speed, options).await
    }

    /// The same on other shared parts.
    pub async fn prepare_on(
        shared: &'static Shared,
        name: &str,
        speed: u32,
        options: digital_ocean::Options,
    ) -> Result<Self> {
        let scenario = prepared(shared, name, speed).await?;
        Ok(Self { scenario, ocean: DigitalOcean::start(options).await? })
    }

    /// The requests by which credentials were issued.
    pub fn mints(&self) -> Vec<ApiRequest> {
        let is_mint = |one: &ApiRequest| one.path.ends_with("/docker-credentials") && one.status == Some(200);
        self.ocean.requests().into_iter().filter(is_mint).collect()
    }

    /// The requests by which credentials were revoked.
    pub fn revocations(&self) -> Vec<ApiRequest> {
        let is_revocation = |one: &ApiRequest| one.path == "/v1/oauth/revoke" && one.status == Some(200);
        self.ocean.requests().into_iter().filter(is_revocation).collect()
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
        self.scenario.renewed(before).await
    }

    /// Asks for a refresh.
    pub async fn ask_for_refresh(&self, value: &str) -> Result<()> {
        self.scenario.ask_for_refresh(value).await
    }

    /// Waits until so many credentials work at the provider.
    pub async fn until_alive(&self, count: usize) -> Result<()> {
        eventually(format!("{count} credentials to work"), DEADLINE, async || {
            let alive = self.ocean.alive();
            ensure!(alive == count, "{alive} work");
            Ok(Some(()))
        })
        .await?;
        // What was revoked is forgotten after that.
        eventually("the ledger to be up to date", DEADLINE, async || {
            let is_over = match self.scenario.ledger().await? {
                Some(_) => self.scenario.ledger_text().await?.get("retiring").is_none(),
                None => true,
            };
            Ok(is_over.then_some(()))
        })
        .await
    }
}

/// A scenario with a user of IONOS, whose one registry is called `shop`.
pub struct Cloud {
    pub scenario: Scenario,
    pub ionos: Ionos,
}

impl Cloud {
    /// One with an operator for which time runs so fast, as it does at the provider.
    pub async fn start(name: &str, speed: u32) -> Result<Self> {
        let options = ionos_api::Options { speed, ..Default::default() };
        Self::start_with(name, speed, options).await
    }

    /// The same with another user.
    pub async fn start_with(name: &str, speed: u32, options: ionos_api::Options) -> Result<Self> {
        let scenario = prepared(shared().await?, name, speed).await?;
        let mut this = Self { scenario, ionos: Ionos::start(options).await? };
        this.scenario.start_operator().await?;
        this.scenario.agree_on_time(this.ionos.clock());
        Ok(this)
    }

    /// The spec of a connection that reads the Secret `api`.
    pub fn spec(&self) -> Value {
        json!({"provider": {"ionos": {
            "registryName": "shop", "apiUrl": self.ionos.api_url(), "secretRef": {"name": "api"},
        }}})
    }

    /// A connection named `images` that is ready, with an API token.
    pub async fn connected(&self) -> Result<RegistryConnection> {
        self.connected_with(|_| {}).await
    }

    /// The same with a changed spec.
    pub async fn connected_with(&self, change: impl FnOnce(&mut Value)) -> Result<RegistryConnection> {
        self.scenario.write_secret("api", "Opaque", json!({"token": self.ionos.add_token()})).await?;
        let mut spec = self.spec();
        change(&mut spec);
        self.scenario.connect("images", spec).await?;
        self.scenario.ready("images", "True", "LoginProven").await
    }

    /// Asks for a refresh and waits until there is another credential.
    pub async fn refreshed(&self, before: &RegistryConnection) -> Result<RegistryConnection> {
        let before = revision(before).context("nothing is delivered")?;
        self.scenario.ask_for_refresh(before).await?;
        self.scenario.renewed(before).await
    }

    /// Waits until so many tokens are at the registry `shop`.
    pub async fn until_tokens(&self, count: usize) -> Result<()> {
        eventually(format!("{count} tokens"), DEADLINE, async || {
            let tokens = self.ionos.tokens("shop")?;
            ensure!(tokens.len() == count, "{tokens:?}");
            Ok(Some(()))
        })
        .await
    }

    /// How many requests there were with this method.
    pub fn requests(&self, method: &str) -> usize {
        self.ionos.requests().iter().filter(|request| request.method == method).count()
    }
}

/// A scenario whose ledgers are in its own namespace: all that its operator sees.
async fn prepared(shared: &'static Shared, name: &str, speed: u32) -> Result<Scenario> {
    let mut scenario = Scenario::prepare_on(shared, name).await?;
    if speed > 1 {
        scenario.set_speed(speed);
    }
    scenario.arguments.namespace.clone_from(&scenario.namespace);
    scenario.arguments.revocation_grace = SignedDuration::from_mins(1);
    Ok(scenario)
}

/// The revision of the delivered credential.
pub fn revision(connection: &RegistryConnection) -> Option<&str> {
    Some(connection.status.as_ref()?.credential.as_ref()?.revision.as_str())
}

/// What is wrong now, if anything is.
pub fn trouble(connection: &RegistryConnection) -> Option<LastError> {
    connection.status.as_ref()?.last_error.clone()
}

/// The docker config that a Secret holds.
pub fn docker_config(secret: &Secret) -> Result<&[u8]> {
    Ok(&secret.data.as_ref().and_then(|data| data.get(DOCKER_CONFIG_JSON_KEY)).context("no docker config")?.0)
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

    /// Removes it, as a user does.
    pub async fn delete_ledger(&self) -> Result<()> {
        let ledger = self.ledger().await?.context("no ledger")?;
        self.delete_secret(&ledger.name_any()).await
    }

    /// Writes into it, as a user does.
    pub async fn overwrite_ledger(&self, text: &[u8]) -> Result<Secret> {
        let ledger = self.ledger().await?.context("no ledger")?;
        self.edit_secret(&ledger.name_any(), json!({"data": {LEDGER_KEY: ByteString(text.to_vec())}})).await
    }

    /// Waits until there is no ledger.
    pub async fn until_no_ledger(&self) -> Result<()> {
        eventually("the ledger to go", DEADLINE, async || Ok(self.ledger().await?.is_none().then_some(()))).await
    }

    /// How often the operator wrote its ledger, a target and a status since the record was cleared.
    pub fn written(&self) -> [usize; 3] {
        let secrets = |is_meant: fn(&str) -> bool| {
            self.calls.count(|call| {
                let is_write = ["create", "update", "patch"].iter().any(|verb| call.is(verb, "secrets", ""));
                is_write && is_meant(&call.request.name)
            })
        };
        // What is created without a name in the address is a ledger: targets are applied.
        let ledger = secrets(|name| name.is_empty() || name.starts_with(LEDGER_PREFIX));
        let target = secrets(|name| !name.is_empty() && !name.starts_with(LEDGER_PREFIX));
        [ledger, target, self.calls.count(|call| call.is("patch", "registryconnections", "status"))]
    }

    /// Waits until the connection `images` has another credential than this.
    pub async fn renewed(&self, before: &str) -> Result<RegistryConnection> {
        self.until("images", |now| {
            revision(now).is_some_and(|now| now != before) && is_ready(now, "True", "LoginProven")
        })
        .await
    }

    /// Asks for a refresh of `images`.
    pub async fn ask_for_refresh(&self, value: &str) -> Result<()> {
        let annotations = json!({"regcred.dev/refresh-requested-at": value});
        self.edit("images", json!({"metadata": {"annotations": annotations}})).await?;
        Ok(())
    }

    /// Waits until the connection `images` tells this trouble.
    pub async fn troubled(&self, code: &str) -> Result<RegistryConnection> {
        self.until("images", |now| trouble(now).is_some_and(|trouble| trouble.code.as_str() == code)).await
    }

    /// How often something was told by events in the operator's namespace, and with which words.
    pub async fn told(&self, reason: &str) -> Result<Vec<String>> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.arguments.namespace);
        let events = events.list(&Default::default()).await?.items;
        let notes = events.into_iter().filter(|event| event.reason.as_deref() == Some(reason)).flat_map(|event| {
            let count = event.series.map_or(1, |series| usize::try_from(series.count).unwrap_or_default());
            vec![event.note.unwrap_or_default(); count]
        });
        Ok(notes.collect())
    }

    /// Waits until this was told by an event, and returns all of that reason.
    pub async fn until_told(&self, reason: &str) -> Result<Vec<String>> {
        eventually(format!("an event {reason}"), DEADLINE, async || {
            Ok(Some(self.told(reason).await?).filter(|notes| !notes.is_empty()))
        })
        .await
    }

    /// Sets a provider's time to that of the operator.
    pub fn agree_on_time(&self, clock: &Clock) {
        if let Some(own) = &self.clock {
            clock.set(own.now());
        }
    }

    /// Waits until it is that late for the operator.
    pub async fn until_time(&self, time: Timestamp) -> Result<()> {
        let clock = self.clock.as_ref().context("no operator")?;
        eventually(time, DEADLINE, async || Ok((clock.now() >= time).then_some(()))).await
    }

    /// Lets so many minutes of the operator's pass.
    pub async fn minutes(&self, minutes: i64) -> Result<()> {
        let clock = self.clock.as_ref().context("no operator")?;
        self.until_time(clock.now() + SignedDuration::from_mins(minutes)).await
    }

    /// All metrics, as they are scraped.
    pub async fn metrics(&self) -> Result<String> {
        Ok(get(self.metrics_addr.context("no operator")?, "/metrics").await?.1)
    }
}
