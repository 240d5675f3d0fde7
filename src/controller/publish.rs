//! Writes what `report` says: the status if it differs, and the event that tells the change. IO.

use jiff::Timestamp;
use json_patch::{AddOperation, Patch as JsonPatch, PatchOperation, TestOperation, jsonptr::PointerBuf};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::Value;

use super::{
    Context,
    announce::{Announcement, announcement},
    api_failure::ApiFailure,
    error::Error,
    events,
    observe::Observed,
    report::{self, Outcome},
    stored::Stored,
    validate::Connection,
};
use crate::api::{RegistryConnectionStatus, names::FIELD_MANAGER};

/// Reports an outcome. `connection` is none if the spec makes no sense.
///
/// # Errors
/// [`Error::Status`] or [`Error::Refused`] if the API server did not take the status, [`Error::Gone`] if there is nobody left to tell.
pub async fn publish(
    context: &Context,
    observed: &mut Observed,
    connection: Option<&Connection>,
    outcome: &Outcome,
    now: Timestamp,
) -> Result<(), Error> {
    let status = report::status(observed, connection, outcome, now);
    record(context, observed, status, now).await
}

/// Reports that the connection is suspended.
///
/// # Errors
/// [`Error::Status`] or [`Error::Refused`] if the API server did not take the status, [`Error::Gone`] if there is nobody left to tell.
pub async fn publish_suspended(context: &Context, observed: &mut Observed, now: Timestamp) -> Result<(), Error> {
    let status = report::suspended_status(observed, now);
    record(context, observed, status, now).await
}

async fn record(
    context: &Context,
    observed: &mut Observed,
    status: RegistryConnectionStatus,
    now: Timestamp,
) -> Result<(), Error> {
    let object = &observed.object;
    let before = object.status.clone().unwrap_or_default();
    if before == status {
        return Ok(());
    }
    write(context, &Subject { metadata: &object.metadata, before: &before }, &status, now).await?;
    observed.recorded(status);
    Ok(())
}

/// A connection that something is said of.
pub(super) struct Subject<'a> {
    /// Its metadata.
    pub(super) metadata: &'a ObjectMeta,
    /// Its status until now.
    pub(super) before: &'a RegistryConnectionStatus,
}

impl Subject<'_> {
    /// Publishes an event about it. An event is a courtesy: a cluster that refuses it must not stop the work.
    pub(super) async fn announce(&self, context: &Context, announcement: &Announcement, now: Timestamp) {
        tracing::info!(reason = %announcement.reason, note = announcement.note, "the connection changed");
        if let Err(error) =
            context.events.publish(events::connection(self.metadata), "Reconcile", announcement, now).await
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "failed to publish an event");
        }
    }
}

/// Writes a new status, and publishes the event that tells the change; the event alone if the API server refuses the
/// status.
///
/// # Errors
/// As for [`publish`].
pub(super) async fn write(
    context: &Context,
    subject: &Subject<'_>,
    status: &RegistryConnectionStatus,
    now: Timestamp,
) -> Result<(), Error> {
    let Subject { metadata, before } = subject;
    let (namespace, name) =
        (metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default());
    let connections: Api<Stored> = Api::namespaced(context.client.clone(), namespace);
    let patch = Patch::<()>::Json(status_patch(metadata.uid.as_deref().unwrap_or_default(), status));
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    match connections.patch_status(name, &parameters, &patch).await {
        Ok(written) => context.index.put_connection(written),
        Err(kube::Error::Api(answer)) if answer.code == 404 => return Err(Error::Gone),
        // Another UID fails the test in the patch, and so may other things fail.
        Err(kube::Error::Api(answer)) if answer.is_invalid() => {
            let found = connections.get_metadata_opt(name).await;
            let found = found.map_err(|error| Error::Status(ApiFailure::from(error)))?;
            if found.is_none_or(|found| found.metadata.uid != metadata.uid) {
                return Err(Error::Gone);
            }
            // Some servers, and some rules, insist on a good spec in every write. An event is all that can be said then; the next
            // tries do not repeat it.
            let uid = metadata.uid.as_deref().unwrap_or_default();
            if context.memories.recall(uid).cut_short == 0
                && let Some(announcement) = announcement(before, status)
            {
                subject.announce(context, &announcement, now).await;
            }
            return Err(Error::Refused(ApiFailure::from(kube::Error::Api(answer))));
        }
        Err(error) => return Err(Error::Status(ApiFailure::from(error))),
    }
    context.metrics.status_written();
    if let Some(announcement) = announcement(before, status) {
        subject.announce(context, &announcement, now).await;
    }
    Ok(())
}

/// Sets the whole status, if the object is still the one it is about.
fn status_patch(uid: &str, status: &RegistryConnectionStatus) -> JsonPatch {
    let pointer = |path: [&str; 2]| PointerBuf::from_tokens(path.into_iter().filter(|token| !token.is_empty()));
    // A status is made of strings, numbers and lists, which always serialise.
    let value = serde_json::to_value(status).unwrap_or(Value::Null);
    JsonPatch(vec![
        PatchOperation::Test(TestOperation { path: pointer(["metadata", "uid"]), value: uid.into() }),
        PatchOperation::Add(AddOperation { path: pointer(["status", ""]), value }),
    ])
}
