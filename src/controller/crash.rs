//! A panic in a pass ends that pass and nothing else.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use futures::FutureExt;
use kube::runtime::controller::Action;

use super::{
    Context, error::Error, observe::observe, publish::publish, report::Outcome, stored::Stored, tally,
    validate::validate,
};
use crate::{api::Reason, problem::Problem};

/// A pass whose panic is an [`Error::Panicked`].
///
/// What it leaves behind can be worked with: a pass shares nothing that is changed in more than one step, its locks are
/// taken over after a panic, and every write to the cluster has a precondition. The message of the panic is dropped, as it may
/// quote anything; `telemetry` logs its place.
pub async fn contained(pass: impl Future<Output = Result<Action, Error>>) -> Result<Action, Error> {
    AssertUnwindSafe(pass).catch_unwind().await.unwrap_or(Err(Error::Panicked))
}

/// Reports that a pass over this object panicked. It is tried again after a long pause, or at once when something changes.
///
/// # Errors
/// [`Error`] if the API server did not take the status, or if there is nothing to report it in.
pub async fn report(object: &Stored, context: &Context) -> Result<Action, Error> {
    // The pass may have written a status before.
    let newest = context.index.connection(&object.reference());
    let Some(connection) = newest.as_ref().and_then(|newest| newest.readable()) else { return Err(Error::Panicked) };
    let now = context.clock.now();
    let mut observed = observe(context, Arc::clone(connection));
    let problem = Problem::new(Reason::InternalError, "a fault in regcred ended the work on this connection").hint(
        "report it with the operator's log of that time, which tells the place of the panic; it is tried again every few \
         minutes, and at once when the connection or its Secret changes",
    );
    context.metrics.met(problem.reason);
    let connection = catch_unwind(AssertUnwindSafe(|| validate(&observed.object, context.allow_loopback)));
    let connection = connection.ok().and_then(Result::ok);
    if let Some(connection) = &connection {
        observed.narrow_to(connection);
    }
    context.failed(&observed, None, problem.clone(), &problem, now);
    observed.memory = context.memories.recall(observed.uid());
    let outcome = match &connection {
        // The same that the next pass will say while it pauses.
        Some(connection) => Outcome::nothing_due(connection, &observed, now),
        None => Outcome::unchanged(Some(problem), tally::as_told(&observed)),
    };
    publish(context, &mut observed, connection.as_ref(), &outcome, now).await?;
    let again = observed.memory.attempt.as_ref().map(|attempt| context.clock.wait_until(attempt.not_before));
    Ok(again.map_or_else(Action::await_change, Action::requeue))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_and_other_results_stay_what_they_are() {
        let panics = async { [Ok(Action::await_change())].into_iter().nth(1).unwrap() };
        assert!(matches!(contained(panics).await, Err(Error::Panicked)));
        assert!(matches!(contained(async { Err(Error::Contended) }).await, Err(Error::Contended)));
        assert_eq!(contained(async { Ok(Action::await_change()) }).await.unwrap(), Action::await_change());
    }
}
