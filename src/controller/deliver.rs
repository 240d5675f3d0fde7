//! Brings the target to a credential that may be delivered: `plan` and `apply`, until the cluster is as planned. IO.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    Context,
    apply::{Denied, apply},
    error::Error,
    memory::Trouble,
    observe::Observed,
    plan::{plan, standing},
    policy::Delivery,
    publish::publish,
    report::Outcome,
    revision::revision,
    validate::Connection,
    verify::Accepted,
};
use crate::{
    api::status::{DeliveredCredential, LastTest},
    clock::whole_seconds,
    domain::credential::Credential,
    problem::{MAX_MESSAGE, Problem, shortened},
};

/// How often a pass plans anew when the cluster turns out to be other than was thought.
const MAX_PLANS: usize = 3;

/// Keeps in place what was delivered before, if it may be.
///
/// # Errors
/// As for [`deliver`].
pub(super) async fn keep(
    context: &Context,
    observed: &mut Observed,
    connection: &Connection,
    accepted_before: Option<Accepted>,
    now: Timestamp,
) -> Result<Outcome, Error> {
    match accepted_before {
        Some(accepted) => deliver(context, observed, connection, accepted, None, now).await,
        None => Ok(Outcome::unchanged(None, delivery(connection, observed))),
    }
}

/// Brings the target to an accepted credential. A new revision is recorded in the status before any target carries it,
/// so that a crash in between does not lead to yet another one.
///
/// # Errors
/// [`Error`] if the API server did not answer as expected, or if the target kept changing; trying again may help.
pub(super) async fn deliver(
    context: &Context,
    observed: &mut Observed,
    connection: &Connection,
    accepted: Accepted,
    test: Option<LastTest>,
    now: Timestamp,
) -> Result<Outcome, Error> {
    let expires_at = accepted.expires_at.map(|time| Time(whole_seconds(time)));
    let credential = match &accepted.issued {
        Some(issued) => issued.clone(),
        None => {
            let revision = revision(observed, &accepted, now);
            DeliveredCredential { revision, id: None, issued_at: None, expires_at }
        }
    };
    let is_new = observed.status.credential.as_ref() != Some(&credential);
    // A source that was only touched is not worth a write; the next verdict records it. A new revision without what it was
    // read from would look outdated to the next process.
    let is_worth_recording = is_new || test.is_some() || observed.is_edited() || observed.status.last_error.is_some();
    let mut outcome = Outcome {
        problem: None,
        test,
        judged: if is_worth_recording { accepted.inputs.clone() } else { vec![] },
        credential: Some(credential.clone()),
        delivery: Delivery::Outstanding,
        is_refused: false,
    };
    if is_new {
        // If the answer is lost, only the status can tell whether this revision is on record.
        context.memories.update(observed.uid(), |memory| memory.accepted = None);
        publish(context, observed, Some(connection), &outcome, now).await?;
    }
    context.memories.update(observed.uid(), |memory| {
        memory.judged.clone_from(&accepted.inputs);
        memory.accepted = Some(accepted.rendered);
        memory.attempt = None;
    });

    for _ in 0..MAX_PLANS {
        let plan = plan(connection, &accepted.site, &accepted.proven, &credential, &observed.target);
        let applied = apply(&context.client, &context.metrics, plan).await.map_err(Error::Write)?;
        for (key, state) in applied.known() {
            context.index.learn(key, state.clone());
            observed.target = state.clone();
        }
        if let Some(denied) = applied.denied().first() {
            let problem = told(denied, accepted.proven.credential());
            context.metrics.met(problem.reason);
            let cause = denied.pause_like.map_or_else(|| problem.clone(), |reason| Problem::new(reason, ""));
            context.failed(observed, None, Trouble::Delivery(problem.clone()), &cause, now);
            outcome.delivery = Delivery::Impossible(problem);
            return Ok(outcome);
        }
        if !applied.is_surprised() {
            outcome.delivery = Delivery::from(standing(connection, &observed.target, Some(&credential)));
            if let Delivery::Impossible(problem) = &outcome.delivery {
                context.metrics.met(problem.reason);
            }
            return Ok(outcome);
        }
    }
    Err(Error::Contended)
}

/// What to tell of a denied write: the API server's words, unless they contain the credential, as those of a policy may
/// that quotes what it denies.
fn told(denied: &Denied, credential: &Credential) -> Problem {
    let words = match credential.appears_in(&denied.words) {
        true => "(its words contain the credential and are withheld)",
        false => denied.words.as_str(),
    };
    let message = shortened(format!("{}: {words}", denied.problem.message), MAX_MESSAGE);
    Problem { message, ..denied.problem.clone() }
}

/// How the target stands to the credential the status names.
pub(super) fn delivery(connection: &Connection, observed: &Observed) -> Delivery {
    Delivery::from(standing(connection, &observed.target, observed.status.credential.as_ref()))
}
