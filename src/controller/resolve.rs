//! Fourth step: the credential, from its source, and the certificates to trust when it is tested. IO.

use jiff::Timestamp;

use super::{
    Context,
    observe::{Authority, Observed},
    sighting::{SecretState, Sighting},
    validate::{Connection, Site},
};
use crate::{
    api::{
        Reason,
        names::EXPIRES_AT_ANNOTATION,
        provider::GivenBy,
        status::{DeliveredCredential, ObservedInput},
    },
    domain::credential::Credential,
    net::Certificates,
    problem::Problem,
    provider::{self, Error, Given, authorities, secret_not_found, secret_ref_field},
};

/// A credential that was not judged yet, and all that is needed to judge it.
pub struct Resolved {
    /// What it serves.
    pub site: Site,
    /// The credential.
    pub credential: Credential,
    /// When it expires, if that is known.
    pub expires_at: Option<Timestamp>,
    /// Certificate authorities to trust besides the operator's.
    pub authorities: Option<Certificates>,
    /// What was read, as it was then.
    pub inputs: Vec<ObservedInput>,
    /// How the ledger names it, if a provider issued it.
    pub issued: Option<DeliveredCredential>,
}

/// Reads the credential of a connection to which it is given. What the watch shows to be absent costs no request.
///
/// # Errors
/// The provider's [`Error`].
pub async fn resolve(
    context: &Context,
    connection: &Connection,
    (provider, site): (GivenBy<'_>, &Site),
    observed: &Observed,
    now: Timestamp,
) -> Result<Resolved, Error> {
    let io = context.io(&connection.reference);
    if observed.source == SecretState::Absent {
        let source = connection.provider.source_secret();
        let problem = secret_not_found(secret_ref_field(&connection.provider), io.namespace(), &source.name);
        return Err(Error::Unusable { problem: Box::new(problem), inputs: vec![] });
    }
    let Given { credential, expires_at, input } = provider::read(&io, provider, &site.endpoint).await?;
    if let Some(end) = expires_at.filter(|end| *end <= now) {
        return Err(Error::Unusable { problem: Box::new(expired(connection, end)), inputs: vec![input] });
    }
    // Without a test nobody is to be trusted.
    let Some(reference) = connection.provider.authorities().filter(|_| connection.test.is_some()) else {
        let inputs = vec![input];
        return Ok(Resolved { site: site.clone(), credential, expires_at, authorities: None, inputs, issued: None });
    };
    if let Some(Authority { sighting: Sighting::Absent, .. }) = observed.authority {
        let problem = Box::new(authorities::not_found(io.namespace(), reference));
        return Err(Error::Unusable { problem, inputs: vec![input] });
    }
    match authorities::read(&io, reference).await {
        Ok((certificates, of)) => {
            let (authorities, inputs) = (Some(certificates), vec![input, of]);
            Ok(Resolved { site: site.clone(), credential, expires_at, authorities, inputs, issued: None })
        }
        // The source was good, and is part of what this is about.
        Err(Error::Unusable { problem, inputs: of }) => {
            Err(Error::Unusable { problem, inputs: [input].into_iter().chain(of).collect() })
        }
        Err(error) => Err(error),
    }
}

/// The problem of a login whose end has come, as its Secret says. It is not tried any more: an account that is asked for
/// with a password that has ended may be locked.
fn expired(connection: &Connection, end: Timestamp) -> Problem {
    let name = &connection.provider.source_secret().name;
    let message =
        format!("the login in Secret {name:?} ended at {end}, as its annotation {EXPIRES_AT_ANNOTATION} says");
    Problem::new(Reason::Expired, message)
        .at(secret_ref_field(&connection.provider))
        .hint("put a new login into the Secret, and correct or remove the annotation")
}
