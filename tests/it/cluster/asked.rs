//! What an operator asked of the API server, all of it: whoever counts only what is expected overlooks the rest.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, ensure};

use super::Wide;

/// After how many seconds numbers alone may be told again, as docs/reference/clusterregistryconnection.md has it.
const COUNTS: u64 = 10;

/// Requests by verb and resource, refused ones too; `at home` is what is in the operator's own namespace, sources and ledgers. Watches,
/// Leases and events are left out.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked(BTreeMap<String, usize>);

impl Asked {
    /// How many there were of this kind, which is not counted among the rest any more.
    pub fn take(&mut self, what: &str) -> usize {
        self.0.remove(what).unwrap_or_default()
    }

    /// How often the source was read. What it says is kept nowhere, so whoever has something to write reads it, once for all of that.
    pub fn take_source_reads(&mut self) -> usize {
        self.take("get secrets at home")
    }

    /// The statuses of connections of the cluster.
    pub fn take_statuses(&mut self) -> usize {
        self.take("patch clusterregistryconnections/status")
    }

    /// Fails if there was anything that was not taken.
    pub fn nothing_else(&self) -> Result<()> {
        ensure!(self.0.is_empty(), "also asked: {:?}", self.0);
        Ok(())
    }
}

impl Wide {
    /// What was asked since the calls were counted anew.
    pub fn asked(&self) -> Asked {
        let mut asked = BTreeMap::new();
        for call in self.scenario.calls.all() {
            let about = &call.request;
            if call.is_hum() || about.resource == "events" {
                continue;
            }
            let slash = if about.subresource.is_empty() { "" } else { "/" };
            let place = if about.namespace == self.scenario.namespace { " at home" } else { "" };
            let what = format!("{} {}{slash}{}{place}", about.verb, about.resource, about.subresource);
            *asked.entry(what).or_default() += 1;
        }
        Asked(asked)
    }

    /// What the operator wrote since the calls were counted anew: Secrets created, changed and deleted, and statuses.
    pub fn writes(&self) -> [usize; 4] {
        let calls = &self.scenario.calls;
        let count = |verb: &str, resource: &str, subresource: &str| {
            calls.count(|call| call.is(verb, resource, subresource) && call.status.is_some_and(|status| status < 300))
        };
        [
            count("create", "secrets", ""),
            count("patch", "secrets", "") + count("update", "secrets", ""),
            count("delete", "secrets", ""),
            count("patch", "clusterregistryconnections", "status"),
        ]
    }

    /// Finds that a stretch of time goes by without any request, and that nothing is left to be said.
    pub async fn idles(&self) -> Result<()> {
        self.at_rest().await?;
        let quiet = self.scenario.calls.quiet_for(Duration::from_secs(2)).await;
        quiet.map_err(|calls| anyhow!("requests although everything is as it was: {calls:?}"))
    }

    /// Finds that the same is so of an operator that starts again.
    pub async fn restarts_in_silence(&mut self) -> Result<()> {
        self.scenario.stop_operator().await?;
        self.scenario.calls.clear();
        self.scenario.start_operator().await?;
        self.idles().await?;
        self.asked().nothing_else()
    }

    /// How many statuses there may have been since then of what is numbers alone.
    pub fn most_statuses(&self, since: Instant) -> usize {
        let elapsed = since.elapsed() * self.scenario.speed();
        usize::try_from(elapsed.as_secs() / COUNTS).map_or(usize::MAX, |pauses| pauses + 1)
    }
}
