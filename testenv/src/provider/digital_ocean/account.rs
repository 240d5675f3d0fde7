//! An account at DigitalOcean: its API tokens, its registries, and the credentials that it has issued. The time is passed in.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Auth, Options};
use crate::provider::limit::Window;
use crate::provider::{Clock, Listed, Login, hex};
use crate::token_server::{Office, Password, Right};

/// The account's e-mail address, which is the user name of its credentials.
const EMAIL: &str = "owner@example.com";

#[derive(Debug)]
pub(super) struct Account {
    pub(super) options: Options,
    pub(super) registries: Vec<Registry>,
    tokens: Vec<ApiToken>,
    issued: Vec<Issued>,
    office: Arc<Office>,
    clock: Clock,
    /// As it stands in a docker config.
    pub(super) host: String,
}

#[derive(Debug)]
pub(super) struct Registry {
    pub(super) name: String,
    pub(super) created: Timestamp,
}

#[derive(Debug)]
struct ApiToken {
    /// `None` if it is revoked.
    text: Option<String>,
    scopes: Vec<String>,
    window: Window,
}

#[derive(Debug)]
struct Issued {
    name: String,
    user: String,
    text: String,
    expires: Option<Timestamp>,
    window: Window,
}

/// What is wanted of a new credential.
pub(super) struct Wanted {
    pub(super) seconds: i64,
    pub(super) read_write: bool,
}

/// Who asks, and how much of the limits is used up.
pub(super) struct Asking<'a> {
    pub(super) login: Login,
    pub(super) scopes: &'a [String],
    pub(super) window: &'a mut Window,
}

impl Account {
    pub(super) fn new(options: Options, office: Arc<Office>, clock: Clock) -> Self {
        let created = clock.now();
        let registries = options.registries.iter().map(|name| Registry { name: name.clone(), created }).collect();
        let (tokens, issued) = (Vec::new(), Vec::new());
        Self { options, registries, tokens, issued, office, clock, host: String::new() }
    }

    pub(super) fn add_token(&mut self, scopes: &[&str]) -> String {
        let text = format!("dop_v1_{}", hex(64));
        let scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
        self.tokens.push(ApiToken { text: Some(text.clone()), scopes, window: Window::default() });
        text
    }

    /// Who has this token: an API token, or a credential, which is one too but without scopes.
    pub(super) fn asking(&mut self, token: &str, now: Timestamp) -> Option<Asking<'_>> {
        let known = self.tokens.iter_mut().enumerate().find(|(_, one)| one.text.as_deref() == Some(token));
        if let Some((number, one)) = known {
            return Some(Asking { login: Login::ApiToken(number), scopes: &one.scopes, window: &mut one.window });
        }
        let issued = self.issued.iter_mut().find(|one| one.text == token && one.is_alive(now))?;
        Some(Asking { login: Login::Issued, scopes: &[], window: &mut issued.window })
    }

    /// Issues a credential for a registry, and returns the docker config with it.
    pub(super) fn issue(&mut self, registry: &str, wanted: &Wanted, now: Timestamp) -> Value {
        let text = format!("dor_v1_{}", hex(64));
        let (user, login) = match self.options.auth {
            Auth::TokenTwice => (text.clone(), format!("{text}:{text}\n")),
            Auth::Email => (EMAIL.to_owned(), format!("{EMAIL}:{text}")),
        };
        let life = (wanted.seconds > 0).then(|| SignedDuration::from_secs(wanted.seconds));
        let expires = life.map(|life| now.saturating_add(life).unwrap_or(Timestamp::MAX));
        let delay = SignedDuration::try_from(self.options.effective_after).unwrap_or(SignedDuration::ZERO);
        let begins = (!delay.is_zero()).then(|| self.clock.real(now + delay));
        let actions: &[&str] = if wanted.read_write { &["pull", "push"] } else { &["pull"] };
        let rights = Some(vec![Right::below(registry, actions)]);
        let password =
            Password { text: text.clone(), begins, expires: expires.map(|expires| self.clock.real(expires)), rights };
        self.office.accounts().issue(&user, password);
        let name = format!("container-registry-{registry}-{}-{}", now.as_millisecond(), self.issued.len());
        self.issued.push(Issued { name, user, text, expires, window: Window::default() });
        json!({ "auths": { &self.host: { "auth": BASE64_STANDARD.encode(login) } } })
    }

    /// Ends this token, whatever it is. False if there is none.
    pub(super) fn revoke(&mut self, token: &str, now: Timestamp) -> bool {
        if let Some(own) = self.tokens.iter_mut().find(|one| one.text.as_deref() == Some(token)) {
            own.text = None;
            return true;
        }
        let is_alive = self.issued.iter().any(|one| one.text == token && one.is_alive(now));
        self.end(|one| one.text == token);
        is_alive
    }

    /// Ends the credential of this name.
    pub(super) fn revoke_named(&mut self, name: &str) {
        self.end(|one| one.name == name);
    }

    /// The credentials that are neither revoked nor expired.
    pub(super) fn alive(&self, now: Timestamp) -> Vec<Listed> {
        let alive = self.issued.iter().filter(|one| one.is_alive(now));
        alive.map(|one| Listed { name: one.name.clone(), expires: one.expires }).collect()
    }

    fn end(&mut self, is_meant: impl Fn(&Issued) -> bool) {
        for one in self.issued.iter().filter(|one| is_meant(one)) {
            self.office.accounts().revoke(&one.user, |password| password == one.text);
        }
        self.issued.retain(|one| !is_meant(one));
    }
}

impl Issued {
    fn is_alive(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}
