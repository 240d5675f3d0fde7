//! The tables of fields in the reference page, made from the schema.

use anyhow::{Context as _, Result};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{JSONSchemaProps, JSONSchemaPropsOrArray};
use regcred::{api::crd::crd, domain::reference::Kind};

/// The schema of a part of an object of a kind.
pub fn schema(kind: Kind, part: &str) -> Result<JSONSchemaProps> {
    let version = crd(kind).spec.versions.into_iter().next().context("no version")?;
    let root = version.schema.and_then(|schema| schema.open_api_v3_schema).context("no schema")?;
    root.properties.and_then(|mut properties| properties.remove(part)).context("no such part")
}

/// A field: where, what, and whether its object must have it.
pub struct Field {
    pub path: String,
    pub schema: JSONSchemaProps,
    pub is_required: bool,
}

/// All fields below an object, each before those inside it.
pub fn fields(object: &JSONSchemaProps, prefix: &str) -> Vec<Field> {
    let required = object.required.clone().unwrap_or_default();
    let mut found = vec![];
    for (name, schema) in object.properties.iter().flatten() {
        let path = format!("{prefix}{name}");
        found.push(Field { path: path.clone(), schema: schema.clone(), is_required: required.contains(name) });
        // Conditions are those of every kind in Kubernetes.
        if name == "conditions" {
            continue;
        }
        found.extend(fields(schema, &format!("{path}.")));
        if let Some(JSONSchemaPropsOrArray::Schema(item)) = &schema.items {
            found.extend(fields(item, &format!("{path}[].")));
        }
    }
    found
}

/// What values a field takes.
fn value(schema: &JSONSchemaProps) -> String {
    if let Some(values) = &schema.enum_ {
        let names: Vec<String> = values.iter().filter_map(|value| Some(format!("`{}`", value.0.as_str()?))).collect();
        return names.join(" or ");
    }
    let at_most = |limit: Option<i64>| limit.map_or(String::new(), |limit| format!(", at most {limit}"));
    match (schema.type_.as_deref(), schema.format.as_deref()) {
        (Some("string"), Some("date-time")) => "time".into(),
        (Some("string"), _) => {
            let length = schema.max_length.map_or(String::new(), |limit| format!(", at most {limit} characters"));
            format!("text{length}")
        }
        (Some("integer"), _) => match (schema.minimum, schema.maximum) {
            (Some(low), Some(high)) => format!("{low} to {high}"),
            _ => "number".into(),
        },
        (Some("boolean"), _) => "true or false".into(),
        (Some("array"), _) => format!("list{}", at_most(schema.max_items)),
        (Some("object"), _) if schema.additional_properties.is_some() => {
            format!("map{}", at_most(schema.max_properties))
        }
        (Some("object"), _) => "object".into(),
        (other, _) => other.unwrap_or_default().into(),
    }
}

/// The table of all fields of a part of the object.
pub fn fields_table(part: &str) -> Result<String> {
    Ok(table(part, fields(&schema(Kind::Namespaced, part)?, "")))
}

/// The table of the fields that a connection has only if it is of the cluster.
pub fn selection_table() -> Result<String> {
    let known: Vec<String> =
        fields(&schema(Kind::Namespaced, "spec")?, "").into_iter().map(|field| field.path).collect();
    let all = fields(&schema(Kind::Cluster, "spec")?, "").into_iter();
    Ok(table("spec", all.filter(|field| !known.contains(&field.path)).collect()))
}

fn table(part: &str, fields: Vec<Field>) -> String {
    let mut table = String::from("| Field | Value | Meaning |\n|---|---|---|\n");
    for Field { path, schema, is_required } in fields {
        let is_spec = part == "spec";
        let required = if is_spec && is_required { "; required" } else { "" };
        let meaning = schema.description.clone().unwrap_or_default().replace('\n', " ").replace('|', "\\|");
        table.push_str(&format!("| `{path}` | {}{required} | {meaning} |\n", value(&schema)));
    }
    table
}

#[test]
fn every_field_has_a_text_and_every_optional_one_of_the_spec_says_what_its_absence_means() -> Result<()> {
    let parts = Kind::ALL.into_iter().flat_map(|kind| ["spec", "status"].map(|part| (kind, part)));
    for (kind, part) in parts {
        for Field { path, schema, is_required } in fields(&schema(kind, part)?, "") {
            let text = schema.description.unwrap_or_default().replace('\n', " ");
            assert!(text.ends_with('.'), "{kind} {part}.{path}: {text:?}");
            // One of the providers is always there.
            let is_provider = path.starts_with("provider.") && path.matches('.').count() == 1;
            if part == "spec" && !is_required && !is_provider {
                assert!(text.contains("Absent means"), "{kind} {part}.{path}: {text:?}");
            }
        }
    }
    Ok(())
}
