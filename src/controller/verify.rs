//! Fifth step: is the credential good? From the record where that is allowed, else by a login. IO.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    Context,
    due::{Cause, Due},
    memory::{Refusal, Tested},
    observe::Observed,
    validate::Connection,
};
use crate::{
    api::{
        Reason,
        status::{LastTest, ObservedInput},
    },
    clock::whole_seconds,
    domain::credential::{Credential, Fingerprint},
    problem::{Problem, field},
    provider::Issued,
    registry::{self, Login},
};

/// A credential that may be delivered. Only [`verify`] makes one.
pub struct Proven {
    credential: Credential,
    proof: Reason,
}

impl Proven {
    /// The credential.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// One that nobody proved.
    #[cfg(test)]
    pub(super) fn for_test(credential: Credential) -> Self {
        Self { credential, proof: Reason::LoginProven }
    }

    /// What the test found: `LoginProven` or `Unverified`.
    pub fn proof(&self) -> Reason {
        self.proof
    }
}

/// A credential that was accepted, and what it was made from.
pub struct Accepted {
    /// The credential.
    pub proven: Proven,
    /// Stands for the credential at this registry.
    pub fingerprint: Fingerprint,
    /// The source it was read from.
    pub input: ObservedInput,
}

/// What is known of a credential.
pub enum Verdict {
    /// It may be delivered.
    Accepted(Accepted),
    /// The registry refused it.
    Rejected(Problem),
    /// It could not be found out now. What was accepted before may still be delivered where it is missing.
    Inconclusive(Problem, Option<Accepted>),
}

/// A verdict and where it comes from.
pub struct Verified {
    /// The verdict.
    pub verdict: Verdict,
    /// The login of this pass that led to a definite verdict; none if the verdict is the recorded one.
    pub test: Option<LastTest>,
    /// The pause to make before another try, told by what was in its way; none if there was a definite verdict.
    pub doubt: Option<Problem>,
}

/// Judges a credential. The registry is asked if the time for a test has come, if the last try came to no verdict, or if
/// the record is about another credential.
pub async fn verify(
    context: &Context,
    connection: &Connection,
    observed: &Observed,
    issued: Issued,
    due: Due,
    now: Timestamp,
) -> Verified {
    let Issued { credential, input } = issued;
    let fingerprint = context.fingerprints.of(&connection.registry, &credential);
    let record = recorded(observed, &input, fingerprint);
    let must_ask = matches!(due, Due::Test(Cause::TimePassed | Cause::NoVerdict));
    let accepted = |proof| {
        let proven = Proven { credential: credential.clone(), proof };
        Accepted { proven, fingerprint, input: input.clone() }
    };
    if let Some(reason) = record.filter(|_| !must_ask) {
        let verdict = match reason {
            Reason::InvalidCredentials => Verdict::Rejected(refused(connection)),
            proof => Verdict::Accepted(accepted(proof)),
        };
        return Verified { verdict, test: None, doubt: None };
    }

    let login = registry::login(&context.http, &connection.registry, &credential).await;
    context.metrics.login(&login);
    let reason = match login {
        Login::Proven => Reason::LoginProven,
        Login::Unverified => Reason::Unverified,
        Login::Refused => Reason::InvalidCredentials,
        Login::Inconclusive(doubt) => {
            let problem = Problem::new(doubt.reason, doubt.message).at(field::REGISTRY_URL).hint(doubt.reason.fix());
            let doubt = Problem { retry_after: doubt.retry_after, ..problem };
            let verdict = match record {
                // The last word on this very credential was no.
                Some(Reason::InvalidCredentials) => Verdict::Rejected(refused(connection)),
                record => Verdict::Inconclusive(doubt.clone(), record.map(accepted)),
            };
            return Verified { verdict, test: None, doubt: Some(doubt) };
        }
    };
    let test = LastTest { time: Time(whole_seconds(now)), verdict: reason };
    let verdict = match reason {
        Reason::InvalidCredentials => Verdict::Rejected(refused(connection)),
        proof => Verdict::Accepted(accepted(proof)),
    };
    let refusal = match &verdict {
        Verdict::Rejected(problem) => Some(Refusal { problem: problem.clone(), input }),
        Verdict::Accepted(_) | Verdict::Inconclusive(..) => None,
    };
    context.memories.update(observed.uid(), |memory| {
        memory.tested =
            Some(Tested { registry: connection.registry.clone(), fingerprint, test: test.clone(), refusal });
    });
    Verified { verdict, test: Some(test), doubt: None }
}

/// The recorded verdict, if the record is about this credential at this registry: by what this process remembers, or, in
/// a fresh process, because spec and source are the objects of the record.
fn recorded(observed: &Observed, input: &ObservedInput, fingerprint: Fingerprint) -> Option<Reason> {
    let status = &observed.status;
    let verdict = status.last_test.as_ref()?.verdict;
    if !matches!(verdict, Reason::InvalidCredentials | Reason::LoginProven | Reason::Unverified) {
        // No other reason is ever a verdict; a record that says so is none.
        return None;
    }
    let is_about_it = match &observed.memory.tested {
        Some(tested) => tested.fingerprint == fingerprint,
        None => status.observed_generation == Some(observed.generation()) && status.observed_inputs.contains(input),
    };
    is_about_it.then_some(verdict)
}

fn refused(connection: &Connection) -> Problem {
    let host = connection.registry.host();
    let name = &connection.provider.source_secret().name;
    Problem::new(Reason::InvalidCredentials, format!("the registry {host} refused the login in Secret {name:?} (401)"))
        .at(field::SECRET_REF)
        .hint(format!(
            "put the right user name and password into Secret {name:?}; they are tried at once. The same ones are tried \
             again after 30 minutes"
        ))
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
        let registry = connection(&delivered(|_| {})).registry;
        let of = |password: &str| fingerprints.of(&registry, &Credential::new("user".into(), password.into()).unwrap());
        let (good, bad) = (of("good"), of("bad"));
        let refused = |object: &mut serde_json::Value| {
            object["status"]["lastTest"]["verdict"] = "InvalidCredentials".into();
        };
        let edited = |object: &mut serde_json::Value| object["metadata"]["generation"] = 2.into();

        let accepted = observed(delivered(|_| {}));
        assert_eq!(
            recorded(&accepted, &input("1"), good),
            Some(Reason::LoginProven),
            "a fresh process, the same source"
        );
        assert_eq!(recorded(&accepted, &input("2"), good), None, "a fresh process, another version of the source");
        assert_eq!(recorded(&observed(delivered(edited)), &input("1"), good), None, "a fresh process, another spec");

        let tested = |fingerprint, verdict| {
            let test = LastTest { time: Time(minutes_later(0)), verdict };
            Some(Tested { registry: registry.clone(), fingerprint, test, refusal: None })
        };
        let mut remembered = observed(delivered(edited));
        remembered.memory.tested = tested(good, Reason::LoginProven);
        assert_eq!(recorded(&remembered, &input("2"), good), Some(Reason::LoginProven), "touched, but the same login");
        assert_eq!(recorded(&remembered, &input("1"), bad), None, "another login");

        let mut remembered = observed(delivered(refused));
        assert_eq!(
            recorded(&remembered, &input("1"), bad),
            Some(Reason::InvalidCredentials),
            "refused before a restart"
        );
        remembered.memory.tested = tested(bad, Reason::InvalidCredentials);
        assert_eq!(recorded(&remembered, &input("2"), bad), Some(Reason::InvalidCredentials), "refused and touched");
        assert_eq!(recorded(&remembered, &input("2"), good), None, "an earlier login is proven anew after a refusal");
    }

    #[test]
    fn a_record_by_an_unknown_version_is_no_proof() {
        let unknown = observed(delivered(|object| object["status"]["lastTest"]["verdict"] = "FromTheFuture".into()));
        let fingerprints = Fingerprints::default();
        let registry = connection(&delivered(|_| {})).registry;
        let fingerprint = fingerprints.of(&registry, &Credential::new("a".into(), "b".into()).unwrap());
        assert_eq!(recorded(&unknown, &input("1"), fingerprint), None);
    }
}
