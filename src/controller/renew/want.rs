//! Which credential is wanted, going by the ledger: the one that is there, or a new one. Pure.

use jiff::Timestamp;
use serde_json::Value;

use super::due::Life;
use crate::{
    controller::{
        due::{Cause, Due},
        validate::Connection,
    },
    domain::ledger::{Entry, Ledger},
};

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// A new credential.
    Issue,
    /// The one that was issued and not judged for good yet.
    Candidate,
    /// The one that is delivered.
    Current,
}

/// Which credential is wanted. `same_access` is whether the API credential is the one that the current one was issued with,
/// if that was looked at.
pub(super) fn want(
    connection: &Connection,
    ledger: &Ledger,
    due: Due,
    same_access: Option<bool>,
    started: Timestamp,
    now: Timestamp,
) -> Want {
    let terms = connection.provider.terms();
    if ledger.candidate.as_ref().is_some_and(|candidate| is_usable(candidate, &terms, now)) {
        return Want::Candidate;
    }
    let Some(current) = ledger.current.as_ref().filter(|current| is_usable(current, &terms, now)) else {
        return Want::Issue;
    };
    if same_access == Some(false) {
        return Want::Issue;
    }
    let has_come = now >= Life::of(current).renewal(connection, started);
    let is_time = match due {
        Due::Renew(Cause::Requested) => true,
        Due::Renew(_) | Due::Test(Cause::NoVerdict) => has_come,
        Due::Test(_) | Due::Deliver | Due::Withdraw | Due::Revoke | Due::Nothing => false,
    };
    // What was replaced waits to be revoked; more of it would be of no use to anybody.
    if is_time && !ledger.is_full() { Want::Issue } else { Want::Current }
}

/// Whether a credential may be relied on: it was issued for what is asked now, nobody refused it, and its end is not near.
fn is_usable(entry: &Entry, terms: &Value, now: Timestamp) -> bool {
    let life = Life::of(entry);
    entry.terms == *terms && !entry.refused && now < life.latest() && !life.is_ahead(now)
}
