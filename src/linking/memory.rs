//! What looks at namespaces remember of each other: which writes the API server decided against. In memory only.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::standing::Fault;

/// The first pause after a decision against a write.
const FIRST: Duration = Duration::from_secs(10);

/// The longest one. Rights and policies change without a sign that a watch could show.
const LONGEST: Duration = Duration::from_secs(300);

/// Something that is written to make links.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectOfLinks {
    namespace: Arc<str>,
    /// None for the table.
    account: Option<Arc<str>>,
}

impl ObjectOfLinks {
    /// A ServiceAccount.
    pub fn account(namespace: &Arc<str>, name: &Arc<str>) -> Self {
        Self { namespace: Arc::clone(namespace), account: Some(Arc::clone(name)) }
    }

    /// The table of a namespace.
    pub fn table(namespace: &Arc<str>) -> Self {
        Self { namespace: Arc::clone(namespace), account: None }
    }

    /// That it may not be written.
    pub fn denied(&self) -> Fault {
        match &self.account {
            Some(name) => Fault::Denied(Arc::clone(name)),
            None => Fault::TableDenied,
        }
    }
}

/// See the module.
#[derive(Default)]
pub struct Memory(Mutex<HashMap<ObjectOfLinks, Denial>>);

struct Denial {
    count: u32,
    not_before: Duration,
}

impl Memory {
    /// Until when, as uptime, it is not tried again to write an object.
    pub fn denied(&self, object: &ObjectOfLinks, now: Duration) -> Option<Duration> {
        self.lock().get(object).map(|denial| denial.not_before).filter(|time| *time > now)
    }

    /// The API server decided against a write; returns when it is worth another try.
    pub fn was_denied(&self, object: &ObjectOfLinks, now: Duration) -> Duration {
        let mut denials = self.lock();
        let denial = denials.entry(object.clone()).or_insert(Denial { count: 0, not_before: now });
        let pause = FIRST.saturating_mul(1 << denial.count.min(8)).min(LONGEST);
        *denial = Denial { count: denial.count.saturating_add(1), not_before: now.saturating_add(pause) };
        denial.not_before
    }

    /// An object was written.
    pub fn succeeded(&self, object: &ObjectOfLinks) {
        let mut denials = self.lock();
        if !denials.is_empty() {
            denials.remove(object);
        }
    }

    /// A namespace is gone, or going.
    pub fn forget(&self, namespace: &str) {
        self.lock().retain(|object, _| object.namespace.as_ref() != namespace);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectOfLinks, Denial>> {
        // Nothing in here panics half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
