//! Removes what a connection wrote under another name, once the Secret of its present name holds the credential.

use std::time::Duration;

use super::{
    Finding, Rest, Subject, live, remove, tell,
    verdict::{self, Act, Kind, Presence, WrittenFor},
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

/// Removes the Secrets that were written for this connection under other names, or for an earlier one of its name. Costs
/// nothing where there are none. What was to stay when it was written last stays, whatever the connection says now.
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
        if let Err(finding) = verdict::by_marks_of_renamed(&seen, connection.created) {
            note(context, connection, &key, &seen, finding).await;
            continue;
        }
        let looked = remove::look(&context.client, &key).await.map_err(Error::Write)?;
        match may_go(&key, connection, looked) {
            Ok((found, written_for)) => candidates.push((key, seen, found, written_for)),
            Err(finding) => note(context, connection, &key, &seen, finding).await,
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
            for (key, seen, ..) in candidates {
                note(context, connection, &key, &seen, Finding::Denied(Act::ReadConnection)).await;
            }
            return Ok(());
        }
        // The watch is behind, and brings us back.
        Ok(false) | Err(Presence::There | Presence::Gone | Presence::NotServed) => return Ok(()),
    }
    let mut kind: Option<Kind> = None;
    for (key, seen, found, written_for) in candidates {
        if let WrittenFor::Predecessor(then) = written_for {
            // One look at the kind for all of them, after the one at the connection.
            let kind = match kind {
                Some(kind) => kind,
                None => *kind.insert(live::kind(&context.client).await.map_err(Error::Write)?),
            };
            if let Err(finding) = verdict::by_kind(then, kind) {
                note(context, connection, &key, &seen, finding).await;
                continue;
            }
        }
        let removed = remove::delete(&context.client, &context.metrics, &key, &found).await.map_err(Error::Write)?;
        note(context, connection, &key, &seen, Finding::from(removed)).await;
    }
    Ok(())
}

/// Whether a Secret under another name may go, going by a live look at it.
fn may_go(
    key: &ObjectKey,
    connection: &Connection,
    looked: Looked<SecretMeta>,
) -> Result<(SecretMeta, WrittenFor), Finding> {
    let found = match looked {
        Looked::There(found) => *found,
        Looked::Ending => return Err(Finding::Ending),
        Looked::Absent => return Err(Finding::Removed),
        Looked::Denied => return Err(Finding::Denied(Act::ReadSecret)),
    };
    verdict::is_surely_of(key, &connection.reference, &found).map_err(Finding::Spared)?;
    let written_for = verdict::by_marks_of_renamed(&found, connection.created)?;
    Ok((found, written_for))
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
