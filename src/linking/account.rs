//! One ServiceAccount: what it names, and what it is to name, as a patch. Pure.
//!
//! What others wrote stays where it is, and ours comes after it. What we name is remembered in an annotation, so that nothing a
//! user wrote is ever taken away.

use std::collections::BTreeMap;

use json_patch::{
    AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation, TestOperation, jsonptr::PointerBuf,
};
use serde_json::{Value, json};

use super::{
    claims::{Claims, Holders},
    leaving::{Released, may_go},
    place::{Account, Links},
};
use crate::api::names::LINKS_ANNOTATION;

/// What is to become of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// It is as it should be.
    Nothing,
    /// It is to name something else.
    Change(Change),
    /// More is to be named than could be remembered.
    TooMuch,
}

/// What an account names once it is as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The names to take away, by their place in the list, from the end.
    removed: Vec<usize>,
    /// The names to add at the end.
    added: Vec<String>,
    claims: Claims,
    /// The names as they are then.
    pub names: Vec<String>,
}

/// What is to become of an account so that it names what is `wanted`, and nothing that is `released`.
pub fn plan(links: &Links, wanted: &BTreeMap<String, Holders>, released: &BTreeMap<String, Released>) -> Plan {
    let mut claims = links.claims.clone();
    let mut removed = vec![];
    for secret in links.claims.0.keys().filter(|secret| !wanted.contains_key(*secret)) {
        if may_go(&links.claims, secret, released) {
            claims.0.remove(secret);
            // We added it behind all others.
            removed.extend(links.names.iter().rposition(|name| name == secret));
        }
    }
    let mut added = vec![];
    for (secret, holders) in wanted {
        let is_named = links.names.contains(secret);
        if !is_named {
            added.push(secret.clone());
        } else if links.claims.of(secret).is_none() {
            // A user named it.
            continue;
        }
        let known = claims.0.entry(secret.clone()).or_default();
        known.extend(holders.iter().map(|(reference, created)| (reference.clone(), *created)));
    }
    if claims == links.claims && removed.is_empty() && added.is_empty() {
        return Plan::Nothing;
    }
    if !claims.fit() {
        return Plan::TooMuch;
    }
    removed.sort_unstable_by(|one, other| other.cmp(one));
    let mut names = links.names.clone();
    removed.iter().for_each(|at| drop(names.remove(*at)));
    names.extend(added.iter().cloned());
    Plan::Change(Change { removed, added, claims, names })
}

impl Change {
    /// The patch, which the API server takes only if the account is as it was when this was planned: with another
    /// resourceVersion it answers 409.
    pub fn patch(&self, account: &Account) -> Patch {
        let links = &account.links;
        let mut operations = vec![PatchOperation::Replace(ReplaceOperation {
            path: pointer(&["metadata", "resourceVersion"]),
            value: account.resource_version.as_ref().into(),
        })];
        for at in &self.removed {
            let path = pointer(&["imagePullSecrets", &at.to_string()]);
            let value = json!({"name": links.names[*at]});
            operations.push(PatchOperation::Test(TestOperation { path: path.clone(), value }));
            operations.push(PatchOperation::Remove(RemoveOperation { path }));
        }
        let mut add = |path: &[&str], value: Value| {
            operations.push(PatchOperation::Add(AddOperation { path: pointer(path), value }));
        };
        if links.names.is_empty() && !self.added.is_empty() {
            add(&["imagePullSecrets"], json!([]));
        }
        for secret in &self.added {
            add(&["imagePullSecrets", "-"], json!({"name": secret}));
        }
        if self.claims != links.claims {
            match self.claims.text() {
                Some(text) if links.has_annotations => add(&["metadata", "annotations", LINKS_ANNOTATION], text.into()),
                Some(text) => add(&["metadata", "annotations"], json!({LINKS_ANNOTATION: text})),
                None => operations.push(PatchOperation::Remove(RemoveOperation {
                    path: pointer(&["metadata", "annotations", LINKS_ANNOTATION]),
                })),
            }
        }
        Patch(operations)
    }
}

fn pointer(path: &[&str]) -> PointerBuf {
    PointerBuf::from_tokens(path.iter().copied())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::linking::{fixture::holders, leaving::Claim};
    use serde_json::json;

    fn links(names: &[&str], ours: &[&str]) -> Links {
        let claims = ours.iter().map(|secret| ((*secret).to_owned(), holders(secret)));
        Links {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            claims: Claims(claims.collect()),
            has_annotations: !ours.is_empty(),
            is_restricted: false,
        }
    }

    fn wanted(secrets: &[&str]) -> BTreeMap<String, Holders> {
        secrets.iter().map(|secret| ((*secret).to_owned(), holders(secret))).collect()
    }

    fn released(secrets: &[&str]) -> BTreeMap<String, Released> {
        let all = |secret: &str| {
            let claims = holders(secret).into_iter();
            claims.map(|(reference, created)| Claim { reference, created }).collect::<Released>()
        };
        secrets.iter().map(|secret| ((*secret).to_owned(), all(secret))).collect()
    }

    /// What the account names after the patch, and what of it is ours; none if there is nothing to patch.
    fn patched(
        links: &Links,
        wanted: &BTreeMap<String, Holders>,
        released: &BTreeMap<String, Released>,
    ) -> Option<(Vec<String>, Vec<String>)> {
        let plan = match plan(links, wanted, released) {
            Plan::Nothing => return None,
            Plan::Change(change) => change,
            Plan::TooMuch => panic!("too much"),
        };
        let mut object = json!({"metadata": {"resourceVersion": "7"}});
        if !links.names.is_empty() {
            let names: Vec<Value> = links.names.iter().map(|name| json!({"name": name})).collect();
            object["imagePullSecrets"] = names.into();
        }
        if links.has_annotations {
            object["metadata"]["annotations"] = json!({"theirs": "stays"});
            if let Some(text) = links.claims.text() {
                object["metadata"]["annotations"][LINKS_ANNOTATION] = text.into();
            }
        }
        let account = Account { resource_version: "7".into(), links: Arc::new(links.clone()), losses: None };
        json_patch::patch(&mut object, &plan.patch(&account)).unwrap();
        if links.has_annotations {
            assert_eq!(object["metadata"]["annotations"]["theirs"], "stays");
        }
        let names = object["imagePullSecrets"].as_array().cloned().unwrap_or_default();
        let names: Vec<String> = names.iter().map(|it| it["name"].as_str().unwrap_or_default().to_owned()).collect();
        assert_eq!(names, plan.names);
        let text = object["metadata"]["annotations"][LINKS_ANNOTATION].as_str().unwrap_or_default();
        Some((names, Claims::parse(text).0.into_keys().collect()))
    }

    #[test]
    fn what_others_wrote_stays_where_it_is_and_ours_comes_after_it() {
        for (name, before, want, release, expected) in [
            ("an empty account", links(&[], &[]), &["a"][..], &[][..], Some((&["a"][..], &["a"][..]))),
            ("after a user's", links(&["mine"], &[]), &["a"], &[], Some((&["mine", "a"], &["a"]))),
            ("two at once", links(&["mine"], &[]), &["b", "a"], &[], Some((&["mine", "a", "b"], &["a", "b"]))),
            ("as it should be", links(&["mine", "a"], &["a"]), &["a"], &[], None),
            ("named by a user", links(&["a"], &[]), &["a"], &[], None),
            ("taken away", links(&["mine"], &["a"]), &["a"], &[], Some((&["mine", "a"], &["a"]))),
            ("not wanted, not released", links(&["a"], &["a"]), &[], &[], None),
            ("released", links(&["mine", "a", "last"], &["a"]), &[], &["a"], Some((&["mine", "last"], &[]))),
            ("released, and gone already", links(&["mine"], &["a"]), &[], &["a"], Some((&["mine"], &[]))),
            ("a user's own is not released", links(&["a"], &[]), &[], &["a"], None),
            ("renamed", links(&["a", "x"], &["a"]), &["b"], &["a"], Some((&["x", "b"], &["b"]))),
            ("entries without a name", links(&["", "mine"], &[]), &["a"], &[], Some((&["", "mine", "a"], &["a"]))),
            ("two released", links(&["a", "m", "b"], &["a", "b"]), &[], &["a", "b"], Some((&["m"], &[]))),
            ("one of a user's and ours", links(&["a", "m", "a"], &["a"]), &[], &["a"], Some((&["a", "m"], &[]))),
        ] {
            let result = patched(&before, &wanted(want), &released(release));
            let expected = expected.map(|(names, ours)| {
                let owned = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect::<Vec<String>>();
                (owned(names), owned(ours))
            });
            assert_eq!(result, expected, "{name}");
        }
    }

    #[test]
    fn a_connection_made_anew_is_remembered_in_place_of_its_predecessor() {
        let before = links(&["a"], &["a"]);
        let mut want = wanted(&["a"]);
        for created in want.get_mut("a").unwrap().values_mut() {
            *created += jiff::SignedDuration::from_hours(1);
        }
        let Plan::Change(change) = plan(&before, &want, &BTreeMap::new()) else { panic!("no change") };
        assert_eq!((change.claims.of("a"), change.added.len()), (want.get("a"), 0));
    }

    #[test]
    fn what_two_connections_hold_goes_with_the_last_of_them() {
        let mut before = links(&["a"], &["a"]);
        let other = holders("other");
        before.claims.0.get_mut("a").unwrap().extend(other);
        assert_eq!(plan(&before, &BTreeMap::new(), &released(&["a"])), Plan::Nothing);
    }

    #[test]
    fn what_could_not_be_remembered_is_not_named() {
        let names: Vec<String> = (0..600).map(|number| format!("images-{number}")).collect();
        let all: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(plan(&links(&[], &[]), &wanted(&all), &BTreeMap::new()), Plan::TooMuch);
        assert!(matches!(plan(&links(&[], &[]), &wanted(&all[..200]), &BTreeMap::new()), Plan::Change(_)));
    }
}
