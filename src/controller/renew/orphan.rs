//! Ledgers whose connection is gone: what they hold is revoked, and then they go. Beside the work on connections, on the same
//! conditions on which Secrets are removed ([`crate::controller::sweep`]): the connection is surely gone, and the kind still
//! stands.
//!
//! The current credential is revoked once no Secret of the connection holds it, after the grace; where Secrets are to stay, it
//! runs out. IO.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use super::{
    book::{Book, Obstacle, Owner, Saved},
    revoke, strays, tell,
};
use crate::{
    api::connection::DeletionPolicy,
    controller::{
        Context, events,
        index::Orphan,
        policy,
        secret_meta::ObjectKey,
        sweep::{
            GRACE, live,
            verdict::{self, Act, Finding, Presence},
        },
    },
    domain::ledger::{Entry, Ledger, Retired},
    problem::Problem,
};

/// How soon a ledger is looked at again whose credential a Secret still holds: that goes in its own time.
const HELD: Duration = Duration::from_secs(60);

/// How soon one is looked at again that cannot be revoked from.
const SLOW: Duration = Duration::from_secs(30 * 60);

/// How soon one is looked at again of which something was to be told, and the API server did not take the event.
const UNTOLD: Duration = Duration::from_secs(5 * 60);

/// How long the work on one ledger may take.
const LIMIT: Duration = Duration::from_secs(60);

/// When ledgers are looked at again, and what was told of them.
#[derive(Default)]
pub struct Waits(Mutex<HashMap<ObjectKey, Wait>>);

#[derive(Clone, Default)]
struct Wait {
    /// When to look again, as uptime.
    until: Duration,
    /// How many looks in a row got no answer.
    unanswered: u32,
    /// What was told last.
    told: Option<String>,
}

impl Waits {
    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectKey, Wait>> {
        // Nothing in here panics half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was to be told of these was not, and is told again at this time.
    fn tell_again(&self, keys: &[ObjectKey], at: Duration) {
        let mut waits = self.lock();
        for key in keys {
            if let Some(wait) = waits.get_mut(key) {
                (wait.told, wait.until) = (None, wait.until.min(at));
            }
        }
    }
}

/// What a look at a ledger came to.
enum Looked {
    /// It is gone.
    Removed,
    /// It is looked at again after this time.
    Later(Duration),
    /// The same, and somebody should know why.
    Told(Duration, String),
    /// The API server gave no answer, or another operator was at work.
    Unanswered,
}

/// Looks at all ledgers whose time has come; when to look again, as uptime.
pub async fn round(context: &Context) -> Option<Duration> {
    let orphans = context.index.orphaned_ledgers();
    context.waits.lock().retain(|key, _| orphans.iter().any(|orphan| orphan.key == *key));
    let mut told: BTreeMap<String, Vec<ObjectKey>> = BTreeMap::new();
    for orphan in &orphans {
        if context.clock.uptime() < due_at(context, orphan) {
            continue;
        }
        let looked = tokio::time::timeout(LIMIT, look(context, orphan)).await.unwrap_or(Looked::Unanswered);
        if let Some(news) = note(context, &orphan.key, looked) {
            told.entry(news).or_default().push(orphan.key.clone());
        }
    }
    for (note, keys) in told {
        if !publish(context, note, &keys).await {
            // Nothing else in the cluster tells of these.
            context.waits.tell_again(&keys, context.clock.uptime().saturating_add(UNTOLD));
        }
    }
    context.index.orphaned_ledgers().iter().map(|orphan| due_at(context, orphan)).min()
}

fn due_at(context: &Context, orphan: &Orphan) -> Duration {
    let waits = context.waits.lock();
    waits.get(&orphan.key).map_or(orphan.since.saturating_add(GRACE), |wait| wait.until)
}

/// Takes note of when to look again; what to tell, if it is new.
fn note(context: &Context, key: &ObjectKey, looked: Looked) -> Option<String> {
    let now = context.clock.uptime();
    let mut waits = context.waits.lock();
    let wait = waits.entry(key.clone()).or_default();
    let (pause, news) = match looked {
        // The watch will show it soon; until then there is nothing to ask about it.
        Looked::Removed => (GRACE, None),
        Looked::Later(pause) => (pause, None),
        Looked::Told(pause, text) => (pause, Some(text)),
        Looked::Unanswered => {
            wait.unanswered = wait.unanswered.saturating_add(1);
            wait.until = now.saturating_add(policy::backoff(wait.unanswered, fastrand::f64()));
            return None;
        }
    };
    (wait.until, wait.unanswered) = (now.saturating_add(pause), 0);
    let is_news = news.is_some() && news != wait.told;
    wait.told.clone_from(&news);
    news.filter(|_| is_news)
}

async fn look(context: &Context, orphan: &Orphan) -> Looked {
    match may_be_ended(context, orphan).await {
        Ok(policy) => match wind_up(context, orphan, policy).await {
            Ok(looked) => looked,
            Err(Obstacle::Told(problem)) => Looked::Told(SLOW, problem.message),
            Err(Obstacle::Cut(error)) => {
                tracing::debug!(error = &error as &dyn std::error::Error, ledger = %orphan.key, "a ledger was left for now");
                Looked::Unanswered
            }
        },
        Err(Finding::Unanswered) => Looked::Unanswered,
        Err(finding) => match finding.clause() {
            Some(clause) => Looked::Told(verdict::SLOW, format!("its connection is gone, but {clause}")),
            None => Looked::Later(verdict::SLOW),
        },
    }
}

/// What the connection wanted for its Secrets, if it is surely gone by somebody's wish.
async fn may_be_ended(context: &Context, orphan: &Orphan) -> Result<DeletionPolicy, Finding> {
    let policy = verdict::policy(orphan).ok_or(Finding::PolicyUnknown)?;
    let created = orphan.seen.connection_created().ok_or(Finding::AgeUnknown)?;
    match live::presence(&context.client, &orphan.reference).await.map_err(|_| Finding::Unanswered)? {
        Presence::Gone => {}
        Presence::There => return Err(Finding::ConnectionThere),
        Presence::NotServed => return Err(Finding::NotServed),
        Presence::Denied => return Err(Finding::Denied(Act::ReadConnection)),
    }
    verdict::by_kind(
        created,
        live::definition(&context.client, orphan.reference.kind()).await.map_err(|_| Finding::Unanswered)?,
    )?;
    if !context.index.is_gone(&orphan.reference) {
        return Err(Finding::ConnectionThere);
    }
    Ok(policy)
}

/// Ends what may be ended now, and removes the ledger once it is empty.
async fn wind_up(context: &Context, orphan: &Orphan, policy: DeletionPolicy) -> Result<Looked, Obstacle> {
    let owner = Owner { reference: orphan.reference.clone(), created: None, deletion_policy: None };
    let mut book = Book::open(context, owner).await?;
    if !book.exists() {
        return Ok(Looked::Removed);
    }
    let now = context.clock.now();
    let is_changed = retire(context, orphan, &mut book.ledger, policy, now);
    if is_changed {
        revoke::save(context, &mut book).await?;
    }
    let grace = context.revocation_grace;
    let mut missed = None;
    if book.ledger.revocable().any(|retired| now >= retired.end(None, grace)) {
        // While it is known where something was issued. Whoever may not list may still revoke.
        match strays::of_the_gone(context, &mut book, now).await {
            Ok(()) => {}
            Err(Obstacle::Told(problem)) => missed = Some(problem),
            Err(cut @ Obstacle::Cut(_)) => return Err(cut),
        }
    }
    // A pass that the end of the connection cut short may have replaced in the ledger what a Secret still holds.
    let may = |retired: &Retired| now >= retired.end(None, grace) && !is_held(context, orphan, &retired.entry);
    if let Some(Problem { message, .. }) = revoke::end(context, &mut book, None, may, false, now).await?.or(missed) {
        return Ok(Looked::Told(
            SLOW,
            format!("its connection is gone, and a credential in it cannot be revoked: {message}"),
        ));
    }
    if let Some(wait) = strays::unaccounted(context, &mut book, now).await? {
        return Ok(Looked::Later(wait));
    }
    if book.ledger.is_empty() {
        return Ok(match book.remove(context).await? {
            Saved::Now => {
                tracing::info!(ledger = %book.key, connection = %orphan.reference, "the ledger was removed");
                Looked::Removed
            }
            Saved::Conflict => Looked::Unanswered,
        });
    }
    Ok(Looked::Later(next(&book.ledger, grace, now)))
}

/// Retires what is not delivered any more; true if anything was.
fn retire(context: &Context, orphan: &Orphan, ledger: &mut Ledger, policy: DeletionPolicy, now: Timestamp) -> bool {
    let had_candidate = ledger.candidate.is_some();
    ledger.reject(now);
    let Some(current) = &ledger.current else { return had_candidate };
    let is_held = is_held(context, orphan, current);
    let is_expired = current.expires_at <= now;
    let is_over = match policy {
        DeletionPolicy::Delete => !is_held,
        DeletionPolicy::Retain => false,
    };
    if is_over || is_expired {
        ledger.retire_all(now);
    }
    had_candidate || is_over || is_expired
}

/// Whether a Secret of the connection holds a credential.
fn is_held(context: &Context, orphan: &Orphan, entry: &Entry) -> bool {
    let targets = context.index.written_for(&orphan.reference);
    targets.iter().any(|(_, target)| target.revision() == Some(entry.revision.as_str()))
}

/// How long until there may be something to do.
fn next(ledger: &Ledger, grace: SignedDuration, now: Timestamp) -> Duration {
    let wait = |time: Timestamp| Duration::try_from(time.duration_since(now)).unwrap_or_default();
    // What is held past its time is waited for as the current one is.
    let revoked = ledger.revocable().map(|retired| match wait(retired.end(None, grace)) {
        Duration::ZERO => HELD,
        wait => wait,
    });
    let expires = ledger.current.iter().map(|current| wait(current.expires_at));
    let held = ledger.current.iter().map(|_| HELD);
    revoked.chain(expires).chain(held).min().unwrap_or(HELD).max(Duration::from_secs(1))
}

/// One event for all ledgers of which the same is to be told. True if the API server took it.
async fn publish(context: &Context, text: String, keys: &[ObjectKey]) -> bool {
    let Some(key) = keys.first() else { return true };
    let others = match keys.len() {
        1 => String::new(),
        count => format!(" The same is true of {} more.", count - 1),
    };
    let note = format!("Ledger {}: {text}. What is in it runs out by its expiry.{others}", key.name);
    tell::not_revoked(context, events::secret(key), note, context.clock.now()).await
}
