//! What to say of each kind of fault: what is wrong, and what to do. Pure.
//!
//! A value of the file is never repeated, since it may be a password in the wrong place; names of fields are.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{JSON, JSONSchemaProps};

use super::tree::Value;
use crate::{
    api::{
        issuer::{
            DIGITALOCEAN_REGISTRY_NAME, DIGITALOCEAN_REGISTRY_NAME_IN_WORDS, IONOS_REGISTRY_ID,
            IONOS_REGISTRY_ID_IN_WORDS, IONOS_REGISTRY_NAME, IONOS_REGISTRY_NAME_IN_WORDS, IONOS_SCOPE_ACTION,
            IONOS_SCOPE_ACTION_IN_WORDS, IONOS_SCOPE_NAME, IONOS_SCOPE_NAME_IN_WORDS, IONOS_SCOPE_TYPE,
            IONOS_SCOPE_TYPE_IN_WORDS,
        },
        keys::{DATA_KEY, DATA_KEY_IN_WORDS, LABEL_VALUE, LABEL_VALUE_IN_WORDS},
        names::{OBJECT_NAME, OBJECT_NAME_IN_WORDS},
    },
    domain::image::{REFERENCE, REFERENCE_IN_WORDS, REPOSITORY, REPOSITORY_IN_WORDS},
    problem::shortened,
};

/// The longest name of a field that is shown, in bytes.
const MAX_NAME: usize = 64;

/// Names that are as alike as this, of 1, are taken for one that was misspelt.
const ALIKE: f64 = 0.6;

/// The name of a field, short and on one line.
pub fn name(key: &str) -> String {
    shortened(key.chars().map(|character| if character.is_control() { '?' } else { character }).collect(), MAX_NAME)
}

/// A field that is not in the schema; `place` is where it is, if it is somewhere else.
pub fn unknown(
    key: &str,
    path: &str,
    known: &BTreeMap<String, JSONSchemaProps>,
    place: Option<String>,
) -> (String, String) {
    let parent = if path.is_empty() { "the object" } else { path };
    let likeness = |name: &str| {
        let (key, name) = (key.to_lowercase(), name.to_lowercase());
        // A name such as refreshInterval is the start of the right one.
        let is_start = key.len() > 3 && name.starts_with(&key);
        if is_start { 1.0 } else { strsim::normalized_damerau_levenshtein(&key, &name) }
    };
    let candidates = known.keys().filter(|_| key.len() <= MAX_NAME).map(|name| (likeness(name), name));
    let nearest = candidates.filter(|(likeness, _)| *likeness >= ALIKE).max_by(|a, b| a.0.total_cmp(&b.0));
    let remedy = match (nearest, place) {
        (Some((_, name)), _) => format!("did you mean {name}?"),
        (None, Some(place)) => format!("there is {place}: look at the indentation, or remove it"),
        (None, None) => format!("remove it; {parent} has {}", listed(known.keys().map(String::as_str), "and")),
    };
    (format!("{parent} has no field of this name"), remedy)
}

/// A value of another type.
pub fn wrong_type(schema: &JSONSchemaProps, value: &Value) -> (String, String) {
    let kind = schema.type_.as_deref().unwrap_or_default();
    let wanted = match kind {
        "string" => "a text",
        "integer" => "a whole number",
        "boolean" => "true or false",
        "array" => "a list",
        _ => "a mapping",
    };
    let found = match value {
        Value::Null => return ("this has no value".to_owned(), "give it a value, or remove it".to_owned()),
        Value::Boolean(_) => "true or false",
        Value::Number(_) if kind == "integer" => "one with a fraction",
        Value::Number(_) => "a number",
        Value::Text(_) => "a text",
        Value::List(_) => "a list",
        Value::Map(_) => "a mapping",
    };
    let values = schema.enum_.as_ref().map_or("the value".to_owned(), |values| one_of(values));
    let fields = schema.properties.as_ref().map(|fields| listed(fields.keys().map(String::as_str), "and"));
    let remedy = match (kind, value, fields) {
        ("string", Value::Boolean(_), _) => {
            format!("write {values} in quotes: without them YAML takes true, yes, on, false, no, off for true or false")
        }
        ("string", Value::Number(_), _) => format!("write {values} in quotes: without them YAML takes it for a number"),
        ("string", _, _) => format!("write {values} right behind the colon"),
        ("integer", Value::Number(_), _) => "write a number without a fraction".to_owned(),
        ("integer", _, _) => "write a number, without quotes and unit".to_owned(),
        ("boolean", _, _) => "write true or false without quotes".to_owned(),
        ("array", _, _) => "write a list: below it, each entry on a line that begins with \"- \"".to_owned(),
        (_, _, Some(fields)) => format!("write its fields below it, indented: {fields}"),
        (_, _, None) => "write its entries below it, indented: on each line one key, a colon and a value".to_owned(),
    };
    (format!("this must be {wanted}, and is {found}"), remedy)
}

/// A field that must be there.
pub fn missing(schema: Option<&JSONSchemaProps>) -> (String, String) {
    let description = schema.and_then(|schema| schema.description.as_deref()).unwrap_or_default().replace('\n', " ");
    let meaning = description.split(". ").next().unwrap_or_default();
    ("this is required, and missing".to_owned(), format!("add it: {}", meaning.trim_end_matches('.')))
}

/// A text that is none of those that are allowed.
pub fn not_listed(values: &[JSON]) -> (String, String) {
    ("this is none of the values that it may have".to_owned(), format!("write {}", one_of(values)))
}

/// A text with too few characters.
pub fn too_short(minimum: i64) -> (String, String) {
    let message = if minimum == 1 {
        "this is empty".to_owned()
    } else {
        format!("this is too short: it needs {minimum} characters")
    };
    (message, "give it a value, or remove it".to_owned())
}

/// A text with too many characters.
pub fn too_long(length: i64, maximum: i64) -> (String, String) {
    (format!("this is too long: it has {length} characters"), format!("use at most {maximum}"))
}

/// A list with too few entries.
pub fn too_few(minimum: i64) -> (String, String) {
    ("this has too few entries".to_owned(), format!("write at least {minimum}, or remove the field"))
}

/// A list or mapping with too many entries.
pub fn too_many(length: usize, maximum: i64) -> (String, String) {
    (format!("this has too many entries: {length}"), format!("keep at most {maximum}"))
}

/// A number beyond a limit.
pub fn out_of_range(is_small: bool, schema: &JSONSchemaProps) -> (String, String) {
    let remedy = match (schema.minimum, schema.maximum) {
        (Some(minimum), Some(maximum)) => format!("write a number from {minimum} to {maximum}"),
        (Some(minimum), None) => format!("write at least {minimum}"),
        (None, maximum) => format!("write at most {}", maximum.unwrap_or(f64::MAX)),
    };
    (format!("this is too {}", if is_small { "small" } else { "large" }), remedy)
}

/// A text that does not match its pattern.
pub fn no_match(pattern: &str) -> (String, String) {
    let (message, remedy) = match pattern {
        OBJECT_NAME => ("this is not the name of an object", OBJECT_NAME_IN_WORDS),
        DATA_KEY => ("this cannot be a key in an object's data", DATA_KEY_IN_WORDS),
        LABEL_VALUE => ("this cannot be the value of a label", LABEL_VALUE_IN_WORDS),
        REPOSITORY => ("this is not a path of repositories", REPOSITORY_IN_WORDS),
        REFERENCE => ("this is neither a tag nor a digest", REFERENCE_IN_WORDS),
        DIGITALOCEAN_REGISTRY_NAME => {
            ("this is not the name of a registry of DigitalOcean", DIGITALOCEAN_REGISTRY_NAME_IN_WORDS)
        }
        IONOS_REGISTRY_NAME => ("this is not the name of a registry of IONOS", IONOS_REGISTRY_NAME_IN_WORDS),
        IONOS_REGISTRY_ID => ("this is not the ID of a registry of IONOS", IONOS_REGISTRY_ID_IN_WORDS),
        IONOS_SCOPE_TYPE => ("this is not the type of a scope", IONOS_SCOPE_TYPE_IN_WORDS),
        IONOS_SCOPE_NAME => ("this is not the name in a scope", IONOS_SCOPE_NAME_IN_WORDS),
        IONOS_SCOPE_ACTION => ("this is not an action of a scope", IONOS_SCOPE_ACTION_IN_WORDS),
        pattern => return ("this has not the form that is asked for".to_owned(), format!("it must match {pattern}")),
    };
    (message.to_owned(), remedy.to_owned())
}

fn one_of(values: &[JSON]) -> String {
    listed(values.iter().filter_map(|value| value.0.as_str()), "or")
}

fn listed<'a>(words: impl Iterator<Item = &'a str>, joint: &str) -> String {
    let words: Vec<&str> = words.collect();
    match words.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} {joint} {last}", rest.join(", ")),
        None => String::new(),
    }
}
