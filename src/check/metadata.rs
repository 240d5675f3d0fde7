//! What is wrong with an object's metadata. The schema of a kind does not hold these rules: they are the same for all
//! kinds. Pure.

use super::{
    shape::Fault,
    tree::{Node, Value},
    words,
};
use crate::api::{
    keys::{
        LABEL_VALUE_IN_WORDS, MAX_ANNOTATIONS, QUALIFIED_NAME_IN_WORDS, are_too_large, is_annotation_key, is_label_key,
        is_label_value,
    },
    names::{OBJECT_NAME, is_object_name},
};

/// The longest name of a namespace (RFC 1123 label).
const MAX_NAMESPACE: usize = 63;

/// Names, labels and annotations that the API server does not take.
pub fn faults(object: &Node) -> Vec<Fault> {
    let Some(metadata) = object.get("metadata").filter(|metadata| matches!(metadata.value, Value::Map(_))) else {
        return vec![]; // which the schema does hold
    };
    let fault = |key: &str, (message, remedy): (String, String)| {
        let path = format!("metadata.{key}");
        Fault { line: object.line_of(&path), path, message, remedy }
    };
    let is_label = |text: &str| text.len() <= MAX_NAMESPACE && is_object_name(text) && !text.contains('.');
    let mut faults = vec![];
    match (metadata.get("name").map(|name| &name.value), metadata.text("generateName")) {
        (Some(Value::Text(name)), _) if !is_object_name(name) => {
            faults.push(fault("name", words::no_match(OBJECT_NAME)))
        }
        (None | Some(Value::Null), None) => faults.push(fault(
            "name",
            ("this is required, and missing".to_owned(), "add it: the name of the connection".to_owned()),
        )),
        (_, _) => {}
    }
    if metadata.text("namespace").is_some_and(|namespace| !is_label(namespace)) {
        let remedy = "use at most 63 lower-case letters, digits and -, with a letter or digit at both ends";
        faults.push(fault("namespace", ("this is not the name of a namespace".to_owned(), remedy.to_owned())));
    }
    faults.extend(label_faults(metadata));
    faults.extend(annotation_faults(metadata));
    faults
}

fn label_faults(metadata: &Node) -> Vec<Fault> {
    let path = "metadata.labels";
    let mut faults = vec![];
    for (key, node) in entries(metadata, "labels") {
        if !is_label_key(key) {
            faults.push(bad_key(path, "a label", key, node));
        }
        if let Value::Text(value) = &node.value
            && !is_label_value(value)
        {
            let message = format!("the value of {} cannot be that of a label", words::name(key));
            faults.push(Fault { path: path.into(), line: node.line, message, remedy: LABEL_VALUE_IN_WORDS.into() });
        }
    }
    faults
}

fn annotation_faults(metadata: &Node) -> Vec<Fault> {
    let path = "metadata.annotations";
    let annotations = entries(metadata, "annotations");
    let wrong = annotations.iter().filter(|(key, _)| !is_annotation_key(key));
    let mut faults: Vec<Fault> = wrong.map(|(key, node)| bad_key(path, "an annotation", key, node)).collect();
    let sizes = annotations.iter().map(|(key, node)| match &node.value {
        Value::Text(value) => (key.as_str(), value.as_str()),
        Value::Null | Value::Boolean(_) | Value::Number(_) | Value::List(_) | Value::Map(_) => (key.as_str(), ""),
    });
    if are_too_large(sizes) {
        let line = metadata.line_of("annotations");
        let message = format!("the annotations together are larger than {} KiB", MAX_ANNOTATIONS / 1024);
        faults.push(Fault { path: path.into(), line, message, remedy: "make them smaller, or fewer".into() });
    }
    faults
}

fn entries<'a>(metadata: &'a Node, key: &str) -> &'a [(String, Node)] {
    match metadata.get(key).map(|node| &node.value) {
        Some(Value::Map(entries)) => entries,
        Some(Value::Null | Value::Boolean(_) | Value::Number(_) | Value::Text(_) | Value::List(_)) | None => &[],
    }
}

fn bad_key(path: &str, what: &str, key: &str, node: &Node) -> Fault {
    let message = format!("{:?} cannot be the key of {what}", words::name(key));
    Fault { path: path.into(), line: node.line, message, remedy: QUALIFIED_NAME_IN_WORDS.into() }
}
