//! What a namespace looks like, apart from names, times, versions and credentials that differ from run to run.

use anyhow::{Result, ensure};
use kube::ResourceExt;
use regcred::api::names::{DOCKER_CONFIG_JSON_KEY, EXPIRES_AT_ANNOTATION, LEDGER_KEY, LEDGER_TYPE};
use serde_json::{Value, json};

use super::account::Account;
use crate::{
    faults::{
        state::{State, connection_value, plain, secret_value},
        story::CONNECTION,
    },
    issued::{login, revision},
    scenario::Scenario,
};

/// A ledger as it is found; null if there is none.
pub struct Ledger(Value);

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.shape())
    }
}

impl Ledger {
    /// Reads the one in the scenario's namespace.
    pub async fn read(scenario: &Scenario) -> Result<Self> {
        let Some(ledger) = scenario.ledger().await? else { return Ok(Self(Value::Null)) };
        let data = ledger.data.unwrap_or_default();
        let text = data.get(LEDGER_KEY).map(|text| text.0.as_slice()).unwrap_or_default();
        Ok(Self(serde_json::from_slice(text)?))
    }

    /// Whether there is one.
    pub fn exists(&self) -> bool {
        !self.0.is_null()
    }

    /// Whether it has a current credential.
    pub fn has_current(&self) -> bool {
        !self.0["current"].is_null()
    }

    /// Whether nothing is left to be judged, revoked or looked for.
    pub fn is_settled(&self) -> bool {
        self.exists() && ["candidate", "retiring", "straySince"].iter().all(|key| self.0[key].is_null())
    }

    /// What it holds, without values.
    fn shape(&self) -> Value {
        let count = |key: &str| self.0[key].as_array().map_or(0, Vec::len);
        json!({
            "exists": self.exists(), "hasCandidate": !self.0["candidate"].is_null(), "hasCurrent": self.has_current(),
            "isProven": self.0["current"]["proven"], "isRefused": self.0["current"]["refused"],
            "retiring": count("retiring"), "names": count("names"), "isSearching": !self.0["straySince"].is_null(),
        })
    }
}

/// Takes the state; `before` is the revision before the story was told.
pub async fn state(scenario: &Scenario, account: &Account, before: Option<&str>) -> Result<State> {
    let secrets = scenario.secrets().list(&Default::default()).await?.items;
    let connections = scenario.connections().list(&Default::default()).await?.items;
    let host = account.host()?;
    let plain = |value: Value| plain(value, scenario, &host, &connections).replace(&account.door(), "DOOR");
    let mut state = State::new();
    for secret in secrets.iter().filter(|secret| secret.name_any() != "api") {
        if secret.type_.as_deref() == Some(LEDGER_TYPE) {
            continue;
        }
        let mut value = secret_value(secret)?;
        if value["annotations"][EXPIRES_AT_ANNOTATION].is_string() {
            value["annotations"][EXPIRES_AT_ANNOTATION] = "a time".into();
        }
        let config = &mut value["data"][DOCKER_CONFIG_JSON_KEY]["auths"];
        for entry in config.as_object_mut().into_iter().flat_map(|auths| auths.values_mut()) {
            for key in ["username", "password", "auth"] {
                entry[key] = entry[key].is_string().into();
            }
        }
        state.insert(format!("Secret {}", secret.name_any()), plain(value));
    }
    for connection in &connections {
        let mut value = connection_value(connection, &secrets)?;
        value["isRenewed"] = (revision(connection) != before).into();
        let status = serde_json::to_value(&connection.status)?;
        value["handled"] = status["lastHandledRefreshAt"].clone();
        value["spec"]["provider"] = Value::Null;
        state.insert(format!("connection {}", connection.name_any()), plain(value));
    }
    state.insert("ledger".into(), Ledger::read(scenario).await?.shape().to_string());
    Ok(state)
}

/// A state as it would be if the control had been answered: what rests on it is taken from `clean`.
pub fn as_if_controlled(mut found: State, clean: &State) -> State {
    let read = |text: &String| serde_json::from_str::<Value>(text).unwrap_or_default();
    for (name, text) in &mut found {
        let (mut value, clean) = (read(text), clean.get(name).map(read).unwrap_or_default());
        if value["verdict"] != "Unverified" {
            continue;
        }
        value["verdict"] = clean["verdict"].clone();
        for (at, condition) in value["conditions"].as_array_mut().into_iter().flatten().enumerate() {
            if condition[2] == "Unverified" {
                *condition = clean["conditions"][at].clone();
            }
        }
        *text = value.to_string();
    }
    found
}

/// Whether the target, if there is one, holds what the ledger says, and it works.
pub async fn check_target(scenario: &Scenario, account: &Account) -> Result<()> {
    let Some(target) = scenario.secrets().get_opt(CONNECTION).await? else { return Ok(()) };
    let (user, password) = login(&target)?;
    let current = &Ledger::read(scenario).await?.0["current"];
    ensure!(
        current["username"] == user.as_str() && current["password"] == password.as_str(),
        "the target holds something else than the ledger"
    );
    ensure!(account.accepts(&user, &password).await?, "what the target holds does not work");
    Ok(())
}
