//! What an object in a file is, and everything that is wrong with it. Pure.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use kube::Resource;

use super::{
    document, metadata,
    shape::{self, Fault, MAX_FAULTS},
    tree::{Node, Value},
};
use crate::{
    api::{ClusterRegistryConnection, Declared, RegistryConnection, crd::one_provider, names::GROUP},
    controller::validate::validate,
    domain::reference::Kind,
    problem::Problem,
};

/// What an object in a file is.
#[derive(Debug, PartialEq)]
pub enum Class<'a> {
    /// A connection of this kind, or what must have been meant as one.
    Connection(Kind),
    /// A list of objects.
    List(&'a [Node]),
    /// Something else, which is not looked at.
    Other,
}

/// What an object is.
pub fn class(object: &Node) -> Class<'_> {
    let group = object.text("apiVersion").unwrap_or_default().split('/').next();
    match (object.text("kind"), object.get("items").map(|items| &items.value)) {
        (Some(kind), Some(Value::List(items))) if kind.ends_with("List") => Class::List(items),
        (Some(kind), _) => match Kind::parse(kind) {
            Some(kind) => Class::Connection(kind),
            None if group == Some(GROUP) && kind.starts_with("Cluster") => Class::Connection(Kind::Cluster),
            None if group == Some(GROUP) => Class::Connection(Kind::Namespaced),
            None => Class::Other,
        },
        (None, _) => Class::Other,
    }
}

/// All faults of a connection, in the order of the file: of its shape, and the first that the operator would find.
pub fn faults(object: &Node, kind: Kind, schema: &JSONSchemaProps, allow_loopback: bool) -> Vec<Fault> {
    if object.mentions("{{") {
        let (message, remedy) = document::template();
        return vec![Fault { path: String::new(), line: object.line, message, remedy }];
    }
    let mut faults: Vec<Fault> = type_faults(object, kind).collect();
    faults.extend(shape::faults(object, schema));
    faults.extend(metadata::faults(object));
    faults.extend(provider_fault(object, schema, &faults));
    faults.extend(operators_fault(object, kind, allow_loopback, &faults));
    faults.sort_by_key(|fault| fault.line);
    if faults.len() > MAX_FAULTS {
        faults.truncate(MAX_FAULTS);
        let message = format!("this object has more than {MAX_FAULTS} faults");
        let remedy = "mend those that are told first".to_owned();
        faults.push(Fault { path: String::new(), line: object.line, message, remedy });
    }
    faults
}

/// An `apiVersion` or `kind` that the API server does not know.
fn type_faults(object: &Node, kind: Kind) -> impl Iterator<Item = Fault> {
    let version = RegistryConnection::api_version(&());
    let wanted = [("apiVersion", version), ("kind", kind.as_str().into())].into_iter();
    wanted.filter(|(key, known)| object.text(key) != Some(known)).map(move |(key, known)| Fault {
        path: key.to_owned(),
        line: object.line_of(key),
        message: format!("this is not the {key} of a {kind}"),
        remedy: format!("write {key}: {known}"),
    })
}

/// Not exactly one provider. The schema says it with a rule, because it names the field so.
fn provider_fault(object: &Node, schema: &JSONSchemaProps, others: &[Fault]) -> Option<Fault> {
    let path = "spec.provider";
    let Value::Map(entries) = &object.get("spec")?.get("provider")?.value else { return None };
    let known = schema.properties.as_ref()?.get("spec")?.properties.as_ref()?.get("provider")?.properties.as_ref()?;
    let given = entries.iter().filter(|(key, node)| known.contains_key(key) && node.value != Value::Null).count();
    let remedy = match given {
        1 => return None,
        0 if others.iter().any(|fault| fault.path.starts_with(path)) => return None,
        0 => "add the one that the registry is reached with; generic is for any registry",
        _ => "keep one of them, and make a connection of its own for the other",
    };
    let message = one_provider(known.keys().map(String::as_str));
    Some(Fault { path: path.to_owned(), line: object.line_of(path), message, remedy: remedy.to_owned() })
}

/// What the operator would say, unless it has been said of the same field.
fn operators_fault(object: &Node, kind: Kind, allow_loopback: bool, others: &[Fault]) -> Option<Fault> {
    let mut json = object.to_json();
    if let Some(fields) = json.as_object_mut() {
        fields.remove("status");
    }
    let connection = match kind {
        Kind::Namespaced => serde_json::from_value::<RegistryConnection>(json).map(Declared::from),
        Kind::Cluster => serde_json::from_value::<ClusterRegistryConnection>(json).map(Declared::from),
    };
    let Ok(mut connection) = connection else {
        let (message, remedy) = ("the operator cannot read this object", "compare it with the reference of its fields");
        let fault = Fault { path: String::new(), line: object.line, message: message.into(), remedy: remedy.into() };
        return others.is_empty().then_some(fault);
    };
    if connection.metadata.name.is_none() {
        // The API server would put five characters behind it.
        connection.metadata.name = connection.metadata.generate_name.as_ref().map(|start| format!("{start}00000"));
    }
    let Problem { reason, message, field, hint, retry_after: _, request_id: _ } =
        validate(&connection, allow_loopback).err()?;
    let path = field.unwrap_or_default();
    let is_said = |fault: &Fault| fault.path.starts_with(path) || path.starts_with(&fault.path);
    // A bad name of the connection is one of the Secret, too.
    if others.iter().any(|fault| is_said(fault) || fault.path == "metadata.name") {
        return None;
    }
    let remedy = hint.unwrap_or_else(|| reason.fix().to_owned());
    Some(Fault { path: path.to_owned(), line: object.line_of(path), message, remedy })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::schema;

    fn object(text: &str) -> Node {
        document::documents(text).next().unwrap().unwrap()
    }

    fn found(text: &str) -> Vec<String> {
        faults(&object(text), Kind::Namespaced, &schema::of(Kind::Namespaced), false)
            .into_iter()
            .map(|fault| fault.path)
            .collect()
    }

    const GOOD: &str = "apiVersion: regcred.dev/v1alpha1\nkind: RegistryConnection\nmetadata:\n  name: a\n\
                        spec:\n  provider:\n    dockerhub:\n      secretRef:\n        name: login\n";

    #[test]
    fn knows_connections_and_lists_from_other_objects() {
        for (text, expected) in [
            (GOOD, Class::Connection(Kind::Namespaced)),
            ("kind: RegistryConnection", Class::Connection(Kind::Namespaced)),
            ("{apiVersion: regcred.dev/v1alpha1, kind: RegistryConnections}", Class::Connection(Kind::Namespaced)),
            ("{apiVersion: v1, kind: List, items: []}", Class::List(&[])),
            ("{apiVersion: regcred.dev/v1alpha1, kind: RegistryConnectionList, items: []}", Class::List(&[])),
            ("{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition}", Class::Other),
            ("{apiVersion: regcred.dev.example/v1, kind: Thing}", Class::Other),
            ("a: 1", Class::Other),
            ("[]", Class::Other),
        ] {
            assert_eq!(class(&object(text)), expected, "{text}");
        }
    }

    #[test]
    fn accepts_a_good_object_whatever_its_status_says() {
        assert_eq!(found(GOOD), [""; 0]);
        assert_eq!(found(&format!("{GOOD}status: {{conditions: 5, other: {{}}}}")), [""; 0]);
        assert_eq!(
            found(&GOOD.replace("  name: a", "  name: a\n  creationTimestamp: null\n  labels: {a: b}")),
            [""; 0]
        );
        assert_eq!(found(&GOOD.replace("  name: a", "  generateName: a-")), [""; 0]);
    }

    #[test]
    fn names_the_field_of_every_fault() {
        for (old, new, paths) in [
            ("v1alpha1", "v1", &["apiVersion"][..]),
            ("kind: RegistryConnection", "kind: RegistryConnections", &["kind"]),
            ("  name: a\n", "  namespace: a\n", &["metadata.name"]),
            ("  name: a\n", "  name: A\n", &["metadata.name"]),
            ("  name: a\n", "  name: a\n  namespace: a.b\n", &["metadata.namespace"]),
            ("  name: a\n", "  name: a\n  label: {}\n", &["metadata.label"]),
            ("  name: a\n", "  name: a\n  labels: {a: 1}\n", &["metadata.labels.a"]),
            ("  name: a\n", "  name: a\n  labels:\n    bad key!: v\n    b: v v\n", &["metadata.labels"; 2]),
            ("  name: a\n", "  name: a\n  annotations: {Example.com/a: v v, a/b/c: v}\n", &["metadata.annotations"]),
            ("metadata:\n  name: a\n", "", &["metadata"]),
            ("name: a\n", "name: login\n", &["spec.secret.name"]),
            (
                "    dockerhub",
                "    generic: {registryUrl: r.example, secretRef: {name: x}}\n    dockerhub",
                &["spec.provider"],
            ),
            ("    dockerhub", "    generic: null\n    dockerhub", &["spec.provider.generic"]),
            ("    dockerhub", "    other", &["spec.provider.other"]),
            ("name: login", "name: \"{{ .Values.login }}\"", &[""]),
        ] {
            assert_eq!(found(&GOOD.replacen(old, new, 1)), paths, "{new}");
        }
    }

    #[test]
    fn tells_of_shape_and_of_sense_at_once() {
        let text = GOOD.replacen("name: a\n", "name: login\n", 1) + "  suspended: true\n";
        assert_eq!(found(&text), ["spec.secret.name", "spec.suspended"]);
    }

    #[test]
    fn tells_of_a_hundred_faults_at_most() {
        let many: String = (0..1000).map(|index| format!("  x{index}: 1\n")).collect();
        assert_eq!(found(&format!("{GOOD}{many}")).len(), MAX_FAULTS + 1);
    }
}
