//! Which versions the ConfigMaps have that connections refer to, as the watch tells it.

use std::collections::HashMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{core::PartialObjectMeta, runtime::watcher::Event};

use super::listing::{Listing, Parts};
use crate::controller::{
    mapper::{self, Concerned, Wake},
    secret_meta::ObjectKey,
    sighting::{Sighting, is_older},
    stored::Stored,
};

/// See the module.
pub(super) struct ConfigMaps {
    pub(super) concerned: Concerned,
    known: HashMap<ObjectKey, Sighting>,
    /// The list that is coming in.
    listing: Listing,
    /// The first list is complete, or cannot be had.
    pub(super) is_listed: bool,
}

impl ConfigMaps {
    /// Nothing yet; the operator is in this namespace.
    pub(super) fn of(namespace: &str) -> Self {
        let concerned = Concerned::new(mapper::followed_config_maps, namespace);
        Self { concerned, known: HashMap::new(), listing: Listing::default(), is_listed: false }
    }

    /// What is known of one.
    pub(super) fn sighting(&self, key: &ObjectKey) -> Sighting {
        self.known.get(key).cloned().unwrap_or(Sighting::Unknown)
    }

    /// Takes in what a read of ours told, unless the watch already told something.
    pub(super) fn learn(&mut self, key: &ObjectKey, sighting: Sighting) {
        if self.concerned.contains(key) {
            self.known.entry(key.clone()).or_insert(sighting);
        }
    }

    /// Takes in an event of the watch; returns who is concerned.
    pub(super) fn apply<K>(&mut self, event: Event<PartialObjectMeta<K>>) -> Vec<Wake> {
        match event {
            Event::Init => {
                self.listing.begin();
                vec![]
            }
            Event::InitApply(object) => {
                let key = mapper::key_of(&object.metadata);
                let woken = self.see(&key, &object.metadata);
                if self.concerned.contains(&key) {
                    self.listing.shows(key);
                }
                woken
            }
            Event::InitDone => {
                self.is_listed = true;
                let Parts { seen, late } = self.listing.end();
                let is_gone = |key: &&ObjectKey| !seen.contains(*key) && !late.contains(*key);
                let gone: Vec<ObjectKey> = self.concerned.keys().filter(is_gone).cloned().collect();
                gone.into_iter().flat_map(|key| self.miss(&key)).collect()
            }
            Event::Apply(object) => self.see(&mapper::key_of(&object.metadata), &object.metadata),
            Event::Delete(object) => {
                let key = mapper::key_of(&object.metadata);
                let gone = object.metadata.resource_version.unwrap_or_default();
                match self.known.get(&key) {
                    // A read of ours showed its successor before the watch told that it went.
                    Some(Sighting::Present { resource_version, .. }) if is_older(&gone, resource_version) => vec![],
                    Some(Sighting::Present { .. } | Sighting::Absent | Sighting::Unknown) | None => self.miss(&key),
                }
            }
        }
    }

    fn see(&mut self, key: &ObjectKey, metadata: &ObjectMeta) -> Vec<Wake> {
        if !self.concerned.contains(key) {
            return vec![];
        }
        let (uid, resource_version) = (metadata.uid.clone(), metadata.resource_version.clone());
        let sighting =
            Sighting::Present { uid: uid.unwrap_or_default(), resource_version: resource_version.unwrap_or_default() };
        match (self.known.get(key), &sighting) {
            (
                Some(Sighting::Present { resource_version: known, .. }),
                Sighting::Present { resource_version: new, .. },
            ) if !is_older(known, new) => vec![],
            _ => {
                self.known.insert(key.clone(), sighting);
                self.concerned.wakes(key)
            }
        }
    }

    fn miss(&mut self, key: &ObjectKey) -> Vec<Wake> {
        if !self.concerned.contains(key) {
            return vec![];
        }
        match self.known.insert(key.clone(), Sighting::Absent) {
            Some(Sighting::Absent) => vec![],
            Some(Sighting::Present { .. } | Sighting::Unknown) | None => self.concerned.wakes(key),
        }
    }

    /// Begins to follow what a connection is about.
    pub(super) fn follow(&mut self, connection: &Stored) {
        let new = self.concerned.about(connection).into_iter().filter(|key| !self.concerned.contains(key));
        self.listing.follow(new);
        self.concerned.add(connection);
    }

    /// Ends to follow what a connection was about, except what its new form still is.
    pub(super) fn unfollow(&mut self, connection: &Stored, new: Option<&Stored>) {
        for key in self.concerned.remove(connection, new) {
            self.known.remove(&key);
            self.listing.unfollow(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::fixture::object;
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    fn connection() -> Stored {
        Stored::from(object(|object| {
            object["spec"]["provider"]["generic"]["caRef"] = json!({"kind": "ConfigMap", "name": "authority"});
        }))
    }

    fn key() -> ObjectKey {
        ObjectKey { namespace: "shop".into(), name: "authority".into() }
    }

    fn config_map(name: &str, resource_version: &str) -> PartialObjectMeta<ConfigMap> {
        serde_json::from_value(json!({
            "metadata": {"namespace": "shop", "name": name, "uid": "u", "resourceVersion": resource_version},
        }))
        .unwrap()
    }

    fn list(maps: &mut ConfigMaps, objects: Vec<PartialObjectMeta<ConfigMap>>) -> usize {
        let events =
            [Event::Init].into_iter().chain(objects.into_iter().map(Event::InitApply)).chain([Event::InitDone]);
        events.map(|event| maps.apply(event).len()).sum()
    }

    #[test]
    fn keeps_what_concerns_somebody_and_wakes_those_on_a_change() {
        let mut maps = ConfigMaps::of("regcred-system");
        maps.follow(&connection());
        list(&mut maps, vec![config_map("authority", "1"), config_map("other", "1")]);
        assert_eq!(maps.known.len(), 1);
        for (event, woken) in [
            (Event::Apply(config_map("authority", "2")), 1),
            (Event::Apply(config_map("authority", "2")), 0),
            (Event::Apply(config_map("other", "2")), 0),
            (Event::Delete(config_map("authority", "1")), 0),
            (Event::Delete(config_map("authority", "3")), 1),
            (Event::Delete(config_map("other", "3")), 0),
        ] {
            assert_eq!(maps.apply(event).len(), woken);
        }
        assert_eq!(maps.sighting(&key()), Sighting::Absent);
    }

    #[test]
    fn one_that_the_list_does_not_show_is_absent_and_one_that_may_have_passed_by_unknown() {
        let mut maps = ConfigMaps::of("regcred-system");
        maps.follow(&connection());
        list(&mut maps, vec![]);
        assert_eq!(maps.sighting(&key()), Sighting::Absent);

        let mut maps = ConfigMaps::of("regcred-system");
        maps.apply(Event::<PartialObjectMeta<ConfigMap>>::Init);
        maps.follow(&connection());
        maps.apply(Event::<PartialObjectMeta<ConfigMap>>::InitDone);
        assert_eq!(maps.sighting(&key()), Sighting::Unknown);
        maps.learn(&key(), Sighting::Absent);
        assert_eq!(maps.sighting(&key()), Sighting::Absent);
    }

    #[test]
    fn one_that_nobody_refers_to_any_more_is_forgotten() {
        let mut maps = ConfigMaps::of("regcred-system");
        maps.follow(&connection());
        list(&mut maps, vec![config_map("authority", "1")]);
        maps.unfollow(&connection(), Some(&Stored::from(object(|_| {}))));
        assert!(maps.known.is_empty());
    }
}
