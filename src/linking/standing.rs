//! What became of the links of a connection: in one namespace, and in all of them together. Pure.

use std::{collections::BTreeMap, sync::Arc};

use super::wish::Wish;
use crate::{
    api::{
        Reason,
        names::{DEFAULT_SERVICE_ACCOUNT, TABLE},
    },
    domain::reference::ConnectionReference,
    problem::{Problem, field},
};

/// What became of the links that a connection asks for in a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What it asked for.
    pub wish: Arc<Wish>,
    /// How many ServiceAccounts name the Secret.
    pub linked: u16,
    /// Pods get it by their images.
    pub is_in_table: bool,
    /// What is not as it should be, the worst first.
    pub faults: Vec<Fault>,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The operator may not write a ServiceAccount.
    Denied(Arc<str>),
    /// Nor the table.
    TableDenied,
    /// Somebody keeps changing what stands in a ServiceAccount.
    TakenAway(Arc<str>),
    /// Or in the table.
    TableTakenAway,
    /// A ServiceAccount names more than could be remembered.
    AccountFull(Arc<str>),
    /// The ConfigMap is not ours.
    ForeignTable,
    /// The table would be too large.
    TableTooLarge,
    /// The namespace has another default.
    DefaultTaken(ConnectionReference),
    /// The Secret is somebody else's.
    ForeignSecret,
    /// A ServiceAccount does not exist.
    Missing(Arc<str>),
    /// Pods of this ServiceAccount get nothing by their images.
    Restricted(Arc<str>),
}

/// Whether the policy that names Secrets by images is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Support {
    /// Nobody has found out yet.
    #[default]
    Unknown,
    /// It is there, with its binding.
    There,
    /// It, or its binding, is not there.
    Missing,
    /// The operator may not look.
    Hidden,
}

/// The links of a connection in all namespaces that it serves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Linkage {
    /// How many ServiceAccounts name the Secret; none if none is to.
    pub accounts: Option<i32>,
    /// In a sentence, if all is well.
    pub summary: String,
    /// What is wrong.
    pub problem: Option<Problem>,
    /// Anything that was asked for works.
    pub works: bool,
    /// Nothing is wrong, but nothing is there to be linked yet.
    pub waits: bool,
    /// Not all namespaces were looked at since the connection changed, or nobody knows yet whether the policy is there.
    pub is_under_way: bool,
}

impl Linkage {
    /// What is told where the operator cannot see what there is to link.
    pub fn out_of_reach() -> Self {
        let problem = Problem::new(
            Reason::Forbidden,
            "the API server does not let the operator watch ServiceAccounts and ConfigMaps, so nothing is linked",
        );
        Self { problem: Some(problem.hint(Reason::Forbidden.fix())), ..Self::default() }
    }
}

/// What is told of the links of a connection whose Secret has this name, going by its standings in the namespaces.
pub fn linkage<'a>(wish: &Wish, standings: impl Iterator<Item = (&'a str, &'a Standing)>, support: Support) -> Linkage {
    let wants_accounts = wish.default_of.is_some() || !wish.accounts.is_empty();
    let (mut accounts, mut tables) = (0_usize, 0_usize);
    // By what it is: how often, and the first namespace with one.
    let mut faults: BTreeMap<Reason, (usize, &str, &Fault)> = BTreeMap::new();
    let (mut missing, mut restricted) = ((0_usize, None), (0_usize, None));
    for (namespace, standing) in standings {
        accounts += usize::from(standing.linked);
        tables += usize::from(standing.is_in_table);
        for fault in &standing.faults {
            match (fault, fault.reason()) {
                (_, Some(reason)) => faults.entry(reason).or_insert((0, namespace, fault)).0 += 1,
                (Fault::Restricted(account), None) => {
                    restricted = (restricted.0 + 1, restricted.1.or(Some((namespace, account))));
                }
                (Fault::Missing(account), None) => {
                    missing = (missing.0 + 1, missing.1.or(Some((namespace, account))));
                }
                (_, None) => {}
            }
        }
    }
    let secret = &wish.secret;
    let mut told = vec![];
    if wants_accounts {
        told.push(match accounts {
            1 => format!("1 ServiceAccount names Secret {secret}"),
            count => format!("{count} ServiceAccounts name Secret {secret}"),
        });
    }
    let is_heeded = matches!(support, Support::There | Support::Hidden);
    if let Some(pattern) = wish.pattern.as_ref().filter(|_| tables > 0 && is_heeded) {
        told.push(format!("Pods with images {} get it when they are created", pattern.as_str()));
    }
    if let (count, Some((namespace, account))) = missing {
        let others = others(count);
        told.push(format!("ServiceAccount {namespace}/{account}{others} does not exist, and is linked when it does"));
    }
    if let (count, Some((namespace, account))) = restricted {
        let others = others(count);
        told.push(format!(
            "Pods of ServiceAccount {namespace}/{account}{others} get nothing by their images, for it allows only Secrets that it names"
        ));
    }
    let unsupported = (wish.pattern.is_some() && support == Support::Missing).then(unsupported);
    let commonest = faults.into_values().max_by_key(|(count, ..)| *count);
    let problem = commonest.map(|(count, namespace, fault)| fault.problem(secret, namespace, count)).or(unsupported);
    let works = accounts > 0 || tables > 0 && support != Support::Missing;
    Linkage {
        accounts: wants_accounts.then(|| i32::try_from(accounts).unwrap_or(i32::MAX)),
        summary: told.join("; "),
        waits: problem.is_none() && !works && missing.0 > 0,
        problem,
        works,
        is_under_way: false,
    }
}

fn others(count: usize) -> String {
    match count {
        0 | 1 => String::new(),
        2 => " and another one".to_owned(),
        count => format!(" and {} others", count - 1),
    }
}

fn unsupported() -> Problem {
    Problem::new(
        Reason::AutoLinkUnsupported,
        "the cluster has no MutatingAdmissionPolicy autolink.regcred.dev with its binding, so Pods get no Secret by their images",
    )
    .at(field::AUTO_LINK_PATTERN)
    .hint(Reason::AutoLinkUnsupported.fix())
}

impl Fault {
    /// Under which reason it is told; none if it is no fault of anybody.
    fn reason(&self) -> Option<Reason> {
        match self {
            Self::Denied(_) | Self::TableDenied => Some(Reason::Forbidden),
            Self::TakenAway(_)
            | Self::TableTakenAway
            | Self::AccountFull(_)
            | Self::ForeignTable
            | Self::TableTooLarge => Some(Reason::LinkConflict),
            Self::DefaultTaken(_) => Some(Reason::DefaultTaken),
            Self::ForeignSecret => Some(Reason::TargetConflict),
            Self::Missing(_) | Self::Restricted(_) => None,
        }
    }

    fn problem(&self, secret: &str, namespace: &str, count: usize) -> Problem {
        let places = match count {
            1 => format!("in namespace {namespace}"),
            count => format!("in namespace {namespace} and {} others", count - 1),
        };
        let (message, field) = match self {
            Self::Denied(account) => (
                format!("the API server refused to let the operator write ServiceAccount {account} {places}"),
                account_field(account),
            ),
            Self::TableDenied => (
                format!("the API server refused to let the operator write ConfigMap {TABLE} {places}"),
                field::AUTO_LINK_PATTERN,
            ),
            Self::TakenAway(account) => (
                format!(
                    "something else keeps taking Secret {secret} off ServiceAccount {account} {places}, or puts it back there; \
                     it is put right ever more seldom"
                ),
                account_field(account),
            ),
            Self::TableTakenAway => (
                format!("something else keeps changing ConfigMap {TABLE} {places}; it is put right ever more seldom"),
                field::AUTO_LINK_PATTERN,
            ),
            Self::AccountFull(account) => (
                format!("ServiceAccount {account} {places} is to name more Secrets than could be remembered"),
                account_field(account),
            ),
            Self::ForeignTable => (
                format!(
                    "ConfigMap {TABLE} {places} was not made by regcred, so Pods there get no Secret by their images"
                ),
                field::AUTO_LINK_PATTERN,
            ),
            Self::TableTooLarge => (
                format!("ConfigMap {TABLE} {places} would be too large, so Pods there get no Secret by their images"),
                field::AUTO_LINK_PATTERN,
            ),
            Self::DefaultTaken(holder) => {
                (format!("{holder} is the default for the same registry {places}"), field::IS_DEFAULT)
            }
            Self::ForeignSecret => (
                format!("Secret {secret} {places} was not written for this connection, so nothing names it there"),
                field::SECRET_NAME,
            ),
            // They are told among what is well.
            Self::Missing(account) | Self::Restricted(account) => (String::new(), account_field(account)),
        };
        let reason = self.reason().unwrap_or(Reason::LinkConflict);
        Problem::new(reason, message).at(field).hint(reason.fix())
    }
}

/// The field because of which a ServiceAccount is linked.
fn account_field(account: &str) -> &'static str {
    if account == DEFAULT_SERVICE_ACCOUNT { field::IS_DEFAULT } else { field::SERVICE_ACCOUNTS }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linking::fixture::wish;
    use serde_json::json;

    fn standing(wish: &Arc<Wish>, linked: u16, is_in_table: bool, faults: Vec<Fault>) -> Standing {
        Standing { wish: Arc::clone(wish), linked, is_in_table, faults }
    }

    #[test]
    fn all_that_is_well_and_what_is_wrong_most_often_is_told_in_a_sentence() {
        let both = Arc::new(wish("images", 1, json!({"isDefault": true, "autoLinkPattern": "r.example/*"})));
        let taken = || Fault::DefaultTaken(ConnectionReference::cluster("platform"));
        let strict = || Fault::Restricted("strict".into());
        for (name, standings, support, problem, words, works) in [
            (
                "well",
                vec![standing(&both, 1, true, vec![]), standing(&both, 1, true, vec![])],
                Support::There,
                None,
                "2 ServiceAccounts name Secret images; Pods with images r.example/* get it when they are created",
                true,
            ),
            (
                "without the policy",
                vec![standing(&both, 1, true, vec![])],
                Support::Missing,
                Some(Reason::AutoLinkUnsupported),
                "1 ServiceAccount names Secret images",
                true,
            ),
            (
                "nothing works",
                vec![standing(&both, 0, false, vec![taken()]), standing(&both, 0, false, vec![taken()])],
                Support::There,
                Some(Reason::DefaultTaken),
                "0 ServiceAccounts name Secret images",
                false,
            ),
            (
                "left out",
                vec![standing(&both, 1, true, vec![strict(), Fault::Missing("later".into())])],
                Support::There,
                None,
                "1 ServiceAccount names Secret images; Pods with images r.example/* get it when they are created; ServiceAccount \
                 n0/later does not exist, and is linked when it does; Pods of ServiceAccount n0/strict get nothing by their images, \
                 for it allows only Secrets that it names",
                true,
            ),
        ] {
            let names = ["n0", "n1"];
            let linkage = linkage(&both, names.into_iter().zip(&standings), support);
            assert_eq!(linkage.problem.as_ref().map(|problem| problem.reason), problem, "{name}");
            assert_eq!((linkage.summary.as_str(), linkage.works), (words, works), "{name}");
        }
        let linkage = linkage(&both, [("n0", &standing(&both, 0, false, vec![taken()]))].into_iter(), Support::There);
        let problem = linkage.problem.unwrap();
        assert_eq!(
            problem.message,
            "ClusterRegistryConnection/platform is the default for the same registry in namespace n0"
        );
        assert_eq!(problem.field, Some(field::IS_DEFAULT));
    }

    #[test]
    fn every_fault_that_is_told_has_a_sentence_and_a_field() {
        let account: Arc<str> = "default".into();
        for fault in [
            Fault::Denied(Arc::clone(&account)),
            Fault::TableDenied,
            Fault::TakenAway(Arc::clone(&account)),
            Fault::TableTakenAway,
            Fault::AccountFull(account),
            Fault::ForeignTable,
            Fault::TableTooLarge,
            Fault::DefaultTaken(ConnectionReference::cluster("platform")),
            Fault::ForeignSecret,
        ] {
            let problem = fault.problem("images", "shop", 3);
            assert!(problem.message.contains("in namespace shop and 2 others"), "{}", problem.message);
            assert!(problem.field.is_some() && problem.hint.is_some() && fault.reason() == Some(problem.reason));
        }
    }
}
