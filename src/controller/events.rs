//! Publishes events about connections and Secrets. IO.
//!
//! A repeat within a few minutes is counted on the event that is already there. kube's recorder would do the same, but it
//! puts the whole name of the object into the name of the event, which the API server refuses for the longest names.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        core::v1::ObjectReference,
        events::v1::{Event, EventSeries},
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{announce::Announcement, mapper::NO_NAMESPACE, secret_meta::ObjectKey};
use crate::{
    api::{RegistryConnection, names::FIELD_MANAGER},
    domain::reference::Kind,
};

/// A repeat after a longer time is an event of its own, as in kube's recorder and in client-go.
const SERIES_ENDS_AFTER: SignedDuration = SignedDuration::from_mins(6);

/// The longest name of an object, in bytes.
const MAX_NAME: usize = 253;

/// See the module.
pub struct Events {
    client: Client,
    instance: String,
    recent: Mutex<HashMap<Key, Recent>>,
}

/// What makes two events the same.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    uid: String,
    announcement: Announcement,
}

#[derive(Clone)]
struct Recent {
    name: String,
    count: i32,
    last: Timestamp,
}

impl Events {
    /// Events published with this client; `instance` says by which process.
    pub fn new(client: Client, instance: String) -> Self {
        Self { client, instance, recent: Mutex::default() }
    }

    /// Publishes an event about an object; `action` is a word for what was done.
    ///
    /// # Errors
    /// If the API server does not take it.
    pub async fn publish(
        &self,
        about: ObjectReference,
        action: &str,
        announcement: &Announcement,
        now: Timestamp,
    ) -> Result<(), kube::Error> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace_of(&about));
        let key = Key { uid: about.uid.clone().unwrap_or_default(), announcement: announcement.clone() };
        let repeated = self.recent(now).get(&key).cloned();
        if let Some(before) = repeated {
            let series = EventSeries { count: before.count.saturating_add(1), last_observed_time: MicroTime(now) };
            let patch = Patch::Merge(json!({ "series": series }));
            match api.patch(&before.name, &PatchParams::default(), &patch).await {
                Ok(_) => {
                    self.recent(now).insert(key, Recent { count: series.count, last: now, ..before });
                    return Ok(());
                }
                // Events are short-lived; somebody may have swept this one away.
                Err(kube::Error::Api(answer)) if answer.code == 404 => {}
                Err(error) => return Err(error),
            }
        }
        let event = self.event(about, action, announcement, now);
        let name = event.metadata.name.clone().unwrap_or_default();
        api.create(&Default::default(), &event).await?;
        self.recent(now).insert(key, Recent { name, count: 1, last: now });
        Ok(())
    }

    fn event(&self, about: ObjectReference, action: &str, announcement: &Announcement, now: Timestamp) -> Event {
        let name = about.name.as_deref().unwrap_or_default();
        Event {
            metadata: ObjectMeta {
                namespace: Some(namespace_of(&about).to_owned()),
                name: Some(event_name(name, now)),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(now)),
            type_: Some(if announcement.is_warning { "Warning" } else { "Normal" }.to_owned()),
            reason: Some(announcement.reason.to_string()),
            note: Some(announcement.note.clone()),
            action: Some(action.to_owned()),
            reporting_controller: Some(FIELD_MANAGER.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            regarding: Some(about),
            ..Event::default()
        }
    }

    /// The events that may still be repeated.
    fn recent(&self, now: Timestamp) -> MutexGuard<'_, HashMap<Key, Recent>> {
        // Nothing in here panics half-way through a change.
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|_, event| is_repeatable(event.last, now));
        recent
    }
}

/// Whether an event that was last published then may still be repeated. Passes that began earlier look back from a little
/// earlier; but what is far ahead was published before the clock was set back.
fn is_repeatable(last: Timestamp, now: Timestamp) -> bool {
    now.duration_since(last).abs() < SERIES_ENDS_AFTER
}

/// A connection of a kind with these metadata, as events refer to it.
pub fn connection(kind: Kind, metadata: &ObjectMeta) -> ObjectReference {
    ObjectReference {
        api_version: Some(RegistryConnection::api_version(&()).into_owned()),
        kind: Some(kind.as_str().to_owned()),
        namespace: metadata.namespace.clone().filter(|namespace| namespace != NO_NAMESPACE),
        name: metadata.name.clone(),
        uid: metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

/// A Secret, as events refer to it.
pub fn secret(key: &ObjectKey) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Secret".into()),
        namespace: Some(key.namespace.clone()),
        name: Some(key.name.clone()),
        ..ObjectReference::default()
    }
}

/// Where an event about an object is: beside it, and for one of the cluster where `kubectl describe` looks.
fn namespace_of(about: &ObjectReference) -> &str {
    about.namespace.as_deref().unwrap_or("default")
}

/// A name for an event about an object: as much of the object's as fits, and the time, which tells it from others.
fn event_name(object: &str, now: Timestamp) -> String {
    let suffix = format!("{:x}", now.as_nanosecond());
    let end = (0..=MAX_NAME.saturating_sub(suffix.len() + 1)).rev().find(|end| object.is_char_boundary(*end));
    let object = object.get(..end.unwrap_or(0).min(object.len())).unwrap_or_default();
    // What is cut must not end within a separator.
    format!("{}.{suffix}", object.trim_end_matches(['.', '-']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::names::is_object_name;

    #[test]
    fn a_series_ends_after_a_while_and_when_the_clock_was_set_back() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        for (name, seconds, expected) in [
            ("just now", 0, true),
            ("five minutes ago", -300, true),
            ("six minutes ago", -360, false),
            ("by a pass that began later", 30, true),
            ("before the clock was set back", 3600, false),
        ] {
            assert_eq!(is_repeatable(now + SignedDuration::from_secs(seconds), now), expected, "{name}");
        }
    }

    #[test]
    fn the_name_of_an_event_is_a_name_however_long_the_objects_is() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(event_name("images", now), "images.18867251edfa0000");
        for name in
            ["n".repeat(253), "a.".repeat(126) + "a", "a-".repeat(126) + "a", "-".repeat(253).replacen('-', "a", 1)]
        {
            let event = event_name(&name, now);
            assert!(is_object_name(&event), "{event}");
        }
    }
}
