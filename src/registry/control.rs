//! Whether a registry lets in anybody who sends any login. Found out with a login that cannot be right, which is a failed
//! login to whoever counts them: so it is sent at most once a day to each door, and never to hosts known to check.
//!
//! A door is a registry together with the way it wants to be asked: what was found of one says nothing of another.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::OwnedMutexGuard;

use crate::domain::credential::{Credential, InvalidCredential};

/// How long a finding holds.
const HOLDS: SignedDuration = SignedDuration::from_hours(24);

/// How many doors are remembered before old findings are dropped.
const MANY: usize = 1024;

/// What was found of a door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which registry, and which way in.
    pub door: String,
    /// It refuses a login that cannot be right. Also false where the answer to one said nothing.
    pub checks_logins: bool,
    /// When that was found.
    pub found_at: Timestamp,
}

type Entry = Arc<tokio::sync::Mutex<Option<Finding>>>;

/// The findings of all doors, kept for a day.
#[derive(Default)]
pub struct Habits(Mutex<HashMap<String, Entry>>);

/// The sole right to find something out about a door. Dropping it leaves that to the next, unless a login was sent.
pub(super) struct Turn {
    entry: OwnedMutexGuard<Option<Finding>>,
    door: String,
    now: Timestamp,
}

/// What is known of a door.
pub(super) enum Knowledge {
    /// This.
    Known(Finding),
    /// Nothing yet, or nothing any more; nobody else is finding it out.
    Unknown(Turn),
}

impl Habits {
    /// What is known of a door. Waits while another test finds it out.
    ///
    /// `recorded` is what an earlier process found. It counts for the same door, for the rest of its day, and until this
    /// process has found something itself.
    pub(super) async fn of(&self, door: &str, recorded: Option<&Finding>, now: Timestamp) -> Knowledge {
        let entry = {
            let mut doors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if doors.len() >= MANY {
                doors.retain(|_, entry| {
                    entry.try_lock().map_or(true, |found| found.as_ref().is_some_and(|found| !found.is_over(now)))
                });
            }
            Arc::clone(doors.entry(door.to_owned()).or_default())
        };
        let mut entry = entry.lock_owned().await;
        if entry.is_none() {
            *entry = recorded.filter(|recorded| recorded.door == door).cloned();
        }
        match &*entry {
            Some(finding) if !finding.is_over(now) => Knowledge::Known(finding.clone()),
            Some(_) | None => Knowledge::Unknown(Turn { entry, door: door.to_owned(), now }),
        }
    }
}

impl Finding {
    fn is_over(&self, now: Timestamp) -> bool {
        now.duration_since(self.found_at).abs() >= HOLDS
    }
}

impl Turn {
    /// Remembers what was found.
    pub(super) fn found(&mut self, checks_logins: bool) -> Finding {
        let finding = Finding { door: self.door.clone(), checks_logins, found_at: self.now };
        *self.entry = Some(finding.clone());
        finding
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

    fn recorded(door: &str, hours: i64) -> Finding {
        Finding { door: door.into(), checks_logins: true, found_at: at(hours) }
    }

    async fn known(habits: &Habits, recorded: Option<&Finding>, now: Timestamp) -> Option<bool> {
        match habits.of("a", recorded, now).await {
            Knowledge::Known(finding) => Some(finding.checks_logins),
            Knowledge::Unknown(_) => None,
        }
    }

    #[tokio::test]
    async fn a_finding_holds_for_a_day() {
        let habits = Habits::default();
        let Knowledge::Unknown(mut turn) = habits.of("a", None, at(0)).await else { panic!("known") };
        turn.found(false);
        drop(turn);
        assert_eq!(known(&habits, None, at(23)).await, Some(false));
        assert_eq!(known(&habits, None, at(24)).await, None);
        assert_eq!(known(&habits, Some(&recorded("a", 24)), at(24)).await, None, "nor does a record take its place");
    }

    #[tokio::test]
    async fn what_an_earlier_process_found_counts_for_the_rest_of_its_day_and_for_its_door() {
        let habits = Habits::default();
        assert_eq!(known(&habits, Some(&recorded("b", 0)), at(0)).await, None);
        assert_eq!(known(&habits, Some(&recorded("a", 0)), at(20)).await, Some(true));
        assert_eq!(known(&habits, None, at(23)).await, Some(true));
        assert_eq!(known(&habits, Some(&recorded("a", 23)), at(24)).await, None);
    }

    #[tokio::test]
    async fn only_one_finds_out_and_the_others_wait() {
        let habits = Habits::default();
        let Knowledge::Unknown(mut turn) = habits.of("a", None, at(0)).await else { panic!("known") };
        let (found, ()) = tokio::join!(known(&habits, None, at(0)), async {
            turn.found(true);
            drop(turn);
        });
        assert_eq!(found, Some(true));
    }

    #[tokio::test]
    async fn a_turn_that_was_dropped_is_taken_by_the_next() {
        let habits = Habits::default();
        drop(habits.of("a", None, at(0)).await);
        assert_eq!(known(&habits, None, at(0)).await, None);
    }

    #[test]
    fn nobody_is_a_different_one_each_time() {
        let (first, second) = (nobody().unwrap(), nobody().unwrap());
        assert_ne!(first.username(), second.username());
    }
}
