//! What can be chosen when an IONOS is started.

use std::time::Duration;

use crate::fault::Faults;

/// How it is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many times as fast as the system's its time runs.
    pub speed: u32,
    /// The names of the registries that are running from the start. Each has a real one.
    pub registries: Vec<String>,
    /// The contracts of the user. All registries are in the first. If there are several, requests have to say which.
    pub contracts: Vec<u64>,
    /// How many requests a login may make in any minute; `None` for any number.
    pub requests_a_minute: Option<usize>,
    /// How long a new token is refused by its registry before it works, in the provider's time.
    pub effective_after: Duration,
    /// How many items a page holds at most, whatever is asked for; at most 100.
    pub page: usize,
    /// What the requests to API, token servers and registries meet with, if relays are to stand in front of them. Whoever
    /// starts it has to keep its runtime: the relays end with it.
    pub faults: Option<Faults>,
}

impl Default for Options {
    /// One running registry `shop` in one contract, no limits, in real time.
    fn default() -> Self {
        let registries = vec!["shop".to_owned()];
        let contracts = vec![31_000_001];
        Self {
            speed: 1,
            registries,
            contracts,
            requests_a_minute: None,
            effective_after: Duration::ZERO,
            page: 100,
            faults: None,
        }
    }
}
