//! From what a test found to the verdict, and to the words for the user. Pure.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{due::settled_problem, observe::Observed, validate::Connection};
use crate::{
    api::{
        Reason,
        provider::{GivenBy, Provider, Way},
        status::{Control, LastTest, RepositoryVerdict, TestedRepository},
    },
    clock::whole_seconds,
    problem::{Problem, field, shortened},
    provider::secret_ref_field,
    registry::{Findings, Found, Login},
};

/// The longest name of a repository in the status, in bytes.
const MAX_SHOWN_NAME: usize = 100;

/// What to do where a login that nobody checked cannot pull.
const MAY_BE_WRONG: &str = "the registry accepts any login, so the user name or password may be wrong as well; if they are \
                            right, give the login the right to pull from the repository";

/// How soon a credential that was issued just now and is not known yet is tried again. A refusal counts from its second minute
/// on; until then no account comes to more failed logins than registries forgive.
const NOT_YET: Duration = Duration::from_secs(30);

/// The verdict that findings lead to, with what to tell the user if it is a bad one. `is_fresh`: the credential was issued
/// just now, so the registry may not know it yet.
///
/// # Errors
/// The [`Problem`] that kept it from being found out.
pub(super) fn conclude(
    connection: &Connection,
    findings: &Findings,
    is_fresh: bool,
) -> Result<(Reason, Option<Problem>), Problem> {
    let login = match &findings.login {
        Login::Proven => Reason::LoginProven,
        Login::Unverified => Reason::Unverified,
        Login::Refused { who, status, for_repository: _ } if is_fresh => {
            let message = format!("login: {who} does not know {} yet ({status})", what(connection));
            let problem = Problem::new(Reason::RegistryNotReady, message);
            return Err(Problem { retry_after: Some(NOT_YET), ..problem.hint(Reason::RegistryNotReady.fix()) });
        }
        Login::Refused { who, status, for_repository: _ } => {
            let message = format!("login: {who} refused {} ({status})", what(connection));
            return Ok((Reason::InvalidCredentials, Some(refused(connection, message))));
        }
        Login::Inconclusive(problem) => return Err(located(connection, problem.clone())),
    };
    let failed: Vec<&Problem> = problems(findings).filter(|problem| problem.reason.is_of_a_repository()).collect();
    if let Some(first) = failed.first() {
        let message = match failed.len() - 1 {
            0 => first.message.clone(),
            more => format!("{}; {more} more under test.repositories failed too", first.message),
        };
        let problem = Problem { message, ..Problem::clone(first) }.at(field::TEST_REPOSITORIES);
        let problem = if login == Reason::Unverified { problem.hint(MAY_BE_WRONG) } else { problem };
        return Ok((login, Some(problem)));
    }
    if let Some(doubt) = problems(findings).next() {
        return Err(located(connection, doubt.clone()));
    }
    let is_proven = findings.repositories.iter().any(|found| found.verdict == RepositoryVerdict::PullProven);
    Ok((if is_proven { Reason::RepositoriesProven } else { login }, None))
}

fn problems(findings: &Findings) -> impl Iterator<Item = &Problem> {
    findings.repositories.iter().filter_map(|found| found.problem.as_ref())
}

/// The doubt in the words of the status, if it is the same and nothing was sent to find out more: otherwise a status would
/// say in turn what a registry answered and that it is not asked now.
pub(super) fn as_told(doubt: Problem, findings: &Findings, observed: &Observed) -> Problem {
    let told = observed.status.last_error.as_ref().filter(|told| findings.is_held && told.code == doubt.reason);
    told.map_or(doubt.clone(), |told| Problem { retry_after: doubt.retry_after, ..Problem::from_last_error(told) })
}

/// The same problem, pointing to the field that says where the registry is, if it points to none and there is one.
fn located(connection: &Connection, problem: Problem) -> Problem {
    match (&connection.provider, problem.field) {
        (Provider::Generic(_), None) => problem.at(field::REGISTRY_URL),
        (Provider::Generic(_), Some(_)) => problem,
        (Provider::Digitalocean(_) | Provider::Ionos(_), _) => {
            // The user's spec does not say where the registry is.
            let hint = match problem.reason {
                Reason::RateLimited | Reason::UpstreamError | Reason::RegistryNotReady => problem.hint,
                _ => Some(format!(
                    "check the operator's way to {}, which the API of {} names as its registry; delivered Secrets stay",
                    connection.site.as_ref().map_or("the registry", |site| site.endpoint.shown_host().as_str()),
                    connection.provider.key()
                )),
            };
            Problem { field: None, hint, ..problem }
        }
        (Provider::Dockerhub(_), _) => {
            let hint = match problem.reason {
                Reason::RateLimited | Reason::UpstreamError => problem.hint,
                Reason::TlsFailed => Some(
                    "check whether something between the operator and Docker Hub answers with a certificate of its own; its \
                     authority can be named with --ca-file"
                        .to_owned(),
                ),
                _ => Some("check the operator's way to registry-1.docker.io and auth.docker.io; delivered Secrets stay".to_owned()),
            };
            Problem { field: None, hint, ..problem }
        }
    }
}

/// The test as it stands in the status.
pub(super) fn last_test(verdict: Reason, findings: Option<&Findings>, now: Timestamp) -> LastTest {
    let found: &[Found] = findings.map_or(&[], |findings| &findings.repositories);
    let repositories = found.iter().map(|found| TestedRepository {
        name: shortened(found.name.to_string(), MAX_SHOWN_NAME),
        verdict: found.verdict,
    });
    let control = findings.and_then(|findings| findings.control.clone()).map(|finding| Control {
        door: finding.door,
        time: Time(whole_seconds(finding.found_at)),
        refused: finding.checks_logins,
    });
    LastTest {
        time: Time(whole_seconds(now)),
        verdict,
        refused_since: None,
        repositories: repositories.collect(),
        control,
    }
}

/// What was tested.
fn what(connection: &Connection) -> String {
    match connection.provider.way() {
        Way::Given(_) => format!("the login in Secret {:?}", connection.provider.source_secret().name),
        Way::Issued(_) => format!("the credential that the API of {} issued", connection.provider.key()),
    }
}

fn refused(connection: &Connection, message: String) -> Problem {
    let name = &connection.provider.source_secret().name;
    let account = match connection.provider.way() {
        Way::Given(GivenBy::Generic(_)) => "user name",
        Way::Given(GivenBy::Dockerhub(_)) => "Docker ID (not the e-mail address)",
        Way::Issued(_) => {
            return Problem::new(Reason::InvalidCredentials, message).hint(
                "a refused credential is revoked, and another one is issued after 30 minutes, or at once when asked for with \
                 the annotation regcred.dev/refresh-requested-at; check that the registry still exists at the provider",
            );
        }
    };
    Problem::new(Reason::InvalidCredentials, message).at(secret_ref_field(&connection.provider)).hint(format!(
        "put the right {account} and password into Secret {name:?}, and they are tried. The same ones are tried again after 30 \
         minutes"
    ))
}

/// The refusal that is on record, in the words of then if they are still there.
pub(super) fn refused_before(connection: &Connection, observed: &Observed) -> Problem {
    let told = settled_problem(&observed.status).filter(|problem| problem.reason == Reason::InvalidCredentials);
    told.unwrap_or_else(|| {
        let host = connection.site.as_ref().map_or("the registry", |site| site.endpoint.shown_host().as_str());
        let message = format!("login: {host} refused {}", what(connection));
        refused(connection, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        controller::fixture::{connection, delivered},
        domain::image::RepositoryName,
    };
    use serde_json::json;

    fn found(verdict: RepositoryVerdict, reason: Option<Reason>) -> Found {
        let name = RepositoryName::parse("team/web").unwrap();
        Found { name, verdict, problem: reason.map(|reason| Problem::new(reason, "team/web failed")) }
    }

    fn findings(login: Login, repositories: Vec<Found>) -> Findings {
        Findings { login, repositories, control: None, quota: None, is_held: false, may_have_failed: false }
    }

    #[test]
    fn repositories_decide_where_the_login_was_accepted() {
        use RepositoryVerdict as V;
        let (missing, scope, doubt) = (
            || found(V::RepositoryNotFound, Some(Reason::RepositoryNotFound)),
            || found(V::InsufficientScope, Some(Reason::InsufficientScope)),
            || found(V::Inconclusive, Some(Reason::RateLimited)),
        );
        let (proven, public, no_tag) =
            (|| found(V::PullProven, None), || found(V::PubliclyReadable, None), || found(V::TagMissing, None));
        type Expected = Result<(Reason, Option<Reason>), Reason>;
        let rows: [(Login, Vec<Found>, Expected); 9] = [
            (Login::Proven, vec![], Ok((Reason::LoginProven, None))),
            (Login::Proven, vec![public(), no_tag()], Ok((Reason::LoginProven, None))),
            (Login::Proven, vec![public(), proven()], Ok((Reason::RepositoriesProven, None))),
            (Login::Unverified, vec![public()], Ok((Reason::Unverified, None))),
            (Login::Unverified, vec![proven()], Ok((Reason::RepositoriesProven, None))),
            (Login::Proven, vec![proven(), scope()], Ok((Reason::LoginProven, Some(Reason::InsufficientScope)))),
            (Login::Proven, vec![doubt(), missing()], Ok((Reason::LoginProven, Some(Reason::RepositoryNotFound)))),
            (Login::Proven, vec![proven(), doubt()], Err(Reason::RateLimited)),
            (
                Login::Refused { who: "r.example".into(), status: 401, for_repository: false },
                vec![],
                Ok((Reason::InvalidCredentials, Some(Reason::InvalidCredentials))),
            ),
        ];
        let connection = connection(&delivered(|_| {}));
        for (login, repositories, expected) in rows {
            let name = format!("{login:?} {repositories:?}");
            let concluded = conclude(&connection, &findings(login, repositories), false);
            let concluded = concluded.map(|(verdict, problem)| (verdict, problem.map(|problem| problem.reason)));
            assert_eq!(concluded.map_err(|problem| problem.reason), expected, "{name}");
        }
    }

    #[test]
    fn says_how_many_repositories_failed_and_that_the_login_may_be_wrong_where_nobody_checks_it() {
        let connection = connection(&delivered(|_| {}));
        let failed = || found(RepositoryVerdict::InsufficientScope, Some(Reason::InsufficientScope));
        for (login, hinted) in [(Login::Proven, false), (Login::Unverified, true)] {
            let (_, problem) =
                conclude(&connection, &findings(login, vec![failed(), failed(), failed()]), false).unwrap();
            let problem = problem.unwrap();
            assert_eq!(problem.message, "team/web failed; 2 more under test.repositories failed too");
            assert_eq!(problem.field, Some(field::TEST_REPOSITORIES));
            assert_eq!(problem.hint.is_some_and(|hint| hint.contains("password may be wrong")), hinted);
        }
    }

    #[test]
    fn points_to_fields_that_the_provider_has() {
        let docker_hub = connection(&delivered(|object| {
            object["spec"]["provider"] = json!({"dockerhub": {"secretRef": {"name": "login"}}});
        }));
        let refusal = Login::Refused { who: "r.example".into(), status: 401, for_repository: false };
        let refused = conclude(&docker_hub, &findings(refusal, vec![]), false).unwrap().1.unwrap();
        assert_eq!(refused.field, Some(field::DOCKERHUB_SECRET_REF));
        assert!(refused.hint.is_some_and(|hint| hint.contains("Docker ID")));
        let away = || Login::Inconclusive(Problem::new(Reason::Unreachable, "away"));
        assert_eq!(conclude(&docker_hub, &findings(away(), vec![]), false).unwrap_err().field, None);
        let generic = connection(&delivered(|_| {}));
        assert_eq!(conclude(&generic, &findings(away(), vec![]), false).unwrap_err().field, Some(field::REGISTRY_URL));
    }
}
