//! What all rungs share: the way to the servers, the question, and how far the test has come.

use std::{
    sync::atomic::{AtomicBool, AtomicU8, Ordering},
    time::Duration,
};

use http::Method;
use jiff::Timestamp;
use tokio::time::Instant;
use url::Url;

use super::{
    challenge::Bearer,
    grant::{self, TokenScope, token, token_url},
    judge::{Place, Rung, Server, problem, unanswered},
    probe::Question,
    trust::Trusted,
};
use crate::{
    api::Reason,
    domain::{credential::Credential, token::Token},
    net::{Answer, Authorization, Failure, REQUEST_TIMEOUT, Request, Session},
    problem::Problem,
};

/// How much of any other answer is read, in bytes.
const BODY_LIMIT: usize = 1024 * 1024;

/// By how much two limits must differ for the shorter one to be over first for sure.
const MARGIN: Duration = Duration::from_secs(1);

/// The manifests a client asks for: OCI image index and manifest, and Docker's older forms of both.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                         application/vnd.docker.distribution.manifest.list.v2+json, \
                         application/vnd.docker.distribution.manifest.v2+json";

/// One test under way.
pub(super) struct Ladder<'a> {
    pub(super) session: Session,
    pub(super) question: &'a Question<'a>,
    /// Where a login may go.
    pub(super) trusted: Trusted,
    pub(super) now: Timestamp,
    /// When the whole test must be over.
    deadline: Instant,
    reached: AtomicU8,
    sent: AtomicBool,
    awaits_verdict: AtomicBool,
}

/// A token server that may have the login.
#[derive(Clone, Debug)]
pub(super) struct TokenServer {
    pub(super) realm: Url,
    pub(super) bearer: Bearer,
}

/// What a token server did.
pub(super) enum Asked {
    /// It issued a token.
    Token(Token),
    /// It answered with anything but 200.
    Other(Answer),
}

impl<'a> Ladder<'a> {
    pub(super) fn new(session: Session, question: &'a Question<'a>, trusted: Trusted, now: Timestamp) -> Self {
        let deadline = Instant::now() + question.timeout;
        let (reached, sent, awaits_verdict) = (AtomicU8::new(0), AtomicBool::new(false), AtomicBool::new(false));
        Self { session, question, trusted, now, deadline, reached, sent, awaits_verdict }
    }

    /// True if every request so far was held back.
    pub(super) fn sent_nothing(&self) -> bool {
        !self.sent.load(Ordering::Relaxed)
    }

    /// True if the login was sent, and nothing came back.
    pub(super) fn awaits_verdict(&self) -> bool {
        self.awaits_verdict.load(Ordering::Relaxed)
    }

    /// The registry at a rung.
    pub(super) fn registry(&self, rung: Rung) -> Place {
        self.at(rung);
        Place { rung, who: format!("the registry {}", self.question.registry.host()) }
    }

    /// A token server at a rung.
    pub(super) fn token_server(&self, rung: Rung, server: &TokenServer) -> Place {
        self.at(rung);
        Place { rung, who: format!("the token server {}", server.host()) }
    }

    fn at(&self, rung: Rung) {
        self.reached.store(rung as u8, Ordering::Relaxed);
    }

    /// The highest rung that was tried.
    pub(super) fn reached(&self) -> Rung {
        let reached = self.reached.load(Ordering::Relaxed);
        let rungs = [Rung::Reach, Rung::Login, Rung::Token, Rung::Repository];
        rungs.into_iter().find(|rung| *rung as u8 == reached).unwrap_or(Rung::Reach)
    }

    /// Asks the registry's API itself.
    ///
    /// # Errors
    /// The [`Problem`] of a request without an answer.
    pub(super) async fn ask_api(&self, place: &Place, authorization: Authorization<'_>) -> Result<Answer, Problem> {
        self.send(place, get(&self.question.registry.api(), authorization)).await
    }

    /// Asks for the manifest of a reference without its content, which registries do not count as a pull.
    ///
    /// # Errors
    /// The [`Problem`] of a request without an answer.
    pub(super) async fn head_manifest(
        &self,
        place: &Place,
        path: &str,
        authorization: Authorization<'_>,
    ) -> Result<Answer, Problem> {
        let url = self.question.registry.below_api(path);
        self.send(place, Request { method: Method::HEAD, accept: Some(MANIFESTS), ..get(&url, authorization) }).await
    }

    /// Asks for one tag of a repository.
    ///
    /// # Errors
    /// The [`Problem`] of a request without an answer.
    pub(super) async fn list_tags(&self, place: &Place, name: &str, who: Authorization<'_>) -> Result<Answer, Problem> {
        let mut url = self.question.registry.below_api(&format!("{name}/tags/list"));
        url.set_query(Some("n=1"));
        self.send(place, get(&url, who)).await
    }

    /// Asks a token server for a token, with or without a login.
    ///
    /// # Errors
    /// The [`Problem`] of a request without an answer, or of a 200 without a token.
    pub(super) async fn ask_token(
        &self,
        place: &Place,
        server: &TokenServer,
        scope: &TokenScope,
        login: Option<&Credential>,
    ) -> Result<Asked, Problem> {
        let url = token_url(&server.realm, &server.bearer, scope);
        let authorization = login.map_or(Authorization::None, Authorization::Basic);
        let answer = self.send(place, Request { body_limit: grant::BODY_LIMIT, ..get(&url, authorization) }).await?;
        if answer.status != http::StatusCode::OK {
            return Ok(Asked::Other(answer));
        }
        token(answer.body.expose()).map(Asked::Token).ok_or_else(|| {
            let message = format!("{}: {} answered with status 200, but with no usable token", place.rung, place.who);
            problem(Reason::ProtocolError, message)
        })
    }

    async fn send(&self, place: &Place, request: Request<'_>) -> Result<Answer, Problem> {
        // Where the test ends about when the request would, the end of the test decides: a status must not say now this and
        // now that.
        let rest = self.deadline.saturating_duration_since(Instant::now());
        let limit = (rest < REQUEST_TIMEOUT + MARGIN).then(|| rest + MARGIN);
        let is_login = match request.authorization {
            Authorization::Basic(login) => std::ptr::eq(login, self.question.credential),
            Authorization::None | Authorization::Bearer(_) => false,
        };
        if is_login {
            // Also if nobody waits for its end.
            self.awaits_verdict.store(true, Ordering::Relaxed);
        }
        let result = self.session.send(Request { limit, ..request }).await;
        if is_login {
            self.awaits_verdict.store(result.as_ref().is_err_and(may_have_arrived), Ordering::Relaxed);
        }
        if !matches!(result, Err(Failure::Held { .. })) {
            self.sent.store(true, Ordering::Relaxed);
        }
        result.map_err(|failure| unanswered(place, &failure))
    }
}

/// Whether a request without a usable answer may have been received all the same.
fn may_have_arrived(failure: &Failure) -> bool {
    match failure {
        Failure::TimedOut | Failure::Broken | Failure::TooLong => true,
        Failure::AddressNotAllowed(_)
        | Failure::NotResolved
        | Failure::ConnectionRefused
        | Failure::NotConnected
        | Failure::Tls(_)
        | Failure::Proxy(_)
        | Failure::OutOfScope
        | Failure::Held { .. } => false,
    }
}

/// A request for what most requests are for: an answer of ordinary length.
fn get<'r>(url: &'r Url, authorization: Authorization<'r>) -> Request<'r> {
    Request::get(url, authorization, BODY_LIMIT)
}

impl TokenServer {
    /// The host, for messages.
    fn host(&self) -> String {
        crate::domain::host::RegistryHost::of(&self.realm).map(|host| host.to_string()).unwrap_or_default()
    }

    /// GitLab's token servers have the same path everywhere.
    pub(super) fn kind(&self) -> Server {
        if self.realm.path().ends_with("/jwt/auth") { Server::GitLab } else { Server::Token }
    }
}
