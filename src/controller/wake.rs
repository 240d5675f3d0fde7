//! When a connection is looked at again if nothing happens before. Everything follows from stored times.

use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::controller::Action;

use super::{
    Context,
    due::{expires_at, next_test},
    memory::{Attempt, Trouble},
    policy::MISSING_BECOMES_STALLED,
    report::missing_since,
    validate::Connection,
};
use crate::api::{ConditionType, RegistryConnectionStatus, condition};

/// No connection is looked at more often than this by its own clock, whatever the times say.
const SHORTEST: Duration = Duration::from_millis(50);

/// Nor is the run loop asked to remember one for longer.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The earliest of: the next try, the next test, the moment a missing thing counts as stalled or the credential expires.
pub fn next_wake(context: &Context, connection: &Connection, status: &RegistryConnectionStatus, uid: &str) -> Action {
    let test = next_test(connection, status, context.clock.started(), context.clock.now());
    let test = match context.memories.recall(uid).attempt {
        // While no verdict can be had, the next try is the next test.
        Some(Attempt { not_before, trouble: Trouble::Credential(_), .. }) => Some(not_before),
        Some(Attempt { not_before, trouble: Trouble::Delivery(_), .. }) => test.into_iter().chain([not_before]).min(),
        None => test,
    };
    let stalls = missing_since(status)
        .filter(|_| condition::is_true(&status.conditions, ConditionType::Reconciling))
        .and_then(|since| since.checked_add(MISSING_BECOMES_STALLED).ok());
    let now = context.clock.now();
    let expires = expires_at(status).filter(|time| *time > now);
    wake_at(context, test.into_iter().chain(stalls).chain(expires).min())
}

/// The moment at which the delivered credential expires, which is told even of a suspended connection.
pub fn wake_at_expiry(context: &Context, status: &RegistryConnectionStatus) -> Action {
    let now = context.clock.now();
    wake_at(context, expires_at(status).filter(|time| *time > now))
}

fn wake_at(context: &Context, time: Option<Timestamp>) -> Action {
    match time {
        Some(time) => Action::requeue(context.clock.wait_until(time).clamp(SHORTEST, LONGEST)),
        None => Action::await_change(),
    }
}
