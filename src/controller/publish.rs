//! Writes what `report` says: the status if it differs, and the event that tells the change. IO.

use jiff::Timestamp;
use json_patch::{AddOperation, Patch as JsonPatch, PatchOperation, TestOperation, jsonptr::PointerBuf};
use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
    runtime::events::{Event, EventType},
};
use serde_json::Value;

use super::{
    Context,
    announce::announcement,
    api_failure::ApiFailure,
    error::Error,
    observe::Observed,
    report::{self, Outcome},
    validate::Connection,
};
use crate::api::{RegistryConnection, RegistryConnectionStatus, names::FIELD_MANAGER};

/// Reports an outcome. `connection` is none if the spec makes no sense.
///
/// # Errors
/// [`Error::Status`] if the API server did not take the status, [`Error::Gone`] if there is nobody left to tell.
pub async fn publish(
    context: &Context,
    observed: &mut Observed,
    connection: Option<&Connection>,
    outcome: &Outcome,
    now: Timestamp,
) -> Result<(), Error> {
    let status = report::status(observed, connection, outcome, now);
    write(context, observed, status).await
}

/// Reports that the connection is suspended.
///
/// # Errors
/// [`Error::Status`] if the API server did not take the status, [`Error::Gone`] if there is nobody left to tell.
pub async fn publish_suspended(context: &Context, observed: &mut Observed, now: Timestamp) -> Result<(), Error> {
    let status = report::suspended_status(observed, now);
    write(context, observed, status).await
}

async fn write(context: &Context, observed: &mut Observed, status: RegistryConnectionStatus) -> Result<(), Error> {
    let before = observed.object.status.clone().unwrap_or_default();
    if before == status {
        return Ok(());
    }
    let object = &observed.object;
    let connections: Api<RegistryConnection> =
        Api::namespaced(context.client.clone(), &object.namespace().unwrap_or_default());
    let patch = Patch::<RegistryConnection>::Json(status_patch(observed.uid(), &status));
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    match connections.patch_status(&object.name_any(), &parameters, &patch).await {
        Ok(mut written) => {
            written.metadata.managed_fields = None;
            context.index.put_connection(written);
        }
        Err(kube::Error::Api(answer)) if answer.code == 404 => return Err(Error::Gone),
        // Another UID fails the test in the patch, and so may other things fail.
        Err(kube::Error::Api(answer)) if answer.is_invalid() => {
            let found = connections.get_metadata_opt(&object.name_any()).await;
            let found = found.map_err(|error| Error::Status(ApiFailure::from(error)))?;
            if found.is_none_or(|found| found.metadata.uid != object.metadata.uid) {
                return Err(Error::Gone);
            }
            return Err(Error::Status(ApiFailure::from(kube::Error::Api(answer))));
        }
        Err(error) => return Err(Error::Status(ApiFailure::from(error))),
    }
    context.metrics.status_written();
    if let Some(announcement) = announcement(&before, &status) {
        tracing::info!(reason = %announcement.reason, note = announcement.note, "the connection changed");
        let event = Event {
            type_: if announcement.is_warning { EventType::Warning } else { EventType::Normal },
            reason: announcement.reason.to_string(),
            note: Some(announcement.note),
            action: "Reconcile".into(),
            secondary: None,
        };
        // An event is a courtesy: a cluster that refuses it must not stop the work.
        if let Err(error) = context.recorder.publish(&event, &object.object_ref(&())).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "failed to publish an event");
        }
    }
    observed.recorded(status);
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
