//! Since when this process has known which connections to be gone, and what they wanted for their Secrets. Times are the
//! clock's uptime: setting the time of day neither shortens nor lengthens them.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use crate::{
    api::connection::DeletionPolicy,
    domain::reference::{ConnectionReference, Kind},
};

/// The deletionPolicy that was last seen on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastSeen {
    /// On its last form, as the watch showed it when the connection went.
    AtTheEnd(DeletionPolicy),
    /// Some time before: the watch was interrupted, and edits may have been missed.
    Before(DeletionPolicy),
}

/// A connection that went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Departure {
    /// When this process learned of it, as uptime.
    pub(super) since: Duration,
    /// None if it went before this process started, or could never be read.
    pub(super) policy: Option<LastSeen>,
}

/// See the module. Which connections there are is not told here.
#[derive(Default)]
pub(super) struct Departures {
    /// When the connections of each kind were listed first. Whatever was not in that list has been gone since then, unless noted
    /// below.
    first_lists: BTreeMap<Kind, Duration>,
    gone: HashMap<ConnectionReference, Departure>,
}

impl Departures {
    /// A connection is there.
    pub(super) fn appeared(&mut self, reference: &ConnectionReference) {
        self.gone.remove(reference);
    }

    /// A connection that was there is not there any more.
    pub(super) fn went(&mut self, reference: ConnectionReference, policy: Option<LastSeen>, now: Duration) {
        self.gone.entry(reference).or_insert(Departure { since: now, policy });
    }

    /// A list of all connections of a kind is complete; those that are `lacking` were there until now, `is_there` tells of the
    /// new list.
    pub(super) fn listed(
        &mut self,
        kind: Kind,
        lacking: impl Iterator<Item = (ConnectionReference, Option<DeletionPolicy>)>,
        is_there: impl Fn(&ConnectionReference) -> bool,
        now: Duration,
    ) {
        for (reference, policy) in lacking {
            self.went(reference, policy.map(LastSeen::Before), now);
        }
        self.gone.retain(|reference, _| !is_there(reference));
        self.first_lists.entry(kind).or_insert(now);
    }

    /// How a connection went that is not there; none before the first list.
    pub(super) fn of(&self, reference: &ConnectionReference) -> Option<Departure> {
        let first = *self.first_lists.get(&reference.kind())?;
        Some(self.gone.get(reference).copied().unwrap_or(Departure { since: first, policy: None }))
    }

    /// Forgets those that left nothing and went before `time`; from then on the first list answers for them.
    pub(super) fn forget(&mut self, before: Duration, left_something: impl Fn(&ConnectionReference) -> bool) {
        self.gone.retain(|reference, departure| departure.since > before || left_something(reference));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DeletionPolicy::{Delete, Retain};

    fn reference(name: &str) -> ConnectionReference {
        ConnectionReference::namespaced("shop", name)
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn nothing_is_known_to_be_gone_before_the_first_list() {
        let mut departures = Departures::default();
        assert_eq!(departures.of(&reference("images")), None);
        departures.listed(Kind::Namespaced, std::iter::empty(), |_| false, at(3));
        assert_eq!(departures.of(&reference("images")), Some(Departure { since: at(3), policy: None }));
        departures.listed(Kind::Namespaced, std::iter::empty(), |_| false, at(9));
        assert_eq!(departures.of(&reference("images")).map(|gone| gone.since), Some(at(3)), "a relist is no news");
    }

    #[test]
    fn counts_from_the_moment_it_went_and_anew_if_it_came_back() {
        let mut departures = Departures::default();
        departures.listed(Kind::Namespaced, std::iter::empty(), |_| true, at(1));
        departures.went(reference("images"), Some(LastSeen::AtTheEnd(Retain)), at(10));
        departures.went(reference("images"), Some(LastSeen::AtTheEnd(Delete)), at(20));
        let first = Departure { since: at(10), policy: Some(LastSeen::AtTheEnd(Retain)) };
        assert_eq!(departures.of(&reference("images")), Some(first), "the second word is about the same end");
        departures.appeared(&reference("images"));
        departures.went(reference("images"), Some(LastSeen::AtTheEnd(Delete)), at(30));
        assert_eq!(departures.of(&reference("images")).map(|gone| gone.since), Some(at(30)));
    }

    #[test]
    fn a_list_tells_what_went_and_what_came_back_while_nobody_watched() {
        let mut departures = Departures::default();
        departures.listed(Kind::Namespaced, std::iter::empty(), |_| true, at(1));
        departures.went(reference("back"), None, at(5));
        let before = [(reference("lost"), Some(Retain)), (reference("kept"), Some(Delete))];
        departures.listed(Kind::Namespaced, before.into_iter(), |reference| reference.name() != "lost", at(20));
        let lost = Departure { since: at(20), policy: Some(LastSeen::Before(Retain)) };
        assert_eq!(departures.of(&reference("lost")), Some(lost));
        assert!(!departures.gone.contains_key(&reference("back")));
    }

    #[test]
    fn what_left_nothing_is_forgotten_later_without_becoming_younger() {
        let mut departures = Departures::default();
        departures.listed(Kind::Namespaced, std::iter::empty(), |_| true, at(1));
        for (name, since) in [("old", 10), ("left", 10), ("new", 50)] {
            departures.went(reference(name), Some(LastSeen::AtTheEnd(Delete)), at(since));
        }
        departures.forget(at(20), |reference| reference.name() == "left");
        let since = |name: &str| departures.of(&reference(name)).map(|gone| gone.since);
        assert_eq!((since("old"), since("left"), since("new")), (Some(at(1)), Some(at(10)), Some(at(50))));
    }
}
