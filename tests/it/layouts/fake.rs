//! What all fakes share: accounts, repositories, and the tokens they issued. Knows no provider.
//!
//! A token opens what it was issued for and nothing else, and one that was not issued here opens nothing. So a login that was
//! never sent, or a token that was never used, cannot look like a proof.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::json;
use testenv::{Reply, Seen};

/// Stands in every text that a fake says to explain itself. The operator must never repeat it.
pub const MARKER: &str = "remote-marker-7f3a";

/// The only tag of every repository.
pub const TAG: &str = "v1";

/// One provider's accounts, repositories and tokens.
#[derive(Default)]
pub struct Fake {
    accounts: Vec<Account>,
    /// By name; true for those that everybody may read.
    repositories: HashMap<String, bool>,
    state: Mutex<State>,
}

struct Account {
    user: String,
    password: String,
    is_expired: bool,
    /// Private repositories that it may pull from.
    reads: Vec<String>,
}

#[derive(Default)]
struct State {
    tokens: HashMap<String, Grant>,
    /// Whose tokens have opened the registry.
    opened: Vec<Option<usize>>,
}

/// Who a request comes from, by its Basic authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    None,
    /// Nobody has it, or it cannot be read.
    Wrong,
    /// Somebody had it.
    Expired,
    /// This account.
    Of(usize),
}

/// What a token was issued for.
#[derive(Clone, Debug)]
pub struct Grant {
    pub account: Option<usize>,
    pub pulls: Vec<String>,
}

/// The token of a request.
pub enum Bearer {
    None,
    /// Not issued here.
    Unknown,
    Good(Grant),
}

impl Fake {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a private repository.
    pub fn private(mut self, name: &str) -> Self {
        self.repositories.insert(name.to_owned(), false);
        self
    }

    /// Adds a repository that everybody may read.
    pub fn public(mut self, name: &str) -> Self {
        self.repositories.insert(name.to_owned(), true);
        self
    }

    /// Adds an account that may pull from these private repositories.
    pub fn account(mut self, (user, password): (&str, &str), reads: &[&str]) -> Self {
        let reads = reads.iter().map(|name| (*name).to_owned()).collect();
        self.accounts.push(Account { user: user.into(), password: password.into(), is_expired: false, reads });
        self
    }

    /// Adds a login that was right once.
    pub fn expired(mut self, (user, password): (&str, &str)) -> Self {
        self.accounts.push(Account { user: user.into(), password: password.into(), is_expired: true, reads: vec![] });
        self
    }

    /// Who sends a request.
    pub fn login(&self, seen: &Seen) -> Login {
        if seen.header("Authorization").is_none() {
            return Login::None;
        }
        let Some((user, password)) = seen.basic() else { return Login::Wrong };
        match self.accounts.iter().position(|account| account.user == user && account.password == password) {
            None => Login::Wrong,
            Some(at) if self.accounts[at].is_expired => Login::Expired,
            Some(at) => Login::Of(at),
        }
    }

    /// The user name of an account.
    pub fn user(&self, account: usize) -> &str {
        &self.accounts[account].user
    }

    pub fn exists(&self, repository: &str) -> bool {
        self.repositories.contains_key(repository)
    }

    /// Whether somebody may pull from a repository.
    pub fn may_pull(&self, account: Option<usize>, repository: &str) -> bool {
        match self.repositories.get(repository) {
            None => false,
            Some(is_public) => {
                *is_public || account.is_some_and(|at| self.accounts[at].reads.iter().any(|name| name == repository))
            }
        }
    }

    /// Issues a token for what the request asks for and the account may do, which may be nothing.
    pub fn issue(&self, account: Option<usize>, seen: &Seen) -> String {
        let pulls = scopes(seen).into_iter().filter(|name| self.may_pull(account, name)).collect();
        let token: String = std::iter::repeat_with(fastrand::alphanumeric).take(40).collect();
        self.state().tokens.insert(token.clone(), Grant { account, pulls });
        token
    }

    /// The token of a request.
    pub fn bearer(&self, seen: &Seen) -> Bearer {
        match seen.bearer() {
            None => Bearer::None,
            Some(token) => self.state().tokens.get(token).cloned().map_or(Bearer::Unknown, Bearer::Good),
        }
    }

    /// Takes note that an account got into the registry.
    pub fn opened(&self, account: Option<usize>) {
        self.state().opened.push(account);
    }

    /// Whether this login got into the registry, by a token or by itself.
    pub fn has_opened(&self, (user, password): (&str, &str)) -> bool {
        let is_it = |at: &usize| self.accounts[*at].user == user && self.accounts[*at].password == password;
        self.state().opened.iter().flatten().any(is_it)
    }

    /// What is in a repository, for somebody who may read it.
    pub fn content(&self, seen: &Seen, part: Part<'_>) -> Reply {
        let digest = format!("sha256:{}", "5e".repeat(32));
        match part {
            Part::Tags => Reply::status(200).json(&json!({"name": "x", "tags": [TAG]})),
            Part::Manifest(reference) if reference != TAG && reference != digest => {
                error(404, "MANIFEST_UNKNOWN", "manifest unknown")
            }
            // Who does not say that it knows OCI manifests is told that there is none.
            Part::Manifest(_) if !seen.header("Accept").is_some_and(|types| types.contains("oci.image.manifest")) => {
                error(404, "MANIFEST_UNKNOWN", "OCI manifest found, but accept header does not support OCI manifests")
            }
            Part::Manifest(_) => {
                let manifest = json!({"schemaVersion": 2, "annotations": {"x": MARKER}}).to_string();
                Reply::status(200)
                    .header("Content-Type", "application/vnd.oci.image.manifest.v1+json")
                    .header("Docker-Content-Digest", &digest)
                    .body(manifest)
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The part of a repository that a request is about.
#[derive(Clone, Copy)]
pub enum Part<'a> {
    Tags,
    /// This tag or digest.
    Manifest(&'a str),
}

/// The repository that a path is about; none for `/v2/` and for what is no registry's path.
pub fn repository(path: &str) -> Option<(&str, Part<'_>)> {
    let path = path.strip_prefix("/v2/")?;
    if let Some(name) = path.strip_suffix("/tags/list") {
        return Some((name, Part::Tags));
    }
    path.rsplit_once("/manifests/").map(|(name, reference)| (name, Part::Manifest(reference)))
}

/// The repositories that a request for a token wants to pull from.
pub fn scopes(seen: &Seen) -> Vec<String> {
    let name = |scope: String| {
        let (name, actions) = scope.strip_prefix("repository:")?.rsplit_once(':')?;
        actions.split(',').any(|action| action == "pull").then(|| name.to_owned())
    };
    seen.query("scope").into_iter().filter_map(name).collect()
}

/// A refusal as the distribution specification has it.
pub fn error(status: u16, code: &str, message: &str) -> Reply {
    let detail = json!({"reason": MARKER});
    said(status).json(&json!({"errors": [{"code": code, "message": format!("{message} {MARKER}"), "detail": detail}]}))
}

/// An answer that does not speak the registry's language: a proxy's, a firewall's, a framework's.
pub fn bare(status: u16) -> Reply {
    said(status).header("Content-Type", "text/plain").body(format!("{MARKER}\n"))
}

/// A token under the usual name.
pub fn granted(token: &str) -> Reply {
    Reply::status(200).json(&json!({"token": token, "expires_in": 300, "issued_at": "2026-01-01T00:00:00Z"}))
}

fn said(status: u16) -> Reply {
    Reply::status(status).header("X-Request-Id", MARKER)
}
