//! Judges an issued credential with a login at the registry, and takes the consequences in the ledger: a candidate becomes
//! the current one, is kept to be judged again, or comes to nothing; the current one stays or is refused. IO.

use jiff::{SignedDuration, Timestamp};

use super::{
    Book, Pass, acted_on_requests,
    due::{LONGEST_PASS, delivered_since},
};
use crate::{
    api::{
        Reason,
        status::{LastTest, ObservedInput},
    },
    controller::{
        due::{Cause, Due, PAUSE_AFTER_FAILED_REPOSITORY, expires_at, settled_problem},
        error::Error,
        observe::Observed,
        report::Outcome,
        resolve::Resolved,
        revision,
        verify::{Verdict, Verified, issued, verify},
        withdraw,
    },
    domain::{credential::Fingerprint, ledger::Entry},
    problem::Problem,
    provider::secret_ref_field,
};

/// What came of a look at the current credential.
pub(super) enum Judged {
    /// The registry refused it: another one is wanted.
    Refused(Option<LastTest>),
    /// The pass is at its end. None if the connection had better come back a little later.
    Done(Option<Box<Outcome>>),
}

impl Pass<'_> {
    /// Judges the candidate, and delivers it if it may be.
    pub(super) async fn candidate(&self, observed: &mut Observed, book: &mut Book) -> Result<Option<Outcome>, Error> {
        let Some(candidate) = book.ledger.candidate.clone() else { return Err(Error::Contended) };
        // What refused it a moment ago is not taken for an answer once it had time to become known.
        let was_unknown = observed.memory.attempt.as_ref().is_some_and(|attempt| {
            attempt.trouble.reason == Reason::RegistryNotReady && self.now >= attempt.not_before
        });
        let cause = match self.due {
            _ if was_unknown => Cause::Requested,
            // What was found of it before does not do.
            Due::Test(cause @ (Cause::TimePassed | Cause::NoVerdict | Cause::Requested)) => cause,
            Due::Renew(Cause::Requested) => Cause::Requested,
            Due::Renew(_) | Due::Test(_) | Due::Deliver | Due::Keep | Due::Withdraw | Due::Revoke | Due::Nothing => {
                Cause::NeverJudged
            }
        };
        let Some(verified) = self.verify(observed, &candidate, Due::Test(cause)).await? else { return Ok(None) };
        acted_on_requests(self.context, observed);
        let Verified { verdict, test, doubt, unanswered } = verified;
        let problem = match verdict {
            Verdict::Accepted(_) => {
                let verdict = test.as_ref().or(observed.status.last_test.as_ref()).map(|test| test.verdict);
                return self.promote(observed, book, verdict.is_some_and(is_proof), test).await.map(Some);
            }
            Verdict::Rejected(problem, _) => {
                book.ledger.refuse(self.now);
                if let Err(outcome) = self.save(observed, book).await? {
                    return Ok(Some(outcome));
                }
                self.settled(observed);
                let outcome = self.unchanged(observed, problem, test);
                return self.fall_back(observed, book, outcome).await.map(Some);
            }
            Verdict::Unfit(problem, _) => {
                self.settled(observed);
                problem
            }
            Verdict::Inconclusive(problem, _) => {
                self.doubted(observed, doubt.as_ref(), unanswered);
                problem
            }
        };
        // Nobody may be left without a credential because a better one cannot be proven.
        if self.presses(observed, book) {
            tracing::warn!(
                connection = %self.connection.reference,
                "a credential is delivered unproven, because the one before it is about to expire"
            );
            let promoted = self.promote(observed, book, false, test).await?;
            self.pause(observed, &problem, None);
            self.context.keeps(observed, true);
            return Ok(Some(Outcome { problem: Some(problem), ..promoted }));
        }
        let outcome = self.unchanged(observed, problem, test);
        self.fall_back(observed, book, outcome).await.map(Some)
    }

    /// Looks at the current credential as far as something may have changed, and keeps the target at it.
    pub(super) async fn current(&self, observed: &mut Observed, book: &mut Book) -> Result<Judged, Error> {
        let Some(current) = book.ledger.current.clone() else { return Err(Error::Contended) };
        let Some(verified) = self.verify(observed, &current, self.due).await? else { return Ok(Judged::Done(None)) };
        acted_on_requests(self.context, observed);
        let Verified { verdict, test, doubt, unanswered } = verified;
        let is_in_doubt = matches!(verdict, Verdict::Inconclusive(..));
        let mut full = None;
        let problem = match verdict {
            Verdict::Accepted(_) => {
                let is_proven = current.proven || test.as_ref().is_some_and(|test| is_proof(test.verdict));
                if let Err(outcome) = self.render(observed, book, is_proven).await? {
                    return Ok(Judged::Done(Some(Box::new(outcome))));
                }
                self.context.memories.update(observed.uid(), |memory| memory.attempt = None);
                full = self.full(book);
                full.clone().or_else(|| self.not_mended(observed))
            }
            Verdict::Rejected(_, refused) => {
                if let Some(entry) = &mut book.ledger.current {
                    entry.refused = true;
                }
                if let Err(outcome) = self.save(observed, book).await? {
                    return Ok(Judged::Done(Some(Box::new(outcome))));
                }
                let last = test.as_ref().or(observed.status.last_test.as_ref());
                if withdraw::is_due(self.connection, last)
                    && let Some(site) = self.site(&current)
                {
                    withdraw::withdraw(self.context, observed, self.connection, &site, &refused).await?;
                }
                return Ok(Judged::Refused(test));
            }
            Verdict::Unfit(problem, _) => {
                self.settled(observed);
                Some(problem)
            }
            Verdict::Inconclusive(problem, _) => {
                if let Err(outcome) = self.render(observed, book, current.proven).await? {
                    return Ok(Judged::Done(Some(Box::new(outcome))));
                }
                Some(problem)
            }
        };
        let current = book.ledger.current.clone().unwrap_or(current);
        let judged = if test.is_some() || observed.is_edited() { self.inputs.clone() } else { vec![] };
        let kept = self.deliver(observed, &current, test.clone()).await?;
        if let Some(problem) = &problem
            && is_in_doubt
        {
            self.doubted(observed, doubt.as_ref(), unanswered);
            self.context.keeps(observed, true);
            return Ok(Judged::Done(Some(Box::new(Outcome { problem: Some(problem.clone()), ..kept }))));
        }
        if let Some(problem) = &full {
            self.pause(observed, problem, None);
            self.context.keeps(observed, true);
        }
        let judged = if kept.judged.is_empty() { judged } else { kept.judged };
        let problem = problem.or(kept.problem);
        Ok(Judged::Done(Some(Box::new(Outcome { problem, test, judged, ..kept }))))
    }

    async fn verify(&self, observed: &Observed, entry: &Entry, due: Due) -> Result<Option<Verified>, Error> {
        let Some(site) = self.site(entry) else { return Err(Error::Contended) };
        let resolved = Resolved {
            site,
            credential: entry.credential.clone(),
            expires_at: Some(entry.expires_at),
            authorities: None,
            inputs: self.inputs.clone(),
            issued: Some(issued(entry)),
        };
        Ok(verify(self.context, self.connection, observed, resolved, due, self.now).await)
    }

    /// The candidate becomes the current credential, and is delivered.
    async fn promote(
        &self,
        observed: &mut Observed,
        book: &mut Book,
        proven: bool,
        test: Option<LastTest>,
    ) -> Result<Outcome, Error> {
        // The grace of what is replaced begins now, not when the pass did, which has waited for the provider since.
        let now = self.context.clock.now();
        let delivered = book.ledger.current.as_ref().map(|current| current.revision.as_str());
        let told = observed.status.credential.as_ref().map(|credential| credential.revision.as_str());
        let since = delivered_since(&observed.status).filter(|_| told == delivered);
        book.ledger.forget_expired(now);
        if let Some(candidate) = &mut book.ledger.candidate {
            candidate.proven = proven;
            candidate.config_key = config_key(self, candidate);
        }
        book.ledger.promote(since, now);
        if let Err(outcome) = self.save(observed, book).await? {
            return Ok(outcome);
        }
        // What was replaced now is not to wait for what was replaced before and still cannot be revoked.
        let end = add(now, self.context.revocation_grace);
        self.context.memories.update(observed.uid(), |memory| {
            memory.attempt = None;
            if let Some(last) = &mut memory.revocation {
                last.not_before = last.not_before.min(end);
            }
        });
        let Some(current) = book.ledger.current.clone() else { return Err(Error::Contended) };
        self.deliver(observed, &current, test).await
    }

    /// Writes down what is new about the current credential: that it is proven, or that it is rendered in another way, for
    /// which it gets another revision.
    async fn render(
        &self,
        observed: &mut Observed,
        book: &mut Book,
        proven: bool,
    ) -> Result<Result<(), Outcome>, Error> {
        let is_wrong = book.damaged().is_some() || book.is_outdated();
        let Some(current) = &mut book.ledger.current else { return Ok(Ok(())) };
        let key = config_key(self, current);
        let is_rendered = current.config_key == key;
        if is_rendered && current.proven == proven && !is_wrong {
            return Ok(Ok(()));
        }
        current.proven = proven;
        if !is_rendered {
            current.config_key = key;
            current.revision = revision::new(observed.uid(), self.now);
        }
        self.save(observed, book).await
    }

    /// What keeps an overdue renewal from being made.
    fn full(&self, book: &Book) -> Option<Problem> {
        let is_overdue = matches!(self.due, Due::Renew(Cause::TimePassed | Cause::Requested));
        let message = "so many replaced credentials still work that no further one is issued before it has to be: they could \
             not be revoked, or no successor was ever proven";
        (book.ledger.is_full() && is_overdue).then(|| {
            Problem::new(Reason::UpstreamError, message)
                .at(secret_ref_field(&self.connection.provider))
                .hint("read the events of the connection about why they cannot be revoked, or let them live for a shorter time")
        })
    }

    /// What was in the way of a renewal: a test of what is there does not put that right.
    fn not_mended(&self, observed: &Observed) -> Option<Problem> {
        settled_problem(&observed.status).filter(|problem| match self.due {
            // The Secret was read, and is as it was when something was issued last: what was wrong with it is over.
            Due::Test(Cause::InputChanged) => is_of_the_provider(problem),
            Due::Deliver | Due::Test(Cause::Requested | Cause::LedgerChanged) => !problem.is_of_a_repository(),
            Due::Renew(_)
            | Due::Test(
                Cause::NeverJudged | Cause::SpecChanged | Cause::NoVerdict | Cause::TimePassed | Cause::NotIssued,
            )
            | Due::Keep
            | Due::Withdraw
            | Due::Revoke
            | Due::Nothing => false,
        })
    }

    /// Whether what is delivered ends before the next try has come to an end, or is refused.
    fn presses(&self, observed: &Observed, book: &Book) -> bool {
        let attempt = self.context.memories.recall(observed.uid()).attempt;
        let next = attempt.map_or_else(|| add(self.now, PAUSE_AFTER_FAILED_REPOSITORY), |attempt| attempt.not_before);
        let next = add(next, LONGEST_PASS);
        let is_refused = book.ledger.current.as_ref().is_some_and(|current| current.refused);
        expires_at(&observed.status).is_some_and(|end| end <= next) || is_refused
    }

    fn unchanged(&self, observed: &Observed, problem: Problem, test: Option<LastTest>) -> Outcome {
        let judged: Vec<ObservedInput> = self.inputs.clone();
        let delivery = super::delivery(self.connection, observed, self.now);
        Outcome { judged, test, ..Outcome::unchanged(Some(problem), delivery) }
    }

    /// It could not be found out. If nothing was asked, the pause before goes on, about what there is now.
    fn doubted(&self, observed: &Observed, doubt: Option<&Problem>, unanswered: Option<Fingerprint>) {
        match doubt {
            Some(doubt) => self.pause(observed, doubt, unanswered),
            None => self.context.keeps(observed, false),
        }
    }

    /// There was a verdict for good.
    fn settled(&self, observed: &Observed) {
        self.context.memories.update(observed.uid(), |memory| {
            memory.judged.clone_from(&self.inputs);
            memory.attempt = None;
        });
    }
}

fn add(time: Timestamp, duration: SignedDuration) -> Timestamp {
    time.saturating_add(duration).unwrap_or(Timestamp::MAX)
}

/// The key in the docker config under which a credential is rendered.
fn config_key(pass: &Pass<'_>, entry: &Entry) -> Option<String> {
    pass.site(entry).map(|site| site.config_key.as_str().to_owned())
}

/// Whether a provider said it, and not a look at a Secret or a test at the registry.
fn is_of_the_provider(problem: &Problem) -> bool {
    let is_refusal =
        matches!(problem.reason, Reason::InvalidCredentials | Reason::InsufficientScope | Reason::InvalidSpec);
    is_refusal && !problem.is_of_a_repository()
}

/// Whether a verdict says that the registry let this login in and would not have let in another.
fn is_proof(verdict: Reason) -> bool {
    matches!(verdict, Reason::LoginProven | Reason::RepositoriesProven)
}
