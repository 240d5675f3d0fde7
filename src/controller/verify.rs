//! Fifth step: is the credential good? From the record where that is allowed, else by a login. IO.

use super::{
    Context,
    due::{Cause, Due},
    observe::Observed,
    validate::Connection,
};
use crate::{
    api::{Reason, status::ObservedInput},
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

/// A credential that was refused.
pub struct Rejected {
    /// What to tell the user.
    pub problem: Problem,
    /// Stands for the credential at this registry.
    pub fingerprint: Fingerprint,
}

/// What is known of a credential.
pub enum Verdict {
    /// It may be delivered.
    Accepted(Accepted),
    /// The registry refused it.
    Rejected(Rejected),
    /// It could not be found out.
    Inconclusive(Problem),
}

/// A verdict and where it comes from.
pub struct Verified {
    /// The verdict.
    pub verdict: Verdict,
    /// The registry was asked in this pass; otherwise the verdict is the recorded one.
    pub asked: bool,
}

/// Judges a credential. The registry is asked if the time for a test has come, or if the record is about another
/// credential.
pub async fn verify(
    context: &Context,
    connection: &Connection,
    observed: &Observed,
    issued: Issued,
    due: Due,
) -> Verified {
    let Issued { credential, input } = issued;
    let fingerprint = context.fingerprints.of(&connection.registry, &credential);
    let record = Some(observed).filter(|_| due != Due::Test(Cause::TimePassed));
    let record = record.and_then(|observed| recorded(observed, &input, fingerprint));
    let accepted = |proof| {
        Verdict::Accepted(Accepted { proven: Proven { credential: credential.clone(), proof }, fingerprint, input })
    };
    let rejected = || Verdict::Rejected(Rejected { problem: refused(connection), fingerprint });
    if let Some(reason) = record {
        let verdict = if reason == Reason::InvalidCredentials { rejected() } else { accepted(reason) };
        return Verified { verdict, asked: false };
    }
    let login = registry::login(&context.http, &connection.registry, &credential).await;
    context.metrics.login(&login);
    let verdict = match login {
        Login::Proven => accepted(Reason::LoginProven),
        Login::Unverified => accepted(Reason::Unverified),
        Login::Refused => rejected(),
        Login::Inconclusive(doubt) => {
            let problem = Problem::new(doubt.reason, doubt.message).at(field::REGISTRY_URL).hint(doubt.reason.fix());
            Verdict::Inconclusive(Problem { retry_after: doubt.retry_after, ..problem })
        }
    };
    Verified { verdict, asked: true }
}

/// The recorded verdict, if the record is about this credential at this registry: by what this process remembers, or, in
/// a fresh process, because spec and source are the objects of the record.
fn recorded(observed: &Observed, input: &ObservedInput, fingerprint: Fingerprint) -> Option<Reason> {
    let status = &observed.status;
    let is_same_object =
        status.observed_generation == Some(observed.generation()) && status.observed_inputs.contains(input);
    let verdict = status.last_test.as_ref()?.verdict;
    let remembered = match verdict {
        Reason::InvalidCredentials => observed.memory.refused,
        Reason::LoginProven | Reason::Unverified => observed.memory.accepted,
        // No other reason is ever a verdict; a record that says so is none.
        _ => return None,
    };
    remembered.map_or(is_same_object, |remembered| remembered == fingerprint).then_some(verdict)
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
        controller::fixture::{connection, delivered, observed},
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

        let mut remembered = observed(delivered(edited));
        remembered.memory.accepted = Some(good);
        assert_eq!(recorded(&remembered, &input("2"), good), Some(Reason::LoginProven), "touched, but the same login");
        assert_eq!(recorded(&remembered, &input("1"), bad), None, "another login");

        let mut remembered = observed(delivered(refused));
        assert_eq!(
            recorded(&remembered, &input("1"), bad),
            Some(Reason::InvalidCredentials),
            "refused before a restart"
        );
        remembered.memory.refused = Some(bad);
        remembered.memory.accepted = Some(good);
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
