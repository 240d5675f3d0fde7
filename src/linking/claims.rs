//! What regcred named in an object of somebody else's, and for whom: it stands in an annotation there, so that nothing a user
//! wrote is ever taken away. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::domain::reference::ConnectionReference;

/// A longer annotation was not written by us, in bytes. All annotations of an object may have 256 KiB.
const MAX_TEXT: usize = 160 * 1024;

/// Nor is one in which so many connections are named.
const MAX_HOLDERS: usize = 512;

/// For which connections a Secret is named, and when each of them was created: a CustomResourceDefinition that is younger says
/// nothing about it.
pub type Holders = BTreeMap<ConnectionReference, Timestamp>;

/// See the module. By the name of the Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Claims(pub BTreeMap<String, Holders>);

/// As it stands in the annotation.
type Text = BTreeMap<String, BTreeMap<String, Timestamp>>;

impl Claims {
    /// What an annotation says; nothing if it cannot be read. Then what is named counts as a user's.
    pub fn parse(text: &str) -> Self {
        let read = Some(text).filter(|text| text.len() <= MAX_TEXT).and_then(|text| serde_json::from_str(text).ok());
        let all: Text = read.unwrap_or_default();
        let holders = |holders: BTreeMap<String, Timestamp>| -> Holders {
            let known = holders.into_iter().filter_map(|(words, created)| Some((reference(&words)?, created)));
            known.collect()
        };
        let claims = all.into_iter().map(|(secret, all)| (secret, holders(all)));
        let claims = Self(claims.filter(|(_, holders)| !holders.is_empty()).collect());
        if claims.fit() { claims } else { Self::default() }
    }

    /// Whether they can be written so that they are read again.
    pub fn fit(&self) -> bool {
        self.holders().count() <= MAX_HOLDERS && self.text().is_none_or(|text| text.len() <= MAX_TEXT)
    }

    /// The annotation that says it; none if there is nothing to say.
    pub fn text(&self) -> Option<String> {
        let holders = |all: &Holders| all.iter().map(|(of, created)| (of.to_string(), *created)).collect();
        let all: Text = self.0.iter().map(|(secret, all)| (secret.clone(), holders(all))).collect();
        // Maps of texts always serialise.
        (!all.is_empty()).then(|| serde_json::to_string(&all).unwrap_or_default())
    }

    /// Whether nothing is claimed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// For whom a Secret is named.
    pub fn of(&self, secret: &str) -> Option<&Holders> {
        self.0.get(secret)
    }

    /// All connections for which anything is named.
    pub fn holders(&self) -> impl Iterator<Item = &ConnectionReference> {
        self.0.values().flat_map(Holders::keys)
    }
}

/// The connection that these words name, if a connection can be called so: its name goes into the path of a request.
fn reference(words: &str) -> Option<ConnectionReference> {
    use crate::api::names::is_object_name;
    let reference = ConnectionReference::parse(words)?;
    let is_name = is_object_name(reference.name()) && reference.namespace().is_none_or(is_object_name);
    is_name.then_some(reference)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_takes_nothing_else_for_ours() {
        let created: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let of = |reference| Holders::from([(reference, created)]);
        let claims = Claims(BTreeMap::from([
            ("images".to_owned(), of(ConnectionReference::namespaced("shop", "images"))),
            ("shared".to_owned(), of(ConnectionReference::cluster("shared"))),
        ]));
        let text = claims.text().unwrap();
        assert_eq!(
            text,
            r#"{"images":{"RegistryConnection/shop/images":"2026-01-01T00:00:00Z"},"shared":{"ClusterRegistryConnection/shared":"2026-01-01T00:00:00Z"}}"#
        );
        assert_eq!(Claims::parse(&text), claims);
        assert_eq!(Claims::default().text(), None);
        for other in [
            "",
            "images",
            "[]",
            r#"{"images": "RegistryConnection/shop/images"}"#,
            r#"{"images": {"Pod/shop/images": "2026-01-01T00:00:00Z"}}"#,
            r#"{"images": {"RegistryConnection/shop/..": "2026-01-01T00:00:00Z"}}"#,
            r#"{"images": {"RegistryConnection/shop/images": "yesterday"}}"#,
            &format!("{text}{}", " ".repeat(MAX_TEXT)),
        ] {
            assert_eq!(Claims::parse(other), Claims::default(), "{other:.80}");
        }
    }
}
