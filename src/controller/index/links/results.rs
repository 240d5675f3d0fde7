//! What became of the links, and who waits for it.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    super::{Index, Inner},
    Moment,
};
use crate::{
    api::Declared,
    controller::mapper::{self, Wake},
    domain::reference::ConnectionReference,
    linking::standing::{self, Linkage, Standing, Support},
};

impl Index {
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

    /// Nothing is to be written in a namespace, which is going or gone.
    pub fn nothing_to_link(&self, namespace: &Arc<str>) {
        let now = self.lock().links.outstanding.now();
        self.linked(namespace, vec![], Some(now));
    }

    /// Takes note of what became of the links in a namespace, and when the look began if it settled them. Else there is another one soon.
    pub fn linked(&self, namespace: &Arc<str>, standings: Vec<Standing>, settled: Option<Moment>) {
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
        if let Some(since) = settled {
            // What was told of them before may have been that it is under way.
            links.told.extend(links.outstanding.was_looked_at(namespace, since));
        }
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
    pub(in crate::controller::index) fn ring(&self, inner: &Inner) {
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

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use kube::runtime::watcher::Event;

    use super::*;
    use crate::{
        controller::index::fixture::{listed, stored},
        domain::reference::Kind,
    };

    #[test]
    fn what_is_settled_is_told_though_nothing_else_about_it_is_new() {
        let index = listed(&[]);
        let asking = stored("11", |object| {
            object["spec"]["isDefault"] = true.into();
            object["metadata"]["generation"] = 2.into();
        });
        let reference = asking.reference();
        index.apply_connection(Kind::Namespaced, Event::Apply(asking));
        [Event::Init, Event::InitDone].into_iter().for_each(|event| index.apply_service_account(event));
        [Event::Init, Event::InitDone].into_iter().for_each(|event| index.apply_table(event));
        assert_eq!(index.namespaces_to_link().now_or_never(), Some(["shop".into()].into()));
        let place = index.place("shop").unwrap();
        let wish = Arc::clone(&place.asking[0].wish);
        let standing = Standing { wish, linked: 1, is_in_table: false, faults: vec![] };
        let shop: Arc<str> = "shop".into();
        let is_told = || index.news_of_links().now_or_never().is_some_and(|told| told == [mapper::wake_of(&reference)]);
        let is_made = || index.links_made(&reference).now_or_never().is_some();

        index.linked(&shop, vec![standing.clone()], None);
        assert!(is_told() && !is_made(), "another one's was not settled in this look");
        index.linked(&shop, vec![standing.clone()], Some(place.moment));
        assert!(is_told() && is_made());
        index.linked(&shop, vec![standing], Some(place.moment));
        assert!(!is_told(), "and once only");
    }

    #[test]
    fn a_first_try_that_fails_takes_nobodys_links_for_impossible() {
        let index = listed(&[]);
        let asking = stored("11", |object| {
            object["spec"]["isDefault"] = true.into();
            object["metadata"]["generation"] = 2.into();
        });
        let connection = Declared::clone(asking.readable().unwrap());
        index.apply_connection(Kind::Namespaced, Event::Apply(asking));
        let linkage = || index.linkage(&connection).unwrap();
        index.service_accounts_unavailable();
        index.tables_unavailable();
        assert!(linkage().problem.is_none() && linkage().is_under_way);
        index.service_accounts_unavailable();
        assert!(linkage().problem.is_some());
    }
}
