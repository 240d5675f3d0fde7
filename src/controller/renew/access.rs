//! What gives access to the provider's API: read when it is needed, told from what it was before, and sent to no other API. IO.

use super::{Pass, acted_on_requests, book::Obstacle, mint::obstacle};
use crate::{
    api::{
        Reason,
        provider::{IssuedBy, Way},
    },
    controller::{
        Context, deliver::delivery, due::settled_problem, error::Error, observe::Observed, report::Outcome,
        validate::Connection,
    },
    domain::ledger::{Entry, Issuer},
    problem::Problem,
    provider::{self, access::Access, issuing},
};

/// What gives access to the API of a connection's provider now.
pub(super) struct Present<'a> {
    pub(super) provider: IssuedBy<'a>,
    pub(super) access: Access,
}

/// The same, as far as that is needed to end something.
pub(super) async fn present<'a>(
    context: &Context,
    connection: &'a Connection,
) -> Result<Option<Present<'a>>, Obstacle> {
    let io = context.io(&connection.reference);
    match connection.provider.way() {
        Way::Issued(provider) if issuing::ends_by_access(provider) => match issuing::access(&io, provider).await {
            Ok((access, _)) => Ok(Some(Present { provider, access })),
            Err(error) => match obstacle(error) {
                // The entry knows where it was when it was issued.
                Obstacle::Told(_) => Ok(None),
                cut @ Obstacle::Cut(_) => Err(cut),
            },
        },
        Way::Issued(_) | Way::Given(_) => Ok(None),
    }
}

/// What gives access to the API that issued something: what it was issued with, or else what the connection has now for the same
/// API. What is meant for one API goes to no other.
pub(super) async fn access_for(
    context: &Context,
    issuer: &Issuer,
    present: Option<&Present<'_>>,
) -> Result<Result<Option<Access>, Problem>, Obstacle> {
    let secret = match issuer {
        Issuer::Digitalocean { .. } => return Ok(Ok(None)),
        Issuer::Ionos { secret, .. } => secret,
    };
    let present = present.filter(|present| issuing::is_at(present.provider, issuer));
    if let Some(present) = present.filter(|present| issuing::is_from(present.provider, issuer)) {
        return Ok(Ok(Some(present.access.clone())));
    }
    let io = context.io_in(&secret.namespace);
    let found = issuing::access_at(&io, issuer).await.map_err(obstacle)?;
    let found = found.or_else(|| present.map(|present| present.access.clone()));
    Ok(found.map(Some).ok_or_else(|| {
        let message = format!(
            "Secret {:?} in namespace {:?}, which gives access to its provider, is gone or cannot be used",
            secret.name, secret.namespace
        );
        Problem::new(Reason::SecretNotFound, message)
    }))
}

impl Pass<'_> {
    /// Reads what gives access to the API.
    pub(super) async fn access(&mut self, observed: &mut Observed) -> Result<Result<Access, Box<Outcome>>, Error> {
        let Self { context, connection, .. } = self;
        let io = context.io(&connection.reference);
        let (problem, inputs) = match issuing::access(&io, self.provider).await {
            Ok((access, input)) => {
                self.inputs = vec![input];
                observed.saw(&context.index, &self.inputs, Reason::Progressing);
                return Ok(Ok(access));
            }
            Err(provider::Error::Unusable { problem, inputs }) => (*problem, inputs),
            Err(provider::Error::Denied(problem) | provider::Error::Provider(problem)) => {
                acted_on_requests(context, observed);
                return Ok(Err(Box::new(self.wait(observed, *problem))));
            }
            Err(provider::Error::Api(error)) => return Err(Error::Read(error.into())),
        };
        acted_on_requests(context, observed);
        context.metrics.met(problem.reason);
        observed.saw(&context.index, &inputs, problem.reason);
        context.memories.update(observed.uid(), |memory| {
            (memory.judged, memory.attempt) = (inputs.clone(), None);
        });
        let outcome = Outcome::unchanged(Some(problem), delivery(connection, observed, self.now));
        Ok(Err(Box::new(Outcome { judged: inputs, ..outcome })))
    }

    /// Whether the API credential is the one that was used last. What cannot be told, as of a password
    /// after a restart, counts as another one.
    pub(super) fn is_same(&self, observed: &Observed, access: &Access, current: Option<&Entry>) -> bool {
        if observed.memory.access == Some(access.fingerprint(&self.context.fingerprints)) {
            return true;
        }
        let digest = current
            .and_then(|current| Some((current.api_digest.as_ref()?, access.digest(&current.issued_at.to_string())?)));
        // After a refusal it is to be another one than the one that was refused, which the ledger does not know.
        settled_problem(&observed.status).is_none() && digest.is_some_and(|(then, now)| *then == now)
    }

    /// Takes note of what gave access to the API when it last issued a credential, or refused to for good.
    pub(super) fn used(&self, observed: &Observed, access: &Access) {
        let fingerprint = access.fingerprint(&self.context.fingerprints);
        self.context.memories.update(observed.uid(), |memory| {
            memory.access = Some(fingerprint);
            memory.judged.clone_from(&self.inputs);
        });
    }
}
