//! The ServiceAccounts there are, as the watch and our own writes tell it: what each names, in a few bytes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::runtime::watcher::Event;

use super::shared::Shared;
use crate::{
    api::names::{LINKS_ANNOTATION, MOUNTABLE_SECRETS_ANNOTATION},
    controller::{mapper, secret_meta::ObjectKey, sighting::is_older},
    linking::{
        claims::Claims,
        fights,
        place::{Account, Links, Losses},
    },
};

/// See the module.
#[derive(Default)]
pub(super) struct Accounts {
    /// By namespace, then by name.
    known: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Known>>,
    links: Shared<Links>,
    /// Many namespaces have accounts of the same names.
    names: BTreeSet<Arc<str>>,
    /// By namespace, then by name.
    losses: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Losses>>,
    /// What we are writing: which names those accounts have then.
    writing: HashMap<ObjectKey, Vec<String>>,
    /// What the list that is coming in has shown so far.
    seen: Option<BTreeSet<ObjectKey>>,
    /// The first list is complete.
    pub(super) is_listed: bool,
    /// The list could not be had when that was tried last.
    pub(super) is_unavailable: bool,
}

/// What is kept of an account.
struct Known {
    resource_version: Box<str>,
    links: Arc<Links>,
}

impl Accounts {
    /// Those of a namespace, in the order of their names.
    pub(super) fn of<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = (Arc<str>, Account)> + 'a {
        let all = self.known.get(namespace).into_iter().flatten();
        all.map(|(name, known)| {
            let account = Account {
                resource_version: known.resource_version.clone(),
                links: Arc::clone(&known.links),
                losses: self.losses(namespace, name),
            };
            (Arc::clone(name), account)
        })
    }

    fn losses(&self, namespace: &str, name: &str) -> Option<Losses> {
        self.losses.get(namespace)?.get(name).copied()
    }

    /// We write an account now, so that it has these names: whoever sees that learns nothing.
    pub(super) fn is_written(&mut self, key: ObjectKey, names: Vec<String>) {
        self.writing.insert(key, names);
    }

    /// What came of a write is known.
    pub(super) fn was_written(&mut self, key: &ObjectKey) {
        self.writing.remove(key);
    }

    /// The namespaces in which an account names something for one of us, or may.
    pub(super) fn namespaces_with_claims(&self) -> impl Iterator<Item = &Arc<str>> {
        let has_claims = |known: &Known| !known.links.claims.is_empty();
        self.known.iter().filter(move |(_, all)| all.values().any(has_claims)).map(|(namespace, _)| namespace)
    }

    /// Whether an account of a namespace names something for one of us.
    pub(super) fn has_claims(&self, namespace: &str) -> bool {
        let all = self.known.get(namespace).into_iter().flat_map(BTreeMap::values);
        all.into_iter().any(|known| !known.links.claims.is_empty())
    }

    /// Forgets what was lost in a namespace: somebody wants something else there now.
    pub(super) fn forget_losses(&mut self, namespace: &str) {
        self.losses.remove(namespace);
    }

    /// A namespace is gone, and with it all that was in it.
    pub(super) fn namespace_went(&mut self, namespace: &str) {
        self.losses.remove(namespace);
        if let Some(all) = self.known.remove(namespace) {
            all.into_values().for_each(|gone| self.links.release(gone.links));
        }
    }

    /// Takes in an event of the watch; returns the namespaces where something changed.
    pub(super) fn apply(&mut self, event: Event<ServiceAccount>, now: Duration) -> Vec<Arc<str>> {
        match event {
            Event::Init => {
                self.seen = Some(BTreeSet::new());
                vec![]
            }
            Event::InitApply(account) => {
                let key = mapper::key_of(&account.metadata);
                if let Some(seen) = &mut self.seen {
                    seen.insert(key);
                }
                self.see(account, now).into_iter().collect()
            }
            Event::InitDone => {
                (self.is_listed, self.is_unavailable) = (true, false);
                let seen = self.seen.take().unwrap_or_default();
                let key = |namespace: &Arc<str>, name: &Arc<str>| ObjectKey {
                    namespace: namespace.to_string(),
                    name: name.to_string(),
                };
                let all =
                    self.known.iter().flat_map(|(namespace, all)| all.keys().map(move |name| key(namespace, name)));
                let gone: Vec<ObjectKey> = all.filter(|key| !seen.contains(key)).collect();
                gone.iter().filter_map(|key| self.miss(key)).collect()
            }
            Event::Apply(account) => self.see(account, now).into_iter().collect(),
            Event::Delete(account) => self.miss(&mapper::key_of(&account.metadata)).into_iter().collect(),
        }
    }

    /// Takes in one as the watch or an answer shows it; returns its namespace if that is news.
    pub(super) fn see(&mut self, account: ServiceAccount, now: Duration) -> Option<Arc<str>> {
        let ObjectKey { namespace, name } = mapper::key_of(&account.metadata);
        let namespace = match self.known.get_key_value(namespace.as_str()) {
            Some((known, _)) => Arc::clone(known),
            None => Arc::from(namespace),
        };
        let name = match self.names.get(name.as_str()) {
            Some(known) => Arc::clone(known),
            None => Arc::from(name),
        };
        let resource_version: Box<str> = account.metadata.resource_version.clone().unwrap_or_default().into();
        let new = links(&account);
        let before = self.known.get(&namespace).and_then(|all| all.get(&name));
        if let Some(before) = before {
            if !is_older(&before.resource_version, &resource_version) {
                return None;
            }
            let key = ObjectKey { namespace: namespace.to_string(), name: name.to_string() };
            let is_ours = self.writing.get(&key) == Some(&new.names);
            if !is_ours && (loses(&before.links, &new) || gains(&before.links, &new)) {
                let losses = fights::lost(self.losses(&namespace, &name), now);
                self.losses.entry(Arc::clone(&namespace)).or_default().insert(Arc::clone(&name), losses);
            }
        }
        let is_news = before.is_none_or(|before| *before.links != new);
        let links = self.links.one(Arc::new(new));
        self.names.insert(Arc::clone(&name));
        let all = self.known.entry(Arc::clone(&namespace)).or_default();
        let replaced = all.insert(name, Known { resource_version, links });
        if let Some(replaced) = replaced {
            self.links.release(replaced.links);
        }
        is_news.then_some(namespace)
    }

    /// Takes in one that the API server returned, unless it went meanwhile.
    pub(super) fn learn(&mut self, account: ServiceAccount, now: Duration) {
        let key = mapper::key_of(&account.metadata);
        if self.known.get(key.namespace.as_str()).is_some_and(|all| all.contains_key(key.name.as_str())) {
            self.see(account, now);
        }
    }

    /// It is gone, as the watch or an answer tells.
    pub(super) fn miss(&mut self, key: &ObjectKey) -> Option<Arc<str>> {
        let namespace = self.known.get_key_value(key.namespace.as_str()).map(|(namespace, _)| Arc::clone(namespace))?;
        let all = self.known.get_mut(&namespace)?;
        let (name, gone) = all.remove_entry(key.name.as_str())?;
        let (here, kept) = (1, 1);
        if Arc::strong_count(&name) == here + kept {
            self.names.remove(&name);
        }
        if all.is_empty() {
            self.known.remove(&namespace);
        }
        if let Some(all) = self.losses.get_mut(&namespace) {
            all.remove(key.name.as_str());
        }
        self.links.release(gone.links);
        Some(namespace)
    }
}

/// Whether what is ours was taken away.
fn loses(before: &Links, after: &Links) -> bool {
    before.claims.0.keys().any(|ours| before.names.contains(ours) && !after.names.contains(ours))
}

/// Whether what was ours is back as if it still was.
fn gains(before: &Links, after: &Links) -> bool {
    let is_new = |secret: &String| !before.names.contains(secret) && before.claims.of(secret).is_none();
    after.claims.0.keys().any(|ours| is_new(ours) && after.names.contains(ours))
}

/// What an account names.
fn links(account: &ServiceAccount) -> Links {
    let annotations = account.metadata.annotations.as_ref();
    let annotation = |key: &str| annotations.and_then(|all| all.get(key)).map(String::as_str);
    let names = account.image_pull_secrets.iter().flatten();
    Links {
        names: names.map(|reference| reference.name.clone()).collect(),
        claims: annotation(LINKS_ANNOTATION).map(Claims::parse).unwrap_or_default(),
        has_annotations: annotations.is_some_and(|all| !all.is_empty()),
        // As Kubernetes reads it (strconv.ParseBool).
        is_restricted: annotation(MOUNTABLE_SECRETS_ANNOTATION)
            .is_some_and(|value| ["1", "t", "T", "TRUE", "true", "True"].contains(&value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: Duration = Duration::from_secs(100);

    /// The account `builder` in `shop` that names these Secrets, of which those are ours.
    fn account(resource_version: u32, names: &[&str], ours: &[&str]) -> ServiceAccount {
        let names: Vec<_> = names.iter().map(|name| json!({"name": name})).collect();
        let created = json!({"RegistryConnection/shop/images": "2026-01-01T00:00:00Z"});
        let links: serde_json::Map<_, _> = ours.iter().map(|name| ((*name).to_owned(), created.clone())).collect();
        serde_json::from_value(json!({
            "metadata": {
                "namespace": "shop", "name": "builder", "resourceVersion": resource_version.to_string(),
                "annotations": {LINKS_ANNOTATION: json!(links).to_string()},
            },
            "imagePullSecrets": names,
        }))
        .unwrap()
    }

    fn key() -> ObjectKey {
        ObjectKey { namespace: "shop".into(), name: "builder".into() }
    }

    fn losses(accounts: &Accounts) -> u32 {
        accounts.losses("shop", "builder").map_or(0, |losses| losses.count)
    }

    /// One of which we have written that it names `images`.
    fn linked() -> Accounts {
        let mut accounts = Accounts::default();
        accounts.apply(Event::Apply(account(1, &["mine"], &[])), NOW);
        accounts.is_written(key(), vec!["mine".into(), "images".into()]);
        accounts.learn(account(2, &["mine", "images"], &["images"]), NOW);
        accounts.was_written(&key());
        assert_eq!(losses(&accounts), 0);
        accounts
    }

    #[test]
    fn what_somebody_else_takes_away_or_puts_back_is_counted_and_what_we_write_is_not() {
        for (name, is_ours, names, ours, expected) in [
            ("taken away", false, &["mine"][..], &["images"][..], 1),
            ("taken away with its annotation", false, &["mine"], &[], 1),
            ("unlinked by us", true, &["mine"], &[], 0),
            ("another name beside it", false, &["x", "images"], &["images"], 0),
            ("another one of ours", true, &["mine", "images", "more"], &["images", "more"], 0),
            ("something of ours that we did not write", false, &["images", "more"], &["images", "more"], 1),
        ] {
            let mut accounts = linked();
            if is_ours {
                accounts.is_written(key(), names.iter().map(|name| (*name).to_owned()).collect());
            }
            // The watch may be faster than the answer.
            accounts.apply(Event::Apply(account(3, names, ours)), NOW);
            assert_eq!(losses(&accounts), expected, "{name}");
        }
    }

    #[test]
    fn an_answer_about_one_that_went_brings_nothing_back() {
        let mut accounts = linked();
        accounts.apply(Event::Delete(account(4, &[], &[])), NOW);
        accounts.learn(account(3, &["images"], &["images"]), NOW);
        assert_eq!(accounts.of("shop").count(), 0);
        assert!(accounts.names.is_empty() && accounts.losses.values().all(BTreeMap::is_empty), "nothing is kept of it");
    }

    #[test]
    fn what_a_list_does_not_show_is_gone_and_what_it_shows_anew_is_news() {
        let mut accounts = linked();
        accounts.apply(Event::Init, NOW);
        assert!(accounts.apply(Event::InitApply(account(2, &["mine", "images"], &["images"])), NOW).is_empty());
        assert!(accounts.apply(Event::InitDone, NOW).is_empty() && accounts.is_listed);
        accounts.apply(Event::Init, NOW);
        assert_eq!(accounts.apply(Event::InitDone, NOW), [Arc::from("shop")]);
        assert!(!accounts.has_claims("shop"));
    }
}
