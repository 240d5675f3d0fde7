//! Fourth step: the credential, from its source. IO.

use kube::Client;

use super::{observe::Observed, sighting::SecretState, validate::Connection};
use crate::provider::{CredentialSource, Error, Io, Issued, secret_not_found};

/// Obtains the credential of a connection. A source that the watch shows to be absent costs no request.
///
/// # Errors
/// The provider's [`Error`].
pub async fn resolve(client: &Client, connection: &Connection, observed: &Observed) -> Result<Issued, Error> {
    let io = Io::new(client, connection.reference.namespace());
    if observed.source == SecretState::Absent {
        let name = &connection.provider.source_secret().name;
        return Err(Error::Unusable { problem: Box::new(secret_not_found(io.namespace(), name)), input: None });
    }
    connection.provider.issue(&io, connection.registry.host()).await
}
