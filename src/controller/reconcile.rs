//! The recipe: every step in the order of the data flow. What a step does stands in the file of its name.
//!
//! ```text
//! watch ─▶ connection ─▶ observe ─▶ validate ─▶ due ─▶ resolve ─▶ verify ─▶ plan ─▶ apply ─▶ report ─▶ retire ─▶ mark ─▶ wake
//! ```
//!
//! A problem of the user's ends the recipe early and is reported. An error of the API server ends it without a report
//! (there would be nowhere to write it) and is tried again. Dropping this future at any await loses nothing but a credential
//! between the provider's answer and its record: every write has a precondition, and the next pass begins with what the cluster
//! then shows.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::runtime::controller::Action;
use tokio::time::Instant;

use super::{
    Context, PASS_LIMIT,
    api_failure::ApiFailure,
    deliver::{deliver, delivery, keep},
    due::{Cause, Due, due, is_outstanding, pausing_trouble},
    error::Error,
    keep::keep_in_place,
    mark::bring_policy,
    observe::{Observed, observe},
    publish::{publish, publish_suspended},
    renew,
    report::Outcome,
    resolve::resolve,
    sweep::retire::retire,
    tally,
    validate::{Connection, Site, validate},
    verify::{Verdict, verify},
    wake::{next_wake, wake_at_rest},
    withdraw,
};
use crate::{
    api::{
        Declared, Reason,
        provider::{GivenBy, Way},
        status::{LastTest, ObservedInput},
    },
    provider,
};

/// How soon a connection comes back to a registry before which too many wait, at the earliest.
const CROWDED: Duration = Duration::from_millis(500);

/// So much of a pass is left for what is not bounded by itself.
const REPORT: Duration = Duration::from_secs(5);

/// So long a credential waits until Pods would name its Secret.
const LINKS_FIRST: Duration = Duration::from_secs(5);

/// When a removal is tried again about which the API server gave no decision.
const UNDECIDED: Duration = Duration::from_secs(30);

/// Brings one connection to where its spec wants it, as far as that is possible now.
///
/// # Errors
/// [`Error`] if the API server did not answer as expected; trying again may help.
pub async fn reconcile(object: Arc<Declared>, context: Arc<Context>) -> Result<Action, Error> {
    match bring_home(object, context).await {
        // Whoever took its place is shown by the watch.
        Err(Error::Gone) => Ok(Action::await_change()),
        result => result,
    }
}

async fn bring_home(object: Arc<Declared>, context: Arc<Context>) -> Result<Action, Error> {
    if object.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let (now, latest) = (context.clock.now(), Instant::now() + PASS_LIMIT - REPORT);
    let mut observed = observe(&context, object);
    if observed.object.spec.suspend.unwrap_or(false) {
        publish_suspended(&context, &mut observed, now).await?;
        return Ok(match bring_policy(&context, &observed, latest).await? {
            true => Action::requeue(Duration::ZERO),
            false => wake_at_rest(&context, &observed, true),
        });
    }
    let mut connection = match validate(&observed.object, context.allow_loopback) {
        Ok(connection) => connection,
        Err(problem) => {
            acted_on_requests(&context, &mut observed);
            if observed.is_edited() {
                context.metrics.met(problem.reason);
            }
            let outcome = Outcome::unchanged(Some(problem), tally::as_told(&observed));
            publish(&context, &mut observed, None, &outcome, now).await?;
            return Ok(match bring_policy(&context, &observed, latest).await? {
                true => Action::requeue(Duration::ZERO),
                false => wake_at_rest(&context, &observed, false),
            });
        }
    };
    observed.narrow_to(&connection);
    // Whoever is not to have the Secret any more does not wait until all others have the next one.
    if !observed.targets.dropped().is_empty() {
        // Nor does who is to have it wait until it is gone everywhere else.
        observed.is_hurried = retire(&context, &observed, &connection, latest).await?;
    }

    let come_back = || Action::requeue(CROWDED.mul_f64(1.0 + fastrand::f64()));
    let Some(outcome) = pass(&context, &mut observed, &connection, now).await? else {
        return Ok(come_back());
    };
    // Where the registry is that a credential was issued for, this pass may have found out.
    connection.site = connection.site_told_by(&observed.object).or(connection.site);
    // What is revoked later counts from when this pass has come to its end.
    let now = if connection.api.is_some() { context.clock.now() } else { now };
    publish(&context, &mut observed, Some(&connection), &outcome, now).await?;
    let is_cut = retire(&context, &observed, &connection, latest).await?;
    if outcome.is_unfinished || is_cut || observed.is_hurried {
        return Ok(Action::requeue(Duration::ZERO));
    }
    if outcome.is_crowded {
        return Ok(come_back());
    }
    renew::revoke::revoke_replaced(&context, &mut observed, &connection, &outcome.tally.delivery).await?;
    if bring_policy(&context, &observed, latest).await? {
        return Ok(Action::requeue(Duration::ZERO));
    }
    Ok(next_wake(&context, &connection, &observed, &outcome))
}

/// One pass over a connection that is valid and not suspended; none if it had better come back a little later.
async fn pass(
    context: &Context,
    observed: &mut Observed,
    connection: &Connection,
    now: Timestamp,
) -> Result<Option<Outcome>, Error> {
    let started = context.began();
    let due = match connection.provider.way() {
        Way::Given(_) => due(connection, observed, started, now),
        Way::Issued(_) => renew::due::due(connection, observed, context.revocation_grace, started, now),
    };
    tracing::debug!(?due, "what there is to do");
    // What is to be revoked is revoked once the status is written.
    if matches!(due, Due::Nothing | Due::Revoke) {
        if pausing_trouble(observed, now).is_none() {
            // Its cause is gone by other means; it must not call for another look.
            context.memories.update(observed.uid(), |memory| memory.attempt = None);
        }
        return Ok(Some(Outcome::nothing_due(connection, observed, now)));
    }
    if due == Due::Keep {
        return keep_in_place(context, observed, connection, now).await.map(Some);
    }
    if is_crowded(context, observed, connection, due) {
        // One slow registry must not keep the workers from all others; nor does anything need to be read before its turn, but for a
        // namespace that waits for what the others have.
        if !is_kept(due) || observed.status.credential.is_none() || !is_outstanding(connection, observed, now) {
            return Ok(None);
        }
        let outcome = keep_in_place(context, observed, connection, now).await?;
        return Ok(Some(Outcome { is_crowded: true, ..outcome }));
    }
    if matches!(due, Due::Test(_) | Due::Renew(_)) {
        // A Pod that is created meanwhile names the Secret already, and waits for it. Links wait for nobody for long.
        let made = context.index.links_made(&connection.reference);
        let _ = tokio::time::timeout(LINKS_FIRST, made).await;
    }
    match connection.provider.way() {
        Way::Given(provider) => match connection.site.as_ref() {
            Some(site) => judge_and_deliver(context, observed, connection, (provider, site), due, now).await,
            // Such a provider names its registry in the spec.
            None => Ok(Some(Outcome::nothing_due(connection, observed, now))),
        },
        Way::Issued(provider) => match &connection.api {
            Some(api) => renew::renew(context, observed, connection, (provider, api), due, now).await,
            // Such a provider has an API.
            None => Ok(Some(Outcome::nothing_due(connection, observed, now))),
        },
    }
}

/// Whether a connection would only wait for its turn at the registry.
fn is_crowded(context: &Context, observed: &Observed, connection: &Connection, due: Due) -> bool {
    let is_asked = matches!(due, Due::Test(_) | Due::Renew(_)) && connection.test.is_some();
    is_asked
        && (connection.site.as_ref().is_some_and(|site| site.is_crowded(&context.http))
            || observed.memory.crowded.is_some_and(|login| context.flights.is_crowded(login)))
}

/// Whether what was delivered is still what is wanted, though it is to be judged again.
fn is_kept(due: Due) -> bool {
    matches!(due, Due::Test(Cause::NoVerdict | Cause::TimePassed) | Due::Renew(Cause::NotIssued | Cause::TimePassed))
}

/// Obtains the credential, judges it, and delivers it if it may be. None if it had better come back a little later.
async fn judge_and_deliver(
    context: &Context,
    observed: &mut Observed,
    connection: &Connection,
    (provider, site): (GivenBy<'_>, &Site),
    due: Due,
    now: Timestamp,
) -> Result<Option<Outcome>, Error> {
    let resolved = match resolve(context, connection, (provider, site), observed, now).await {
        Ok(resolved) => resolved,
        Err(provider::Error::Unusable { problem, inputs }) => {
            acted_on_requests(context, observed);
            context.metrics.met(problem.reason);
            observed.saw(&context.index, &inputs, problem.reason);
            // What was not read any more counts too, or it would look new the next time.
            let inputs: Vec<ObservedInput> = match &observed.authority {
                Some(authority) if inputs.len() < 2 => inputs.into_iter().chain(authority.input()).collect(),
                Some(_) | None => inputs,
            };
            context.memories.update(observed.uid(), |memory| {
                (memory.judged, memory.attempt) = (inputs.clone(), None);
            });
            let outcome = Outcome::unchanged(Some(*problem), delivery(connection, observed, now));
            return Ok(Some(Outcome { judged: inputs, ..outcome }));
        }
        Err(provider::Error::Denied(problem) | provider::Error::Provider(problem)) => {
            acted_on_requests(context, observed);
            context.metrics.met(problem.reason);
            context.failed(observed, None, (*problem).clone(), &problem, now);
            return Ok(Some(Outcome::unchanged(Some(*problem), delivery(connection, observed, now))));
        }
        Err(provider::Error::Api(error)) => return Err(Error::Read(ApiFailure::from(error))),
    };
    let inputs = resolved.inputs.clone();
    observed.saw(&context.index, &inputs, Reason::Progressing);

    let Some(verified) = verify(context, connection, observed, resolved, due, now).await else {
        return Ok(None);
    };
    // From here on, for a pass that is cut short must not ask for the same login again.
    acted_on_requests(context, observed);
    let mut keeps = false;
    let outcome = match verified.verdict {
        Verdict::Accepted(accepted) => {
            context.memories.update(observed.uid(), |memory| memory.attempt = None);
            return deliver(context, observed, connection, accepted, verified.test, now).await.map(Some);
        }
        Verdict::Rejected(problem, refused) => {
            let last = verified.test.as_ref().or(observed.status.last_test.as_ref());
            let is_any_left = withdraw::is_due(connection, last)
                && withdraw::withdraw(context, observed, connection, site, &refused).await?;
            let outcome = Outcome::unchanged(Some(problem), delivery(connection, observed, now));
            let outcome = Outcome { again: is_any_left.then_some(UNDECIDED), ..outcome };
            judged(context, observed, outcome, verified.test, &inputs)
        }
        Verdict::Unfit(problem, accepted_before) => {
            keeps = accepted_before.is_some();
            let outcome = keep(context, observed, connection, accepted_before, now).await?;
            judged(context, observed, Outcome { problem: Some(problem), ..outcome }, verified.test, &inputs)
        }
        Verdict::Inconclusive(problem, accepted_before) => {
            keeps = accepted_before.is_some();
            // If nothing was asked, the pause goes on.
            context.keeps(observed, keeps);
            let outcome = keep(context, observed, connection, accepted_before, now).await?;
            Outcome { problem: Some(problem), judged: vec![], ..outcome }
        }
    };
    if let (Some(doubt), Some(problem)) = (&verified.doubt, &outcome.problem) {
        context.failed(observed, verified.unanswered, problem.clone(), doubt, now);
        context.keeps(observed, keeps);
    }
    Ok(Some(outcome))
}

/// Takes note that what the user asks for was done, as far as it can be.
fn acted_on_requests(context: &Context, observed: &mut Observed) {
    if observed.requests.is_pending() {
        let handled = observed.requests.acted_on();
        context.memories.update(observed.uid(), |memory| memory.handled = handled);
    }
}

/// The outcome of a pass that judged the credential for good, and found it wanting.
fn judged(
    context: &Context,
    observed: &Observed,
    outcome: Outcome,
    test: Option<LastTest>,
    inputs: &[ObservedInput],
) -> Outcome {
    context.memories.update(observed.uid(), |memory| {
        (memory.judged, memory.attempt) = (inputs.to_vec(), None);
    });
    let is_new = test.is_some() || observed.is_edited();
    Outcome { judged: if is_new { inputs.to_vec() } else { vec![] }, test, ..outcome }
}
