//! What gives access to the provider's API: read when it is needed, and told from what it was before. IO.

use super::{Pass, acted_on_requests};
use crate::{
    api::Reason,
    controller::{deliver::delivery, due::settled_problem, error::Error, observe::Observed, report::Outcome},
    domain::ledger::Entry,
    provider::{self, Io, access::Access, issuing},
};

impl Pass<'_> {
    /// Reads what gives access to the API.
    pub(super) async fn access(&mut self, observed: &mut Observed) -> Result<Result<Access, Box<Outcome>>, Error> {
        let Self { context, connection, .. } = self;
        let io = Io::new(&context.client, connection.reference.namespace(), &context.http, &context.clock);
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
        let outcome = Outcome::unchanged(Some(problem), delivery(connection, observed));
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
