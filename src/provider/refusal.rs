//! What an answer of a provider's API means if it is not what was asked for. Pure.
//!
//! Of the body only a machine's word and the name of the request are ever shown, each checked for its form.

use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde_json::Value;

use super::access::is_quoted;
use crate::{
    api::Reason,
    net::{
        Answer, Authorization, Failure,
        retry_after::{self, UNNAMED_PAUSE},
    },
    problem::{Problem, field},
    unanswered,
};

/// The longest name of a request, in bytes.
const MAX_REQUEST_ID: usize = 128;

/// The longest word of a machine, in bytes.
const MAX_WORD: usize = 64;

/// In whose way errors are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `{id, message, request_id}`
    DigitalOcean,
    /// `{httpStatus, messages: [{errorCode, message}]}`
    Ionos,
}

/// Who was asked.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// In whose way errors are told.
    pub(super) dialect: Dialect,
    /// A noun, such as `DigitalOcean's API at api.digitalocean.com`.
    pub(super) who: String,
    /// The field with the address, if the user gave one.
    pub(super) api_url: Option<&'static str>,
}

impl Dialect {
    fn secret_ref(self) -> &'static str {
        match self {
            Self::DigitalOcean => field::DIGITALOCEAN_SECRET_REF,
            Self::Ionos => field::IONOS_SECRET_REF,
        }
    }

    /// What to put into the Secret.
    fn wanted(self) -> &'static str {
        match self {
            Self::DigitalOcean => {
                "put a valid API token of DigitalOcean with the scopes registry:read and registry:update into the Secret"
            }
            Self::Ionos => "put a valid token of IONOS, or user name and password of an account, into the Secret",
        }
    }

    /// What it takes to be allowed.
    fn needed(self) -> &'static str {
        match self {
            Self::DigitalOcean => {
                "give the API token the scopes registry:read and registry:update, or use one that has them"
            }
            Self::Ionos => {
                "give the user the right to use the container registry, and set contractNumber if the registry belongs to \
                 another contract than the user's own"
            }
        }
    }

    /// The word by which a machine tells one error from another.
    fn word(self, body: &Value) -> Option<&str> {
        let (word, is_plain): (_, fn(u8) -> bool) = match self {
            Self::DigitalOcean => (body.get("id"), |byte| byte.is_ascii_lowercase() || byte == b'_'),
            Self::Ionos => (body.pointer("/messages/0/errorCode"), |byte| {
                byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
            }),
        };
        let is_word = |word: &&str| (1..=MAX_WORD).contains(&word.len()) && word.bytes().all(is_plain);
        word.and_then(Value::as_str).filter(is_word)
    }
}

impl Asked {
    /// The problem of a request that got no answer.
    pub(super) fn unanswered(&self, failure: &Failure) -> Problem {
        let reason = unanswered::reason(failure);
        let advice = unanswered::advice(failure, "the API's").unwrap_or_else(|| self.advice(reason).to_owned());
        let problem = Problem::new(reason, format!("{} gave no usable answer: {failure}", self.who)).hint(advice);
        let field = self.api_url.filter(|_| reason != Reason::RateLimited);
        Problem { field, retry_after: unanswered::pause(failure), ..problem }
    }

    /// The problem of an answer that does not say what was asked for, and does not mean anything here that it would not mean
    /// elsewhere. `carried` is what the request carried: a text that quotes it is not shown.
    pub(super) fn refusal(&self, answer: &Answer, carried: Authorization<'_>, now: Timestamp) -> Problem {
        let status = answer.status;
        let (reason, meaning) = match status {
            StatusCode::UNAUTHORIZED => (Reason::InvalidCredentials, "it does not accept what the Secret holds"),
            StatusCode::FORBIDDEN => {
                (Reason::InsufficientScope, "what the Secret holds does not give the right to this")
            }
            StatusCode::TOO_MANY_REQUESTS => (Reason::RateLimited, "it asks to be called less often"),
            StatusCode::REQUEST_TIMEOUT => (Reason::UpstreamError, "it has a fault of its own"),
            _ if status.is_server_error() => (Reason::UpstreamError, "it has a fault of its own"),
            _ if status.is_redirection() => {
                (Reason::ProtocolError, "it redirects to another address, which is not followed")
            }
            _ => (Reason::ProtocolError, "the answer is not one that is known here"),
        };
        let problem = self.of_answer(reason, answer, carried, meaning);
        let asked = retry_after::pause(&answer.headers, now);
        let retry_after = if reason == Reason::RateLimited { asked.or(Some(UNNAMED_PAUSE)) } else { asked };
        Problem { retry_after, ..problem }
    }

    /// The problem of an answer, with the usual field and advice for its reason.
    pub(super) fn of_answer(
        &self,
        reason: Reason,
        answer: &Answer,
        carried: Authorization<'_>,
        meaning: &str,
    ) -> Problem {
        let body: Value = serde_json::from_slice(answer.body.expose()).unwrap_or_default();
        let is_ours = |text: &&str| !is_quoted(carried, text);
        let word = self.dialect.word(&body).filter(is_ours).filter(|_| !answer.status.is_success());
        let word = word.map(|word| format!(" ({word})")).unwrap_or_default();
        let message = format!("{} answered with status {}{word}: {meaning}", self.who, answer.status.as_u16());
        let problem = Problem::new(reason, message)
            .hint(self.advice(reason))
            .of_request(request_id(&body, &answer.headers).filter(is_ours).map(str::to_owned));
        let field = match reason {
            Reason::InvalidCredentials | Reason::InsufficientScope => Some(self.dialect.secret_ref()),
            Reason::ProtocolError => self.api_url,
            _ => None,
        };
        Problem { field, ..problem }
    }

    fn advice(&self, reason: Reason) -> &'static str {
        match reason {
            Reason::InvalidCredentials => self.dialect.wanted(),
            Reason::InsufficientScope => self.dialect.needed(),
            Reason::RateLimited => "wait; the operator goes on when the pause is over that the API asks for",
            Reason::UpstreamError => "look at the provider's status page; the operator tries again",
            Reason::Unreachable => {
                "check name resolution, network policies and firewalls between the operator and the API; delivered Secrets \
                 stay as they are"
            }
            Reason::TlsFailed => {
                "check the API's certificate; if an authority of your own signed it, whoever runs the operator can name it in \
                 --ca-file"
            }
            Reason::AddressNotAllowed => "use an address that is none of those",
            Reason::ProtocolError if self.api_url.is_some() => {
                "check apiUrl; if it is right, report the answer that the message describes"
            }
            Reason::ProtocolError => "report the answer that the message describes",
            other => other.fix(),
        }
    }
}

/// The provider's own name for a request: from the body of an error, or from a header.
fn request_id<'a>(body: &'a Value, headers: &'a HeaderMap) -> Option<&'a str> {
    let in_body = body.get("request_id").and_then(Value::as_str);
    let in_header = || headers.get("x-request-id").and_then(|value| value.to_str().ok());
    let is_one = |id: &&str| (1..=MAX_REQUEST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    in_body.filter(is_one).or_else(|| in_header().filter(is_one))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::token::Token,
        net::{Body, HeldCause},
    };

    const NOW: i64 = 1_795_273_200;

    fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Answer {
        let pair = |(name, value): &(&'static str, &str)| (name.parse().unwrap(), value.parse().unwrap());
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: headers.iter().map(pair).collect(),
            body: Body::new(body.into()),
        }
    }

    fn asked(dialect: Dialect, api_url: Option<&'static str>) -> Asked {
        Asked { dialect, who: "the API".into(), api_url }
    }

    fn refusal(dialect: Dialect, answer: &Answer) -> Problem {
        let token = Token::new("dop_v1_canary_token".into()).unwrap();
        let now = Timestamp::from_second(NOW).unwrap();
        let problem = asked(dialect, None).refusal(answer, Authorization::Bearer(&token), now);
        assert!(!format!("{problem:?}").contains("canary"), "{problem:?}");
        assert!(problem.hint.is_some());
        problem
    }

    #[test]
    fn every_status_has_a_meaning() {
        use Reason as R;
        let secret = Some(field::DIGITALOCEAN_SECRET_REF);
        for (status, reason, field) in [
            (401, R::InvalidCredentials, secret),
            (403, R::InsufficientScope, secret),
            (429, R::RateLimited, None),
            (408, R::UpstreamError, None),
            (500, R::UpstreamError, None),
            (503, R::UpstreamError, None),
            (599, R::UpstreamError, None),
            (301, R::ProtocolError, None),
            (307, R::ProtocolError, None),
            (400, R::ProtocolError, None),
            (404, R::ProtocolError, None),
            (418, R::ProtocolError, None),
            (200, R::ProtocolError, None),
            (999, R::ProtocolError, None),
        ] {
            let problem = refusal(Dialect::DigitalOcean, &answer(status, &[], "canary"));
            assert_eq!((problem.reason, problem.field), (reason, field), "{status}");
            assert!(problem.message.contains(&status.to_string()));
        }
        let problem = refusal(Dialect::Ionos, &answer(403, &[], ""));
        assert_eq!(problem.field, Some(field::IONOS_SECRET_REF));
        assert!(problem.hint.unwrap().contains("contractNumber"));
        let problem = refusal(Dialect::DigitalOcean, &answer(403, &[], ""));
        assert!(problem.hint.is_some_and(|hint| hint.contains("registry:read") && hint.contains("registry:update")));
    }

    #[test]
    fn shows_the_machines_word_and_nothing_else_of_a_body() {
        use Dialect::{DigitalOcean, Ionos};
        let long = format!(r#"{{"id":"{}"}}"#, "a".repeat(65));
        for (dialect, body, expected) in [
            (DigitalOcean, r#"{"id":"unauthorized","message":"canary"}"#, "401 (unauthorized): "),
            (DigitalOcean, r#"{"id":"Canary","message":"canary"}"#, "401: "),
            (DigitalOcean, r#"{"id":"not found canary"}"#, "401: "),
            (DigitalOcean, r#"{"id":7}"#, "401: "),
            (DigitalOcean, r#"{"id":""}"#, "401: "),
            (DigitalOcean, &long, "401: "),
            (DigitalOcean, r#"["canary"]"#, "401: "),
            (DigitalOcean, "<html>canary", "401: "),
            (
                Ionos,
                r#"{"httpStatus":401,"messages":[{"errorCode":"paas-auth-1","message":"canary"}]}"#,
                "401 (paas-auth-1): ",
            ),
            (Ionos, r#"{"messages":[{"errorCode":"a canary"}]}"#, "401: "),
            (Ionos, r#"{"messages":[{"errorCode":"dop_v1_canary_token"}]}"#, "401: "),
            (Ionos, r#"{"messages":{"errorCode":"x"}}"#, "401: "),
            (Ionos, r#"{"messages":[]}"#, "401: "),
        ] {
            let problem = refusal(dialect, &answer(401, &[], body));
            assert!(problem.message.contains(expected), "{body}: {}", problem.message);
        }
    }

    #[test]
    fn passes_on_the_name_of_the_request_if_it_looks_like_one() {
        let header = [("x-request-id", "req-7")];
        let (long, spaced) = (format!(r#"{{"request_id":"{}"}}"#, "a".repeat(129)), r#"{"request_id":"a b"}"#);
        for (headers, body, expected) in [
            (&[][..], r#"{"request_id":"4d9d8375-3c56"}"#, Some("4d9d8375-3c56")),
            (&header, r#"{"request_id":"4d9d8375-3c56"}"#, Some("4d9d8375-3c56")),
            (&header, "", Some("req-7")),
            (&header, spaced, Some("req-7")),
            (&header, &long, Some("req-7")),
            (&[], spaced, None),
            (&[], &long, None),
            (&[], r#"{"request_id":"dop_v1_canary_token"}"#, None),
            (&[], r#"{"request_id":"x:dop_v1_canary_tok"}"#, None),
            (&[], r#"{"request_id":"1_canary_token"}"#, None),
            (&[], r#"{"request_id":["canary"]}"#, None),
            (&[("x-request-id", "a b")], "", None),
            (&[], "", None),
        ] {
            let problem = refusal(Dialect::DigitalOcean, &answer(500, headers, body));
            assert_eq!(problem.request_id.as_deref(), expected, "{headers:?} {body}");
        }
    }

    #[test]
    fn waits_as_long_as_the_answer_asks_for() {
        for (status, headers, expected) in [
            (429, &[("retry-after", "7")][..], Some(7)),
            (429, &[("ratelimit-remaining", "0"), ("ratelimit-reset", "1795273245")], Some(45)),
            (429, &[], Some(30)),
            (503, &[("retry-after", "7")], Some(7)),
            (503, &[], None),
            (401, &[("ratelimit-remaining", "9"), ("ratelimit-reset", "1795273245")], None),
        ] {
            let problem = refusal(Dialect::DigitalOcean, &answer(status, headers, ""));
            assert_eq!(problem.retry_after.map(|pause| pause.as_secs()), expected, "{status} {headers:?}");
        }
    }

    #[test]
    fn a_request_without_an_answer_means_the_same_as_at_a_registry() {
        let held = Failure::Held { cause: HeldCause::Asked, pause: std::time::Duration::from_secs(9) };
        for (failure, reason, field) in [
            (Failure::TimedOut, Reason::Unreachable, Some(field::IONOS_API_URL)),
            (Failure::Tls("x".into()), Reason::TlsFailed, Some(field::IONOS_API_URL)),
            (Failure::TooLong, Reason::ProtocolError, Some(field::IONOS_API_URL)),
            (held, Reason::RateLimited, None),
        ] {
            let problem = asked(Dialect::Ionos, Some(field::IONOS_API_URL)).unanswered(&failure);
            assert_eq!((problem.reason, problem.field), (reason, field), "{failure:?}");
            assert_eq!(problem.retry_after.is_some(), reason == Reason::RateLimited);
            assert!(problem.hint.is_some());
        }
    }
}
