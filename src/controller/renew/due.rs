//! What there is to do for a connection whose provider issues credentials: small checks over stored times, and over what
//! the watch shows of the ledger. Nothing is read for them. Pure.

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::{
        ConditionType, Reason, condition,
        connection::RenewalPolicy,
        status::{DeliveredCredential, RegistryConnectionStatus},
    },
    clock::whole_seconds,
    controller::{
        due::{
            Cause, Due, PAUSE_AFTER_FAILED_REPOSITORY, PAUSE_AFTER_REFUSAL, due_in_pause, expires_at, input_changed,
            is_ahead, is_unexpired, settled_problem, unsettled,
        },
        observe::Observed,
        policy::Delivery,
        sighting::SecretState,
        tally::tally,
        validate::Connection,
        withdraw,
    },
    domain::ledger::Entry,
    problem::Problem,
};

/// The least time before the end of a credential at which it is renewed.
const LEAST_MARGIN: SignedDuration = SignedDuration::from_mins(5);

/// How long a pass may take, and how much the time of its end may differ from that of its beginning.
pub(super) const LONGEST_PASS: SignedDuration = SignedDuration::from_secs(60);

/// The shortest pause before another try, however soon what is delivered ends.
const SHORTEST_PAUSE: SignedDuration = SignedDuration::from_secs(1);

/// When to try again what failed, if that is not to be before `not_before` by itself: while what is delivered has not long to
/// live, several times before its end.
pub(super) fn pressed(not_before: Timestamp, status: &RegistryConnectionStatus, now: Timestamp) -> Timestamp {
    let left = expires_at(status).map(|end| end.duration_since(now)).filter(|left| left.is_positive());
    left.map_or(not_before, |left| not_before.min(add(now, (left / 4).max(SHORTEST_PAUSE))))
}

/// Since when a credential lives, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    issued_at: Timestamp,
    expires_at: Timestamp,
}

impl Life {
    /// Of a credential that the status tells of.
    pub(super) fn of_delivered(credential: &DeliveredCredential) -> Option<Self> {
        let (issued_at, expires_at) = (credential.issued_at.as_ref()?.0, credential.expires_at.as_ref()?.0);
        Some(Self { issued_at, expires_at })
    }

    /// Of a credential in the ledger, in whole seconds as the status tells it: what is due by one must be by the other.
    pub(super) fn of(entry: &Entry) -> Self {
        Self { issued_at: whole_seconds(entry.issued_at), expires_at: whole_seconds(entry.expires_at) }
    }

    fn length(self) -> SignedDuration {
        self.expires_at.duration_since(self.issued_at)
    }

    /// From when on it may not be relied on any more: a tenth of its life before its end, at least five minutes.
    pub(super) fn latest(self) -> Timestamp {
        add(self.expires_at, -(self.length() / 10).max(LEAST_MARGIN))
    }

    /// Whether it is one of the time to come: the clock was set back since.
    pub(super) fn is_ahead(self, now: Timestamp) -> bool {
        is_ahead(self.issued_at, now)
    }

    /// When it is renewed. What fell due while nobody was there is spread, unless its end presses.
    pub(super) fn renewal(self, connection: &Connection, started: Timestamp) -> Timestamp {
        let wanted = match connection.renewal_policy {
            RenewalPolicy::OnInterval => connection.grid.next_after(self.issued_at),
            RenewalPolicy::NearExpiry => add(self.issued_at, self.length() / 2),
        };
        connection.grid.spread(wanted, started).min(self.latest())
    }
}

/// What there is to do for such a connection now.
pub fn due(
    connection: &Connection,
    observed: &Observed,
    grace: SignedDuration,
    started: Timestamp,
    now: Timestamp,
) -> Due {
    // A new request ends a pause; one that could not be met waits as everything does.
    let main = due_in_pause(connection, observed, now).unwrap_or_else(|| main(connection, observed, started, now));
    match main {
        Due::Nothing if is_revocation_due(observed, grace, now) => Due::Revoke,
        main => main,
    }
}

/// What the user asks for.
fn requested(observed: &Observed) -> Option<Due> {
    let requests = &observed.requests;
    let due = if requests.wants_refresh() { Due::Renew } else { Due::Test };
    requests.is_pending().then(|| due(Cause::Requested))
}

fn main(connection: &Connection, observed: &Observed, started: Timestamp, now: Timestamp) -> Due {
    if let Some(due) = requested(observed) {
        return due;
    }
    let status = &observed.status;
    let settled = settled_problem(status);
    let is_edited = observed.is_edited();
    // The last cause is the strongest.
    let causes = [
        (Due::Test(Cause::LedgerChanged), ledger_changed(observed)),
        (Due::Test(Cause::NoVerdict), unsettled(status) || is_unexpired(status, now)),
        // Whoever had it issued ended before it was judged, or before that was told.
        (Due::Test(Cause::NoVerdict), settled.is_none() && has_candidate(observed)),
        (Due::Renew(Cause::NotIssued), unsettled(status) && observed.memory.not_issued),
        (Due::Test(Cause::SpecChanged), is_edited),
        (Due::Test(Cause::InputChanged), input_changed(observed)),
        (Due::Renew(Cause::NeverJudged), status.credential.is_none() && settled.is_none()),
    ];
    if let Some((due, _)) = causes.into_iter().rev().find(|(_, applies)| *applies) {
        return due;
    }
    if let Some(due) = time(connection, status, started, now) {
        return due;
    }
    if settled.is_some() && withdraw::is_outstanding(connection, observed) {
        return Due::Withdraw;
    }
    match tally(connection, observed, status.credential.as_ref(), now).delivery {
        Delivery::Outstanding if is_deliverable(observed, now) => Due::Deliver,
        Delivery::Outstanding | Delivery::Current | Delivery::Partial(_) | Delivery::Impossible(_) => Due::Nothing,
    }
}

/// What has come of the times.
fn time(connection: &Connection, status: &RegistryConnectionStatus, started: Timestamp, now: Timestamp) -> Option<Due> {
    let Times { renewal, test } = times(connection, status, started, now);
    let has_come = |time: Option<Timestamp>| time.is_some_and(|time| now >= time);
    match (has_come(renewal), has_come(test)) {
        (true, _) if settled_problem(status).is_some() => Some(Due::Renew(Cause::NotIssued)),
        (true, _) => Some(Due::Renew(Cause::TimePassed)),
        (false, true) => Some(Due::Test(Cause::TimePassed)),
        (false, false) => None,
    }
}

/// When the next refresh is, if nothing changes.
pub fn next(
    connection: &Connection,
    status: &RegistryConnectionStatus,
    started: Timestamp,
    now: Timestamp,
) -> Option<Timestamp> {
    let Times { renewal, test } = times(connection, status, started, now);
    renewal.into_iter().chain(test).min()
}

struct Times {
    renewal: Option<Timestamp>,
    test: Option<Timestamp>,
}

fn times(connection: &Connection, status: &RegistryConnectionStatus, started: Timestamp, now: Timestamp) -> Times {
    let refreshed = status.last_refresh_at.as_ref().map(|time| time.0);
    if let Some(problem) = settled_problem(status) {
        let tested = status.last_test.as_ref().map(|test| test.time.0);
        let since = if problem.is_of_a_repository() { tested } else { refreshed };
        let again = since.and_then(|since| {
            let again = add(since, pause(&problem)?);
            Some(if is_ahead(since, now) { Timestamp::MIN } else { again })
        });
        return match problem.is_of_a_repository() {
            true => Times { renewal: None, test: again },
            false => Times { renewal: again, test: None },
        };
    }
    let life = status.credential.as_ref().and_then(Life::of_delivered);
    let renewal = life.map(|life| match life.is_ahead(now) {
        true => Timestamp::MIN,
        false => life.renewal(connection, started),
    });
    let test = match connection.renewal_policy {
        // Every renewal is a test.
        RenewalPolicy::OnInterval => None,
        RenewalPolicy::NearExpiry if connection.test.is_none() => None,
        RenewalPolicy::NearExpiry => refreshed.map(|refreshed| match is_ahead(refreshed, now) {
            true => Timestamp::MIN,
            false => connection.grid.spread(connection.grid.next_after(refreshed), started),
        }),
    };
    Times { renewal, test }
}

/// The pause after a refusal; none where only a change helps.
fn pause(problem: &Problem) -> Option<SignedDuration> {
    match problem.reason {
        Reason::InvalidCredentials => Some(PAUSE_AFTER_REFUSAL),
        // Grants spread, and registries are created, without a sign that a watch could show.
        Reason::InsufficientScope | Reason::RepositoryNotFound | Reason::InvalidSpec => {
            Some(PAUSE_AFTER_FAILED_REPOSITORY)
        }
        _ => None,
    }
}

/// The ledger is not there although something was issued, or is not as this operator wrote it, or says another revision than
/// the status; and it was not looked at in this form.
fn ledger_changed(observed: &Observed) -> bool {
    let delivered = observed.status.credential.as_ref().map(|credential| credential.revision.as_str());
    let is_other = match &observed.ledger {
        SecretState::Absent => delivered.is_some(),
        SecretState::Unknown => true,
        SecretState::Present(meta) => !meta.data_trusted || meta.revision() != delivered,
    };
    is_other && observed.memory.ledger != Some(observed.ledger.sighting())
}

/// Whether something was issued that was not judged for good.
fn has_candidate(observed: &Observed) -> bool {
    match &observed.ledger {
        SecretState::Present(meta) => meta.has_candidate(),
        SecretState::Absent | SecretState::Unknown => false,
    }
}

/// Whether the ledger may hold what belongs into the target.
fn is_deliverable(observed: &Observed, now: Timestamp) -> bool {
    let has_revision = match &observed.ledger {
        SecretState::Present(meta) => meta.revision().is_some(),
        SecretState::Absent | SecretState::Unknown => false,
    };
    has_revision && expires_at(&observed.status).is_none_or(|end| end > now)
}

/// When something is to be revoked, if anything is, as far as can be told without the ledger: after the grace, which counts
/// from the moment the target was seen to hold the successor. If that is long after, something else was put right then.
pub fn revocation(ledger: &SecretState, status: &RegistryConnectionStatus, grace: SignedDuration) -> Option<Timestamp> {
    let from = match ledger {
        SecretState::Present(meta) => meta.revoke_from()?,
        SecretState::Absent | SecretState::Unknown => return None,
    };
    let delivered = delivered_since(status).map(|since| add(since, grace));
    let same_pass = |end: &Timestamp| *end > from && end.duration_since(from) <= LONGEST_PASS;
    Some(delivered.filter(same_pass).unwrap_or(from))
}

/// Since when the target surely holds what it should: it is told in whole seconds.
pub(super) fn delivered_since(status: &RegistryConnectionStatus) -> Option<Timestamp> {
    let delivered = condition::find(&status.conditions, ConditionType::Delivered)?;
    (delivered.status == "True").then(|| add(delivered.last_transition_time.0, SignedDuration::from_secs(1)))
}

fn is_revocation_due(observed: &Observed, grace: SignedDuration, now: Timestamp) -> bool {
    let is_resting =
        observed.memory.revocation.as_ref().is_some_and(|last| now < last.not_before && !is_ahead(last.since, now));
    !is_resting && revocation(&observed.ledger, &observed.status, grace).is_some_and(|time| now >= time)
}

fn add(time: Timestamp, duration: SignedDuration) -> Timestamp {
    time.saturating_add(duration).unwrap_or(if duration.is_negative() { Timestamp::MIN } else { Timestamp::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::{
            Declared,
            names::{REVISION_ANNOTATION, REVOKE_FROM_ANNOTATION},
            status::ObservedInput,
        },
        controller::{
            fixture::{
                connection, created, delivered, deny, entry, holding, issuing, minutes_later, object, observed, present,
            },
            memory::{Attempt, Revocation},
            request::Requests,
            schedule::Grid,
            secret_meta::{Marks, SecretMeta},
        },
    };
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::{Value, json};
    use std::sync::Arc;

    const GRACE: SignedDuration = SignedDuration::from_mins(10);
    const SECOND: SignedDuration = SignedDuration::from_secs(1);

    /// A connection that was renewed and delivered at minute 0, with a life of 90 minutes and an interval of 30.
    fn renewed(change: impl FnOnce(&mut Value)) -> Declared {
        delivered(|object| {
            object["status"]["credential"] =
                json!({"revision": "r1", "issuedAt": "2026-01-01T00:00:00Z", "expiresAt": "2026-01-01T01:30:00Z"});
            change(object);
        })
    }

    /// Its ledger.
    fn ledger(resource_version: &str, revision: Option<&str>, revoke_from: Option<Timestamp>) -> SecretMeta {
        let revision = revision.map(|revision| (REVISION_ANNOTATION.to_owned(), revision.to_owned()));
        let revoke_from = revoke_from.map(|time| (REVOKE_FROM_ANNOTATION.to_owned(), time.to_string()));
        SecretMeta {
            uid: "l".into(),
            resource_version: resource_version.into(),
            marks: Arc::new(Marks {
                annotations: revision.into_iter().chain(revoke_from).collect(),
                ..Marks::default()
            }),
            data_trusted: true,
            ..SecretMeta::default()
        }
    }

    fn known(meta: SecretMeta) -> SecretState {
        SecretState::Present(Arc::new(meta))
    }

    /// Everything as it should be around it.
    fn around(object: Declared) -> Observed {
        let connection = issuing(&object);
        let mut observed = observed(object);
        let credential = observed.status.credential.clone();
        observed.ledger = known(ledger("3", credential.as_ref().map(|credential| credential.revision.as_str()), None));
        observed
            .targets
            .learn("shop", credential.map_or(SecretState::Absent, |credential| holding(&connection, &credential)));
        observed
    }

    fn as_it_should_be() -> Observed {
        around(renewed(|_| {}))
    }

    fn due_at(observed: &Observed, now: Timestamp) -> Due {
        due(&issuing(&observed.object), observed, GRACE, created(), now)
    }

    fn due_now(observed: &Observed) -> Due {
        due_at(observed, minutes_later(1))
    }

    fn next_at(observed: &Observed, started: Timestamp) -> Option<Timestamp> {
        next(&issuing(&observed.object), &observed.status, started, minutes_later(120))
    }

    fn failing(error: Value, valid: &str) -> Observed {
        around(renewed(|object| {
            object["status"]["lastError"] = error;
            object["status"]["conditions"][1]["status"] = valid.into();
        }))
    }

    fn pausing(observed: &mut Observed, trouble: Problem, until: Timestamp) {
        let basis = observed.basis();
        let (count, since) = (0, created());
        observed.memory.attempt =
            Some(Box::new(Attempt { count, since, not_before: until, basis, trouble, question: None, keeps: false }));
    }

    fn credential_trouble() -> Problem {
        Problem::new(Reason::Unreachable, "m")
    }

    #[test]
    fn nothing_is_due_when_everything_is_as_it_was() {
        assert_eq!(due_now(&as_it_should_be()), Due::Nothing);
    }

    #[test]
    fn something_is_due_when_what_it_rests_on_changed() {
        type Change = fn(&mut Observed);
        let cases: [(&str, Change, Due); 12] = [
            ("API credential edited", |o| o.source = present("s", "2"), Due::Test(Cause::InputChanged)),
            ("API credential gone", |o| o.source = SecretState::Absent, Due::Test(Cause::InputChanged)),
            ("ledger gone", |o| o.ledger = SecretState::Absent, Due::Test(Cause::LedgerChanged)),
            ("ledger not known", |o| o.ledger = SecretState::Unknown, Due::Test(Cause::LedgerChanged)),
            (
                "ledger edited by hand",
                |o| {
                    o.ledger = known(SecretMeta { data_trusted: false, ..ledger("4", Some("r1"), None) });
                },
                Due::Test(Cause::LedgerChanged),
            ),
            (
                "ledger further than the status",
                |o| o.ledger = known(ledger("4", Some("r2"), None)),
                Due::Test(Cause::LedgerChanged),
            ),
            (
                "ledger without a credential",
                |o| o.ledger = known(ledger("4", None, None)),
                Due::Test(Cause::LedgerChanged),
            ),
            ("target gone", |o| o.targets.learn("shop", SecretState::Absent), Due::Deliver),
            ("foreign target", |o| o.targets.learn("shop", present("x", "1")), Due::Nothing),
            ("status lost", |o| o.status.credential = None, Due::Renew(Cause::NeverJudged)),
            (
                "status lost and API credential edited",
                |o| {
                    o.status.credential = None;
                    o.source = present("s", "2");
                },
                Due::Renew(Cause::NeverJudged),
            ),
            (
                "ledger and API credential edited",
                |o| {
                    o.ledger = SecretState::Absent;
                    o.source = present("s", "2");
                },
                Due::Test(Cause::InputChanged),
            ),
        ];
        for (name, change, expected) in cases {
            let mut observed = as_it_should_be();
            change(&mut observed);
            assert_eq!(due_now(&observed), expected, "{name}");
        }
        let edited = around(renewed(|object| object["metadata"]["generation"] = 2.into()));
        assert_eq!(due_now(&edited), Due::Test(Cause::SpecChanged));
        let both = Observed { source: present("s", "2"), ..edited };
        assert_eq!(due_now(&both), Due::Test(Cause::InputChanged), "another Secret may give other access");
    }

    #[test]
    fn the_first_credential_is_due_at_once() {
        let mut fresh = observed(object(|_| {}));
        fresh.ledger = SecretState::Absent;
        fresh.targets.learn("shop", SecretState::Absent);
        assert_eq!(due_now(&fresh), Due::Renew(Cause::NeverJudged));
        assert_eq!(next_at(&fresh, created()), None, "nothing is due by the clock");
    }

    #[test]
    fn a_ledger_is_looked_at_once_in_each_form() {
        let forms = [
            SecretState::Absent,
            known(SecretMeta { data_trusted: false, ..ledger("4", Some("r1"), None) }),
            known(ledger("4", Some("r2"), None)),
        ];
        for form in forms {
            let mut observed = as_it_should_be();
            observed.ledger = form.clone();
            observed.memory.ledger = Some(form.sighting());
            assert_eq!(due_now(&observed), Due::Nothing, "{form:?}");
            observed.ledger = known(SecretMeta { data_trusted: false, ..ledger("5", Some("r1"), None) });
            assert_eq!(due_now(&observed), Due::Test(Cause::LedgerChanged), "in another form");
        }
    }

    #[test]
    fn a_touched_api_credential_that_was_judged_is_no_change() {
        let mut observed = as_it_should_be();
        observed.source = present("s", "2");
        let (kind, name) = ("Secret".to_owned(), "login".to_owned());
        let input = ObservedInput { kind, name, uid: "s".into(), resource_version: "2".into() };
        observed.memory.judged.push(input);
        assert_eq!(due_now(&observed), Due::Nothing);
    }

    /// When a credential issued at minute 0 is renewed, in minutes.
    #[test]
    fn renewals_follow_the_policy_and_never_come_too_near_the_end() {
        use RenewalPolicy::{NearExpiry, OnInterval};
        // The first time on the grid is between an eighth and the whole of the interval.
        for (policy, interval, life, earliest, last) in [
            (OnInterval, 30, 90, 3, 30),
            (OnInterval, 5, 60, 0, 5),
            (OnInterval, 1440, 4320, 180, 1440),
            (OnInterval, 1440, 90, 81, 81),
            (OnInterval, 1440, 20, 15, 15),
            (OnInterval, 1440, 50, 45, 45),
            (NearExpiry, 30, 90, 45, 45),
            (NearExpiry, 5, 60, 30, 30),
            (NearExpiry, 5, 10, 5, 5),
            (NearExpiry, 5, 8, 3, 3),
            (NearExpiry, 30, 43_200, 21_600, 21_600),
        ] {
            let object = renewed(|object| object["spec"]["refreshIntervalMinutes"] = interval.into());
            let connection = Connection { renewal_policy: policy, ..issuing(&object) };
            let renewal = Life::of(&entry(&connection, "r1", 0, life)).renewal(&connection, created());
            let name = format!("{policy:?} every {interval} min, life {life} min: {renewal}");
            assert!(renewal >= minutes_later(earliest) && renewal <= minutes_later(last), "{name}");
        }
    }

    #[test]
    fn the_interval_brings_a_renewal_and_not_before() {
        let observed = as_it_should_be();
        let next = next_at(&observed, created()).unwrap();
        assert_eq!(next, issuing(&observed.object).grid.next_after(created()));
        assert_eq!(due_at(&observed, next - SECOND), Due::Nothing);
        assert_eq!(due_at(&observed, next), Due::Renew(Cause::TimePassed));
    }

    #[test]
    fn near_expiry_each_interval_brings_a_test_and_half_the_life_a_renewal() {
        let mut observed = around(renewed(|object| object["spec"]["renewalPolicy"] = "NearExpiry".into()));
        let grid = issuing(&observed.object).grid;
        let first = grid.next_after(created());
        assert_eq!(next_at(&observed, created()), Some(first));
        assert_eq!(due_at(&observed, first - SECOND), Due::Nothing);
        assert_eq!(due_at(&observed, first), Due::Test(Cause::TimePassed));
        observed.status.last_refresh_at = Some(Time(first));
        assert_eq!(next_at(&observed, created()), Some(grid.next_after(first).min(minutes_later(45))));
        assert_eq!(due_at(&observed, minutes_later(45)), Due::Renew(Cause::TimePassed), "a renewal is a test");
        let untested = around(renewed(|object| {
            object["spec"]["renewalPolicy"] = "NearExpiry".into();
            object["spec"]["test"] = json!({"mode": "Off"});
        }));
        assert_eq!(next_at(&untested, created()), Some(minutes_later(45)), "nothing is tested");
    }

    #[test]
    fn what_fell_due_during_an_absence_is_spread_unless_the_end_presses() {
        let observed = as_it_should_be();
        let back = minutes_later(60);
        let next = next_at(&observed, back).unwrap();
        assert!(next > back && next <= minutes_later(63), "{next}");
        let due_since = |started, now| due(&issuing(&observed.object), &observed, GRACE, started, now);
        assert_eq!(due_since(back, next - SECOND), Due::Nothing);
        assert_eq!(due_since(back, next), Due::Renew(Cause::TimePassed));
        for started in [minutes_later(80), minutes_later(81), minutes_later(100)] {
            assert!(next_at(&observed, started).unwrap() <= minutes_later(81), "{started}");
            assert_eq!(due_since(started, minutes_later(81).max(started)), Due::Renew(Cause::TimePassed), "{started}");
        }
    }

    #[test]
    fn a_clock_that_was_set_back_makes_due_what_has_a_time() {
        let past = created() - SignedDuration::from_hours(1);
        assert_eq!(due_at(&as_it_should_be(), past), Due::Renew(Cause::TimePassed));
        assert_eq!(
            due_at(&as_it_should_be(), created() - SignedDuration::from_secs(30)),
            Due::Nothing,
            "clocks differ"
        );
        let refused = failing(json!({"code": "InvalidCredentials", "message": "m"}), "False");
        assert_eq!(due_at(&refused, past), Due::Renew(Cause::NotIssued));
        let for_good = failing(json!({"code": "SecretMalformed", "message": "m"}), "Unknown");
        assert_eq!(due_at(&for_good, past), Due::Nothing);
        let tested = |renewal: Timestamp| {
            let mut observed = around(renewed(|object| object["spec"]["renewalPolicy"] = "NearExpiry".into()));
            observed.status.credential.as_mut().unwrap().issued_at = Some(Time(renewal));
            observed
        };
        assert_eq!(due_at(&tested(past), past), Due::Test(Cause::TimePassed), "only the test is of the time to come");
    }

    #[test]
    fn a_settled_refusal_waits_for_its_pause_and_then_for_a_renewal() {
        let error = |code: &str, field: Option<&str>| json!({"code": code, "message": "m", "field": field});
        let (api, name, repositories) = (
            Some("spec.provider.digitalocean.secretRef"),
            Some("spec.provider.digitalocean.registryName"),
            Some("spec.test.repositories"),
        );
        let (renewal, test) = (Due::Renew(Cause::NotIssued), Due::Test(Cause::TimePassed));
        for (error, expected) in [
            (error("InvalidCredentials", api), Some((30, renewal))),
            (error("InvalidCredentials", None), Some((30, renewal))),
            (error("InsufficientScope", api), Some((10, renewal))),
            (error("InvalidSpec", name), Some((10, renewal))),
            (error("InsufficientScope", repositories), Some((10, test))),
            (error("RepositoryNotFound", repositories), Some((10, test))),
            (error("SecretKeyMissing", api), None),
            (error("SecretMalformed", api), None),
            (error("HostMismatch", api), None),
        ] {
            let observed = failing(error.clone(), "False");
            let pause = expected.map(|(minutes, _)| minutes_later(minutes));
            assert_eq!(next_at(&observed, created()), pause, "{error}");
            match expected {
                Some((minutes, due)) => {
                    assert_eq!(due_at(&observed, minutes_later(minutes) - SECOND), Due::Nothing, "{error}");
                    assert_eq!(due_at(&observed, minutes_later(minutes)), due, "{error}");
                }
                None => assert_eq!(due_at(&observed, minutes_later(100_000)), Due::Nothing, "{error}"),
            }
        }
    }

    #[test]
    fn a_repository_that_fails_is_counted_from_the_test_and_a_refusal_from_the_refresh() {
        let later = |observed: &mut Observed| observed.status.last_refresh_at = Some(Time(minutes_later(7)));
        let mut of_a_repository =
            failing(json!({"code": "RepositoryNotFound", "message": "m", "field": "spec.test.repositories"}), "True");
        later(&mut of_a_repository);
        assert_eq!(next_at(&of_a_repository, created()), Some(minutes_later(10)));
        let mut of_the_api = failing(json!({"code": "InvalidCredentials", "message": "m"}), "False");
        later(&mut of_the_api);
        assert_eq!(next_at(&of_the_api, created()), Some(minutes_later(37)));
    }

    #[test]
    fn a_first_credential_that_was_refused_is_asked_for_again_after_its_pause() {
        let mut refused = failing(json!({"code": "InvalidCredentials", "message": "m"}), "False");
        (refused.status.credential, refused.ledger) = (None, known(ledger("3", None, None)));
        refused.targets.learn("shop", SecretState::Absent);
        assert_eq!(due_at(&refused, minutes_later(30) - SECOND), Due::Nothing);
        assert_eq!(due_at(&refused, minutes_later(30)), Due::Renew(Cause::NotIssued));
    }

    #[test]
    fn what_is_asked_for_comes_first_and_once() {
        let asking = |annotation: &str, change: &dyn Fn(&mut Value)| {
            let mut observed = around(renewed(|object| {
                object["metadata"]["annotations"] = json!({annotation: "now"});
                object["status"]["lastError"] = json!({"code": "InvalidCredentials", "message": "m"});
                change(object);
            }));
            pausing(&mut observed, credential_trouble(), Timestamp::MAX);
            observed.requests = Requests::of(&observed.object, &observed.status, &observed.memory.handled);
            observed
        };
        let (refresh, test) = ("regcred.dev/refresh-requested-at", "regcred.dev/test-requested-at");
        for (annotation, expected) in [(refresh, Due::Renew(Cause::Requested)), (test, Due::Test(Cause::Requested))] {
            let mut observed = asking(annotation, &|_| {});
            assert_eq!(due_now(&observed), expected);
            pausing(&mut observed, credential_trouble(), minutes_later(5));
            assert_eq!(due_now(&observed), Due::Nothing, "what could not be met waits");
            assert_eq!(due_at(&observed, minutes_later(5)), expected, "and is not forgotten");
            observed.requests.acted_on();
            assert_eq!(due_now(&observed), Due::Nothing, "once for each value");
        }
        let both = asking(refresh, &|object| object["metadata"]["annotations"][test] = "now".into());
        assert_eq!(due_now(&both), Due::Renew(Cause::Requested));
        let handled = asking(refresh, &|object| {
            object["metadata"]["annotations"][test] = "now".into();
            object["status"]["lastHandledRefreshAt"] = "now".into();
        });
        assert_eq!(due_now(&handled), Due::Test(Cause::Requested), "the renewal was made");
    }

    #[test]
    fn what_came_to_no_verdict_is_due_again_unless_it_pauses() {
        let mut waiting = failing(json!({"code": "Unreachable", "message": "m"}), "Unknown");
        assert_eq!(due_now(&waiting), Due::Test(Cause::NoVerdict), "after a restart");
        pausing(&mut waiting, credential_trouble(), minutes_later(5));
        assert_eq!(due_now(&waiting), Due::Nothing);
        waiting.memory.not_issued = true;
        assert_eq!(due_at(&waiting, minutes_later(5)), Due::Renew(Cause::NotIssued), "the provider was asked");
        waiting.memory.not_issued = false;
        assert_eq!(due_at(&waiting, minutes_later(5)), Due::Test(Cause::NoVerdict), "the registry was asked");
        let past = created() - SignedDuration::from_hours(1);
        assert_eq!(due_at(&waiting, past), Due::Test(Cause::NoVerdict), "the clock was set back");
        waiting.ledger = known(ledger("4", Some("r1"), None));
        assert_eq!(due_now(&waiting), Due::Test(Cause::NoVerdict), "a change ends the pause");
    }

    #[test]
    fn no_provider_is_asked_again_because_a_target_is_missing() {
        let mut waiting = failing(json!({"code": "Unreachable", "message": "m"}), "Unknown");
        waiting.memory.not_issued = true;
        pausing(&mut waiting, credential_trouble(), minutes_later(5));
        waiting.targets.learn("shop", SecretState::Absent);
        assert_eq!(due_now(&waiting), Due::Nothing);
        waiting.memory.attempt.as_mut().unwrap().keeps = true;
        assert_eq!(due_now(&waiting), Due::Keep);
    }

    #[test]
    fn a_target_that_cannot_be_written_does_not_keep_a_credential_from_being_renewed() {
        let mut denied = as_it_should_be();
        denied.targets.learn("shop", SecretState::Absent);
        deny(&mut denied, Timestamp::MAX);
        assert_eq!(due_now(&denied), Due::Nothing);
        assert_eq!(due_at(&denied, minutes_later(30)), Due::Renew(Cause::TimePassed));
        pausing(&mut denied, credential_trouble(), Timestamp::MAX);
        assert_eq!(due_at(&denied, minutes_later(30)), Due::Nothing, "no credential can be had");
    }

    #[test]
    fn only_what_the_ledger_holds_and_has_not_expired_is_delivered() {
        let missing = |ledger: SecretState| {
            let mut observed = failing(json!({"code": "InvalidCredentials", "message": "m"}), "False");
            observed.memory.ledger = Some(ledger.sighting());
            observed.ledger = ledger;
            observed.targets.learn("shop", SecretState::Absent);
            observed
        };
        let good = || known(ledger("3", Some("r1"), None));
        assert_eq!(due_now(&missing(good())), Due::Deliver, "what is delivered is kept in place while the API refuses");
        assert_eq!(due_now(&missing(SecretState::Absent)), Due::Nothing);
        assert_eq!(due_now(&missing(SecretState::Unknown)), Due::Nothing);
        assert_eq!(due_now(&missing(known(ledger("3", None, None)))), Due::Nothing);
        let mut expired = missing(good());
        expired.status.credential.as_mut().unwrap().expires_at = Some(Time(minutes_later(1)));
        assert_eq!(due_now(&expired), Due::Nothing);
    }

    #[test]
    fn a_login_refused_for_good_is_taken_back_where_the_user_wants_that() {
        let refused = |policy: &str| {
            around(renewed(|object| {
                object["spec"]["onRejected"] = policy.into();
                object["status"]["lastTest"] = json!({
                    "time": "2026-01-01T00:00:00Z", "verdict": "InvalidCredentials", "refusedSince": "2025-12-31T23:30:00Z",
                });
                object["status"]["lastError"] = json!({"code": "InvalidCredentials", "message": "m"});
            }))
        };
        assert_eq!(due_now(&refused("Remove")), Due::Withdraw);
        assert_eq!(due_now(&refused("Keep")), Due::Nothing);
    }

    #[test]
    fn what_was_replaced_is_revoked_after_the_grace_counted_from_the_delivery_of_its_successor() {
        let delivered_at = |status: &str, time: &str, from: Option<i64>| {
            let mut observed = around(renewed(|object| {
                object["status"]["conditions"][2]["status"] = status.into();
                object["status"]["conditions"][2]["lastTransitionTime"] = time.into();
                // Nothing else falls due within the test.
                object["spec"]["refreshIntervalMinutes"] = 1440.into();
            }));
            observed.ledger = known(ledger("3", Some("r1"), from.map(minutes_later)));
            observed
        };
        for (name, status, time, from, expected) in [
            ("nothing to revoke", "True", "2026-01-01T00:00:00Z", None, None),
            ("delivered at once", "True", "2026-01-01T00:00:00Z", Some(10), Some(minutes_later(10) + SECOND)),
            ("delivered later", "True", "2026-01-01T00:00:30Z", Some(10), Some(minutes_later(10) + SECOND * 31)),
            ("something else was put right", "True", "2026-01-01T00:07:00Z", Some(10), Some(minutes_later(10))),
            ("delivered long before", "True", "2025-12-31T00:00:00Z", Some(10), Some(minutes_later(10))),
            ("the target cannot be written", "False", "2026-01-01T00:07:00Z", Some(10), Some(minutes_later(10))),
        ] {
            let observed = delivered_at(status, time, from);
            assert_eq!(revocation(&observed.ledger, &observed.status, GRACE), expected, "{name}");
            if let Some(time) = expected {
                assert_eq!(due_at(&observed, time - SECOND / 2), Due::Nothing, "{name}");
                assert_eq!(due_at(&observed, time), Due::Revoke, "{name}");
            }
        }
        let observed = delivered_at("True", "2026-01-01T00:00:00Z", Some(10));
        for ledger in [SecretState::Absent, SecretState::Unknown] {
            assert_eq!(revocation(&ledger, &observed.status, GRACE), None);
        }
    }

    #[test]
    fn everything_else_comes_before_a_revocation() {
        let mut observed = as_it_should_be();
        observed.ledger = known(ledger("3", Some("r1"), Some(minutes_later(-60))));
        assert_eq!(due_at(&observed, minutes_later(30)), Due::Renew(Cause::TimePassed));
        observed.targets.learn("shop", SecretState::Absent);
        assert_eq!(due_at(&observed, minutes_later(3)), Due::Deliver);
        let mut waiting = failing(json!({"code": "Unreachable", "message": "m"}), "Unknown");
        waiting.ledger = known(ledger("3", Some("r1"), Some(minutes_later(-60))));
        pausing(&mut waiting, credential_trouble(), Timestamp::MAX);
        assert_eq!(due_at(&waiting, minutes_later(11)), Due::Revoke, "it needs nothing of what is in trouble");
    }

    #[test]
    fn a_revocation_that_failed_rests() {
        let mut observed = around(renewed(|object| object["spec"]["refreshIntervalMinutes"] = 1440.into()));
        observed.ledger = known(ledger("3", Some("r1"), Some(minutes_later(10))));
        observed.memory.revocation =
            Some(Revocation { count: 0, not_before: minutes_later(20), since: minutes_later(11), is_told: false });
        assert_eq!(due_at(&observed, minutes_later(20) - SECOND), Due::Nothing);
        assert_eq!(due_at(&observed, minutes_later(20)), Due::Revoke);
        observed.memory.revocation =
            Some(Revocation { count: 0, not_before: minutes_later(90), since: minutes_later(80), is_told: false });
        assert_eq!(due_at(&observed, minutes_later(20)), Due::Revoke, "the clock was set back");
    }

    #[test]
    fn times_at_the_ends_of_time_do_no_harm() {
        assert_eq!(add(Timestamp::MAX, SECOND), Timestamp::MAX);
        assert_eq!(add(Timestamp::MIN, -SECOND), Timestamp::MIN);
        let grid = Grid::new(created(), "u", SignedDuration::from_mins(30));
        let connection = Connection { grid, ..connection(&delivered(|_| {})) };
        for (issued_at, expires_at) in [(Timestamp::MIN, Timestamp::MAX), (Timestamp::MAX, Timestamp::MIN)] {
            let life = Life { issued_at, expires_at };
            for policy in [RenewalPolicy::OnInterval, RenewalPolicy::NearExpiry] {
                let connection = Connection { renewal_policy: policy, ..connection.clone() };
                assert!(life.renewal(&connection, created()) <= life.latest());
            }
        }
    }
}
