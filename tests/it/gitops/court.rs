//! The health check for Argo CD, run as Argo CD runs it, and kstatus.

use anyhow::{Context as _, Result, ensure};
use regcred::domain::reference::Kind;
use serde_json::{Value, json};
use testenv::{Conditions, HealthCheck};

use super::{agree, script};

/// The generation that the statuses here are about.
pub const GENERATION: i64 = 3;

/// Both judges, and what one of them runs.
pub struct Court {
    check: HealthCheck,
    conditions: Conditions,
    script: String,
}

impl Court {
    pub fn new() -> Result<Self> {
        Ok(Self { check: HealthCheck::start()?, conditions: Conditions::start()?, script: script()? })
    }

    /// What Argo CD shows, and what kstatus says.
    pub fn hear(&self, object: &Value) -> Result<(String, String, String)> {
        let health = self.check.run(&self.script, object).with_context(|| object.to_string())?;
        Ok((health.status, health.message, self.conditions.judge(object)?.kstatus))
    }

    /// The health of an object that both agree on.
    pub fn agreed(&self, object: &Value) -> Result<(String, String)> {
        let (health, message, kstatus) = self.hear(object)?;
        let is_suspended = object["spec"]["suspend"] == true;
        ensure!(agree(&kstatus, &health, is_suspended), "{kstatus}, but {health} ({message}): {object}");
        Ok((health, message))
    }
}

/// A connection with this status.
pub fn object(kind: Kind, status: Value) -> Value {
    json!({
        "apiVersion": "regcred.dev/v1alpha1", "kind": kind.as_str(), "spec": {}, "status": status,
        "metadata": {"name": "images", "generation": GENERATION},
    })
}
