//! A user of IONOS: its ways in, its contracts, and the registries with their tokens. The time is passed in.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Options;
use super::body::{NewToken, Status};
use crate::listener::Seen;
use crate::provider::limit::Window;
use crate::provider::{Clock, Listed, Login, hex, uuid};
use crate::token_server::{Office, Password};

#[derive(Debug)]
pub(super) struct Account {
    pub(super) options: Options,
    pub(super) registries: Vec<Registry>,
    /// `None` if it is revoked; and whether it may manage registries.
    tokens: Vec<(Option<String>, bool)>,
    users: BTreeMap<String, String>,
    pub(super) windows: BTreeMap<String, Window>,
    clock: Clock,
}

/// When a new token works.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    /// `None` for at once.
    pub(super) begins: Option<Timestamp>,
    /// `None` for never.
    pub(super) expires: Option<Timestamp>,
}

#[derive(Debug)]
pub(super) struct Registry {
    pub(super) id: String,
    pub(super) name: String,
    created: Timestamp,
    /// `None` while it is not running.
    pub(super) host: Option<String>,
    pub(super) office: Arc<Office>,
    pub(super) tokens: Vec<Token>,
}

#[derive(Debug)]
pub(super) struct Token {
    pub(super) id: String,
    pub(super) made_from: NewToken,
    expires: Option<Timestamp>,
    password: String,
    created: Timestamp,
}

impl Account {
    pub(super) fn new(options: Options, clock: Clock) -> Self {
        let (registries, tokens) = (Vec::new(), Vec::new());
        Self { options, registries, tokens, users: BTreeMap::new(), windows: BTreeMap::new(), clock }
    }

    pub(super) fn add_token(&mut self, may_manage: bool) -> String {
        let text = format!("eyJ{}", hex(200));
        self.tokens.push((Some(text.clone()), may_manage));
        text
    }

    pub(super) fn revoke_token(&mut self, token: &str) {
        for (text, _) in &mut self.tokens {
            text.take_if(|text| text == token);
        }
    }

    pub(super) fn add_user(&mut self, user: &str) -> String {
        let password = hex(24);
        self.users.insert(user.to_owned(), password.clone());
        password
    }

    pub(super) fn remove_user(&mut self, user: &str) {
        self.users.remove(user);
    }

    /// Who asks, and whether it may manage registries.
    pub(super) fn asking(&self, seen: &Seen) -> Option<(Login, bool)> {
        if let Some(token) = seen.bearer() {
            let found = self.tokens.iter().position(|(text, _)| text.as_deref() == Some(token))?;
            return Some((Login::ApiToken(found), self.tokens[found].1));
        }
        let (user, password) = seen.basic()?;
        (self.users.get(&user) == Some(&password)).then_some((Login::User(user), true))
    }

    pub(super) fn create(&mut self, name: &str, office: Arc<Office>, now: Timestamp) -> String {
        let id = uuid();
        let registry =
            Registry { id: id.clone(), name: name.to_owned(), created: now, host: None, office, tokens: Vec::new() };
        self.registries.push(registry);
        id
    }

    pub(super) fn registry(&mut self, id: &str) -> Option<&mut Registry> {
        self.registries.iter_mut().find(|registry| registry.id == id)
    }

    pub(super) fn named(&self, name: &str) -> Option<&Registry> {
        self.registries.iter().find(|registry| registry.name == name)
    }

    /// How many tokens open something.
    pub(super) fn alive(&self, now: Timestamp) -> usize {
        self.registries.iter().flat_map(|registry| &registry.tokens).filter(|token| token.is_alive(now)).count()
    }

    pub(super) fn clock(&self) -> Clock {
        self.clock.clone()
    }
}

impl Registry {
    pub(super) fn shown(&self) -> Value {
        let state = if self.host.is_some() { "Running" } else { "New" };
        let created = self.created.to_string();
        json!({
            "id": self.id, "type": "registry", "href": format!("/containerregistries/registries/{}", self.id),
            "metadata": metadata(&created, state),
            "properties": {
                "name": self.name, "location": "de/fra", "hostname": self.host.clone().unwrap_or_default(),
                "storageUsage": { "bytes": 0, "updatedAt": created }, "garbageCollectionSchedule": null,
                "features": { "vulnerabilityScanning": { "enabled": true } }, "apiSubnetAllowList": [],
            },
        })
    }

    /// Issues a token; with its password, as it is shown this once.
    pub(super) fn issue(&mut self, from: NewToken, life: Life, clock: &Clock, now: Timestamp) -> Value {
        let password = hex(32);
        if from.status == Status::Enabled {
            let [begins, expires] = [life.begins, life.expires].map(|time| time.map(|time| clock.real(time)));
            let issued = Password { text: password.clone(), begins, expires, rights: Some(from.rights()) };
            self.office.accounts().issue(&from.name, issued);
        }
        let token = Token { id: uuid(), made_from: from, expires: life.expires, password, created: now };
        let mut shown = token.shown(&self.id);
        shown["properties"]["credentials"]["password"] = json!(token.password);
        self.tokens.push(token);
        shown
    }

    /// Deletes the token that is meant, expired or not. False if there is none.
    pub(super) fn delete(&mut self, is_meant: impl Fn(&Token) -> bool) -> bool {
        let Some(at) = self.tokens.iter().position(is_meant) else { return false };
        let token = self.tokens.remove(at);
        self.office.accounts().revoke(&token.made_from.name, |password| password == token.password);
        true
    }

    pub(super) fn listed(&self) -> Vec<Listed> {
        let listed = |token: &Token| Listed { name: token.made_from.name.clone(), expires: token.expires };
        self.tokens.iter().map(listed).collect()
    }
}

impl Token {
    pub(super) fn shown(&self, registry: &str) -> Value {
        let NewToken { name, status, scopes, .. } = &self.made_from;
        json!({
            "id": self.id, "type": "token",
            "href": format!("/containerregistries/registries/{registry}/tokens/{}", self.id),
            "metadata": metadata(&self.created.to_string(), "enabled"),
            "properties": {
                "name": name, "status": status, "scopes": scopes,
                "expiryDate": self.expires.map(|expires| expires.to_string()),
                "credentials": { "username": name, "password": "" },
            },
        })
    }

    fn is_alive(&self, now: Timestamp) -> bool {
        self.made_from.status == Status::Enabled && self.expires.is_none_or(|expires| now < expires)
    }
}

fn metadata(created: &str, state: &str) -> Value {
    json!({
        "createdBy": "owner@example.com", "createdByUserId": "00000000-0000-4000-a000-000000000000",
        "createdDate": created, "state": state,
    })
}
