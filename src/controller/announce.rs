//! Last step, second part: the event that tells a change of the status. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::{
    api::{
        ConditionType, Reason, RegistryConnectionStatus,
        condition::{self, reason_of},
        status::LastError,
    },
    problem::{MAX_MESSAGE, shortened},
};

/// An event to publish.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Announcement {
    /// Warning instead of Normal.
    pub is_warning: bool,
    /// The reason.
    pub reason: Reason,
    /// The text.
    pub note: String,
}

/// The event that tells a change of the status; none if nothing changed that is worth one.
///
/// Worth one is what a person would want to be told: that it got worse, and why; that it is good, or good in another way;
/// that it was suspended, and what is true once it goes on; and what came of an edit, even if that is as bad as before.
pub fn announcement(old: &RegistryConnectionStatus, new: &RegistryConnectionStatus) -> Option<Announcement> {
    let (was_suspended, is_suspended) = (old.suspended.unwrap_or(false), new.suspended.unwrap_or(false));
    if is_suspended && !was_suspended {
        return Some(Announcement {
            is_warning: false,
            reason: Reason::Suspended,
            note: "the connection is suspended: nothing is tested or written until it is resumed".into(),
        });
    }
    let is_resumed = was_suspended && !is_suspended;
    // What is in the way of a renewal was told before; that Pods cannot pull any more is worse.
    if let Some(ready) = expired(new).filter(|_| expired(old).is_none() && !is_told(new, Reason::Expired)) {
        let note = shortened(ready.message.clone(), MAX_MESSAGE);
        return Some(Announcement { is_warning: true, reason: Reason::Expired, note });
    }
    if let Some(error) = &new.last_error {
        let texts = [Some(error.message.as_str()), error.hint.as_deref()];
        let note = shortened(texts.into_iter().flatten().collect::<Vec<_>>().join("; "), MAX_MESSAGE);
        let is_lost = is_delivered(old) && !is_delivered(new);
        let is_news = is_resumed || is_lost || !is_known(error, old) || is_answer_to_an_edit(old, new);
        return is_news.then_some(Announcement { is_warning: true, reason: error.code, note });
    }
    let ready = good(new)?;
    let is_same = old.last_error.is_none()
        && good(old).is_some_and(|before| before.reason == ready.reason)
        && old.secret_name == new.secret_name
        && (old.credential == new.credential || (is_issued(old) && is_issued(new)));
    let reason = reason_of(ready).filter(|_| is_resumed || !is_same)?;
    Some(Announcement { is_warning: false, reason, note: ready.message.clone() })
}

/// True if a provider issued the credential. That it is renewed is the rule, and no news.
fn is_issued(status: &RegistryConnectionStatus) -> bool {
    status.credential.as_ref().is_some_and(|credential| credential.issued_at.is_some())
}

/// True if that very thing was already wrong.
fn is_known(error: &LastError, old: &RegistryConnectionStatus) -> bool {
    old.last_error.as_ref().is_some_and(|before| before.code == error.code)
}

/// The Ready condition, if Pods can pull with what is delivered. While a login is being replaced they still pull with the
/// one before, so there is nothing to tell until that is done.
fn good(status: &RegistryConnectionStatus) -> Option<&Condition> {
    let ready = condition::find(&status.conditions, ConditionType::Ready).filter(|ready| ready.status == "True");
    ready.filter(|_| is_delivered(status))
}

/// The Ready condition, if what is delivered has expired.
fn expired(status: &RegistryConnectionStatus) -> Option<&Condition> {
    condition::find(&status.conditions, ConditionType::Ready).filter(|ready| ready.reason == Reason::Expired.as_str())
}

/// True if this is what is wrong.
fn is_told(status: &RegistryConnectionStatus, reason: Reason) -> bool {
    status.last_error.as_ref().is_some_and(|error| error.code == reason)
}

fn is_delivered(status: &RegistryConnectionStatus) -> bool {
    condition::is_true(&status.conditions, ConditionType::Delivered)
}

/// True if the spec or what is read was changed, and what is wrong since is not told in the same words, or another login
/// is refused than before. Words alone are no news: a registry that is down may be so in two ways in turn.
fn is_answer_to_an_edit(old: &RegistryConnectionStatus, new: &RegistryConnectionStatus) -> bool {
    let is_about = |status: &RegistryConnectionStatus| (status.observed_generation, status.observed_inputs.clone());
    let message = |status: &RegistryConnectionStatus| status.last_error.as_ref().map(|error| error.message.clone());
    is_about(old) != is_about(new) && (message(old) != message(new) || refusal(old) != refusal(new))
}

/// Since when the login is refused; of the last test if that is not told.
fn refusal(status: &RegistryConnectionStatus) -> Option<&Time> {
    let test = status.last_test.as_ref().filter(|test| test.verdict == Reason::InvalidCredentials)?;
    Some(test.refused_since.as_ref().unwrap_or(&test.time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::status::{DeliveredCredential, LastTest},
        controller::{
            fixture::{connection, delivered, minutes_later, named, object, observed, standing},
            observe::Observed,
            policy::Delivery,
            report::{Outcome, status, suspended_status},
            sighting::SecretState,
        },
        problem::Problem,
    };

    /// A status as `report` makes it after a pass over `before`.
    fn after(before: &Observed, outcome: &Outcome) -> RegistryConnectionStatus {
        status(before, Some(&connection(&before.object)), outcome, minutes_later(1))
    }

    fn told(reason: Option<Reason>, delivery: Delivery) -> RegistryConnectionStatus {
        let outcome = Outcome::unchanged(reason.map(|reason| Problem::new(reason, "why")), standing(delivery));
        after(&observed(delivered(|_| {})), &outcome)
    }

    fn good() -> RegistryConnectionStatus {
        told(None, Delivery::Current)
    }

    /// Refused for the first time some minutes after creation, and for the last time at another one.
    fn refused(since: i64, last: i64, resource_version: &str) -> RegistryConnectionStatus {
        let mut status = told(Some(Reason::InvalidCredentials), Delivery::Current);
        status.observed_inputs[0].resource_version = resource_version.into();
        status.last_test = Some(LastTest {
            time: Time(minutes_later(last)),
            verdict: Reason::InvalidCredentials,
            refused_since: Some(Time(minutes_later(since))),
            repositories: vec![],
            control: None,
        });
        status
    }

    fn suspended(mut before: RegistryConnectionStatus, generation: i64) -> RegistryConnectionStatus {
        before.observed_generation = Some(generation - 1);
        let mut observed = observed(delivered(|object| object["metadata"]["generation"] = generation.into()));
        observed.recorded(before);
        suspended_status(&observed, minutes_later(2))
    }

    fn with(
        mut status: RegistryConnectionStatus,
        change: impl FnOnce(&mut RegistryConnectionStatus),
    ) -> RegistryConnectionStatus {
        change(&mut status);
        status
    }

    #[test]
    fn events_tell_transitions_only() {
        use Reason as R;
        let (normal, warning) = (|reason| Some((false, reason)), |reason| Some((true, reason)));
        let fresh = observed(object(|_| {})).status;
        let unreachable = || told(Some(R::Unreachable), Delivery::Current);
        let conflict = || told(None, Delivery::Impossible(Problem::new(R::TargetConflict, "taken")));
        let replacing = {
            let before = observed(delivered(|_| {}));
            let outcome = Outcome::unchanged(None, standing(Delivery::Outstanding));
            after(&before, &Outcome { credential: Some(named("r2")), ..outcome })
        };
        let replaced = with(good(), |status| status.credential = Some(named("r2")));
        let invalid = |generation, message: &str| {
            with(told(Some(R::InvalidSpec), Delivery::Current), |status| {
                status.observed_generation = Some(generation);
                status.last_error.as_mut().unwrap().message = message.into();
            })
        };
        let retested = with(good(), |status| {
            status.last_test.as_mut().unwrap().time = Time(minutes_later(30));
            status.last_refresh_at = Some(Time(minutes_later(30)));
            status.next_refresh_at = Some(Time(minutes_later(60)));
        });
        let other_words = with(unreachable(), |status| status.last_error.as_mut().unwrap().message = "else".into());
        let asleep = {
            let mut new = observed(object(|_| {}));
            new.targets.learn("shop", SecretState::Absent);
            suspended_status(&new, minutes_later(1))
        };
        let untested = with(good(), |status| {
            status.last_test.as_mut().unwrap().verdict = R::NotTested;
            status.next_refresh_at = None;
        });
        let issued = |minutes| {
            with(good(), |status| {
                let credential = named(&format!("r{minutes}"));
                status.credential =
                    Some(DeliveredCredential { issued_at: Some(Time(minutes_later(minutes))), ..credential });
            })
        };
        let expired = with(unreachable(), |status| {
            let ready = status.conditions.iter_mut().find(|one| one.type_ == "Ready").unwrap();
            (ready.status, ready.reason) = ("False".into(), R::Expired.to_string());
        });
        for (name, old, new, expected) in [
            ("an issued credential is renewed", &issued(1), &issued(2), None),
            ("one is issued in the place of a given one", &good(), &issued(1), normal(R::LoginProven)),
            ("it expires while nothing can be issued", &unreachable(), &expired, warning(R::Expired)),
            ("nothing can be issued yet", &expired, &expired, None),
            ("first delivery", &fresh, &good(), normal(R::LoginProven)),
            ("under way for the first time", &fresh, &told(None, Delivery::Outstanding), None),
            ("nothing changed", &good(), &good(), None),
            ("a refresh", &good(), &retested, None),
            ("refused", &good(), &refused(1, 1, "2"), warning(R::InvalidCredentials)),
            ("refused again after half an hour", &refused(1, 1, "2"), &refused(1, 31, "2"), None),
            ("the same login in a touched Secret", &refused(1, 1, "2"), &refused(1, 31, "3"), None),
            ("another wrong password", &refused(1, 1, "2"), &refused(5, 5, "3"), warning(R::InvalidCredentials)),
            ("repaired", &refused(1, 1, "2"), &good(), normal(R::LoginProven)),
            (
                "refused, and the Secret is lost",
                &refused(1, 1, "2"),
                &with(refused(1, 1, "2"), |status| {
                    status.conditions = told(Some(R::InvalidCredentials), Delivery::Outstanding).conditions;
                }),
                warning(R::InvalidCredentials),
            ),
            ("an outage", &good(), &unreachable(), warning(R::Unreachable)),
            ("an outage that looks otherwise", &unreachable(), &other_words, None),
            (
                "an outage of another kind",
                &unreachable(),
                &told(Some(R::TlsFailed), Delivery::Current),
                warning(R::TlsFailed),
            ),
            ("the end of an outage", &unreachable(), &good(), normal(R::LoginProven)),
            ("a conflict", &good(), &conflict(), warning(R::TargetConflict)),
            ("the conflict goes on", &conflict(), &conflict(), None),
            ("one wrong field, then another", &invalid(2, "a"), &invalid(3, "b"), warning(R::InvalidSpec)),
            ("another edit, the same wrong field", &invalid(2, "a"), &invalid(3, "a"), None),
            ("a login is being replaced", &good(), &replacing, None),
            ("a login was replaced", &replacing, &replaced, normal(R::LoginProven)),
            (
                "proven in another way",
                &good(),
                &with(good(), |status| status.conditions[0].reason = R::RepositoriesProven.to_string()),
                normal(R::RepositoriesProven),
            ),
            (
                "under another name",
                &good(),
                &with(good(), |status| status.secret_name = Some("other".into())),
                normal(R::LoginProven),
            ),
            ("suspended from the start", &fresh, &asleep, normal(R::Suspended)),
            ("resumed after that", &asleep, &good(), normal(R::LoginProven)),
            ("suspended", &good(), &suspended(good(), 2), normal(R::Suspended)),
            ("suspended while refused", &refused(1, 1, "2"), &suspended(refused(1, 1, "2"), 2), normal(R::Suspended)),
            ("edited while suspended", &suspended(good(), 2), &suspended(suspended(good(), 2), 3), None),
            ("resumed", &suspended(good(), 2), &good(), normal(R::LoginProven)),
            ("resumed, never tested", &suspended(untested.clone(), 2), &untested, normal(R::LoginProven)),
            (
                "resumed, still refused",
                &suspended(refused(1, 1, "2"), 2),
                &refused(1, 1, "2"),
                warning(R::InvalidCredentials),
            ),
        ] {
            let event = announcement(old, new).map(|event| (event.is_warning, event.reason));
            assert_eq!(event, expected, "{name}");
        }
    }

    #[test]
    fn the_longest_event_fits_into_one() {
        let long = "ü".repeat(5000);
        let problem = Problem::new(Reason::SecretMalformed, long.clone()).hint(long);
        let outcome = Outcome::unchanged(Some(problem), standing(Delivery::Current));
        let status = after(&observed(delivered(|_| {})), &outcome);
        let event = announcement(&RegistryConnectionStatus::default(), &status).unwrap();
        assert!(event.note.len() <= 1024, "{}", event.note.len());
    }
}
