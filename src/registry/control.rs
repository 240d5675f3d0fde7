//! Whether a registry lets in anybody who sends any login. Found out with a login that cannot be right, which is a failed
//! login to whoever counts them: so it is sent at most once a day to each host, and never to hosts known to check.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::OwnedMutexGuard;

use crate::domain::credential::{Credential, InvalidCredential};

/// How long a finding holds.
const HOLDS: SignedDuration = SignedDuration::from_hours(24);

/// How many hosts are remembered before old findings are dropped.
const MANY: usize = 1024;

/// What was found of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Habit {
    /// It refuses wrong logins.
    pub checks_logins: bool,
    /// When that was found.
    found_at: Timestamp,
}

type Entry = Arc<tokio::sync::Mutex<Option<Habit>>>;

/// The habits of all hosts, kept for a day.
#[derive(Default)]
pub struct Habits(Mutex<HashMap<String, Entry>>);

/// The sole right to find out the habit of a host. Dropping it leaves the finding to the next.
pub(super) struct Turn {
    entry: OwnedMutexGuard<Option<Habit>>,
    now: Timestamp,
}

/// What is known of a host.
pub(super) enum Knowledge {
    /// This.
    Known(bool),
    /// Nothing yet, or nothing any more; nobody else is finding it out.
    Unknown(Turn),
}

impl Habits {
    /// What is known of a place, by any name that tells it from others. Waits while another test finds it out.
    ///
    /// `recorded` is what an earlier process found; it counts until this one has found something itself.
    pub(super) async fn of(&self, place: &str, recorded: Option<bool>, now: Timestamp) -> Knowledge {
        let entry = {
            let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if places.len() >= MANY {
                places.retain(|_, entry| {
                    entry.try_lock().map_or(true, |habit| habit.is_some_and(|habit| !habit.is_over(now)))
                });
            }
            Arc::clone(places.entry(place.to_owned()).or_default())
        };
        let mut entry = entry.lock_owned().await;
        if let (None, Some(checks_logins)) = (&*entry, recorded) {
            *entry = Some(Habit { checks_logins, found_at: now });
        }
        match &*entry {
            Some(habit) if !habit.is_over(now) => Knowledge::Known(habit.checks_logins),
            Some(_) | None => Knowledge::Unknown(Turn { entry, now }),
        }
    }
}

impl Habit {
    fn is_over(self, now: Timestamp) -> bool {
        now.duration_since(self.found_at).abs() >= HOLDS
    }
}

impl Turn {
    /// Remembers what was found.
    pub(super) fn found(mut self, checks_logins: bool) {
        *self.entry = Some(Habit { checks_logins, found_at: self.now });
    }
}

/// A login that nobody has.
///
/// # Errors
/// None: its parts are letters and digits.
pub(super) fn nobody() -> Result<Credential, InvalidCredential> {
    let random = || format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
    Credential::new(format!("regcred-control-{}", random()), random())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(hours * 3600).unwrap()
    }

    async fn known(habits: &Habits, recorded: Option<bool>, now: Timestamp) -> Option<bool> {
        match habits.of("r.example", recorded, now).await {
            Knowledge::Known(checks) => Some(checks),
            Knowledge::Unknown(_) => None,
        }
    }

    #[tokio::test]
    async fn a_finding_holds_for_a_day() {
        let habits = Habits::default();
        let Knowledge::Unknown(turn) = habits.of("r.example", None, at(0)).await else { panic!("known") };
        turn.found(false);
        assert_eq!(known(&habits, None, at(23)).await, Some(false));
        assert_eq!(known(&habits, None, at(24)).await, None);
        assert_eq!(known(&habits, Some(true), at(24)).await, None, "a record does not outlive what was found here");
    }

    #[tokio::test]
    async fn what_an_earlier_process_found_counts_for_a_day() {
        let habits = Habits::default();
        assert_eq!(known(&habits, Some(true), at(0)).await, Some(true));
        assert_eq!(known(&habits, None, at(23)).await, Some(true));
        assert_eq!(known(&habits, Some(true), at(25)).await, None);
    }

    #[tokio::test]
    async fn only_one_finds_out_and_the_others_wait() {
        let habits = Habits::default();
        let Knowledge::Unknown(turn) = habits.of("r.example", None, at(0)).await else { panic!("known") };
        let (found, ()) = tokio::join!(known(&habits, None, at(0)), async { turn.found(true) });
        assert_eq!(found, Some(true));
    }

    #[tokio::test]
    async fn a_turn_that_was_dropped_is_taken_by_the_next() {
        let habits = Habits::default();
        drop(habits.of("r.example", None, at(0)).await);
        assert_eq!(known(&habits, None, at(0)).await, None);
    }

    #[test]
    fn nobody_is_a_different_one_each_time() {
        let (first, second) = (nobody().unwrap(), nobody().unwrap());
        assert_ne!(first.username(), second.username());
    }
}
