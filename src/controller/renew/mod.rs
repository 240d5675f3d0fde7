//! The refresh of a connection whose provider issues credentials.
//!
//! ```text
//! ledger ─▶ want ─▶ mint ─▶ judge ─▶ promote ─▶ deliver ─▶ … ─▶ revoke
//! ```
//!
//! Everything is written into the ledger before anything rests on it, and targets are rendered from its current credential
//! only. So a pass may end anywhere: the next one reads the ledger and goes on. What was replaced is revoked later, by
//! [`revoke`].

mod access;
mod book;
pub mod due;
mod judge;
mod mint;
pub mod orphan;
pub mod revoke;
#[cfg(test)]
mod simulation;
mod strays;
mod tell;
mod want;

use jiff::Timestamp;

use super::{
    Context,
    conclude::refused_before,
    deliver::{deliver, delivery},
    due::{Cause, Due, is_outstanding},
    error::Error,
    observe::Observed,
    report::Outcome,
    validate::{Connection, Site},
    verify::Accepted,
};
use crate::{
    api::{
        Reason,
        provider::IssuedBy,
        reason::Class,
        status::{LastTest, ObservedInput},
    },
    domain::ledger::Entry,
    problem::Problem,
    provider::{access::Access, endpoint::Endpoint, issuing},
};
use book::{Book, Obstacle, Owner, Saved};
use judge::Judged;
use mint::{Buyer, mint};
use want::{Want, want};

/// How many steps one pass may take: the current credential is refused, another is issued, and judged.
const MAX_STEPS: usize = 4;

/// What a pass works with.
struct Pass<'a> {
    context: &'a Context,
    connection: &'a Connection,
    provider: IssuedBy<'a>,
    api: &'a issuing::Api,
    due: Due,
    now: Timestamp,
    /// What was read for it, or before.
    inputs: Vec<ObservedInput>,
}

/// Brings the target to a credential that is proven and not about to expire, with a new one where one is wanted. None if the
/// connection had better come back a little later.
///
/// # Errors
/// [`Error`] if the API server did not answer as expected; trying again may help.
pub async fn renew(
    context: &Context,
    observed: &mut Observed,
    connection: &Connection,
    (provider, api): (IssuedBy<'_>, &issuing::Api),
    due: Due,
    now: Timestamp,
) -> Result<Option<Outcome>, Error> {
    let inputs = inputs(observed);
    let mut pass = Pass { context, connection, provider, api, due, now, inputs };
    let mut book = match Book::open(context, owner(connection)).await {
        Ok(book) => book,
        Err(Obstacle::Told(problem)) => {
            acted_on_requests(context, observed);
            return Ok(Some(pass.wait(observed, problem)));
        }
        Err(Obstacle::Cut(error)) => return Err(error),
    };
    looked(context, observed, &book);
    let handled = observed.memory.handled.clone();
    if tell::loss(context, observed, &book, now).await && issuing::ends_by_access(provider) {
        // The provider lists what the ledger held.
        book.ledger.stray_since = Some(now);
    }
    let outcome = pass.steps(observed, &mut book).await;
    looked(context, observed, &book);
    if outcome.is_err() {
        // It is not known what came of it, so what brought this pass about is still to be done. The ledger knows what was.
        context.memories.update(observed.uid(), |memory| (memory.handled, memory.ledger) = (handled, None));
    }
    outcome
}

/// What the ledger knows to be delivered and still may be. Nobody is asked, and nothing is written.
///
/// # Errors
/// [`Error`] if the API server did not answer as expected; trying again may help.
pub async fn known(
    context: &Context,
    observed: &mut Observed,
    connection: &Connection,
    (provider, api): (IssuedBy<'_>, &issuing::Api),
    now: Timestamp,
) -> Result<Option<Accepted>, Error> {
    let book = match Book::open(context, owner(connection)).await {
        Ok(book) => book,
        Err(Obstacle::Told(_)) => return Ok(None),
        Err(Obstacle::Cut(error)) => return Err(error),
    };
    looked(context, observed, &book);
    let pass = Pass { context, connection, provider, api, due: Due::Keep, now, inputs: inputs(observed) };
    Ok(book.ledger.current.as_ref().filter(|current| pass.may_stay(current)).and_then(|current| pass.accepted(current)))
}

/// What was read for what is delivered.
fn inputs(observed: &Observed) -> Vec<ObservedInput> {
    match observed.memory.judged.is_empty() {
        true => observed.status.observed_inputs.clone(),
        false => observed.memory.judged.clone(),
    }
}

fn owner(connection: &Connection) -> Owner {
    Owner {
        reference: connection.reference.clone(),
        created: Some(connection.created),
        deletion_policy: Some(connection.deletion_policy),
    }
}

/// Takes note of the form in which the ledger was seen or written last.
fn looked(context: &Context, observed: &mut Observed, book: &Book) {
    observed.ledger = book.state(context);
    let sighting = observed.ledger.sighting();
    observed.memory.ledger = Some(sighting.clone());
    context.memories.update(observed.uid(), |memory| memory.ledger = Some(sighting));
}

impl Pass<'_> {
    async fn steps(&mut self, observed: &mut Observed, book: &mut Book) -> Result<Option<Outcome>, Error> {
        let mut access: Option<Access> = None;
        let mut refusal = None;
        let mut same_access = None;
        if self.due == Due::Test(Cause::InputChanged) {
            match self.access(observed).await? {
                Ok(found) => {
                    same_access = Some(self.is_same(observed, &found, book.ledger.current.as_ref()));
                    access = Some(found);
                }
                Err(outcome) => return self.fall_back(observed, book, *outcome).await.map(Some),
            }
        } else if self.inputs.is_empty() {
            // Whoever issued what is in the ledger ended before the status told what was read for it; a change of that would
            // not be noticed.
            match self.access(observed).await? {
                Ok(found) => access = Some(found),
                Err(outcome) => return self.fall_back(observed, book, *outcome).await.map(Some),
            }
        }
        self.forget_ended(observed, book).await?;
        for _ in 0..MAX_STEPS {
            let wanted = (self.due, observed.requests.refresh());
            // What was issued in this pass is younger than the pass, which may have waited for answers.
            match want(
                self.connection,
                &book.ledger,
                wanted,
                same_access,
                self.context.began(),
                self.context.clock.now(),
            ) {
                Want::Issue => {
                    let found = match access.take() {
                        Some(found) => found,
                        None => match self.access(observed).await? {
                            Ok(found) => found,
                            Err(outcome) => return self.fall_back(observed, book, *outcome).await.map(Some),
                        },
                    };
                    let issued = self.issue(observed, book, &found).await;
                    let is_open = matches!(&issued, Err(obstacle) if !obstacle.is_for_good());
                    self.context.memories.update(observed.uid(), |memory| memory.not_issued = is_open);
                    if !is_open {
                        self.used(observed, &found);
                        acted_on_requests(self.context, observed);
                    }
                    if let Err(obstacle) = issued {
                        looked(self.context, observed, book);
                        let problem = match obstacle {
                            Obstacle::Told(problem) => problem,
                            Obstacle::Cut(error) => return Err(error),
                        };
                        let outcome = Outcome { test: refusal, ..self.refused(observed, problem) };
                        return self.fall_back(observed, book, outcome).await.map(Some);
                    }
                    same_access = None;
                    // That took a while.
                    self.now = self.context.clock.now();
                }
                Want::Candidate => return self.candidate(observed, book).await,
                // It may not be relied on any more, and none is wanted in its place.
                Want::Current | Want::Refusal if book.ledger.candidate.is_some() => {
                    book.ledger.reject(self.now);
                    if let Err(outcome) = self.save(observed, book).await? {
                        return Ok(Some(outcome));
                    }
                }
                Want::Refusal => {
                    acted_on_requests(self.context, observed);
                    let problem = refused_before(self.connection, observed);
                    return self.fall_back(observed, book, self.refused(observed, problem)).await.map(Some);
                }
                Want::Current => match self.current(observed, book).await? {
                    Judged::Refused(test) => refusal = test,
                    Judged::Done(outcome) => return Ok(outcome.map(|outcome| *outcome)),
                },
            }
        }
        Err(Error::Contended)
    }

    /// A candidate that was revoked before it was known to be written down comes to nothing, and nobody is told that it is refused.
    async fn forget_ended(&self, observed: &mut Observed, book: &mut Book) -> Result<(), Error> {
        let Some(ended) = &observed.memory.ended else { return Ok(()) };
        if book.ledger.candidate.as_ref().is_some_and(|candidate| candidate.revision == *ended) {
            book.ledger.reject(self.now);
            if self.save(observed, book).await?.is_err() {
                return Err(Error::Contended);
            }
        }
        self.context.memories.update(observed.uid(), |memory| memory.ended = None);
        Ok(())
    }

    async fn issue(&self, observed: &Observed, book: &mut Book, access: &Access) -> Result<(), Obstacle> {
        let Self { context, connection, provider, api, .. } = self;
        let request = observed.requests.refresh();
        let buyer = Buyer { connection, uid: observed.uid(), provider: *provider, api, access, request };
        mint(context, &buyer, book).await
    }

    /// What to tell where the provider did not issue a credential: refused for good until something changes or a while has
    /// passed, or to be tried again.
    fn refused(&self, observed: &Observed, problem: Problem) -> Outcome {
        match book::is_for_good(&problem) {
            true => {
                let Self { context, connection, inputs, .. } = self;
                context.metrics.met(problem.reason);
                context.memories.update(observed.uid(), |memory| {
                    memory.judged.clone_from(inputs);
                    memory.attempt = None;
                });
                let outcome = Outcome::unchanged(Some(problem), delivery(connection, observed, self.now));
                Outcome { judged: inputs.clone(), is_refused: true, ..outcome }
            }
            false => self.wait(observed, problem),
        }
    }

    /// What to tell of a problem that passes by itself, or by somebody's repair; it is tried again.
    fn wait(&self, observed: &Observed, problem: Problem) -> Outcome {
        self.context.metrics.met(problem.reason);
        self.pause(observed, &problem, None);
        Outcome::unchanged(Some(problem), delivery(self.connection, observed, self.now))
    }

    fn pause(&self, observed: &Observed, problem: &Problem, question: Option<crate::domain::credential::Fingerprint>) {
        let slow = Problem::new(Reason::Forbidden, "");
        // What no pause is known for may still pass: somebody else's decision.
        let cause = match problem.reason.class() {
            Class::Wait | Class::Ours => problem,
            Class::UsersTurn | Class::Missing | Class::Good | Class::UnderWay => &slow,
        };
        self.context.failed(observed, question, problem.clone(), cause, self.now);
        if problem.retry_after.is_none() {
            self.context.memories.update(observed.uid(), |memory| {
                if let Some(attempt) = &mut memory.attempt {
                    attempt.not_before = due::pressed(attempt.not_before, &observed.status, self.now);
                }
            });
        }
    }

    /// Keeps in place what is delivered, if it still may be.
    async fn fall_back(&self, observed: &mut Observed, book: &Book, outcome: Outcome) -> Result<Outcome, Error> {
        let Some(current) = book.ledger.current.as_ref().filter(|current| self.may_stay(current)) else {
            return Ok(outcome);
        };
        self.context.keeps(observed, true);
        if !is_outstanding(self.connection, observed, self.now) {
            return Ok(outcome);
        }
        let kept = self.deliver(observed, current, None).await?;
        Ok(Outcome { credential: kept.credential, tally: kept.tally, is_unfinished: kept.is_unfinished, ..outcome })
    }

    /// Brings the target to the current credential of the ledger.
    async fn deliver(
        &self,
        observed: &mut Observed,
        current: &Entry,
        test: Option<LastTest>,
    ) -> Result<Outcome, Error> {
        let Some(accepted) = self.accepted(current) else {
            let message = format!("the ledger names {} as a registry, which is none", current.registry);
            let problem = Problem::new(Reason::InternalError, message).hint(Reason::InternalError.fix());
            return Ok(self.wait(observed, problem));
        };
        let connection = Connection { site: Some(accepted.site.clone()), ..self.connection.clone() };
        deliver(self.context, observed, &connection, accepted, test, self.now).await
    }

    /// Whether the current credential may still be delivered, though nothing can be found out about it now.
    fn may_stay(&self, current: &Entry) -> bool {
        !current.refused && current.expires_at > self.now
    }

    /// The current credential, as it is delivered; none if the ledger names a registry that is none.
    fn accepted(&self, current: &Entry) -> Option<Accepted> {
        Some(Accepted::of_ledger(self.context, self.site(current)?, current, self.inputs.clone()))
    }

    /// The registry that a credential is for.
    fn site(&self, entry: &Entry) -> Option<Site> {
        let Endpoint { token_hosts, private, .. } = self.api.endpoint(&entry.registry)?;
        let endpoint = Endpoint::issued(&entry.registry, entry.plain_http, token_hosts, private).ok()?;
        Some(Site::new(endpoint, self.connection.prefix.as_ref()))
    }

    /// Writes the ledger.
    async fn save(&self, observed: &mut Observed, book: &mut Book) -> Result<Result<(), Outcome>, Error> {
        let saved = book.save(self.context).await;
        looked(self.context, observed, book);
        match saved {
            Ok(Saved::Now) => Ok(Ok(())),
            Ok(Saved::Conflict) => Err(Error::Contended),
            Err(Obstacle::Told(problem)) => {
                let outcome = self.wait(observed, problem);
                // What is delivered is in the ledger, whatever cannot be written into it.
                self.context.keeps(observed, true);
                Ok(Err(outcome))
            }
            Err(Obstacle::Cut(error)) => Err(error),
        }
    }
}

/// Takes note that what the user asks for was done, as far as it can be.
fn acted_on_requests(context: &Context, observed: &mut Observed) {
    if observed.requests.is_pending() {
        let handled = observed.requests.acted_on();
        context.memories.update(observed.uid(), |memory| memory.handled = handled);
    }
}
