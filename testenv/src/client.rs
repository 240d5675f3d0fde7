//! Kube clients for an operator under test: counted, and confined to one namespace.

use anyhow::Result;
use kube::Client;
use kube::client::ClientBuilder;

use crate::calls::Calls;
use crate::confine::Confine;
use crate::control_plane::ControlPlane;

/// What an operator reads cluster-wide and must see from its own test only.
pub const CONFINED: [&str; 6] =
    ["secrets", "configmaps", "serviceaccounts", "registryconnections", "clusterregistryconnections", "namespaces"];

impl ControlPlane {
    /// An administrator's client that records into `calls` and sees the [`CONFINED`] resources of `namespace` only.
    ///
    /// Calls are recorded as the operator sends them, before they are confined.
    ///
    /// # Errors
    /// The client cannot be put together.
    pub fn confined_client(&self, namespace: &str, calls: &Calls) -> Result<Client> {
        confined_client(self.config(), namespace, &CONFINED, calls)
    }
}

/// The same for any client configuration and any resources.
///
/// # Errors
/// The client cannot be put together.
pub fn confined_client(config: kube::Config, namespace: &str, resources: &[&str], calls: &Calls) -> Result<Client> {
    let builder = ClientBuilder::try_from(config)?;
    Ok(builder.with_layer(&Confine::to(namespace, resources)).with_layer(calls).build())
}
