//! One namespace as it is seen at one moment: who asks for links there, and what its ServiceAccounts and its table name now. Values.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{
    claims::Claims,
    wish::{Identity, Wish},
};
use crate::{
    controller::index::{LastSeen, Moment},
    domain::reference::ConnectionReference,
};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// Who serves this namespace and asks for links, the oldest first.
    pub asking: Vec<Asking>,
    /// What is known of the connections for which something is named here.
    pub words: BTreeMap<ConnectionReference, Word>,
    /// The ServiceAccounts, in the order of their names.
    pub accounts: Vec<(Arc<str>, Account)>,
    /// The table of images; none if there is none.
    pub table: Option<Table>,
    /// No Pod of this namespace gets anything by its images: it is one of Kubernetes itself.
    pub is_of_the_system: bool,
    /// When this was seen.
    pub moment: Moment,
}

/// A connection that asks for links in a namespace.
#[derive(Clone, Debug)]
pub struct Asking {
    /// What it asks for.
    pub wish: Arc<Wish>,
    /// The Secret of that name in the namespace.
    pub secret: Naming,
}

/// What is known of a Secret that is to be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// It is the connection's.
    There,
    /// It does not exist yet. Naming it is harmless: the kubelet waits for it.
    Awaited,
    /// It is somebody else's, and never named.
    Foreign,
    /// Nobody has looked yet.
    Unknown,
}

/// What is known of a connection for which something is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// It is there. What it does not ask for it does not want.
    Speaks(Identity),
    /// It is there, and its wishes are not known, or do not count now: what exists stays.
    Silent,
    /// It went.
    Gone {
        /// Since when this process has known it, as uptime.
        since: Duration,
        /// What it wanted for its Secrets, as this process saw it.
        policy: Option<LastSeen>,
    },
}

/// A ServiceAccount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The resourceVersion.
    pub resource_version: Box<str>,
    /// What it names. Those of most accounts are alike.
    pub links: Arc<Links>,
    /// How often what we named was taken off it, if that happened lately.
    pub losses: Option<Losses>,
}

/// What a ServiceAccount names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Links {
    /// The names under `imagePullSecrets`, in their order; empty for an entry without one.
    pub names: Vec<String>,
    /// What of it is ours.
    pub claims: Claims,
    /// It has annotations at all, so that a patch need not create the map.
    pub has_annotations: bool,
    /// Its Pods may name only Secrets that it names: see [`crate::api::names::MOUNTABLE_SECRETS_ANNOTATION`].
    pub is_restricted: bool,
}

/// How often an object lost what we wrote there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Losses {
    /// So often in a row.
    pub count: u32,
    /// The last time, as uptime.
    pub last: Duration,
}

/// A table of images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The UID.
    pub uid: Box<str>,
    /// The resourceVersion.
    pub resource_version: Box<str>,
    /// What it says. Those of most namespaces are alike.
    pub content: Arc<Content>,
    /// How often what we wrote was changed, if that happened lately.
    pub losses: Option<Losses>,
}

/// What a table says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Content {
    /// The name of a Secret, and the patterns of the images that it goes with, one per line.
    pub data: BTreeMap<String, String>,
    /// For whom each Secret stands there.
    pub claims: Claims,
    /// Its marks say that we made it, for this namespace.
    pub is_ours: bool,
    /// It cannot be changed any more.
    pub is_immutable: bool,
}

impl Place {
    /// Whether nobody knows of a Secret that is to be named whose it is.
    pub fn asks_about_the_unknown(&self) -> bool {
        self.asking.iter().any(|asking| asking.secret == Naming::Unknown)
    }

    /// All connections for which anything is named here.
    pub fn holders(&self) -> BTreeSet<&ConnectionReference> {
        let accounts = self.accounts.iter().flat_map(|(_, account)| account.links.claims.holders());
        let table = self.table.iter().flat_map(|table| table.content.claims.holders());
        accounts.chain(table).collect()
    }
}
