//! What a run has found out, as it goes into `bench.json`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::audit::Requests;
use crate::floor::Floor;
use crate::machine::{Cpu, Machine, Memory};

/// A whole run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What it ran on.
    pub machine: Machine,
    /// The version of kube-apiserver.
    pub kubernetes: String,
    /// How many namespaces or connections there were.
    pub targets: usize,
    /// The size of the operator's binary.
    pub binary_mb: f64,
    /// The arguments that the operator ran with.
    pub arguments: Vec<String>,
    /// The operator's memory without any connection.
    pub empty: Option<Memory>,
    /// What was measured, in the order in which it was.
    pub scenarios: Vec<Figures>,
    /// The counts that must be exact.
    pub checks: Vec<Check>,
    /// The figures beside what they are wanted to be.
    pub bars: Vec<Bar>,
}

/// One scenario, or a part of one.
#[derive(Debug, Default, Serialize)]
pub struct Figures {
    /// Such as `S2`.
    pub id: String,
    /// What happened.
    pub title: String,
    /// How many targets it was about.
    pub targets: usize,
    /// From the cause to the answer to the last write, both by the audit log.
    pub wall_seconds: Option<f64>,
    /// The bare loop beside it.
    pub floor: Option<Floor>,
    /// Wall time over that of the bare loop.
    pub ratio: Option<f64>,
    /// What the operator asked the API server.
    pub requests: Requests,
    /// What it asked others.
    pub calls: Calls,
    /// CPU seconds, until the operator was quiet again.
    pub cpu: Cpu,
    /// The operator's memory afterwards.
    pub memory: Option<Memory>,
    /// How long single things took.
    pub latencies: Vec<Latency>,
    /// Single times and sizes, by what they are, with their unit.
    pub more: BTreeMap<String, f64>,
}

impl Figures {
    /// Requests for each target.
    pub fn requests_per_target(&self) -> f64 {
        count(self.requests.total) / count(self.targets.max(1))
    }
}

/// What the operator asked others than the API server.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Calls {
    /// Requests to the provider's API.
    pub provider: usize,
    /// How many of them issued a credential.
    pub mints: usize,
    /// Logins at the token server of the provider's registry.
    pub logins: usize,
    /// Requests to registries.
    pub registry: usize,
}

/// How long many things of one kind took, in milliseconds.
#[derive(Debug, Serialize)]
pub struct Latency {
    /// From what to what.
    pub what: String,
    /// How many.
    pub count: usize,
    /// The median.
    pub p50: f64,
    /// All but one in a hundred took at most this.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl Latency {
    /// From single times in seconds.
    pub fn new(what: &str, mut seconds: Vec<f64>) -> Self {
        seconds.sort_by(f64::total_cmp);
        let at = |percent: usize| {
            let rank = (seconds.len() * percent).div_ceil(100).max(1);
            seconds.get(rank - 1).copied().unwrap_or_default() * 1000.0
        };
        Self { what: what.to_owned(), count: seconds.len(), p50: at(50), p99: at(99), max: at(100) }
    }
}

/// A count that must be exact.
#[derive(Debug, Serialize)]
pub struct Check {
    /// What was counted.
    pub what: String,
    /// How many there must be.
    pub expected: String,
    /// How many there were.
    pub found: usize,
    /// Whether that is so.
    pub is_met: bool,
}

impl Check {
    /// From a range: both ends count.
    pub fn new(what: &str, expected: std::ops::RangeInclusive<usize>, found: usize) -> Self {
        let (least, most) = (*expected.start(), *expected.end());
        let words = if least == most { format!("{least}") } else { format!("{least} to {most}") };
        Self { what: what.to_owned(), expected: words, found, is_met: expected.contains(&found) }
    }
}

/// A figure beside what it is wanted to be.
#[derive(Debug, Serialize)]
pub struct Bar {
    /// Of what.
    pub what: String,
    /// The most that is wanted, with its unit.
    pub bar: String,
    /// What was measured, in that unit.
    pub measured: f64,
    /// Whether it is at most that.
    pub is_met: bool,
}

/// A count as a number to divide with.
pub fn count(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_latencies() {
        let seconds = (1..=200).rev().map(|number| count(number) / 1000.0).collect();
        let latency = Latency::new("all", seconds);
        assert_eq!((latency.count, latency.p50, latency.p99, latency.max), (200, 100.0, 198.0, 200.0));
        let one = Latency::new("one", vec![0.5]);
        assert_eq!((one.p50, one.p99, one.max), (500.0, 500.0, 500.0));
        assert_eq!(Latency::new("none", vec![]).max, 0.0);
    }

    #[test]
    fn compares_counts_with_both_ends_of_a_range() {
        let is_met = |found| Check::new("", 2..=3, found).is_met;
        assert_eq!([1, 2, 3, 4].map(is_met), [false, true, true, false]);
        assert_eq!(Check::new("", 7..=7, 7).expected, "7");
    }
}
