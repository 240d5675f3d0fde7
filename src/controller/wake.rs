//! When a connection is looked at again if nothing happens before. Everything follows from stored times.

use std::time::Duration;

use kube::runtime::controller::Action;

use super::{
    Context,
    due::{expires_at, next_refresh_at},
    mark,
    observe::Observed,
    plan::{Pattern, Standing},
    policy::MISSING_BECOMES_STALLED,
    publish::next_telling,
    renew,
    report::{Outcome, missing_since},
    secret_meta::ObjectKey,
    sweep::retire,
    validate::Connection,
};
use crate::api::{ConditionType, Reason, condition};

/// No connection is looked at more often than this by its own clock, whatever the times say.
const SHORTEST: Duration = Duration::from_millis(50);

/// How often the clock is looked at once it said that a credential has expired.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(10 * 60);

/// Nor is the run loop asked to remember one for longer.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The earliest of: the next try, the next test, the moment a missing thing counts as stalled or the credential expires, the
/// next look at a Secret that another one took the place of, the next revocation, the time to tell what can wait.
pub fn next_wake(context: &Context, connection: &Connection, observed: &Observed, outcome: &Outcome) -> Action {
    let (status, uid) = (&observed.status, observed.uid());
    let test = next_refresh_at(connection, status, context.began(), context.clock.now());
    let test = match context.memories.recall(uid).attempt {
        // While no verdict can be had, the next try is the next test.
        Some(attempt) => Some(attempt.not_before),
        None => test,
    };
    // What was denied is tried again as long as there is a credential to write.
    let pattern = Pattern::new(connection, status.credential.as_ref());
    let is_wanted = |namespace: &str| {
        let standing = observed.targets.state(namespace).map(|state| pattern.standing(namespace, state));
        matches!(standing, Some(Standing::Missing | Standing::Outdated(_)))
    };
    let denials = context.memories.recall(uid).denials;
    let denials = denials.iter().filter(|(namespace, _)| outcome.problem.is_none() && is_wanted(namespace));
    let denials = denials.map(|(_, denial)| denial.not_before).min();
    let stalls = missing_since(status)
        .filter(|_| condition::is_true(&status.conditions, ConditionType::Reconciling))
        .and_then(|since| since.checked_add(MISSING_BECOMES_STALLED).ok());
    let expires = expires_at(status).filter(|time| *time > context.clock.now());
    // Whether it really is expired is worth another look, which costs nothing: a clock may have been wrong.
    let doubts = status.last_error.as_ref().filter(|error| error.code == Reason::Expired).map(|_| LOOK_AT_CLOCK);
    let waits = test.into_iter().chain(denials).chain(stalls).chain(expires).map(|time| context.clock.wait_until(time));
    let ledger = ObjectKey::of_ledger(&context.namespace, &connection.reference);
    let retires = retire::next(context, connection, observed).map(|time| context.clock.wait_until_uptime(time));
    let revokes = renew::due::revocation(&context.index.secret(&ledger), status, context.revocation_grace);
    let rests = context.memories.recall(uid).revocation.map(|last| last.not_before);
    let revokes = revokes.map(|time| context.clock.wait_until(rests.map_or(time, |rest| rest.max(time))));
    let tells = next_telling(observed).map(|time| context.clock.wait_until_uptime(time));
    wake_after(
        waits
            .chain(retires)
            .chain(doubts)
            .chain(revokes)
            .chain(tells)
            .chain(outcome.again)
            .chain(next_marking(context, observed))
            .min(),
    )
}

/// Of a connection that delivers nothing: the moment at which the delivered credential expires, if that is told even so, the time
/// to tell what can wait, and to try again what was decided against.
pub fn wake_at_rest(context: &Context, observed: &Observed, tells_expiry: bool) -> Action {
    let expires = expires_at(&observed.status).filter(|time| tells_expiry && *time > context.clock.now());
    let expires = expires.map(|time| context.clock.wait_until(time));
    let tells = next_telling(observed).map(|time| context.clock.wait_until_uptime(time));
    wake_after(expires.into_iter().chain(tells).chain(next_marking(context, observed)).min())
}

/// When the deletionPolicy may be brought where it was decided against.
fn next_marking(context: &Context, observed: &Observed) -> Option<Duration> {
    mark::next(context, observed).map(|time| context.clock.wait_until_uptime(time))
}

fn wake_after(wait: Option<Duration>) -> Action {
    match wait {
        Some(wait) => Action::requeue(wait.clamp(SHORTEST, LONGEST)),
        None => Action::await_change(),
    }
}
