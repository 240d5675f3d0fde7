//! Keeps in place what was delivered, while nothing can be found out about it: a provider or a registry has trouble, or too many
//! wait before it. Nobody is asked for a credential or a login. IO.

use jiff::Timestamp;

use super::{
    Context,
    api_failure::ApiFailure,
    deliver::keep,
    due::{pausing_trouble, settled_problem, unsettled},
    error::Error,
    observe::Observed,
    renew,
    report::Outcome,
    resolve::resolve,
    validate::Connection,
    verify::{Accepted, known},
};
use crate::{api::provider::Way, problem::Problem, provider};

/// Delivers what was delivered before where it is missing, if it is still known to be good enough for that. What is in the way of
/// anything better stays as it is, and so does the pause after it.
///
/// # Errors
/// [`Error`] if the API server did not answer as expected; trying again may help.
pub(super) async fn keep_in_place(
    context: &Context,
    observed: &mut Observed,
    connection: &Connection,
    now: Timestamp,
) -> Result<Outcome, Error> {
    let trouble = pausing_trouble(observed, now).or_else(|| trouble_as_told(observed));
    let accepted = accepted_before(context, observed, connection, now).await?;
    if pausing_trouble(observed, now).is_some() {
        context.keeps(observed, accepted.is_some());
    }
    // It is for the registry that it was delivered for.
    let site = accepted.as_ref().map(|accepted| accepted.site.clone());
    let connection = Connection { site: site.or_else(|| connection.site.clone()), ..connection.clone() };
    let outcome = keep(context, observed, &connection, accepted, now).await?;
    Ok(Outcome { problem: trouble, judged: vec![], ..outcome })
}

/// What the last pass had in its way.
fn trouble_as_told(observed: &Observed) -> Option<Problem> {
    let told = observed.status.last_error.as_ref().map(Problem::from_last_error);
    settled_problem(&observed.status).or(told.filter(|_| unsettled(&observed.status)))
}

async fn accepted_before(
    context: &Context,
    observed: &mut Observed,
    connection: &Connection,
    now: Timestamp,
) -> Result<Option<Accepted>, Error> {
    match connection.provider.way() {
        Way::Given(provider) => {
            let Some(site) = &connection.site else { return Ok(None) };
            match resolve(context, connection, (provider, site), observed, now).await {
                Ok(resolved) => Ok(known(context, connection, observed, &resolved)),
                Err(provider::Error::Api(error)) => Err(Error::Read(ApiFailure::from(error))),
                // The watch tells of what changed, and what is in the way is told already.
                Err(provider::Error::Unusable { .. } | provider::Error::Denied(_) | provider::Error::Provider(_)) => {
                    Ok(None)
                }
            }
        }
        Way::Issued(provider) => match &connection.api {
            Some(api) => renew::known(context, observed, connection, (provider, api), now).await,
            // Such a provider has an API.
            None => Ok(None),
        },
    }
}
