//! Which connection something belongs to. Ownership goes by this reference, not by UID, so that a connection made anew
//! takes its Secret over.

use sha2::{Digest, Sha256};

/// The kind of all connections, so far.
const KIND: &str = "RegistryConnection";

/// Kind, namespace and name of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionReference {
    namespace: String,
    name: String,
}

impl ConnectionReference {
    /// The reference of a `RegistryConnection`.
    pub fn namespaced(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// Reads the reference in words. What it names are not checked to be names.
    pub fn parse(words: &str) -> Option<Self> {
        let mut parts = words.split('/');
        match (parts.next()?, parts.next()?, parts.next()?, parts.next()) {
            (KIND, namespace, name, None) => Some(Self::namespaced(namespace, name)),
            _ => None,
        }
    }

    /// The connection's namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The connection's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value of the label on everything that belongs to the connection: the first 32 hexadecimal digits of the
    /// SHA-256 of the reference in words. A label value holds at most 63 characters, a reference may have more.
    pub fn label_value(&self) -> String {
        let digest = Sha256::digest(self.to_string().as_bytes());
        digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The reference in words, as annotations hold it: `RegistryConnection/shop/team-images`.
impl std::fmt::Display for ConnectionReference {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{KIND}/{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_value_fits_a_label_however_long_the_names_are() {
        let reference = ConnectionReference::namespaced("n".repeat(63), "c".repeat(253));
        assert_eq!(reference.label_value().len(), 32);
    }

    #[test]
    fn reads_its_own_words_and_no_others() {
        let reference = ConnectionReference::namespaced("shop", "images");
        assert_eq!(ConnectionReference::parse(&reference.to_string()), Some(reference));
        for other in ["", "images", "shop/images", "Other/shop/images", "RegistryConnection/shop/images/more"] {
            assert_eq!(ConnectionReference::parse(other), None, "{other}");
        }
    }

    #[test]
    fn label_value_tells_namespace_and_name_apart() {
        assert_ne!(
            ConnectionReference::namespaced("a", "b").label_value(),
            ConnectionReference::namespaced("b", "a").label_value()
        );
    }
}
