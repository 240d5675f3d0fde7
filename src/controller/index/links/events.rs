//! What the watches, and our own reads and writes, tell of what links go by.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::runtime::watcher::Event;

use super::super::{Index, Inner};
use crate::controller::secret_meta::ObjectKey;

impl Index {
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
        if !inner.accounts.is_listed && inner.links.accounts_failed() && !inner.accounts.is_unavailable {
            inner.accounts.is_unavailable = true;
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
        if !inner.tables.is_listed && inner.links.tables_failed() && !inner.tables.is_unavailable {
            inner.tables.is_unavailable = true;
            inner.links_are_out_of_reach();
            self.bells.looked_at.notify_waiters();
        }
        self.ring(inner);
    }

    /// Takes in a ServiceAccount as the API server returned it.
    pub fn learn_service_account(&self, account: ServiceAccount) {
        let inner = &mut *self.lock();
        // It was asked for by who looks at it now.
        inner.accounts.learn(account, self.clock.uptime());
    }

    /// There is no such ServiceAccount any more, as the API server answered.
    pub fn service_account_went(&self, key: &ObjectKey) {
        self.lock().accounts.miss(key);
    }

    /// We write a ServiceAccount now, so that it has these names; none once it is known what came of it.
    pub fn writes_service_account(&self, key: &ObjectKey, names: Option<Vec<String>>) {
        let accounts = &mut self.lock().accounts;
        match names {
            Some(names) => accounts.is_written(key.clone(), names),
            None => accounts.was_written(key),
        }
    }

    /// We write the table of a namespace now, so that this stands in it; none if it is to go.
    pub fn writes_table(&self, namespace: &Arc<str>, data: Option<BTreeMap<String, String>>) {
        self.lock().tables.is_written(namespace, data);
    }

    /// It is known what came of the write of a table.
    pub fn wrote_table(&self, namespace: &str) {
        self.lock().tables.was_written(namespace);
    }

    /// Takes in a table as the API server returned it from a write of ours, or from a read.
    pub fn learn_table(&self, table: ConfigMap, is_written: bool) {
        let inner = &mut *self.lock();
        inner.tables.see(table, is_written, self.clock.uptime());
    }

    /// There is no table in a namespace any more, as the API server answered.
    pub fn table_removed(&self, namespace: &str) {
        let inner = &mut *self.lock();
        inner.tables.miss(namespace, self.clock.uptime());
    }
}

impl Inner {
    /// Nobody waits for links that cannot be made.
    fn links_are_out_of_reach(&mut self) {
        self.links.outstanding.clear();
        self.links.told.extend(self.links.wishes.keys().cloned());
    }

    /// Looks at a namespace in which something changed, if anybody asks for links.
    pub(in crate::controller::index) fn wake_links_in(&mut self, namespace: &str) {
        if !self.links.wishes.is_empty() || self.links.standings.contains_key(namespace) {
            self.links.woken.insert(Arc::from(namespace));
        }
    }

    /// Looks at the namespace of a Secret that came or went, if a link goes by it.
    pub(in crate::controller::index) fn secret_changed(&mut self, namespace: &str) {
        if self.links.standings.contains_key(namespace) {
            self.links.woken.insert(Arc::from(namespace));
        }
    }

    /// A namespace is gone, and with it all that was in it.
    pub(in crate::controller::index) fn links_went_with(&mut self, namespace: &str) {
        self.tables.namespace_went(namespace);
        self.accounts.namespace_went(namespace);
        if let Some(standings) = self.links.standings.remove(namespace) {
            self.links.told.extend(standings.iter().map(|standing| standing.wish.connection.reference.clone()));
        }
        let done = self.links.outstanding.went(namespace);
        self.links.told.extend(done);
    }
}
