//! What there is to do for a connection whose provider issues credentials: small checks over stored times, and over what
//! the watch shows of the ledger. Nothing is read for them. Pure.

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::{
        ConditionType, Reason, condition,
        connection::RenewalPolicy,
        status::{DeliveredCredential, RegistryConnectionStatus},
    },
    controller::{
        due::{
            Cause, Due, PAUSE_AFTER_FAILED_REPOSITORY, PAUSE_AFTER_REFUSAL, expires_at, input_changed, is_ahead,
            is_unexpired, pausing_trouble, settled_problem, unsettled,
        },
        memory::Trouble,
        observe::Observed,
        plan::{Standing, standing},
        sighting::SecretState,
        validate::Connection,
        withdraw,
    },
    domain::ledger::Entry,
    problem::Problem,
};

/// The least time before the end of a credential at which it is renewed.
const LEAST_MARGIN: SignedDuration = SignedDuration::from_mins(5);

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

    /// Of a credential in the ledger.
    pub(super) fn of(entry: &Entry) -> Self {
        Self { issued_at: entry.issued_at, expires_at: entry.expires_at }
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
    let status = &observed.status;
    if observed.requests.is_pending() {
        return if observed.requests.wants_refresh() {
            Due::Renew(Cause::Requested)
        } else {
            Due::Test(Cause::Requested)
        };
    }
    let main = match pausing_trouble(observed, now) {
        // No credential can be had now, and what there is was delivered as far as it could be.
        Some(Trouble::Credential(_)) => Due::Nothing,
        Some(Trouble::Delivery(_)) => time(connection, status, started, now).unwrap_or(Due::Nothing),
        None => main(connection, observed, started, now),
    };
    match main {
        Due::Nothing if is_revocation_due(observed, grace, now) => Due::Revoke,
        main => main,
    }
}

fn main(connection: &Connection, observed: &Observed, started: Timestamp, now: Timestamp) -> Due {
    let status = &observed.status;
    let settled = settled_problem(status);
    let is_edited = observed.is_edited();
    // The last cause is the strongest.
    let causes = [
        (Due::Test(Cause::LedgerChanged), ledger_changed(observed)),
        (Due::Test(Cause::NoVerdict), unsettled(status) || is_unexpired(status, now)),
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
    match standing(connection, &observed.target, status.credential.as_ref()) {
        Standing::Missing | Standing::Outdated(_) if is_deliverable(observed, now) => Due::Deliver,
        Standing::Missing | Standing::Outdated(_) | Standing::Current | Standing::Foreign(_) => Due::Nothing,
    }
}

/// What has come of the times.
fn time(connection: &Connection, status: &RegistryConnectionStatus, started: Timestamp, now: Timestamp) -> Option<Due> {
    let Times { renewal, test } = times(connection, status, started, now);
    let has_come = |time: Option<Timestamp>| time.is_some_and(|time| now >= time);
    match (has_come(renewal), has_come(test)) {
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

/// Whether the ledger may hold what belongs into the target.
fn is_deliverable(observed: &Observed, now: Timestamp) -> bool {
    let has_revision = match &observed.ledger {
        SecretState::Present(meta) => meta.revision().is_some(),
        SecretState::Absent | SecretState::Unknown => false,
    };
    has_revision && expires_at(&observed.status).is_none_or(|end| end > now)
}

/// When something is to be revoked, if anything is: after the grace, which counts from the moment the target was seen to
/// hold the successor.
pub fn revocation(ledger: &SecretState, status: &RegistryConnectionStatus, grace: SignedDuration) -> Option<Timestamp> {
    let from = match ledger {
        SecretState::Present(meta) => meta.revoke_from()?,
        SecretState::Absent | SecretState::Unknown => return None,
    };
    // It is told in whole seconds.
    let delivered = delivered_since(status).map(|since| add(since, grace + SignedDuration::from_secs(1)));
    Some(delivered.map_or(from, |delivered| from.max(delivered)))
}

/// Since when the target holds what it should.
pub(super) fn delivered_since(status: &RegistryConnectionStatus) -> Option<Timestamp> {
    let delivered = condition::find(&status.conditions, ConditionType::Delivered)?;
    (delivered.status == "True").then_some(delivered.last_transition_time.0)
}

fn is_revocation_due(observed: &Observed, grace: SignedDuration, now: Timestamp) -> bool {
    let is_resting =
        observed.memory.revocation.as_ref().is_some_and(|last| now < last.not_before && !is_ahead(last.since, now));
    !is_resting && revocation(&observed.ledger, &observed.status, grace).is_some_and(|time| now >= time)
}

fn add(time: Timestamp, duration: SignedDuration) -> Timestamp {
    time.saturating_add(duration).unwrap_or(if duration.is_negative() { Timestamp::MIN } else { Timestamp::MAX })
}
