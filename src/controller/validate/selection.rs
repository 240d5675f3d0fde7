//! What the schema asks of the choice of namespaces, once more. Pure.

use super::invalid;
use crate::{
    api::{
        Selection,
        cluster::{LARGEST_MAX_TARGETS, LabelOperator, LabelRequirement, MAX_OPT_IN_NAME, Visibility},
        keys::{LABEL_VALUE_IN_WORDS, QUALIFIED_NAME_IN_WORDS, is_label_key, is_label_value},
    },
    problem::{Problem, field},
};

/// Checks the selection of a connection of this name.
pub(super) fn check(name: &str, selection: &Selection) -> Result<(), Problem> {
    let Selection { visibility, namespace_selector, namespaces, exclude_namespaces: _, max_targets } = selection;
    let is_selected = *visibility == Visibility::Selected;
    for (field, is_given) in
        [(field::NAMESPACE_SELECTOR, namespace_selector.is_some()), (field::NAMESPACES, namespaces.is_some())]
    {
        if is_given && !is_selected {
            return Err(invalid(field, format!("{field} goes with visibility Selected only"))
                .hint("remove it, or set spec.visibility to Selected"));
        }
    }
    if is_selected && namespace_selector.is_none() && namespaces.is_none() {
        let message = "visibility Selected needs spec.namespaceSelector or spec.namespaces".to_owned();
        return Err(invalid(field::VISIBILITY, message).hint("add one of them; every namespace is visibility All"));
    }
    if *visibility == Visibility::OptIn && name.len() > MAX_OPT_IN_NAME {
        let message = format!("with visibility OptIn the name may have at most {MAX_OPT_IN_NAME} characters");
        return Err(invalid(field::NAME, message).hint("create it anew under a shorter name"));
    }
    if let Some(max) = max_targets.filter(|max| !(1..=LARGEST_MAX_TARGETS).contains(max)) {
        let message = format!("maxTargets is {max}, it may be 1 to {LARGEST_MAX_TARGETS}");
        return Err(invalid(field::MAX_TARGETS, message).hint("write a number from that range, or remove it"));
    }
    let Some(selector) = namespace_selector else { return Ok(()) };
    let labels = selector.match_labels.iter().flatten();
    let requirements = selector.match_expressions.iter().flatten();
    if labels.clone().count() + requirements.clone().count() == 0 {
        let message = "an empty namespaceSelector would select every namespace".to_owned();
        return Err(invalid(field::NAMESPACE_SELECTOR, message).hint("name labels, or set spec.visibility to All"));
    }
    let keys = labels.clone().map(|(key, _)| key).chain(requirements.clone().map(|requirement| &requirement.key));
    if let Some(key) = keys.into_iter().find(|key| !is_label_key(key)) {
        let message = format!("{key:.300?} cannot be the key of a label");
        return Err(invalid(field::NAMESPACE_SELECTOR, message).hint(QUALIFIED_NAME_IN_WORDS));
    }
    let values = requirements.clone().flat_map(|requirement| requirement.values.iter().flatten());
    if let Some(value) = labels.map(|(_, value)| value).chain(values).find(|value| !is_label_value(value)) {
        let message = format!("{value:.300?} cannot be the value of a label");
        return Err(invalid(field::NAMESPACE_SELECTOR, message).hint(LABEL_VALUE_IN_WORDS));
    }
    for LabelRequirement { key, operator, values } in requirements {
        let needs_values = matches!(operator, LabelOperator::In | LabelOperator::NotIn);
        if needs_values == values.as_ref().is_none_or(Vec::is_empty) {
            let message = format!(
                "the expression about {key:.300?} has values where its operator takes none, or the other way round"
            );
            let hint = "In and NotIn need values, Exists and DoesNotExist have none";
            return Err(invalid(field::NAMESPACE_SELECTOR, message).hint(hint));
        }
    }
    Ok(())
}
