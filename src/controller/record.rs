//! What is on record of a credential: its last verdict, if the record is about it, and what follows from that. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{due::settled_problem, observe::Observed};
use crate::{
    api::{
        Reason,
        status::{LastTest, ObservedInput, RepositoryVerdict},
    },
    clock::whole_seconds,
    domain::credential::Fingerprint,
    problem::Problem,
    registry::Finding,
};

/// A definite verdict that is on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// It was accepted.
    Accepted(Reason),
    /// It was refused.
    Refused,
    /// It was accepted, but cannot do what it must.
    Unfit(Problem),
}

/// Which credential a record is to be about.
#[derive(Clone, Copy)]
pub(super) enum About<'a> {
    /// The one that was read from these.
    Inputs(&'a [ObservedInput]),
    /// The one of this revision, which a provider issued.
    Revision(&'a str),
}

/// The recorded verdict, if the record is about this credential and this question: by what this process remembers, or, in
/// a fresh process, because the spec and what was read are those of the record.
pub(super) fn recorded(observed: &Observed, about: About<'_>, question: Fingerprint) -> Option<Record> {
    let status = &observed.status;
    let last = status.last_test.as_ref()?;
    let remembered = observed.memory.tested.as_ref();
    let is_about_it = match remembered.filter(|tested| is_same(&tested.test, last)) {
        Some(tested) => tested.question == question,
        None => {
            status.observed_generation == Some(observed.generation())
                && match about {
                    About::Inputs(inputs) => inputs.iter().all(|input| status.observed_inputs.contains(input)),
                    // A refusal may have been of another one, which was issued later.
                    About::Revision(revision) => {
                        last.verdict.is_acceptance()
                            && status.credential.as_ref().is_some_and(|credential| credential.revision == revision)
                    }
                }
        }
    };
    let unfit = settled_problem(status).filter(Problem::is_of_a_repository);
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

/// The number of the last test that tells nothing new: the one that the record rests on. After a refusal of another login
/// nothing from before it counts, or what the user has just put right would be judged by what was.
pub(super) fn told_before(observed: &Observed, record: Option<&Record>) -> u64 {
    let Some(tested) = &observed.memory.tested else { return 0 };
    let counts = record.is_some() || tested.test.verdict == Reason::InvalidCredentials;
    if counts { tested.number } else { 0 }
}

/// Since when this login is refused, if it is.
pub(super) fn refused_since(
    observed: &Observed,
    record: Option<&Record>,
    verdict: Reason,
    at: Timestamp,
) -> Option<Time> {
    let before = observed.status.last_test.as_ref().filter(|_| record == Some(&Record::Refused));
    let since = before.map(|test| test.refused_since.as_ref().unwrap_or(&test.time).clone());
    (verdict == Reason::InvalidCredentials).then(|| since.unwrap_or(Time(whole_seconds(at))))
}

/// What an earlier process found of the registry's way with wrong logins.
pub(super) fn recorded_control(observed: &Observed) -> Option<Finding> {
    let control = observed.status.last_test.as_ref()?.control.clone()?;
    Some(Finding { door: control.door, checks_logins: control.refused, found_at: control.time.0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        controller::{
            conclude::last_test,
            fixture::{connection, delivered, minutes_later, observed, site},
            memory::Tested,
        },
        domain::credential::{Credential, Fingerprints},
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
        let registry = site(&connection(&delivered(|_| {}))).endpoint.registry;
        let of = |password: &str| fingerprints.of(&registry, &Credential::new("user".into(), password.into()).unwrap());
        let (good, bad) = (of("good"), of("bad"));
        let refused = |object: &mut serde_json::Value| {
            object["status"]["lastTest"]["verdict"] = "InvalidCredentials".into();
        };
        let edited = |object: &mut serde_json::Value| object["metadata"]["generation"] = 2.into();

        let accepted = observed(delivered(|_| {}));
        assert_eq!(
            recorded(&accepted, About::Inputs(&[input("1")]), good),
            Some(Record::Accepted(Reason::LoginProven)),
            "a fresh process, the same source"
        );
        assert_eq!(
            recorded(&accepted, About::Inputs(&[input("2")]), good),
            None,
            "a fresh process, another version of the source"
        );
        assert_eq!(
            recorded(&observed(delivered(edited)), About::Inputs(&[input("1")]), good),
            None,
            "a fresh process, another spec"
        );

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
            recorded(&remembered, About::Inputs(&[input("2")]), good),
            Some(Record::Accepted(Reason::LoginProven)),
            "touched, but the same login"
        );
        assert_eq!(recorded(&remembered, About::Inputs(&[input("1")]), bad), None, "another login");

        let mut remembered = observed(delivered(refused));
        assert_eq!(
            recorded(&remembered, About::Inputs(&[input("1")]), bad),
            Some(Record::Refused),
            "refused before a restart"
        );
        remembered.memory.tested = tested(bad, Reason::InvalidCredentials);
        assert_eq!(
            recorded(&remembered, About::Inputs(&[input("2")]), bad),
            Some(Record::Refused),
            "refused and touched"
        );
        assert_eq!(
            recorded(&remembered, About::Inputs(&[input("2")]), good),
            None,
            "an earlier login is proven anew after a refusal"
        );
    }

    #[test]
    fn what_is_remembered_speaks_for_the_test_it_is_about_only() {
        let fingerprints = Fingerprints::default();
        let registry = site(&connection(&delivered(|_| {}))).endpoint.registry;
        let question = fingerprints.of(&registry, &Credential::new("user".into(), "new".into()).unwrap());
        // Another process has written a status since, about another login.
        let mut observed = observed(delivered(|_| {}));
        observed.memory.tested = Some(tested(question, -3, Reason::LoginProven));
        assert_eq!(recorded(&observed, About::Inputs(&[input("2")]), question), None);
    }

    fn tested(question: Fingerprint, minutes: i64, verdict: Reason) -> Tested {
        let test = last_test(verdict, None, minutes_later(minutes));
        let registry = site(&connection(&delivered(|_| {}))).endpoint.registry;
        Tested { registry, question, refreshed: test.time.clone(), test, number: 7, problem: None, inputs: vec![] }
    }

    #[test]
    fn only_what_was_found_since_the_own_verdict_or_a_refusal_takes_the_place_of_a_test() {
        let fingerprints = Fingerprints::default();
        let registry = site(&connection(&delivered(|_| {}))).endpoint.registry;
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
        let registry = site(&connection(&delivered(|_| {}))).endpoint.registry;
        let fingerprint = fingerprints.of(&registry, &Credential::new("a".into(), "b".into()).unwrap());
        assert_eq!(recorded(&unknown, About::Inputs(&[input("1")]), fingerprint), None);
    }
}
