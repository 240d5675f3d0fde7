//! Removes what a connection wrote and does not write any more: under another name, once the Secret of its present name holds
//! the credential, and in namespaces that it does not serve any more.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use tokio::time::{Instant, timeout};
use tracing::Instrument;

use super::{
    Finding, Rest, Subject, live, remove, tell,
    verdict::{self, Act, Presence, Standing, WrittenFor},
};
use crate::{
    api::connection::DeletionPolicy,
    controller::{
        Context,
        api_failure::ApiFailure,
        apply::ANSWER,
        error::Error,
        observe::Observed,
        pace::{CONCURRENCY, LONGEST, MOST},
        places::SLOW,
        plan::{self, Pattern},
        remove::Looked,
        secret_meta::{ObjectKey, SecretMeta},
        targets::Targets,
        validate::Connection,
    },
};

/// What fits into this time is removed in one pass. Before the others go, those have their turn who miss what they are to have.
const SLICE: Duration = Duration::from_secs(1);

/// Why a Secret of a connection is one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// It has another name, and the one with the present name is in its place.
    Renamed,
    /// Its namespace is not served any more.
    Dropped,
}

/// A Secret that is one too many, and what is known of it.
type Candidate = (ObjectKey, Arc<SecretMeta>, Why);

/// The Secrets that are one too many now. Those of another name wait for their successors, and stay if the connection wants
/// that. A namespace that is not to have the Secret any more loses it whatever the connection wants for its own end.
fn too_many(context: &Context, observed: &Observed, connection: &Connection, targets: &Targets) -> Vec<Candidate> {
    let pattern = Pattern::new(connection, observed.status.credential.as_ref());
    let is_in_place = |namespace: &str| {
        let state = targets.state(namespace);
        state.is_some_and(|state| pattern.standing(namespace, state) == plan::Standing::Current)
    };
    let why = |key: &ObjectKey| {
        if targets.is_dropped(&key.namespace) {
            return Some(Why::Dropped);
        }
        let goes = match connection.deletion_policy {
            DeletionPolicy::Delete => is_in_place(&key.namespace),
            DeletionPolicy::Retain => false,
        };
        goes.then_some(Why::Renamed)
    };
    let others = context.index.present(targets.others()).into_iter();
    others.filter_map(|(key, seen)| why(&key).map(|why| (key, seen, why))).collect()
}

/// Removes the Secrets that were written for this connection, or for an earlier one of its name, and are one too many. Costs
/// nothing where there are none. What was to stay when it was written last under another name stays, whatever the connection
/// says now. True if there are more than fit into one pass. It ends at `latest`, whoever does not answer.
///
/// # Errors
/// [`Error::Write`] if the API server did not answer; trying again may help.
pub async fn retire(
    context: &Context,
    observed: &Observed,
    connection: &Connection,
    latest: Instant,
) -> Result<bool, Error> {
    let now = context.clock.uptime();
    let is_due = |(key, seen, _): &Candidate| match context.kept.rest(key, &subject(seen)) {
        Rest::None => true,
        Rest::Until(time) => time <= now,
        Rest::Forever => false,
    };
    if too_many(context, observed, connection, &observed.targets).is_empty() {
        return Ok(false);
    }
    // The pass may have taken a while, in which a namespace came to be served again.
    let targets = context.index.targets(&observed.object);
    let mut due: Vec<Candidate> =
        too_many(context, observed, connection, &targets).into_iter().filter(is_due).collect();
    if due.is_empty() {
        return Ok(false);
    }
    let most = MOST.min(context.pace.most_within(SLICE));
    let mut is_cut = due.len() > most;
    due.truncate(most);
    let looks = due.into_iter().map(|(key, seen, why)| async move {
        let found = match by_known_marks(&seen, connection, why) {
            Ok(()) => may_go(&key, connection, why, remove::look(&context.client, &key).await?),
            Err(finding) => Err(finding),
        };
        Ok::<_, ApiFailure>((key, seen, found))
    });
    let mut candidates = vec![];
    let mut looks = stream::iter(looks.collect::<Vec<_>>()).buffer_unordered(CONCURRENCY);
    while let Some(look) = looks.next().await {
        match look.map_err(Error::Write)? {
            (key, seen, Ok((found, written_for))) => candidates.push((key, seen, found, written_for)),
            (key, seen, Err(finding)) => note(context, connection, &key, &seen, finding).await,
        }
    }
    drop(looks);
    if candidates.is_empty() {
        return Ok(is_cut);
    }
    // After the looks at the Secrets: who renamed it back since then has written what is to be removed, or will soon.
    let unchanged = live::is_unchanged(&context.client, &connection.reference, &observed.object.metadata).await;
    match unchanged.map_err(Error::Write)? {
        Ok(true) => {}
        Err(Presence::Denied) => {
            for (key, seen, ..) in candidates {
                note(context, connection, &key, &seen, Finding::Denied(Act::ReadConnection)).await;
            }
            return Ok(is_cut);
        }
        // The watch is behind, and brings us back.
        Ok(false) | Err(Presence::There | Presence::Gone | Presence::NotServed) => return Ok(false),
    }
    let is_of_predecessor = |written_for: &WrittenFor| matches!(written_for, WrittenFor::Predecessor(_));
    // One look at the kind for all of them, after the one at the connection.
    let standing = match candidates.iter().any(|(.., written_for)| is_of_predecessor(written_for)) {
        true => live::definition(&context.client, connection.reference.kind()).await.map_err(Error::Write)?,
        false => Standing::Unready,
    };
    let end = latest.min(Instant::now() + LONGEST);
    let removals = candidates.into_iter().map(|(key, seen, found, written_for)| async move {
        if let WrittenFor::Predecessor(then) = written_for
            && let Err(finding) = verdict::by_kind(then, standing)
        {
            return Ok(Some((key, seen, finding)));
        }
        let finding = match context.pace.at_its_turn(Some(end), removed_soon(context, &key, found)).await {
            None => return Ok(None),
            Some(finding) => finding?,
        };
        Ok::<_, ApiFailure>(Some((key, seen, finding)))
    });
    let removals: Vec<_> = stream::iter(removals.collect::<Vec<_>>()).buffer_unordered(CONCURRENCY).collect().await;
    // Nobody waits for a turn while this is told.
    let mut failure = None;
    for removed in removals {
        match removed {
            Ok(Some((key, seen, finding))) => note(context, connection, &key, &seen, finding).await,
            Ok(None) => is_cut = true,
            Err(error) => failure = Some(error),
        }
    }
    failure.map_or(Ok(is_cut), |failure| Err(Error::Write(failure)))
}

/// Removes a Secret. Where a webhook keeps the API server waiting, the request goes on, and nobody waits for it any more: what it
/// came to is shown by the watch.
async fn removed_soon(context: &Context, key: &ObjectKey, found: SecretMeta) -> Result<Finding, ApiFailure> {
    let (client, metrics, key) = (context.client.clone(), context.metrics.clone(), key.clone());
    let removal = async move { timeout(ANSWER, remove::delete(&client, &metrics, &key, &found)).await };
    match timeout(SLOW, tokio::spawn(removal.in_current_span())).await {
        Ok(Ok(Ok(removed))) => removed.map(Finding::from),
        Ok(Ok(Err(_)) | Err(_)) | Err(_) => Ok(Finding::Unanswered),
    }
}

/// What the marks that are known already say against a removal.
fn by_known_marks(seen: &SecretMeta, connection: &Connection, why: Why) -> Result<(), Finding> {
    match why {
        Why::Renamed => verdict::by_marks_of_renamed(seen, connection.created).map(drop),
        Why::Dropped => Ok(()),
    }
}

/// Whether a Secret may go, going by a live look at it.
fn may_go(
    key: &ObjectKey,
    connection: &Connection,
    why: Why,
    looked: Looked<SecretMeta>,
) -> Result<(SecretMeta, WrittenFor), Finding> {
    let found = match looked {
        Looked::There(found) => *found,
        Looked::Ending => return Err(Finding::Ending),
        Looked::Absent => return Err(Finding::Removed),
        Looked::Denied => return Err(Finding::Denied(Act::ReadSecret)),
    };
    verdict::is_surely_of(key, &connection.reference, &found).map_err(Finding::Spared)?;
    let written_for = match why {
        Why::Renamed => verdict::by_marks_of_renamed(&found, connection.created)?,
        // The connection that is there says so, whichever it was written for.
        Why::Dropped => WrittenFor::This,
    };
    Ok((found, written_for))
}

/// When a Secret that is one too many and rests now may be looked at again, as uptime. What may be looked at already waits for
/// its successor.
pub fn next(context: &Context, connection: &Connection, observed: &Observed) -> Option<Duration> {
    let now = context.clock.uptime();
    let rests = too_many(context, observed, connection, &observed.targets).into_iter();
    let rests = rests.filter_map(|(key, seen, _)| match context.kept.rest(&key, &subject(&seen)) {
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
