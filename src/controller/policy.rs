//! The one table from what is known to conditions, and from what went wrong to the next try. Pure.
//!
//! The rows of [`conditions`] stand in the order of [`super::situation::SITUATIONS`], which the reference page prints; the
//! first that fits wins.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::{
        ConditionType, Reason,
        condition::{ConditionStatus, Desired},
        reason::Class,
    },
    problem::{Problem, shortened},
};

/// After this time something missing counts as not coming by itself.
pub const MISSING_BECOMES_STALLED: SignedDuration = SignedDuration::from_mins(5);

/// The longest message of a condition, in bytes: four of them and an error must fit into a status of 4 KiB.
const MAX_CONDITION_MESSAGE: usize = 256;

/// The first, and the shortest, pause before something is tried again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause before something is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The longest pause where trying soon would be of no use.
const SLOW: Duration = Duration::from_secs(300);

/// What is true of a connection after a pass.
pub struct Facts<'a> {
    /// What keeps the credential from being known good: of the spec, the source or the test.
    pub problem: Option<&'a Problem>,
    /// When the delivered credential expired, if it did.
    pub expired: Option<Timestamp>,
    /// The last definite verdict.
    pub verdict: Option<Reason>,
    /// How the target stands.
    pub delivery: &'a Delivery,
    /// The registry's host and the Secret's name, for messages.
    pub subject: (&'a str, &'a str),
    /// Of a cluster's connection: in how many namespaces the Secret holds the credential, and in how many it should.
    pub places: Option<(i32, i32)>,
    /// Something missing has been missing for longer than [`MISSING_BECOMES_STALLED`].
    pub missing_for_long: bool,
    /// The Ready condition as it was for this very spec.
    pub ready_before: Option<Desired>,
}

/// How the target stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It holds the current credential.
    Current,
    /// It is not there or not current.
    Outstanding,
    /// It cannot be written in single namespaces, mostly for this cause; in the others it holds the current credential.
    Partial(Problem),
    /// It cannot be written.
    Impossible(Problem),
}

/// The conditions that tell the facts.
pub fn conditions(facts: &Facts<'_>) -> Vec<Desired> {
    let Facts { problem, expired, verdict, delivery, subject: (host, secret), places, missing_for_long, ready_before } =
        facts;
    let is_delivered = matches!(delivery, Delivery::Current | Delivery::Partial(_));
    let secret = match places {
        None => format!("Secret {secret}"),
        Some((current, desired)) => format!("Secret {secret} in {current} of {desired} namespaces"),
    };
    let delivered = |otherwise: (Reason, String)| match (delivery, otherwise) {
        (Delivery::Current, _) if matches!(places, Some((_, 0))) => {
            let text = format!("{}: no namespace that exists is selected", Reason::SelectsNothing);
            desired(ConditionType::Delivered, True, Reason::SelectsNothing, text)
        }
        (Delivery::Current, _) => {
            desired(ConditionType::Delivered, True, Reason::Delivered, format!("{secret} holds the credential"))
        }
        (Delivery::Partial(problem), _) => {
            let text = format!("{secret} holds the credential; {}", problem.message);
            desired(ConditionType::Delivered, False, problem.reason, text)
        }
        (Delivery::Impossible(problem), _) => {
            desired(ConditionType::Delivered, False, problem.reason, problem.message.clone())
        }
        (Delivery::Outstanding, (reason, message)) => desired(ConditionType::Delivered, False, reason, message),
    };
    let not_delivered = |problem: &Problem| {
        (problem.reason, format!("{secret} does not hold a credential that may be delivered: {}", problem.message))
    };
    let all = |ready: (ConditionStatus, Reason, &str),
               valid: (ConditionStatus, Reason, &str),
               delivered: Desired,
               progress: Option<ConditionType>| {
        let mut conditions = vec![
            desired(ConditionType::Ready, ready.0, ready.1, ready.2.to_owned()),
            desired(ConditionType::CredentialsValid, valid.0, valid.1, valid.2.to_owned()),
            delivered,
        ];
        // What is in the way, which need not be what Ready tells first.
        let (reason, message) = problem.map_or((ready.1, ready.2), |problem| (problem.reason, &problem.message));
        conditions.extend(progress.map(|kind| desired(kind, True, reason, message.to_owned())));
        conditions
    };
    use ConditionStatus::{False, True, Unknown};

    if let Some(problem) = problem {
        let (reason, message) = (problem.reason, problem.message.as_str());
        let delivered = delivered(not_delivered(problem));
        let bad = (False, reason, message);
        let waits = if *missing_for_long { ConditionType::Stalled } else { ConditionType::Reconciling };
        if reason == Reason::Expired {
            return all(bad, bad, delivered, Some(ConditionType::Stalled));
        }
        if let Some(end) = expired {
            let text = format!("{}; {message}", self::expired(&secret, *end).message);
            let bad = (False, Reason::Expired, text.as_str());
            match reason.class() {
                _ if problem.is_of_a_repository() => return all(bad, bad, delivered, Some(waits)),
                Class::Missing => return all(bad, bad, delivered, Some(waits)),
                Class::Wait => return all(bad, bad, delivered, Some(ConditionType::Reconciling)),
                Class::UsersTurn if reason == Reason::InvalidCredentials => {
                    return all(bad, bad, delivered, Some(ConditionType::Stalled));
                }
                // Whose turn it is comes first.
                Class::UsersTurn | Class::Ours | Class::Good | Class::UnderWay => {}
            }
        }
        return match reason.class() {
            _ if problem.is_of_a_repository() => {
                let valid = valid(*verdict, host);
                all(bad, (valid.0, valid.1, &valid.2), delivered, Some(waits))
            }
            Class::UsersTurn if reason == Reason::InvalidCredentials => {
                all(bad, bad, delivered, Some(ConditionType::Stalled))
            }
            Class::UsersTurn | Class::Ours | Class::Good | Class::UnderWay => {
                all(bad, (Unknown, reason, message), delivered, Some(ConditionType::Stalled))
            }
            Class::Missing => all(bad, (Unknown, reason, message), delivered, Some(waits)),
            Class::Wait if is_delivered && verdict.is_some_and(is_worth_keeping) => {
                let proof = verdict.unwrap_or(Reason::Unverified);
                let text = format!(
                    "{secret} holds the credential that {host} accepted last; it could not be tested again now"
                );
                all((True, proof, &text), (Unknown, reason, message), delivered, None)
            }
            Class::Wait => all(bad, (Unknown, reason, message), delivered, Some(ConditionType::Reconciling)),
        };
    }
    let valid = valid(*verdict, host);
    let valid = (valid.0, valid.1, valid.2.as_str());
    match delivery {
        Delivery::Impossible(problem) => {
            let delivered = delivered(not_delivered(problem));
            all((False, problem.reason, &problem.message), valid, delivered, Some(ConditionType::Stalled))
        }
        Delivery::Outstanding => {
            let text = "the credential is being delivered";
            let delivered = delivered((Reason::Progressing, text.to_owned()));
            match ready_before.as_ref().filter(|ready| ready.status == True) {
                // A working credential is being replaced: Pods can pull all the while. Flux's rules allow no Reconciling
                // beside a true Ready.
                Some(ready) => all((True, ready.reason, &ready.message), valid, delivered, None),
                None => all((False, Reason::Progressing, text), valid, delivered, Some(ConditionType::Reconciling)),
            }
        }
        Delivery::Current | Delivery::Partial(_) => {
            let text = match places {
                Some((_, 0)) => format!("{}: no namespace that exists is selected", Reason::SelectsNothing),
                Some(_) | None => format!("{secret} holds a login for {host}"),
            };
            let proof = verdict.unwrap_or(Reason::Unverified);
            let delivered = delivered((Reason::Delivered, String::new()));
            all((True, proof, &text), valid, delivered, None)
        }
    }
}

/// The problem of a delivered credential whose end has come; `secret` is the Secret in words.
pub fn expired(secret: &str, end: Timestamp) -> Problem {
    Problem::new(Reason::Expired, format!("the credential in {secret} expired at {end}")).hint(Reason::Expired.fix())
}

/// The conditions of a suspended connection whose delivered credential expired.
pub fn expired_conditions(
    problem: &Problem,
    delivery: &Delivery,
    secret: &str,
    places: Option<(i32, i32)>,
) -> Vec<Desired> {
    conditions(&Facts {
        problem: Some(problem),
        expired: None,
        verdict: None,
        delivery,
        subject: ("", secret),
        places,
        missing_for_long: false,
        ready_before: None,
    })
}

/// Whether a credential with this verdict is one that Pods can pull with as far as is known. One that was delivered
/// untested is not, once it is to be tested.
fn is_worth_keeping(verdict: Reason) -> bool {
    matches!(verdict, Reason::LoginProven | Reason::RepositoriesProven | Reason::Unverified)
}

/// What is known of the login itself.
fn valid(verdict: Option<Reason>, host: &str) -> (ConditionStatus, Reason, String) {
    use ConditionStatus::{True, Unknown};
    match verdict {
        Some(Reason::Unverified) => {
            (Unknown, Reason::Unverified, format!("{host} lets in any login, so this one cannot be proven"))
        }
        Some(Reason::NotTested) => {
            (Unknown, Reason::NotTested, "spec.test.mode is Off, so the login was not tested".to_owned())
        }
        Some(Reason::RepositoriesProven) => (
            True,
            Reason::RepositoriesProven,
            format!("{host} let the login read a repository that not everybody can read"),
        ),
        Some(reason) => (True, reason, format!("{host} accepted the login")),
        None => (Unknown, Reason::Progressing, "the login was not tested yet".to_owned()),
    }
}

/// The conditions of a connection that was suspended before its first pass.
pub fn suspended_conditions() -> Vec<Desired> {
    let text = "the connection is suspended: nothing is tested or written";
    [
        (ConditionType::Ready, ConditionStatus::False),
        (ConditionType::CredentialsValid, ConditionStatus::Unknown),
        (ConditionType::Delivered, ConditionStatus::False),
    ]
    .map(|(kind, status)| desired(kind, status, Reason::Suspended, text.to_owned()))
    .to_vec()
}

pub(super) fn desired(kind: ConditionType, status: ConditionStatus, reason: Reason, message: String) -> Desired {
    Desired { kind, status, reason, message: shortened(message, MAX_CONDITION_MESSAGE) }
}

/// The pause before a problem is worth another try; none if only a change can mend it, which a watch will show.
///
/// `jitter` is a random number in 0..1.
pub fn retry(problem: &Problem, count: u32, jitter: f64) -> Option<Duration> {
    let slowly = SLOW.mul_f64(0.5 + jitter / 2.0);
    match problem.reason.class() {
        Class::Wait => {
            let pause = backoff(count, jitter);
            Some(problem.retry_after.map_or(pause, |asked| asked + pause.min(asked)))
        }
        // Rights, policies and name resolution change without a sign that a watch could show.
        Class::Ours => Some(slowly),
        Class::UsersTurn if matches!(problem.reason, Reason::AddressNotAllowed | Reason::TokenServerNotTrusted) => {
            Some(slowly)
        }
        Class::Good | Class::UnderWay | Class::Missing | Class::UsersTurn => None,
    }
}

/// The pause before try number `count`, spread over its whole length, so that many who failed together do not come back
/// together.
pub fn backoff(count: u32, jitter: f64) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << count.min(16)).min(LONGEST_PAUSE).mul_f64(jitter).max(FIRST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ConditionStatus::{False, True, Unknown};

    fn tell(
        problem: Option<Reason>,
        verdict: Option<Reason>,
        delivery: Delivery,
        long: bool,
        was_ready: bool,
    ) -> Vec<Desired> {
        let problem = problem.map(|reason| Problem::new(reason, "why"));
        conditions(&Facts {
            problem: problem.as_ref(),
            expired: None,
            verdict,
            delivery: &delivery,
            subject: ("r.example", "images"),
            places: None,
            missing_for_long: long,
            ready_before: was_ready.then(|| desired(ConditionType::Ready, True, Reason::LoginProven, "good".into())),
        })
    }

    type Row = (ConditionStatus, Reason, ConditionStatus, ConditionStatus, Option<ConditionType>);

    fn row(conditions: &[Desired]) -> Row {
        let get = |kind| conditions.iter().find(|condition| condition.kind == kind);
        let ready = get(ConditionType::Ready).unwrap();
        let progress: Vec<_> = [ConditionType::Reconciling, ConditionType::Stalled]
            .into_iter()
            .filter(|kind| get(*kind).is_some())
            .collect();
        assert!(progress.len() <= 1, "Reconciling and Stalled are never both present");
        assert!(conditions.iter().all(|condition| !condition.message.is_empty()));
        (
            ready.status,
            ready.reason,
            get(ConditionType::CredentialsValid).unwrap().status,
            get(ConditionType::Delivered).unwrap().status,
            progress.first().copied(),
        )
    }

    #[test]
    fn every_row_of_the_table() {
        use ConditionType::{Reconciling, Stalled};
        use Reason as R;
        let (current, outstanding) = (|| Delivery::Current, || Delivery::Outstanding);
        let conflict = || Delivery::Impossible(Problem::new(R::TargetConflict, "taken"));
        let good = Some(R::LoginProven);
        for (name, told, expected) in [
            (
                "wrong spec",
                tell(Some(R::InvalidSpec), None, outstanding(), false, false),
                (False, R::InvalidSpec, Unknown, False, Some(Stalled)),
            ),
            (
                "malformed source beside a delivered credential",
                tell(Some(R::SecretMalformed), good, current(), false, true),
                (False, R::SecretMalformed, Unknown, True, Some(Stalled)),
            ),
            (
                "our rights",
                tell(Some(R::Forbidden), good, current(), false, true),
                (False, R::Forbidden, Unknown, True, Some(Stalled)),
            ),
            (
                "refused, nothing delivered",
                tell(Some(R::InvalidCredentials), Some(R::InvalidCredentials), outstanding(), false, false),
                (False, R::InvalidCredentials, False, False, Some(Stalled)),
            ),
            (
                "refused, the last good one delivered",
                tell(Some(R::InvalidCredentials), Some(R::InvalidCredentials), current(), false, true),
                (False, R::InvalidCredentials, False, True, Some(Stalled)),
            ),
            (
                "missing",
                tell(Some(R::SecretNotFound), None, outstanding(), false, false),
                (False, R::SecretNotFound, Unknown, False, Some(Reconciling)),
            ),
            (
                "missing for long",
                tell(Some(R::SecretNotFound), good, current(), true, true),
                (False, R::SecretNotFound, Unknown, True, Some(Stalled)),
            ),
            (
                "waiting, nothing delivered",
                tell(Some(R::Unreachable), None, outstanding(), false, false),
                (False, R::Unreachable, Unknown, False, Some(Reconciling)),
            ),
            (
                "waiting, a working one delivered",
                tell(Some(R::Unreachable), good, current(), false, true),
                (True, R::LoginProven, Unknown, True, None),
            ),
            (
                "waiting, one that was delivered untested",
                tell(Some(R::Unreachable), Some(R::NotTested), current(), false, true),
                (False, R::Unreachable, Unknown, True, Some(Reconciling)),
            ),
            (
                "waiting, one that cannot be proven",
                tell(Some(R::Unreachable), Some(R::Unverified), current(), false, true),
                (True, R::Unverified, Unknown, True, None),
            ),
            (
                "waiting after a refusal, an older one delivered",
                tell(Some(R::Unreachable), Some(R::InvalidCredentials), current(), false, false),
                (False, R::Unreachable, Unknown, True, Some(Reconciling)),
            ),
            (
                "a repository fails",
                tell(Some(R::InsufficientScope), good, current(), false, true),
                (False, R::InsufficientScope, True, True, Some(Reconciling)),
            ),
            (
                "a repository fails for long, nothing delivered",
                tell(Some(R::RepositoryNotFound), good, outstanding(), true, false),
                (False, R::RepositoryNotFound, True, False, Some(Stalled)),
            ),
            (
                "not tested, as the spec says",
                tell(None, Some(R::NotTested), current(), false, false),
                (True, R::NotTested, Unknown, True, None),
            ),
            (
                "the token server is not trusted",
                tell(Some(R::TokenServerNotTrusted), good, current(), false, true),
                (False, R::TokenServerNotTrusted, Unknown, True, Some(Stalled)),
            ),
            (
                "conflict",
                tell(None, good, conflict(), false, false),
                (False, R::TargetConflict, True, False, Some(Stalled)),
            ),
            (
                "first delivery under way",
                tell(None, good, outstanding(), false, false),
                (False, R::Progressing, True, False, Some(Reconciling)),
            ),
            (
                "a working one is being replaced",
                tell(None, good, outstanding(), false, true),
                (True, R::LoginProven, True, False, None),
            ),
            (
                "the registry accepts anything",
                tell(None, Some(R::Unverified), current(), false, true),
                (True, R::Unverified, Unknown, True, None),
            ),
            (
                "proven and delivered",
                tell(None, good, current(), false, false),
                (True, R::LoginProven, True, True, None),
            ),
        ] {
            assert_eq!(row(&told), expected, "{name}");
        }
    }

    #[test]
    fn an_expired_credential_is_told_whatever_else_is_in_the_way() {
        use ConditionType::{Reconciling, Stalled};
        use Reason as R;
        for (reason, long, expected) in [
            (R::Expired, false, (False, R::Expired, False, True, Some(Stalled))),
            (R::Unreachable, false, (False, R::Expired, False, True, Some(Reconciling))),
            (R::SecretNotFound, false, (False, R::Expired, False, True, Some(Reconciling))),
            (R::SecretNotFound, true, (False, R::Expired, False, True, Some(Stalled))),
            (R::InsufficientScope, false, (False, R::Expired, False, True, Some(Reconciling))),
            (R::InvalidCredentials, false, (False, R::Expired, False, True, Some(Stalled))),
            (R::SecretMalformed, false, (False, R::SecretMalformed, Unknown, True, Some(Stalled))),
            (R::Forbidden, false, (False, R::Forbidden, Unknown, True, Some(Stalled))),
        ] {
            let problem = Problem::new(reason, "why");
            let told = conditions(&Facts {
                problem: Some(&problem),
                expired: Some(Timestamp::UNIX_EPOCH),
                verdict: Some(R::LoginProven),
                delivery: &Delivery::Current,
                subject: ("r.example", "images"),
                places: None,
                missing_for_long: long,
                ready_before: None,
            });
            assert_eq!(row(&told), expected, "{reason}");
            let progress = told.last().unwrap();
            assert_eq!(progress.reason, reason, "what is in the way stays visible");
        }
    }

    #[test]
    fn waiting_is_retried_with_growing_pauses_and_obeys_the_registry() {
        let wait = |count, jitter| retry(&Problem::new(Reason::Unreachable, "x"), count, jitter);
        assert_eq!(wait(0, 0.0), Some(Duration::from_secs(1)));
        assert_eq!(wait(3, 1.0), Some(Duration::from_secs(8)));
        assert_eq!(wait(40, 1.0), Some(Duration::from_secs(300)));
        let limited = Problem { retry_after: Some(Duration::from_secs(60)), ..Problem::new(Reason::RateLimited, "x") };
        for (count, jitter) in [(0, 0.0), (0, 1.0), (9, 1.0)] {
            let pause = retry(&limited, count, jitter).unwrap();
            assert!(pause >= Duration::from_secs(60) && pause <= Duration::from_secs(120), "{pause:?}");
        }
    }

    #[test]
    fn what_only_the_user_can_mend_is_not_retried() {
        for reason in [Reason::InvalidSpec, Reason::SecretMalformed, Reason::SecretNotFound, Reason::TargetConflict] {
            assert_eq!(retry(&Problem::new(reason, "x"), 0, 0.5), None, "{reason}");
        }
    }
}
