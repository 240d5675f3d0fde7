//! What is told of single connections, read from their statuses at each scrape: a series lives as long as its object.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};

use super::catalogue::{self, Metric};
use crate::{
    api::{
        ConditionType, Reason,
        condition::{self, reason_of},
        status::LastTest,
    },
    controller::stored::Stored,
    registry::Quota,
};

/// All connections at one moment.
#[derive(Debug)]
pub(super) struct Connections {
    pub(super) all: Vec<Arc<Stored>>,
    /// The pull quotas of their accounts, by UID.
    pub(super) quotas: HashMap<String, Quota>,
}

impl Collector for Connections {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut counts: BTreeMap<(&str, &str), i64> = BTreeMap::new();
        for labels in self.all.iter().map(|connection| ready(connection)) {
            *counts.entry(labels).or_default() += 1;
        }
        let counts = counts.into_iter().map(|((ready, reason), count)| ([("ready", ready), ("reason", reason)], count));
        gauge(&mut encoder, catalogue::CONNECTIONS, counts)?;

        let results = self.all.iter().map(|connection| {
            let [namespace, name] = labels(connection);
            ([namespace, name, ("result", result(connection))], 1)
        });
        gauge(&mut encoder, catalogue::TEST_RESULT, results)?;

        let of_each = |value: fn(&Stored) -> Option<i64>| {
            self.all.iter().filter_map(move |connection| Some((labels(connection), value(connection)?)))
        };
        gauge(&mut encoder, catalogue::LAST_SUCCESS, of_each(last_success))?;
        gauge(&mut encoder, catalogue::EXPIRY, of_each(expiry))?;

        let of_quotas = |value: fn(&Quota) -> u32| {
            self.all.iter().filter_map(move |connection| {
                let quota = self.quotas.get(connection.meta().uid.as_deref()?)?;
                Some((labels(connection), i64::from(value(quota))))
            })
        };
        gauge(&mut encoder, catalogue::PULL_LIMIT, of_quotas(|quota| quota.limit))?;
        gauge(&mut encoder, catalogue::PULLS_REMAINING, of_quotas(|quota| quota.remaining))
    }
}

/// Encodes the series of one metric; nothing at all if there is none.
fn gauge<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    metric: Metric,
    series: impl Iterator<Item = (L, i64)>,
) -> Result<(), fmt::Error> {
    let mut series = series.peekable();
    if series.peek().is_none() {
        return Ok(());
    }
    let (unit, help) = (metric.unit(), format!("{}.", metric.help));
    let mut family = encoder.encode_descriptor(metric.name, &help, unit.as_ref(), MetricType::Gauge)?;
    series.try_for_each(|(labels, value)| ConstGauge::new(value).encode(family.encode_family(&labels)?))
}

fn labels(connection: &Stored) -> [(&'static str, &str); 2] {
    let metadata = connection.meta();
    [
        ("namespace", metadata.namespace.as_deref().unwrap_or_default()),
        ("name", metadata.name.as_deref().unwrap_or_default()),
    ]
}

/// Value and reason of the Ready condition; only words that are known, whoever wrote them.
fn ready(connection: &Stored) -> (&'static str, &'static str) {
    let conditions = connection.status().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let ready = condition::find(conditions, ConditionType::Ready);
    let status = match ready.map(|ready| ready.status.as_str()) {
        Some("True") => "True",
        Some("False") => "False",
        Some(_) | None => "Unknown",
    };
    (status, ready.and_then(reason_of).unwrap_or(Reason::Progressing).as_str())
}

fn result(connection: &Stored) -> &'static str {
    let test = connection.status().and_then(|status| status.last_test.as_ref());
    let result = test.map(LastTest::result).filter(|result| result.is_verdict() || result.is_of_a_repository());
    result.map_or("Unknown", Reason::as_str)
}

fn last_success(connection: &Stored) -> Option<i64> {
    Some(connection.status()?.last_success_at.as_ref()?.0.as_second())
}

fn expiry(connection: &Stored) -> Option<i64> {
    Some(connection.status()?.credential.as_ref()?.expires_at.as_ref()?.0.as_second())
}
