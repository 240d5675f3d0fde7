//! Writes what `report` says: the status if it differs, and the event that tells the change. IO.

use std::time::Duration;

use jiff::Timestamp;
use json_patch::{AddOperation, Patch as JsonPatch, PatchOperation, TestOperation, jsonptr::PointerBuf};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
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
    stored::{OfKind, Sent},
    validate::Connection,
};
use crate::{
    api::{
        ClusterRegistryConnection, ConditionType, Reason, RegistryConnection, RegistryConnectionStatus,
        condition::{self, reason_of},
        names::FIELD_MANAGER,
    },
    domain::reference::Kind,
};

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
    observed.links = context.index.linkage(&observed.object);
    let status = report::status(observed, connection, outcome, now);
    record(context, observed, status, outcome.is_unfinished, now).await
}

/// Reports that the connection is suspended.
///
/// # Errors
/// [`Error::Status`] or [`Error::Refused`] if the API server did not take the status, [`Error::Gone`] if there is nobody left to tell.
pub async fn publish_suspended(context: &Context, observed: &mut Observed, now: Timestamp) -> Result<(), Error> {
    let status = report::suspended_status(observed, now);
    record(context, observed, status, false, now).await
}

async fn record(
    context: &Context,
    observed: &mut Observed,
    status: RegistryConnectionStatus,
    is_unfinished: bool,
    now: Timestamp,
) -> Result<(), Error> {
    let object = &observed.object;
    let before = object.status.clone().unwrap_or_default();
    observed.memory.is_untold = before != status && may_wait(context, observed, is_unfinished, (&before, &status));
    if before == status || observed.memory.is_untold {
        return Ok(());
    }
    write(context, &Subject { kind: object.kind(), metadata: &object.metadata, before: &before }, &status, now).await?;
    let told = Some(context.clock.uptime());
    context.memories.update(observed.uid(), |memory| memory.told = told);
    observed.memory.told = told;
    observed.recorded(status);
    Ok(())
}

/// How often it is told what became of single namespaces of a connection of the cluster.
const COUNTS: Duration = Duration::from_secs(10);

/// How often that is told while more is being written: it is old before it is read.
const COUNTS_WHILE_WRITING: Duration = Duration::from_secs(60);

/// Whether a status says nothing new but how many targets there are and where they fail, and such was told a moment ago: a
/// thousand new namespaces are not worth a thousand statuses, nor is a tenant who makes the Secret and deletes it again.
fn may_wait(
    context: &Context,
    observed: &Observed,
    is_unfinished: bool,
    (before, after): (&RegistryConnectionStatus, &RegistryConnectionStatus),
) -> bool {
    let pause = if is_unfinished { COUNTS_WHILE_WRITING } else { COUNTS };
    let is_recent = observed.memory.told.is_some_and(|told| context.clock.uptime() < told.saturating_add(pause));
    is_recent && observed.object.kind() == Kind::Cluster && without_places(before) == without_places(after)
}

/// A status without what it says of single namespaces, as long as the light is green.
fn without_places(status: &RegistryConnectionStatus) -> RegistryConnectionStatus {
    let mut status = RegistryConnectionStatus { targets: None, linked_service_accounts: None, ..status.clone() };
    let is_ready = condition::is_true(&status.conditions, ConditionType::Ready);
    for condition in &mut status.conditions {
        condition.message.clear();
        // That a delivery begins or ends is news.
        let is_of_places =
            [ConditionType::Delivered, ConditionType::Linked].iter().any(|kind| kind.as_str() == condition.type_);
        if is_of_places && reason_of(condition) != Some(Reason::Progressing) {
            condition.status.clear();
            condition.reason.clear();
            condition.last_transition_time = Time(Timestamp::UNIX_EPOCH);
        }
    }
    if is_ready {
        status.last_error = None;
    }
    status
}

/// When what was not told yet may be, as uptime.
pub(super) fn next_telling(observed: &Observed) -> Option<Duration> {
    observed.memory.told.filter(|_| observed.memory.is_untold).map(|told| told.saturating_add(COUNTS))
}

/// A connection that something is said of.
pub(super) struct Subject<'a> {
    /// Its kind.
    pub(super) kind: Kind,
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
            context.events.publish(events::connection(self.kind, self.metadata), "Reconcile", announcement, now).await
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
    match subject.kind {
        Kind::Namespaced => {
            let namespace = subject.metadata.namespace.as_deref().unwrap_or_default();
            write_to(
                &Api::<Sent<RegistryConnection>>::namespaced(context.client.clone(), namespace),
                context,
                subject,
                status,
                now,
            )
            .await
        }
        Kind::Cluster => {
            write_to(
                &Api::<Sent<ClusterRegistryConnection>>::all(context.client.clone()),
                context,
                subject,
                status,
                now,
            )
            .await
        }
    }
}

async fn write_to<K: OfKind>(
    connections: &Api<Sent<K>>,
    context: &Context,
    subject: &Subject<'_>,
    status: &RegistryConnectionStatus,
    now: Timestamp,
) -> Result<(), Error> {
    let Subject { metadata, before, .. } = subject;
    let name = metadata.name.as_deref().unwrap_or_default();
    let patch = Patch::<()>::Json(status_patch(metadata.uid.as_deref().unwrap_or_default(), status));
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    match connections.patch_status(name, &parameters, &patch).await {
        Ok(written) => context.index.put_connection(written.stored),
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
