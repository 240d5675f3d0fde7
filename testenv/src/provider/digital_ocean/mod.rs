//! The API of DigitalOcean Container Registry, with a real registry whose token server is at the API's origin, as the real one.
//!
//! Its credentials are accepted by that registry, below the name of the registry they were issued for, until they are revoked
//! or expired. Plain http. It is reached as `localhost`, because crane refuses a token server at another loopback address.

mod account;
mod answer;
pub mod contract;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use jiff::Timestamp;

use super::front::Front;
use super::store::{self, Store};
use super::{ApiRequest, Clock, Listed, Outage};
use crate::fault::Faults;
use crate::listener::Listener;
use crate::registry::Registry;
use crate::relay::Relay;
use crate::token_server::{Office, TokenRequest};
use account::Account;

/// Where clients of the registry log in, as at the real one.
const TOKENS: &str = "/v2/registry/auth";

/// The longest life of a credential, in seconds: registry-apis.md 2.3.
pub const LONGEST: i64 = 1_576_800_000;

/// How it is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many times as fast as the system's its time runs.
    pub speed: u32,
    /// The names of the account's registries.
    pub registries: Vec<String>,
    /// Which paths there are.
    pub paths: Paths,
    /// What a docker config's `auth` holds.
    pub auth: Auth,
    /// How many requests a token may make in any hour, and in any minute.
    pub requests_an_hour: usize,
    /// See [`Options::requests_an_hour`].
    pub requests_a_minute: usize,
    /// How long a new credential is refused by the registry before it works, in the provider's time.
    pub effective_after: Duration,
    /// What the requests to API, token server and registry meet with, if relays are to stand in front of them. Whoever starts
    /// it has to keep its runtime: the relays end with it.
    pub faults: Option<Faults>,
}

/// Generations of paths.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Paths {
    /// `/v2/registries` and `/v2/registry`.
    Both,
    /// `/v2/registries` only.
    New,
    /// `/v2/registry` only.
    Old,
}

/// What a docker config's `auth` holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Auth {
    /// The account's e-mail address, and the token.
    Email,
    /// The token twice, and a line break, as it was once.
    TokenTwice,
}

impl Default for Options {
    /// One registry `shop`, everything as it is today, in real time.
    fn default() -> Self {
        Self {
            speed: 1,
            registries: vec!["shop".to_owned()],
            paths: Paths::Both,
            auth: Auth::Email,
            requests_an_hour: 5000,
            requests_a_minute: 250,
            effective_after: Duration::ZERO,
            faults: None,
        }
    }
}

/// A running one, see the module. Dropping it ends it.
#[derive(Debug)]
pub struct DigitalOcean {
    listener: Listener,
    store: Store,
    relay: Option<Relay>,
    inside: Arc<Inside>,
}

#[derive(Debug)]
struct Inside {
    account: Mutex<Account>,
    office: Arc<Office>,
    front: Front,
}

impl DigitalOcean {
    /// Starts one with its registry. Nobody gets in before [`DigitalOcean::add_token`].
    ///
    /// # Errors
    /// As [`Registry::start`], or there is no free port.
    pub async fn start(options: Options) -> Result<Self> {
        let office = store::office()?;
        let (front, faults) = (Front::new(options.speed), options.faults.clone());
        let account = Account::new(options, office.clone(), front.clock.clone()).into();
        let inside = Arc::new(Inside { account, office, front });
        let served = inside.clone();
        let listener = Listener::plain(move |seen| {
            if seen.path() == TOKENS {
                return served.office.answer(TOKENS, seen, SystemTime::now());
            }
            served.front.serve(seen, |now| served.account().answer(seen, now))
        })?;
        let relay = store::relay(&format!("127.0.0.1:{}", listener.port()), faults.as_ref()).await?;
        let port = relay.as_ref().map_or(listener.port(), Relay::port);
        let realm = format!("http://localhost:{port}{TOKENS}");
        let store = Store::start(&inside.office, realm, "registry.digitalocean.com", faults.as_ref()).await?;
        inside.account().host = store.host();
        Ok(Self { listener, store, relay, inside })
    }

    /// Scheme, host and port of the API: what a connection has in `apiUrl`.
    pub fn api_url(&self) -> String {
        format!("http://localhost:{}", self.relay.as_ref().map_or(self.listener.port(), Relay::port))
    }

    /// The registry's host and port, the key in the docker configs that it issues.
    pub fn host(&self) -> String {
        self.store.host()
    }

    /// The real registry, for its log, for an outage of its own, and for its client.
    pub fn registry(&self) -> &Registry {
        &self.store.registry
    }

    /// What lies under the API, for questions about bytes.
    pub fn listener(&self) -> &Listener {
        &self.listener
    }

    /// Its time.
    pub fn clock(&self) -> &Clock {
        &self.inside.front.clock
    }

    /// Makes an API token with these scopes, such as `registry:read` and `registry:update`.
    pub fn add_token(&self, scopes: &[&str]) -> String {
        self.inside.account().add_token(scopes)
    }

    /// Revokes an API token. The credentials that were issued with it stay good.
    pub fn revoke_token(&self, token: &str) {
        let now = self.now();
        self.inside.account().revoke(token, now);
    }

    /// Makes one more registry.
    pub fn create_registry(&self, name: &str) {
        let registry = account::Registry { name: name.to_owned(), created: self.now() };
        self.inside.account().registries.push(registry);
    }

    /// Revokes an issued credential by hand, by its name in [`DigitalOcean::credentials`].
    pub fn revoke_credential(&self, name: &str) {
        self.inside.account().revoke_named(name);
    }

    /// How long the registry refuses what is issued from now on before it works, in the provider's time.
    pub fn delay(&self, effective_after: Duration) {
        self.inside.account().options.effective_after = effective_after;
    }

    /// The credentials that are neither revoked nor expired, in the order of their making.
    pub fn credentials(&self) -> Vec<Listed> {
        let now = self.now();
        self.inside.account().alive(now)
    }

    /// How many credentials are neither revoked nor expired.
    pub fn alive(&self) -> usize {
        self.credentials().len()
    }

    /// Every request to the API that was answered so far, or not answered because of an outage.
    pub fn requests(&self) -> Vec<ApiRequest> {
        self.inside.front.requests()
    }

    /// How many credentials were issued so far.
    pub fn issued(&self) -> usize {
        let is_mint = |one: &&ApiRequest| one.path.ends_with("/docker-credentials") && one.status == Some(200);
        self.requests().iter().filter(is_mint).count()
    }

    /// Every login at the registry's token server so far.
    pub fn logins(&self) -> Vec<TokenRequest> {
        self.inside.office.requests()
    }

    /// Begins an outage of the API. Logins at the registry go on.
    pub fn pause(&self, outage: Outage) {
        self.inside.front.set_outage(Some(outage));
    }

    /// Ends it.
    pub fn resume(&self) {
        self.inside.front.set_outage(None);
    }

    /// The name of an image in the registry, such as `127.0.0.1:5000/shop/web:v1` for `shop/web:v1`.
    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.host())
    }

    /// Pushes a small image, such as `shop/web:v1`, as the owner of the account, and returns its digest.
    ///
    /// # Errors
    /// The registry is away.
    pub async fn push(&self, name: &str) -> Result<String> {
        self.store.push(&self.image(name)).await.context("push as the owner")
    }

    /// Whether the registry lets in this login, asked as every client does.
    ///
    /// # Errors
    /// The registry is away.
    pub async fn accepts(&self, user: &str, password: &str) -> Result<bool> {
        self.store.accepts(user, password).await
    }

    fn now(&self) -> Timestamp {
        self.inside.front.clock.now()
    }
}

impl Inside {
    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
