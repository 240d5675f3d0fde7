//! Last step, second part: the event that tells a change of the status. Pure.

use crate::{
    api::{
        ConditionType, Reason, RegistryConnectionStatus,
        condition::{self, reason_of},
    },
    problem::{MAX_MESSAGE, shortened},
};

/// An event to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Warning instead of Normal.
    pub is_warning: bool,
    /// The reason.
    pub reason: Reason,
    /// The text.
    pub note: String,
}

/// The event that tells a change of the status; none if nothing changed that is worth one.
pub fn announcement(
    old: &RegistryConnectionStatus,
    new: &RegistryConnectionStatus,
    is_suspended: bool,
) -> Option<Announcement> {
    if is_suspended {
        return (!looks_suspended(old)).then(|| Announcement {
            is_warning: false,
            reason: Reason::Suspended,
            note: "the connection is suspended: nothing is tested or written until it is resumed".into(),
        });
    }
    if let Some(error) = &new.last_error {
        let is_known = old.last_error.as_ref().is_some_and(|before| before.code == error.code);
        let texts = [Some(error.message.as_str()), error.hint.as_deref()];
        let note = shortened(texts.into_iter().flatten().collect::<Vec<_>>().join("; "), MAX_MESSAGE);
        return (!is_known).then_some(Announcement { is_warning: true, reason: error.code, note });
    }
    let ready = condition::find(&new.conditions, ConditionType::Ready).filter(|ready| ready.status == "True")?;
    let was_good = condition::is_true(&old.conditions, ConditionType::Ready) && old.last_error.is_none();
    let is_same = was_good && old.credential == new.credential && !looks_suspended(old);
    let reason = reason_of(ready).filter(|_| !is_same)?;
    Some(Announcement { is_warning: false, reason, note: ready.message.clone() })
}

/// A status that a suspended connection has: tested once or said so, and with no refresh ahead although there should be one.
fn looks_suspended(status: &RegistryConnectionStatus) -> bool {
    let ready = condition::find(&status.conditions, ConditionType::Ready);
    let is_refreshed = status.last_test.as_ref().is_some_and(|test| test.verdict != Reason::NotTested);
    ready.and_then(reason_of) == Some(Reason::Suspended) || (is_refreshed && status.next_refresh_at.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        controller::{
            fixture::{connection, delivered, minutes_later, object, observed},
            observe::Observed,
            policy::Delivery,
            report::{Outcome, status},
        },
        problem::Problem,
    };

    fn unchanged(problem: Option<Reason>, delivery: Delivery) -> Outcome {
        Outcome::unchanged(problem.map(|reason| Problem::new(reason, "why")), delivery)
    }

    fn after(observed: &Observed, outcome: &Outcome, minutes: i64) -> RegistryConnectionStatus {
        status(observed, Some(&connection(&observed.object)), outcome, minutes_later(minutes))
    }

    fn settled(outcome: &Outcome) -> Observed {
        let mut observed = observed(delivered(|_| {}));
        let status = after(&observed, outcome, 0);
        observed.recorded(status);
        observed
    }

    #[test]
    fn the_longest_event_fits_into_one() {
        let long = "ü".repeat(5000);
        let problem = Problem::new(Reason::SecretMalformed, long.clone()).hint(long);
        let status = after(&observed(delivered(|_| {})), &Outcome::unchanged(Some(problem), Delivery::Current), 1);
        let event = announcement(&RegistryConnectionStatus::default(), &status, false).unwrap();
        assert!(event.note.len() <= 1024, "{}", event.note.len());
    }

    #[test]
    fn events_tell_transitions_only() {
        let fresh = observed(object(|_| {}));
        let good = settled(&unchanged(None, Delivery::Current)).status;
        let refused = settled(&unchanged(Some(Reason::InvalidCredentials), Delivery::Current)).status;
        let reason = |old: &RegistryConnectionStatus, new: &RegistryConnectionStatus| {
            announcement(old, new, false).map(|event| (event.is_warning, event.reason))
        };
        assert_eq!(reason(&fresh.status, &good), Some((false, Reason::LoginProven)));
        assert_eq!(reason(&good, &refused), Some((true, Reason::InvalidCredentials)));
        assert_eq!(reason(&refused, &refused), None);
        assert_eq!(reason(&refused, &good), Some((false, Reason::LoginProven)));
        assert_eq!(reason(&good, &good), None);
    }
}
