//! Says which Secrets were removed, and which were left although they should have gone: a line in the log for each
//! finding, and an event where somebody should know. IO.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};

use super::{Context, Finding, ObjectKey, Orphan};
use crate::{
    api::Reason,
    controller::{announce::Announcement, events},
    problem::{MAX_MESSAGE, shortened},
};

/// How many events are published at the same time.
const CONCURRENCY: usize = 8;

/// Tells what came of Secrets whose connection is gone. One event stands for all of a namespace that share a finding: the
/// end of a CustomResourceDefinition would otherwise be told once for every Secret of the cluster.
pub(super) async fn orphans(context: &Context, findings: Vec<(Orphan, Finding)>) {
    let mut alike: BTreeMap<(String, Finding), Vec<Orphan>> = BTreeMap::new();
    for (orphan, finding) in findings {
        alike.entry((orphan.key.namespace.clone(), finding)).or_default().push(orphan);
    }
    stream::iter(alike)
        .for_each_concurrent(CONCURRENCY, async |((_, finding), mut orphans)| {
            orphans.sort_by(|one, other| one.key.cmp(&other.key));
            for orphan in &orphans {
                log(&orphan.key, &orphan.reference.to_string(), &finding);
            }
            let (Some(clause), Some(Orphan { key, seen, reference, .. })) = (finding.clause(), orphans.first()) else {
                return;
            };
            let others = match orphans.len() {
                1 => String::new(),
                count => format!(" The same is true of {} more in this namespace.", count - 1),
            };
            let note = format!("Secret {} stays although {reference} is gone: {clause}.{others}", key.name);
            publish(context, key, &seen.uid, note).await;
        })
        .await;
}

/// Tells why a Secret of a name that its connection does not write any more was left.
pub(super) async fn renamed(context: &Context, key: &ObjectKey, uid: &str, reference: &str, finding: &Finding) {
    log(key, reference, finding);
    if let Some(clause) = finding.clause() {
        let note = format!("Secret {} stays although {reference} writes another one now: {clause}.", key.name);
        publish(context, key, uid, note).await;
    }
}

/// A line in the log for a finding.
pub(super) fn log(key: &ObjectKey, reference: &str, finding: &Finding) {
    let ObjectKey { namespace, name } = key;
    match (finding, finding.clause()) {
        (Finding::Removed, _) => tracing::info!(namespace, name, connection = reference, "the Secret was removed"),
        (Finding::Retained, _) => {
            tracing::info!(namespace, name, connection = reference, "the Secret stays, as its connection wanted it");
        }
        (Finding::Unanswered, _) => tracing::warn!(
            namespace,
            name,
            connection = reference,
            "the API server did not answer whether the Secret may go; it is asked again"
        ),
        (_, Some(clause)) => {
            tracing::warn!(namespace, name, connection = reference, clause, "the Secret stays, to be on the safe side");
        }
        (_, None) => tracing::debug!(namespace, name, connection = reference, ?finding, "the Secret stays for now"),
    }
}

async fn publish(context: &Context, key: &ObjectKey, uid: &str, note: String) {
    let announcement =
        Announcement { is_warning: true, reason: Reason::NotRemoved, note: shortened(note, MAX_MESSAGE) };
    let mut secret = events::secret(key);
    secret.uid = Some(uid.to_owned());
    // An event is a courtesy: a cluster that refuses it must not stop the work.
    if let Err(error) = context.events.publish(secret, "Keep", &announcement, context.clock.now()).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "failed to publish an event");
    }
}
