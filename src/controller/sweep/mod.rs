//! Removes the Secrets of connections that are gone, beside the work on those that are there.
//!
//! There are no owner references and no finalizers (`docs/design/0003`), so what should go has to be found: a Secret whose
//! connection this process has known to be gone for [`GRACE`]. What the watches tell only makes it worth a look. Right
//! before the act, in this order: the Secret itself, its connection, the kind; then a removal of the very form that was
//! known before all these looks. A connection that is made anew meanwhile writes the Secret, and the removal fails.
//!
//! It sleeps until something may be due. While nothing is, it sends nothing.

mod kept;
pub(crate) mod live;
pub mod retire;
mod tell;
pub mod verdict;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::join_all;

use super::{
    Context,
    api_failure::ApiFailure,
    index::Orphan,
    remove::{self, Looked},
    renew,
    secret_meta::ObjectKey,
    sighting::SecretState,
};
use crate::domain::reference::Kind;
pub use kept::Kept;
use kept::{Rest, Subject};
use verdict::{Finding, Presence};

/// How long a connection must be known to be gone before its Secrets go. Tools that replace objects take seconds.
pub const GRACE: Duration = Duration::from_secs(60);

/// What becomes due within this time is looked at together.
const ROUND: Duration = Duration::from_secs(5);

/// How many Secrets share one look at the kind. Small, so that little time passes between the looks and the act.
const BATCH: usize = 32;

/// Sweeps for ever.
pub async fn run(context: Arc<Context>) {
    let mut next: Option<Duration> = None;
    loop {
        let due = async {
            match next {
                Some(next) => tokio::time::sleep(context.clock.wait_until_uptime(next)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => next = round(&context).await,
            () = context.index.orphaned() => {
                // Whatever has just lost its connection is not due any sooner.
                let then = context.clock.uptime().saturating_add(GRACE);
                next = Some(next.map_or(then, |next| next.min(then)));
            }
        }
    }
}

/// Removes what is due; returns when something may be due again, as uptime.
async fn round(context: &Context) -> Option<Duration> {
    let now = context.clock.uptime();
    let orphans = context.index.orphans(now.saturating_sub(GRACE));
    context.kept.retain(|key| matches!(context.index.secret(key), SecretState::Present(_)));
    let due: Vec<Orphan> = orphans
        .iter()
        .filter(|orphan| due_at(&context.kept, orphan).is_some_and(|time| time <= now))
        .cloned()
        .collect();
    if !due.is_empty() {
        let findings = sweep(context, due).await;
        tell::orphans(context, findings).await;
    }
    let ledgers = renew::orphan::round(context).await;
    let next = orphans.iter().filter_map(|orphan| due_at(&context.kept, orphan)).chain(ledgers).min()?;
    Some(next.max(context.clock.uptime().saturating_add(ROUND)))
}

/// When an orphan is to be looked at; none if never while it stays as it is.
fn due_at(kept: &Kept, orphan: &Orphan) -> Option<Duration> {
    match kept.rest(&orphan.key, &subject(orphan)) {
        Rest::None => Some(orphan.since.saturating_add(GRACE)),
        Rest::Until(time) => Some(time),
        Rest::Forever => None,
    }
}

fn subject(orphan: &Orphan) -> Subject {
    Subject {
        uid: orphan.seen.uid.clone(),
        resource_version: orphan.seen.resource_version.clone(),
        since: Some(orphan.since),
    }
}

/// Looks at all these Secrets and removes those that may go; returns what is worth telling.
async fn sweep(context: &Context, due: Vec<Orphan>) -> Vec<(Orphan, Finding)> {
    let mut news = vec![];
    let mut note = |orphan: Orphan, finding: Finding| {
        let now = context.clock.uptime();
        let is_new = context.kept.note(&orphan.key, subject(&orphan), finding.clone(), now, fastrand::f64());
        if is_new {
            news.push((orphan, finding));
        }
    };
    let mut candidates = vec![];
    for orphan in due {
        match verdict::by_marks(&orphan) {
            Ok(created) => candidates.push((orphan, created)),
            Err(finding) => note(orphan, finding),
        }
    }
    // What stands in the way of one may stand in the way of all; then the others need not be looked at. So the youngest
    // come first: a kind that is younger than one connection is younger than all that are older than that.
    candidates.sort_by_key(|(_, created)| std::cmp::Reverse(*created));
    let (namespaced, cluster): (Vec<_>, Vec<_>) =
        candidates.into_iter().partition(|(orphan, _)| orphan.reference.kind() == Kind::Namespaced);
    let mut obstacles: BTreeMap<Kind, Finding> = BTreeMap::new();
    let mut batches: Vec<(Kind, &[(Orphan, jiff::Timestamp)])> = vec![];
    for (kind, candidates) in [(Kind::Namespaced, &namespaced), (Kind::Cluster, &cluster)] {
        batches.extend(candidates.chunks(BATCH).map(|batch| (kind, batch)));
    }
    for (kind, batch) in batches {
        let obstacle = obstacles.get(&kind).cloned();
        if let Some(finding) = obstacle {
            batch.iter().for_each(|(orphan, _)| note(orphan.clone(), finding.clone()));
            continue;
        }
        let findings = match tokio::time::timeout(context.pass_limit, sweep_batch(context, kind, batch)).await {
            Ok(findings) => findings,
            Err(_) => vec![Finding::Unanswered; batch.len()],
        };
        let is_silent = findings.iter().all(|finding| *finding == Finding::Unanswered);
        let obstacle = findings.iter().find(|finding| finding.is_of_the_kind()).cloned();
        obstacles.extend(obstacle.or(is_silent.then_some(Finding::Unanswered)).map(|obstacle| (kind, obstacle)));
        for ((orphan, _), finding) in batch.iter().zip(findings) {
            note(orphan.clone(), finding);
        }
    }
    news
}

/// Looks at a few Secrets of connections of one kind at once and removes those that may go; returns a finding for each.
async fn sweep_batch(context: &Context, kind: Kind, batch: &[(Orphan, jiff::Timestamp)]) -> Vec<Finding> {
    let looks = join_all(batch.iter().map(|(orphan, _)| look(context, orphan))).await;
    let standing = match looks.iter().any(Result::is_ok) {
        // After the looks for the connections: only while the kind stands does their absence mean anything.
        true => live::definition(&context.client, kind).await.map_err(unanswered),
        false => Err(Finding::Unanswered),
    };
    let acts = batch.iter().zip(looks).map(async |((orphan, created), look)| {
        let seen = look?;
        verdict::by_kind(*created, standing.clone()?)?;
        if !context.index.is_gone(&orphan.reference) {
            return Err(Finding::ConnectionThere);
        }
        let delete = remove::delete(&context.client, &context.metrics, &orphan.key, &seen);
        let removed = context.pace.at_its_turn(None, delete).await.ok_or(Finding::Unanswered)?;
        removed.map(Finding::from).map_err(unanswered)
    });
    let findings = join_all(acts).await;
    findings.into_iter().map(|finding: Result<Finding, Finding>| finding.unwrap_or_else(|kept| kept)).collect()
}

/// The Secret, if it and the absence of its connection let it go.
async fn look(context: &Context, orphan: &Orphan) -> Result<super::secret_meta::SecretMeta, Finding> {
    let secret = remove::look(&context.client, &orphan.key).await.map_err(unanswered)?;
    let presence = match &secret {
        Looked::There(_) => live::presence(&context.client, &orphan.reference).await.map_err(unanswered)?,
        Looked::Ending | Looked::Absent | Looked::Denied => Presence::Gone,
    };
    verdict::by_looks(orphan, &secret, presence)
}

fn unanswered(failure: ApiFailure) -> Finding {
    tracing::debug!(
        error = &failure as &dyn std::error::Error,
        "a Secret that might have to go could not be looked at"
    );
    Finding::Unanswered
}
