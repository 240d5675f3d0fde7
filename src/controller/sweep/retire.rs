//! Removes what a connection wrote under another name, once the Secret of its present name holds the credential.

use std::time::Duration;

use super::{
    Finding, Rest, Subject, live, remove, tell,
    verdict::{self, Act, Presence},
};
use crate::{
    api::connection::DeletionPolicy,
    controller::{
        Context,
        error::Error,
        observe::Observed,
        remove::Looked,
        secret_meta::{ObjectKey, SecretMeta},
        validate::Connection,
    },
};

/// Removes the Secrets that were written for this connection under other names. Costs nothing where there are none.
///
/// To be called only when the target is current: the new one first, then the old one.
///
/// # Errors
/// [`Error::Write`] if the API server did not answer; trying again may help.
pub async fn retire(context: &Context, observed: &Observed, connection: &Connection) -> Result<(), Error> {
    match connection.deletion_policy {
        DeletionPolicy::Delete => {}
        DeletionPolicy::Retain => return Ok(()),
    }
    let now = context.clock.uptime();
    let mut candidates = vec![];
    for (key, seen) in context.index.stale(&connection.reference, &connection.target.key) {
        let is_due = match context.kept.rest(&key, &subject(&seen)) {
            Rest::None => true,
            Rest::Until(time) => time <= now,
            Rest::Forever => false,
        };
        if !is_due {
            continue;
        }
        match remove::look(&context.client, &key).await.map_err(Error::Write)? {
            Looked::There(found) => match verdict::is_surely_of(&key, &connection.reference, &found) {
                Ok(()) => candidates.push((key, seen, *found)),
                Err(clause) => note(context, connection, &key, &seen, Finding::Spared(clause)).await,
            },
            Looked::Ending => note(context, connection, &key, &seen, Finding::Ending).await,
            Looked::Absent => note(context, connection, &key, &seen, Finding::Removed).await,
            Looked::Denied => note(context, connection, &key, &seen, Finding::Denied(Act::ReadSecret)).await,
        }
    }
    if candidates.is_empty() {
        return Ok(());
    }
    // After the looks at the Secrets: who renamed it back since then has written what is to be removed, or will soon.
    let unchanged = live::is_unchanged(&context.client, &connection.reference, &observed.object.metadata).await;
    match unchanged.map_err(Error::Write)? {
        Ok(true) => {}
        Err(Presence::Denied) => {
            for (key, seen, _) in candidates {
                note(context, connection, &key, &seen, Finding::Denied(Act::ReadConnection)).await;
            }
            return Ok(());
        }
        // The watch is behind, and brings us back.
        Ok(false) | Err(Presence::There | Presence::Gone | Presence::NotServed) => return Ok(()),
    }
    for (key, seen, found) in candidates {
        let removed = remove::delete(&context.client, &context.metrics, &key, &found).await.map_err(Error::Write)?;
        note(context, connection, &key, &seen, Finding::from(removed)).await;
    }
    Ok(())
}

/// When a Secret under another name that rests now may be looked at again, as uptime. What may be looked at already waits for
/// the target.
pub fn next(context: &Context, connection: &Connection) -> Option<Duration> {
    let now = context.clock.uptime();
    let stale = context.index.stale(&connection.reference, &connection.target.key);
    let rests = stale.into_iter().filter_map(|(key, seen)| match context.kept.rest(&key, &subject(&seen)) {
        Rest::Until(time) if time > now => Some(time),
        Rest::Until(_) | Rest::None | Rest::Forever => None,
    });
    rests.min()
}

fn subject(seen: &SecretMeta) -> Subject {
    Subject { uid: seen.uid.clone(), resource_version: seen.resource_version.clone(), since: None }
}

async fn note(context: &Context, connection: &Connection, key: &ObjectKey, seen: &SecretMeta, finding: Finding) {
    let now = context.clock.uptime();
    if context.kept.note(key, subject(seen), finding.clone(), now, fastrand::f64()) {
        tell::renamed(context, key, &seen.uid, &connection.reference.to_string(), &finding).await;
    }
}
