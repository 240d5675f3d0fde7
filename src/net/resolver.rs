//! Name resolution that hands only checked addresses to the connector, so that what was checked is what is connected to.

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address::{AddressRules, ForbiddenAddress};

/// The system's resolver behind [`AddressRules`].
pub(super) struct CheckedResolver {
    pub(super) rules: AddressRules,
}

/// A name stands for an address that is never connected to. One such address is enough: a name that also has a
/// harmless one is not to be trusted either.
#[derive(Debug, thiserror::Error)]
#[error("the name resolves to an address that is not allowed: {0}")]
pub(super) struct ResolvedToForbidden(pub(super) ForbiddenAddress);

/// The name could not be resolved.
#[derive(Debug, thiserror::Error)]
#[error("the name could not be resolved")]
pub(super) struct NotResolved(#[source] pub(super) Option<std::io::Error>);

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let rules = self.rules;
        Box::pin(async move {
            let addresses: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await.map_err(|error| NotResolved(Some(error)))?.collect();
            if addresses.is_empty() {
                return Err(NotResolved(None).into());
            }
            for address in &addresses {
                rules.check(address.ip()).map_err(ResolvedToForbidden)?;
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
