//! Fifth step: is the credential good? From the record where that is allowed, else by asking the registry. IO.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    Context,
    conclude::{as_told, conclude, last_test, refused_before},
    due::{Cause, Due, settled_problem},
    flight::{LONG_REST, Test, Wanted},
    memory::{Tested, Trouble},
    observe::Observed,
    resolve::Resolved,
    validate::{Connection, TestPlan},
};
use crate::{
    api::{
        Reason,
        provider::Provider,
        status::{LastTest, ObservedInput, RepositoryVerdict},
    },
    clock::whole_seconds,
    domain::credential::{Credential, Fingerprint},
    net::Certificates,
    problem::Problem,
    provider::endpoint::Endpoint,
    registry::{self, Finding, Findings, Question},
};

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
    /// The credential.
    pub proven: Proven,
    /// Stands for the credential as it is rendered.
    pub rendered: Fingerprint,
    /// When it expires, if that is known.
    pub expires_at: Option<Timestamp>,
    /// What it was read from.
    pub inputs: Vec<ObservedInput>,
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
    /// The question, if it may have counted as a failed login.
    pub resting: Option<Fingerprint>,
}

/// A definite verdict that is on record.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Record {
    Accepted(Reason),
    Refused,
    Unfit(Problem),
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
    let Resolved { credential, authorities, expires_at, inputs } = resolved;
    let Endpoint { registry, token_hosts, image_host: _ } = &connection.endpoint;
    let repositories = connection.test.as_ref().map(|plan| &plan.repositories);
    let question = context.fingerprints.of((registry, token_hosts, &authorities, repositories), &credential);
    let login = context.fingerprints.of((registry, token_hosts, &authorities), &credential);
    let rendered = context.fingerprints.of(&connection.config_key, &credential);
    let record = recorded(observed, &inputs, question);
    // What was found before does not do for a user who asks.
    let fresh = due == Due::Test(Cause::Requested);
    let must_ask = fresh || matches!(due, Due::Test(Cause::TimePassed | Cause::NoVerdict));
    let accepted = || {
        let proven = Proven { credential: credential.clone() };
        Accepted { proven, rendered, expires_at, inputs: inputs.clone() }
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
        return Some(Verified { verdict: Verdict::Accepted(accepted()), test, doubt: None, resting: None });
    };
    if let Some(record) = record.clone().filter(|_| !must_ask) {
        let verdict = match record {
            Record::Accepted(_) => Verdict::Accepted(accepted()),
            Record::Refused => Verdict::Rejected(refused_before(connection, observed), credential.clone()),
            Record::Unfit(problem) => Verdict::Unfit(problem, delivered()),
        };
        return Some(Verified { verdict, test: None, doubt: None, resting: None });
    }

    if let Some((problem, pause)) = resting(observed, question, now).filter(|_| !fresh) {
        let accepted_before = match record {
            Some(Record::Accepted(_)) => Some(accepted()),
            Some(Record::Refused | Record::Unfit(_)) | None => None,
        };
        let doubt = Problem { retry_after: Some(pause), ..problem.clone() };
        let verdict = Verdict::Inconclusive(problem, accepted_before);
        return Some(Verified { verdict, test: None, doubt: Some(doubt), resting: Some(question) });
    }

    let wanted =
        Wanted { question, after: told_before(observed, record.as_ref()), interval: connection.grid.interval(), fresh };
    let shared = {
        let Some(mut turn) = context.flights.turn(login, now).await else {
            context.memories.update(observed.uid(), |memory| memory.crowded = Some(login));
            return None;
        };
        // It may have waited for its turn.
        let now = context.clock.now();
        match turn.known(&wanted, now) {
            Some(test) => test,
            None => {
                let findings = ask(context, connection, observed, plan, &credential, authorities, now).await;
                turn.learned(&wanted, findings, now)
            }
        }
    };
    let Test { number, at, findings } = shared;
    if let Some(quota) = findings.quota {
        context.metrics.quota(observed.uid(), quota);
    }
    let (reason, problem) = match conclude(connection, &findings) {
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
            let resting = doubt.retry_after.is_some_and(|pause| pause >= LONG_REST).then_some(question);
            return Some(Verified { verdict, test: None, doubt: Some(doubt), resting });
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
    Some(Verified { verdict, test: Some(test), doubt: None, resting: None })
}

/// The number of the last test that tells nothing new: the one that the record rests on. After a refusal of another login
/// nothing from before it counts, or what the user has just put right would be judged by what was.
fn told_before(observed: &Observed, record: Option<&Record>) -> u64 {
    let Some(tested) = &observed.memory.tested else { return 0 };
    let counts = record.is_some() || tested.test.verdict == Reason::InvalidCredentials;
    if counts { tested.number } else { 0 }
}

/// Since when this login is refused, if it is.
fn refused_since(observed: &Observed, record: Option<&Record>, verdict: Reason, at: Timestamp) -> Option<Time> {
    let before = observed.status.last_test.as_ref().filter(|_| record == Some(&Record::Refused));
    let since = before.map(|test| test.refused_since.as_ref().unwrap_or(&test.time).clone());
    (verdict == Reason::InvalidCredentials).then(|| since.unwrap_or(Time(whole_seconds(at))))
}

/// Asks the registry.
async fn ask(
    context: &Context,
    connection: &Connection,
    observed: &Observed,
    plan: &TestPlan,
    credential: &Credential,
    authorities: Option<Certificates>,
    now: Timestamp,
) -> Findings {
    let TestPlan { repositories, timeout } = plan;
    let question = Question {
        registry: &connection.endpoint.registry,
        token_hosts: &connection.endpoint.token_hosts,
        authorities,
        credential,
        repositories,
        reads_quota: matches!(connection.provider, Provider::Dockerhub(_)),
        control: recorded_control(observed),
        timeout: Duration::max(*timeout, Duration::from_secs(1)),
    };
    let findings = registry::ask(&context.http, &context.habits, &question, now).await;
    context.metrics.login(&findings.login);
    findings
}

/// What the last try of this very question met with, and how long it still rests, if it does.
fn resting(observed: &Observed, question: Fingerprint, now: Timestamp) -> Option<(Problem, Duration)> {
    let attempt = observed.memory.attempt.as_ref().filter(|attempt| attempt.resting == Some(question))?;
    let rest = Duration::try_from(attempt.not_before.duration_since(now)).ok().filter(|rest| !rest.is_zero())?;
    match &attempt.trouble {
        Trouble::Credential(problem) => Some((problem.clone(), rest)),
        Trouble::Delivery(_) => None,
    }
}

/// What an earlier process found of the registry's way with wrong logins.
fn recorded_control(observed: &Observed) -> Option<Finding> {
    let control = observed.status.last_test.as_ref()?.control.clone()?;
    Some(Finding { door: control.door, checks_logins: control.refused, found_at: control.time.0 })
}

fn remember(context: &Context, observed: &Observed, tested: Tested) {
    context.memories.update(observed.uid(), |memory| {
        (memory.tested, memory.crowded) = (Some(tested), None);
    });
}

/// The recorded verdict, if the record is about this credential and this question: by what this process remembers, or, in
/// a fresh process, because the spec and what was read are those of the record.
fn recorded(observed: &Observed, inputs: &[ObservedInput], question: Fingerprint) -> Option<Record> {
    let status = &observed.status;
    let last = status.last_test.as_ref()?;
    let remembered = observed.memory.tested.as_ref();
    let is_about_it = match remembered.filter(|tested| is_same(&tested.test, last)) {
        Some(tested) => tested.question == question,
        None => {
            status.observed_generation == Some(observed.generation())
                && inputs.iter().all(|input| status.observed_inputs.contains(input))
        }
    };
    let unfit = settled_problem(status).filter(|problem| problem.reason.is_of_a_repository());
    match (last.verdict, unfit) {
        _ if !is_about_it => None,
        (Reason::InvalidCredentials, _) => Some(Record::Refused),
        (verdict, None) if verdict.is_acceptance() && !has_failed(last) => Some(Record::Accepted(verdict)),
        (verdict, Some(problem)) if verdict.is_acceptance() => Some(Record::Unfit(problem)),
        // No other reason is ever a verdict; a record that says so is none.
        _ => None,
    }
}

/// Whether both are the same test; names in a status may be cut.
fn is_same(one: &LastTest, other: &LastTest) -> bool {
    (&one.time, one.verdict) == (&other.time, other.verdict)
}

fn has_failed(test: &LastTest) -> bool {
    test.repositories.iter().any(|repository| {
        matches!(
            repository.verdict,
            RepositoryVerdict::InsufficientScope
                | RepositoryVerdict::RepositoryNotFound
                | RepositoryVerdict::Inconclusive
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        controller::fixture::{connection, delivered, minutes_later, observed},
        domain::credential::Fingerprints,
    };

    fn input(resource_version: &str) -> ObservedInput {
        ObservedInput {
            kind: "Secret".into(),
            name: "login".into(),
            uid: "s".into(),
            resource_version: resource_version.into(),
        }
    }

    #[test]
    fn the_record_speaks_only_for_the_credential_it_is_about() {
        let fingerprints = Fingerprints::default();
        let registry = connection(&delivered(|_| {})).endpoint.registry;
        let of = |password: &str| fingerprints.of(&registry, &Credential::new("user".into(), password.into()).unwrap());
        let (good, bad) = (of("good"), of("bad"));
        let refused = |object: &mut serde_json::Value| {
            object["status"]["lastTest"]["verdict"] = "InvalidCredentials".into();
        };
        let edited = |object: &mut serde_json::Value| object["metadata"]["generation"] = 2.into();

        let accepted = observed(delivered(|_| {}));
        assert_eq!(
            recorded(&accepted, &[input("1")], good),
            Some(Record::Accepted(Reason::LoginProven)),
            "a fresh process, the same source"
        );
        assert_eq!(recorded(&accepted, &[input("2")], good), None, "a fresh process, another version of the source");
        assert_eq!(recorded(&observed(delivered(edited)), &[input("1")], good), None, "a fresh process, another spec");

        let tested = |fingerprint, verdict| {
            let test = LastTest {
                time: Time(minutes_later(0)),
                verdict,
                refused_since: None,
                repositories: vec![],
                control: None,
            };
            let refreshed = test.time.clone();
            let registry = registry.clone();
            Some(Tested { registry, question: fingerprint, test, number: 1, refreshed, problem: None, inputs: vec![] })
        };
        let mut remembered = observed(delivered(edited));
        remembered.memory.tested = tested(good, Reason::LoginProven);
        assert_eq!(
            recorded(&remembered, &[input("2")], good),
            Some(Record::Accepted(Reason::LoginProven)),
            "touched, but the same login"
        );
        assert_eq!(recorded(&remembered, &[input("1")], bad), None, "another login");

        let mut remembered = observed(delivered(refused));
        assert_eq!(recorded(&remembered, &[input("1")], bad), Some(Record::Refused), "refused before a restart");
        remembered.memory.tested = tested(bad, Reason::InvalidCredentials);
        assert_eq!(recorded(&remembered, &[input("2")], bad), Some(Record::Refused), "refused and touched");
        assert_eq!(recorded(&remembered, &[input("2")], good), None, "an earlier login is proven anew after a refusal");
    }

    #[test]
    fn what_is_remembered_speaks_for_the_test_it_is_about_only() {
        let fingerprints = Fingerprints::default();
        let registry = connection(&delivered(|_| {})).endpoint.registry;
        let question = fingerprints.of(&registry, &Credential::new("user".into(), "new".into()).unwrap());
        // Another process has written a status since, about another login.
        let mut observed = observed(delivered(|_| {}));
        observed.memory.tested = Some(tested(question, -3, Reason::LoginProven));
        assert_eq!(recorded(&observed, &[input("2")], question), None);
    }

    fn tested(question: Fingerprint, minutes: i64, verdict: Reason) -> Tested {
        let test = last_test(verdict, None, minutes_later(minutes));
        let registry = connection(&delivered(|_| {})).endpoint.registry;
        Tested { registry, question, refreshed: test.time.clone(), test, number: 7, problem: None, inputs: vec![] }
    }

    #[test]
    fn only_what_was_found_since_the_own_verdict_or_a_refusal_takes_the_place_of_a_test() {
        let fingerprints = Fingerprints::default();
        let registry = connection(&delivered(|_| {})).endpoint.registry;
        let question = fingerprints.of(&registry, &Credential::new("user".into(), "password".into()).unwrap());
        let mut observed = observed(delivered(|_| {}));
        assert_eq!(told_before(&observed, None), 0, "a fresh process");
        let proven = Record::Accepted(Reason::LoginProven);
        observed.memory.tested = Some(tested(question, 0, Reason::LoginProven));
        assert_eq!(told_before(&observed, Some(&proven)), 7);
        assert_eq!(told_before(&observed, None), 0, "the verdict is about another login");
        observed.memory.tested = Some(tested(question, 0, Reason::InvalidCredentials));
        assert_eq!(told_before(&observed, None), 7, "the user has put something right");
    }

    #[test]
    fn a_refusal_lasts_since_the_first_of_the_same_login() {
        let refused = Reason::InvalidCredentials;
        let since = |observed: &Observed, record: Option<Record>, verdict| {
            refused_since(observed, record.as_ref(), verdict, minutes_later(60)).map(|time| time.0)
        };
        let mut observed = observed(delivered(|_| {}));
        assert_eq!(since(&observed, None, refused), Some(minutes_later(60)));
        assert_eq!(since(&observed, Some(Record::Accepted(Reason::LoginProven)), refused), Some(minutes_later(60)));
        assert_eq!(since(&observed, Some(Record::Refused), refused), Some(minutes_later(0)));
        if let Some(test) = &mut observed.status.last_test {
            test.refused_since = Some(Time(minutes_later(-30)));
        }
        assert_eq!(since(&observed, Some(Record::Refused), refused), Some(minutes_later(-30)));
        assert_eq!(since(&observed, Some(Record::Refused), Reason::LoginProven), None);
        assert_eq!(since(&observed, None, refused), Some(minutes_later(60)), "another login was refused before");
    }

    #[test]
    fn a_record_by_an_unknown_version_is_no_proof() {
        let unknown = observed(delivered(|object| object["status"]["lastTest"]["verdict"] = "FromTheFuture".into()));
        let fingerprints = Fingerprints::default();
        let registry = connection(&delivered(|_| {})).endpoint.registry;
        let fingerprint = fingerprints.of(&registry, &Credential::new("a".into(), "b".into()).unwrap());
        assert_eq!(recorded(&unknown, &[input("1")], fingerprint), None);
    }
}
