//! What the API server's and the registry's own logs say of many runs: the check that does not rest on our record.

use std::collections::BTreeMap;

use anyhow::Result;

use super::state::OF_OTHERS;
use crate::shared::shared;

/// Creations and deletions, by verb, resource and name.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Those that took effect.
    done: BTreeMap<String, usize>,
    /// Those whose sender was gone before the answer: the API server writes down 504 for many of them, also if it has done them
    /// (measured: 27 of 88 that were done).
    unclear: BTreeMap<String, usize>,
}

impl Tally {
    /// Whether as much took effect as in a run in which everything was answered.
    pub fn may_be(&self, answered: &Self) -> bool {
        let count = |tally: &BTreeMap<String, usize>, what: &String| tally.get(what).copied().unwrap_or_default();
        self.done.keys().chain(answered.done.keys()).all(|what| {
            let (done, expected) = (count(&self.done, what), count(&answered.done, what));
            (done..=done + count(&self.unclear, what)).contains(&expected)
        })
    }
}

/// The logs, by namespace; each namespace has an account of its name at the registry.
pub struct Logs {
    tallies: BTreeMap<String, Tally>,
    /// Writes of Secrets that are not of others.
    writes: BTreeMap<String, usize>,
    /// Accepted and refused logins.
    logins: BTreeMap<String, (usize, usize)>,
}

impl Logs {
    /// Reads them for the namespaces whose names begin with `prefix`.
    pub async fn read(prefix: &str) -> Result<Self> {
        let shared = shared().await?;
        let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
        let mut writes: BTreeMap<String, usize> = BTreeMap::new();
        for event in shared.plane.audit_events(prefix)? {
            let object = &event.object_ref;
            let is_write = ["create", "update", "patch"].contains(&event.verb.as_str()) && object.resource == "secrets";
            if is_write && event.response_status.code < 300 && !OF_OTHERS.contains(&object.name.as_str()) {
                *writes.entry(object.namespace.clone()).or_default() += 1;
            }
            let counts = ["create", "delete", "deletecollection"].contains(&event.verb.as_str())
                && ["secrets", "registryconnections"].contains(&object.resource.as_str());
            if counts {
                let tally = tallies.entry(object.namespace.clone()).or_default();
                let what = format!("{} {} {}", event.verb, object.resource, object.name);
                match event.response_status.code {
                    ..300 => *tally.done.entry(what).or_default() += 1,
                    504 => *tally.unclear.entry(what).or_default() += 1,
                    _ => {}
                }
            }
        }
        let mut logins: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for access in shared.registry.access_log()? {
            let Some(user) = access.user.clone().filter(|user| user.starts_with(prefix)) else { continue };
            let counts = logins.entry(user).or_default();
            if access.is_failed_login() {
                counts.1 += 1;
            } else if access.status == 200 {
                counts.0 += 1;
            }
        }
        Ok(Self { tallies, writes, logins })
    }

    /// What was created and deleted in a namespace, as far as the API server knows.
    pub fn tally(&self, namespace: &str) -> Tally {
        self.tallies.get(namespace).cloned().unwrap_or_default()
    }

    /// How many writes of Secrets that are not of others took effect.
    pub fn writes(&self, namespace: &str) -> usize {
        self.writes.get(namespace).copied().unwrap_or_default()
    }

    /// How many logins of the namespace's account were accepted and refused.
    pub fn logins(&self, namespace: &str) -> (usize, usize) {
        self.logins.get(namespace).copied().unwrap_or_default()
    }
}
