//! What the API of IONOS answers. Pure; unknown fields are ignored, and nothing of a text is shown that is not checked.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    domain::{credential::Credential, host::RegistryHost},
    provider::issuing::Listed,
};

/// The longest mark of a page, in bytes.
const MAX_MARK: usize = 1024;

/// One page of the registries.
#[derive(Deserialize)]
pub(super) struct Registries {
    /// What is on it.
    pub(super) items: Vec<Registry>,
    pagination: Option<Pagination>,
}

#[derive(Deserialize)]
struct Pagination {
    token: Option<String>,
}

/// A registry.
#[derive(Deserialize)]
pub(super) struct Registry {
    id: String,
    #[serde(default, deserialize_with = "or_default")]
    properties: RegistryProperties,
    #[serde(default, deserialize_with = "or_default")]
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
struct RegistryProperties {
    name: Option<String>,
    hostname: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    state: Option<String>,
    created_date: Option<String>,
}

/// Whether a registry can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It runs, and this is its host.
    Running(RegistryHost),
    /// It does not, for the time being; why, in half a sentence.
    NotReady(String),
    /// It claims to, but at no host that could be one.
    Nowhere,
}

/// A token that was just created. No Debug: it holds a password.
pub(super) struct Created {
    /// Its ID, as far as it can stand in an address.
    pub(super) id: Option<String>,
    /// The rest, or why it cannot be used, in half a sentence.
    pub(super) token: Result<(Credential, Timestamp), &'static str>,
}

/// One page of the tokens.
#[derive(Deserialize)]
pub(super) struct Tokens {
    items: Vec<Token>,
    #[serde(default, deserialize_with = "number")]
    total: Option<usize>,
}

#[derive(Deserialize)]
struct Token {
    id: String,
    #[serde(default, deserialize_with = "or_default")]
    properties: TokenProperties,
    #[serde(default, deserialize_with = "or_default")]
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
struct TokenProperties {
    name: Option<String>,
}

/// Reads an answer; none if it is not what was asked for.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    serde_json::from_slice(body).ok()
}

/// Whether this can stand in an address as the ID of something.
pub(super) fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

impl Registries {
    /// The mark of the next page; none if this is the last.
    pub(super) fn next(&self) -> Option<&str> {
        let mark = self.pagination.as_ref()?.token.as_deref()?;
        (1..=MAX_MARK).contains(&mark.len()).then_some(mark)
    }
}

impl Registry {
    /// Its ID; none if it cannot stand in an address.
    pub(super) fn id(&self) -> Option<&str> {
        Some(self.id.as_str()).filter(|id| is_id(id))
    }

    /// Whether it has this name.
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.properties.name.as_deref() == Some(name)
    }

    /// Whether it can be used. The names of states are free text, so one is shown only if it is a plain word.
    pub(super) fn state(&self) -> State {
        let state = self.metadata.state.as_deref().unwrap_or_default();
        let hostname = self.properties.hostname.as_deref().unwrap_or_default();
        if !state.eq_ignore_ascii_case("running") {
            let is_word = (1..=32).contains(&state.len()) && state.bytes().all(|byte| byte.is_ascii_alphabetic());
            return State::NotReady(if is_word { format!("its state is {state}") } else { "it does not run".into() });
        }
        if hostname.is_empty() {
            return State::NotReady("it has no host name yet".into());
        }
        match RegistryHost::parse(hostname) {
            Ok(host) if !host.is_docker_hub() => State::Running(host),
            Ok(_) | Err(_) => State::Nowhere,
        }
    }
}

impl Created {
    /// Reads the answer to the creation of a token that was asked to expire.
    pub(super) fn read(body: &[u8], now: Timestamp) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let id = body.get("id").and_then(Value::as_str).filter(|id| is_id(id)).map(str::to_owned);
        let token = if id.is_none() { Err("the answer has no usable ID") } else { token(&body, now) };
        Self { id, token }
    }
}

fn token(body: &Value, now: Timestamp) -> Result<(Credential, Timestamp), &'static str> {
    let text = |path: &str| body.pointer(path).and_then(Value::as_str);
    let (Some(username), Some(password)) =
        (text("/properties/credentials/username"), text("/properties/credentials/password"))
    else {
        return Err("the answer has no credentials");
    };
    let credential = Credential::new(username.to_owned(), password.to_owned())
        .map_err(|_| "the credentials in the answer are no login")?;
    let expires_at = match body.pointer("/properties/expiryDate") {
        None | Some(Value::Null) => return Err("the token would never expire, although that was asked for"),
        Some(date) => date.as_str().and_then(|date| date.parse::<Timestamp>().ok()),
    };
    let expires_at = expires_at.ok_or("the token's expiry date cannot be read")?;
    if expires_at <= now {
        return Err("the token has expired already");
    }
    Ok((credential, expires_at))
}

impl Tokens {
    /// How many are on this page.
    pub(super) fn count(&self) -> usize {
        self.items.len()
    }

    /// Whether there are more than so many in all, as far as it is told.
    pub(super) fn has_more_than(&self, count: usize) -> bool {
        self.total.is_none_or(|total| total > count)
    }

    /// Those with names that begin so; none if one of them has an ID that cannot stand in an address.
    pub(super) fn named(self, prefix: &str) -> Option<Vec<Listed>> {
        let listed = self.items.into_iter().filter_map(|token| {
            let name = token.properties.name.filter(|name| name.starts_with(prefix))?;
            let created_at = token.metadata.created_date.and_then(|date| date.parse().ok());
            Some(is_id(&token.id).then_some(Listed { id: token.id, name, created_at }))
        });
        listed.collect()
    }
}

/// What is `null` is as if it were not there.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A number, or one written as a text, as the same API wants it in queries.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
    Ok(number.and_then(|number| usize::try_from(number).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_registry_is_ready_when_it_runs_and_has_a_host() {
        let host = |text: &str| State::Running(RegistryHost::parse(text).unwrap());
        let waits = |text: &str| State::NotReady(text.into());
        for (state, hostname, expected) in [
            (json!("Running"), json!("demo.cr.de-fra.ionos.com"), host("demo.cr.de-fra.ionos.com")),
            (json!("RUNNING"), json!("Demo.cr.de-fra.ionos.com"), host("demo.cr.de-fra.ionos.com")),
            (json!("Running"), json!("127.0.0.1:5000"), host("127.0.0.1:5000")),
            (json!("New"), json!(""), waits("its state is New")),
            (json!("New"), json!("demo.example"), waits("its state is New")),
            (json!("Failed"), json!("demo.example"), waits("its state is Failed")),
            (json!("Running"), json!(""), waits("it has no host name yet")),
            (json!("Running"), json!(null), waits("it has no host name yet")),
            (json!("not a canary"), json!("demo.example"), waits("it does not run")),
            (json!("x".repeat(33)), json!("demo.example"), waits("it does not run")),
            (json!(null), json!("demo.example"), waits("it does not run")),
            (json!("Running"), json!("canary/x"), State::Nowhere),
            (json!("Running"), json!("https://demo.example"), State::Nowhere),
            (json!("Running"), json!("u:p@demo.example"), State::Nowhere),
            (json!("Running"), json!("*.example"), State::Nowhere),
            (json!("Running"), json!("docker.io"), State::Nowhere),
        ] {
            let body =
                json!({"id": "1", "properties": {"name": "demo", "hostname": hostname}, "metadata": {"state": state}});
            let registry: Registry = read(body.to_string().as_bytes()).unwrap();
            assert_eq!(registry.state(), expected, "{body}");
        }
        let registry: Registry = read(br#"{"id":"1","properties":null}"#).unwrap();
        assert_eq!(registry.state(), waits("it does not run"));
    }

    #[test]
    fn a_created_token_is_a_login_that_ends() {
        let now: Timestamp = "2026-11-21T15:00:00Z".parse().unwrap();
        let body = |change: &dyn Fn(&mut Value)| {
            let mut body = json!({"id": "a-1", "properties": {
                "name": "regcred-1", "status": "enabled", "expiryDate": "2026-11-21T18:00:00Z",
                "credentials": {"username": "regcred-1", "password": "canary"}}});
            change(&mut body);
            Created::read(body.to_string().as_bytes(), now)
        };
        let created = body(&|_| {});
        let Ok((login, expires_at)) = created.token else { panic!() };
        assert_eq!((created.id.as_deref(), login.username(), login.password()), (Some("a-1"), "regcred-1", "canary"));
        assert_eq!(expires_at.to_string(), "2026-11-21T18:00:00Z");
        type Change = fn(&mut Value);
        let rows: [(&str, Change, bool); 12] = [
            ("no id", |body| body["id"] = json!(null), false),
            ("an id with a slash", |body| body["id"] = json!("../canary"), false),
            ("a number as id", |body| body["id"] = json!(7), false),
            ("never", |body| body["properties"]["expiryDate"] = json!(null), true),
            ("in the past", |body| body["properties"]["expiryDate"] = json!("2026-11-21T14:59:59Z"), true),
            ("now", |body| body["properties"]["expiryDate"] = json!("2026-11-21T15:00:00Z"), true),
            ("no date", |body| body["properties"]["expiryDate"] = json!("canary"), true),
            ("a number as date", |body| body["properties"]["expiryDate"] = json!(7), true),
            ("no password", |body| body["properties"]["credentials"]["password"] = json!(""), true),
            ("no credentials", |body| body["properties"]["credentials"] = json!(null), true),
            ("a line break", |body| body["properties"]["credentials"]["password"] = json!("canary\n"), true),
            ("nothing", |body| *body = json!({"id": "a-1"}), true),
        ];
        for (name, change, has_id) in rows {
            let created = body(&change);
            assert_eq!(created.id.is_some(), has_id, "{name}");
            assert!(created.token.is_err_and(|why| !why.contains("canary")), "{name}");
        }
        assert!(Created::read(b"<html>", now).token.is_err());
    }

    #[test]
    fn pages_say_what_they_hold_and_whether_there_are_more() {
        for (body, count, of, expected) in [
            (json!({"items": [], "total": 0}), 0, 0, false),
            (json!({"items": [{"id": "1"}], "total": 2}), 1, 1, true),
            (json!({"items": [{"id": "1"}], "total": "2"}), 1, 2, false),
            (json!({"items": [{"id": "1"}]}), 1, 1, true),
            (json!({"items": [{"id": "1"}], "total": null}), 1, 1, true),
        ] {
            let page: Tokens = read(body.to_string().as_bytes()).unwrap();
            assert_eq!((page.count(), page.has_more_than(of)), (count, expected), "{body}");
        }
        for body in ["", "[]", r#"{"items":7}"#, r#"{"total":1}"#, r#"{"items":[{"id":7}]}"#] {
            assert!(read::<Tokens>(body.as_bytes()).is_none(), "{body}");
        }
        let next = |body: Value| read::<Registries>(body.to_string().as_bytes()).unwrap().next().map(str::to_owned);
        assert_eq!(next(json!({"items": [], "pagination": {"limit": 100, "token": "m"}})).as_deref(), Some("m"));
        for body in [
            json!({"items": []}),
            json!({"items": [], "pagination": {"token": ""}}),
            json!({"items": [], "pagination": {}}),
        ] {
            assert_eq!(next(body.clone()), None, "{body}");
        }
    }

    #[test]
    fn only_our_tokens_are_shown_and_only_if_they_can_be_named_in_an_address() {
        let page = |body: Value| read::<Tokens>(body.to_string().as_bytes()).unwrap();
        let item = |id: &str, name: &str| json!({"id": id, "properties": {"name": name}});
        let items = json!({"items": [
            {"id": "1", "properties": {"name": "regcred-a-1"}, "metadata": {"createdDate": "2026-11-21T15:00:00Z"}},
            {"id": "2", "properties": {"name": "regcred-a-2"}, "metadata": {"createdDate": "canary"}},
            item("3", "regcred-b-1"), item("../4", "other"), {"id": "5"},
        ]});
        let listed = page(items).named("regcred-a-").unwrap();
        let found: Vec<_> = listed.iter().map(|token| (token.id.as_str(), token.created_at.is_some())).collect();
        assert_eq!(found, [("1", true), ("2", false)]);
        assert_eq!(page(json!({"items": [item("../1", "regcred-a-1")]})).named("regcred-a-"), None);
    }
}
