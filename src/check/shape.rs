//! Whether a tree has the shape that a schema asks for. Pure.
//!
//! Structural schemas of Kubernetes need few of JSON Schema's words, and a general validator knows neither that an unknown
//! field is refused nor what `nullable` means. Known here: `type`, `properties`, `required`, `additionalProperties`,
//! `items`, `nullable`, `enum`, `pattern`, `minimum`, `maximum`, `minLength`, `maxLength`, `minItems`, `maxItems`,
//! `maxProperties`.
//! `x-kubernetes-validations` are the business of `validate`. A test fails when the schema begins to use another one.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use regex::Regex;

use super::{
    tree::{Node, Value, integer},
    words,
};

/// Something that is not as the schema says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which field, as in `spec.test.repositories[0].name`.
    pub path: String,
    /// The line in the file, counted from 1; 0 if it is not known.
    pub line: u64,
    /// What is wrong with it.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// The most faults that are looked for in one object.
pub const MAX_FAULTS: usize = 100;

/// The faults of an object in the order of the file, one more than [`MAX_FAULTS`] at most. Messages hold names of fields,
/// never a value.
pub fn faults(object: &Node, schema: &JSONSchemaProps) -> Vec<Fault> {
    let mut walk = Walk { root: schema, faults: vec![] };
    walk.visit(object, schema, "");
    walk.faults.sort_by_key(|fault| fault.line);
    walk.faults
}

struct Walk<'a> {
    root: &'a JSONSchemaProps,
    faults: Vec<Fault>,
}

impl Walk<'_> {
    fn fault(&mut self, path: &str, line: u64, (message, remedy): (String, String)) {
        self.faults.push(Fault { path: path.to_owned(), line, message, remedy });
    }

    fn is_full(&self) -> bool {
        self.faults.len() > MAX_FAULTS
    }

    fn visit(&mut self, node: &Node, schema: &JSONSchemaProps, path: &str) {
        // The API server takes null for a value, and so misses it among those that are listed.
        if node.value == Value::Null && schema.nullable == Some(true) && schema.enum_.is_none() {
            return;
        }
        match (schema.type_.as_deref(), &node.value) {
            (None, _) | (Some("boolean"), Value::Boolean(_)) => {}
            (Some("string"), Value::Text(text)) => self.text(text, node.line, schema, path),
            (Some("integer"), Value::Number(number)) => match integer(number) {
                Some(number) => self.number(number, node.line, schema, path),
                None => self.fault(path, node.line, words::wrong_type(schema, &node.value)),
            },
            (Some("array"), Value::List(items)) => self.list(items, node.line, schema, path),
            (Some("object"), Value::Map(entries)) => self.map(entries, node.line, schema, path),
            (Some(_), value) => self.fault(path, node.line, words::wrong_type(schema, value)),
        }
    }

    fn text(&mut self, text: &str, line: u64, schema: &JSONSchemaProps, path: &str) {
        let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
        if let Some(values) = &schema.enum_ {
            if !values.iter().any(|value| value.0.as_str() == Some(text)) {
                self.fault(path, line, words::not_listed(values));
            }
        } else if let Some(minimum) = schema.min_length.filter(|minimum| length < *minimum) {
            self.fault(path, line, words::too_short(minimum));
        } else if let Some(maximum) = schema.max_length.filter(|maximum| length > *maximum) {
            self.fault(path, line, words::too_long(length, maximum));
        } else if let Some(pattern) = &schema.pattern
            && !Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
        {
            self.fault(path, line, words::no_match(pattern));
        }
    }

    fn number(&mut self, number: i64, line: u64, schema: &JSONSchemaProps, path: &str) {
        #[expect(clippy::cast_precision_loss, reason = "the limits are small, and what is near them is exact")]
        let value = number as f64;
        let is_small = schema.minimum.is_some_and(|minimum| value < minimum);
        if is_small || schema.maximum.is_some_and(|maximum| value > maximum) {
            self.fault(path, line, words::out_of_range(is_small, schema));
        }
    }

    fn list(&mut self, items: &[Node], line: u64, schema: &JSONSchemaProps, path: &str) {
        let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
        if let Some(minimum) = schema.min_items.filter(|minimum| length < *minimum) {
            return self.fault(path, line, words::too_few(minimum));
        }
        if let Some(maximum) = schema.max_items.filter(|maximum| length > *maximum) {
            return self.fault(path, line, words::too_many(items.len(), maximum));
        }
        let Some(JSONSchemaPropsOrArray::Schema(each)) = &schema.items else { return };
        for (index, item) in items.iter().enumerate().take(MAX_FAULTS) {
            self.visit(item, each, &format!("{path}[{index}]"));
        }
    }

    fn map(&mut self, entries: &[(String, Node)], line: u64, schema: &JSONSchemaProps, path: &str) {
        if let Some(maximum) =
            schema.max_properties.filter(|maximum| i64::try_from(entries.len()).is_ok_and(|len| len > *maximum))
        {
            return self.fault(path, line, words::too_many(entries.len(), maximum));
        }
        if let Some(JSONSchemaPropsOrBool::Schema(each)) = &schema.additional_properties {
            for (key, node) in entries {
                self.visit(node, each, &below(path, key));
            }
            return;
        }
        let Some(properties) = &schema.properties else { return };
        for (key, node) in entries {
            if self.is_full() {
                return;
            }
            match properties.get(key) {
                Some(property) => self.visit(node, property, &below(path, key)),
                None => {
                    let place = place_of(key, self.root, "");
                    self.fault(&below(path, key), node.line, words::unknown(key, path, properties, place));
                }
            }
        }
        for key in schema.required.iter().flatten() {
            if !entries.iter().any(|(name, _)| name == key) {
                self.fault(&below(path, key), line, words::missing(properties.get(key)));
            }
        }
    }
}

fn below(path: &str, key: &str) -> String {
    if path.is_empty() { words::name(key) } else { format!("{path}.{}", words::name(key)) }
}

/// Where the schema has a field of that name, if there is exactly one such place: a wrong indentation is the usual cause of
/// a field that is not known.
fn place_of(name: &str, schema: &JSONSchemaProps, path: &str) -> Option<String> {
    let mut found = None;
    for (key, property) in schema.properties.iter().flatten().filter(|(key, _)| *key != "status") {
        let here = below(path, key);
        let places = [(key == name).then(|| here.clone()), place_of(name, property, &here)];
        for place in places.into_iter().flatten() {
            if found.replace(place).is_some() {
                return None;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::domain::reference::Kind;
    use std::collections::BTreeSet;

    use super::*;
    use crate::check::{document, schema};

    /// The words of a schema, without the names of fields.
    fn keywords(schema: &serde_json::Value, found: &mut BTreeSet<String>) {
        for (word, value) in schema.as_object().into_iter().flatten() {
            found.insert(word.clone());
            match word.as_str() {
                "properties" => value.as_object().unwrap().values().for_each(|each| keywords(each, found)),
                "items" | "additionalProperties" => keywords(value, found),
                _ => {}
            }
        }
    }

    #[test]
    fn knows_every_word_of_the_schema() {
        // What is looked at, what `validate` does, and what says nothing about a file.
        let known = [
            "type properties required additionalProperties items nullable enum pattern",
            "minimum maximum minLength maxLength minItems maxItems maxProperties",
            "x-kubernetes-validations",
            "title description format x-kubernetes-list-type x-kubernetes-list-map-keys x-kubernetes-map-type",
        ];
        let mut found = BTreeSet::new();
        keywords(&serde_json::to_value(schema::of(Kind::Namespaced)).unwrap(), &mut found);
        for word in known.iter().flat_map(|words| words.split(' ')) {
            found.remove(word);
        }
        assert!(found.is_empty(), "the walk does not know {found:?}");
    }

    #[test]
    fn knows_the_types_of_the_schema() {
        fn visit(schema: &JSONSchemaProps) {
            let types = [None, Some("string"), Some("integer"), Some("boolean"), Some("array"), Some("object")];
            assert!(types.contains(&schema.type_.as_deref()), "{:?}", schema.type_);
            if let Some(pattern) = &schema.pattern {
                Regex::new(pattern).unwrap();
            }
            schema.properties.iter().flatten().for_each(|(_, property)| visit(property));
            if let Some(JSONSchemaPropsOrArray::Schema(each)) = &schema.items {
                visit(each);
            }
        }
        visit(&schema::of(Kind::Namespaced));
    }

    fn found(spec: &str) -> Vec<(String, u64, String)> {
        let text = format!("apiVersion: regcred.dev/v1alpha1\nkind: RegistryConnection\nmetadata:\n  name: x\n{spec}");
        let object = document::documents(&text).next().unwrap().unwrap();
        let faults = faults(&object, &schema::of(Kind::Namespaced));
        faults
            .into_iter()
            .map(|fault| (fault.path, fault.line, format!("{}; {}", fault.message, fault.remedy)))
            .collect()
    }

    const GENERIC: &str =
        "spec:\n  provider:\n    generic:\n      registryUrl: r.example\n      secretRef: {name: a}\n";

    #[test]
    fn accepts_what_is_as_it_should_be() {
        for more in ["", "  suspend: null\n", "  refreshIntervalMinutes: 30.0\n", "  secret: {labels: {a.b/c: d}}\n"] {
            assert_eq!(found(&format!("{GENERIC}{more}")), [], "{more}");
        }
    }

    #[test]
    fn names_field_line_and_remedy_of_each_fault() {
        for (more, path, words) in [
            ("  refreshIntervalMinute: 5\n", "spec.refreshIntervalMinute", "did you mean refreshIntervalMinutes"),
            ("  passwordKeys: x\n", "spec.passwordKeys", "deletionPolicy"),
            ("  registryUrl: x\n", "spec.registryUrl", "spec.provider.generic.registryUrl"),
            ("  zebra: 1\n", "spec.zebra", "deletionPolicy"),
            ("  suspend: \"yes\"\n", "spec.suspend", "without quotes"),
            ("  test: {mode: off}\n", "spec.test.mode", "in quotes"),
            ("  test: {mode: Of}\n", "spec.test.mode", "Required"),
            ("  test: [Off]\n", "spec.test", "mode"),
            ("  refreshIntervalMinutes: \"30\"\n", "spec.refreshIntervalMinutes", "without quotes"),
            ("  refreshIntervalMinutes: 30.5\n", "spec.refreshIntervalMinutes", "a number without a fraction"),
            ("  refreshIntervalMinutes: 1\n", "spec.refreshIntervalMinutes", "5 to 1440"),
            ("  refreshIntervalMinutes: 99999999999999999999\n", "spec.refreshIntervalMinutes", "1440"),
            ("  secret: {name: \"\"}\n", "spec.secret.name", "empty"),
            ("  secret: {name: A}\n", "spec.secret.name", "lower-case"),
            ("  secret: {labels: {team: 1}}\n", "spec.secret.labels.team", "in quotes"),
            ("  test: {repositories: [{}]}\n", "spec.test.repositories[0].name", "required"),
        ] {
            let faults = found(&format!("{GENERIC}{more}"));
            let [(found, line, text)] = faults.as_slice() else { panic!("{more}: {faults:?}") };
            assert_eq!((found.as_str(), *line), (path, 10), "{more}");
            assert!(text.contains(words), "{more}: {text}");
        }
    }

    const IONOS: &str = "spec:\n  provider:\n    ionos:\n      registryName: team\n      secretRef: {name: a}\n";

    #[test]
    fn names_field_and_remedy_of_each_fault_of_providers_that_issue_credentials() {
        let digital_ocean = IONOS.replace("ionos", "digitalocean");
        for (spec, more, path, words) in [
            (&digital_ocean, "      registry: x\n", "registry", "did you mean registryName"),
            (&digital_ocean, "      expirySecond: x\n", "expirySecond", "did you mean expirySeconds"),
            (&digital_ocean, "      expirySeconds: 1h\n", "expirySeconds", "without quotes and unit"),
            (&digital_ocean, "      expirySeconds: 599\n", "expirySeconds", "600 to 1576800000"),
            (&digital_ocean, "      readWrite: \"yes\"\n", "readWrite", "without quotes"),
            (&digital_ocean, "      tokenTtlMinutes: 60\n", "tokenTtlMinutes", "spec.provider.ionos.tokenTtlMinutes"),
            (&IONOS.into(), "      tokenTtlMinutes: 9\n", "tokenTtlMinutes", "10 to 525600"),
            (&IONOS.into(), "      contractNumber: \"31\"\n", "contractNumber", "without quotes"),
            (&IONOS.into(), "      registryId: a/b\n", "registryId", "UUID"),
            (&IONOS.into(), "      scopes: []\n", "scopes", "at least 1"),
            (&IONOS.into(), "      scopes: [{type: repository, name: \"*\"}]\n", "scopes[0].actions", "required"),
            (&IONOS.into(), "      scopes: [{type: a, name: b, actions: [Pull]}]\n", "scopes[0].actions[0]", "pull"),
            (&IONOS.into(), "      scopes: [{type: a, name: a b, actions: [pull]}]\n", "scopes[0].name", "team/web"),
            (&IONOS.into(), "      scopes: [{type: A, name: b, actions: [pull]}]\n", "scopes[0].type", "repository"),
        ] {
            let key = if spec.contains("ionos") { "ionos" } else { "digitalocean" };
            let faults = found(&format!("{spec}{more}"));
            let [(found, line, text)] = faults.as_slice() else { panic!("{more}: {faults:?}") };
            assert_eq!((found.as_str(), *line), (format!("spec.provider.{key}.{path}").as_str(), 10), "{more}");
            assert!(text.contains(words), "{more}: {text}");
        }
        for (spec, name, words) in [
            (digital_ocean.as_str(), "Team", "registry.digitalocean.com/team"),
            (IONOS, "te", "3"),
            (IONOS, "team-", "no -"),
        ] {
            let faults = found(&spec.replace("registryName: team", &format!("registryName: {name}")));
            let [(path, _, text)] = faults.as_slice() else { panic!("{name}: {faults:?}") };
            assert!(path.ends_with(".registryName") && text.contains(words), "{name}: {path}: {text}");
        }
    }

    #[test]
    fn finds_all_faults_in_the_order_of_the_file() {
        let found = found("spec:\n  suspend: 1\n  provider:\n    generic:\n      insecure: 1\n  other: 1\n");
        let paths: Vec<&str> = found.iter().map(|(path, _, _)| path.as_str()).collect();
        let generic = ["spec.provider.generic.registryUrl", "spec.provider.generic.secretRef"];
        assert_eq!(paths, ["spec.suspend", generic[0], generic[1], "spec.provider.generic.insecure", "spec.other"]);
    }
}
