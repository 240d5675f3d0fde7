//! Fifth step: is the credential good? From the record where that is allowed, else by asking the registry. IO.

mod ask;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    Context,
    conclude::{as_told, conclude, last_test, refused_before},
    due::{Cause, Due},
    flight::{Begun, Test, Wanted, Whose},
    memory::Tested,
    observe::Observed,
    record::{About, Record, recorded, refused_since, told_before},
    resolve::Resolved,
    validate::{Connection, Site},
};
use crate::{
    api::{
        Reason,
        status::{DeliveredCredential, LastTest, ObservedInput},
    },
    clock::whole_seconds,
    domain::{
        credential::{Credential, Fingerprint},
        ledger::Entry,
    },
    problem::Problem,
    provider::endpoint::Endpoint,
};
use ask::{ask, is_fresh, remember, resting};

/// A credential that may be delivered. Only [`verify`] makes one.
pub struct Proven {
    credential: Credential,
}

impl Proven {
    /// The credential.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// One that nobody proved.
    #[cfg(test)]
    pub(super) fn for_test(credential: Credential) -> Self {
        Self { credential }
    }
}

/// A credential that was accepted, and what it was made from.
pub struct Accepted {
    /// What it serves.
    pub site: Site,
    /// The credential.
    pub proven: Proven,
    /// Stands for the credential as it is rendered.
    pub rendered: Fingerprint,
    /// When it expires, if that is known.
    pub expires_at: Option<Timestamp>,
    /// What it was read from.
    pub inputs: Vec<ObservedInput>,
    /// How the ledger names it, if a provider issued it.
    pub issued: Option<DeliveredCredential>,
}

impl Accepted {
    /// The current credential of a ledger. It became that because it was accepted, or because nothing better could be
    /// delivered; either was decided when it was written down.
    pub fn of_ledger(context: &Context, site: Site, current: &Entry, inputs: Vec<ObservedInput>) -> Self {
        let rendered = context.fingerprints.of(&site.config_key, &current.credential);
        let issued = issued(current);
        Self {
            site,
            proven: Proven { credential: current.credential.clone() },
            rendered,
            expires_at: Some(current.expires_at),
            inputs,
            issued: Some(issued),
        }
    }
}

/// An issued credential as the status tells of it.
pub fn issued(entry: &Entry) -> DeliveredCredential {
    let time = |time: Timestamp| Some(Time(whole_seconds(time)));
    DeliveredCredential {
        revision: entry.revision.clone(),
        id: entry.id.clone(),
        issued_at: time(entry.issued_at),
        expires_at: time(entry.expires_at),
    }
}

/// What is known of a credential.
pub enum Verdict {
    /// It may be delivered.
    Accepted(Accepted),
    /// The registry refused this one.
    Rejected(Problem, Credential),
    /// The registry accepted it, but it cannot do what it must. What was delivered of it before may be delivered where it is
    /// missing.
    Unfit(Problem, Option<Accepted>),
    /// It could not be found out now. What was accepted before may still be delivered where it is missing.
    Inconclusive(Problem, Option<Accepted>),
}

/// A verdict and where it comes from.
pub struct Verified {
    /// The verdict.
    pub verdict: Verdict,
    /// The test of this pass that led to a definite verdict; none if the verdict is the recorded one.
    pub test: Option<LastTest>,
    /// The pause to make before another try, told by what was in its way; none if there was a definite verdict.
    pub doubt: Option<Problem>,
    /// The question, if it was asked and got no answer.
    pub unanswered: Option<Fingerprint>,
}

/// What may be delivered of a credential by the record alone: it was accepted, or is delivered already and was not refused since.
pub fn known(context: &Context, connection: &Connection, observed: &Observed, resolved: &Resolved) -> Option<Accepted> {
    let Resolved { site, credential, expires_at, inputs, issued, .. } = resolved;
    let rendered = context.fingerprints.of(&site.config_key, credential);
    let question = question(context, connection, resolved);
    let may_be_kept = match recorded(observed, about(issued.as_ref(), inputs), question)? {
        Record::Accepted(_) => true,
        Record::Unfit(_) => observed.memory.accepted == Some(rendered),
        Record::Refused => false,
    };
    may_be_kept.then(|| Accepted {
        site: site.clone(),
        proven: Proven { credential: credential.clone() },
        rendered,
        expires_at: *expires_at,
        inputs: inputs.clone(),
        issued: issued.clone(),
    })
}

/// Stands for all that is asked about a credential.
fn question(context: &Context, connection: &Connection, resolved: &Resolved) -> Fingerprint {
    let Endpoint { registry, token_hosts, .. } = &resolved.site.endpoint;
    let repositories = connection.test.as_ref().map(|plan| &plan.repositories);
    context.fingerprints.of((registry, token_hosts, &resolved.authorities, repositories), &resolved.credential)
}

fn about<'a>(issued: Option<&'a DeliveredCredential>, inputs: &'a [ObservedInput]) -> About<'a> {
    match issued {
        Some(issued) => About::Revision(&issued.revision),
        None => About::Inputs(inputs),
    }
}

/// Judges a credential. The registry is asked if the time for a test has come, if the last try came to no verdict, or if
/// the record is about another credential or another question; what another connection found out of the same login may take
/// the place of its answer. None if there are too many before this connection, and it had better come back a little later.
pub async fn verify(
    context: &Context,
    connection: &Connection,
    observed: &Observed,
    resolved: Resolved,
    due: Due,
    now: Timestamp,
) -> Option<Verified> {
    let question = question(context, connection, &resolved);
    let Resolved { site, credential, authorities, expires_at, inputs, issued } = resolved;
    let Endpoint { registry, token_hosts, image_host: _, this_machine: _, private: _ } = &site.endpoint;
    let whose = Whose::of(&context.fingerprints, registry, (token_hosts, &authorities), &credential);
    let rendered = context.fingerprints.of(&site.config_key, &credential);
    let record = recorded(observed, about(issued.as_ref(), &inputs), question);
    // What was found before does not do for a user who asks.
    let fresh = due == Due::Test(Cause::Requested);
    let must_ask = fresh || matches!(due, Due::Test(Cause::TimePassed | Cause::NoVerdict));
    let accepted = || {
        let proven = Proven { credential: credential.clone() };
        Accepted { site: site.clone(), proven, rendered, expires_at, inputs: inputs.clone(), issued: issued.clone() }
    };
    // One that cannot do what it must is not delivered anew, but what is delivered of it is kept in place.
    let delivered = || (observed.memory.accepted == Some(rendered)).then(accepted);
    let Some(plan) = &connection.test else {
        let is_recorded = record == Some(Record::Accepted(Reason::NotTested));
        let test = (!is_recorded).then(|| last_test(Reason::NotTested, None, now));
        if let Some(test) = test.clone() {
            let refreshed = test.time.clone();
            let registry = registry.clone();
            remember(
                context,
                observed,
                Tested { registry, question, test, number: 0, refreshed, problem: None, inputs: inputs.clone() },
            );
        }
        return Some(Verified { verdict: Verdict::Accepted(accepted()), test, doubt: None, unanswered: None });
    };
    if let Some(record) = record.clone().filter(|_| !must_ask) {
        let verdict = match record {
            Record::Accepted(_) => Verdict::Accepted(accepted()),
            Record::Refused => Verdict::Rejected(refused_before(connection, observed), credential.clone()),
            Record::Unfit(problem) => Verdict::Unfit(problem, delivered()),
        };
        return Some(Verified { verdict, test: None, doubt: None, unanswered: None });
    }

    if due == Due::Withdraw {
        // There is nothing to withdraw any more, and nothing was to be tested.
        let verdict = Verdict::Inconclusive(refused_before(connection, observed), None);
        return Some(Verified { verdict, test: None, doubt: None, unanswered: None });
    }
    if let Some(problem) = resting(observed, question, now).filter(|_| !fresh) {
        let accepted_before = match record {
            Some(Record::Accepted(_)) => Some(accepted()),
            Some(Record::Refused | Record::Unfit(_)) | None => None,
        };
        let verdict = Verdict::Inconclusive(problem, accepted_before);
        return Some(Verified { verdict, test: None, doubt: None, unanswered: None });
    }

    let wanted =
        Wanted { question, after: told_before(observed, record.as_ref()), interval: connection.grid.interval(), fresh };
    let shared = {
        let Some(turn) = context.flights.turn(whose, now).await else {
            context.memories.update(observed.uid(), |memory| memory.crowded = Some(whose.account));
            return None;
        };
        // It may have waited for its turn.
        let now = context.clock.now();
        match turn.begin(&wanted, now) {
            Begun::Known(test) => test,
            Begun::Ask(asking) => {
                let findings = ask(context, connection, &site, observed, plan, (&credential, authorities), now).await;
                asking.learned(findings, context.clock.now())
            }
        }
    };
    let Test { number, at, findings } = shared;
    if let Some(quota) = findings.quota {
        context.metrics.quota(observed.uid(), quota);
    }
    let began = issued.as_ref().and_then(|issued| issued.issued_at.as_ref()).map(|time| time.0);
    let (reason, problem) = match conclude(connection, &findings, began.is_some_and(|began| is_fresh(began, at))) {
        Ok(conclusion) => conclusion,
        Err(doubt) => {
            context.metrics.met(doubt.reason);
            let doubt = as_told(doubt, &findings, observed);
            let verdict = match record {
                // The last word on this very credential was no.
                Some(Record::Refused) => Verdict::Rejected(refused_before(connection, observed), credential.clone()),
                Some(Record::Unfit(problem)) => Verdict::Unfit(problem, delivered()),
                Some(Record::Accepted(_)) => Verdict::Inconclusive(doubt.clone(), Some(accepted())),
                None => Verdict::Inconclusive(doubt.clone(), None),
            };
            return Some(Verified { verdict, test: None, doubt: Some(doubt), unanswered: Some(question) });
        }
    };
    if let Some(problem) = &problem {
        context.metrics.met(problem.reason);
    }
    let test = LastTest {
        refused_since: refused_since(observed, record.as_ref(), reason, at),
        ..last_test(reason, Some(&findings), at)
    };
    remember(
        context,
        observed,
        Tested {
            registry: registry.clone(),
            question,
            test: test.clone(),
            number,
            refreshed: Time(whole_seconds(now).max(at)),
            problem: problem.clone(),
            inputs: inputs.clone(),
        },
    );
    let verdict = match problem {
        None => Verdict::Accepted(accepted()),
        Some(problem) if reason == Reason::InvalidCredentials => Verdict::Rejected(problem, credential),
        Some(problem) => Verdict::Unfit(problem, delivered()),
    };
    Some(Verified { verdict, test: Some(test), doubt: None, unanswered: None })
}
