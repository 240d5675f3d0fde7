//! The one way out of the cluster: an HTTP client that connects to checked addresses only, uses no proxy of the
//! environment, reads no more than it must, and gives up in time.
//!
//! [`Http`] holds what all share. A [`Session`] is made for the test of one connection and reaches only the origins that
//! this connection trusts: whatever an answer says, nothing can be sent anywhere else. `clippy.toml` forbids building any
//! other client.

mod address;
mod answer;
mod error;
mod resolver;
pub mod retry_after;
mod tls;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderMap, Method, StatusCode, header};
use rustls::{ClientConfig, RootCertStore};
use url::{Origin, Url};

pub use answer::Body;
pub use error::{Error, Failure};
pub use resolver::{Lookup, SystemLookup};
pub use tls::{Certificates, InvalidCertificates};

use crate::domain::{credential::Credential, token::Token};
use address::AddressRules;
use resolver::CheckedResolver;

/// How long a TCP and TLS connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one request may take in all, with the whole answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How many headers an answer may have.
const MAX_HEADERS: usize = 100;

/// How many redirects within one origin are followed.
const MAX_REDIRECTS: usize = 3;

/// Sent with every request; some services refuse requests without one.
const USER_AGENT: &str = concat!("regcred/", env!("CARGO_PKG_VERSION"));

/// How the operator reaches the outside: the same for all connections.
pub struct Settings {
    /// Connections to this machine are possible: for tests and the demo.
    pub allow_loopback: bool,
    /// Certificate authorities to trust besides the system's.
    pub authorities: Certificates,
    /// Where the API server listens: no connection may be made to these.
    pub api_server: Vec<SocketAddr>,
    /// Who resolves names.
    pub lookup: Arc<dyn Lookup>,
}

/// Where the requests of one session may go, and which certificates are trusted there.
pub struct Scope {
    /// Scheme, host and port of everything that may be reached.
    pub origins: Vec<Origin>,
    /// Certificate authorities to trust besides the operator's.
    pub authorities: Option<Certificates>,
    /// Whether addresses of private networks may be reached.
    pub private: bool,
}

/// What all sessions share.
pub struct Http {
    rules: AddressRules,
    lookup: Arc<dyn Lookup>,
    roots: RootCertStore,
    tls: ClientConfig,
}

/// The way to the origins of one [`Scope`].
pub struct Session {
    client: reqwest::Client,
    rules: AddressRules,
    origins: Vec<Origin>,
}

/// What proves the sender's identity.
#[derive(Clone, Copy)]
pub enum Authorization<'a> {
    /// Nothing.
    None,
    /// A user name and a password.
    Basic(&'a Credential),
    /// A token from a token server.
    Bearer(&'a Token),
}

/// One request.
pub struct Request<'a> {
    /// GET or HEAD.
    pub method: Method,
    /// Where to.
    pub url: &'a Url,
    /// From whom.
    pub authorization: Authorization<'a>,
    /// Which media types are welcome; none says nothing.
    pub accept: Option<&'static str>,
    /// How much of the body is read, in bytes. A longer one is a failure.
    pub body_limit: usize,
}

/// An answer of any status, complete.
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Body,
}

impl Http {
    /// What all sessions share.
    ///
    /// # Errors
    /// [`Error`] if the TLS settings cannot be used.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let roots = tls::roots(&settings.authorities);
        let tls = tls::config(roots.clone())?;
        let rules = AddressRules::new(settings.allow_loopback, &settings.api_server);
        Ok(Self { rules, lookup: settings.lookup, roots, tls })
    }

    /// A way to these origins and no others.
    ///
    /// # Errors
    /// [`Error`] if the TLS settings cannot be used.
    pub fn session(&self, scope: Scope) -> Result<Session, Error> {
        let tls = match &scope.authorities {
            None => self.tls.clone(),
            Some(authorities) => tls::config(tls::with(self.roots.clone(), authorities))?,
        };
        let rules = self.rules.with_private(scope.private);
        let resolver = CheckedResolver::new(rules.clone(), Arc::clone(&self.lookup), &scope.origins);
        #[expect(clippy::disallowed_methods, reason = "this is the one place that builds a client")]
        let client = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .http1_max_headers(MAX_HEADERS)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .dns_resolver(Arc::new(resolver))
            .tls_backend_preconfigured(tls)
            .build()
            .map_err(Error::Build)?;
        Ok(Session { client, rules, origins: scope.origins })
    }
}

impl Session {
    /// Sends a request and reads the whole answer. Redirects are followed within the same origin only; any other one is
    /// returned as the answer it is.
    ///
    /// # Errors
    /// [`Failure`] says what went wrong before there was an answer; every status code is an answer.
    pub async fn send(&self, request: Request<'_>) -> Result<Answer, Failure> {
        let mut url = request.url.clone();
        let mut followed = 0;
        loop {
            let answer = self.send_once(&request, &url).await?;
            match answer.redirected(&url).filter(|next| next.origin() == url.origin()) {
                Some(next) if followed < MAX_REDIRECTS => (url, followed) = (next, followed + 1),
                Some(_) | None => return Ok(answer),
            }
        }
    }

    async fn send_once(&self, request: &Request<'_>, url: &Url) -> Result<Answer, Failure> {
        if !self.origins.contains(&url.origin()) {
            return Err(Failure::OutOfScope);
        }
        self.rules.check_literal(url).map_err(Failure::AddressNotAllowed)?;
        let mut builder = self.client.request(request.method.clone(), url.clone());
        if let Some(accept) = request.accept {
            builder = builder.header(header::ACCEPT, accept);
        }
        // reqwest marks these headers as sensitive, so no layer below prints them.
        builder = match request.authorization {
            Authorization::None => builder,
            Authorization::Basic(login) => builder.basic_auth(login.username(), Some(login.password())),
            Authorization::Bearer(token) => builder.bearer_auth(token.expose()),
        };
        let response = builder.send().await.map_err(|error| Failure::of(&error))?;
        answer::read(response, request.body_limit).await
    }
}
