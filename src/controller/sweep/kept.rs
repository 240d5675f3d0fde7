//! What was found of Secrets that might have to go, so that nothing is asked or told twice.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::verdict::Finding;
use crate::controller::secret_meta::ObjectKey;

/// What a finding is about. About anything else it says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The Secret's UID.
    pub uid: String,
    /// The Secret's resourceVersion.
    pub resource_version: String,
    /// Since when its connection is gone, as uptime; none if the connection is there and writes another Secret.
    pub since: Option<Duration>,
}

/// When a Secret may be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Nothing was found yet.
    None,
    /// From this uptime on.
    Until(Duration),
    /// Not while it stays as it is.
    Forever,
}

struct Entry {
    subject: Subject,
    finding: Finding,
    count: u32,
    rest: Rest,
}

/// See the module.
#[derive(Default)]
pub struct Kept(Mutex<HashMap<ObjectKey, Entry>>);

impl Kept {
    /// When a Secret may be looked at.
    pub fn rest(&self, key: &ObjectKey, subject: &Subject) -> Rest {
        self.lock().get(key).filter(|entry| entry.subject == *subject).map_or(Rest::None, |entry| entry.rest)
    }

    /// Takes note of a finding; true if it is a new one. `jitter` is a random number in 0..1.
    pub fn note(&self, key: &ObjectKey, subject: Subject, finding: Finding, now: Duration, jitter: f64) -> bool {
        let mut entries = self.lock();
        let before = entries.get(key).filter(|entry| entry.subject == subject && entry.finding == finding);
        let count = before.map(|entry| entry.count.saturating_add(1));
        let pause = finding.pause(count.unwrap_or(0), jitter);
        let rest = pause.map_or(Rest::Forever, |pause| Rest::Until(now.saturating_add(pause)));
        entries.insert(key.clone(), Entry { subject, finding, count: count.unwrap_or(0), rest });
        count.is_none()
    }

    /// Keeps what is about these Secrets only.
    pub fn retain(&self, is_there: impl Fn(&ObjectKey) -> bool) {
        self.lock().retain(|key, _| is_there(key));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ObjectKey, Entry>> {
        // Nothing in here panics half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn key() -> ObjectKey {
        ObjectKey { namespace: "shop".into(), name: "images".into() }
    }

    fn subject(resource_version: &str, since: u64) -> Subject {
        Subject { uid: "u".into(), resource_version: resource_version.into(), since: Some(at(since)) }
    }

    #[test]
    fn a_finding_is_told_once_and_only_a_change_makes_it_new() {
        let kept = Kept::default();
        let note = |subject, finding| kept.note(&key(), subject, finding, at(100), 0.0);
        assert!(note(subject("1", 0), Finding::KindEnding));
        assert!(!note(subject("1", 0), Finding::KindEnding));
        assert!(note(subject("1", 0), Finding::KindMissing), "another finding");
        assert!(note(subject("2", 0), Finding::KindMissing), "another form of the Secret");
        assert!(note(subject("2", 9), Finding::KindMissing), "another end of a connection of that name");
    }

    #[test]
    fn rests_as_long_as_the_finding_holds_and_not_after_a_change() {
        let kept = Kept::default();
        assert_eq!(kept.rest(&key(), &subject("1", 0)), Rest::None);
        kept.note(&key(), subject("1", 0), Finding::Retained, at(100), 0.0);
        assert_eq!(kept.rest(&key(), &subject("1", 0)), Rest::Forever);
        assert_eq!(kept.rest(&key(), &subject("2", 0)), Rest::None);
        assert_eq!(kept.rest(&key(), &subject("1", 9)), Rest::None);
        kept.note(&key(), subject("1", 0), Finding::NotServed, at(100), 0.0);
        assert_eq!(kept.rest(&key(), &subject("1", 0)), Rest::Until(at(400)));
        kept.retain(|_| false);
        assert_eq!(kept.rest(&key(), &subject("1", 0)), Rest::None);
    }

    #[test]
    fn an_api_server_that_does_not_answer_is_asked_at_growing_pauses() {
        let kept = Kept::default();
        let mut pauses = vec![];
        for _ in 0..4 {
            kept.note(&key(), subject("1", 0), Finding::Unanswered, at(0), 1.0);
            let Rest::Until(pause) = kept.rest(&key(), &subject("1", 0)) else { panic!("no pause") };
            pauses.push(pause.as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8]);
    }
}
