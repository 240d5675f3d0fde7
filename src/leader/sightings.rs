//! The Leases of all installations as they were seen, and what follows from them. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use tokio::time::Instant;

use super::LEASE_DURATION;
use crate::api::names::{FIELD_MANAGER, MANAGED_BY_LABEL};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    /// By namespace.
    leases: BTreeMap<String, Sighting>,
}

#[derive(Debug)]
struct Sighting {
    lease: Lease,
    /// When it was first seen as it is.
    since: Instant,
}

/// What a process is to do next.
#[derive(Debug, PartialEq)]
pub(super) enum Turn {
    /// Take the lease: there is none, or this one was given back or has run out.
    Take(Option<Box<Lease>>),
    /// Wait: somebody holds it, at least until then.
    Wait {
        /// Who.
        holder: String,
        /// Until when.
        until: Instant,
    },
    /// Do nothing: an older installation works.
    Yield {
        /// Where.
        namespace: String,
        /// At least until then.
        until: Instant,
    },
}

impl Sightings {
    /// Takes in a lease as it is.
    pub(super) fn saw(&mut self, lease: Lease, now: Instant) {
        let namespace = lease.metadata.namespace.clone().unwrap_or_default();
        match self.leases.get_mut(&namespace) {
            // Labels and annotations are no renewal.
            Some(known) if known.lease.spec == lease.spec => known.lease = lease,
            _ => drop(self.leases.insert(namespace, Sighting { lease, since: now })),
        }
    }

    /// Takes in that there is none in a namespace.
    pub(super) fn went(&mut self, namespace: &str) {
        self.leases.remove(namespace);
    }

    /// Forgets those that a complete list did not show.
    pub(super) fn retain(&mut self, shown: &[String]) {
        self.leases.retain(|namespace, _| shown.contains(namespace));
    }

    /// What `identity` is to do, whose installation is in `namespace`.
    pub(super) fn turn(&self, namespace: &str, identity: &str, now: Instant) -> Turn {
        let own = self.leases.get(namespace);
        if let Some((elder, until)) = self.elder(namespace, own, now) {
            return Turn::Yield { namespace: elder.to_owned(), until };
        }
        match own.and_then(|own| Some((own.holder()?, own.until()?))) {
            // What this process held before it was started anew is still its own: no two Pods have one name.
            Some((holder, until)) if holder != identity && now < until => {
                Turn::Wait { holder: holder.to_owned(), until }
            }
            Some(_) | None => Turn::Take(own.map(|own| Box::new(own.lease.clone()))),
        }
    }

    /// An installation that is older than the one in `namespace`, and at work.
    fn elder(&self, namespace: &str, own: Option<&Sighting>, now: Instant) -> Option<(&str, Instant)> {
        let age = own.and_then(Sighting::age);
        // Somebody else may call a Lease so.
        let others = self.leases.iter().filter(|(other, sighting)| *other != namespace && sighting.is_of_regcred());
        let alive = others.filter_map(|(other, sighting)| {
            let until = sighting.holder().and_then(|_| sighting.until()).filter(|until| now < *until)?;
            let is_older = match (sighting.age(), age) {
                (Some(theirs), Some(ours)) => (theirs, other.as_str()) < (ours, namespace),
                // Whoever has a lease at all is older than who has none yet.
                (_, None) => true,
                (None, Some(_)) => false,
            };
            is_older.then_some((other.as_str(), until))
        });
        alive.max_by_key(|(_, until)| *until)
    }
}

impl Sighting {
    fn spec(&self) -> Option<&LeaseSpec> {
        self.lease.spec.as_ref()
    }

    fn is_of_regcred(&self) -> bool {
        self.lease
            .metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get(MANAGED_BY_LABEL))
            .is_some_and(|by| by == FIELD_MANAGER)
    }

    fn age(&self) -> Option<Timestamp> {
        self.lease.metadata.creation_timestamp.as_ref().map(|time| time.0)
    }

    fn holder(&self) -> Option<&str> {
        self.spec()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
    }

    /// When it has run out, if it does not change.
    fn until(&self) -> Option<Instant> {
        let seconds =
            self.spec().and_then(|spec| spec.lease_duration_seconds).and_then(|text| u64::try_from(text).ok());
        // Nobody can make us wait for longer than we make others wait.
        let duration = seconds.map_or(LEASE_DURATION, std::time::Duration::from_secs).min(4 * LEASE_DURATION);
        self.since.checked_add(duration)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn lease(namespace: &str, created: u32, holder: &str, renewed: u32) -> Lease {
        serde_json::from_value(json!({
            "metadata": {
                "namespace": namespace, "name": "regcred", "resourceVersion": format!("{created}{renewed}"),
                "creationTimestamp": format!("2026-01-01T00:00:{created:02}Z"),
                "labels": {"app.kubernetes.io/managed-by": "regcred"},
            },
            "spec": {
                "holderIdentity": holder, "leaseDurationSeconds": 15,
                "renewTime": format!("2026-01-01T00:00:{renewed:02}.000000Z"),
            },
        }))
        .unwrap()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_lease_is_taken_where_there_is_none_or_it_was_given_back_or_is_our_own() {
        let now = Instant::now();
        let mut seen = Sightings::default();
        assert_eq!(seen.turn("here", "me", now), Turn::Take(None));
        for holder in ["", "me"] {
            let lease = lease("here", 1, holder, 1);
            seen.saw(lease.clone(), now);
            assert_eq!(seen.turn("here", "me", now), Turn::Take(Some(Box::new(lease))), "{holder:?}");
        }
        seen.went("here");
        assert_eq!(seen.turn("here", "me", now), Turn::Take(None));
    }

    #[test]
    fn a_lease_of_another_is_taken_once_it_was_seen_not_to_change_for_as_long_as_it_says() {
        let now = Instant::now();
        let mut seen = Sightings::default();
        seen.saw(lease("here", 1, "other", 1), now);
        let wait = |until| Turn::Wait { holder: "other".into(), until };
        assert_eq!(seen.turn("here", "me", now + seconds(14)), wait(now + seconds(15)));
        seen.saw(lease("here", 1, "other", 2), now + seconds(14));
        assert_eq!(seen.turn("here", "me", now + seconds(28)), wait(now + seconds(29)));
        // An annotation is no renewal.
        let mut annotated = lease("here", 1, "other", 2);
        annotated.metadata.annotations = Some([("a".to_owned(), "b".to_owned())].into());
        seen.saw(annotated.clone(), now + seconds(20));
        assert_eq!(seen.turn("here", "me", now + seconds(29)), Turn::Take(Some(Box::new(annotated))));
    }

    #[test]
    fn whatever_a_lease_says_nobody_waits_for_ever() {
        let now = Instant::now();
        for (says, waits) in [(json!(i32::MAX), 60), (json!(-1), 15), (json!(null), 15), (json!(5), 5)] {
            let mut odd = lease("here", 1, "other", 1);
            odd.spec.as_mut().unwrap().lease_duration_seconds = serde_json::from_value(says.clone()).unwrap();
            let mut seen = Sightings::default();
            seen.saw(odd, now);
            let until = now + seconds(waits);
            assert_eq!(seen.turn("here", "me", now), Turn::Wait { holder: "other".into(), until }, "{says}");
        }
        let mut seen = Sightings::default();
        seen.saw(Lease { spec: None, ..lease("here", 1, "other", 1) }, now);
        assert!(matches!(seen.turn("here", "me", now), Turn::Take(Some(_))));
    }

    #[test]
    fn the_younger_of_two_installations_yields_while_the_older_one_works() {
        let now = Instant::now();
        let mut seen = Sightings::default();
        seen.saw(lease("elder", 1, "them", 1), now);
        let yields = Turn::Yield { namespace: "elder".into(), until: now + seconds(15) };
        assert_eq!(seen.turn("here", "me", now), yields, "we have no lease yet");
        seen.saw(lease("here", 2, "me", 2), now);
        assert_eq!(seen.turn("here", "me", now), yields);
        assert!(matches!(seen.turn("elder", "them", now), Turn::Take(Some(_))), "the older one goes on");
        assert!(matches!(seen.turn("here", "me", now + seconds(15)), Turn::Take(Some(_))), "it has ended");
        seen.saw(lease("elder", 1, "", 3), now + seconds(1));
        assert!(matches!(seen.turn("here", "me", now + seconds(1)), Turn::Take(Some(_))), "it was given back");
        let mut foreign = lease("elder", 1, "them", 4);
        foreign.metadata.labels = None;
        seen.saw(foreign, now + seconds(2));
        assert!(matches!(seen.turn("here", "me", now + seconds(2)), Turn::Take(Some(_))), "it is none of ours");
        seen.saw(lease("elder", 1, "them", 5), now + seconds(2));
        seen.retain(&["here".into()]);
        assert!(matches!(seen.turn("here", "me", now + seconds(2)), Turn::Take(Some(_))), "it is gone");
    }

    #[test]
    fn of_two_that_are_equally_old_one_goes_on() {
        let now = Instant::now();
        let mut seen = Sightings::default();
        seen.saw(lease("a", 1, "one", 1), now);
        seen.saw(lease("b", 1, "two", 1), now);
        assert!(matches!(seen.turn("a", "one", now), Turn::Take(_)));
        assert!(matches!(seen.turn("b", "two", now), Turn::Yield { .. }));
    }
}
