//! Brings the target to a credential that may be delivered: `plan` and `apply`, until the cluster is as planned. IO.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tokio::time::Instant;

use super::{
    Context,
    apply::{ANSWER, Applied, Denied, Writes},
    error::Error,
    index::NamespaceId,
    memory::{Denial, DenialBasis},
    observe::Observed,
    pace::LONGEST,
    plan::{Turn, plan},
    policy::{self, Delivery},
    publish::publish,
    report::Outcome,
    revision::revision,
    sighting::SecretState,
    tally::{Tally, tally},
    validate::Connection,
    verify::Accepted,
};
use crate::{
    api::{
        Reason,
        status::{DeliveredCredential, LastTest},
    },
    clock::whole_seconds,
    domain::credential::Credential,
    problem::{MAX_MESSAGE, Problem, field, shortened},
};

/// Pauses after denied writes end every so many seconds.
const PAUSES_END: i64 = 5;

/// How often in one pass a target that turns out to be other than was thought is planned anew.
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
        None => Ok(Outcome::unchanged(None, delivery(connection, observed, now))),
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
    let judged = if is_worth_recording { accepted.inputs.clone() } else { vec![] };
    let told = |tally: Tally| Outcome {
        test: test.clone(),
        judged: judged.clone(),
        credential: Some(credential.clone()),
        ..Outcome::unchanged(None, tally)
    };
    // What is written now changes how many hold the Secret, and with that how much a removal takes.
    if is_new || observed.is_edited() && observed.targets.blocked() > 0 {
        let mut tally = tally(connection, observed, Some(&credential), now);
        if is_new {
            // If the answer is lost, only the status can tell whether this revision is on record.
            context.memories.update(observed.uid(), |memory| memory.accepted = None);
            // Nothing holds it yet, whatever nobody lets us write.
            tally.delivery = Delivery::Outstanding;
        }
        publish(context, observed, Some(connection), &told(tally), now).await?;
    }
    context.memories.update(observed.uid(), |memory| {
        memory.judged.clone_from(&accepted.inputs);
        memory.accepted = Some(accepted.rendered);
    });
    let is_unfinished = !write_all(context, observed, connection, &accepted, &credential, now).await?;
    let outcome = Outcome { is_unfinished, ..told(tally(connection, observed, Some(&credential), now)) };
    if let Delivery::Impossible(problem) | Delivery::Partial(problem) = &outcome.tally.delivery {
        context.metrics.met(problem.reason);
    }
    Ok(outcome)
}

/// Writes the credential into all targets that need it; false if there is more to do than one pass should. New namespaces are
/// served meanwhile, before what only has to be renewed.
async fn write_all(
    context: &Context,
    observed: &mut Observed,
    connection: &Connection,
    accepted: &Accepted,
    credential: &DeliveredCredential,
    now: Timestamp,
) -> Result<bool, Error> {
    let (begun, dropped) = (Instant::now(), observed.targets.dropped().clone());
    let revision = Some(credential.revision.as_str());
    let mut writes = Writes::new(&context.client, &context.metrics, &context.pace);
    // How often each was other than was thought, and what it is if only the watch may say so.
    let mut surprises: HashMap<Arc<str>, usize> = HashMap::new();
    let mut absent: BTreeMap<Arc<str>, SecretState> = BTreeMap::new();
    // Nothing more is begun, and what is under way has a moment to come to its end: the next pass need not find out about it.
    let mut is_ending = false;
    loop {
        let applied = {
            let was_in_trouble = |namespace: &str| observed.memory.denials.contains_key(namespace);
            let turn = |namespace: &str, state: &SecretState| match () {
                () if is_ending => Turn::Rest,
                () if writes.are_under_way_in(namespace) => Turn::Rest,
                () if surprises.get(namespace).is_some_and(|count| *count >= MAX_PLANS) => Turn::Rest,
                () if observed.denial(namespace, state, revision, now).is_some() => Turn::Rest,
                () if was_in_trouble(namespace) => Turn::Last,
                () => Turn::Soon,
            };
            let plan = plan(connection, &accepted.proven, credential, &observed.targets, turn);
            let as_of = observed.targets.as_of();
            let has_news = || context.index.news() != as_of;
            writes.slice(plan, observed.targets.len(), was_in_trouble, has_news).await
        };
        for (namespace, state) in applied.known() {
            context.index.learn(&observed.targets.key(namespace), state.clone());
            observed.targets.learn(namespace, state.clone());
            match state {
                SecretState::Absent => absent.insert(Arc::clone(namespace), state.clone()),
                SecretState::Present(_) | SecretState::Unknown => absent.remove(namespace),
            };
        }
        for namespace in applied.surprised() {
            *surprises.entry(Arc::clone(namespace)).or_default() += 1;
        }
        note(context, observed, credential, accepted, &applied);
        let is_done = !applied.is_cut() && applied.surprised().is_empty();
        if let Some(failure) = applied.into_failure() {
            return Err(Error::Write(failure));
        }
        if is_ending {
            return Ok(false);
        }
        if is_done {
            break;
        }
        // Whoever waits long for an answer does not end the pass, in which others are served meanwhile; but it must end some time.
        let is_long = match writes.stragglers() {
            0 => begun.elapsed() >= LONGEST,
            _ => begun.elapsed() >= ANSWER + LONGEST / 2,
        };
        if is_long || observed.is_hurried || !is_still_wanted(context, observed) {
            is_ending = true;
            continue;
        }
        observed.targets = context.index.targets(&observed.object);
        // Those that are not served any more come before what is outdated, too.
        is_ending = !observed.targets.dropped().is_subset(&dropped);
        for (namespace, state) in &absent {
            observed.targets.learn(namespace, state.clone());
        }
    }
    let contended: Vec<Arc<str>> =
        surprises.into_iter().filter(|(_, count)| *count >= MAX_PLANS).map(|(namespace, _)| namespace).collect();
    if !contended.is_empty() && contended.len() == observed.targets.len() {
        return Err(Error::Contended);
    }
    // One that is fought over must not keep the others waiting.
    leave(context, observed, &contended);
    Ok(true)
}

/// Takes note that somebody else writes these all the time, whatever they are by now.
fn leave(context: &Context, observed: &mut Observed, namespaces: &[Arc<str>]) {
    if namespaces.is_empty() {
        return;
    }
    let now = context.clock.now();
    let mut denials = BTreeMap::clone(&observed.memory.denials);
    for namespace in namespaces {
        let message = format!("Secret {} kept changing while it was written", observed.targets.key(namespace));
        let problem = Problem::new(Reason::TargetConflict, message)
            .at(field::SECRET_NAME)
            .hint("find out who else writes it, as its managedFields say; it is tried again");
        let basis = DenialBasis { target: None, ..observed.denial_basis(None, &SecretState::Unknown) };
        let in_namespace = context.index.namespace(namespace);
        let count = denials.get(namespace).map_or(0, |before| before.count.saturating_add(1));
        denials.insert(
            Arc::clone(namespace),
            denial(problem, Some(Reason::UpstreamError), count, (basis, in_namespace), now),
        );
    }
    observed.memory.denials = Arc::new(denials);
    let denials = Arc::clone(&observed.memory.denials);
    context.memories.update(observed.uid(), |memory| memory.denials = denials);
}

/// Whether a pass may go on writing: what it works on is still what there is.
fn is_still_wanted(context: &Context, observed: &Observed) -> bool {
    let newest = context.index.connection(&observed.object.reference());
    let is_same = newest.as_deref().and_then(|newest| newest.readable()).is_some_and(|newest| {
        let (newest, known) = (&newest.metadata, &observed.object.metadata);
        (&newest.uid, newest.generation, &newest.annotations) == (&known.uid, known.generation, &known.annotations)
            && newest.deletion_timestamp.is_none()
    });
    is_same && context.index.secret(&observed.source_key).sighting() == observed.source.sighting()
}

/// Takes note of what the API server decided against, and forgets what it decided for.
fn note(
    context: &Context,
    observed: &mut Observed,
    credential: &DeliveredCredential,
    accepted: &Accepted,
    applied: &Applied,
) {
    let now = context.clock.now();
    let is_forgotten = |namespace: &&Arc<str>| observed.memory.denials.contains_key(*namespace);
    let forgotten: HashSet<&Arc<str>> = applied.known().map(|(namespace, _)| namespace).filter(is_forgotten).collect();
    if applied.denied().is_empty() && applied.undecided().is_empty() && forgotten.is_empty() {
        return;
    }
    let mut denials = BTreeMap::clone(&observed.memory.denials);
    denials.retain(|namespace, _| observed.targets.state(namespace).is_some() && !forgotten.contains(namespace));
    let rest = applied.denied().iter().map(|denied| (denied, true));
    for (denied, rests) in rest.chain(applied.undecided().iter().map(|denied| (denied, false))) {
        let problem = told(denied, accepted.proven.credential());
        let basis = observed.denial_basis(Some(&credential.revision), &denied.known);
        let in_namespace = context.index.namespace(&denied.namespace);
        let count = denials.get(&denied.namespace).map_or(0, |before| before.count.saturating_add(1));
        let denial = denial(problem, denied.pause_like, count, (basis, in_namespace), now);
        // What nothing was decided about does not rest by itself: the pass comes to nothing, and the next one begins with others.
        let not_before = if rests { denial.not_before } else { now };
        denials.insert(Arc::clone(&denied.namespace), Denial { not_before, ..denial });
    }
    observed.memory.denials = Arc::new(denials);
    let denials = Arc::clone(&observed.memory.denials);
    context.memories.update(observed.uid(), |memory| memory.denials = denials);
}

fn denial(
    problem: Problem,
    pause_like: Option<Reason>,
    count: u32,
    (basis, in_namespace): (DenialBasis, Option<NamespaceId>),
    now: Timestamp,
) -> Denial {
    let pause = match pause_like {
        Some(reason) => policy::retry(&Problem::new(reason, ""), count, fastrand::f64()),
        None => policy::retry(&problem, count, fastrand::f64()),
    };
    let pause =
        pause.map_or(SignedDuration::MAX, |pause| SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX));
    let not_before = together(now.saturating_add(pause).unwrap_or(Timestamp::MAX));
    Denial { count, since: now, not_before, basis, in_namespace, is_decided: pause_like.is_none(), problem }
}

/// The end of a pause, put off a little so that many end at once: each of them is a pass.
fn together(end: Timestamp) -> Timestamp {
    let late = end.as_second().rem_euclid(PAUSES_END);
    end.checked_add(SignedDuration::from_secs(PAUSES_END - late)).unwrap_or(end)
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

/// How the targets stand to the credential the status names.
pub(super) fn delivery(connection: &Connection, observed: &Observed, now: Timestamp) -> Tally {
    tally(connection, observed, observed.status.credential.as_ref(), now)
}
