//! Name resolution that hands only checked addresses to the connector, so that what was checked is what is connected to.

use std::{io, net::SocketAddr, sync::Arc};

use futures::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Origin;

use super::address::{AddressRules, ForbiddenAddress};

/// Who resolves names.
pub trait Lookup: Send + Sync {
    /// The addresses of a host name. A port other than 0 takes the place of the scheme's own where the URL names none.
    fn lookup(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;
}

/// The system's resolver.
pub struct SystemLookup;

impl Lookup for SystemLookup {
    fn lookup(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let name = name.to_owned();
        Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) })
    }
}

/// A resolver behind [`AddressRules`], for the origins of one session.
pub(super) struct CheckedResolver {
    rules: AddressRules,
    lookup: Arc<dyn Lookup>,
    /// Host and port of what may be reached.
    named: Arc<[(String, u16)]>,
}

impl CheckedResolver {
    pub(super) fn new(rules: AddressRules, lookup: Arc<dyn Lookup>, origins: &[Origin]) -> Self {
        let named = origins.iter().filter_map(|origin| match origin {
            Origin::Tuple(_, host, port) => Some((host.to_string(), *port)),
            Origin::Opaque(_) => None,
        });
        Self { rules, lookup, named: named.collect() }
    }
}

/// A name stands for an address that is never connected to. One such address is enough: a name that also has a
/// harmless one is not to be trusted either.
#[derive(Debug, thiserror::Error)]
#[error("the name resolves to an address that is not allowed: {0}")]
pub(super) struct ResolvedToForbidden(pub(super) ForbiddenAddress);

/// The name could not be resolved.
#[derive(Debug, thiserror::Error)]
#[error("the name could not be resolved")]
pub(super) struct NotResolved(#[source] pub(super) Option<io::Error>);

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (rules, named) = (self.rules.clone(), Arc::clone(&self.named));
        let lookup = self.lookup.lookup(name.as_str());
        Box::pin(async move {
            let addresses = lookup.await.map_err(|error| NotResolved(Some(error)))?;
            if addresses.is_empty() {
                return Err(NotResolved(None).into());
            }
            // The connector does not say which port is meant, so the ports of all that goes by this name count.
            let ports = || named.iter().filter(|(host, _)| host == name.as_str()).map(|(_, port)| *port);
            for address in &addresses {
                for port in ports().chain([address.port()]) {
                    rules.check(SocketAddr::new(address.ip(), port)).map_err(ResolvedToForbidden)?;
                }
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
