//! The ladder as a whole. A 401 is never a pass, what everybody may do proves nothing, and an answer that says nothing of
//! the login is never a refusal.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    control::Habits,
    judge::{Rung, problem},
    ladder::Ladder,
    login::{login, reach},
    quota::{self, Quota},
    repository::{Found, Repository, check},
    trust::origins,
};
use crate::{
    api::Reason,
    domain::{
        credential::Credential,
        host::{RegistryHost, RegistryUrl},
    },
    net::{Certificates, Http, Scope},
    problem::Problem,
};

/// What to find out.
pub struct Question<'a> {
    /// Where the registry is.
    pub registry: &'a RegistryUrl,
    /// Hosts besides the registry's own that may have the login.
    pub token_hosts: &'a [RegistryHost],
    /// Certificate authorities to trust besides the operator's.
    pub authorities: Option<Certificates>,
    /// The login.
    pub credential: &'a Credential,
    /// Repositories that the login must be able to pull from.
    pub repositories: &'a [Repository],
    /// Whether to read the pull quota, which only Docker Hub has.
    pub reads_quota: bool,
    /// What an earlier process found: the registry refuses wrong logins.
    pub checks_logins: Option<bool>,
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
    /// The pull quota, if it was asked for and could be read.
    pub quota: Option<Quota>,
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
    },
    /// Nothing was learned about it.
    Inconclusive(Problem),
}

/// Climbs the ladder: reach, challenge, login, token, repositories.
///
/// The login goes to the registry itself and to the token servers that the question trusts, and nowhere else. Dropping
/// the future ends the test and leaves nothing behind.
pub async fn ask(http: &Http, habits: &Habits, question: &Question<'_>, now: Timestamp) -> Findings {
    let trusted = origins(question.registry, question.token_hosts);
    let scope = Scope {
        origins: trusted.clone(),
        authorities: question.authorities.clone(),
        // Every connection is a namespaced one.
        private: !http.forbids_private(),
    };
    let session = match http.session(scope) {
        Ok(session) => session,
        Err(error) => return Findings::of(Login::Inconclusive(problem(Reason::TlsFailed, error.to_string()))),
    };
    let ladder = Ladder::new(session, question, trusted, now);
    match tokio::time::timeout(question.timeout, climb(&ladder, habits)).await {
        Ok(findings) => findings,
        Err(_) => Findings::of(Login::Inconclusive(took_too_long(&ladder))),
    }
}

async fn climb(ladder: &Ladder<'_>, habits: &Habits) -> Findings {
    let question = ladder.question;
    let way = match reach(ladder).await {
        Ok(way) => way,
        Err(problem) => return Findings::of(Login::Inconclusive(problem)),
    };
    let login = login(ladder, &way, habits).await;
    let mut findings = Findings::of(login);
    if matches!(findings.login, Login::Refused { .. } | Login::Inconclusive(_)) {
        return findings;
    }
    for repository in question.repositories {
        findings.repositories.push(check(ladder, &way, repository).await);
    }
    if question.reads_quota {
        findings.quota = quota::read(ladder, &way).await;
    }
    findings
}

impl Findings {
    fn of(login: Login) -> Self {
        Self { login, repositories: vec![], quota: None }
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
