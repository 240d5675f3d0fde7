//! The CustomResourceDefinitions: what the types say, and the rules that span several fields.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, ValidationRule,
};
use kube::CustomResourceExt;

use super::{
    ClusterRegistryConnection, RegistryConnection, cluster::MAX_OPT_IN_NAME,
    connection::DEFAULT_REFRESH_INTERVAL_MINUTES,
};
use crate::{
    domain::{image_pattern, reference::Kind},
    problem::field,
};

/// All CustomResourceDefinitions of this operator, ready to be applied.
pub fn crds() -> Vec<CustomResourceDefinition> {
    Kind::ALL.map(crd).to_vec()
}

/// The CustomResourceDefinition of a kind, ready to be applied.
pub fn crd(kind: Kind) -> CustomResourceDefinition {
    let mut crd = match kind {
        Kind::Namespaced => RegistryConnection::crd(),
        Kind::Cluster => ClusterRegistryConnection::crd(),
    };
    for version in &mut crd.spec.versions {
        let Some(root) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) else {
            continue;
        };
        if let Some(status) = property(root, "status") {
            // kstatus calls an object without status Current; with this default a fresh object is InProgress.
            status.default = Some(JSON(serde_json::json!({ "observedGeneration": -1 })));
        }
        let providers =
            property(root, "spec").and_then(|spec| property(spec, "provider")).map(|provider| provider_keys(provider));
        let lives = LIVES.iter().map(|(key, life, seconds)| life_rule(key, life, *seconds));
        let rules: Vec<ValidationRule> = match kind {
            Kind::Namespaced => {
                let sources = providers.iter().flatten().map(|key| source_rule(key));
                sources.chain([authority_rule()]).chain(lives).collect()
            }
            // What it reads is in the operator's namespace, where it need not write anything.
            Kind::Cluster => selection_rules().into_iter().chain(lives).collect(),
        };
        root.x_kubernetes_validations = Some(rules);
        if let Some(provider) = property(root, "spec").and_then(|spec| property(spec, "provider")) {
            provider.x_kubernetes_validations = Some(provider_rules(provider));
            // The derived `oneOf` says the same in words that name no field.
            provider.one_of = None;
        }
        if let Some(pattern) = property(root, "spec").and_then(|spec| property(spec, "autoLinkPattern")) {
            pattern.x_kubernetes_validations = Some(image_pattern::RULES.iter().map(pattern_rule).collect());
        }
        if kind == Kind::Cluster {
            place(root);
        }
    }
    crd
}

/// The texts say where a connection reads and writes; that of a cluster does so elsewhere.
fn place(schema: &mut JSONSchemaProps) {
    for (one, other) in PLACES {
        schema.description = schema.description.take().map(|text| text.replace(one, other));
    }
    schema.properties.iter_mut().flatten().for_each(|(_, property)| place(property));
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        place(items);
    }
}

/// What the texts say of a `RegistryConnection`, and what is true of a `ClusterRegistryConnection`.
const PLACES: [(&str, &str); 1] = [("the connection's namespace", "the operator's namespace")];

fn property<'a>(schema: &'a mut JSONSchemaProps, name: &str) -> Option<&'a mut JSONSchemaProps> {
    schema.properties.as_mut()?.get_mut(name)
}

fn provider_keys(provider: &JSONSchemaProps) -> Vec<String> {
    provider.properties.iter().flatten().map(|(key, _)| key.clone()).collect()
}

/// The Secret that a provider reads is not the one that is written.
fn source_rule(key: &str) -> ValidationRule {
    let other = format!("spec.provider.{key}.secretRef.name");
    target_rule(&format!("!has(self.spec.provider.{key})"), &other)
}

/// Nor is it one that holds certificates.
fn authority_rule() -> ValidationRule {
    let none = "!has(self.spec.provider.generic) || !has(self.spec.provider.generic.caRef) \
                || self.spec.provider.generic.caRef.kind != 'Secret'";
    target_rule(none, "spec.provider.generic.caRef.name")
}

/// The Secret that is written is not one that is read: its name is not in the field `other`, unless `none` holds.
fn target_rule(none: &str, other: &str) -> ValidationRule {
    let target = "(has(self.spec.secret) && has(self.spec.secret.name) ? self.spec.secret.name : self.metadata.name)";
    ValidationRule {
        // Evaluated at every write of a status too: where it failed on a spec that lacks a field, nothing could be said of it.
        rule: format!("!has(self.spec) || !has(self.spec.provider) || {none} || {target} != self.{other}"),
        message: Some(format!(
            "spec.secret.name (absent means the connection's name) must differ from {other}: the Secret that is read \
             cannot be the one that is written"
        )),
        field_path: Some(".spec.secret.name".to_owned()),
        ..ValidationRule::default()
    }
}

/// Which fields go with which visibility.
fn selection_rules() -> Vec<ValidationRule> {
    let rule = |rule: &str, field: &str, message: String| ValidationRule {
        rule: format!("!has(self.spec) || !has(self.spec.visibility) || {rule}"),
        message: Some(message),
        field_path: Some(format!(".{field}")),
        ..ValidationRule::default()
    };
    let only_selected = |field: &str| {
        rule(
            &format!("self.spec.visibility == 'Selected' || !has(self.{field})"),
            field,
            format!("{field} goes with visibility Selected only: remove it, or set visibility to Selected"),
        )
    };
    vec![
        only_selected(field::NAMESPACE_SELECTOR),
        only_selected(field::NAMESPACES),
        rule(
            "self.spec.visibility != 'Selected' || has(self.spec.namespaceSelector) || has(self.spec.namespaces)",
            field::VISIBILITY,
            "visibility Selected needs spec.namespaceSelector or spec.namespaces; every namespace is visibility All"
                .into(),
        ),
        rule(
            &format!("self.spec.visibility != 'OptIn' || self.metadata.name.size() <= {MAX_OPT_IN_NAME}"),
            // A rule cannot point to the metadata.
            field::VISIBILITY,
            format!(
                "with visibility OptIn {} may have at most {MAX_OPT_IN_NAME} characters: it is part of the label \
                 regcred.dev/import.<name> of namespaces",
                field::NAME
            ),
        ),
    ]
}

/// The fields that say how long issued credentials live, by provider, and how many seconds their unit has.
const LIVES: [(&str, &str, i64); 2] = [("digitalocean", "expirySeconds", 1), ("ionos", "tokenTtlMinutes", 60)];

/// An issued credential lives for two refresh intervals at least, so that one that cannot be renewed in time still works.
fn life_rule(key: &str, life: &str, seconds: i64) -> ValidationRule {
    let path = format!("spec.provider.{key}.{life}");
    let interval = format!(
        "(has(self.spec.refreshIntervalMinutes) ? self.spec.refreshIntervalMinutes : {DEFAULT_REFRESH_INTERVAL_MINUTES})"
    );
    ValidationRule {
        rule: format!(
            "!has(self.spec) || !has(self.spec.provider) || !has(self.spec.provider.{key}) || !has(self.{path}) || \
             self.{path} * {seconds} >= 120 * {interval}"
        ),
        message: Some(format!(
            "{path} must be at least {} times spec.refreshIntervalMinutes (absent means {DEFAULT_REFRESH_INTERVAL_MINUTES}), so \
             that a credential outlives two refresh intervals: raise it, leave it out, or shorten the interval",
            120 / seconds,
        )),
        field_path: Some(format!(".{path}")),
        ..ValidationRule::default()
    }
}

fn pattern_rule(rule: &image_pattern::Rule) -> ValidationRule {
    ValidationRule { rule: rule.cel.to_owned(), message: Some(rule.message.to_owned()), ..ValidationRule::default() }
}

/// Exactly one provider, and always the same one.
fn provider_rules(provider: &JSONSchemaProps) -> Vec<ValidationRule> {
    let keys = provider_keys(provider);
    let each = |rule: fn(&str) -> String, joint: &str| keys.iter().map(|key| rule(key)).collect::<Vec<_>>().join(joint);
    let rule =
        |rule: String, message: String| ValidationRule { rule, message: Some(message), ..ValidationRule::default() };
    vec![
        rule(
            format!("[{}].filter(given, given).size() == 1", each(|key| format!("has(self.{key})"), ", ")),
            one_provider(keys.iter().map(String::as_str)),
        ),
        rule(
            each(|key| format!("has(self.{key}) == has(oldSelf.{key})"), " && "),
            "the provider cannot be changed: delete the connection and create it anew; created within a minute, or with \
             deletionPolicy Retain, it takes its Secret over in place"
                .to_owned(),
        ),
    ]
}

/// What is said of a `spec.provider` without exactly one of these keys.
pub fn one_provider<'a>(keys: impl Iterator<Item = &'a str>) -> String {
    format!("exactly one provider must be given, one of: {}", keys.collect::<Vec<_>>().join(", "))
}

/// The CustomResourceDefinition of a kind as a document of a YAML stream.
pub fn crd_yaml(kind: Kind) -> Result<String, serde_saphyr::ser_error::Error> {
    Ok(format!("---\n{}", serde_saphyr::to_string(&crd(kind))?))
}

/// The CustomResourceDefinitions as one YAML stream, as `regcred crd` prints it.
pub fn crds_yaml() -> Result<String, serde_saphyr::ser_error::Error> {
    Kind::ALL.into_iter().map(crd_yaml).collect()
}
