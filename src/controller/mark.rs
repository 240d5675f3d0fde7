//! Brings the deletionPolicy to the Secrets of a connection, in every state in which they are not delivered to.
//!
//! Once a connection is gone and no process saw it go, what its Secrets say is the last word. A connection that is
//! suspended, refused, expired or invalid delivers nothing, and the user may still want its Secrets to stay. Those under
//! another name than the present one are never delivered to again; they learn of `Retain`, not of `Delete`, so that what was
//! once to stay does not go. The ledger learns both.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
};

use tokio::time::{Instant, timeout_at};

use super::{
    Context,
    error::Error,
    memory::Unmarked,
    observe::Observed,
    pace::{CONCURRENCY, LONGEST, MOST},
    plan::policy_patch,
    remove::is_decision,
    secret_meta::{Marks, ObjectKey, SecretMeta},
    sighting::SecretState,
};
use crate::{
    api::{
        connection::DeletionPolicy,
        names::{DOCKER_CONFIG_JSON_TYPE, FIELD_MANAGER, LEDGER_TYPE},
    },
    domain::reference::ConnectionReference,
    metrics::{WriteOp, WriteResult},
};

/// What the API server decided against is not tried again before: rights and policies change without a sign.
const PAUSE_AFTER_DENIAL: Duration = Duration::from_secs(10 * 60);

/// The same where it gave no decision.
const PAUSE_WHERE_UNDECIDED: Duration = Duration::from_secs(30);

/// Writes the deletionPolicy to the Secrets that surely are this connection's and say something else; one write each. True if
/// there are more than fit into one pass.
///
/// To be called at the end of a pass: a delivery brings the policy along. It ends at `latest`, whoever does not answer.
///
/// # Errors
/// [`Error::Write`] if the API server did not answer as expected; trying again may help.
pub async fn bring_policy(context: &Context, observed: &Observed, latest: Instant) -> Result<bool, Error> {
    if !observed.memory.unmarked.is_empty() {
        let now = context.clock.uptime();
        context.memories.update(observed.uid(), |memory| memory.unmarked.retain(|_, unmarked| now < unmarked.until));
    }
    let object = &observed.object;
    let reference = object.reference();
    let policy = object.spec.deletion_policy.unwrap_or_default();
    let key = ObjectKey::of_ledger(&context.namespace, &reference);
    if let SecretState::Present(ledger) = &observed.ledger
        && ledger.ledger_of(&key, &context.namespace).as_ref() == Some(&reference)
        && ledger.deletion_policy() != Some(policy)
        && !rests(context, observed, &key, ledger)
        && let Some(written) = write(context, observed, &key, ledger, (LEDGER_TYPE, policy)).await?
    {
        let (before, after) = (observed.ledger.sighting(), written.sighting());
        context.memories.update(observed.uid(), |memory| {
            if let Some(attempt) = &mut memory.attempt
                && attempt.basis.ledger == before
            {
                attempt.basis.ledger = after.clone();
            }
            memory.ledger = Some(after);
        });
    }
    // Most share their marks.
    let mut fine: Option<&Arc<Marks>> = None;
    let behind = observed.targets.iter().filter_map(|(namespace, state)| match state {
        SecretState::Present(target) if fine.is_some_and(|fine| Arc::ptr_eq(fine, &target.marks)) => None,
        SecretState::Present(target) if target.deletion_policy() == Some(policy) => {
            fine = Some(&target.marks);
            None
        }
        SecretState::Present(target) => Some((observed.targets.key(namespace), target)),
        SecretState::Absent | SecretState::Unknown => None,
    });
    let mut behind: Vec<(ObjectKey, Arc<SecretMeta>)> = behind
        .filter(|(key, target)| is_behind(&reference, key, target, policy))
        .map(|(key, target)| (key, Arc::clone(target)))
        .collect();
    match policy {
        DeletionPolicy::Delete => {}
        DeletionPolicy::Retain => {
            let others = context.index.present(observed.targets.others()).into_iter();
            behind.extend(others.filter(|(key, seen)| is_behind(&reference, key, seen, policy)));
        }
    }
    behind.retain(|(key, seen)| !rests(context, observed, key, seen));
    if behind.is_empty() {
        return Ok(false);
    }
    let is_more = behind.len() > MOST;
    behind.truncate(MOST);
    let end = Instant::now() + LONGEST;
    let written = behind.iter().map(|(key, seen)| async move {
        let write = timeout_at(latest, write(context, observed, key, seen, (DOCKER_CONFIG_JSON_TYPE, policy)));
        match context.pace.at_its_turn(Some(end.min(latest)), write).await {
            None => Ok::<_, Error>(true),
            Some(Ok(written)) => written.map(|_| false),
            Some(Err(_)) => {
                rest(context, observed, key, seen, PAUSE_WHERE_UNDECIDED);
                Ok(false)
            }
        }
    });
    let is_late = stream::iter(written.collect::<Vec<_>>()).buffer_unordered(CONCURRENCY);
    is_late.try_fold(is_more, |any, is_late| async move { Ok(any || is_late) }).await
}

/// Whether a Secret surely is this connection's and says something else of its end.
fn is_behind(reference: &ConnectionReference, key: &ObjectKey, seen: &SecretMeta, policy: DeletionPolicy) -> bool {
    seen.deletion_policy() != Some(policy) && seen.owner(key).as_ref() == Some(reference)
}

/// Whether the API server did not let it be written a while ago.
fn rests(context: &Context, observed: &Observed, key: &ObjectKey, seen: &SecretMeta) -> bool {
    observed.memory.unmarked.get(key).is_some_and(|unmarked| {
        unmarked.generation == observed.generation()
            && unmarked.resource_version == seen.resource_version
            && context.clock.uptime() < unmarked.until
    })
}

/// When to come back to what could not be written, as uptime.
pub fn next(context: &Context, observed: &Observed) -> Option<Duration> {
    context.memories.recall(observed.uid()).unmarked.values().map(|unmarked| unmarked.until).min()
}

/// Takes note that it could not be written now.
fn rest(context: &Context, observed: &Observed, key: &ObjectKey, seen: &SecretMeta, pause: Duration) {
    let until = context.clock.uptime().saturating_add(pause);
    let unmarked =
        Unmarked { generation: observed.generation(), resource_version: seen.resource_version.clone(), until };
    context.memories.update(observed.uid(), |memory| drop(memory.unmarked.insert(key.clone(), unmarked)));
}

/// Writes the policy to a Secret, if it still is what was seen; what it is then. None if it is not, or if the API server
/// decides against it.
async fn write(
    context: &Context,
    observed: &Observed,
    key: &ObjectKey,
    seen: &Arc<SecretMeta>,
    (type_, policy): (&str, DeletionPolicy),
) -> Result<Option<SecretState>, Error> {
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), &key.namespace);
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    let patch = Patch::<Secret>::Json(policy_patch(seen, type_, policy));
    let (counts_as, result) = match secrets.patch(&key.name, &parameters, &patch).await {
        Ok(secret) => {
            // Its data is what it was: the resourceVersion was.
            let meta = SecretMeta { data_trusted: seen.data_trusted, ..SecretMeta::from_secret(&secret) };
            let state = SecretState::Present(Arc::new(meta));
            context.index.learn(key, state.clone());
            (WriteResult::Written, Ok(Some(state)))
        }
        // The watch brings us back.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => (WriteResult::Conflict, Ok(None)),
        Err(kube::Error::Api(status)) if is_decision(&status) => {
            tracing::warn!(
                secret = %key,
                policy = policy.as_str(),
                "the API server refused to let the operator write the deletionPolicy on it"
            );
            rest(context, observed, key, seen, PAUSE_AFTER_DENIAL);
            (WriteResult::Denied, Ok(None))
        }
        // One namespace in which something is out of order must not keep the others waiting.
        Err(kube::Error::Api(_)) => {
            rest(context, observed, key, seen, PAUSE_WHERE_UNDECIDED);
            (WriteResult::Failed, Ok(None))
        }
        Err(error) => (WriteResult::Failed, Err(Error::Write(error.into()))),
    };
    context.metrics.target_write(WriteOp::Update, counts_as);
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::fixture::{connection, object, target};
    use DeletionPolicy::{Delete, Retain};

    #[test]
    fn only_a_secret_that_surely_is_ours_and_says_something_else_is_behind() {
        let connection = connection(&object(|_| {}));
        let key = &ObjectKey { namespace: "shop".into(), name: connection.target.name.clone() };
        let reference = &connection.reference;
        let SecretState::Present(meta) = target(&connection, "r1") else { panic!("absent") };
        let ours = SecretMeta { touched_by_us: true, ..SecretMeta::clone(&meta) };
        assert!(is_behind(reference, key, &ours, Retain));
        assert!(!is_behind(reference, key, &ours, Delete), "it says so");

        let mut silent = ours.clone();
        Arc::make_mut(&mut silent.marks).annotations.remove(crate::api::names::DELETION_POLICY_ANNOTATION);
        assert!(is_behind(reference, key, &silent, Delete), "nobody knows what it says");

        let copy = SecretMeta { touched_by_us: false, ..ours.clone() };
        assert!(!is_behind(reference, key, &copy, Retain));
        let other = ConnectionReference::namespaced("shop", "other");
        assert!(!is_behind(&other, key, &ours, Retain));
    }
}
