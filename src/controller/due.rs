//! Third step: what there is to do, as small named checks over stored facts. Pure.

use jiff::{SignedDuration, Timestamp};

use super::{
    memory::Attempt, observe::Observed, policy::Delivery, renew, sighting::Sighting, tally::tally,
    validate::Connection, withdraw,
};
use crate::{
    api::{
        ConditionType, Reason, condition,
        provider::Way,
        reason::Class,
        status::{ObservedInput, RegistryConnectionStatus},
    },
    problem::{Problem, field},
};

/// A refused credential is tried again after this time at the earliest, unless its input changes: registries lock
/// accounts after a few failed logins.
pub const PAUSE_AFTER_REFUSAL: SignedDuration = SignedDuration::from_mins(30);

/// A repository that a proven login cannot pull from is asked for again after this time: grants take minutes to spread.
pub const PAUSE_AFTER_FAILED_REPOSITORY: SignedDuration = SignedDuration::from_mins(10);

/// So much the clocks of two processes may differ, one of which goes on where the other ended.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(1);

/// What there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// The target is missing or not as it should be; the credential is known to be good.
    Deliver,
    /// The same, while nothing can be found out about the credential: it may be delivered as it was before.
    Keep,
    /// The target holds a login that is refused for good, and is to be taken back.
    Withdraw,
    /// The credential is to be judged, then delivered.
    Test(Cause),
    /// A new credential is to be issued, judged, then delivered.
    Renew(Cause),
    /// Credentials that were replaced are to be revoked.
    Revoke,
}

/// Why the credential is to be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It never was.
    NeverJudged,
    /// The spec changed.
    SpecChanged,
    /// The source is not the object that was judged.
    InputChanged,
    /// The last pass came to no verdict.
    NoVerdict,
    /// The interval, or the pause after a refusal, is over; or the delivered credential is.
    TimePassed,
    /// The user asks for it.
    Requested,
    /// The ledger is gone, or not what was written last.
    LedgerChanged,
    /// The provider did not issue a credential when it was asked last.
    NotIssued,
}

/// What there is to do for a connection now.
pub fn due(connection: &Connection, observed: &Observed, started: Timestamp, now: Timestamp) -> Due {
    let status = &observed.status;
    if observed.requests.is_pending() {
        return Due::Test(Cause::Requested);
    }
    let time_passed = next_test(connection, status, started, now).is_some_and(|time| now >= time);
    if let Some(due) = due_in_pause(connection, observed, now) {
        return due;
    }
    let causes = [
        (Cause::NeverJudged, status.last_test.is_none() && settled_problem(status).is_none()),
        (Cause::SpecChanged, status.observed_generation != Some(observed.generation())),
        (Cause::InputChanged, input_changed(observed)),
        (Cause::NoVerdict, unsettled(status) || is_unexpired(status, now)),
        (Cause::TimePassed, time_passed),
    ];
    // The last cause is the strongest.
    if let Some((cause, _)) = causes.into_iter().rev().find(|(_, applies)| *applies) {
        return Due::Test(cause);
    }
    match settled_problem(status) {
        // What was delivered before a repository failed is kept in place.
        Some(problem) if problem.is_of_a_repository() && status.credential.is_some() => {}
        Some(_) if withdraw::is_outstanding(connection, observed) => return Due::Withdraw,
        Some(_) => return Due::Nothing,
        None => {}
    }
    match tally(connection, observed, status.credential.as_ref(), now).delivery {
        Delivery::Outstanding => Due::Deliver,
        Delivery::Current | Delivery::Partial(_) | Delivery::Impossible(_) => Due::Nothing,
    }
}

/// When a connection is refreshed next if nothing changes.
pub fn next_refresh_at(
    connection: &Connection,
    status: &RegistryConnectionStatus,
    started: Timestamp,
    now: Timestamp,
) -> Option<Timestamp> {
    match connection.provider.way() {
        Way::Given(_) => next_test(connection, status, started, now),
        Way::Issued(_) => renew::due::next(connection, status, started, now),
    }
}

/// When a credential that is given is tested next if nothing changes; none before the first definite verdict, and while the source
/// is missing or unusable, where only a change of it helps. One that expires is looked at then, whatever the interval.
fn next_test(
    connection: &Connection,
    status: &RegistryConnectionStatus,
    started: Timestamp,
    now: Timestamp,
) -> Option<Timestamp> {
    let last = status.last_test.as_ref()?;
    // The test may be another connection's, from before this one was refreshed.
    let refreshed = status.last_refresh_at.as_ref().unwrap_or(&last.time).0;
    let settled = settled_problem(status).map(|problem| problem.reason);
    let (since, next) = match settled {
        Some(reason) if reason.is_of_a_repository() => (last.time.0, add(last.time.0, PAUSE_AFTER_FAILED_REPOSITORY)),
        Some(Reason::InvalidCredentials) | None if last.verdict == Reason::InvalidCredentials => {
            (last.time.0, add(last.time.0, PAUSE_AFTER_REFUSAL))
        }
        // There is nothing to find out by asking again.
        Some(Reason::InvalidCredentials) | None if last.verdict == Reason::NotTested => (refreshed, Timestamp::MAX),
        Some(Reason::InvalidCredentials) | None => (refreshed, connection.grid.next_after(refreshed)),
        Some(_) => return None,
    };
    // The clock was set back. How long ago that was nobody knows, so its time has come, if it has one.
    let next = if next != Timestamp::MAX && is_ahead(since, now) { Timestamp::MIN } else { next };
    let next = connection.grid.spread(next, started);
    // While something else is wrong with the source, it is not read again for that.
    let end = expires_at(status).filter(|_| settled.is_none()).unwrap_or(Timestamp::MAX);
    Some(next.min(end)).filter(|time| *time != Timestamp::MAX)
}

/// When the delivered credential expires, if that is known.
pub fn expires_at(status: &RegistryConnectionStatus) -> Option<Timestamp> {
    status.credential.as_ref()?.expires_at.as_ref().map(|time| time.0)
}

/// Whether a credential that was told to be expired may not be: the clock was set back since.
pub(super) fn is_unexpired(status: &RegistryConnectionStatus, now: Timestamp) -> bool {
    let is_told = status.last_error.as_ref().is_some_and(|error| error.code == Reason::Expired);
    let mut told_at = status.conditions.iter().map(|condition| condition.last_transition_time.0);
    is_told && told_at.any(|time| is_ahead(time, now)) && expires_at(status).is_none_or(|end| end > now)
}

/// Whether a time that has passed lies ahead of the clock, which was set back since.
pub fn is_ahead(time: Timestamp, now: Timestamp) -> bool {
    time > add(now, CLOCKS_DIFFER)
}

fn add(time: Timestamp, duration: SignedDuration) -> Timestamp {
    time.saturating_add(duration).unwrap_or(Timestamp::MAX)
}

/// The problem that the last definite verdict left behind: nothing but a change of the input or time mends it.
pub fn settled_problem(status: &RegistryConnectionStatus) -> Option<Problem> {
    let problem = status.last_error.as_ref().map(Problem::from_last_error)?;
    // Only the provider knows which registries there are, so this is no fault that `validate` finds anew each time.
    let is_unknown_registry = problem.reason == Reason::InvalidSpec
        && matches!(
            problem.field,
            Some(field::DIGITALOCEAN_REGISTRY_NAME | field::IONOS_REGISTRY_NAME | field::IONOS_REGISTRY_ID)
        );
    (is_unknown_registry || is_settled(problem.reason)).then_some(problem)
}

fn is_settled(code: Reason) -> bool {
    match code {
        Reason::InvalidCredentials
        | Reason::SecretNotFound
        | Reason::SecretKeyMissing
        | Reason::SecretMalformed
        | Reason::CaNotFound
        | Reason::RepositoryNotFound
        | Reason::InsufficientScope
        | Reason::Expired
        | Reason::SourceNotAllowed
        | Reason::HostMismatch => true,
        Reason::LoginProven
        | Reason::RepositoriesProven
        | Reason::NotTested
        | Reason::TokenServerNotTrusted
        | Reason::Unverified
        | Reason::Delivered
        | Reason::Linked
        | Reason::Suspended
        | Reason::Progressing
        | Reason::InvalidSpec
        | Reason::AddressNotAllowed
        | Reason::TargetConflict
        | Reason::TooManyTargets
        | Reason::RemovalBlocked
        | Reason::SelectsNothing
        | Reason::DefaultTaken
        | Reason::LinkConflict
        | Reason::AutoLinkUnsupported
        | Reason::NotRemoved
        | Reason::NotRevoked
        | Reason::LedgerLost
        | Reason::RegistryNotReady
        | Reason::RateLimited
        | Reason::AccessBlocked
        | Reason::Unreachable
        | Reason::TlsFailed
        | Reason::UpstreamError
        | Reason::NotARegistry
        | Reason::ProtocolError
        | Reason::InternalError
        | Reason::Forbidden => false,
    }
}

/// The last pass ended with a problem of the credential that was not a verdict.
pub(super) fn unsettled(status: &RegistryConnectionStatus) -> bool {
    // A login that cannot be proven, or shall not be, stays unknown for ever.
    let is_for_good =
        |reason: &str| [Reason::Unverified, Reason::NotTested].iter().any(|known| known.as_str() == reason);
    let is_unknown = condition::find(&status.conditions, ConditionType::CredentialsValid)
        .is_none_or(|valid| valid.status == "Unknown" && !is_for_good(&valid.reason));
    status.last_error.as_ref().is_some_and(|error| {
        is_unknown
            && settled_problem(status).is_none()
            && !matches!(
                error.code,
                Reason::TargetConflict
                    | Reason::TooManyTargets
                    | Reason::RemovalBlocked
                    | Reason::DefaultTaken
                    | Reason::LinkConflict
                    | Reason::AutoLinkUnsupported
            )
            && error.code.class() != Class::Good
    })
}

/// The last pass, if it came to nothing, nothing it went by has changed since, and its pause is not over.
fn pausing(observed: &Observed, now: Timestamp) -> Option<&Attempt> {
    observed.memory.attempt.as_deref().filter(|attempt| {
        now < attempt.not_before && !is_ahead(attempt.since, now) && attempt.basis == observed.basis()
    })
}

/// What the paused pass had in its way, if it is still pausing.
pub fn pausing_trouble(observed: &Observed, now: Timestamp) -> Option<Problem> {
    pausing(observed, now).map(|attempt| attempt.trouble.clone())
}

/// What there is to do during a pause; none if there is no pause. No credential can be had now, but a namespace that comes, or
/// loses its Secret, does not wait for one.
pub(super) fn due_in_pause(connection: &Connection, observed: &Observed, now: Timestamp) -> Option<Due> {
    let attempt = pausing(observed, now)?;
    Some(if attempt.keeps && is_outstanding(connection, observed, now) { Due::Keep } else { Due::Nothing })
}

/// Whether targets are missing or outdated.
pub(super) fn is_outstanding(connection: &Connection, observed: &Observed, now: Timestamp) -> bool {
    tally(connection, observed, observed.status.credential.as_ref(), now).delivery == Delivery::Outstanding
}

/// What is read is not what the last definite verdict was about. What is unknown counts as changed: it must be read.
pub(super) fn input_changed(observed: &Observed) -> bool {
    let last_error = observed.status.last_error.as_ref().map(|error| error.code);
    let is_new = |sighting: &Sighting, when_absent: &[Reason]| match sighting {
        Sighting::Absent => last_error.is_none_or(|code| !when_absent.contains(&code)),
        Sighting::Unknown => true,
        Sighting::Present { uid, resource_version } => {
            let is_it = |input: &ObservedInput| input.uid == *uid && input.resource_version == *resource_version;
            !observed.status.observed_inputs.iter().chain(&observed.memory.judged).any(is_it)
        }
    };
    // A source that cannot be used is told before a missing authority.
    let authority_is_new = observed.authority.as_ref().is_some_and(|authority| {
        is_new(
            &authority.sighting,
            &[
                Reason::CaNotFound,
                Reason::SecretNotFound,
                Reason::SecretKeyMissing,
                Reason::SecretMalformed,
                Reason::HostMismatch,
                Reason::SourceNotAllowed,
                Reason::Expired,
            ],
        )
    });
    is_new(&observed.source.sighting(), &[Reason::SecretNotFound]) || authority_is_new
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Declared;
    use crate::controller::{
        fixture::{connection, created, delivered, deny, minutes_later, object, observed, present, target},
        memory::Attempt,
        request::Requests,
        sighting::SecretState,
    };
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::{Value, json};

    fn due_at(observed: &Observed, now: Timestamp) -> Due {
        due(&connection(&observed.object), observed, created(), now)
    }

    fn due_now(observed: &Observed) -> Due {
        due_at(observed, minutes_later(1))
    }

    fn with_error(code: &str) -> Observed {
        observed(delivered(|object| {
            object["status"]["lastError"] = json!({"code": code, "message": "m"});
            object["status"]["conditions"][1]["status"] = "Unknown".into();
        }))
    }

    #[test]
    fn nothing_is_due_when_everything_is_as_it_was() {
        assert_eq!(due_now(&observed(delivered(|_| {}))), Due::Nothing);
    }

    #[test]
    fn a_test_is_due_when_something_it_rests_on_changed() {
        type Change = fn(&mut Observed);
        let cases: [(&str, Change, Cause); 4] = [
            ("source edited", |o| o.source = present("s", "2"), Cause::InputChanged),
            ("source made anew", |o| o.source = present("other", "1"), Cause::InputChanged),
            ("source gone", |o| o.source = SecretState::Absent, Cause::InputChanged),
            ("source not known", |o| o.source = SecretState::Unknown, Cause::InputChanged),
        ];
        for (name, change, cause) in cases {
            let mut observed = observed(delivered(|_| {}));
            change(&mut observed);
            assert_eq!(due_now(&observed), Due::Test(cause), "{name}");
        }
        let edited = observed(delivered(|object| object["metadata"]["generation"] = 2.into()));
        assert_eq!(due_now(&edited), Due::Test(Cause::SpecChanged));
        let mut fresh = observed(object(|_| {}));
        fresh.status.observed_generation = Some(1);
        fresh.memory.judged.push(ObservedInput {
            kind: "Secret".into(),
            name: "login".into(),
            uid: "s".into(),
            resource_version: "1".into(),
        });
        assert_eq!(due_now(&fresh), Due::Test(Cause::NeverJudged));
    }

    #[test]
    fn a_source_this_process_judged_in_a_newer_version_is_no_change() {
        let mut touched = observed(delivered(|_| {}));
        touched.source = present("s", "2");
        touched.memory.judged.push(ObservedInput {
            kind: "Secret".into(),
            name: "login".into(),
            uid: "s".into(),
            resource_version: "2".into(),
        });
        assert_eq!(due_now(&touched), Due::Nothing);
    }

    #[test]
    fn the_interval_brings_a_test_and_not_before() {
        let observed = observed(delivered(|_| {}));
        let connection = connection(&observed.object);
        let next = next_test(&connection, &observed.status, created(), created()).unwrap();
        assert!(next >= minutes_later(3) && next <= minutes_later(30));
        assert_eq!(due_at(&observed, next - SignedDuration::from_secs(1)), Due::Nothing);
        assert_eq!(due_at(&observed, next), Due::Test(Cause::TimePassed));
    }

    #[test]
    fn a_refresh_with_another_connections_test_moves_the_next_one_on() {
        let mut observed = observed(delivered(|_| {}));
        let connection = connection(&observed.object);
        let first = next_test(&connection, &observed.status, created(), created()).unwrap();
        observed.status.last_refresh_at = Some(Time(first));
        assert_eq!(
            next_test(&connection, &observed.status, created(), first),
            Some(first + SignedDuration::from_mins(30))
        );
        assert_eq!(due_at(&observed, first), Due::Nothing);
    }

    #[test]
    fn a_refused_login_rests_for_thirty_minutes_whatever_the_interval() {
        let observed = observed(delivered(|object: &mut Value| {
            object["spec"]["refreshIntervalMinutes"] = 5.into();
            object["status"]["lastTest"]["verdict"] = "InvalidCredentials".into();
            object["status"]["lastError"] = json!({"code": "InvalidCredentials", "message": "m"});
        }));
        assert_eq!(due_at(&observed, minutes_later(29)), Due::Nothing);
        assert_eq!(due_at(&observed, minutes_later(30)), Due::Test(Cause::TimePassed));
    }

    #[test]
    fn a_clock_that_was_set_back_delays_no_test_and_no_retry() {
        let (past, hour) = (created() - SignedDuration::from_hours(1), SignedDuration::from_hours(1));
        let proven = observed(delivered(|_| {}));
        let connection = connection(&proven.object);
        let seconds = SignedDuration::from_secs(30);
        assert_eq!(due(&connection, &proven, past, created() - seconds), Due::Nothing, "clocks of two machines differ");
        assert_eq!(due(&connection, &proven, past - hour, past), Due::Test(Cause::TimePassed));
        let after_a_restart = due(&connection, &proven, past, past);
        assert_eq!(after_a_restart, Due::Nothing, "what a restart finds so is spread like what fell due before it");

        let mut waiting = with_error("Unreachable");
        waiting.memory.attempt = Some(Box::new(Attempt {
            count: 5,
            since: minutes_later(60),
            not_before: minutes_later(65),
            basis: waiting.basis(),
            trouble: Problem::new(Reason::Unreachable, "m"),
            question: None,
            keeps: false,
        }));
        assert_eq!(due_at(&waiting, minutes_later(61)), Due::Nothing);
        assert_eq!(due_at(&waiting, minutes_later(2)), Due::Test(Cause::NoVerdict));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_work_where_time_means_nothing() {
        let untested = observed(delivered(|object| {
            object["spec"]["test"] = json!({"mode": "Off"});
            object["status"]["lastTest"]["verdict"] = "NotTested".into();
        }));
        let past = created() - SignedDuration::from_hours(1);
        assert_eq!(due(&connection(&untested.object), &untested, past, past), Due::Nothing);
    }

    #[test]
    fn an_expiry_told_by_a_clock_that_was_wrong_is_looked_at_again() {
        let told = |told_at: &str| {
            observed(delivered(|object| {
                object["status"]["credential"]["expiresAt"] = "2026-06-01T00:00:00Z".into();
                object["status"]["lastError"] = json!({"code": "Expired", "message": "m"});
                object["status"]["conditions"][0]["lastTransitionTime"] = told_at.into();
            }))
        };
        assert_eq!(due_now(&told("2026-06-01T00:00:00Z")), Due::Test(Cause::NoVerdict));
        assert_eq!(due_now(&told("2026-01-01T00:00:30Z")), Due::Nothing, "its Secret says that another login ended");
    }

    #[test]
    fn a_login_refused_for_good_is_taken_back_where_the_user_wants_that_and_not_looked_at_twice() {
        let refused = |policy: &str, since: &str| {
            observed(delivered(|object| {
                object["spec"]["onRejected"] = policy.into();
                object["status"]["lastTest"] = json!({
                    "time": "2026-01-01T00:00:00Z", "verdict": "InvalidCredentials", "refusedSince": since,
                });
                object["status"]["lastError"] = json!({"code": "InvalidCredentials", "message": "m"});
            }))
        };
        let (first, second) = ("2026-01-01T00:00:00Z", "2025-12-31T23:30:00Z");
        assert_eq!(due_now(&refused("Remove", first)), Due::Nothing);
        assert_eq!(due_now(&refused("Keep", second)), Due::Nothing);
        let mut outstanding = refused("Remove", second);
        assert_eq!(due_now(&outstanding), Due::Withdraw);
        let target = outstanding.targets.state("shop").unwrap().sighting();
        outstanding.memory.spared = std::sync::Arc::new([(std::sync::Arc::from("shop"), target)].into());
        assert_eq!(due_now(&outstanding), Due::Nothing, "it holds another login");
        outstanding.targets.learn("shop", SecretState::Absent);
        assert_eq!(due_now(&outstanding), Due::Nothing);
    }

    #[test]
    fn what_a_user_asks_for_is_due_at_once_whatever_pauses() {
        let asking = |object: &mut Value| {
            object["metadata"]["annotations"] = json!({"regcred.dev/test-requested-at": "now"});
        };
        let asked = |observed: &Observed| {
            Requests::of(&observed.object, &observed.status, &observed.memory.handled).is_pending()
        };
        let mut refused = observed(delivered(|object: &mut Value| {
            asking(object);
            object["status"]["lastTest"]["verdict"] = "InvalidCredentials".into();
            object["status"]["lastError"] = json!({"code": "InvalidCredentials", "message": "m"});
        }));
        assert!(asked(&refused));
        refused.requests = Requests::of(&refused.object, &refused.status, &refused.memory.handled);
        assert_eq!(due_now(&refused), Due::Test(Cause::Requested));
        refused.requests.acted_on();
        assert_eq!(due_now(&refused), Due::Nothing, "once for each value");
    }

    #[test]
    fn a_credential_is_looked_at_when_it_expires_and_not_again_and_again() {
        let expiring = |object: &mut Value| object["status"]["credential"]["expiresAt"] = "2026-01-01T00:02:00Z".into();
        let proven = observed(delivered(expiring));
        assert_eq!(due_at(&proven, minutes_later(1)), Due::Nothing);
        assert_eq!(due_at(&proven, minutes_later(2)), Due::Test(Cause::TimePassed));
        for code in ["Expired", "InvalidCredentials", "SecretMalformed"] {
            let settled = observed(delivered(|object| {
                expiring(object);
                object["status"]["lastError"] = json!({"code": code, "message": "m"});
            }));
            assert_eq!(due_at(&settled, minutes_later(3)), Due::Nothing, "{code}");
        }
    }

    /// Lets connections be tested whenever that is due, without anything going wrong, and notes when.
    fn tests_of(connections: &[Declared], started: Timestamp, end: Timestamp) -> Vec<Timestamp> {
        let mut tests = vec![];
        for object in connections {
            let connection = connection(object);
            let mut status = object.status.clone().unwrap_or_default();
            let mut now = started;
            while let Some(time) = next_test(&connection, &status, started, now).filter(|time| *time < end) {
                assert!(time >= now, "{time} is not after {now}");
                now = time;
                tests.push(time);
                status.last_refresh_at = Some(Time(time));
                status.last_test.as_mut().unwrap().time = Time(time);
            }
        }
        tests.sort();
        tests
    }

    fn ten_thousand() -> Vec<Declared> {
        let mut random = fastrand::Rng::with_seed(5);
        let one = || {
            delivered(|object| {
                let uid = format!("{:08x}-{:04x}-4000-8000-{:012x}", random.u32(..), random.u16(..), random.u64(..));
                object["metadata"]["uid"] = uid.into();
            })
        };
        std::iter::repeat_with(one).take(10_000).collect()
    }

    /// The most tests in any ten seconds.
    fn peak(tests: &[Timestamp]) -> usize {
        let ten_seconds = SignedDuration::from_secs(10);
        let within = |first: usize| tests[first..].partition_point(|time| *time < tests[first] + ten_seconds);
        (0..tests.len()).map(within).max().unwrap_or_default()
    }

    #[test]
    fn ten_thousand_connections_that_were_applied_at_once_are_tested_evenly_spread() {
        let tests = tests_of(&ten_thousand(), created(), minutes_later(8 * 60));
        let mean = 10_000.0 / 180.0;
        let peak = peak(&tests);
        println!("{} tests in 8 hours; in any 10 s at most {peak}, {mean:.1} on average", tests.len());
        assert!(tests.len() >= 15 * 10_000, "each of them once in every interval");
        assert!(peak as f64 <= 2.0 * mean, "{peak} within 10 s");
        let (first, second) = (tests[0], tests[tests.len() / 2]);
        assert!(first >= minutes_later(3) && second >= minutes_later(3 * 60));
    }

    #[test]
    fn what_ten_thousand_connections_missed_during_an_absence_is_caught_up_within_a_tenth_of_the_interval() {
        let connections = ten_thousand();
        let back = minutes_later(120);
        let tests = tests_of(&connections, back, minutes_later(123));
        println!("{} tests in the first 3 minutes, at most {} within 10 s", tests.len(), peak(&tests));
        assert!(tests.len() >= connections.len() && tests[0] >= back);
        assert!(peak(&tests) <= 2 * tests.len() / 18, "evenly spread");
    }

    #[test]
    fn an_unusable_source_waits_for_its_change_for_ever() {
        for code in ["SecretKeyMissing", "SecretMalformed", "HostMismatch"] {
            assert_eq!(due_at(&with_error(code), minutes_later(10_000)), Due::Nothing, "{code}");
        }
        let mut gone = with_error("SecretNotFound");
        gone.source = SecretState::Absent;
        assert_eq!(due_at(&gone, minutes_later(10_000)), Due::Nothing);
        gone.source = present("new", "9");
        assert_eq!(due_now(&gone), Due::Test(Cause::InputChanged));
    }

    #[test]
    fn what_came_to_no_verdict_is_due_again_unless_it_pauses() {
        let mut waiting = with_error("Unreachable");
        assert_eq!(due_now(&waiting), Due::Test(Cause::NoVerdict), "after a restart");
        let trouble = Problem::new(Reason::Unreachable, "m");
        let attempt = Attempt {
            count: 0,
            since: minutes_later(0),
            not_before: minutes_later(5),
            basis: waiting.basis(),
            trouble: trouble.clone(),
            question: None,
            keeps: false,
        };
        waiting.memory.attempt = Some(Box::new(attempt));
        assert_eq!(due_now(&waiting), Due::Nothing);
        assert_eq!(pausing_trouble(&waiting, minutes_later(1)), Some(trouble));
        assert_eq!(due_at(&waiting, minutes_later(5)), Due::Test(Cause::NoVerdict));
        waiting.source = present("s", "2");
        assert!(matches!(due_now(&waiting), Due::Test(_)), "a change ends the pause");
    }

    #[test]
    fn a_namespace_that_lacks_the_secret_ends_no_pause_and_gets_what_was_delivered_before() {
        let mut waiting = with_error("Unreachable");
        let pause = |keeps: bool, observed: &Observed| Attempt {
            count: 0,
            since: minutes_later(0),
            not_before: minutes_later(5),
            basis: observed.basis(),
            trouble: Problem::new(Reason::Unreachable, "m"),
            question: None,
            keeps,
        };
        waiting.memory.attempt = Some(Box::new(pause(true, &waiting)));
        assert_eq!(due_now(&waiting), Due::Nothing);
        waiting.targets.learn("shop", SecretState::Absent);
        assert_eq!(due_now(&waiting), Due::Keep);
        waiting.memory.attempt = Some(Box::new(pause(false, &waiting)));
        assert_eq!(due_now(&waiting), Due::Nothing, "there is nothing that could be delivered");
    }

    #[test]
    fn a_target_that_could_not_be_written_needs_no_login_after_a_restart() {
        let mut denied = observed(delivered(|object| {
            object["status"]["lastError"] = json!({"code": "Forbidden", "message": "m"});
        }));
        denied.targets.learn("shop", SecretState::Absent);
        assert_eq!(due_now(&denied), Due::Deliver);
    }

    #[test]
    fn a_login_that_nobody_can_prove_is_not_tested_for_every_try_to_deliver_it() {
        let mut denied = observed(delivered(|object| {
            object["status"]["lastTest"]["verdict"] = "Unverified".into();
            object["status"]["lastError"] = json!({"code": "Forbidden", "message": "m"});
            object["status"]["conditions"][1]["status"] = "Unknown".into();
            object["status"]["conditions"][1]["reason"] = "Unverified".into();
        }));
        denied.targets.learn("shop", SecretState::Absent);
        assert_eq!(due_now(&denied), Due::Deliver);
    }

    #[test]
    fn a_target_that_cannot_be_written_does_not_keep_the_login_from_being_tested() {
        let mut denied = observed(delivered(|_| {}));
        denied.targets.learn("shop", SecretState::Absent);
        deny(&mut denied, Timestamp::MAX);
        assert_eq!(due_at(&denied, minutes_later(1)), Due::Nothing);
        assert_eq!(due_at(&denied, minutes_later(60)), Due::Test(Cause::TimePassed));
    }

    #[test]
    fn a_target_that_is_not_right_is_delivered_and_a_foreign_one_left_alone() {
        let mut observed = observed(delivered(|_| {}));
        let connection = connection(&observed.object);
        for (name, state, expected) in [
            ("gone", SecretState::Absent, Due::Deliver),
            ("another revision", target(&connection, "r0"), Due::Deliver),
            ("foreign", present("x", "1"), Due::Nothing),
        ] {
            observed.targets.learn("shop", state);
            assert_eq!(due_now(&observed), expected, "{name}");
        }
        let mut failing = with_error("InsufficientScope");
        failing.targets.learn("shop", SecretState::Absent);
        assert_eq!(due_now(&failing), Due::Deliver, "what was delivered is kept in place while a repository fails");
        let mut refused = with_error("InvalidCredentials");
        refused.targets.learn("shop", SecretState::Absent);
        assert_eq!(due_now(&refused), Due::Nothing, "a lost Secret is not restored from a refused login");
    }
}
