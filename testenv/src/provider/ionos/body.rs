//! What a token is made from, checked as the provider's schema has it (openapi, PostTokenInput). Pure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::listener::Seen;
use crate::token_server::Right;

/// The longest name of a token: openapi, PostTokenProperties.
const LONGEST_NAME: usize = 63;

/// What a token is made from.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct NewToken {
    pub(super) name: String,
    expiry_date: Option<String>,
    #[serde(default)]
    pub(super) status: Status,
    pub(super) scopes: Vec<Scope>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    #[default]
    Enabled,
    Disabled,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scope {
    #[serde(rename = "type")]
    kind: Kind,
    name: String,
    actions: Vec<Action>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Repository,
    Registry,
    Namespace,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Pull,
    Push,
    Delete,
    Read,
    Write,
    List,
    #[serde(rename = "*")]
    All,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    properties: NewToken,
}

/// Reads the body of a request, with the token's end; `None` if it is not what a token is made from.
pub(super) fn new_token(seen: &Seen, now: Timestamp) -> Option<(NewToken, Option<Timestamp>)> {
    let is_json = seen.header("Content-Type").is_some_and(|kind| kind.starts_with("application/json"));
    let Input { properties } = serde_json::from_slice(&seen.body).ok().filter(|_| is_json)?;
    let expires = match &properties.expiry_date {
        None => None,
        Some(text) => Some(date_time(text).filter(|expires| *expires > now)?),
    };
    let has_scopes = !properties.scopes.is_empty();
    let is_whole = |scope: &Scope| !scope.name.is_empty() && !scope.actions.is_empty();
    (is_name(&properties.name) && has_scopes && properties.scopes.iter().all(is_whole)).then_some((properties, expires))
}

impl NewToken {
    /// What it may do at the registry. Reading, writing and listing are not about images.
    pub(super) fn rights(&self) -> Vec<Right> {
        self.scopes.iter().filter_map(Scope::right).collect()
    }
}

impl Scope {
    fn right(&self) -> Option<Right> {
        let actions: Vec<&str> = self.actions.iter().flat_map(|action| action.at_the_registry()).copied().collect();
        match (self.kind, self.name.as_str()) {
            (Kind::Registry, _) => None,
            (Kind::Repository | Kind::Namespace, "*") => Some(Right::everywhere(&actions)),
            (Kind::Repository, name) => Some(Right::in_one(name, &actions)),
            (Kind::Namespace, name) => Some(Right::below(name, &actions)),
        }
    }
}

impl Action {
    fn at_the_registry(self) -> &'static [&'static str] {
        match self {
            Self::Pull => &["pull"],
            Self::Push => &["push"],
            Self::Delete => &["delete"],
            Self::All => &["pull", "push", "delete"],
            Self::Read | Self::Write | Self::List => &[],
        }
    }
}

/// `^[A-Za-z][-A-Za-z0-9]{0,61}[A-Za-z0-9]$`: openapi, PostTokenProperties.
fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    (2..=LONGEST_NAME).contains(&bytes.len())
        && bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

/// RFC 3339, which is less than the time's own parser takes.
fn date_time(text: &str) -> Option<Timestamp> {
    let has_shape = |(at, byte): (usize, &u8)| text.as_bytes().get(at) == Some(byte);
    let is_strict = [(4, &b'-'), (7, &b'-'), (10, &b'T'), (13, &b':'), (16, &b':')].into_iter().all(has_shape);
    text.parse().ok().filter(|_| is_strict && !text.contains('['))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_taken(body: &str) -> bool {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        new_token(&Seen { headers, body: body.as_bytes().to_vec(), ..Seen::default() }, now).is_some()
    }

    #[test]
    fn a_body_is_taken_as_its_schema_says() {
        const GOOD: &str = r#"{"properties":{"name":"ci-1","expiryDate":"2026-01-01T00:00:01Z","status":"enabled","scopes":[{"type":"repository","name":"*","actions":["pull"]}]}}"#;
        for (name, from, to, expected) in [
            ("as it is", "", "", true),
            ("another zone", "00:00:01Z", "02:00:01.5+01:00", true),
            ("no expiry", r#""2026-01-01T00:00:01Z""#, "null", true),
            ("no status", r#""status":"enabled","#, "", true),
            ("an expiry that is past", "00:00:01Z", "00:00:00Z", false),
            ("a day", "2026-01-01T00:00:01Z", "2026-01-02", false),
            ("no T", "01T00:00:01Z", "01 00:00:01Z", false),
            ("no zone", "00:00:01Z", "00:00:01", false),
            ("an unknown field", r#""status""#, r#""state":1,"status""#, false),
            ("an unknown status", "enabled", "on", false),
            ("a dot in the name", "ci-1", "ci.1", false),
            ("an underscore in the name", "ci-1", "ci_1", false),
            ("a digit first", "ci-1", "1-ci", false),
            ("a dash last", "ci-1", "ci-", false),
            ("one letter", "ci-1", "c", false),
            ("no actions", r#"["pull"]"#, "[]", false),
            ("an unknown action", "pull", "fetch", false),
            ("an unknown type", "repository", "image", false),
            ("an unknown field in a scope", r#""type""#, r#""tag":"x","type""#, false),
            ("no scopes", r#"[{"type":"repository","name":"*","actions":["pull"]}]"#, "[]", false),
            ("more behind it", "}]}}", "}]}} x", false),
        ] {
            assert_eq!(is_taken(&GOOD.replacen(from, to, 1)), expected, "{name}");
        }
        assert!(is_taken(&GOOD.replace("ci-1", &"x".repeat(63))));
        assert!(!is_taken(&GOOD.replace("ci-1", &"x".repeat(64))));
        let seen = Seen { body: GOOD.as_bytes().to_vec(), ..Seen::default() };
        assert!(new_token(&seen, Timestamp::MIN).is_none(), "without a content type");
    }
}
