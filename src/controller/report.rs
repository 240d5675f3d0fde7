//! Last step: the status. What it says is a pure function of the old status, the outcome and the time; it is written only
//! if it says something new. Nothing else writes status.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{
    due::{expires_at, is_ahead, next_refresh_at, pausing_trouble, settled_problem},
    linked,
    observe::Observed,
    policy::{self, Delivery, Facts, MISSING_BECOMES_STALLED},
    request::Requested,
    tally::{self, Tally, tally},
    validate::Connection,
};
use crate::{
    api::{
        ConditionType, Reason, RegistryConnectionStatus,
        condition::{self, ConditionStatus, Desired, reason_of, transition},
        reason::Class,
        status::{DeliveredCredential, LastTest, ObservedInput, Targets},
    },
    clock::whole_seconds,
    domain::reference::Kind,
    problem::{Problem, shortened},
};

/// The longest status, in bytes: etcd keeps every version of it for a while, and every watcher gets each.
pub(super) const MAX_STATUS: usize = 4 * 1024;

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
    /// How the targets stand.
    pub tally: Tally,
    /// There is more to write than fits into one pass.
    pub is_unfinished: bool,
    /// Something is to be tried again after this time.
    pub again: Option<Duration>,
    /// Too many wait for the registry before this connection, and it had better come back a little later.
    pub is_crowded: bool,
    /// The provider refused to issue a credential: a refresh came to its end without a test.
    pub is_refused: bool,
}

impl Outcome {
    /// A pass that changed nothing.
    pub fn unchanged(problem: Option<Problem>, tally: Tally) -> Self {
        let (test, judged, credential) = (None, vec![], None);
        Self {
            problem,
            test,
            judged,
            credential,
            tally,
            is_unfinished: false,
            again: None,
            is_crowded: false,
            is_refused: false,
        }
    }

    /// A pass in which nothing was due: what was in the way still is.
    pub fn nothing_due(connection: &Connection, observed: &Observed, now: Timestamp) -> Self {
        let tally = tally(connection, observed, observed.status.credential.as_ref(), now);
        let problem = pausing_trouble(observed, now).or_else(|| settled_problem(&observed.status));
        Self::unchanged(problem, tally)
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
        let told = connection.site.as_ref().map(|site| site.endpoint.shown_host().to_string());
        status.registry_host = told.or(status.registry_host);
        status.secret_name = Some(connection.target.name.clone());
    }
    // What goes on for longer than a pass has told of its test when it began.
    let is_told = outcome.is_unfinished && status.last_test == outcome.test;
    if let Some(test) = outcome.test.as_ref().filter(|_| !is_told) {
        // The test may be one that another connection made before.
        status.last_refresh_at = Some(Time(now.max(test.time.0)));
        status.last_test = Some(test.clone());
    }
    if outcome.is_refused {
        status.last_refresh_at = Some(Time(now));
    }
    status.last_success_at = last_success(&status);
    status.suspended = None;
    if !outcome.judged.is_empty() {
        status.observed_inputs.clone_from(&outcome.judged);
    } else if status.observed_generation != Some(observed.generation()) {
        // The recorded verdict is about another spec; a fresh process must not take it for one about this.
        status.observed_inputs.clear();
    }
    if let Some(credential) = &outcome.credential {
        status.credential = Some(credential.clone());
    }
    let Tally { delivery, targets } = &outcome.tally;
    let delivery_problem = match delivery {
        Delivery::Impossible(problem) | Delivery::Partial(problem) => Some(problem),
        Delivery::Current | Delivery::Outstanding => None,
    };
    let expired = expires_at(&status).filter(|end| *end <= now);
    let problem =
        outcome.problem.clone().or_else(|| Some(policy::expired(&in_words(observed.targets.name()), expired?)));
    // Of a spec that makes no sense nobody knows what it asks for: what is linked stays.
    let links = observed.links.as_ref().filter(|_| connection.is_some());
    // Before anybody has looked, what was told last is true.
    let before = links.filter(|links| links.is_under_way && !observed.is_edited());
    let before = before.and_then(|_| linked::told_before(&observed.status));
    let links = before.as_ref().or(links);
    if connection.is_some() {
        status.linked_service_accounts = links.and_then(|links| links.accounts);
    }
    let link_problem = links.and_then(|links| links.problem.as_ref());
    status.last_error = problem.as_ref().or(delivery_problem).or(link_problem).map(Problem::to_last_error);
    // Whoever waits for the echo wants to read what came of it.
    let is_under_way = problem.is_none() && *delivery == Delivery::Outstanding;
    if !is_under_way {
        let Requested { refresh, test } = observed.requests.handled().clone();
        (status.last_handled_refresh_at, status.last_handled_test_at) = (refresh, test);
    }
    status.next_refresh_at = connection.and_then(|connection| next_refresh(connection, &status)).map(Time);
    status.targets = Some(targets.clone());

    let facts = Facts {
        problem: problem.as_ref(),
        expired,
        verdict: status.last_test.as_ref().map(|test| test.verdict).filter(|verdict| verdict.is_verdict()),
        delivery,
        subject: (status.registry_host.as_deref().unwrap_or("the registry"), observed.targets.name()),
        places: places(observed, targets),
        missing_for_long: missing_since(&observed.status)
            .is_some_and(|since| is_ahead(since, now) || now.duration_since(since) >= MISSING_BECOMES_STALLED),
        // A spec that was not delivered yet is not ready, however good its predecessor was.
        ready_before: ready_before(&observed.status)
            .filter(|_| observed.status.observed_generation == Some(observed.generation())),
    };
    let desired = policy::conditions(&facts);
    let desired = match (connection, links) {
        (Some(_), Some(links)) => linked::with_links(desired, links),
        (Some(_), None) => desired,
        (None, _) => desired.into_iter().chain(linked::as_before(&observed.status.conditions)).collect(),
    };
    settle(status, &observed.status, &desired, observed.generation(), now)
}

/// The status of a suspended connection: its conditions keep their values and move to the new generation. That the
/// credential expired is told all the same.
///
/// What it would do if it went on is not asked: a spec that makes no sense can be suspended too.
pub fn suspended_status(observed: &Observed, now: Timestamp) -> RegistryConnectionStatus {
    let now = whole_seconds(now);
    let mut status = observed.status.clone();
    status.provider = Some(observed.object.spec.provider.key().to_owned());
    status.next_refresh_at = None;
    status.suspended = Some(true);
    if observed.is_new() {
        return settle(status, &observed.status, &policy::suspended_conditions(), observed.generation(), now);
    }
    if let Some(end) = expires_at(&status).filter(|end| *end <= now) {
        let problem = policy::expired(&in_words(observed.targets.name()), end);
        status.last_error = Some(problem.to_last_error());
        let Tally { delivery, targets } = tally::as_told(observed);
        let (name, places) = (observed.targets.name(), places(observed, &targets));
        let mut desired = policy::expired_conditions(&problem, &delivery, name, places);
        desired.extend(linked::as_before(&observed.status.conditions));
        return settle(status, &observed.status, &desired, observed.generation(), now);
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
    next_refresh_at(connection, status, Timestamp::MIN, Timestamp::MAX)
}

/// When a test was last a success; none if there is no test.
fn last_success(status: &RegistryConnectionStatus) -> Option<Time> {
    match &status.last_test {
        Some(test) if test.verdict == Reason::NotTested => None,
        Some(test) if test.is_success() => Some(test.time.clone()),
        Some(_) | None => status.last_success_at.clone(),
    }
}

fn in_words(secret: &str) -> String {
    format!("Secret {secret}")
}

/// In how many namespaces the Secret holds the credential, and in how many it should, if that is worth telling.
fn places(observed: &Observed, targets: &Targets) -> Option<(i32, i32)> {
    match observed.object.kind() {
        Kind::Namespaced => None,
        Kind::Cluster => Some((targets.current, targets.desired)),
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

fn ready_before(status: &RegistryConnectionStatus) -> Option<Desired> {
    let ready = condition::find(&status.conditions, ConditionType::Ready)?;
    Some(Desired {
        kind: ConditionType::Ready,
        status: if ready.status == "True" { ConditionStatus::True } else { ConditionStatus::False },
        reason: reason_of(ready)?,
        message: ready.message.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::status::{Control, RepositoryVerdict, TestedRepository},
        controller::{
            announce::announcement,
            fixture::{connection, delivered, minutes_later, named, observed, standing},
            sighting::SecretState,
        },
        problem::field,
    };
    use serde_json::json;

    fn unchanged(problem: Option<Reason>, delivery: Delivery) -> Outcome {
        Outcome::unchanged(problem.map(|reason| Problem::new(reason, "why")), standing(delivery))
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

    fn proven_at(minute: i64) -> LastTest {
        let (time, verdict) = (Time(minutes_later(minute)), Reason::LoginProven);
        LastTest { time, verdict, refused_since: None, repositories: vec![], control: None }
    }

    #[test]
    fn a_delivery_that_outlasts_a_pass_tells_of_its_test_once() {
        let begun = || Outcome { test: Some(proven_at(1)), ..unchanged(None, Delivery::Outstanding) };
        let observed = settled(&begun());
        let goes_on = Outcome { is_unfinished: true, ..begun() };
        assert_eq!(after(&observed, &goes_on, 3), observed.status);
        let refreshed = after(&observed, &begun(), 3).last_refresh_at;
        assert_eq!(refreshed, Some(Time(minutes_later(3))), "another refresh may rest on the same test");
    }

    #[test]
    fn a_refresh_that_finds_everything_as_it_was_changes_only_the_times() {
        let observed = settled(&unchanged(None, Delivery::Current));
        let outcome = Outcome { test: Some(proven_at(30)), ..unchanged(None, Delivery::Current) };
        let mut status = after(&observed, &outcome, 30);
        assert_eq!(status.last_refresh_at, Some(Time(minutes_later(30))));
        assert!(status.next_refresh_at > observed.status.next_refresh_at);
        status.last_refresh_at.clone_from(&observed.status.last_refresh_at);
        status.last_success_at.clone_from(&observed.status.last_success_at);
        status.next_refresh_at.clone_from(&observed.status.next_refresh_at);
        status.last_test.clone_from(&observed.status.last_test);
        assert_eq!(status, observed.status);
        assert_eq!(announcement(&observed.status, &status), None);
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
    fn the_last_success_outlives_a_refusal_and_is_no_word_of_a_test_that_was_none() {
        let success = |verdict, found: Option<RepositoryVerdict>, minutes| {
            let repositories: Vec<_> =
                found.map(|verdict| TestedRepository { name: "r".into(), verdict }).into_iter().collect();
            let time = Time(minutes_later(minutes));
            let test = LastTest { time, verdict, refused_since: None, repositories, control: None };
            let mut observed = observed(delivered(|_| {}));
            observed.recorded(settled(&unchanged(None, Delivery::Current)).status);
            let outcome = Outcome { test: Some(test), ..unchanged(None, Delivery::Current) };
            after(&observed, &outcome, minutes).last_success_at
        };
        let at = |minutes| Some(Time(minutes_later(minutes)));
        for (verdict, repository, expected) in [
            (Reason::LoginProven, None, at(30)),
            (Reason::RepositoriesProven, Some(RepositoryVerdict::PullProven), at(30)),
            (Reason::Unverified, Some(RepositoryVerdict::TagMissing), at(30)),
            (Reason::LoginProven, Some(RepositoryVerdict::InsufficientScope), at(0)),
            (Reason::InvalidCredentials, None, at(0)),
            (Reason::NotTested, None, None),
        ] {
            assert_eq!(success(verdict, repository, 30), expected, "{verdict} {repository:?}");
        }
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
        let event = announcement(&settled(&unchanged(None, Delivery::Current)).status, &status);
        assert_eq!(event.map(|event| event.reason), Some(Reason::Suspended));
        assert_eq!(announcement(&status, &status), None);
    }

    #[test]
    fn an_expiry_is_told_of_a_suspended_connection_too() {
        let observed = observed(delivered(|object| {
            object["metadata"]["generation"] = 2.into();
            object["spec"]["suspend"] = true.into();
            object["status"]["credential"]["expiresAt"] = "2026-01-01T00:05:00Z".into();
        }));
        let before = suspended_status(&observed, minutes_later(4));
        assert!(condition::is_true(&before.conditions, ConditionType::Ready));
        let after = suspended_status(&observed, minutes_later(5));
        let told = |kind| condition::find(&after.conditions, kind).map(|c| (c.status.clone(), c.reason.clone()));
        assert_eq!(told(ConditionType::Ready), Some(("False".into(), "Expired".into())));
        assert_eq!(told(ConditionType::Delivered), Some(("True".into(), "Delivered".into())));
        assert_eq!(after.last_error.map(|error| error.code), Some(Reason::Expired));
    }

    #[test]
    fn an_expiry_during_an_outage_is_told() {
        let observed = observed(delivered(|object| {
            object["status"]["credential"]["expiresAt"] = "2026-01-01T00:05:00Z".into();
        }));
        let waiting = unchanged(Some(Reason::Unreachable), Delivery::Current);
        for (minutes, expected) in [(4, ("True", "LoginProven")), (5, ("False", "Expired"))] {
            let status = after(&observed, &waiting, minutes);
            let ready = condition::find(&status.conditions, ConditionType::Ready).unwrap();
            assert_eq!((ready.status.as_str(), ready.reason.as_str()), expected, "{minutes} minutes");
            assert_eq!(status.last_error.map(|error| error.code), Some(Reason::Unreachable));
        }
    }

    #[test]
    fn the_status_stays_small_whatever_is_wrong() {
        let mut observed = observed(delivered(|object| object["metadata"]["name"] = "n".repeat(253).into()));
        observed.targets.learn("shop", SecretState::Absent);
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
                standing(Delivery::Impossible(Problem::new(Reason::TargetConflict, long))),
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
