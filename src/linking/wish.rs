//! What a connection asks for: which ServiceAccounts and which Pods are to name its Secret. Pure; from its spec alone, so that links
//! wait for no credential.

use std::{cmp::Ordering, collections::BTreeSet, sync::Arc};

use jiff::Timestamp;

use crate::{
    api::{
        Declared,
        names::is_object_name,
        provider::{GivenBy, IssuedBy, Way},
    },
    controller::mapper,
    domain::{
        docker_config::ConfigKey, image::RepositoryName, image_pattern::ImagePattern, reference::ConnectionReference,
    },
    provider::endpoint::Endpoint,
};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Whose it is.
    pub connection: Identity,
    /// The Secret that is to be named.
    pub secret: String,
    /// The ServiceAccounts that the spec names.
    pub accounts: BTreeSet<Arc<str>>,
    /// For which images it wants to be the default of a namespace, if it wants to be that.
    pub default_of: Option<Realm>,
    /// The images whose Pods are to name the Secret.
    pub pattern: Option<ImagePattern>,
    /// It is suspended or makes no sense: what exists stays, and nothing is added.
    pub is_at_rest: bool,
}

/// A connection, and in which form it was seen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Kind, namespace and name.
    pub reference: ConnectionReference,
    /// The UID.
    pub uid: String,
    /// The generation of the spec.
    pub generation: i64,
    /// When it was created.
    pub created: Timestamp,
}

impl Identity {
    /// That of a connection.
    pub fn of(connection: &Declared) -> Self {
        let metadata = &connection.metadata;
        Self {
            reference: connection.reference(),
            uid: metadata.uid.clone().unwrap_or_default(),
            generation: metadata.generation.unwrap_or_default(),
            created: metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
        }
    }

    /// Who came first: by time of creation, then by UID.
    pub fn by_age(&self, other: &Self) -> Ordering {
        (self.created, &self.uid).cmp(&(other.created, &other.uid))
    }
}

/// The images that a login is for. A namespace has one default for each: two would be tried in turn for the same image, and every
/// wrong one counts as a failed login.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Realm(String);

impl Wish {
    /// What a connection asks for; none if that is nothing.
    pub fn of(connection: &Declared) -> Option<Self> {
        let spec = &connection.spec;
        let is_default = spec.is_default.unwrap_or(false);
        let named = spec.service_accounts.as_deref().unwrap_or_default();
        if !is_default && named.is_empty() && spec.auto_link_pattern.is_none() {
            return None;
        }
        let (secret, realm) = (mapper::target_name(connection), realm(connection));
        let pattern = spec.auto_link_pattern.as_deref().map(ImagePattern::parse);
        let makes_sense = is_object_name(secret)
            && named.iter().all(|name| is_object_name(name))
            && !matches!(pattern, Some(Err(_)))
            && (realm.is_some() || !is_default);
        Some(Self {
            connection: Identity::of(connection),
            secret: secret.to_owned(),
            accounts: named.iter().map(|name| Arc::from(name.as_str())).collect(),
            default_of: realm.filter(|_| is_default),
            pattern: pattern.and_then(Result::ok),
            is_at_rest: spec.suspend.unwrap_or(false) || !makes_sense,
        })
    }
}

impl Wish {
    /// The same of a connection of which nothing more is known.
    pub fn at_rest(self) -> Self {
        Self { is_at_rest: true, ..self }
    }
}

/// The images that the login of a connection is for, as far as its spec tells: what a provider issues is for one of its registries.
fn realm(connection: &Declared) -> Option<Realm> {
    let prefix = match connection.spec.repository_prefix.as_deref() {
        Some(text) => Some(RepositoryName::parse(text)?),
        None => None,
    };
    let of_registry = |api: Option<&str>, registry: &str| {
        let prefix = prefix.as_ref().map_or("", RepositoryName::as_str);
        Realm(format!("{} {} {registry} {prefix}", connection.spec.provider.key(), api.unwrap_or("-")))
    };
    Some(match connection.spec.provider.way() {
        Way::Given(provider) => {
            let provider: GivenBy<'_> = provider;
            // Whether it may be reached is no business of links.
            let endpoint = Endpoint::of(provider, true).ok()?;
            Realm(ConfigKey::new(&endpoint.image_host, prefix.as_ref()).as_str().to_owned())
        }
        Way::Issued(IssuedBy::Digitalocean(provider)) => {
            of_registry(provider.api_url.as_deref(), &provider.registry_name)
        }
        Way::Issued(IssuedBy::Ionos(provider)) => {
            let registry = provider.registry_name.as_deref().or(provider.registry_id.as_deref());
            of_registry(provider.api_url.as_deref(), registry.unwrap_or_default())
        }
    })
}
