//! What is known of a Secret at some moment, and which version of it that is.

use std::sync::Arc;

use super::secret_meta::SecretMeta;

/// What is known of a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretState {
    /// Not looked at yet: it may exist or not.
    Unknown,
    /// It does not exist.
    Absent,
    /// It exists.
    Present(Arc<SecretMeta>),
}

/// Which form of a Secret was seen, to tell whether it is still the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Sighting {
    /// Not looked at yet.
    Unknown,
    /// It did not exist.
    Absent,
    /// This object, in this version.
    Present {
        /// Its UID.
        uid: String,
        /// Its resourceVersion.
        resource_version: String,
    },
}

/// All that a read of a source tells.
impl From<Sighting> for SecretState {
    fn from(sighting: Sighting) -> Self {
        match sighting {
            Sighting::Unknown => Self::Unknown,
            Sighting::Absent => Self::Absent,
            Sighting::Present { uid, resource_version } => {
                Self::Present(Arc::new(SecretMeta { uid, resource_version, ..SecretMeta::default() }))
            }
        }
    }
}

impl SecretState {
    /// Whether a look at a whole Secret showed nothing that was not known or assumed before.
    pub fn is_no_news_after(&self, known: &Self) -> bool {
        match (known, self) {
            (Self::Unknown | Self::Absent, Self::Absent) => true,
            (Self::Present(known), Self::Present(found)) => {
                found.unusable.is_none() && found.uid == known.uid && found.resource_version == known.resource_version
            }
            (Self::Unknown | Self::Absent | Self::Present(_), _) => false,
        }
    }

    /// Which form it is.
    pub fn sighting(&self) -> Sighting {
        match self {
            Self::Unknown => Sighting::Unknown,
            Self::Absent => Sighting::Absent,
            Self::Present(meta) => {
                Sighting::Present { uid: meta.uid.clone(), resource_version: meta.resource_version.clone() }
            }
        }
    }
}

/// Whether the first resourceVersion of an object is older than the second. They are decimal numbers that grow, which
/// the API promises since Kubernetes 1.35 and every earlier server does; anything else counts as new.
pub fn is_older(first: &str, second: &str) -> bool {
    match (first.parse::<u128>(), second.parse::<u128>()) {
        (Ok(first), Ok(second)) => first < second,
        _ => first != second,
    }
}
