//! The API of IONOS Container Registry, with a real registry for each running one, whose token servers are at the API's origin.
//!
//! Its tokens are accepted by their registry, for what their scopes say, until they are deleted or expired. Plain http. It is
//! reached as `localhost`, because crane refuses a token server at another loopback address.

mod account;
mod answer;
mod body;
pub mod contract;
mod options;
mod page;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use anyhow::{Context, Result};

use super::front::Front;
use super::store::{self, Store};
use super::{ApiRequest, Clock, Listed, Outage};
use crate::fault::Faults;
use crate::listener::{Listener, Reply};
use crate::registry::Registry;
use crate::relay::Relay;
use crate::token_server::TokenRequest;
use account::Account;
pub use options::Options;

/// Where clients of the registries log in, before the registry's ID.
const LOGINS: &str = "/logins/";

/// A running one, see the module. Dropping it ends it.
#[derive(Debug)]
pub struct Ionos {
    listener: Listener,
    /// By the name of the registry.
    stores: Mutex<BTreeMap<String, Arc<Store>>>,
    relay: Option<Relay>,
    faults: Option<Faults>,
    inside: Arc<Inside>,
}

#[derive(Debug)]
struct Inside {
    account: Mutex<Account>,
    front: Front,
}

impl Ionos {
    /// Starts one with its registries. Nobody gets in before [`Ionos::add_token`] or [`Ionos::add_user`].
    ///
    /// # Errors
    /// As [`Registry::start`], or there is no free port.
    pub async fn start(options: Options) -> Result<Self> {
        let front = Front::new(options.speed);
        let (registries, faults) = (options.registries.clone(), options.faults.clone());
        let account = Account::new(options, front.clock.clone()).into();
        let inside = Arc::new(Inside { account, front });
        let served = inside.clone();
        let listener = Listener::plain(move |seen| match seen.path().strip_prefix(LOGINS) {
            Some(id) => match served.account().registry(id) {
                Some(registry) => registry.office.answer(seen.path(), seen, SystemTime::now()),
                None => Reply::status(404),
            },
            None => served.front.serve(seen, |now| served.account().answer(seen, now)),
        })?;
        let relay = store::relay(&format!("127.0.0.1:{}", listener.port()), faults.as_ref()).await?;
        let ionos = Self { listener, stores: Mutex::default(), relay, faults, inside };
        for name in &registries {
            ionos.create_registry(name)?;
            ionos.finish_registry(name).await?;
        }
        Ok(ionos)
    }

    /// The API's address: what a connection has in `apiUrl`.
    pub fn api_url(&self) -> String {
        format!("{}/containerregistries", self.origin())
    }

    /// What lies under the API, for questions about bytes.
    pub fn listener(&self) -> &Listener {
        &self.listener
    }

    /// Its time.
    pub fn clock(&self) -> &Clock {
        &self.inside.front.clock
    }

    /// Makes an API token that may manage registries.
    pub fn add_token(&self) -> String {
        self.inside.account().add_token(true)
    }

    /// Makes an API token of somebody who may not manage registries.
    pub fn add_token_without_rights(&self) -> String {
        self.inside.account().add_token(false)
    }

    /// Revokes an API token. What was made with it stays.
    pub fn revoke_token(&self, token: &str) {
        self.inside.account().revoke_token(token);
    }

    /// Lets a user in who may manage registries, and returns its password: a new one, if it was in already.
    pub fn add_user(&self, user: &str) -> String {
        self.inside.account().add_user(user)
    }

    /// Lets a user in no longer.
    pub fn remove_user(&self, user: &str) {
        self.inside.account().remove_user(user);
    }

    /// Makes a registry, which is `New` and has no hostname, and returns its ID.
    ///
    /// # Errors
    /// There is no key for its logins.
    pub fn create_registry(&self, name: &str) -> Result<String> {
        let (office, now) = (store::office()?, self.clock().now());
        Ok(self.inside.account().create(name, office, now))
    }

    /// Finishes a registry: it gets a real one and with it its hostname, and is `Running`.
    ///
    /// # Errors
    /// As [`Registry::start`], or there is no registry of this name.
    pub async fn finish_registry(&self, name: &str) -> Result<()> {
        let id = self.id(name)?;
        let office = self.inside.account().registry(&id).map(|registry| registry.office.clone());
        let office = office.context("a registry that is gone")?;
        let realm = format!("{}{LOGINS}{id}", self.origin());
        let store = Arc::new(Store::start(&office, realm, name, self.faults.as_ref()).await?);
        let host = store.host();
        self.stores().insert(name.to_owned(), store);
        if let Some(registry) = self.inside.account().registry(&id) {
            registry.host = Some(host);
        }
        Ok(())
    }

    /// The ID of a registry.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn id(&self, registry: &str) -> Result<String> {
        let found = self.inside.account().named(registry).map(|one| one.id.clone());
        found.with_context(|| format!("no registry {registry}"))
    }

    /// The real registry behind a running one, for its host, its log, an outage of its own, and its client.
    ///
    /// # Errors
    /// There is none of this name that is running.
    pub fn registry(&self, name: &str) -> Result<Arc<Registry>> {
        Ok(self.store(name)?.registry.clone())
    }

    /// A registry's host and port, as image names begin.
    ///
    /// # Errors
    /// There is none of this name that is running.
    pub fn host(&self, registry: &str) -> Result<String> {
        Ok(self.store(registry)?.host())
    }

    /// The tokens of a registry, expired ones too, in the order of their making.
    ///
    /// # Errors
    /// There is no registry of this name.
    pub fn tokens(&self, registry: &str) -> Result<Vec<Listed>> {
        let listed = self.inside.account().named(registry).map(account::Registry::listed);
        listed.with_context(|| format!("no registry {registry}"))
    }

    /// Deletes a token by hand, by its name.
    ///
    /// # Errors
    /// There is no registry of this name.
    pub fn delete_token(&self, registry: &str, token: &str) -> Result<()> {
        let id = self.id(registry)?;
        if let Some(registry) = self.inside.account().registry(&id) {
            registry.delete(|one| one.made_from.name == token);
        }
        Ok(())
    }

    /// How many tokens of all registries are enabled and not expired.
    pub fn alive(&self) -> usize {
        let now = self.clock().now();
        self.inside.account().alive(now)
    }

    /// Every request to the API that was answered so far, or not answered because of an outage.
    pub fn requests(&self) -> Vec<ApiRequest> {
        self.inside.front.requests()
    }

    /// How many tokens were issued so far.
    pub fn issued(&self) -> usize {
        let is_mint = |one: &&ApiRequest| one.method == "POST" && one.status == Some(201);
        self.requests().iter().filter(is_mint).count()
    }

    /// Every login at a registry's token server so far.
    ///
    /// # Errors
    /// There is no registry of this name.
    pub fn logins(&self, registry: &str) -> Result<Vec<TokenRequest>> {
        let requests = self.inside.account().named(registry).map(|one| one.office.requests());
        requests.with_context(|| format!("no registry {registry}"))
    }

    /// Begins an outage of the API. Logins at the registries go on.
    pub fn pause(&self, outage: Outage) {
        self.inside.front.set_outage(Some(outage));
    }

    /// Ends it.
    pub fn resume(&self) {
        self.inside.front.set_outage(None);
    }

    /// The name of an image, such as `127.0.0.1:5000/web:v1` for `web:v1`.
    ///
    /// # Errors
    /// As [`Ionos::registry`].
    pub fn image(&self, registry: &str, name: &str) -> Result<String> {
        Ok(format!("{}/{name}", self.host(registry)?))
    }

    /// Pushes a small image, such as `web:v1`, as the owner of the registry, and returns its digest.
    ///
    /// # Errors
    /// As [`Ionos::registry`], or it is away.
    pub async fn push(&self, registry: &str, name: &str) -> Result<String> {
        let image = self.image(registry, name)?;
        self.store(registry)?.push(&image).await.context("push as the owner")
    }

    /// Whether a registry lets in this login, asked as every client does.
    ///
    /// # Errors
    /// As [`Ionos::registry`], or it is away.
    pub async fn accepts(&self, registry: &str, user: &str, password: &str) -> Result<bool> {
        self.store(registry)?.accepts(user, password).await
    }

    fn origin(&self) -> String {
        format!("http://localhost:{}", self.relay.as_ref().map_or(self.listener.port(), Relay::port))
    }

    fn store(&self, name: &str) -> Result<Arc<Store>> {
        self.stores().get(name).cloned().with_context(|| format!("no registry {name} that is running"))
    }

    fn stores(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Store>>> {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
