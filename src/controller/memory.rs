//! What this process remembers of each connection besides its status. Losing it, as a restart does, costs at most one
//! more read and one more login, and one more try of each write that the API server decided against.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{index::NamespaceId, request::Requested, secret_meta::ObjectKey, sighting::Sighting};
use crate::{
    api::status::{LastTest, ObservedInput},
    domain::{credential::Fingerprint, host::RegistryUrl},
    problem::Problem,
};

/// The remembered facts of one connection.
#[derive(Clone, Default)]
pub struct Memory {
    /// What was read, as it was when it last led to a definite verdict. An edit that leaves the login as it was, such as a
    /// new annotation, moves only this, not the status.
    pub judged: Vec<ObservedInput>,
    /// The login of the delivered revision, as it was rendered.
    pub accepted: Option<Fingerprint>,
    /// The last login and its verdict. It counts even where the status could not be written: a refused password must
    /// not be tried again because of that.
    pub tested: Option<Tested>,
    /// The last pass, if it came to nothing and is to be tried again.
    pub attempt: Option<Box<Attempt>>,
    /// What the user asked for and was acted on, in case that could not be written.
    pub handled: Requested,
    /// The account whose login it came back to later, because others were before it.
    pub crowded: Option<Fingerprint>,
    /// What the API server decided against, by namespace.
    pub denials: Arc<BTreeMap<Arc<str>, Denial>>,
    /// The targets that were to be taken back and stay: they hold another login, or may not be removed. By namespace.
    pub spared: Arc<BTreeMap<Arc<str>, Sighting>>,
    /// The Secrets on which the deletionPolicy could not be written.
    pub unmarked: BTreeMap<ObjectKey, Unmarked>,
    /// When the status was written last, as uptime.
    pub told: Option<Duration>,
    /// This pass found something that is to be told later.
    pub is_untold: bool,
    /// The ledger as it was when it was read last.
    pub ledger: Option<Sighting>,
    /// The form in which it was told that the ledger is gone or damaged.
    pub lost: Option<Sighting>,
    /// The revision that was revoked because it could not be written down, as far as was known.
    pub ended: Option<String>,
    /// Stands for what gave access to the provider's API when it was read last.
    pub access: Option<Fingerprint>,
    /// The provider was asked for a credential and issued none, for a reason that passes.
    pub not_issued: bool,
    /// The last try to revoke something, if it failed.
    pub revocation: Option<Revocation>,
    /// How many passes in a row were cut short.
    pub cut_short: u32,
}

/// A login with a definite verdict.
#[derive(Clone)]
pub struct Tested {
    /// Where it was made.
    pub registry: RegistryUrl,
    /// Stands for the credential and all that was asked about it.
    pub question: Fingerprint,
    /// The verdict, and when it was found.
    pub test: LastTest,
    /// Which test of this process found it; zero if none did.
    pub number: u64,
    /// When this connection came to it.
    pub refreshed: Time,
    /// What to tell the user, if it was refused or cannot do what it must.
    pub problem: Option<Problem>,
    /// What it was read from.
    pub inputs: Vec<ObservedInput>,
}

/// A pass that came to nothing.
#[derive(Clone)]
pub struct Attempt {
    /// How many in a row.
    pub count: u32,
    /// When it was.
    pub since: Timestamp,
    /// When to try again, unless something changes before.
    pub not_before: Timestamp,
    /// What it was about. While that stays as it is, nothing but time can help.
    pub basis: Basis,
    /// What kept a proven credential from being had.
    pub trouble: Problem,
    /// The question that got no answer. It is not asked again before its time, whatever is touched around it.
    pub question: Option<Fingerprint>,
    /// What was delivered before may be delivered meanwhile, where it is missing.
    pub keeps: bool,
}

/// A credential that could not be revoked.
#[derive(Clone)]
pub struct Revocation {
    /// How many tries in a row failed.
    pub count: u32,
    /// When to try again.
    pub not_before: Timestamp,
    /// When it was tried.
    pub since: Timestamp,
    /// An event said so.
    pub is_told: bool,
}

impl Revocation {
    /// Another try failed, or was cut short, and `last` was the one before it in a row.
    pub fn failed(last: Option<&Self>, not_before: Timestamp, now: Timestamp) -> Self {
        Self {
            count: last.map_or(0, |last| last.count.saturating_add(1)),
            not_before,
            since: now,
            is_told: last.is_some_and(|last| last.is_told),
        }
    }

    /// Takes note that an event says so; false if one did before.
    pub fn tell(&mut self) -> bool {
        !std::mem::replace(&mut self.is_told, true)
    }
}

/// A write of a target that the API server decided against.
#[derive(Clone)]
pub struct Denial {
    /// How many in a row.
    pub count: u32,
    /// When it was.
    pub since: Timestamp,
    /// When to try again, unless something changes before.
    pub not_before: Timestamp,
    /// What was to be written, over what, and for which spec.
    pub basis: DenialBasis,
    /// The namespace it was in, to tell it from one that was made anew; none if nobody follows namespaces.
    pub in_namespace: Option<NamespaceId>,
    /// The API server said no. Otherwise it gave no decision, and may give one any time.
    pub is_decided: bool,
    /// What to tell.
    pub problem: Problem,
}

/// What a denied write was about. While that stays as it is, nothing but time can help.
#[derive(Clone, PartialEq, Eq)]
pub struct DenialBasis {
    /// The spec.
    pub generation: i64,
    /// What the user asks for.
    pub asked: Requested,
    /// The revision that was to be written, and the target as it was; none if neither matters.
    pub target: Option<(Option<String>, Sighting)>,
}

impl DenialBasis {
    /// Whether what is to be written now is what this was about.
    pub fn applies_to(&self, now: &Self) -> bool {
        (self.generation, &self.asked) == (now.generation, &now.asked)
            && (self.target.is_none() || self.target == now.target)
    }
}

/// A Secret on which the API server did not let the deletionPolicy be written.
#[derive(Clone)]
pub struct Unmarked {
    /// The spec that asks for it.
    pub generation: i64,
    /// The form in which the Secret was.
    pub resource_version: String,
    /// When to try again, unless something changes before, as uptime.
    pub until: Duration,
}

/// What a pass goes by to have and judge a credential. Its targets are not among that: a namespace more or less brings no
/// answer that could not be had before.
#[derive(Clone, PartialEq, Eq)]
pub struct Basis {
    /// The spec.
    pub generation: i64,
    /// The Secret that is read.
    pub source: Sighting,
    /// The object with the certificate authority.
    pub authority: Option<Sighting>,
    /// The ledger.
    pub ledger: Sighting,
    /// What the user asks for.
    pub asked: Requested,
}

/// The memories of all connections, by UID. Each is boxed: a table keeps room for twice as many as there are.
#[derive(Default)]
pub struct Memories(Mutex<HashMap<Box<str>, Box<Memory>>>);

impl Memories {
    /// What is remembered of a connection.
    pub fn recall(&self, uid: &str) -> Memory {
        self.lock().get(uid).map(|memory| Memory::clone(memory)).unwrap_or_default()
    }

    /// Changes what is remembered of a connection.
    pub fn update(&self, uid: &str, change: impl FnOnce(&mut Memory)) {
        change(self.lock().entry(uid.into()).or_default());
    }

    /// Takes note of a pass that was not cut short.
    pub fn completed(&self, uid: &str) {
        if let Some(memory) = self.lock().get_mut(uid) {
            memory.cut_short = 0;
        }
    }

    /// Forgets a connection that is gone.
    pub fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Box<str>, Box<Memory>>> {
        // Nothing in here panics half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_try_that_was_cut_short_does_not_keep_the_next_from_being_told_and_more_are_told_once() {
        let at = Timestamp::UNIX_EPOCH;
        let cut = Revocation::failed(None, at, at);
        let mut second = Revocation::failed(Some(&cut), at, at);
        assert!(second.tell());
        let mut third = Revocation::failed(Some(&second), at, at);
        assert_eq!((third.tell(), third.count), (false, 2));
    }

    #[test]
    fn a_completed_pass_ends_a_row_of_those_that_were_cut_short_and_remembers_nothing_new() {
        let memories = Memories::default();
        memories.update("one", |memory| memory.cut_short = 7);
        memories.completed("one");
        memories.completed("another");
        assert_eq!(memories.recall("one").cut_short, 0);
        assert_eq!(memories.lock().len(), 1);
    }
}
