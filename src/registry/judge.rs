//! What an answer means: one table for all rungs. Pure.
//!
//! A refusal is said only where a server said it of the login itself. Everything else is a problem of another kind.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};
use jiff::Timestamp;

use super::fault::{Fault, fault};
use crate::{
    api::Reason,
    net::{
        Answer, Failure,
        retry_after::{self, UNNAMED_PAUSE},
    },
    problem::Problem,
    unanswered,
};

/// The pause after a login that was answered with a client error other than a refusal: it may count as a failed one.
const PAUSE_AFTER_DOUBTFUL_LOGIN: Duration = Duration::from_secs(30 * 60);

/// The pause after a request without a login was turned away.
const PAUSE_WHILE_BLOCKED: Duration = Duration::from_secs(15 * 60);

/// How far up the ladder a test came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rung {
    /// The first request, without a login.
    Reach,
    /// The login.
    Login,
    /// The token the login brought.
    Token,
    /// A listed repository.
    Repository,
}

impl std::fmt::Display for Rung {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Reach => "reach",
            Self::Login => "login",
            Self::Token => "token",
            Self::Repository => "repository",
        })
    }
}

/// Who answered, for messages: the rung and a noun.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) rung: Rung,
    pub(super) who: String,
}

/// Which kind of server was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    Registry,
    Token,
    /// The token server of a GitLab: its 403 may be a ban, a blocked account or a wrong login.
    GitLab,
}

/// What an answer other than 200 says of a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It is wrong.
    No,
    /// The server wants to know what for.
    WhatFor(Problem),
    /// Nothing.
    Nothing(Problem),
}

/// Judges an answer other than 200 to a request with a login.
pub(super) fn of_login(server: Server, place: &Place, answer: &Answer, now: Timestamp) -> Said {
    let found = fault(answer.body.expose());
    let problem = || rested(unclear(place, answer, now), answer.status);
    if is_transient(answer) {
        return Said::Nothing(problem());
    }
    let is_refusal = found.is_by_a_registry() && !found.is_firewall && !found.is_permission;
    match (answer.status, server) {
        (StatusCode::UNAUTHORIZED, _) => Said::No,
        (StatusCode::FORBIDDEN, Server::Registry | Server::Token) if is_refusal => Said::No,
        (StatusCode::BAD_REQUEST, _) if is_refusal => Said::No,
        (StatusCode::FORBIDDEN, Server::GitLab) if is_refusal => {
            let message = format!(
                "{}: {} answered with status 403: at a GitLab that is a wrong login, a blocked account, or a ban of the \
                 operator's address",
                place.rung, place.who
            );
            Said::Nothing(Problem { message, ..problem() }.hint(
                "check user name and password, whether the account may log in, and whether GitLab has banned the operator's \
                 address; the same login is tried again after half an hour",
            ))
        }
        (StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND, Server::Token | Server::GitLab) => Said::WhatFor(problem()),
        _ => Said::Nothing(problem()),
    }
}

/// The problem of an answer that says nothing of the login.
pub(super) fn unclear(place: &Place, answer: &Answer, now: Timestamp) -> Problem {
    let Place { rung, who } = place;
    let status = answer.status;
    let (reason, meaning) = reason(*rung, answer);
    let problem = problem(reason, format!("{rung}: {who} answered with status {}: {meaning}", status.as_u16()));
    let asked = retry_after::pause(&answer.headers, now)
        .or_else(|| retry_after::pause_in_body(answer.body.expose()).filter(|_| reason == Reason::RateLimited));
    let pause = match reason {
        Reason::AccessBlocked => asked.max(Some(PAUSE_WHILE_BLOCKED)),
        // As for the other connections to this host.
        Reason::RateLimited => asked.or(Some(UNNAMED_PAUSE)),
        _ => asked,
    };
    Problem { retry_after: pause, ..problem }
}

fn reason(rung: Rung, answer: &Answer) -> (Reason, &'static str) {
    let (status, found) = (answer.status, fault(answer.body.expose()));
    let is_first = rung == Rung::Reach;
    if is_rate_limit(answer, found) {
        return (Reason::RateLimited, "it asks to be called less often");
    }
    match status {
        StatusCode::REQUEST_TIMEOUT => (Reason::UpstreamError, "it has a fault of its own"),
        _ if status.is_server_error() || found.unavailable => (Reason::UpstreamError, "it has a fault of its own"),
        StatusCode::FORBIDDEN => (Reason::AccessBlocked, "it refuses to talk to the operator"),
        StatusCode::METHOD_NOT_ALLOWED if found.denied => {
            (Reason::AccessBlocked, "it has disabled the account or organisation")
        }
        StatusCode::NOT_FOUND if is_first => (Reason::NotARegistry, "there is no registry at this address"),
        StatusCode::OK if is_page(&answer.headers) => (Reason::NotARegistry, "the answer is a web page"),
        _ if status.is_redirection() && is_first => {
            (Reason::NotARegistry, "it redirects to another address, which is not followed")
        }
        _ if status.is_redirection() => {
            (Reason::ProtocolError, "it redirects to another address, where no login is ever sent")
        }
        _ => (Reason::ProtocolError, "the answer is not one that the protocol knows here"),
    }
}

/// Whether an answer speaks of a moment, not of a login: a rate limit, or a fault of the server's own.
pub(super) fn is_transient(answer: &Answer) -> bool {
    let found = fault(answer.body.expose());
    is_rate_limit(answer, found)
        || answer.status == StatusCode::REQUEST_TIMEOUT
        || answer.status.is_server_error()
        || found.unavailable
}

/// By the status, by the registry's code for it, or, as at GitHub, by a 403 whose headers say so.
fn is_rate_limit(answer: &Answer, found: Fault) -> bool {
    answer.status == StatusCode::TOO_MANY_REQUESTS
        || (answer.status.is_client_error() && found.too_many_requests)
        || (answer.status == StatusCode::FORBIDDEN && retry_after::is_exhausted(&answer.headers))
}

/// The problem of a request that got no answer.
pub(super) fn unanswered(place: &Place, failure: &Failure) -> Problem {
    let Place { rung, who } = place;
    let reason = unanswered::reason(failure);
    let problem = Problem::new(reason, format!("{rung}: {who} gave no usable answer: {failure}"));
    let advice = unanswered::advice(failure, "the registry's").unwrap_or_else(|| reason.fix().to_owned());
    Problem { retry_after: unanswered::pause(failure), ..problem }.hint(advice)
}

/// A problem with the usual advice for its reason.
pub(super) fn problem(reason: Reason, message: String) -> Problem {
    Problem::new(reason, message).hint(reason.fix())
}

/// The same problem with the pause that a login calls for which may count as failed: registries lock accounts. Too many
/// failed logins are told as too many requests, by the code if not by the status.
fn rested(problem: Problem, status: StatusCode) -> Problem {
    if !status.is_client_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return problem;
    }
    let pause = problem.retry_after.unwrap_or_default().max(PAUSE_AFTER_DOUBTFUL_LOGIN);
    Problem { retry_after: Some(pause), ..problem }
}

/// Whether an answer is meant for people: a login page, a maintenance page, any web server.
pub(super) fn is_page(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    media_type.trim_start().to_ascii_lowercase().starts_with("text/html")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Body;

    fn answer(status: u16, body: &str) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer { status, headers: HeaderMap::new(), body: Body::new(body.into()) }
    }

    fn place(rung: Rung) -> Place {
        Place { rung, who: "the registry".into() }
    }

    const DENIED: &str = r#"{"errors":[{"code":"DENIED","message":"denied"}]}"#;
    const FIREWALL: &str = r#"{"errors":[{"code":"DENIED","message":"client with IP '1.1.1.1' is not allowed"}]}"#;

    #[test]
    fn every_row_of_the_verdict_table() {
        use Reason as R;
        use Server::{GitLab, Registry, Token};
        type Expected = Result<&'static str, Reason>;
        const NO: Expected = Ok("no");
        const WHAT_FOR: Expected = Ok("what for");
        let rows: [(Server, u16, &str, Expected); 26] = [
            (Token, 401, "", NO),
            (Registry, 401, r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#, NO),
            (GitLab, 401, "", NO),
            (Token, 403, DENIED, NO),
            (Registry, 403, DENIED, NO),
            (GitLab, 403, DENIED, Err(R::AccessBlocked)),
            (Token, 403, FIREWALL, Err(R::AccessBlocked)),
            (Token, 403, "", Err(R::AccessBlocked)),
            (Registry, 403, "<html>", Err(R::AccessBlocked)),
            (Registry, 400, DENIED, NO),
            (Token, 400, DENIED, NO),
            (Token, 400, "", WHAT_FOR),
            (Token, 404, "", WHAT_FOR),
            (Registry, 400, "", Err(R::ProtocolError)),
            (Token, 405, DENIED, Err(R::AccessBlocked)),
            (Token, 429, "", Err(R::RateLimited)),
            (Token, 401, r#"{"errors":[{"code":"TOOMANYREQUESTS"}]}"#, Err(R::RateLimited)),
            (Token, 401, r#"{"errors":[{"code":"UNAVAILABLE"}]}"#, Err(R::UpstreamError)),
            (Token, 408, "", Err(R::UpstreamError)),
            (Token, 500, DENIED, Err(R::UpstreamError)),
            (Registry, 503, "", Err(R::UpstreamError)),
            (Registry, 404, "", Err(R::ProtocolError)),
            (Registry, 307, "", Err(R::ProtocolError)),
            (Token, 302, "", Err(R::ProtocolError)),
            (Registry, 204, "", Err(R::ProtocolError)),
            (Token, 418, "", Err(R::ProtocolError)),
        ];
        for (server, status, body, expected) in rows {
            let found = match of_login(server, &place(Rung::Login), &answer(status, body), Timestamp::UNIX_EPOCH) {
                Said::No => Ok("no"),
                Said::WhatFor(_) => Ok("what for"),
                Said::Nothing(problem) => Err(problem.reason),
            };
            assert_eq!(found, expected, "{server:?} {status} {body}");
        }
    }

    #[test]
    fn the_first_request_never_judges_a_login() {
        for (status, reason) in [
            (429, Reason::RateLimited),
            (403, Reason::AccessBlocked),
            (404, Reason::NotARegistry),
            (301, Reason::NotARegistry),
            (307, Reason::NotARegistry),
            (408, Reason::UpstreamError),
            (500, Reason::UpstreamError),
            (599, Reason::UpstreamError),
            (204, Reason::ProtocolError),
            (400, Reason::ProtocolError),
        ] {
            let problem = unclear(&place(Rung::Reach), &answer(status, ""), Timestamp::UNIX_EPOCH);
            assert_eq!(problem.reason, reason, "{status}");
            assert!(problem.message.starts_with("reach: the registry answered"), "{}", problem.message);
        }
    }

    #[test]
    fn too_many_failed_logins_are_not_made_more() {
        let locked = answer(401, r#"{"errors":[{"code":"TOOMANYREQUESTS"}]}"#);
        let said = of_login(Server::Token, &place(Rung::Login), &locked, Timestamp::UNIX_EPOCH);
        let Said::Nothing(problem) = said else { panic!("{said:?}") };
        assert_eq!((problem.reason, problem.retry_after), (Reason::RateLimited, Some(PAUSE_AFTER_DOUBTFUL_LOGIN)));
    }

    #[test]
    fn a_login_that_may_count_as_failed_is_not_repeated_soon() {
        let pause =
            |status| match of_login(Server::Token, &place(Rung::Login), &answer(status, ""), Timestamp::UNIX_EPOCH) {
                Said::Nothing(problem) | Said::WhatFor(problem) => problem.retry_after,
                Said::No => panic!("a refusal"),
            };
        for (status, expected) in [(403, Some(1800)), (400, Some(1800)), (429, Some(30)), (503, None)] {
            assert_eq!(pause(status), expected.map(Duration::from_secs), "{status}");
        }
    }
}
