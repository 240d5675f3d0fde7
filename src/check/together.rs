//! What two connections that are applied together cannot both be. Pure.

use std::collections::BTreeMap;

use super::{shape::Fault, tree::Node, words};
use crate::domain::reference::Kind;

/// A kind, a namespace, empty if the file leaves it to whoever applies it, and a name in it.
type Key = (Kind, String, String);

/// The connections of one file so far, and where each stands.
#[derive(Debug, Default)]
pub struct Together {
    connections: BTreeMap<Key, String>,
    /// By the Secret that is written.
    targets: BTreeMap<Key, String>,
}

impl Together {
    /// What is wrong with one more connection in view of those before it: it is one of them once more, or writes a Secret
    /// that one of them writes.
    pub fn fault(&mut self, file: &str, kind: Kind, object: &Node) -> Option<Fault> {
        let metadata = object.get("metadata")?;
        let namespace = metadata.text("namespace").unwrap_or_default();
        let name = metadata.text("name")?;
        let secret = object.get("spec").and_then(|spec| spec.get("secret")?.text("name"));
        let place = format!("{file}, line {}", object.line);
        let key = |name: &str| (kind, namespace.to_owned(), name.to_owned());
        if let Some(first) = self.connections.get(&key(name)) {
            let message = format!("a connection of this name in this namespace stands already in {first}");
            return Some(fault(object, "metadata.name", message, "remove one of the two, or give it another name"));
        }
        self.connections.insert(key(name), place.clone());
        // Which namespaces another one selects a file does not say.
        if kind == Kind::Cluster {
            return None;
        }
        if let Some(first) = self.targets.get(&key(secret.unwrap_or(name))) {
            let shown = words::name(secret.unwrap_or(name));
            let message =
                format!("the connection in {first} writes Secret {shown:?} already, and a Secret has one writer");
            let remedy = "choose another name in spec.secret.name; absent means the connection's name";
            return Some(fault(object, "spec.secret.name", message, remedy));
        }
        self.targets.insert(key(secret.unwrap_or(name)), place);
        None
    }
}

fn fault(object: &Node, path: &str, message: String, remedy: &str) -> Fault {
    Fault { path: path.to_owned(), line: object.line_of(path), message, remedy: remedy.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::document;

    /// The field and line of what is told of each document.
    fn found(text: &str) -> Vec<(usize, String, u64)> {
        let mut together = Together::default();
        let objects = document::documents(text).map(|object| object.unwrap());
        let faults = objects
            .enumerate()
            .filter_map(|(index, object)| Some((index, together.fault("a", Kind::Namespaced, &object)?)));
        faults.map(|(index, fault)| (index, fault.path, fault.line)).collect()
    }

    #[test]
    fn tells_of_an_object_that_stands_twice_and_of_a_secret_with_two_writers() {
        let one = "metadata: {name: a, namespace: shop}\n";
        for (other, expected) in [
            ("metadata: {name: b, namespace: shop}", None),
            ("metadata: {name: a, namespace: store}", None),
            ("metadata: {name: a}", None),
            ("metadata: {generateName: a, namespace: shop}", None),
            ("metadata: {name: a, namespace: shop}\nspec: {secret: {name: c}}", Some(("metadata.name", 3))),
            ("metadata: {name: b, namespace: shop}\nspec: {secret: {name: a}}", Some(("spec.secret.name", 4))),
            ("metadata: {name: b, namespace: shop}\nspec: {secret: {name: b}}", None),
        ] {
            let expected: Vec<_> = expected.into_iter().map(|(path, line)| (1, path.to_owned(), line)).collect();
            assert_eq!(found(&format!("{one}---\n{other}\n")), expected, "{other}");
        }
    }
}
