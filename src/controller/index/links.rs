//! Who asks for links where, and what became of it. What changes calls for another look at a namespace; see [`crate::linking`].

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
    sync::Arc,
};

use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::runtime::watcher::Event;
use tokio::sync::Notify;

use super::{Index, Inner, departures::Departure};
use crate::{
    api::{Declared, cluster::DEFAULT_MAX_TARGETS, connection::DeletionPolicy, names::SYSTEM_NAMESPACES},
    controller::{
        mapper::{self, Wake},
        secret_meta::{ObjectKey, Ownership},
        sighting::SecretState,
        stored::Stored,
    },
    domain::reference::{ConnectionReference, Kind},
    linking::{
        place::{Asking, Losses, Naming, Place, Word},
        standing::{self, Linkage, Standing, Support},
        wish::{Identity, Wish},
    },
};

/// See the module.
#[derive(Default)]
pub(super) struct Links {
    /// The connections that ask for links; in this order those of the cluster come first, then those of each namespace.
    wishes: BTreeMap<ConnectionReference, Arc<Wish>>,
    /// The namespaces that a connection of the cluster goes on serving until it is allowed not to.
    blocked: HashMap<ConnectionReference, BTreeSet<Arc<str>>>,
    /// The namespaces to look at.
    woken: BTreeSet<Arc<str>>,
    /// Those of them that were not looked at since a connection changed.
    outstanding: BTreeMap<ConnectionReference, BTreeSet<Arc<str>>>,
    standings: BTreeMap<Arc<str>, Vec<Standing>>,
    support: Support,
    /// Somebody asks for Pods to be linked by their images, or did.
    has_patterns: bool,
    /// Connections of which there is something new to tell.
    told: BTreeSet<ConnectionReference>,
}

/// Who waits for what is told here.
#[derive(Default)]
pub(super) struct Bells {
    /// A namespace is to be looked at.
    pub(super) woken: Notify,
    /// A namespace was looked at.
    pub(super) looked_at: Notify,
    /// There is something new to tell of a connection.
    pub(super) told: Notify,
    /// Somebody asks for Pods to be linked by their images.
    pub(super) patterns: Notify,
}

impl Links {
    /// The connections that ask for links in a namespace, or may, if they are of the cluster.
    fn asking<'a>(&'a self, namespace: &str) -> impl Iterator<Item = &'a Arc<Wish>> {
        let first = ConnectionReference::namespaced("", "");
        let cluster = self.wishes.range((Bound::Unbounded, Bound::Excluded(first))).map(|(_, wish)| wish);
        let from = ConnectionReference::namespaced(namespace, "");
        let namespace = namespace.to_owned();
        let own = self.wishes.range(from..).take_while(move |(it, _)| it.namespace() == Some(&namespace));
        cluster.chain(own.map(|(_, wish)| wish))
    }

    /// Whether not all namespaces that a connection serves were looked at since it changed, or nobody has found out yet whether the
    /// policy is there.
    fn are_under_way(&self, reference: &ConnectionReference) -> bool {
        let has_pattern = || self.wishes.get(reference).is_some_and(|wish| wish.pattern.is_some());
        self.outstanding.contains_key(reference) || self.support == Support::Unknown && has_pattern()
    }

    /// A namespace was looked at, or cannot be any more.
    fn was_looked_at(&mut self, namespace: &str) {
        for outstanding in self.outstanding.values_mut() {
            outstanding.remove(namespace);
        }
        self.outstanding.retain(|_, outstanding| !outstanding.is_empty());
    }
}

impl Inner {
    /// Whether a connection that asks for links does so in a namespace.
    fn serves(&self, wish: &Wish, namespace: &str) -> bool {
        let reference = &wish.connection.reference;
        let Some(choice) = self.connections.choice(reference) else {
            return reference.namespace() == Some(namespace);
        };
        let has_place = || self.places.get(reference).is_none_or(|places| places.contains(namespace));
        let waits = || self.links.blocked.get(reference).is_some_and(|blocked| blocked.contains(namespace));
        self.namespaces.is_chosen(namespace, choice) && has_place() || waits()
    }

    /// Takes note of what a connection asks for now, before it is put among the others.
    pub(super) fn wishes_change(&mut self, new: &Stored) {
        let reference = new.reference();
        let wish = new.readable().and_then(|connection| Wish::of(connection)).map(Arc::new);
        let before = self.links.wishes.get(&reference).cloned();
        if before.is_none() && wish.is_none() {
            return;
        }
        self.wake_served(&reference);
        self.links.has_patterns |= wish.as_ref().is_some_and(|wish| wish.pattern.is_some());
        match wish {
            Some(wish) => drop(self.links.wishes.insert(reference, wish)),
            None => drop(self.links.wishes.remove(&reference)),
        }
    }

    /// Looks at the namespaces that a connection serves now; it was put among the others.
    pub(super) fn wishes_changed(&mut self, new: &Stored) {
        let reference = new.reference();
        if !self.links.wishes.contains_key(&reference) {
            self.links.outstanding.remove(&reference);
            return;
        }
        if let Some(connection) = new.readable() {
            self.find_out_who_waits(connection);
        }
        let served = self.wake_served(&reference);
        self.is_outstanding(reference, served);
    }

    /// These namespaces are to be looked at before it is known what became of the links of a connection.
    fn is_outstanding(&mut self, reference: ConnectionReference, served: BTreeSet<Arc<str>>) {
        // Before all lists are complete, it is not known which these are.
        match served.is_empty() && self.are_links_known() {
            true => drop(self.links.outstanding.remove(&reference)),
            false => drop(self.links.outstanding.insert(reference, served)),
        }
    }

    /// A connection went. Whoever was not the default may be now; what is named for it stays for a while.
    pub(super) fn wishes_went(&mut self, reference: &ConnectionReference) {
        if self.links.wishes.contains_key(reference) {
            self.wake_served(reference);
        }
        self.links.wishes.remove(reference);
        self.links.outstanding.remove(reference);
        self.links.blocked.remove(reference);
        self.wake_claimed(reference);
    }

    /// Looks at the namespaces where something is named for a connection.
    fn wake_claimed(&mut self, reference: &ConnectionReference) {
        match reference.namespace() {
            Some(own) if self.accounts.has_claims(own) || self.tables.has_claims(own) => {
                self.links.woken.insert(own.into());
            }
            Some(_) => {}
            None => self.wake_all_claimed(),
        }
    }

    /// A connection is there that was not, or was not known: what is named for an earlier one of its name is its own now.
    pub(super) fn connection_came(&mut self, reference: &ConnectionReference) {
        self.wake_claimed(reference);
    }

    /// Looks at all namespaces where anything is named for anybody.
    pub(super) fn wake_all_claimed(&mut self) {
        let claimed = self.accounts.namespaces_with_claims().chain(self.tables.namespaces());
        self.links.woken.extend(claimed.cloned());
    }

    /// Looks at the namespaces that a connection serves as it is known now; returns them.
    fn wake_served(&mut self, reference: &ConnectionReference) -> BTreeSet<Arc<str>> {
        let served: BTreeSet<Arc<str>> = match (reference.namespace(), self.connections.choice(reference)) {
            (Some(own), _) => [Arc::from(own)].into(),
            (None, Some(choice)) => {
                let blocked = self.links.blocked.get(reference).into_iter().flatten();
                self.namespaces.chosen(choice).chain(blocked).cloned().collect()
            }
            (None, None) => BTreeSet::new(),
        };
        for namespace in &served {
            self.accounts.forget_losses(namespace);
            self.tables.forget_losses(namespace);
        }
        self.links.woken.extend(served.iter().cloned());
        served
    }

    /// Takes note of which namespaces a connection serves although they are not chosen any more, and which not although they are.
    pub(super) fn served_otherwise(
        &mut self,
        reference: &ConnectionReference,
        blocked: &[Arc<str>],
        places_before: Option<&BTreeSet<Arc<str>>>,
    ) {
        if !self.links.wishes.contains_key(reference) {
            return;
        }
        let before = self.links.blocked.remove(reference).unwrap_or_default();
        let blocked: BTreeSet<Arc<str>> = blocked.iter().cloned().collect();
        self.links.woken.extend(before.symmetric_difference(&blocked).cloned());
        if !blocked.is_empty() {
            self.links.blocked.insert(reference.clone(), blocked);
        }
        let places = self.places.get(reference);
        if places != places_before {
            self.links.woken.extend(places.into_iter().chain(places_before).flatten().cloned());
        }
    }

    /// What is known of a connection for which something is named in a namespace.
    fn word(&self, reference: &ConnectionReference, namespace: &str) -> Word {
        if reference.namespace().is_some_and(|own| own != namespace) {
            // It has no say here, whoever wrote so.
            return Word::Silent;
        }
        match self.connections.get(reference).as_deref() {
            Some(Stored::Readable(connection)) => {
                let is_at_rest = self.links.wishes.get(reference).is_some_and(|wish| wish.is_at_rest);
                match is_at_rest || connection.spec.suspend.unwrap_or(false) {
                    true => Word::Silent,
                    false => Word::Speaks(Identity::of(connection)),
                }
            }
            Some(Stored::Unreadable(_)) => Word::Silent,
            None => match self.departures.of(reference).filter(|_| self.is_gone(reference)) {
                Some(Departure { since, policy }) => Word::Gone { since, policy },
                None => Word::Silent,
            },
        }
    }

    /// What is known of the Secret that a connection wants named in a namespace.
    fn naming(&self, wish: &Wish, namespace: &str) -> Naming {
        let key = ObjectKey { namespace: namespace.to_owned(), name: wish.secret.clone() };
        let reference = &wish.connection.reference;
        match self.secrets.state(&key) {
            SecretState::Present(meta) if meta.ownership(reference) == Ownership::Ours => Naming::There,
            SecretState::Present(_) => Naming::Foreign,
            SecretState::Absent => Naming::Awaited,
            SecretState::Unknown if reference.kind() == Kind::Cluster && self.secrets.is_surveyed(&wish.secret) => {
                Naming::Awaited
            }
            SecretState::Unknown => Naming::Unknown,
        }
    }
}

impl Index {
    /// Everything about the links of a namespace; none if nothing is to be written there.
    pub fn place(&self, namespace: &str) -> Option<Place> {
        let inner = self.lock();
        if !inner.are_links_known() || inner.namespaces.is_ending(namespace) {
            return None;
        }
        let asking = inner.links.asking(namespace).filter(|wish| inner.serves(wish, namespace));
        let mut asking: Vec<Asking> =
            asking.map(|wish| Asking { wish: Arc::clone(wish), secret: inner.naming(wish, namespace) }).collect();
        asking.sort_by(|one, other| one.wish.connection.by_age(&other.wish.connection));
        let mut place = Place {
            asking,
            words: BTreeMap::new(),
            accounts: inner.accounts.of(namespace).collect(),
            table: inner.tables.of(namespace),
            is_of_the_system: SYSTEM_NAMESPACES.contains(&namespace),
        };
        let words = place.holders().into_iter().map(|holder| {
            let word = inner.word(&holder, namespace);
            (holder, word)
        });
        place.words = words.collect();
        Some(place)
    }

    /// How often the table of a namespace was taken away, if that happened lately.
    pub fn table_losses(&self, namespace: &str) -> Option<Losses> {
        self.lock().tables.losses(namespace)
    }

    /// Takes in an event of the watch on ServiceAccounts.
    pub fn apply_service_account(&self, event: Event<ServiceAccount>) {
        let inner = &mut *self.lock();
        let was_listed = inner.accounts.is_listed;
        let changed = inner.accounts.apply(event, self.clock.uptime());
        if was_listed {
            inner.links.woken.extend(changed);
        } else if inner.accounts.is_listed {
            inner.wake_everywhere();
        }
        self.ring(inner);
    }

    /// ServiceAccounts cannot be watched.
    pub fn service_accounts_unavailable(&self) {
        let inner = &mut *self.lock();
        if !inner.accounts.is_listed && !std::mem::replace(&mut inner.accounts.is_unavailable, true) {
            inner.links_are_out_of_reach();
            self.bells.looked_at.notify_waiters();
        }
        self.ring(inner);
    }

    /// Takes in an event of the watch on tables.
    pub fn apply_table(&self, event: Event<ConfigMap>) {
        let inner = &mut *self.lock();
        let was_listed = inner.tables.is_listed;
        let changed = inner.tables.apply(event, self.clock.uptime());
        if was_listed {
            inner.links.woken.extend(changed);
        } else if inner.tables.is_listed {
            inner.wake_everywhere();
        }
        self.ring(inner);
    }

    /// Tables cannot be watched.
    pub fn tables_unavailable(&self) {
        let inner = &mut *self.lock();
        if !inner.tables.is_listed && !std::mem::replace(&mut inner.tables.is_unavailable, true) {
            inner.links_are_out_of_reach();
            self.bells.looked_at.notify_waiters();
        }
        self.ring(inner);
    }

    /// Takes in a ServiceAccount as the API server returned it.
    pub fn learn_service_account(&self, account: ServiceAccount) {
        let inner = &mut *self.lock();
        // It was asked for by who looks at it now.
        inner.accounts.see(account, self.clock.uptime());
    }

    /// Takes in a table as the API server returned it from a write of ours, or from a read.
    pub fn learn_table(&self, table: ConfigMap, is_written: bool) {
        let inner = &mut *self.lock();
        inner.tables.see(table, is_written, self.clock.uptime());
    }

    /// There is no table in a namespace any more: we took it away.
    pub fn table_removed(&self, namespace: &str) {
        self.lock().tables.removed(namespace);
    }

    /// The namespaces to look at, which are not told again; completes once there is one.
    pub async fn namespaces_to_link(&self) -> BTreeSet<Arc<str>> {
        loop {
            {
                let mut inner = self.lock();
                // What is not listed yet would look as if it did not exist.
                if inner.are_links_known() && !inner.links.woken.is_empty() {
                    return std::mem::take(&mut inner.links.woken);
                }
            }
            self.bells.woken.notified().await;
        }
    }

    /// Takes note of what became of the links in a namespace.
    pub fn linked(&self, namespace: &Arc<str>, standings: Vec<Standing>) {
        let inner = &mut *self.lock();
        let links = &mut inner.links;
        let before = match standings.is_empty() {
            true => links.standings.remove(namespace).unwrap_or_default(),
            false => links.standings.insert(Arc::clone(namespace), standings).unwrap_or_default(),
        };
        let after = links.standings.get(namespace).map(Vec::as_slice).unwrap_or_default();
        let is_new = |standing: &&Standing, others: &[Standing]| !others.contains(standing);
        let news = after.iter().filter(|it| is_new(it, &before)).chain(before.iter().filter(|it| is_new(it, after)));
        links.told.extend(news.map(|standing| standing.wish.connection.reference.clone()));
        links.was_looked_at(namespace);
        self.bells.looked_at.notify_waiters();
        self.ring(inner);
    }

    /// The connections of which there is something new to tell; completes once there is one.
    pub async fn news_of_links(&self) -> Vec<Wake> {
        loop {
            {
                let mut inner = self.lock();
                // Nobody is woken before all lists are complete.
                if inner.is_listed() && !inner.links.told.is_empty() {
                    let told = std::mem::take(&mut inner.links.told);
                    return inner.awake(told.iter().map(mapper::wake_of).collect());
                }
            }
            self.bells.told.notified().await;
        }
    }

    /// Completes once what is told of the links of a connection is about its spec as it is, or nobody can find that out.
    pub async fn links_made(&self, reference: &ConnectionReference) {
        loop {
            let mut looked_at = std::pin::pin!(self.bells.looked_at.notified());
            looked_at.as_mut().enable();
            if !self.lock().links.are_under_way(reference) {
                return;
            }
            looked_at.await;
        }
    }

    /// What a Secret says that the end of a connection does to it; none if it is not the connection's, or not there.
    pub fn policy_on(&self, key: &ObjectKey, reference: &ConnectionReference) -> Option<DeletionPolicy> {
        match self.secret(key) {
            SecretState::Present(meta) if meta.ownership(reference) == Ownership::Ours => {
                Some(meta.deletion_policy().unwrap_or(DeletionPolicy::Retain))
            }
            SecretState::Present(_) | SecretState::Absent | SecretState::Unknown => None,
        }
    }

    /// Whether it is known in which namespaces there are Secrets of a name.
    pub fn is_surveyed(&self, name: &str) -> bool {
        self.lock().secrets.is_surveyed(name)
    }

    /// All Secrets of a name are known now.
    pub fn surveyed(&self, name: &str) {
        self.lock().secrets.surveyed(name);
    }

    /// What is told of the links of a connection; none if it asks for none.
    pub fn linkage(&self, connection: &Declared) -> Option<Linkage> {
        let inner = self.lock();
        let reference = connection.reference();
        let wish = inner.links.wishes.get(&reference)?;
        if inner.accounts.is_unavailable || inner.tables.is_unavailable {
            return Some(Linkage::out_of_reach());
        }
        let is_its = |standing: &&Standing| standing.wish.connection.reference == reference;
        let all: Vec<(&str, &Standing)> = match reference.namespace() {
            Some(own) => {
                let standings = inner.links.standings.get(own).into_iter().flatten();
                standings.filter(is_its).map(|standing| (own, standing)).collect()
            }
            None => {
                let standings = inner.links.standings.iter();
                standings.flat_map(|(name, all)| all.iter().filter(is_its).map(move |it| (name.as_ref(), it))).collect()
            }
        };
        let linkage = standing::linkage(wish, all.into_iter(), inner.links.support);
        Some(Linkage { is_under_way: inner.links.are_under_way(&reference), ..linkage })
    }

    /// Completes once anybody asks for Pods to be linked by their images.
    pub async fn patterns_are_asked_for(&self) {
        while !self.lock().links.has_patterns {
            self.bells.patterns.notified().await;
        }
    }

    /// Takes note of whether the policy is there that links Pods by their images.
    pub fn support(&self, support: Support) {
        let inner = &mut *self.lock();
        if std::mem::replace(&mut inner.links.support, support) != support {
            let asking = inner.links.wishes.iter().filter(|(_, wish)| wish.pattern.is_some());
            inner.links.told.extend(asking.map(|(reference, _)| reference.clone()));
            self.bells.looked_at.notify_waiters();
        }
        self.ring(inner);
    }

    /// Calls whoever waits.
    pub(super) fn ring(&self, inner: &Inner) {
        if !inner.links.woken.is_empty() {
            self.bells.woken.notify_one();
        }
        if !inner.links.told.is_empty() {
            self.bells.told.notify_one();
        }
        if inner.links.has_patterns {
            self.bells.patterns.notify_one();
        }
    }
}

impl Inner {
    /// Looks at all namespaces that matter: the lists are complete.
    pub(super) fn wake_everywhere(&mut self) {
        if !self.are_links_known() {
            return;
        }
        let references: Vec<ConnectionReference> = self.links.wishes.keys().cloned().collect();
        for reference in references {
            let connection = self.connections.get(&reference);
            if let Some(connection) = connection.as_deref().and_then(Stored::readable) {
                self.find_out_who_waits(connection);
            }
            let served = self.wake_served(&reference);
            self.is_outstanding(reference, served);
        }
        self.wake_all_claimed();
    }

    /// Whether all is known that links go by.
    fn are_links_known(&self) -> bool {
        self.is_listed() && self.accounts.is_listed && self.tables.is_listed
    }

    /// Whether a namespace that changed finds a place must be known before anybody acts on it. Most connections serve all that
    /// there are.
    pub(super) fn find_out_who_has_a_place(&mut self, reference: &ConnectionReference) {
        let Some(connection) = self.connections.get(reference) else { return };
        let Some(connection) = connection.readable().filter(|_| self.links.wishes.contains_key(reference)) else {
            return;
        };
        let max = connection.selection.as_ref().and_then(|selection| selection.max_targets);
        let max = usize::try_from(max.unwrap_or(DEFAULT_MAX_TARGETS)).unwrap_or(usize::MAX);
        if self.namespaces.len() > max {
            self.targets(connection);
        }
    }

    /// Whether an edit has to wait must be known before anybody acts on it.
    fn find_out_who_waits(&mut self, connection: &Declared) {
        if connection.kind() == Kind::Cluster && self.is_listed() {
            self.targets(connection);
        }
    }

    /// Nobody waits for links that cannot be made.
    fn links_are_out_of_reach(&mut self) {
        self.links.outstanding.clear();
        self.links.told.extend(self.links.wishes.keys().cloned());
    }

    /// A list of the connections of a kind is complete.
    pub(super) fn wishes_listed(&mut self, kind: Kind) {
        for connection in self.connections.all().into_iter().filter(|connection| connection.kind() == kind) {
            let known = self.links.wishes.get(&connection.reference());
            let wish = connection.readable().and_then(|connection| Wish::of(connection));
            if known.map(Arc::as_ref) != wish.as_ref() {
                self.wishes_change(&connection);
                self.wishes_changed(&connection);
            }
        }
    }

    /// Looks at a namespace in which something changed, if anybody asks for links.
    pub(super) fn wake_links_in(&mut self, namespace: &str) {
        if !self.links.wishes.is_empty() || self.links.standings.contains_key(namespace) {
            self.links.woken.insert(Arc::from(namespace));
        }
    }

    /// Looks at the namespace of a Secret that came or went, if a link goes by it.
    pub(super) fn secret_changed(&mut self, namespace: &str) {
        if self.links.standings.contains_key(namespace) {
            self.links.woken.insert(Arc::from(namespace));
        }
    }

    /// A namespace is gone, and with it all that was in it.
    pub(super) fn links_went_with(&mut self, namespace: &str) {
        self.tables.namespace_went(namespace);
        if let Some(standings) = self.links.standings.remove(namespace) {
            self.links.told.extend(standings.iter().map(|standing| standing.wish.connection.reference.clone()));
        }
        self.links.was_looked_at(namespace);
    }
}
