//! What a registry and a token server say that behave, and the words of those that do not.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde_json::{Value, json};
use testenv::{Reply, Seen};

use super::{MARKER, TOKEN};
use crate::scenario::PASSWORD;

/// What a listener of a case knows.
#[derive(Clone)]
pub struct Me {
    pub name: &'static str,
    pub user: String,
    pub scheme: &'static str,
    /// The foreign listener's port.
    pub port: u16,
    /// The registry's own, once it is known.
    pub own: u16,
    /// The API server's.
    pub api_server: u16,
    pub turned: Arc<AtomicBool>,
}

impl Me {
    /// Fills in `{name}`, the ports `{port}`, `{own}` and `{api}`, and `{registry}` as the client calls it.
    pub fn fill(&self, template: &str, seen: Option<&Seen>) -> String {
        let host = format!("{}.example.com", self.name);
        let registry = seen.and_then(|seen| seen.header("Host")).unwrap_or(&host);
        let ports = [("{port}", self.port), ("{own}", self.own), ("{api}", self.api_server)];
        let text = template.replace("{registry}", registry).replace("{name}", self.name);
        ports.into_iter().fold(text, |text, (word, port)| text.replace(word, &port.to_string()))
    }

    /// The same in every text of a value.
    pub fn filled(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.fill(text, None).into(),
            Value::Array(items) => items.iter().map(|item| self.filled(item)).collect(),
            Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), self.filled(value))).collect(),
            other => other.clone(),
        }
    }

    /// The registry behaves no longer.
    pub fn has_turned(&self) -> bool {
        self.turned.load(Ordering::Relaxed)
    }

    /// The request carries the right login.
    pub fn knows(&self, seen: &Seen) -> bool {
        seen.basic().is_some_and(|(user, password)| user == self.user && password == PASSWORD)
    }

    /// A 401 that names a token server.
    pub fn challenge(&self, seen: &Seen, realm: &str) -> Reply {
        let realm = self.fill(realm, Some(seen));
        remote(401).header("WWW-Authenticate", &format!("Bearer realm=\"{realm}\",service=\"{MARKER}\""))
    }

    /// Where the foreign listener is.
    pub fn foreign(&self) -> String {
        format!("http://127.0.0.1:{}/{MARKER}/token", self.port)
    }
}

/// The request for the API without a login, with which every test begins.
pub fn is_first(seen: &Seen) -> bool {
    seen.path() == "/v2/" && seen.header("Authorization").is_none()
}

/// A request to the token server.
pub fn is_for_token(seen: &Seen) -> bool {
    !seen.path().starts_with("/v2/")
}

/// A request to the registry with nothing that lets it in.
pub fn is_stranger(seen: &Seen, me: &Me) -> bool {
    !is_for_token(seen) && seen.bearer() != Some(TOKEN) && !me.knows(seen)
}

/// Answers the first request.
pub fn first(seen: &Seen, reply: impl FnOnce() -> Reply) -> Option<Reply> {
    is_first(seen).then(reply)
}

/// Answers a token server's request with the right login.
pub fn at_login(seen: &Seen, me: &Me, reply: impl FnOnce() -> Reply) -> Option<Reply> {
    (is_for_token(seen) && me.knows(seen)).then(reply)
}

/// Any answer: all that is in it is marked.
pub fn remote(status: u16) -> Reply {
    Reply::status(status).header("X-Remote", MARKER).body(format!("{{\"message\":\"{MARKER}\"}}"))
}

/// A grant of this token.
pub fn grant(token: &serde_json::Value) -> Reply {
    remote(200).json(&json!({"token": token, "detail": MARKER}))
}

/// A token server that knows the login.
pub fn token_server(seen: &Seen, me: &Me) -> Reply {
    if me.knows(seen) { grant(&TOKEN.into()) } else { remote(401) }
}

/// A registry with a token server at its own place.
pub fn behaved(seen: &Seen, me: &Me) -> Reply {
    if is_for_token(seen) {
        token_server(seen, me)
    } else if is_stranger(seen, me) {
        me.challenge(seen, &format!("{}://{{registry}}/{MARKER}/token", me.scheme))
    } else {
        remote(200)
    }
}
