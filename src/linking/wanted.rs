//! What is to be named in a namespace: its ServiceAccounts' Secrets, its default's holder, its table. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    claims::Holders,
    place::{Naming, Place},
    wish::{Realm, Wish},
};
use crate::{api::names::DEFAULT_SERVICE_ACCOUNT, domain::reference::ConnectionReference};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// For each ServiceAccount the Secrets that it is to name, and for whom. It need not exist.
    pub accounts: BTreeMap<Arc<str>, BTreeMap<String, Holders>>,
    /// For each Secret the patterns of the images that it goes with, and for whom.
    pub table: BTreeMap<String, Row>,
    /// Connections that ask for the default and do not get it, and who has it.
    pub taken: BTreeMap<ConnectionReference, ConnectionReference>,
    /// Connections of which what exists stays, and nothing is added.
    pub at_rest: BTreeSet<ConnectionReference>,
    /// Connections whose Secret is there, so that what they were named for before can go.
    pub arrived: BTreeSet<ConnectionReference>,
}

/// What a table says of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// The patterns, in order.
    pub patterns: BTreeSet<String>,
    /// For whom.
    pub holders: Holders,
}

/// What the connections that serve a namespace ask for there.
pub fn wanted(place: &Place) -> Wanted {
    let mut wanted = Wanted::default();
    let mut defaults: BTreeMap<&Realm, &Wish> = BTreeMap::new();
    for asking in &place.asking {
        let wish = asking.wish.as_ref();
        let reference = &wish.connection.reference;
        if asking.secret == Naming::Foreign && !wish.is_at_rest {
            // Whoever cannot be linked here keeps nobody else from it.
            continue;
        }
        // The oldest comes first, and keeps it even while it is at rest.
        let holder = wish.default_of.as_ref().map(|realm| *defaults.entry(realm).or_insert(wish));
        let is_default = holder.is_some_and(|holder| holder.connection.reference == *reference);
        if let Some(holder) = holder.filter(|_| !is_default) {
            wanted.taken.insert(reference.clone(), holder.connection.reference.clone());
        }
        if wish.is_at_rest || asking.secret == Naming::Unknown {
            wanted.at_rest.insert(reference.clone());
            continue;
        }
        if asking.secret == Naming::There {
            wanted.arrived.insert(reference.clone());
        }
        let created = wish.connection.created;
        let default = is_default.then(|| Arc::from(DEFAULT_SERVICE_ACCOUNT));
        for account in wish.accounts.iter().cloned().chain(default) {
            let secrets = wanted.accounts.entry(account).or_default();
            secrets.entry(wish.secret.clone()).or_default().insert(reference.clone(), created);
        }
        if let Some(pattern) = wish.pattern.as_ref().filter(|_| !place.is_of_the_system) {
            let row = wanted.table.entry(wish.secret.clone()).or_default();
            row.patterns.insert(pattern.as_str().to_owned());
            row.holders.insert(reference.clone(), created);
        }
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linking::fixture::{asking, place, wish};
    use serde_json::json;

    #[test]
    fn the_oldest_is_the_default_and_the_others_are_told_who_that_is() {
        let place = place(vec![
            asking(wish("second", 2, json!({"isDefault": true})), Naming::There),
            asking(wish("first", 1, json!({"isDefault": true})), Naming::Awaited),
            asking(wish("elsewhere", 3, json!({"isDefault": true, "repositoryPrefix": "team"})), Naming::Awaited),
        ]);
        let wanted = wanted(&place);
        let of = |name| ConnectionReference::namespaced("shop", name);
        assert_eq!(wanted.taken, BTreeMap::from([(of("second"), of("first"))]));
        let secrets: Vec<&String> = wanted.accounts["default"].keys().collect();
        assert_eq!(secrets, ["elsewhere", "first"]);
    }

    #[test]
    fn one_that_is_suspended_keeps_the_default_and_adds_nothing() {
        let place = place(vec![
            asking(wish("first", 1, json!({"isDefault": true, "suspend": true})), Naming::There),
            asking(wish("second", 2, json!({"isDefault": true, "serviceAccounts": ["builder"]})), Naming::There),
        ]);
        let wanted = wanted(&place);
        assert_eq!(wanted.accounts.keys().map(AsRef::as_ref).collect::<Vec<&str>>(), ["builder"]);
        assert!(wanted.at_rest.contains(&ConnectionReference::namespaced("shop", "first")));
        assert_eq!(wanted.taken.len(), 1);
    }

    #[test]
    fn a_foreign_secret_is_named_nowhere_and_one_that_nobody_looked_for_not_yet() {
        let both = json!({"serviceAccounts": ["builder"], "autoLinkPattern": "r.example/*"});
        for (naming, is_named, is_at_rest) in [
            (Naming::Foreign, false, false),
            (Naming::Unknown, false, true),
            (Naming::Awaited, true, false),
            (Naming::There, true, false),
        ] {
            let wanted = wanted(&place(vec![asking(wish("images", 1, both.clone()), naming)]));
            assert_eq!((wanted.accounts.is_empty(), wanted.table.is_empty()), (!is_named, !is_named), "{naming:?}");
            assert_eq!(!wanted.at_rest.is_empty(), is_at_rest, "{naming:?}");
        }
    }

    #[test]
    fn connections_that_write_one_secret_share_a_row() {
        let spec = |pattern: &str| json!({"autoLinkPattern": pattern, "secret": {"name": "pull"}});
        let place = place(vec![
            asking(wish("b", 1, spec("r.example/b/*")), Naming::There),
            asking(wish("a", 2, spec("r.example/a/*")), Naming::Awaited),
        ]);
        let wanted = wanted(&place);
        let row = &wanted.table["pull"];
        assert_eq!(row.patterns, BTreeSet::from(["r.example/a/*".to_owned(), "r.example/b/*".to_owned()]));
        assert_eq!(row.holders.len(), 2);
        assert!(super::wanted(&Place { is_of_the_system: true, ..place }).table.is_empty());
    }
}
