//! The tables of images there are, as the watch and our own writes tell it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::watcher::Event;

use super::shared::Shared;
use crate::{
    api::names::{FIELD_MANAGER, LINKS_ANNOTATION, MANAGED_BY_LABEL, NAMESPACE_ANNOTATION, TABLE},
    controller::sighting::is_older,
    linking::{
        claims::Claims,
        fights,
        place::{Content, Losses, Table},
    },
};

/// See the module. By namespace.
#[derive(Default)]
pub(super) struct Tables {
    known: BTreeMap<Arc<str>, Known>,
    contents: Shared<Content>,
    losses: BTreeMap<Arc<str>, Losses>,
    /// What we are writing: what stands in those tables then.
    writing: BTreeMap<Arc<str>, Option<BTreeMap<String, String>>>,
    /// The resourceVersions at which tables went, to tell a late answer about them from news.
    gone: BTreeMap<Arc<str>, Box<str>>,
    /// What the list that is coming in has shown so far.
    seen: Option<BTreeSet<Arc<str>>>,
    /// The first list is complete.
    pub(super) is_listed: bool,
    /// The list could not be had when that was tried last.
    pub(super) is_unavailable: bool,
}

/// What is kept of a table.
struct Known {
    uid: Box<str>,
    resource_version: Box<str>,
    content: Arc<Content>,
}

impl Tables {
    /// That of a namespace.
    pub(super) fn of(&self, namespace: &str) -> Option<Table> {
        self.known.get(namespace).map(|known| Table {
            uid: known.uid.clone(),
            resource_version: known.resource_version.clone(),
            content: Arc::clone(&known.content),
            losses: self.losses.get(namespace).copied(),
        })
    }

    /// How often that of a namespace was changed or deleted, if that happened lately.
    pub(super) fn losses(&self, namespace: &str) -> Option<Losses> {
        self.losses.get(namespace).copied()
    }

    /// We write that of a namespace now, so that this stands in it, or nothing: whoever sees that learns nothing.
    pub(super) fn is_written(&mut self, namespace: &Arc<str>, data: Option<BTreeMap<String, String>>) {
        self.writing.insert(Arc::clone(namespace), data);
    }

    /// What came of a write is known.
    pub(super) fn was_written(&mut self, namespace: &str) {
        self.writing.remove(namespace);
    }

    /// The namespaces that have one of ours.
    pub(super) fn namespaces(&self) -> impl Iterator<Item = &Arc<str>> {
        self.known.iter().filter(|(_, known)| known.content.is_ours).map(|(namespace, _)| namespace)
    }

    /// Whether that of a namespace is one of ours.
    pub(super) fn has_claims(&self, namespace: &str) -> bool {
        self.known.get(namespace).is_some_and(|known| known.content.is_ours)
    }

    /// Forgets what was lost in a namespace: somebody wants something else there now.
    pub(super) fn forget_losses(&mut self, namespace: &str) {
        self.losses.remove(namespace);
    }

    /// Takes in an event of the watch; returns the namespaces where something changed.
    pub(super) fn apply(&mut self, event: Event<ConfigMap>, now: Duration) -> Vec<Arc<str>> {
        match event {
            Event::Init => {
                self.seen = Some(BTreeSet::new());
                vec![]
            }
            Event::InitApply(table) => {
                let namespace = table.metadata.namespace.as_deref().unwrap_or_default();
                if let Some(seen) = self.seen.as_mut().filter(|_| is_table(&table)) {
                    seen.insert(namespace.into());
                }
                self.see(table, false, now).into_iter().collect()
            }
            Event::InitDone => {
                (self.is_listed, self.is_unavailable) = (true, false);
                let seen = self.seen.take().unwrap_or_default();
                let gone: Vec<Arc<str>> = self.known.keys().filter(|known| !seen.contains(*known)).cloned().collect();
                gone.iter().filter_map(|namespace| self.miss(namespace, now)).collect()
            }
            Event::Apply(table) => self.see(table, false, now).into_iter().collect(),
            Event::Delete(table) if is_table(&table) => {
                let namespace = table.metadata.namespace.as_deref().unwrap_or_default();
                let version = table.metadata.resource_version.as_deref().unwrap_or_default();
                // We made it anew before the watch told that its predecessor went.
                let is_earlier = |known: &Known| is_older(version, &known.resource_version);
                if self.known.get(namespace).is_some_and(is_earlier) {
                    return vec![];
                }
                if !version.is_empty() {
                    self.gone.insert(namespace.into(), version.into());
                }
                self.miss(namespace, now).into_iter().collect()
            }
            Event::Delete(_) => vec![],
        }
    }

    /// Takes in one as the watch or an answer shows it; returns its namespace if that is news.
    pub(super) fn see(&mut self, table: ConfigMap, is_written: bool, now: Duration) -> Option<Arc<str>> {
        if !is_table(&table) {
            return None;
        }
        let namespace = table.metadata.namespace.clone().unwrap_or_default();
        let namespace = match self.known.get_key_value(namespace.as_str()) {
            Some((known, _)) => Arc::clone(known),
            None => Arc::from(namespace),
        };
        let resource_version: Box<str> = table.metadata.resource_version.clone().unwrap_or_default().into();
        let uid = table.metadata.uid.clone().unwrap_or_default().into();
        if self.gone.get(&namespace).is_some_and(|gone| is_older(&resource_version, gone)) {
            return None;
        }
        let new = content(table);
        let is_written =
            is_written || self.writing.get(&namespace).is_some_and(|data| data.as_ref() == Some(&new.data));
        let before = self.known.get(&namespace);
        if let Some(before) = before {
            if !is_older(&before.resource_version, &resource_version) {
                return None;
            }
            if before.content.is_ours && !is_written && *before.content != new {
                let losses = fights::lost(self.losses(&namespace), now);
                self.losses.insert(Arc::clone(&namespace), losses);
            }
        }
        let is_news = before.is_none_or(|before| *before.content != new);
        let content = self.contents.one(Arc::new(new));
        let known = Known { uid, resource_version, content };
        if let Some(replaced) = self.known.insert(Arc::clone(&namespace), known) {
            self.contents.release(replaced.content);
        }
        is_news.then_some(namespace)
    }

    /// It is gone, as the watch or an answer tells.
    pub(super) fn miss(&mut self, namespace: &str, now: Duration) -> Option<Arc<str>> {
        let (namespace, gone) = self.known.remove_entry(namespace)?;
        let is_ours = self.writing.get(&namespace).is_some_and(Option::is_none);
        if gone.content.is_ours && !is_ours {
            let losses = fights::lost(self.losses(&namespace), now);
            self.losses.insert(Arc::clone(&namespace), losses);
        }
        self.contents.release(gone.content);
        Some(namespace)
    }

    /// A namespace is gone, and with it all that was in it.
    pub(super) fn namespace_went(&mut self, namespace: &str) {
        self.losses.remove(namespace);
        self.gone.remove(namespace);
        if let Some(gone) = self.known.remove(namespace) {
            self.contents.release(gone.content);
        }
    }
}

fn is_table(table: &ConfigMap) -> bool {
    table.metadata.name.as_deref() == Some(TABLE)
}

/// What a table says.
fn content(table: ConfigMap) -> Content {
    let (labels, annotations) = (table.metadata.labels.as_ref(), table.metadata.annotations.as_ref());
    let annotation = |key: &str| annotations.and_then(|all| all.get(key));
    let is_marked = labels.and_then(|all| all.get(MANAGED_BY_LABEL)).is_some_and(|manager| manager == FIELD_MANAGER);
    if !is_marked || annotation(NAMESPACE_ANNOTATION) != table.metadata.namespace.as_ref() {
        // What stands in it is nobody's business here, and may be much.
        return Content::default();
    }
    Content {
        is_ours: true,
        claims: annotation(LINKS_ANNOTATION).map(|text| Claims::parse(text)).unwrap_or_default(),
        is_immutable: table.immutable.unwrap_or(false),
        data: table.data.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: Duration = Duration::from_secs(100);

    fn data(line: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("images".to_owned(), line.to_owned())])
    }

    fn table(resource_version: u32, line: &str) -> ConfigMap {
        serde_json::from_value(json!({
            "metadata": {
                "namespace": "shop", "name": TABLE, "uid": "u", "resourceVersion": resource_version.to_string(),
                "labels": {MANAGED_BY_LABEL: FIELD_MANAGER}, "annotations": {NAMESPACE_ANNOTATION: "shop"},
            },
            "data": data(line),
        }))
        .unwrap()
    }

    fn losses(tables: &Tables) -> u32 {
        tables.losses("shop").map_or(0, |losses| losses.count)
    }

    #[test]
    fn what_somebody_else_writes_or_deletes_is_counted_and_what_we_do_is_not() {
        let shop: Arc<str> = "shop".into();
        let mut tables = Tables::default();
        tables.is_written(&shop, Some(data("r.example/a")));
        // The watch may be faster than the answer.
        tables.apply(Event::Apply(table(1, "r.example/a")), NOW);
        tables.see(table(1, "r.example/a"), true, NOW);
        tables.is_written(&shop, Some(data("r.example/b")));
        tables.apply(Event::Apply(table(2, "r.example/b")), NOW);
        tables.was_written("shop");
        assert_eq!(losses(&tables), 0);
        tables.apply(Event::Apply(table(3, "theirs")), NOW);
        assert_eq!(losses(&tables), 1);
        tables.apply(Event::Delete(table(4, "theirs")), NOW);
        assert_eq!(losses(&tables), 2);
        tables.see(table(3, "r.example/b"), true, NOW);
        assert_eq!(tables.of("shop"), None, "a late answer about one that went");
        tables.see(table(5, "r.example/b"), true, NOW);
        tables.is_written(&shop, None);
        tables.apply(Event::Delete(table(6, "r.example/b")), NOW);
        assert_eq!((losses(&tables), tables.of("shop")), (2, None), "we took it away");
        tables.namespace_went("shop");
        assert!(tables.losses.is_empty() && tables.gone.is_empty(), "nothing is kept of a namespace that went");
    }

    #[test]
    fn what_stands_in_one_that_is_not_ours_is_not_kept() {
        let mut tables = Tables::default();
        let mut foreign = table(1, "theirs");
        foreign.metadata.annotations = None;
        assert_eq!(tables.see(foreign, false, NOW), Some("shop".into()));
        assert_eq!(*tables.of("shop").unwrap().content, Content::default());
        assert_eq!(tables.namespaces().count(), 0);
    }
}
