//! Ends what was replaced: after the grace, and only once the target holds a successor that is proven. What cannot be ended
//! is tried again until it expires. IO.
//!
//! Credentials of ours that no ledger knows are ended on the same occasion, where the provider lists them: they carry the
//! UID of the connection in their names.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::{
    access::{Present, access_for, present},
    book::{Book, Obstacle, Saved},
    due::{delivered_since, revocation},
    mint::obstacle,
    owner,
    strays::strays,
    tell,
};
use crate::{
    api::{Reason, connection::DeletionPolicy, provider::Way},
    controller::{
        Context,
        due::PAUSE_AFTER_REFUSAL,
        error::Error,
        events,
        memory::Revocation,
        observe::Observed,
        policy::{self, Delivery},
        secret_meta::ObjectKey,
        sighting::SecretState,
        validate::Connection,
    },
    domain::{ledger::Retired, reference::Kind},
    problem::Problem,
    provider::issuing,
};

/// How long one attempt to revoke things may take.
const LIMIT: Duration = Duration::from_secs(30);

/// How long the revocation of one credential may take: whoever does not answer keeps nobody else's waiting.
const LIMIT_OF_ONE: Duration = Duration::from_secs(8);

/// Revokes what was replaced by what the target holds now, if its time has come. While the target can
/// be brought to it and was not, nothing is revoked.
///
/// # Errors
/// [`Error`] if the API server did not answer as expected; trying again may help.
pub async fn revoke_replaced(
    context: &Context,
    observed: &mut Observed,
    connection: &Connection,
    delivery: &Delivery,
) -> Result<(), Error> {
    let now = context.clock.now();
    let grace = context.revocation_grace;
    let is_issued = matches!(connection.provider.way(), Way::Issued(_));
    let resting = |last: &Revocation| now < last.not_before && now >= last.since;
    let is_delivered = match delivery {
        Delivery::Current | Delivery::Partial(_) | Delivery::Impossible(_) => true,
        Delivery::Outstanding => false,
    };
    if context.memories.recall(observed.uid()).revocation.as_ref().is_some_and(resting) {
        return Ok(());
    }
    let is_due = revocation(&observed.ledger, &observed.status, grace).is_some_and(|time| now >= time);
    let is_untouched = matches!(&observed.ledger, SecretState::Present(ledger) if ledger.revoke_from().is_none());
    let is_left_over = !is_issued && is_delivered && is_untouched;
    if !is_due && !is_left_over {
        return Ok(());
    }
    let mut book = match Book::open(context, owner(connection)).await {
        Ok(book) => book,
        Err(obstacle) => return rest(context, observed, obstacle, now),
    };
    let held = held(context, observed, connection);
    let done = async {
        if !is_issued && (book.ledger.current.is_some() || book.ledger.candidate.is_some()) {
            // The connection of this name that had credentials issued is gone, and the one that is there has none.
            book.ledger.retire_all(now);
            save(context, &mut book).await?;
        }
        let since = delivered_since(&observed.status);
        // What stays behind under another name works on until it expires, or until that Secret goes.
        let is_kept = |retired: &Retired| held.contains(&retired.entry.revision);
        let may = |retired: &Retired| {
            (is_delivered || retired.undelivered) && now >= retired.end(since, grace) && !is_kept(retired)
        };
        let access = present(context, connection).await?;
        // The ledger is written once, for all that is ended.
        let (looked, missed) = match is_delivered {
            true => match strays(context, &mut book, access.as_ref(), observed.uid(), now).await {
                Ok(looked) => (looked, None),
                Err(Obstacle::Told(problem)) => (false, Some(problem)),
                Err(cut @ Obstacle::Cut(_)) => return Err(cut),
            },
            false => (false, None),
        };
        let trouble = end(context, &mut book, access.as_ref(), may, looked, now).await?.or(missed);
        if !is_issued && book.ledger.is_empty() && book.remove(context).await? == Saved::Conflict {
            return Err(Obstacle::Cut(Error::Contended));
        }
        Ok(trouble)
    };
    let result = tokio::time::timeout(LIMIT, done).await.unwrap_or(Err(Obstacle::Cut(Error::TimedOut)));
    observed.ledger = context.index.secret(&ObjectKey::of_ledger(&context.namespace, &connection.reference));
    let sighting = observed.ledger.sighting();
    context.memories.update(observed.uid(), |memory| memory.ledger = Some(sighting));
    match result {
        Ok(None) => {
            let is_due = revocation(&observed.ledger, &observed.status, grace).is_some_and(|time| now >= time);
            let since = delivered_since(&observed.status);
            let end = |retired: &Retired| match held.contains(&retired.entry.revision) {
                true if connection.deletion_policy == DeletionPolicy::Retain => retired.entry.expires_at,
                true | false => retired.end(since, grace),
            };
            let next = book.ledger.revocable().map(end).min();
            match is_due {
                // Something is left whose time has not come, or that the target may still hold.
                true => pause_until(context, observed, next, now),
                false => context.memories.update(observed.uid(), |memory| memory.revocation = None),
            }
            Ok(())
        }
        Ok(Some(problem)) => {
            let note = format!("a replaced credential could not be revoked: {}", problem.message);
            pause(context, observed, Some(&problem), now);
            let mut is_news = false;
            context.memories.update(observed.uid(), |memory| {
                is_news = memory.revocation.as_mut().is_some_and(Revocation::tell);
            });
            if is_news {
                tell::not_revoked(
                    context,
                    events::connection(observed.object.kind(), &observed.object.metadata),
                    note,
                    now,
                )
                .await;
            }
            Ok(())
        }
        Err(obstacle) => rest(context, observed, obstacle, now),
    }
}

/// The revisions that are still in use where nothing newer comes by itself: in other Secrets of the connection than its targets,
/// and in targets about whose write the API server has given no decision yet.
///
/// Whoever may write Secrets can make one look like another Secret of the connection. With a connection of the cluster that
/// counts only where such Secrets are to stay.
fn held(context: &Context, observed: &Observed, connection: &Connection) -> BTreeSet<String> {
    let stay = connection.reference.kind() == Kind::Namespaced || connection.deletion_policy == DeletionPolicy::Retain;
    let written = context.index.written_for(&connection.reference).into_iter();
    let others = written.filter(|(key, _)| stay && !observed.targets.contains(key)).map(|(_, other)| other);
    let undecided = observed.memory.denials.iter().filter(|(_, denial)| !denial.is_decided);
    let undecided = undecided.filter_map(|(namespace, _)| match observed.targets.state(namespace) {
        Some(SecretState::Present(target)) => Some(Arc::clone(target)),
        Some(SecretState::Absent | SecretState::Unknown) | None => None,
    });
    others.chain(undecided).filter_map(|holder| holder.revision().map(str::to_owned)).collect()
}

/// Takes note that nothing could be revoked now.
fn rest(context: &Context, observed: &Observed, obstacle: Obstacle, now: Timestamp) -> Result<(), Error> {
    match obstacle {
        Obstacle::Told(problem) => {
            tracing::warn!(reason = %problem.reason, message = problem.message, "nothing could be revoked");
            pause(context, observed, Some(&problem), now);
            Ok(())
        }
        // What was replaced harms nobody for a while; the work on the connection goes on.
        Obstacle::Cut(Error::Contended | Error::TimedOut) => {
            pause(context, observed, None, now);
            Ok(())
        }
        Obstacle::Cut(error) => Err(error),
    }
}

/// Notes that there is nothing to do before a time, which may have come for something that cannot be done yet.
fn pause_until(context: &Context, observed: &Observed, time: Option<Timestamp>, now: Timestamp) {
    pause(context, observed, None, now);
    context.memories.update(observed.uid(), |memory| {
        if let (Some(last), Some(time)) = (&mut memory.revocation, time) {
            last.not_before = last.not_before.max(time);
        }
    });
}

/// Notes the pause before the next try.
fn pause(context: &Context, observed: &Observed, problem: Option<&Problem>, now: Timestamp) {
    context.memories.update(observed.uid(), |memory| {
        let count = memory.revocation.as_ref().map_or(0, |last| last.count.saturating_add(1));
        let pause = match problem.map(|problem| policy::retry(problem, count, fastrand::f64())) {
            Some(Some(pause)) => SignedDuration::try_from(pause).unwrap_or(PAUSE_AFTER_REFUSAL),
            Some(None) => PAUSE_AFTER_REFUSAL,
            None => SignedDuration::try_from(policy::backoff(count, fastrand::f64())).unwrap_or(PAUSE_AFTER_REFUSAL),
        };
        let not_before = now.saturating_add(pause).unwrap_or(Timestamp::MAX);
        memory.revocation = Some(Revocation::failed(memory.revocation.as_ref(), not_before, now));
    });
}

/// Ends what `may` be ended, and writes down what is left; in any case if the ledger `is_changed` already. What kept one from being ended, if anything did.
pub(super) async fn end(
    context: &Context,
    book: &mut Book,
    present: Option<&Present<'_>>,
    may: impl Fn(&Retired) -> bool,
    mut is_changed: bool,
    now: Timestamp,
) -> Result<Option<Problem>, Obstacle> {
    is_changed |= book.ledger.forget_expired(now);
    let due: Vec<Retired> = book.ledger.revocable().filter(|retired| may(retired)).cloned().collect();
    let mut trouble = None;
    for Retired { entry, .. } in due {
        let result = match access_for(context, &entry.issuer, present).await? {
            Ok(access) => {
                context.ensure_leading().map_err(Obstacle::Cut)?;
                let io = context.io_in(&context.namespace);
                let revoked = tokio::time::timeout(LIMIT_OF_ONE, issuing::revoke(&io, &entry, access.as_ref())).await;
                revoked.unwrap_or_else(|_| Err(unanswered().into())).map_err(obstacle)
            }
            Err(problem) => Err(Obstacle::Told(problem)),
        };
        context.metrics.revoked(entry.issuer.provider(), result.is_ok());
        match result {
            Ok(ended) => {
                tracing::info!(revision = entry.revision, ?ended, "a replaced credential was revoked");
                book.ledger.ended(&entry.revision);
                is_changed = true;
            }
            Err(Obstacle::Told(problem)) => {
                let message = format!("{}; it expires at {}", problem.message, entry.expires_at);
                trouble = Some(Problem { message, ..problem });
            }
            Err(cut @ Obstacle::Cut(_)) => {
                if is_changed {
                    save(context, book).await?;
                }
                return Err(cut);
            }
        }
    }
    if is_changed {
        save(context, book).await?;
    }
    Ok(trouble)
}

fn unanswered() -> Problem {
    let message = format!("its provider did not answer within {} s", LIMIT_OF_ONE.as_secs());
    Problem::new(Reason::Unreachable, message).hint(Reason::Unreachable.fix())
}

/// Writes a ledger.
pub(super) async fn save(context: &Context, book: &mut Book) -> Result<(), Obstacle> {
    match book.save(context).await? {
        Saved::Now => Ok(()),
        Saved::Conflict => Err(Obstacle::Cut(Error::Contended)),
    }
}
