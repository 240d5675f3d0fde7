//! Which namespaces a connection of a cluster serves. Pure.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use kube::core::{Expression, Selector, SelectorExt};

use crate::{
    api::{
        Declared, Selection,
        cluster::{DEFAULT_MAX_TARGETS, LabelOperator, LabelRequirement, NamespaceSelector, Visibility},
        names::{
            ALLOW_REMOVAL_ANNOTATION, EXCLUDE_LABEL, IMPORT_LABEL_PREFIX, NAMESPACE_NAME_LABEL, SYSTEM_NAMESPACES,
        },
        status::RegistryConnectionStatus,
    },
    domain::glob::Glob,
};

/// An edit may take the Secret from this many in a hundred without being asked about it.
const REMOVABLE_PERCENT: usize = 20;

/// Among fewer targets than this an edit may take any number.
const FEW: usize = 10;

/// A selection in a form that is quick to ask.
#[derive(Clone, Debug)]
pub struct Choice {
    visibility: Visibility,
    selector: Option<Selector>,
    /// The selector asks for the label that is the name of a namespace.
    asks_for_name: bool,
    names: HashSet<String>,
    excluded: Vec<Glob>,
    /// The label by which a namespace asks to be served.
    import_label: String,
}

impl Choice {
    /// What a connection of this name chooses.
    pub fn new(name: &str, selection: &Selection) -> Self {
        Self {
            visibility: selection.visibility,
            selector: selection.namespace_selector.as_ref().map(selector),
            asks_for_name: selection.namespace_selector.as_ref().is_some_and(asks_for_name),
            names: selection.namespaces.iter().flatten().cloned().collect(),
            excluded: selection.exclude_namespaces.iter().flatten().map(Glob::new).collect(),
            import_label: format!("{IMPORT_LABEL_PREFIX}{name}"),
        }
    }

    /// Whether it takes a namespace of this name with these labels, of which the one with its name may be missing.
    pub fn takes(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        let is_true = |key: &str| labels.get(key).is_some_and(|value| value == "true");
        if refuses(labels) || self.excluded.iter().any(|glob| glob.matches(name)) {
            return false;
        }
        let is_named = self.names.contains(name);
        if SYSTEM_NAMESPACES.contains(&name) {
            return self.visibility == Visibility::Selected && is_named;
        }
        match self.visibility {
            Visibility::All => true,
            Visibility::OptIn => is_true(&self.import_label),
            Visibility::Selected => {
                is_named || self.selector.as_ref().is_some_and(|selector| self.selects(selector, name, labels))
            }
        }
    }

    fn selects(&self, selector: &Selector, name: &str, labels: &BTreeMap<String, String>) -> bool {
        if !self.asks_for_name || labels.contains_key(NAMESPACE_NAME_LABEL) {
            return selector.matches(labels);
        }
        let mut labels = labels.clone();
        labels.insert(NAMESPACE_NAME_LABEL.to_owned(), name.to_owned());
        selector.matches(&labels)
    }
}

/// Whether a namespace with these labels wants nothing of any connection.
pub fn refuses(labels: &BTreeMap<String, String>) -> bool {
    labels.get(EXCLUDE_LABEL).is_some_and(|value| value == "true")
}

fn asks_for_name(selector: &NamespaceSelector) -> bool {
    let labels = selector.match_labels.iter().flatten().map(|(key, _)| key);
    let expressions = selector.match_expressions.iter().flatten().map(|requirement| &requirement.key);
    labels.chain(expressions).any(|key| key == NAMESPACE_NAME_LABEL)
}

fn selector(selector: &NamespaceSelector) -> Selector {
    let labels = selector.match_labels.iter().flatten();
    let labels = labels.map(|(key, value)| Expression::Equal(key.clone(), value.clone()));
    let expressions = selector.match_expressions.iter().flatten().map(|LabelRequirement { key, operator, values }| {
        let (key, values) = (key.clone(), values.iter().flatten().cloned().collect());
        match operator {
            LabelOperator::In => Expression::In(key, values),
            LabelOperator::NotIn => Expression::NotIn(key, values),
            LabelOperator::Exists => Expression::Exists(key),
            LabelOperator::DoesNotExist => Expression::DoesNotExist(key),
        }
    });
    labels.chain(expressions).collect()
}

/// The namespaces that a connection serves, and those that it does not although they are chosen, or no longer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Those that get the Secret, in the order of their names.
    pub namespaces: Vec<Arc<str>>,
    /// Those that are chosen and too many.
    pub left_out: Vec<Arc<str>>,
    /// Those that would lose it if that was allowed.
    pub blocked: Vec<Arc<str>>,
    /// Those that lose it.
    pub dropped: Vec<Arc<str>>,
}

/// Divides the namespaces that are there: those that are `chosen`, and those that are `holding` a Secret of the connection.
/// Both are in the order of their names. Who `refuses` does not wait for anybody's word.
pub fn serve(
    connection: &Declared,
    chosen: Vec<Arc<str>>,
    holding: Vec<Arc<str>>,
    refuses: impl Fn(&str) -> bool,
) -> Served {
    let Some(selection) = &connection.selection else { return Served { namespaces: chosen, ..Served::default() } };
    let is_holding = |name: &Arc<str>| holding.binary_search(name).is_ok();
    let mut others = chosen.iter().peekable();
    let lost = holding.iter().filter(|name| {
        // Both are in order: side by side they take no time to speak of.
        let is_same = |chosen: &Arc<str>| Arc::ptr_eq(chosen, name) || chosen == *name;
        while others.next_if(|chosen| !Arc::ptr_eq(chosen, name) && chosen < name).is_some() {}
        others.peek().is_none_or(|chosen| !is_same(chosen))
    });
    let lost = lost.cloned();
    let (mut dropped, doubtful): (Vec<Arc<str>>, Vec<Arc<str>>) = lost.partition(|name| refuses(name));
    let max = usize::try_from(selection.max_targets.unwrap_or(DEFAULT_MAX_TARGETS)).unwrap_or(usize::MAX);
    // Those that are served stay so.
    let kept = holding.len() - dropped.len() - doubtful.len();
    let mut room = max.saturating_sub(kept);
    let (namespaces, left_out) = if chosen.len() <= max {
        (chosen, vec![])
    } else {
        chosen.into_iter().partition(|name| {
            let has_place = is_holding(name) || room > 0;
            if !is_holding(name) {
                room = room.saturating_sub(1);
            }
            has_place
        })
    };
    if is_blocked(connection, doubtful.len(), holding.len() - dropped.len()) {
        return Served { namespaces, left_out, blocked: doubtful, dropped };
    }
    dropped.extend(doubtful);
    Served { namespaces, left_out, blocked: vec![], dropped }
}

/// Whether the removal of so many among those that hold the Secret has to wait for somebody's word. Only an edit is asked about,
/// not what namespaces say of themselves. What waits goes on waiting, however many hold the Secret by then: a tenant who deletes
/// one must not decide for others.
fn is_blocked(connection: &Declared, dropped: usize, holding: usize) -> bool {
    let allowed = connection.metadata.annotations.as_ref().and_then(|all| all.get(ALLOW_REMOVAL_ANNOTATION));
    let allowed = allowed.and_then(|count| count.trim().parse().ok()).unwrap_or(0usize);
    let is_much = holding >= FEW && dropped * 100 > holding * REMOVABLE_PERCENT;
    match &connection.status {
        // Whoever allowed what the status says allowed it, even if a tenant makes the number greater meanwhile.
        Some(status) if status.observed_generation == connection.metadata.generation => {
            blocked(status).is_some_and(|told| allowed < told && allowed < dropped)
        }
        Some(status) => (is_much || blocked(status).is_some()) && allowed < dropped,
        // Of a connection that was made anew nothing else is known.
        None => is_much && allowed < dropped,
    }
}

/// How many were told to wait.
fn blocked(status: &RegistryConnectionStatus) -> Option<usize> {
    status.targets.as_ref()?.blocked.and_then(|count| usize::try_from(count).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ClusterRegistryConnection;
    use serde_json::{Value, json};

    fn connection(change: impl FnOnce(&mut Value)) -> Declared {
        let mut object = json!({
            "metadata": {"name": "images", "generation": 2},
            "spec": {
                "provider": {"generic": {"registryUrl": "https://r.example", "secretRef": {"name": "login"}}},
                "visibility": "All",
            },
        });
        change(&mut object);
        serde_json::from_value::<ClusterRegistryConnection>(object).unwrap().into()
    }

    fn names(numbers: std::ops::Range<usize>) -> Vec<Arc<str>> {
        numbers.map(|number| Arc::from(format!("n{number:02}"))).collect()
    }

    #[test]
    fn takes_the_namespaces_that_the_words_of_the_spec_and_their_labels_say() {
        let (on, off) = (json!({"team": "a"}), json!({}));
        let labelled = json!({"visibility": "Selected", "namespaceSelector": {"matchLabels": {"team": "a"}}});
        let expression = |operator: &str, values: Value| {
            let expression = json!({"key": "team", "operator": operator, "values": values});
            json!({"visibility": "Selected", "namespaceSelector": {"matchExpressions": [expression]}})
        };
        let by_name = json!({"visibility": "Selected", "namespaceSelector": {"matchLabels": {
            "kubernetes.io/metadata.name": "shop",
        }}});
        for (selection, namespace, labels, expected) in [
            (json!({"visibility": "All"}), "shop", &off, true),
            (json!({"visibility": "All"}), "kube-system", &off, false),
            (json!({"visibility": "All", "excludeNamespaces": ["sh*"]}), "shop", &off, false),
            (json!({"visibility": "All"}), "shop", &json!({"regcred.dev/exclude": "true"}), false),
            (json!({"visibility": "All"}), "shop", &json!({"regcred.dev/exclude": "false"}), true),
            (labelled.clone(), "shop", &on, true),
            (labelled.clone(), "shop", &off, false),
            (labelled, "kube-system", &on, false),
            (by_name.clone(), "shop", &off, true),
            (by_name, "store", &off, false),
            (expression("In", json!(["a", "b"])), "shop", &on, true),
            (expression("In", json!(["b"])), "shop", &on, false),
            (expression("NotIn", json!(["b"])), "shop", &off, true),
            (expression("Exists", json!(null)), "shop", &on, true),
            (expression("DoesNotExist", json!(null)), "shop", &on, false),
            (json!({"visibility": "Selected", "namespaces": ["shop", "kube-system"]}), "shop", &off, true),
            (json!({"visibility": "Selected", "namespaces": ["shop", "kube-system"]}), "kube-system", &off, true),
            (json!({"visibility": "OptIn"}), "shop", &json!({"regcred.dev/import.images": "true"}), true),
            (json!({"visibility": "OptIn"}), "shop", &json!({"regcred.dev/import.other": "true"}), false),
            (json!({"visibility": "OptIn"}), "kube-system", &json!({"regcred.dev/import.images": "true"}), false),
        ] {
            let choice = Choice::new("images", &serde_json::from_value(selection.clone()).unwrap());
            let labels: BTreeMap<String, String> = serde_json::from_value(labels.clone()).unwrap();
            assert_eq!(choice.takes(namespace, &labels), expected, "{selection} {namespace} {labels:?}");
        }
    }

    #[test]
    fn who_is_served_stays_so_and_the_others_get_what_room_there_is_in_the_order_of_their_names() {
        let three = connection(|object| object["spec"]["maxTargets"] = 3.into());
        let served = serve(&three, names(0..5), names(3..5), |_| false);
        assert_eq!((served.namespaces, served.left_out), ([names(0..1), names(3..5)].concat(), names(1..3)));
        let more = serve(&three, names(0..5), names(0..5), |_| false);
        assert_eq!(
            (more.namespaces, more.left_out),
            (names(0..5), vec![]),
            "a limit that was lowered takes nothing away"
        );
    }

    #[test]
    fn only_an_edit_that_takes_much_from_many_waits_and_then_until_it_is_allowed() {
        type Change = fn(&mut Value);
        let told: Change = |object| object["status"] = json!({"observedGeneration": 2});
        let edited: Change = |object| object["status"] = json!({"observedGeneration": 1});
        let waiting: Change = |object| {
            let targets = json!({"desired": 10, "current": 10, "failed": 0, "blocked": 6});
            object["status"] = json!({"observedGeneration": 2, "targets": targets});
        };
        let edited_again: Change = |object| {
            let targets = json!({"desired": 10, "current": 10, "failed": 0, "blocked": 6});
            object["status"] = json!({"observedGeneration": 1, "targets": targets});
        };
        let allowed: Change = |object| {
            object["status"] = json!({"observedGeneration": 1});
            object["metadata"]["annotations"] = json!({"regcred.dev/allow-removal-of": "3"});
        };
        let allowed_as_told: Change = |object| {
            let targets = json!({"desired": 10, "current": 10, "failed": 0, "blocked": 6});
            object["status"] = json!({"observedGeneration": 2, "targets": targets});
            object["metadata"]["annotations"] = json!({"regcred.dev/allow-removal-of": "6"});
        };
        let fewer_than_told: Change = |object| {
            let targets = json!({"desired": 10, "current": 10, "failed": 0, "blocked": 6});
            object["status"] = json!({"observedGeneration": 2, "targets": targets});
            object["metadata"]["annotations"] = json!({"regcred.dev/allow-removal-of": "5"});
        };
        for (name, change, holding, kept, blocked) in [
            ("an edit that takes three of ten", edited, 10, 7, 3),
            ("two of ten", edited, 10, 8, 0),
            ("all of nine", edited, 9, 0, 0),
            ("namespaces that changed", told, 10, 0, 0),
            ("a connection made anew", (|_| {}) as Change, 10, 7, 3),
            ("one that waits, and a tenant deleted a Secret", waiting, 9, 4, 5),
            ("one that waits and is edited once more", edited_again, 9, 4, 5),
            ("allowed", allowed, 10, 7, 0),
            ("fewer allowed", allowed, 10, 6, 4),
            ("allowed as told, and a tenant made it more", allowed_as_told, 11, 4, 0),
            ("fewer allowed than told", fewer_than_told, 11, 4, 7),
        ] {
            let served = serve(&connection(change), names(0..kept), names(0..holding), |_| false);
            assert_eq!(served.blocked.len(), blocked, "{name}");
            let dropped = if blocked == 0 { holding - kept } else { 0 };
            assert_eq!(
                (served.namespaces.len(), served.dropped.len()),
                (kept, dropped),
                "{name}: nothing is written elsewhere"
            );
        }
        let refuses = |name: &str| name == "n09";
        let served = serve(&connection(edited), names(0..4), names(0..12), refuses);
        assert_eq!((served.blocked.len(), served.dropped), (7, names(9..10)), "who refuses does not wait");
    }
}
