//! The two ways to ask a token server for a token: GET, which every one has, and POST, which is OAuth 2.
//!
//! Reads a request, judges its login, and answers; keeps no state of its own.
//! <https://distribution.github.io/distribution/spec/auth/token/>,
//! <https://distribution.github.io/distribution/spec/auth/oauth/>

use std::sync::PoisonError;
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::scope::Scope;
use super::token::Claims;
use super::{ISSUER, Office, TokenRequest};
use crate::listener::{Reply, Seen};

/// A request, as far as it matters.
struct Asked {
    login: Login,
    service: String,
    scopes: Vec<String>,
    way: Way,
}

enum Login {
    None,
    Unreadable,
    /// User and password.
    As(String, String),
}

/// The two ways differ in what the answer is called.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Way {
    Get,
    Post,
}

/// Why there is no token.
enum Refusal {
    Login,
    Request(&'static str),
}

impl Office {
    /// Answers a request at this time, and writes it down if it is one for a token: that is, one to `path`.
    pub(crate) fn answer(&self, path: &str, seen: &Seen, now: SystemTime) -> Reply {
        if seen.path() != path {
            return refused(404, "NOT_FOUND", "there is nothing but the token endpoint");
        }
        let asked = match seen.method.as_str() {
            "GET" => get(seen),
            "POST" => post(seen),
            _ => return refused(405, "UNSUPPORTED", "neither GET nor POST").header("Allow", "GET, POST"),
        };
        let (status, reply) = match self.judge(&asked, seen, now) {
            Ok(access) => match self.token(&asked, &access, now) {
                Ok(body) => (200, Reply::status(200).json(&body)),
                Err(error) => (500, refused(500, "UNKNOWN", &format!("{error:#}"))),
            },
            Err(Refusal::Login) => {
                let reply = refused(401, "UNAUTHORIZED", "wrong user or password");
                (401, reply.header("WWW-Authenticate", &format!("Basic realm=\"{ISSUER}\"")))
            }
            Err(Refusal::Request(why)) => (400, refused(400, "BAD_REQUEST", why)),
        };
        let authorization = !matches!(asked.login, Login::None);
        let user = asked.user().map(str::to_owned);
        let request = TokenRequest { user, authorization, service: asked.service, scopes: asked.scopes, status };
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        reply
    }

    /// What is asked and allowed. Too little of it is no reason to refuse: the registry will.
    fn judge(&self, asked: &Asked, seen: &Seen, now: SystemTime) -> Result<Vec<Scope>, Refusal> {
        if asked.way == Way::Post {
            complete(seen)?;
        }
        let mut accounts = self.accounts();
        match &asked.login {
            Login::Unreadable => return Err(Refusal::Login),
            Login::As(user, password) if !accounts.log_in(user, password, now) => return Err(Refusal::Login),
            Login::As(..) | Login::None => {}
        }
        let mut access = Vec::new();
        for text in &asked.scopes {
            let scope = Scope::parse(text).ok_or(Refusal::Request("a scope is not type:name:actions"))?;
            access.extend(accounts.allowed(asked.login(), &scope));
        }
        Ok(access)
    }

    fn token(&self, asked: &Asked, access: &[Scope], now: SystemTime) -> Result<Value> {
        let claims = Claims {
            issuer: ISSUER,
            subject: asked.user().unwrap_or_default(),
            // As asked, right or wrong: the registry refuses what is not meant for it.
            audience: &asked.service,
            access,
            issued: now,
            lifetime: self.lifetime,
        };
        let token = self.signer.sign(&claims)?;
        let issued = Timestamp::try_from(now).context("tell the time")?.to_string();
        let mut body = json!({ "access_token": token, "expires_in": self.lifetime.as_secs(), "issued_at": issued });
        match asked.way {
            Way::Get => body["token"] = json!(token),
            Way::Post => {
                let scopes: Vec<String> = access.iter().map(Scope::to_string).collect();
                body["scope"] = json!(scopes.join(" "));
            }
        }
        Ok(body)
    }
}

impl Asked {
    fn user(&self) -> Option<&str> {
        match &self.login {
            Login::As(user, _) => Some(user),
            Login::None | Login::Unreadable => None,
        }
    }

    /// User and password.
    fn login(&self) -> Option<(&str, &str)> {
        match &self.login {
            Login::As(user, password) => Some((user, password)),
            Login::None | Login::Unreadable => None,
        }
    }
}

fn get(seen: &Seen) -> Asked {
    let login = match (seen.basic(), seen.header("Authorization")) {
        (Some((user, password)), _) => Login::As(user, password),
        (None, Some(_)) => Login::Unreadable,
        (None, None) => Login::None,
    };
    // One parameter per scope. Some clients send one with nothing in it if they want none.
    let scopes = seen.query("scope").into_iter().filter(|scope| !scope.is_empty()).collect();
    Asked { login, service: first(seen.query("service")).unwrap_or_default(), scopes, way: Way::Get }
}

fn post(seen: &Seen) -> Asked {
    let login = match (first(seen.form("username")), first(seen.form("password"))) {
        (Some(user), Some(password)) => Login::As(user, password),
        (None, None) if seen.header("Authorization").is_none() => Login::None,
        _ => Login::Unreadable,
    };
    // All in one parameter.
    let scopes = first(seen.form("scope")).unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    Asked { login, service: first(seen.form("service")).unwrap_or_default(), scopes, way: Way::Post }
}

/// Whether a form has what the specification requires of one that comes with a password.
fn complete(seen: &Seen) -> Result<(), Refusal> {
    if first(seen.form("grant_type")).as_deref() != Some("password") {
        return Err(Refusal::Request("grant_type has to be password"));
    }
    for name in ["service", "client_id", "username", "password"] {
        if first(seen.form(name)).is_none_or(|value| value.is_empty()) {
            return Err(Refusal::Request("service, client_id, username and password are required"));
        }
    }
    Ok(())
}

fn first(values: Vec<String>) -> Option<String> {
    values.into_iter().next()
}

fn refused(status: u16, code: &str, message: &str) -> Reply {
    Reply::status(status).json(&json!({ "errors": [{ "code": code, "message": message, "detail": null }] }))
}
