//! Every metric: its name, its labels, what it tells. The reference page prints this table.

use prometheus_client::registry::Unit;

/// What every name begins with.
pub const PREFIX: &str = "regcred";

/// What kind of metric it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until the process ends.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

/// A metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its kind.
    pub kind: Kind,
    /// Its name, without prefix, unit and `_total`.
    pub name: &'static str,
    /// Its values are seconds.
    pub in_seconds: bool,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it tells, as a sentence.
    pub help: &'static str,
}

const fn metric(kind: Kind, name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { kind, name, in_seconds: false, labels, help }
}

const fn in_seconds(metric: Metric) -> Metric {
    Metric { in_seconds: true, ..metric }
}

/// The labels of what belongs to one connection.
const ONE: &[&str] = &["namespace", "name"];

/// See [`ALL`].
pub const CONNECTIONS: Metric = metric(
    Kind::Gauge,
    "connections",
    &["ready", "reason"],
    "Connections by the value and the reason of their Ready condition",
);
/// See [`ALL`].
pub const TEST_RESULT: Metric = metric(
    Kind::Gauge,
    "connection_test_result",
    &["namespace", "name", "result"],
    "What the last definite test of a connection found, as a reason. Always 1, in one series for each connection; Unknown \
     while there was none. A registry that does not answer does not change it",
);
/// See [`ALL`].
pub const LAST_SUCCESS: Metric = in_seconds(metric(
    Kind::Gauge,
    "credential_last_success_timestamp",
    ONE,
    "When a test last found that the login works, as a Unix time. It stays while the login is refused or the registry is \
     away; absent before the first success and where nothing is tested",
));
/// See [`ALL`].
pub const EXPIRY: Metric = in_seconds(metric(
    Kind::Gauge,
    "credential_expiry_timestamp",
    ONE,
    "When the delivered credential ends, as a Unix time; absent if that is not known",
));
/// See [`ALL`].
pub const PULL_LIMIT: Metric = metric(
    Kind::Gauge,
    "dockerhub_pull_limit",
    ONE,
    "Pulls the account of a Docker Hub connection has in six hours, as the last test read it",
);
/// See [`ALL`].
pub const PULLS_REMAINING: Metric =
    metric(Kind::Gauge, "dockerhub_pulls_remaining", ONE, "Pulls that account has left, as the last test read it");
/// See [`ALL`].
pub const RECONCILE_ERRORS: Metric = metric(
    Kind::Counter,
    "reconcile_errors",
    &["class", "reason"],
    "Tries that met a problem, by who has to move next (class) and by reason; each try counts once, and a problem that is \
     only waited for does not count again. Class CutShort: the API server did not answer a pass as it should have",
);
/// See [`ALL`].
pub const LOGINS: Metric =
    metric(Kind::Counter, "logins", &["result"], "Test logins at registries, by what they found");
/// See [`ALL`].
pub const ISSUES: Metric = metric(
    Kind::Counter,
    "issues",
    &["provider", "result"],
    "Credentials that providers were asked to issue: issued, or failed",
);
/// See [`ALL`].
pub const REVOCATIONS: Metric = metric(
    Kind::Counter,
    "revocations",
    &["provider", "result"],
    "Replaced credentials that providers were asked to revoke: revoked, or failed",
);
/// See [`ALL`].
pub const TARGET_WRITES: Metric = metric(
    Kind::Counter,
    "target_writes",
    &["op", "result"],
    "Writes of Secrets that are delivered: written, denied by the API server, conflict if the Secret was other than \
     thought, failed without a decision",
);
/// See [`ALL`].
pub const LINK_WRITES: Metric = metric(
    Kind::Counter,
    "link_writes",
    &["object", "result"],
    "Writes of ServiceAccounts, and of the ConfigMaps that say which Secrets go with which images; results as above",
);
/// See [`ALL`].
pub const STATUS_WRITES: Metric = metric(Kind::Counter, "status_writes", &[], "Status updates written");
/// See [`ALL`].
pub const RECONCILES: Metric = metric(
    Kind::Counter,
    "reconciles",
    &["result"],
    "Passes over a connection: completed, whatever they found, or cut_short by the API server or by the time limit",
);
/// See [`ALL`].
pub const RECONCILE_DURATION: Metric =
    in_seconds(metric(Kind::Histogram, "reconcile_duration", &[], "How long passes over a connection took"));
/// See [`ALL`].
pub const UNDER_WAY: Metric =
    metric(Kind::Gauge, "reconciles_under_way", &[], "Passes that are going on now, or have their turn next");
/// See [`ALL`].
pub const LEADING: Metric = metric(
    Kind::Gauge,
    "leading",
    &[],
    "1 where this replica writes, 0 where it follows or waits for the API server. All replicas tell the gauges of connections alike",
);

/// All metrics, in the order of the reference page.
pub const ALL: [Metric; 17] = [
    CONNECTIONS,
    TEST_RESULT,
    LAST_SUCCESS,
    EXPIRY,
    PULL_LIMIT,
    PULLS_REMAINING,
    RECONCILE_ERRORS,
    LOGINS,
    ISSUES,
    REVOCATIONS,
    TARGET_WRITES,
    LINK_WRITES,
    STATUS_WRITES,
    RECONCILES,
    RECONCILE_DURATION,
    UNDER_WAY,
    LEADING,
];

impl Metric {
    /// The unit of its values, if they have one.
    pub fn unit(&self) -> Option<Unit> {
        self.in_seconds.then_some(Unit::Seconds)
    }

    /// The name as it is scraped; a histogram adds `_bucket`, `_sum` and `_count`.
    pub fn full_name(&self) -> String {
        let unit = if self.in_seconds { "_seconds" } else { "" };
        let total = if self.kind == Kind::Counter { "_total" } else { "" };
        format!("{PREFIX}_{}{unit}{total}", self.name)
    }
}

/// The table of all metrics for the reference page.
pub fn reference_table() -> String {
    let mut table = String::from("| Metric | Type | What it tells |\n|---|---|---|\n");
    for metric in ALL {
        let labels = if metric.labels.is_empty() { String::new() } else { format!("{{{}}}", metric.labels.join(",")) };
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        table.push_str(&format!("| `{}{labels}` | {kind} | {}. |\n", metric.full_name(), metric.help));
    }
    table
}
