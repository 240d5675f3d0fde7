//! A real token server on loopback, as distribution's token specification has it: it judges logins and signs tokens that
//! a real registry checks.
//!
//! What its users may do is set by tests and holds for the next request; every request is recorded. What a token opens is
//! decided by the registry, not here. <https://distribution.github.io/distribution/spec/auth/token/>

mod accounts;
mod answer;
mod right;
mod scope;
mod token;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Result;

use crate::certificates::Identity;
use crate::listener::Listener;
pub(crate) use accounts::{Accounts, Password};
pub(crate) use right::Right;
use token::Signer;

/// Where it answers, below its root.
const PATH: &str = "/token";

/// Who the tokens say has made them.
const ISSUER: &str = "testenv-token-server";

/// How it is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// The certificate it serves with; `None` for plain http.
    pub tls: Option<Identity>,
    /// The host name in its realm, by which clients look for it. It listens on 127.0.0.1, whatever this is. Not checked
    /// against the certificate. Crane refuses loopback addresses here unless they are the registry's own, but not names.
    pub host: String,
    /// The registry that it makes tokens for, as the registry's challenge and its tokens name it.
    pub service: String,
    /// How long a token opens anything. The specification wants at least 60 s, and clients may rely on that.
    pub lifetime: Duration,
}

impl Default for Options {
    /// Plain http, found as `localhost`, with tokens that last 60 s.
    fn default() -> Self {
        let (host, service) = ("localhost".to_owned(), "testenv-registry".to_owned());
        Self { tls: None, host, service, lifetime: Duration::from_secs(60) }
    }
}

/// A running token server, see the module. Dropping it ends it; tokens it has made stay good for their time.
#[derive(Debug)]
pub struct TokenServer {
    listener: Listener,
    office: Arc<Office>,
    trust: Trust,
}

/// What a registry has to know to believe a token server, and a client to reach it.
#[derive(Clone, Debug)]
pub struct Trust {
    /// The address that clients are sent to.
    pub realm: String,
    /// The name by which tokens are meant for this registry.
    pub service: String,
    /// Who the tokens say has made them.
    pub issuer: String,
    /// The public key, as a JSON Web Key Set (RFC 7517).
    pub keys: serde_json::Value,
    /// The certificate of the authority that clients must trust, PEM; `None` for plain http.
    pub authority: Option<String>,
}

/// A request for a token, and what became of it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TokenRequest {
    /// The user that the client says it is; `None` also if the login cannot be read.
    pub user: Option<String>,
    /// Whether it carried a login, accepted or not: an `Authorization` header, or user or password in a form.
    pub authorization: bool,
    /// The service that the token is to be for; empty if the client says nothing.
    pub service: String,
    /// The scopes as they were asked for, one element each.
    pub scopes: Vec<String>,
    /// The answer's status.
    pub status: u16,
}

/// What every request is judged by, and where it is written down. A listener of somebody else's may ask it too.
#[derive(Debug)]
pub(crate) struct Office {
    accounts: Mutex<Accounts>,
    requests: Mutex<Vec<TokenRequest>>,
    signer: Signer,
    lifetime: Duration,
}

impl TokenServer {
    /// Starts one as [`Options::default`] says, without any user.
    ///
    /// # Errors
    /// There is no free port, no thread or no key.
    pub fn start() -> Result<Self> {
        Self::start_with(Options::default())
    }

    /// Starts one without any user: nobody gets in before [`TokenServer::set_password`].
    ///
    /// # Errors
    /// As [`TokenServer::start`], or the certificate is of no use.
    pub fn start_with(options: Options) -> Result<Self> {
        let Options { tls, host, service, lifetime } = options;
        let office = Arc::new(Office::new(Accounts::default(), lifetime)?);
        let front = office.clone();
        let reply = move |seen: &_| front.answer(PATH, seen, SystemTime::now());
        let (scheme, listener) = match &tls {
            Some(identity) => ("https", Listener::tls(identity, reply)?),
            None => ("http", Listener::plain(reply)?),
        };
        let realm = format!("{scheme}://{host}:{}{PATH}", listener.port());
        let authority = tls.map(|identity| identity.authority);
        let trust = Trust { authority, ..office.trust(realm, service) };
        Ok(Self { listener, office, trust })
    }

    /// The address that clients are sent to, such as `https://auth.example.test:40000/token`.
    pub fn realm(&self) -> &str {
        &self.trust.realm
    }

    /// What a registry has to know about it.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// What lies under it, for questions about bytes, connections and addresses.
    pub fn listener(&self) -> &Listener {
        &self.listener
    }

    /// Lets `user` in with `password`, without end, and with no other one. Rights stay as they are.
    pub fn set_password(&self, user: &str, password: &str) {
        self.accounts().set(user, password);
    }

    /// Lets `user` in with `password` too, before `expires` if that is given.
    pub fn add_password(&self, user: &str, password: &str, expires: Option<SystemTime>) {
        self.accounts().add(user, password, expires);
    }

    /// Ends all passwords of `user` at this time, which may be in the past. Has no effect on those that end earlier.
    pub fn expire(&self, user: &str, at: SystemTime) {
        self.accounts().expire(user, at);
    }

    /// Takes all passwords from `user`. Tokens already made stay good for their time.
    pub fn revoke(&self, user: &str) {
        self.accounts().revoke(user, |_| true);
    }

    /// Takes one password from `user`, and leaves the others.
    pub fn revoke_password(&self, user: &str, password: &str) {
        self.accounts().revoke(user, |one| one == password);
    }

    /// Lets `user` do `actions` (`pull`, `push`, `delete`) in `repository`. Everybody may pull and push below `<user>/`
    /// without that.
    pub fn grant(&self, user: &str, repository: &str, actions: &[&str]) {
        self.accounts().grant(user, repository, actions);
    }

    /// Lets everybody pull from `repository`, without a login too.
    pub fn publish(&self, repository: &str) {
        self.accounts().publish(repository);
    }

    /// Every request for a token that was answered so far. None that a client has its answer to is missing.
    pub fn requests(&self) -> Vec<TokenRequest> {
        self.office.requests()
    }

    /// How many logins of `user` were refused so far, whether it has ever existed or not.
    pub fn failed_logins(&self, user: &str) -> usize {
        self.count(user, 401)
    }

    /// Whether `user` is locked out: after five failed logins in ten minutes nobody gets in, with the right password
    /// neither. There is no way to unlock it within a test.
    pub fn is_locked(&self, user: &str) -> bool {
        self.accounts().is_locked(user, SystemTime::now())
    }

    /// How many logins of `user` were accepted so far.
    pub fn logins(&self, user: &str) -> usize {
        self.count(user, 200)
    }

    fn count(&self, user: &str, status: u16) -> usize {
        let is = |one: &&TokenRequest| one.user.as_deref() == Some(user) && one.status == status;
        self.requests().iter().filter(is).count()
    }

    fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.office.accounts()
    }
}

impl Office {
    /// One with these accounts, whose tokens open anything for so long.
    pub(crate) fn new(accounts: Accounts, lifetime: Duration) -> Result<Self> {
        Ok(Self { accounts: accounts.into(), requests: Mutex::default(), signer: Signer::new()?, lifetime })
    }

    /// What a registry has to know that sends its clients to `realm`, with plain http.
    pub(crate) fn trust(&self, realm: String, service: String) -> Trust {
        Trust { realm, service, issuer: ISSUER.to_owned(), keys: self.signer.keys(), authority: None }
    }

    /// See [`TokenServer::requests`].
    pub(crate) fn requests(&self) -> Vec<TokenRequest> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
