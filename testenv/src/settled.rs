//! Proves that a second pass writes nothing: the resource versions of a namespace, taken before and after.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::{Api, Client};

/// The resource version of every Secret, and of every object of the chosen kinds, in one namespace at one time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Snapshot {
    versions: BTreeMap<(String, String), String>,
}

impl Snapshot {
    /// Takes it. Secrets are always part of it, `kinds` come in addition.
    ///
    /// # Errors
    /// A kind cannot be listed.
    pub async fn take(client: &Client, namespace: &str, kinds: &[ApiResource]) -> Result<Self> {
        let mut versions = BTreeMap::new();
        let secrets = ApiResource::erase::<Secret>(&());
        for kind in std::iter::once(&secrets).chain(kinds) {
            let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, kind);
            let list =
                api.list_metadata(&ListParams::default()).await.with_context(|| format!("list {}", kind.plural))?;
            for object in list.items {
                let name = object.metadata.name.unwrap_or_default();
                versions.insert((kind.kind.clone(), name), object.metadata.resource_version.unwrap_or_default());
            }
        }
        Ok(Self { versions })
    }

    /// What is different in `later`, one line each; empty if nothing was written in between.
    pub fn differences(&self, later: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for ((kind, name), old) in &self.versions {
            match later.versions.get(&(kind.clone(), name.clone())) {
                None => lines.push(format!("{kind} {name} is gone")),
                Some(new) if new != old => lines.push(format!("{kind} {name} was written: version {old} became {new}")),
                Some(_) => {}
            }
        }
        for (kind, name) in later.versions.keys().filter(|key| !self.versions.contains_key(*key)) {
            lines.push(format!("{kind} {name} is new"));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(objects: &[(&str, &str)]) -> Snapshot {
        let versions =
            objects.iter().map(|(name, version)| (("Secret".to_owned(), (*name).to_owned()), (*version).to_owned()));
        Snapshot { versions: versions.collect() }
    }

    #[test]
    fn names_what_was_written_made_and_removed() {
        let before = snapshot(&[("same", "1"), ("written", "2"), ("removed", "3")]);
        let after = snapshot(&[("same", "1"), ("written", "4"), ("made", "5")]);
        let expected =
            ["Secret removed is gone", "Secret written was written: version 2 became 4", "Secret made is new"];
        assert_eq!(before.differences(&after), expected);
        assert!(before.differences(&before).is_empty());
    }
}
