//! What is told by events, besides the status: what a person would want to know of a ledger. IO.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;

use super::book::Book;
use crate::{
    api::Reason,
    controller::{Context, announce::Announcement, events, observe::Observed, secret_meta::ObjectKey},
    problem::{MAX_MESSAGE, shortened},
};

/// Tells, once, that a ledger is gone or damaged from which something was delivered: a new credential is issued, and what was
/// issued before is known to nobody. Whether it is so.
pub(super) async fn loss(context: &Context, observed: &Observed, book: &Book, now: Timestamp) -> bool {
    let what = match book.damaged() {
        Some(damaged) => format!("cannot be used: {damaged}"),
        None if !book.exists() && observed.status.credential.is_some() => "is gone".to_owned(),
        None => return false,
    };
    let sighting = Some(observed.ledger.sighting());
    if observed.memory.lost == sighting {
        return true;
    }
    let note = format!(
        "the ledger {} {what}; a new credential is issued, and what was issued before runs out unless its provider lists it",
        book.key
    );
    tracing::warn!(ledger = %book.key, "the ledger is gone or damaged; a new credential is issued");
    drop(
        publish(
            context,
            events::connection(observed.object.kind(), &observed.object.metadata),
            Reason::LedgerLost,
            "Renew",
            note,
            now,
        )
        .await,
    );
    context.memories.update(observed.uid(), |memory| memory.lost = sighting);
    true
}

/// Tells that a replaced credential could not be revoked for a reason that may last. True if the API server took it.
pub(super) async fn not_revoked(context: &Context, about: ObjectReference, note: String, now: Timestamp) -> bool {
    tracing::warn!(note, "a replaced credential could not be revoked");
    publish(context, about, Reason::NotRevoked, "Revoke", note, now).await.is_ok()
}

/// Tells that names are forgotten behind which there may be credentials, because there is no way to find out.
pub(super) async fn unknown(context: &Context, ledger: &ObjectKey, count: usize, now: Timestamp) {
    let note = format!(
        "Ledger {}: under {count} of the names that it held something may have been issued, and what gives access to its provider is \
         gone or cannot be used. What is there runs out by its expiry.",
        ledger.name
    );
    not_revoked(context, events::secret(ledger), note, now).await;
}

async fn publish(
    context: &Context,
    about: ObjectReference,
    reason: Reason,
    action: &str,
    note: String,
    now: Timestamp,
) -> Result<(), kube::Error> {
    let announcement = Announcement { is_warning: true, reason, note: shortened(note, MAX_MESSAGE) };
    let published = context.events.publish(about, action, &announcement, now).await;
    // An event is a courtesy: a cluster that refuses it must not stop the work.
    published.inspect_err(|error| {
        tracing::warn!(error = error as &dyn std::error::Error, "failed to publish an event");
    })
}
