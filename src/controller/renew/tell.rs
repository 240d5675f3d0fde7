//! What is told by events, besides the status: what a person would want to know of a ledger. IO.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;

use super::book::Book;
use crate::{
    api::Reason,
    controller::{Context, announce::Announcement, events, observe::Observed},
    problem::{MAX_MESSAGE, shortened},
};

/// Tells that a ledger is gone or damaged from which something was delivered: a new credential is issued, and what was issued
/// before is known to nobody.
pub(super) async fn loss(context: &Context, observed: &Observed, book: &Book, now: Timestamp) {
    let what = match book.damaged() {
        Some(damaged) => format!("cannot be used: {damaged}"),
        None if !book.exists() && observed.status.credential.is_some() => "is gone".to_owned(),
        None => return,
    };
    let note = format!(
        "the ledger {} {what}; a new credential is issued, and what was issued before runs out unless its provider lists it",
        book.key
    );
    tracing::warn!(ledger = %book.key, "the ledger is gone or damaged; a new credential is issued");
    drop(publish(context, events::connection(&observed.object.metadata), Reason::LedgerLost, "Renew", note, now).await);
}

/// Tells that a replaced credential could not be revoked for a reason that may last. True if the API server took it.
pub(super) async fn not_revoked(context: &Context, about: ObjectReference, note: String, now: Timestamp) -> bool {
    tracing::warn!(note, "a replaced credential could not be revoked");
    publish(context, about, Reason::NotRevoked, "Revoke", note, now).await.is_ok()
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
