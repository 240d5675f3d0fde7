//! Requests to one API of a provider, by one who may use it. They go to its origin and nowhere else, follow no redirect, and
//! count together with all others that carry the same.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use url::Url;

use super::{
    Error, Io,
    refusal::{Asked, Dialect},
};
use crate::{
    api::Reason,
    clock::Clock,
    domain::host::RegistryHost,
    net::{Answer, Authorization, Content, Redirects, Request, Scope, Session},
    problem::Problem,
};

/// How long a request may take, with the whole answer: an API that creates something takes longer than one that shows it.
const LIMIT: Duration = Duration::from_secs(30);

/// How much of an ordinary answer is read, in bytes.
pub(super) const BODY_LIMIT: usize = 64 * 1024;

/// How much of a list is read, in bytes.
pub(super) const LIST_LIMIT: usize = 1024 * 1024;

/// See the module.
pub(super) struct Service<'a> {
    session: Session,
    authorization: Authorization<'a>,
    /// One more header on every request.
    header: Option<(HeaderName, HeaderValue)>,
    /// Who is asked.
    pub(super) asked: Asked,
    pub(super) clock: &'a Clock,
}

/// Which API, for messages.
pub(super) struct Place<'a> {
    /// In whose way errors are told.
    pub(super) dialect: Dialect,
    /// A noun, such as `DigitalOcean's API`.
    pub(super) noun: &'static str,
    /// Where.
    pub(super) url: &'a Url,
    /// The field with the address, if the user gave one.
    pub(super) api_url: Option<&'static str>,
}

impl<'a> Service<'a> {
    /// A way to the API. Where it counts requests by what they carry, `counts` is true; where they are too different for
    /// that, all of this operator's count together.
    pub(super) fn new(
        io: &Io<'a>,
        place: &Place<'_>,
        authorization: Authorization<'a>,
        counts: bool,
    ) -> Result<Self, Problem> {
        let host = RegistryHost::of(place.url).map(|host| host.to_string()).unwrap_or_default();
        let asked = Asked { dialect: place.dialect, who: format!("{} at {host}", place.noun), api_url: place.api_url };
        let scope = Scope {
            this_machine: false,
            origins: vec![place.url.origin()],
            authorities: None,
            private: io.may_reach_private(),
            lane: counts.then(|| io.http.lane(authorization)),
        };
        let session = io.http.session(scope).map_err(|error| {
            Problem::new(Reason::TlsFailed, format!("{} could not be asked: {error}", asked.who))
                .hint(Reason::TlsFailed.fix())
        })?;
        Ok(Self { session, authorization, header: None, asked, clock: io.clock })
    }

    /// The same with one more header on every request.
    pub(super) fn with(self, header: Option<(HeaderName, HeaderValue)>) -> Self {
        Self { header, ..self }
    }

    /// Asks for what is there.
    ///
    /// # Errors
    /// The [`Problem`] of a request without an answer.
    pub(super) async fn get(&self, url: &Url, body_limit: usize) -> Result<Answer, Problem> {
        self.send(Method::GET, url, None, body_limit).await
    }

    /// Has something made, or done.
    ///
    /// # Errors
    /// The [`Problem`] of a request without an answer.
    pub(super) async fn post(&self, url: &Url, content: Content) -> Result<Answer, Problem> {
        self.send(Method::POST, url, Some(content), BODY_LIMIT).await
    }

    /// Has something deleted.
    ///
    /// # Errors
    /// The [`Problem`] of a request without an answer.
    pub(super) async fn delete(&self, url: &Url) -> Result<Answer, Problem> {
        self.send(Method::DELETE, url, None, BODY_LIMIT).await
    }

    async fn send(
        &self,
        method: Method,
        url: &Url,
        content: Option<Content>,
        body_limit: usize,
    ) -> Result<Answer, Problem> {
        let request = Request {
            method,
            accept: Some("application/json"),
            header: self.header.clone(),
            content,
            redirects: Redirects::Never,
            limit: Some(LIMIT),
            ..Request::get(url, self.authorization, body_limit)
        };
        self.session.send(request).await.map_err(|failure| self.asked.unanswered(&failure))
    }

    /// The problem of an answer that means nothing special here.
    pub(super) fn refusal(&self, answer: &Answer) -> Problem {
        self.asked.refusal(answer, self.authorization, self.clock.now())
    }

    /// The problem of an answer that means something special here.
    pub(super) fn problem(&self, reason: Reason, answer: &Answer, meaning: &str) -> Problem {
        self.asked.of_answer(reason, answer, self.authorization, meaning)
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Provider(Box::new(problem))
    }
}
