//! The ladder as a whole. A 401 is never a pass, what everybody may do proves nothing, and an answer that says nothing of
//! the login is never a refusal.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    control::{Finding, Habits},
    judge::{Rung, problem},
    ladder::Ladder,
    login::{Way, login, reach},
    quota::{self, Quota},
    repository::{Checked, Found, Repository, check},
    trust::{Trusted, origins},
};
use crate::{
    api::{Reason, status::RepositoryVerdict},
    domain::{
        credential::Credential,
        host::{RegistryHost, RegistryUrl},
    },
    net::{Certificates, Http, Scope},
    problem::Problem,
};

/// How long the pull quota is waited for.
const QUOTA_LIMIT: Duration = Duration::from_secs(3);

/// What to find out.
pub struct Question<'a> {
    /// Where the registry is.
    pub registry: &'a RegistryUrl,
    /// Hosts besides the registry's own that may have the login.
    pub token_hosts: &'a [RegistryHost],
    /// Anybody on this machine may have the login too.
    pub this_machine: bool,
    /// Addresses of private networks may be reached.
    pub private: bool,
    /// Certificate authorities to trust besides the operator's.
    pub authorities: Option<Certificates>,
    /// The login.
    pub credential: &'a Credential,
    /// Repositories that the login must be able to pull from.
    pub repositories: &'a [Repository],
    /// Whether to read the pull quota, which only Docker Hub has.
    pub reads_quota: bool,
    /// What an earlier process found of the registry's way with wrong logins.
    pub control: Option<Finding>,
    /// How long the whole test may take.
    pub timeout: Duration,
}

/// What was found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// What the login is worth.
    pub login: Login,
    /// What it can do with each repository; empty unless the login was accepted.
    pub repositories: Vec<Found>,
    /// What the verdict on the login rests on, if it rests on a control.
    pub control: Option<Finding>,
    /// The pull quota, if it was asked for and could be read.
    pub quota: Option<Quota>,
    /// Nothing was sent, because all requests to this host are held back.
    pub is_held: bool,
    /// The login was sent and got no answer: whoever counts failed logins may have counted it.
    pub may_have_failed: bool,
}

/// What a login is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// The registry accepted it, and would not have accepted another.
    Proven,
    /// The registry accepted it, and would have accepted anything.
    Unverified,
    /// The registry refused it.
    Refused {
        /// Which server said so.
        who: String,
        /// With which status.
        status: u16,
        /// It was sent for a repository: for another one, or for none, it might be accepted.
        for_repository: bool,
    },
    /// Nothing was learned about it.
    Inconclusive(Problem),
}

/// Whether so many wait already for a server that this test may need that it had better begin later: the registry, or a token
/// server behind it.
pub fn is_crowded(http: &Http, registry: &RegistryUrl, token_hosts: &[RegistryHost]) -> bool {
    origins(registry, token_hosts).iter().any(|origin| http.is_crowded(origin))
}

/// Climbs the ladder: reach, challenge, login, token, repositories.
///
/// The login goes to the registry itself and to the token servers that the question trusts, and nowhere else. Dropping
/// the future ends the test and leaves nothing behind.
pub async fn ask(http: &Http, habits: &Habits, question: &Question<'_>, now: Timestamp) -> Findings {
    let origins = origins(question.registry, question.token_hosts);
    let trusted = Trusted { origins, this_machine: question.this_machine };
    let scope = Scope {
        this_machine: question.this_machine,
        origins: trusted.origins.clone(),
        authorities: question.authorities.clone(),
        private: question.private,
        lane: None,
    };
    let session = match http.session(scope) {
        Ok(session) => session,
        Err(error) => return Findings::of(Login::Inconclusive(problem(Reason::TlsFailed, error.to_string()))),
    };
    let ladder = Ladder::new(session, question, trusted, now);
    let (findings, way) = match tokio::time::timeout(question.timeout, climb(&ladder, habits)).await {
        Ok(climbed) => climbed,
        Err(_) => (Findings::of(Login::Inconclusive(took_too_long(&ladder))), None),
    };
    let is_held = ladder.sent_nothing() && matches!(findings.login, Login::Inconclusive(_));
    let is_at_rest = findings.repositories.iter().all(|found| found.verdict != RepositoryVerdict::Inconclusive);
    let quota = match way.filter(|_| question.reads_quota && is_at_rest) {
        // What the login is worth is found out by now, and nobody's wait for a number changes it.
        Some(way) => tokio::time::timeout(QUOTA_LIMIT, quota::read(&ladder, &way)).await.ok().flatten(),
        None => None,
    };
    Findings { quota, is_held, may_have_failed: ladder.awaits_verdict(), ..findings }
}

/// Climbs until something stops it; says how the registry wants to be asked if the login was accepted.
async fn climb(ladder: &Ladder<'_>, habits: &Habits) -> (Findings, Option<Way>) {
    let way = match reach(ladder).await {
        Ok(way) => way,
        Err(problem) => return (Findings::of(Login::Inconclusive(problem)), None),
    };
    let (login, control) = login(ladder, &way, habits).await;
    let mut findings = Findings { control, ..Findings::of(login) };
    if matches!(findings.login, Login::Refused { .. } | Login::Inconclusive(_)) {
        return (findings, None);
    }
    for repository in ladder.question.repositories {
        match check(ladder, &way, repository).await {
            // Nobody had checked the login before: it is wrong, and not to be sent again for the next repository.
            Checked::Refused { who, status } if findings.login == Login::Unverified => {
                return (Findings::of(Login::Refused { who, status, for_repository: true }), None);
            }
            Checked::Refused { who, status } => {
                findings.repositories.push(Found::refused(repository, &who, status));
                break;
            }
            Checked::Found(found) => {
                let is_known = found.verdict != RepositoryVerdict::Inconclusive;
                findings.repositories.push(found);
                // Whoever gives no answer for one is not asked for the next.
                if !is_known {
                    break;
                }
            }
        }
    }
    (findings, Some(way))
}

impl Findings {
    /// This of the login, and nothing else.
    pub(crate) fn of(login: Login) -> Self {
        Self { login, repositories: vec![], control: None, quota: None, is_held: false, may_have_failed: false }
    }
}

fn took_too_long(ladder: &Ladder<'_>) -> Problem {
    let seconds = ladder.question.timeout.as_secs();
    let at = match ladder.reached() {
        Rung::Reach => "reach: the registry did not answer",
        Rung::Login => "login: there was no verdict on the login",
        Rung::Token => "token: the registry did not say whether it accepts the token",
        Rung::Repository => "repository: not all repositories were answered for",
    };
    Problem::new(Reason::Unreachable, format!("{at} within the {seconds} s that the whole test may take"))
        .hint("check host name, port and network policies, or allow more with spec.test.timeoutSeconds")
}
