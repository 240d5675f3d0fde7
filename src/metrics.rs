//! Counters and gauges in the Prometheus format. Labels have few values, all from enums. Only Docker Hub's quota, which
//! belongs to one account, names the connection it was read for.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::{
    api::Reason,
    registry::{Login, Quota},
};

/// The upper bounds of the buckets of durations, in seconds.
const BUCKETS: [f64; 8] = [0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReadyLabel {
    ready: String,
    reason: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ConnectionLabel {
    namespace: String,
    name: String,
}

/// A pass that is going on.
pub struct UnderWay(Gauge);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// All metrics of the process. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    reconciles: Family<ResultLabel, Counter>,
    seconds: Histogram,
    logins: Family<ResultLabel, Counter>,
    secret_writes: Counter,
    secret_removals: Counter,
    status_writes: Counter,
    under_way: Gauge,
    pull_limit: Family<ConnectionLabel, Gauge>,
    pulls_remaining: Family<ConnectionLabel, Gauge>,
    connections: Family<ReadyLabel, Gauge<f64, AtomicU64>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("regcred");
        let metrics = Self {
            registry: Arc::default(),
            reconciles: Family::default(),
            seconds: Histogram::new(BUCKETS),
            logins: Family::default(),
            secret_writes: Counter::default(),
            secret_removals: Counter::default(),
            status_writes: Counter::default(),
            under_way: Gauge::default(),
            pull_limit: Family::default(),
            pulls_remaining: Family::default(),
            connections: Family::default(),
        };
        registry.register("reconciles", "Passes over a connection", metrics.reconciles.clone());
        registry.register_with_unit("reconcile", "How long a pass took", Unit::Seconds, metrics.seconds.clone());
        registry.register("logins", "Test logins at registries, by what they found", metrics.logins.clone());
        registry.register("secret_writes", "Secrets created or changed", metrics.secret_writes.clone());
        registry.register("secret_removals", "Secrets removed", metrics.secret_removals.clone());
        registry.register("status_writes", "Status updates written", metrics.status_writes.clone());
        registry.register("reconciles_under_way", "Passes that are going on now", metrics.under_way.clone());
        registry.register("dockerhub_pull_limit", "Pulls an account has in six hours", metrics.pull_limit.clone());
        registry.register("dockerhub_pulls_remaining", "Pulls it has left", metrics.pulls_remaining.clone());
        registry.register("connections", "Connections by readiness and reason", metrics.connections.clone());
        Self { registry: Arc::new(registry), ..metrics }
    }
}

impl Metrics {
    /// Counts a pass as going on until the answer is dropped.
    pub fn under_way(&self) -> UnderWay {
        self.under_way.inc();
        UnderWay(self.under_way.clone())
    }

    /// Counts a pass.
    pub fn reconciled(&self, took: Duration, is_ok: bool) {
        let result = if is_ok { "completed" } else { "cut_short" };
        self.reconciles.get_or_create(&ResultLabel { result }).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// Counts a test login.
    pub fn login(&self, login: &Login) {
        let reason = match login {
            Login::Proven => Reason::LoginProven,
            Login::Unverified => Reason::Unverified,
            Login::Refused { .. } => Reason::InvalidCredentials,
            Login::Inconclusive(problem) => problem.reason,
        };
        self.logins.get_or_create(&ResultLabel { result: reason.as_str() }).inc();
    }

    /// Takes note of the pull quota of a connection's account.
    pub fn quota(&self, namespace: &str, name: &str, quota: Quota) {
        let label = ConnectionLabel { namespace: namespace.to_owned(), name: name.to_owned() };
        self.pull_limit.get_or_create(&label).set(i64::from(quota.limit));
        self.pulls_remaining.get_or_create(&label).set(i64::from(quota.remaining));
    }

    /// Drops what is told of a connection that is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        let label = ConnectionLabel { namespace: namespace.to_owned(), name: name.to_owned() };
        self.pull_limit.remove(&label);
        self.pulls_remaining.remove(&label);
    }

    /// Counts written Secrets.
    pub fn secrets_written(&self, count: usize) {
        self.secret_writes.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// Counts a removal, if there was anything to remove.
    pub fn secret_removed(&self, was_there: bool) {
        self.secret_removals.inc_by(u64::from(was_there));
    }

    /// Counts a written status.
    pub fn status_written(&self) {
        self.status_writes.inc();
    }

    /// The text for a scrape. `ready` holds the value and reason of the Ready condition of every connection.
    pub fn text(&self, ready: impl Iterator<Item = (String, String)>) -> Result<String, std::fmt::Error> {
        let mut counts: BTreeMap<(String, String), f64> = BTreeMap::new();
        for labels in ready {
            *counts.entry(labels).or_default() += 1.0;
        }
        self.connections.clear();
        for ((ready, reason), count) in counts {
            self.connections.get_or_create(&ReadyLabel { ready, reason }).set(count);
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
