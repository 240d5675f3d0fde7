//! The Leases of all installations as they were seen, and what follows from them. Pure.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use tokio::time::Instant;

use super::{Candidate, Installation, LEASE_DURATION};
use crate::api::names::{FIELD_MANAGER, INSTALLATION_ANNOTATION, MANAGED_BY_LABEL};

/// For how long an installation leaves a lease alone that another one of the same namespace held: longer than the replicas of that
/// one need to take it again.
const LEFT_ALONE: Duration = LEASE_DURATION.saturating_mul(4);

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
    /// It was deleted. Who held it does not know yet, and may still write.
    is_gone: bool,
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
        /// Which.
        elder: Installation,
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
            Some(known) if known.lease.spec == lease.spec && !known.is_gone => known.lease = lease,
            _ => drop(self.leases.insert(namespace, Sighting { lease, since: now, is_gone: false })),
        }
    }

    /// Takes in that there is none in a namespace.
    pub(super) fn went(&mut self, namespace: &str) {
        if let Some(known) = self.leases.get_mut(namespace) {
            known.is_gone = true;
        }
    }

    /// Takes in that there are none but in these namespaces; forgets those whose holders have long known.
    pub(super) fn retain(&mut self, shown: &[String], now: Instant) {
        for (_, sighting) in self.leases.iter_mut().filter(|(namespace, _)| !shown.contains(namespace)) {
            sighting.is_gone = true;
        }
        self.leases.retain(|_, sighting| !sighting.is_gone || sighting.until().is_some_and(|until| now < until));
    }

    /// Which other installation works, as far as is known. One that is older than it must not begin before it has noticed.
    pub(super) fn another(&self, me: &Candidate, now: Instant) -> Option<Installation> {
        let others = self.leases.iter().filter(|(namespace, sighting)| {
            **namespace != me.installation.namespace && sighting.is_of_regcred() && sighting.holder().is_some()
        });
        let mut alive = others.filter(|(_, sighting)| sighting.until().is_some_and(|until| now < until));
        alive.next().map(|(_, sighting)| sighting.installation())
    }

    /// What this one is to do.
    pub(super) fn turn(&self, me: &Candidate, now: Instant) -> Turn {
        let own = self.leases.get(&me.installation.namespace);
        let neighbour = own.and_then(|own| own.neighbour(&me.installation.name)).filter(|(_, until)| now < *until);
        if let Some((elder, until)) = neighbour.or_else(|| self.elder(&me.installation.namespace, own, now)) {
            return Turn::Yield { elder, until };
        }
        match own.and_then(|own| Some((own.holder()?, own.until()?))) {
            // What this process held before it was started anew is still its own: no two Pods have one name.
            Some((holder, until)) if holder != me.identity && now < until => {
                Turn::Wait { holder: holder.to_owned(), until }
            }
            Some(_) | None => Turn::Take(own.filter(|own| !own.is_gone).map(|own| Box::new(own.lease.clone()))),
        }
    }

    /// An installation that is older than the one in `namespace`, and at work.
    fn elder(&self, namespace: &str, own: Option<&Sighting>, now: Instant) -> Option<(Installation, Instant)> {
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
            is_older.then(|| (sighting.installation(), until))
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

    /// Which one wrote it last.
    fn installation(&self) -> Installation {
        let metadata = &self.lease.metadata;
        let name = metadata.annotations.as_ref().and_then(|annotations| annotations.get(INSTALLATION_ANNOTATION));
        Installation {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: name.map_or(FIELD_MANAGER, String::as_str).to_owned(),
        }
    }

    /// The installation of another name in the same namespace that held it, and until when it is left alone for that.
    fn neighbour(&self, name: &str) -> Option<(Installation, Instant)> {
        let other = Some(self.installation()).filter(|other| self.is_of_regcred() && other.name != name)?;
        Some((other, self.since.checked_add(LEFT_ALONE)?))
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
        let duration = seconds.map_or(LEASE_DURATION, Duration::from_secs).min(LEFT_ALONE);
        self.since.checked_add(duration)
    }
}

#[cfg(test)]
mod tests {
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

    fn candidate(namespace: &str, identity: &str) -> Candidate {
        Candidate {
            installation: Installation { namespace: namespace.into(), name: "regcred".into() },
            identity: identity.into(),
        }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_lease_is_taken_where_there_is_none_or_it_was_given_back_or_is_our_own() {
        let now = Instant::now();
        let mut seen = Sightings::default();
        assert_eq!(seen.turn(&candidate("here", "me"), now), Turn::Take(None));
        for holder in ["", "me"] {
            let lease = lease("here", 1, holder, 1);
            seen.saw(lease.clone(), now);
            assert_eq!(seen.turn(&candidate("here", "me"), now), Turn::Take(Some(Box::new(lease))), "{holder:?}");
        }
        seen.went("here");
        assert_eq!(seen.turn(&candidate("here", "me"), now), Turn::Take(None));
    }

    #[test]
    fn a_lease_that_was_deleted_is_taken_once_whoever_held_it_must_have_noticed() {
        let now = Instant::now();
        let mut seen = Sightings::default();
        seen.saw(lease("here", 1, "other", 1), now);
        for delete in [|seen: &mut Sightings, _| seen.went("here"), |seen: &mut Sightings, now| seen.retain(&[], now)] {
            delete(&mut seen, now);
            let wait = Turn::Wait { holder: "other".into(), until: now + seconds(15) };
            assert_eq!(seen.turn(&candidate("here", "me"), now + seconds(14)), wait);
            assert_eq!(seen.turn(&candidate("here", "me"), now + seconds(15)), Turn::Take(None));
        }
        // It is there again, and says what it said.
        seen.saw(lease("here", 1, "other", 1), now + seconds(2));
        assert!(matches!(seen.turn(&candidate("here", "me"), now + seconds(16)), Turn::Wait { .. }));
        seen.went("here");
        seen.retain(&[], now + seconds(17));
        assert!(seen.leases.is_empty(), "nothing is kept for ever");
    }

    #[test]
    fn an_installation_leaves_the_lease_of_another_one_in_its_namespace_alone() {
        let now = Instant::now();
        let mut seen = Sightings::default();
        let mut other = Candidate { identity: "me".into(), ..candidate("here", "") };
        other.installation.name = "second".into();
        seen.saw(lease("here", 1, "a", 1), now);
        let yields = Turn::Yield { elder: candidate("here", "").installation, until: now + seconds(60) };
        assert_eq!(seen.turn(&other, now + seconds(59)), yields, "its own replicas come first");
        assert!(matches!(seen.turn(&candidate("here", "b"), now + seconds(15)), Turn::Take(Some(_))));
        assert!(matches!(seen.turn(&other, now + seconds(60)), Turn::Take(Some(_))));
        seen.saw(lease("here", 1, "", 2), now + seconds(1));
        assert!(matches!(seen.turn(&other, now + seconds(2)), Turn::Yield { .. }), "it was given back for them");
        assert!(matches!(seen.turn(&candidate("here", "b"), now + seconds(2)), Turn::Take(Some(_))));
    }

    #[test]
    fn a_lease_of_another_is_taken_once_it_was_seen_not_to_change_for_as_long_as_it_says() {
        let now = Instant::now();
        let mut seen = Sightings::default();
        seen.saw(lease("here", 1, "other", 1), now);
        let wait = |until| Turn::Wait { holder: "other".into(), until };
        assert_eq!(seen.turn(&candidate("here", "me"), now + seconds(14)), wait(now + seconds(15)));
        seen.saw(lease("here", 1, "other", 2), now + seconds(14));
        assert_eq!(seen.turn(&candidate("here", "me"), now + seconds(28)), wait(now + seconds(29)));
        // An annotation is no renewal.
        let mut annotated = lease("here", 1, "other", 2);
        annotated.metadata.annotations = Some([("a".to_owned(), "b".to_owned())].into());
        seen.saw(annotated.clone(), now + seconds(20));
        assert_eq!(seen.turn(&candidate("here", "me"), now + seconds(29)), Turn::Take(Some(Box::new(annotated))));
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
            assert_eq!(
                seen.turn(&candidate("here", "me"), now),
                Turn::Wait { holder: "other".into(), until },
                "{says}"
            );
        }
        let mut seen = Sightings::default();
        seen.saw(Lease { spec: None, ..lease("here", 1, "other", 1) }, now);
        assert!(matches!(seen.turn(&candidate("here", "me"), now), Turn::Take(Some(_))));
    }

    #[test]
    fn the_younger_of_two_installations_yields_while_the_older_one_works() {
        let now = Instant::now();
        let mut seen = Sightings::default();
        seen.saw(lease("elder", 1, "them", 1), now);
        let yields = Turn::Yield { elder: candidate("elder", "them").installation, until: now + seconds(15) };
        assert_eq!(seen.turn(&candidate("here", "me"), now), yields, "we have no lease yet");
        seen.saw(lease("here", 2, "me", 2), now);
        assert_eq!(seen.turn(&candidate("here", "me"), now), yields);
        assert!(matches!(seen.turn(&candidate("elder", "them"), now), Turn::Take(Some(_))), "the older one goes on");
        assert!(matches!(seen.turn(&candidate("here", "me"), now + seconds(15)), Turn::Take(Some(_))), "it has ended");
        seen.saw(lease("elder", 1, "", 3), now + seconds(1));
        assert!(
            matches!(seen.turn(&candidate("here", "me"), now + seconds(1)), Turn::Take(Some(_))),
            "it was given back"
        );
        let mut foreign = lease("elder", 1, "them", 4);
        foreign.metadata.labels = None;
        seen.saw(foreign, now + seconds(2));
        assert!(
            matches!(seen.turn(&candidate("here", "me"), now + seconds(2)), Turn::Take(Some(_))),
            "it is none of ours"
        );
        seen.saw(lease("elder", 1, "them", 5), now + seconds(2));
        seen.retain(&["here".into()], now + seconds(20));
        assert!(matches!(seen.turn(&candidate("here", "me"), now + seconds(20)), Turn::Take(Some(_))), "it is gone");
    }

    #[test]
    fn a_younger_one_that_works_is_known_until_it_has_ended() {
        let now = Instant::now();
        let mut seen = Sightings::default();
        let me = candidate("here", "me");
        seen.saw(lease("here", 1, "", 1), now);
        seen.saw(lease("younger", 2, "them", 1), now);
        assert!(matches!(seen.turn(&me, now), Turn::Take(Some(_))), "so that it sees it");
        assert_eq!(seen.another(&me, now), Some(candidate("younger", "").installation));
        assert_eq!(seen.another(&me, now + seconds(15)), None);
        seen.saw(lease("younger", 2, "", 2), now);
        assert_eq!(seen.another(&me, now), None);
    }

    #[test]
    fn of_two_that_are_equally_old_one_goes_on() {
        let now = Instant::now();
        let mut seen = Sightings::default();
        seen.saw(lease("a", 1, "one", 1), now);
        seen.saw(lease("b", 1, "two", 1), now);
        assert!(matches!(seen.turn(&candidate("a", "one"), now), Turn::Take(_)));
        assert!(matches!(seen.turn(&candidate("b", "two"), now), Turn::Yield { .. }));
    }
}
