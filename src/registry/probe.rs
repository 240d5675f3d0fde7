//! The login test: the same request without and with the credential. A 401 is never a pass, and an answer that says
//! nothing about the credential is never a refusal.

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode, header::CONTENT_TYPE};
use jiff::Timestamp;

use super::challenge::{Offered, offered};
use crate::{
    api::Reason,
    domain::{credential::Credential, host::RegistryUrl},
    net::{Answer, Authorization, Failure, HeldCause, Http, Request, Scope, retry_after},
};

/// The pause after a login that was answered with a client error other than 401.
const PAUSE_AFTER_DOUBTFUL_LOGIN: Duration = Duration::from_secs(30 * 60);

/// What a test login found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// The registry refused the request without the credential and accepted it with it.
    Proven,
    /// The registry accepts the request without any credential, so nothing can be proven.
    Unverified,
    /// The registry refused the credential.
    Refused,
    /// Nothing was learned about the credential.
    Inconclusive(Doubt),
}

/// Why nothing was learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// The cause.
    pub reason: Reason,
    /// The cause in a sentence, beginning with the step that failed.
    pub message: String,
    /// The pause the registry asked for.
    pub retry_after: Option<Duration>,
}

impl Login {
    fn inconclusive(reason: Reason, message: impl Into<String>) -> Self {
        Self::Inconclusive(Doubt { reason, message: message.into(), retry_after: None })
    }
}

/// Tests a credential with a login: `GET /v2/` alone, then with Basic authentication.
///
/// The credential is sent to the registry itself only, and only after the registry asked for Basic authentication.
pub async fn login(http: &Http, registry: &RegistryUrl, credential: &Credential) -> Login {
    let api = registry.api();
    let Ok(session) = http.session(Scope { origins: vec![api.origin()], authorities: None, private: true }) else {
        return Login::inconclusive(Reason::TlsFailed, "TLS could not be set up");
    };
    let get = async |authorization| {
        session.send(Request { method: Method::GET, url: &api, authorization, accept: None, body_limit: 1 << 16 }).await
    };
    let anonymous = match get(Authorization::None).await {
        Ok(answer) => answer,
        Err(failure) => return unanswered("could not reach the registry", &failure),
    };
    match anonymous.status {
        StatusCode::OK if is_page(&anonymous.headers) => {
            return Login::inconclusive(
                Reason::NotARegistry,
                "the host answers with a web page, not as a registry does",
            );
        }
        StatusCode::OK => return Login::Unverified,
        StatusCode::UNAUTHORIZED => {}
        _ => return no_verdict("the first request, without a login,", &anonymous),
    }
    match offered(&anonymous.headers) {
        Offered { basic: true, .. } => {}
        Offered { bearer: true, .. } => {
            return Login::inconclusive(
                Reason::ProtocolError,
                "the registry asks for token authentication, which this version of the operator cannot test",
            );
        }
        Offered { .. } => {
            return Login::inconclusive(
                Reason::ProtocolError,
                "the registry answered 401 without a WWW-Authenticate header that names Basic authentication",
            );
        }
    }
    match get(Authorization::Basic(credential)).await {
        Ok(Answer { status: StatusCode::OK, .. }) => Login::Proven,
        Ok(Answer { status: StatusCode::UNAUTHORIZED, .. }) => Login::Refused,
        Ok(answer) => rested(no_verdict("the login", &answer), answer.status),
        Err(failure) => unanswered("the login got no answer", &failure),
    }
}

fn unanswered(step: &str, failure: &Failure) -> Login {
    let reason = match failure {
        Failure::AddressNotAllowed(_) => Reason::AddressNotAllowed,
        Failure::Tls(_) => Reason::TlsFailed,
        Failure::TooLong | Failure::OutOfScope => Reason::ProtocolError,
        Failure::Held { cause: HeldCause::Asked, .. } => Reason::RateLimited,
        Failure::Held { cause: HeldCause::Unanswered(last), .. } => return unanswered(step, last),
        Failure::NotResolved | Failure::TimedOut | Failure::ConnectionRefused | Failure::Broken => Reason::Unreachable,
        Failure::NotConnected | Failure::Proxy(_) => Reason::Unreachable,
    };
    Login::inconclusive(reason, format!("{step}: {failure}"))
}

/// The verdict on an answer that is neither a pass nor a 401.
fn no_verdict(step: &str, answer: &Answer) -> Login {
    let status = answer.status;
    let (reason, meaning) = match status {
        StatusCode::TOO_MANY_REQUESTS => (Reason::RateLimited, "the registry asks to be called less often"),
        StatusCode::FORBIDDEN => (Reason::AccessBlocked, "the registry refuses to talk to the operator"),
        StatusCode::NOT_FOUND => (Reason::NotARegistry, "there is no registry at this address"),
        StatusCode::REQUEST_TIMEOUT => (Reason::UpstreamError, "the registry has a fault of its own"),
        _ if status.is_server_error() => (Reason::UpstreamError, "the registry has a fault of its own"),
        _ if status.is_redirection() => (Reason::NotARegistry, "the host redirects elsewhere, which is not followed"),
        _ => (Reason::ProtocolError, "the answer is not one a registry gives"),
    };
    Login::Inconclusive(Doubt {
        reason,
        message: format!("{step} was answered with status {}: {meaning}", status.as_u16()),
        retry_after: retry_after::pause(&answer.headers, Timestamp::UNIX_EPOCH),
    })
}

/// The same doubt with the pause that a login which may count as failed calls for: registries lock accounts, and some
/// say so with a 403.
fn rested(login: Login, status: StatusCode) -> Login {
    match login {
        Login::Inconclusive(doubt) if status.is_client_error() && doubt.reason != Reason::RateLimited => {
            let retry_after = Some(doubt.retry_after.unwrap_or_default().max(PAUSE_AFTER_DOUBTFUL_LOGIN));
            Login::Inconclusive(Doubt { retry_after, ..doubt })
        }
        login => login,
    }
}

/// Whether an answer is meant for people: a login page, a maintenance page, any web server.
fn is_page(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    media_type.trim_start().to_ascii_lowercase().starts_with("text/html")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, retry_after: Option<&str>) -> Answer {
        let mut headers = HeaderMap::new();
        if let Some(value) = retry_after {
            headers.insert(http::header::RETRY_AFTER, value.parse().unwrap());
        }
        Answer { status: StatusCode::from_u16(status).unwrap(), headers, body: crate::net::Body::new(vec![]) }
    }

    #[test]
    fn an_answer_that_says_nothing_of_the_credential_is_never_a_refusal() {
        for (status, reason) in [
            (429, Reason::RateLimited),
            (403, Reason::AccessBlocked),
            (404, Reason::NotARegistry),
            (301, Reason::NotARegistry),
            (307, Reason::NotARegistry),
            (408, Reason::UpstreamError),
            (500, Reason::UpstreamError),
            (503, Reason::UpstreamError),
            (599, Reason::UpstreamError),
            (204, Reason::ProtocolError),
            (400, Reason::ProtocolError),
            (418, Reason::ProtocolError),
        ] {
            match no_verdict("the login", &answer(status, None)) {
                Login::Inconclusive(doubt) => assert_eq!(doubt.reason, reason, "{status}"),
                other => panic!("{status}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_login_that_may_count_as_failed_is_not_repeated_soon() {
        for (status, pause) in [(403, Some(1800)), (400, Some(1800)), (429, None), (503, None)] {
            let answer = answer(status, None);
            match rested(no_verdict("the login", &answer), answer.status) {
                Login::Inconclusive(doubt) => assert_eq!(doubt.retry_after, pause.map(Duration::from_secs), "{status}"),
                other => panic!("{other:?}"),
            }
        }
    }
}
