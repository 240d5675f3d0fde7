//! Last step: status and events. What they say is a pure function of the old status, the outcome and the time; they are
//! written only if they say something new. Nothing else writes status.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{
    due::{next_test, pausing_trouble, settled_problem},
    memory::Trouble,
    observe::Observed,
    plan::standing,
    policy::{self, Delivery, Facts, MISSING_BECOMES_STALLED},
    sighting::SecretState,
    validate::Connection,
};
use crate::{
    api::{
        ConditionType, Reason, RegistryConnectionStatus,
        condition::{self, ConditionStatus, Desired, transition},
        reason::Class,
        status::{DeliveredCredential, LastTest, ObservedInput, TargetFailure, Targets},
    },
    clock::whole_seconds,
    problem::{MAX_MESSAGE, Problem, shortened},
};

/// The longest status, in bytes: etcd keeps every version of it for a while, and every watcher gets each.
pub(super) const MAX_STATUS: usize = 4 * 1024;

/// How the target stands as far as the status tells: all that is known while the spec makes no sense.
pub fn delivery_as_told(observed: &Observed) -> Delivery {
    let was_delivered = condition::is_true(&observed.status.conditions, ConditionType::Delivered);
    match &observed.target {
        SecretState::Present(_) if was_delivered => Delivery::Current,
        SecretState::Present(_) | SecretState::Absent | SecretState::Unknown => Delivery::Outstanding,
    }
}

/// What a pass found out.
pub struct Outcome {
    /// What keeps the credential from being known good.
    pub problem: Option<Problem>,
    /// The login of this pass, if it led to a definite verdict.
    pub test: Option<LastTest>,
    /// What was read, if this pass judged it for good.
    pub judged: Vec<ObservedInput>,
    /// The credential that the target holds or is about to hold; none if it stays as it was.
    pub credential: Option<DeliveredCredential>,
    /// How the target stands.
    pub delivery: Delivery,
}

impl Outcome {
    /// A pass that changed nothing.
    pub fn unchanged(problem: Option<Problem>, delivery: Delivery) -> Self {
        Self { problem, test: None, judged: vec![], credential: None, delivery }
    }

    /// A pass in which nothing was due: what was in the way still is.
    pub fn nothing_due(connection: &Connection, observed: &Observed, now: Timestamp) -> Self {
        let delivery = Delivery::from(standing(connection, &observed.target, observed.status.credential.as_ref()));
        match pausing_trouble(observed, now) {
            Some(Trouble::Credential(problem)) => Self::unchanged(Some(problem), delivery),
            Some(Trouble::Delivery(problem)) => Self::unchanged(None, Delivery::Impossible(problem)),
            None => Self::unchanged(settled_problem(&observed.status), delivery),
        }
    }
}

/// The status that follows. `connection` is none if the spec makes no sense.
pub fn status(
    observed: &Observed,
    connection: Option<&Connection>,
    outcome: &Outcome,
    now: Timestamp,
) -> RegistryConnectionStatus {
    let now = whole_seconds(now);
    let mut status = observed.status.clone();
    if let Some(connection) = connection {
        status.provider = Some(connection.provider.key().to_owned());
        status.registry_host = Some(connection.endpoint.shown_host().to_string());
        status.secret_name = Some(connection.target.key.name.clone());
    }
    if let Some(test) = &outcome.test {
        status.last_refresh_at = Some(test.time.clone());
        status.last_test = Some(test.clone());
    }
    if !outcome.judged.is_empty() {
        status.observed_inputs.clone_from(&outcome.judged);
    } else if status.observed_generation != Some(observed.generation()) {
        // The recorded verdict is about another spec; a fresh process must not take it for one about this.
        status.observed_inputs.clear();
    }
    if let Some(credential) = &outcome.credential {
        status.credential = Some(credential.clone());
    }
    let delivery_problem = match &outcome.delivery {
        Delivery::Impossible(problem) => Some(problem),
        Delivery::Current | Delivery::Outstanding => None,
    };
    status.last_error = outcome.problem.as_ref().or(delivery_problem).map(Problem::to_last_error);
    status.next_refresh_at = connection.and_then(|connection| next_refresh(connection, &status)).map(Time);
    status.targets = Some(targets(observed, &outcome.delivery));

    let facts = Facts {
        problem: outcome.problem.as_ref(),
        verdict: status.last_test.as_ref().map(|test| test.verdict).filter(|verdict| verdict.is_verdict()),
        delivery: &outcome.delivery,
        subject: (status.registry_host.as_deref().unwrap_or("the registry"), &observed.target_key.name),
        missing_for_long: missing_since(&observed.status)
            .is_some_and(|since| now.duration_since(since) >= MISSING_BECOMES_STALLED),
        // A spec that was not delivered yet is not ready, however good its predecessor was.
        ready_before: ready_before(&observed.status)
            .filter(|_| observed.status.observed_generation == Some(observed.generation())),
    };
    let desired = policy::conditions(&facts);
    settle(status, &observed.status, &desired, observed.generation(), now)
}

/// The status of a suspended connection: its conditions keep their values and move to the new generation.
///
/// What it would do if it went on is not asked: a spec that makes no sense can be suspended too.
pub fn suspended_status(observed: &Observed, now: Timestamp) -> RegistryConnectionStatus {
    let now = whole_seconds(now);
    let mut status = observed.status.clone();
    status.provider = Some(observed.object.spec.provider.key().to_owned());
    status.next_refresh_at = None;
    if observed.is_new() {
        return settle(status, &observed.status, &policy::suspended_conditions(), observed.generation(), now);
    }
    for condition in &mut status.conditions {
        condition.observed_generation = Some(observed.generation());
    }
    status.observed_generation = Some(observed.generation());
    status
}

/// The status with the wanted conditions, about this generation, and not too long.
pub(super) fn settle(
    mut status: RegistryConnectionStatus,
    before: &RegistryConnectionStatus,
    desired: &[Desired],
    generation: i64,
    now: Timestamp,
) -> RegistryConnectionStatus {
    let old = without_stale_progress(&before.conditions, desired);
    status.conditions = transition(&old, desired, generation, now);
    status.observed_generation = Some(generation);
    tightened(status)
}

/// The status with as much of its texts cut as must be for it to fit. What later statuses take over is cut first, so that the
/// same outcome gives the same status again.
fn tightened(mut status: RegistryConnectionStatus) -> RegistryConnectionStatus {
    let is_too_long =
        |status: &RegistryConnectionStatus| serde_json::to_vec(status).is_ok_and(|text| text.len() > MAX_STATUS);
    if is_too_long(&status)
        && let Some(test) = &mut status.last_test
    {
        for repository in &mut test.repositories {
            repository.name = shortened(std::mem::take(&mut repository.name), 40);
        }
        // Without it a restart may make another control, which is better than a name that is none.
        test.control.take_if(|control| control.door.len() > 200);
    }
    if is_too_long(&status)
        && let Some(error) = &mut status.last_error
    {
        error.message = shortened(std::mem::take(&mut error.message), 300);
        error.hint = error.hint.take().map(|hint| shortened(hint, 200));
    }
    if is_too_long(&status) {
        for condition in &mut status.conditions {
            condition.message = shortened(std::mem::take(&mut condition.message), 120);
        }
    }
    status
}

/// When the connection is refreshed next, as far as the spec and the last verdict say; whether a restart spreads it a
/// little is not shown, or every restart would write.
fn next_refresh(connection: &Connection, status: &RegistryConnectionStatus) -> Option<Timestamp> {
    next_test(connection, status, Timestamp::MIN)
}

fn targets(observed: &Observed, delivery: &Delivery) -> Targets {
    let failures = match delivery {
        Delivery::Impossible(problem) => {
            vec![TargetFailure { namespace: observed.target_key.namespace.clone(), reason: problem.reason }]
        }
        Delivery::Current | Delivery::Outstanding => vec![],
    };
    Targets {
        desired: 1,
        current: i32::from(*delivery == Delivery::Current),
        failed: if failures.is_empty() { 0 } else { 1 },
        failures,
    }
}

/// Since when the condition of progress says that something is missing.
pub fn missing_since(status: &RegistryConnectionStatus) -> Option<Timestamp> {
    [(ConditionType::Reconciling, SignedDuration::ZERO), (ConditionType::Stalled, MISSING_BECOMES_STALLED)]
        .into_iter()
        .filter_map(|(kind, already)| Some((condition::find(&status.conditions, kind)?, already)))
        .find(|(condition, _)| {
            class_of(condition) == Some(Class::Missing) || reason_of(condition) == Some(Reason::InsufficientScope)
        })
        .and_then(|(condition, already)| condition.last_transition_time.0.checked_sub(already).ok())
}

/// The old conditions without a `Reconciling` or `Stalled` of another class: their time is the time since when that kind
/// of trouble lasts, and must not be inherited.
fn without_stale_progress(old: &[Condition], desired: &[Desired]) -> Vec<Condition> {
    let is_stale = |condition: &Condition| {
        let kind = [ConditionType::Reconciling, ConditionType::Stalled]
            .into_iter()
            .find(|kind| kind.as_str() == condition.type_);
        let wanted = desired.iter().find(|desired| Some(desired.kind) == kind);
        wanted.is_some_and(|wanted| class_of(condition) != Some(wanted.reason.class()))
    };
    old.iter().filter(|condition| !is_stale(condition)).cloned().collect()
}

fn class_of(condition: &Condition) -> Option<Class> {
    reason_of(condition).map(Reason::class)
}

fn reason_of(condition: &Condition) -> Option<Reason> {
    Reason::ALL.iter().copied().find(|reason| reason.as_str() == condition.reason)
}

fn ready_before(status: &RegistryConnectionStatus) -> Option<Desired> {
    let ready = condition::find(&status.conditions, ConditionType::Ready)?;
    Some(Desired {
        kind: ConditionType::Ready,
        status: if ready.status == "True" { ConditionStatus::True } else { ConditionStatus::False },
        reason: reason_of(ready)?,
        message: ready.message.clone(),
    })
}

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
        api::status::{Control, RepositoryVerdict, TestedRepository},
        controller::{
            fixture::{connection, delivered, minutes_later, named, object, observed},
            sighting::SecretState,
        },
        problem::field,
    };
    use serde_json::json;

    fn unchanged(problem: Option<Reason>, delivery: Delivery) -> Outcome {
        Outcome::unchanged(problem.map(|reason| Problem::new(reason, "why")), delivery)
    }

    fn after(observed: &Observed, outcome: &Outcome, minutes: i64) -> RegistryConnectionStatus {
        status(observed, Some(&connection(&observed.object)), outcome, minutes_later(minutes))
    }

    /// The status of a connection that was reported once with this outcome, as the next pass finds it.
    fn settled(outcome: &Outcome) -> Observed {
        let mut observed = observed(delivered(|_| {}));
        let status = after(&observed, outcome, 0);
        observed.recorded(status);
        observed
    }

    #[test]
    fn a_pass_that_did_nothing_says_nothing_new() {
        for outcome in [
            unchanged(None, Delivery::Current),
            unchanged(Some(Reason::InvalidCredentials), Delivery::Current),
            unchanged(Some(Reason::SecretNotFound), Delivery::Outstanding),
            unchanged(Some(Reason::Unreachable), Delivery::Outstanding),
            unchanged(None, Delivery::Impossible(Problem::new(Reason::TargetConflict, "taken"))),
        ] {
            let observed = settled(&outcome);
            assert_eq!(after(&observed, &outcome, 3), observed.status, "{:?}", outcome.problem);
        }
    }

    #[test]
    fn a_refresh_that_finds_everything_as_it_was_changes_only_the_times() {
        let observed = settled(&unchanged(None, Delivery::Current));
        let test = LastTest {
            time: Time(minutes_later(30)),
            verdict: Reason::LoginProven,
            refused_since: None,
            repositories: vec![],
            control: None,
        };
        let outcome = Outcome { test: Some(test), ..unchanged(None, Delivery::Current) };
        let mut status = after(&observed, &outcome, 30);
        assert_eq!(status.last_refresh_at, Some(Time(minutes_later(30))));
        assert!(status.next_refresh_at > observed.status.next_refresh_at);
        status.last_refresh_at.clone_from(&observed.status.last_refresh_at);
        status.next_refresh_at.clone_from(&observed.status.next_refresh_at);
        status.last_test.clone_from(&observed.status.last_test);
        assert_eq!(status, observed.status);
        assert_eq!(announcement(&observed.status, &status, false), None);
    }

    #[test]
    fn something_missing_becomes_stalled_after_five_minutes_and_stays_so() {
        let missing = || unchanged(Some(Reason::SecretNotFound), Delivery::Current);
        let mut observed = settled(&missing());
        for (minutes, kind) in
            [(4, ConditionType::Reconciling), (5, ConditionType::Stalled), (60, ConditionType::Stalled)]
        {
            let status = after(&observed, &missing(), minutes);
            assert!(condition::is_true(&status.conditions, kind), "{minutes} minutes");
            observed.recorded(status);
        }
    }

    #[test]
    fn the_five_minutes_begin_with_what_is_missing_not_with_an_earlier_trouble() {
        let mut observed = settled(&unchanged(Some(Reason::Unreachable), Delivery::Outstanding));
        for minutes in [60, 64] {
            let status = after(&observed, &unchanged(Some(Reason::SecretNotFound), Delivery::Outstanding), minutes);
            assert!(condition::is_true(&status.conditions, ConditionType::Reconciling), "{minutes} minutes");
            observed.recorded(status);
        }
    }

    #[test]
    fn a_new_spec_is_not_ready_before_it_is_delivered_and_a_rotation_stays_ready() {
        let outcome = Outcome { credential: Some(named("r2")), ..unchanged(None, Delivery::Outstanding) };
        let rotation = after(&observed(delivered(|_| {})), &outcome, 1);
        assert!(condition::is_true(&rotation.conditions, ConditionType::Ready));
        let edited = after(&observed(delivered(|object| object["metadata"]["generation"] = 2.into())), &outcome, 1);
        assert!(!condition::is_true(&edited.conditions, ConditionType::Ready));
        assert!(condition::is_true(&edited.conditions, ConditionType::Reconciling));
    }

    #[test]
    fn a_verdict_about_an_earlier_spec_is_not_kept_for_this_one() {
        let edited = observed(delivered(|object| object["metadata"]["generation"] = 2.into()));
        let waiting = after(&edited, &unchanged(Some(Reason::Unreachable), Delivery::Current), 1);
        assert_eq!(waiting.observed_inputs, []);
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
    fn another_registry_starts_from_nothing() {
        let mut observed = observed(delivered(|object| {
            object["metadata"]["generation"] = 2.into();
            object["spec"]["provider"]["generic"]["registryUrl"] = "https://other.example".into();
        }));
        observed.narrow_to(&connection(&observed.object));
        let status = after(&observed, &unchanged(Some(Reason::Unreachable), Delivery::Outstanding), 1);
        assert_eq!((status.credential, status.last_test), (None, None));
        assert!(!condition::is_true(&status.conditions, ConditionType::Ready));
    }

    #[test]
    fn suspension_keeps_what_was_said_and_moves_it_to_the_new_generation() {
        let observed = observed(delivered(|object| {
            object["metadata"]["generation"] = 2.into();
            object["spec"]["suspend"] = true.into();
        }));
        let status = suspended_status(&observed, minutes_later(1));
        assert_eq!(status.observed_generation, Some(2));
        assert!(status.conditions.iter().all(|condition| condition.observed_generation == Some(2)));
        assert!(condition::is_true(&status.conditions, ConditionType::Ready));
        let event = announcement(&settled(&unchanged(None, Delivery::Current)).status, &status, true);
        assert_eq!(event.map(|event| event.reason), Some(Reason::Suspended));
        assert_eq!(announcement(&status, &status, true), None);
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

    #[test]
    fn the_status_stays_small_whatever_is_wrong() {
        let mut observed = observed(delivered(|object| object["metadata"]["name"] = "n".repeat(253).into()));
        observed.target = SecretState::Absent;
        let fresh = observed.status.clone();
        let repository = TestedRepository { name: "r".repeat(100), verdict: RepositoryVerdict::RepositoryNotFound };
        let repositories = || vec![repository.clone(); 8];
        // Two hosts as long as host names can be.
        let control = || Some(Control { door: "d".repeat(540), time: Time(minutes_later(1)), refused: true });
        let outcome = |long: &str| Outcome {
            test: Some(LastTest {
                time: Time(minutes_later(1)),
                verdict: Reason::RepositoriesProven,
                refused_since: Some(Time(minutes_later(1))),
                repositories: repositories(),
                control: control(),
            }),
            judged: vec![
                ObservedInput {
                    kind: "ConfigMap".into(),
                    name: "n".repeat(253),
                    uid: "u".repeat(36),
                    resource_version: "9".repeat(20)
                };
                2
            ],
            ..Outcome::unchanged(
                Some(Problem::new(Reason::SecretMalformed, long).hint(long).at(field::TRUSTED_TOKEN_HOSTS)),
                Delivery::Impossible(Problem::new(Reason::TargetConflict, long)),
            )
        };
        for length in (0..5000).step_by(37) {
            observed.status = fresh.clone();
            let outcome = outcome(&"ü".repeat(length));
            let status = after(&observed, &outcome, 1);
            let size = serde_json::to_vec(&json!(status)).unwrap().len();
            assert!(size <= MAX_STATUS, "{size} bytes");

            // What was cut is not put back by a pass that finds the same.
            observed.status = status.clone();
            let again = Outcome { problem: settled_problem(&status), test: None, judged: vec![], ..outcome };
            assert_eq!(after(&observed, &again, 2), status, "{length} characters");
        }
    }
}
