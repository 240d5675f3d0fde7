//! What users have asked for: the objects as they would be created from scratch.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Value, json};
use testenv::Registry;

use crate::scenario::Scenario;

/// The names of the sources.
pub const SOURCES: [&str; 2] = ["login-1", "login-2"];

/// The names of the connections.
pub const CONNECTIONS: [&str; 3] = ["a", "b", "c"];

/// What a source holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// There is none.
    Absent,
    /// The password in force.
    Right,
    /// One that was never in force.
    Wrong(u32),
    /// One that was in force when it was written.
    Old,
}

/// What a connection asks for.
#[derive(Clone, Debug)]
pub struct Wish {
    pub source: &'static str,
    pub secret: Option<String>,
    pub label: Option<u8>,
    pub prefix: bool,
    pub suspend: bool,
}

/// Everything.
#[derive(Clone, Debug)]
pub struct Model {
    pub sources: BTreeMap<&'static str, Source>,
    pub connections: BTreeMap<&'static str, Wish>,
    /// The number of the password in force.
    pub version: u32,
}

impl Model {
    /// Two right sources; three connections, two of which share a source.
    pub fn begin() -> Self {
        let wish = |source| Wish { source, secret: None, label: None, prefix: false, suspend: false };
        Self {
            sources: SOURCES.map(|name| (name, Source::Right)).into(),
            connections: [("a", wish("login-1")), ("b", wish("login-1")), ("c", wish("login-2"))].into(),
            version: 1,
        }
    }

    /// The password in force.
    pub fn password(&self) -> String {
        format!("right-password-{}", self.version)
    }

    /// The password that a source has; none if there is no source.
    pub fn password_in(&self, source: &Source) -> Option<String> {
        match source {
            Source::Absent => None,
            Source::Right => Some(self.password()),
            Source::Wrong(number) => Some(format!("wrong-password-{number}")),
            Source::Old => Some("old-password".into()),
        }
    }

    /// Whether the registry would refuse the login that a connection reads.
    pub fn is_wrong(&self, connection: &str) -> bool {
        let source = self.connections.get(connection).and_then(|wish| self.sources.get(wish.source));
        matches!(source, Some(Source::Wrong(_) | Source::Old))
    }

    /// The spec of a connection.
    pub fn spec(&self, wish: &Wish, scenario: &Scenario, registry: &Registry) -> Value {
        let mut spec = scenario.spec_at(&registry.url());
        spec["provider"]["generic"]["secretRef"]["name"] = wish.source.into();
        spec["refreshIntervalMinutes"] = 1440.into();
        spec["suspend"] = wish.suspend.into();
        spec["repositoryPrefix"] = wish.prefix.then_some("team").into();
        // Null takes away what a wish before this one asked for.
        let is_wanted = |label| (wish.label == Some(label)).then_some("yes");
        let labels = json!({"example.com/label-1": is_wanted(1), "example.com/label-2": is_wanted(2)});
        spec["secret"] = json!({"name": wish.secret, "labels": labels});
        spec
    }

    /// The spec as it is created, without the fields that are null.
    pub fn new_spec(&self, wish: &Wish, scenario: &Scenario, registry: &Registry) -> Value {
        let mut object = json!({});
        json_patch::merge(&mut object, &self.spec(wish, scenario, registry));
        object
    }

    /// Creates everything in an empty namespace.
    pub async fn apply(&self, scenario: &Scenario, registry: &Registry) -> Result<()> {
        for (name, source) in &self.sources {
            if let Some(password) = self.password_in(source) {
                scenario.write_login(name, &password).await?;
            }
        }
        for (name, wish) in &self.connections {
            scenario.connect(name, self.new_spec(wish, scenario, registry)).await?;
        }
        Ok(())
    }
}
