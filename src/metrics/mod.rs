//! Metrics in the OpenMetrics format. Those of single connections name them; all other labels have few values, all from
//! enums.

pub mod catalogue;
mod connections;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::{
    encoding::text::{encode, encode_registry},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::{
    api::Reason,
    controller::error::Error,
    controller::stored::Stored,
    registry::{Login, Quota},
};
use catalogue::Metric;
use connections::Connections;

/// The upper bounds of the buckets of durations, in seconds.
const BUCKETS: [f64; 8] = [0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0];

/// The class of passes that were cut short, beside those of [`crate::api::reason::Class`].
const CUT_SHORT: &str = "CutShort";

type Labels<const N: usize> = [(&'static str, &'static str); N];

/// What is done to a Secret that is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOp {
    /// It is created.
    Create,
    /// It is changed in place.
    Update,
    /// It is removed.
    Delete,
}

/// What came of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteResult {
    /// It is done.
    Written,
    /// The API server decided against it.
    Denied,
    /// The Secret was other than was thought: taken, gone, or changed meanwhile.
    Conflict,
    /// There was no decision; whether it took effect is not known.
    Failed,
}

/// What is written to make links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkedObject {
    /// A ServiceAccount, which names Secrets.
    ServiceAccount,
    /// The table of images of a namespace.
    ConfigMap,
}

impl LinkedObject {
    const ALL: [Self; 2] = [Self::ServiceAccount, Self::ConfigMap];

    fn as_str(self) -> &'static str {
        match self {
            Self::ServiceAccount => "ServiceAccount",
            Self::ConfigMap => "ConfigMap",
        }
    }
}

impl WriteOp {
    const ALL: [Self; 3] = [Self::Create, Self::Update, Self::Delete];

    fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

impl WriteResult {
    const ALL: [Self; 4] = [Self::Written, Self::Denied, Self::Conflict, Self::Failed];

    fn as_str(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Denied => "denied",
            Self::Conflict => "conflict",
            Self::Failed => "failed",
        }
    }
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
    reconciles: Family<Labels<1>, Counter>,
    duration: Histogram,
    errors: Family<Labels<2>, Counter>,
    logins: Family<Labels<1>, Counter>,
    issues: Family<Labels<2>, Counter>,
    revocations: Family<Labels<2>, Counter>,
    target_writes: Family<Labels<2>, Counter>,
    link_writes: Family<Labels<2>, Counter>,
    status_writes: Counter,
    under_way: Gauge,
    leading: Gauge,
    quotas: Arc<Mutex<HashMap<String, Quota>>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Arc::default(),
            reconciles: Family::default(),
            duration: Histogram::new(BUCKETS),
            errors: Family::default(),
            logins: Family::default(),
            issues: Family::default(),
            revocations: Family::default(),
            target_writes: Family::default(),
            link_writes: Family::default(),
            status_writes: Counter::default(),
            under_way: Gauge::default(),
            leading: Gauge::default(),
            quotas: Arc::default(),
        };
        let mut registry = Registry::with_prefix(catalogue::PREFIX);
        register(&mut registry, catalogue::RECONCILE_ERRORS, metrics.errors.clone());
        register(&mut registry, catalogue::LOGINS, metrics.logins.clone());
        register(&mut registry, catalogue::ISSUES, metrics.issues.clone());
        register(&mut registry, catalogue::REVOCATIONS, metrics.revocations.clone());
        register(&mut registry, catalogue::TARGET_WRITES, metrics.target_writes.clone());
        register(&mut registry, catalogue::LINK_WRITES, metrics.link_writes.clone());
        register(&mut registry, catalogue::STATUS_WRITES, metrics.status_writes.clone());
        register(&mut registry, catalogue::RECONCILES, metrics.reconciles.clone());
        register(&mut registry, catalogue::RECONCILE_DURATION, metrics.duration.clone());
        register(&mut registry, catalogue::UNDER_WAY, metrics.under_way.clone());
        register(&mut registry, catalogue::LEADING, metrics.leading.clone());
        metrics.begin_at_zero();
        Self { registry: Arc::new(registry), ..metrics }
    }
}

fn register(registry: &mut Registry, metric: Metric, family: impl prometheus_client::registry::Metric) {
    match metric.unit() {
        Some(unit) => registry.register_with_unit(metric.name, metric.help, unit, family),
        None => registry.register(metric.name, metric.help, family),
    }
}

impl Metrics {
    /// Lets what alerts look at exist from the start: the first increase of a series that appears with it is not seen.
    fn begin_at_zero(&self) {
        for op in WriteOp::ALL {
            for result in WriteResult::ALL {
                self.target_writes.get_or_create(&[("op", op.as_str()), ("result", result.as_str())]).inc_by(0);
            }
        }
        for object in LinkedObject::ALL {
            for result in WriteResult::ALL {
                self.link_writes.get_or_create(&[("object", object.as_str()), ("result", result.as_str())]).inc_by(0);
            }
        }
        for reason in Reason::ALL.iter().filter(|reason| reason.class().is_trouble()) {
            self.errors.get_or_create(&error_labels(reason.class().as_str(), reason.as_str())).inc_by(0);
        }
        for kind in Error::KINDS {
            self.errors.get_or_create(&error_labels(CUT_SHORT, kind)).inc_by(0);
        }
        for is_ok in [true, false] {
            self.reconciles.get_or_create(&reconcile_labels(is_ok)).inc_by(0);
        }
    }

    /// Counts a pass as going on until the answer is dropped.
    pub fn under_way(&self) -> UnderWay {
        self.under_way.inc();
        UnderWay(self.under_way.clone())
    }

    /// Counts a pass, and what cut it short.
    pub fn reconciled<T>(&self, took: Duration, result: &Result<T, Error>) {
        self.reconciles.get_or_create(&reconcile_labels(result.is_ok())).inc();
        self.duration.observe(took.as_secs_f64());
        if let Some(kind) = result.as_ref().err().and_then(Error::kind) {
            self.errors.get_or_create(&error_labels(CUT_SHORT, kind)).inc();
        }
    }

    /// Counts a try that met a problem. What is only remembered or waited for is none.
    pub fn met(&self, reason: Reason) {
        if reason.class().is_trouble() {
            self.errors.get_or_create(&error_labels(reason.class().as_str(), reason.as_str())).inc();
        }
    }

    /// Counts a test login.
    pub fn login(&self, login: &Login) {
        let reason = match login {
            Login::Proven => Reason::LoginProven,
            Login::Unverified => Reason::Unverified,
            Login::Refused { .. } => Reason::InvalidCredentials,
            Login::Inconclusive(problem) => problem.reason,
        };
        self.logins.get_or_create(&[("result", reason.as_str())]).inc();
    }

    /// Takes note that a provider was asked to issue a credential.
    pub fn issued(&self, provider: &'static str, is_issued: bool) {
        let result = if is_issued { "issued" } else { "failed" };
        self.issues.get_or_create(&[("provider", provider), ("result", result)]).inc();
    }

    /// Takes note that a provider was asked to revoke a credential.
    pub fn revoked(&self, provider: &'static str, is_revoked: bool) {
        let result = if is_revoked { "revoked" } else { "failed" };
        self.revocations.get_or_create(&[("provider", provider), ("result", result)]).inc();
    }

    /// Takes note of the pull quota of a connection's account.
    pub fn quota(&self, uid: &str, quota: Quota) {
        self.quotas.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.to_owned(), quota);
    }

    /// Counts what came of a write.
    pub fn target_write(&self, op: WriteOp, result: WriteResult) {
        self.target_writes.get_or_create(&[("op", op.as_str()), ("result", result.as_str())]).inc();
    }

    /// Counts what came of a write that makes or ends links.
    pub fn link_write(&self, object: LinkedObject, result: WriteResult) {
        self.link_writes.get_or_create(&[("object", object.as_str()), ("result", result.as_str())]).inc();
    }

    /// Counts a written status.
    pub fn status_written(&self) {
        self.status_writes.inc();
    }

    /// The text for a scrape, told of these connections and no others, and of whether this process may write.
    ///
    /// # Errors
    /// None that a text could bring about.
    pub fn text(&self, all: Vec<Arc<Stored>>, is_leading: bool) -> Result<String, std::fmt::Error> {
        self.leading.set(is_leading.into());
        let quotas = {
            let alive: HashSet<&str> = all.iter().filter_map(|connection| connection.meta().uid.as_deref()).collect();
            let mut quotas = self.quotas.lock().unwrap_or_else(PoisonError::into_inner);
            quotas.retain(|uid, _| alive.contains(uid.as_str()));
            quotas.clone()
        };
        let mut of_connections = Registry::with_prefix(catalogue::PREFIX);
        of_connections.register_collector(Box::new(Connections { all, quotas }));
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        encode(&mut text, &of_connections)?;
        Ok(text)
    }
}

fn error_labels(class: &'static str, reason: &'static str) -> Labels<2> {
    [("class", class), ("reason", reason)]
}

fn reconcile_labels(is_ok: bool) -> Labels<1> {
    [("result", if is_ok { "completed" } else { "cut_short" })]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Declared;
    use crate::controller::fixture::{delivered, object};
    use catalogue::{ALL, Kind};
    use serde_json::{Value, json};

    fn text(metrics: &Metrics, connections: Vec<Declared>) -> String {
        let connections = connections.into_iter().map(|connection| Arc::new(Stored::from(connection)));
        metrics.text(connections.collect(), true).unwrap()
    }

    fn tested(verdict: &str, change: impl FnOnce(&mut Value)) -> Declared {
        delivered(|object| {
            object["status"]["lastTest"]["verdict"] = verdict.into();
            change(object);
        })
    }

    /// The series of a metric, without its prefix.
    fn series<'a>(text: &'a str, metric: &str) -> Vec<&'a str> {
        text.lines().filter(|line| line.starts_with(metric)).map(|line| &line["regcred_".len()..]).collect()
    }

    #[test]
    fn every_metric_is_what_the_catalogue_says_and_no_other_is_told() {
        let metrics = Metrics::default();
        metrics.login(&Login::Proven);
        metrics.issued("digitalocean", true);
        metrics.revoked("ionos", false);
        metrics.quota("0123456789", Quota { limit: 200, remaining: 187 });
        metrics.reconciled(Duration::from_millis(3), &Ok(()));
        let text = text(
            &metrics,
            vec![delivered(|object| {
                object["status"]["credential"]["expiresAt"] = "2026-06-01T00:00:00Z".into();
                object["status"]["lastSuccessAt"] = "2026-01-01T00:00:00Z".into();
            })],
        );
        for metric in ALL {
            let full = metric.full_name();
            let family = full.strip_suffix("_total").unwrap_or(&full);
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            for line in [format!("# TYPE {family} {kind}"), format!("# HELP {family} {}.", metric.help)] {
                assert!(text.lines().any(|told| told == line), "{line}");
            }
            assert_eq!(text.contains(&format!("# UNIT {family} seconds\n")), metric.in_seconds, "{full}");
            let sample = if metric.kind == Kind::Histogram { format!("{full}_count") } else { full.clone() };
            let line = text.lines().find(|line| line.starts_with(&sample)).expect(&full);
            let labels = line[sample.len()..].split_once('}').map_or("", |(labels, _)| labels);
            let keys: Vec<&str> = labels
                .trim_start_matches('{')
                .split("\",")
                .filter_map(|label| Some(label.split_once('=')?.0))
                .collect();
            assert_eq!(keys, metric.labels, "{line}");
        }
        assert_eq!(text.matches("# TYPE").count(), ALL.len(), "{text}");
        assert!(text.ends_with("# EOF\n"), "OpenMetrics ends so");
        assert_eq!(text.matches("# EOF").count(), 1);
    }

    #[test]
    fn a_connection_has_one_result_whatever_the_last_test_found() {
        let found = |verdict: &str| json!([{"name": "a", "verdict": "PullProven"}, {"name": "b", "verdict": verdict}]);
        let never = object(|_| {});
        for (name, connection, expected) in [
            ("proven", tested("LoginProven", |_| {}), "LoginProven"),
            ("refused", tested("InvalidCredentials", |_| {}), "InvalidCredentials"),
            (
                "a repository fails",
                tested("LoginProven", |object| {
                    object["status"]["lastTest"]["repositories"] = found("InsufficientScope")
                }),
                "InsufficientScope",
            ),
            (
                "a tag is missing",
                tested("RepositoriesProven", |object| {
                    object["status"]["lastTest"]["repositories"] = found("TagMissing")
                }),
                "RepositoriesProven",
            ),
            ("never tested", never, "Unknown"),
            ("by a newer operator", tested("Strange\"} 7\nregcred_forged 1", |_| {}), "Unknown"),
        ] {
            let text = text(&Metrics::default(), vec![connection]);
            let expected =
                format!("connection_test_result{{namespace=\"shop\",name=\"images\",result=\"{expected}\"}} 1");
            assert_eq!(series(&text, "regcred_connection_test_result"), [expected], "{name}");
        }
    }

    #[test]
    fn times_are_told_where_they_are_known() {
        let times = delivered(|object| {
            object["status"]["credential"]["expiresAt"] = "2026-06-01T00:00:00Z".into();
            object["status"]["lastSuccessAt"] = "2026-01-01T00:00:30Z".into();
        });
        let text = |connection| text(&Metrics::default(), vec![connection]);
        let told = text(times);
        assert_eq!(
            series(&told, "regcred_credential_expiry"),
            ["credential_expiry_timestamp_seconds{namespace=\"shop\",name=\"images\"} 1780272000"]
        );
        assert_eq!(
            series(&told, "regcred_credential_last_success"),
            ["credential_last_success_timestamp_seconds{namespace=\"shop\",name=\"images\"} 1767225630"]
        );
        let nothing: [&str; 0] = [];
        assert_eq!(series(&text(object(|_| {})), "regcred_credential"), nothing);
    }

    #[test]
    fn series_vanish_with_their_object_and_a_namesake_does_not_inherit_them() {
        let metrics = Metrics::default();
        let named = |uid: &str| delivered(|object| object["metadata"]["uid"] = uid.into());
        metrics.quota("first", Quota { limit: 200, remaining: 187 });
        assert_eq!(series(&text(&metrics, vec![named("first")]), "regcred_dockerhub").len(), 2);
        assert_eq!(series(&text(&metrics, vec![named("second")]), "regcred_dockerhub").len(), 0);
        metrics.quota("gone", Quota { limit: 1, remaining: 1 });
        let text = text(&metrics, vec![]);
        for name in ["regcred_dockerhub", "regcred_connection", "regcred_credential"] {
            assert_eq!(series(&text, name).len(), 0, "{name}");
        }
        assert_eq!(metrics.quotas.lock().unwrap().len(), 0, "nor is anything kept for those that are gone");
    }

    #[test]
    fn what_a_status_says_cannot_forge_series() {
        let hostile = delivered(|object| {
            object["status"]["conditions"][0]["reason"] = "x\"} 1\nregcred_forged 1".into();
            object["status"]["conditions"][0]["status"] = "Maybe".into();
            object["metadata"]["name"] = "a\"\n\\".into();
        });
        let text = text(&Metrics::default(), vec![hostile]);
        assert_eq!(series(&text, "regcred_connections"), ["connections{ready=\"Unknown\",reason=\"Progressing\"} 1"]);
        assert_eq!(
            series(&text, "regcred_connection_test_result"),
            ["connection_test_result{namespace=\"shop\",name=\"a\\\"\\n\\\\\",result=\"LoginProven\"} 1"]
        );
    }

    #[test]
    fn every_kind_of_problem_has_a_series_from_the_start_and_counts_one_by_one() {
        let metrics = Metrics::default();
        let before = text(&metrics, vec![]);
        assert!(
            before.contains("regcred_reconcile_errors_total{class=\"UsersTurn\",reason=\"InvalidCredentials\"} 0\n")
        );
        assert!(before.contains("regcred_target_writes_total{op=\"create\",result=\"denied\"} 0\n"));
        metrics.met(Reason::Unreachable);
        metrics.met(Reason::LoginProven);
        metrics.reconciled(Duration::ZERO, &Err::<(), _>(Error::TimedOut));
        metrics.reconciled(Duration::ZERO, &Err::<(), _>(Error::Gone));
        metrics.target_write(WriteOp::Update, WriteResult::Conflict);
        let after = text(&metrics, vec![]);
        let grown: Vec<&str> = after
            .lines()
            .filter(|line| line.contains("errors_total") || line.contains("writes_total{"))
            .filter(|line| !line.starts_with('#') && !before.contains(*line))
            .collect();
        let mut grown = grown;
        grown.sort_unstable();
        assert_eq!(
            grown,
            [
                "regcred_reconcile_errors_total{class=\"CutShort\",reason=\"TimedOut\"} 1",
                "regcred_reconcile_errors_total{class=\"Wait\",reason=\"Unreachable\"} 1",
                "regcred_target_writes_total{op=\"update\",result=\"conflict\"} 1",
            ]
        );
    }

    #[test]
    fn ten_thousand_connections_are_told_at_a_scrape() {
        let all: Vec<Arc<Stored>> = (0..10_000)
            .map(|number| {
                Arc::new(Stored::from(delivered(|object| {
                    object["metadata"]["name"] = format!("images-{number}").into();
                    object["metadata"]["uid"] = format!("uid-{number}").into();
                    object["status"]["lastSuccessAt"] = "2026-01-01T00:00:00Z".into();
                    object["status"]["credential"]["expiresAt"] = "2026-06-01T00:00:00Z".into();
                })))
            })
            .collect();
        let started = std::time::Instant::now();
        let text = Metrics::default().text(all, true).unwrap();
        println!("{} bytes in {:?}", text.len(), started.elapsed());
        assert_eq!(series(&text, "regcred_connection_test_result").len(), 10_000);
    }
}
