//! Which connection something belongs to. Ownership goes by this reference, not by UID, so that a connection made anew
//! takes its Secrets over.

use sha2::{Digest, Sha256};

/// The kinds of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `RegistryConnection`: in a namespace, for that namespace.
    Namespaced,
    /// `ClusterRegistryConnection`: for many namespaces.
    Cluster,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Namespaced, Self::Cluster];

    /// The name of the kind in manifests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Namespaced => "RegistryConnection",
            Self::Cluster => "ClusterRegistryConnection",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Kind, namespace and name of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionReference {
    /// None of a cluster's connection.
    namespace: Option<String>,
    name: String,
}

impl ConnectionReference {
    /// The reference of a `RegistryConnection`.
    pub fn namespaced(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: Some(namespace.into()), name: name.into() }
    }

    /// The reference of a `ClusterRegistryConnection`.
    pub fn cluster(name: impl Into<String>) -> Self {
        Self { namespace: None, name: name.into() }
    }

    /// Reads the reference in words. What it names are not checked to be names.
    pub fn parse(words: &str) -> Option<Self> {
        let mut parts = words.split('/');
        match (Kind::parse(parts.next()?)?, parts.next()?, parts.next(), parts.next()) {
            (Kind::Namespaced, namespace, Some(name), None) => Some(Self::namespaced(namespace, name)),
            (Kind::Cluster, name, None, None) => Some(Self::cluster(name)),
            _ => None,
        }
    }

    /// The connection's kind.
    pub fn kind(&self) -> Kind {
        match self.namespace {
            Some(_) => Kind::Namespaced,
            None => Kind::Cluster,
        }
    }

    /// The connection's namespace; none of a cluster's connection.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The connection's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value of the label on everything that belongs to the connection: the first 32 hexadecimal digits of the
    /// SHA-256 of the reference in words. A label value holds at most 63 characters, a reference may have more.
    pub fn label_value(&self) -> String {
        let digest = Sha256::digest(self.to_string().as_bytes());
        let digits = digest.iter().take(16).flat_map(|byte| [byte >> 4, byte & 15]);
        digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
    }
}

/// The reference in words, as annotations hold it: `RegistryConnection/shop/team-images`, `ClusterRegistryConnection/images`.
impl std::fmt::Display for ConnectionReference {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (kind, name) = (self.kind(), &self.name);
        match &self.namespace {
            Some(namespace) => write!(formatter, "{kind}/{namespace}/{name}"),
            None => write!(formatter, "{kind}/{name}"),
        }
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
        for reference in [ConnectionReference::namespaced("shop", "images"), ConnectionReference::cluster("images")] {
            assert_eq!(ConnectionReference::parse(&reference.to_string()), Some(reference));
        }
        for other in [
            "",
            "images",
            "shop/images",
            "Other/shop/images",
            "RegistryConnection/images",
            "RegistryConnection/shop/images/more",
            "ClusterRegistryConnection/shop/images",
        ] {
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
