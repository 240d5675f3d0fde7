//! The one way out of the cluster: an HTTP client that connects to checked addresses only, uses no proxy of the
//! environment, reads no more than it must, and gives up in time.
//!
//! [`Http`] holds what all share, and how often each origin may be called. A [`Session`] is made for one purpose of one
//! connection and reaches only the origins that are trusted for it: whatever an answer says, nothing can be sent anywhere
//! else. `clippy.toml` forbids building any other client.

mod address;
mod answer;
mod content;
mod error;
#[cfg(test)]
pub(crate) mod fixture;
mod gate;
mod lane;
mod memory;
mod proxy;
mod resolver;
pub mod retry_after;
mod session;
mod thread;
mod tls;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rustls::{ClientConfig, RootCertStore};
use url::Origin;

pub use answer::Body;
pub use content::Content;
pub use error::{Error, Failure, ForbiddenAddress, HeldCause, ProxyFailure};
pub use lane::Lane;
pub use proxy::{InvalidProxy, Proxy};
pub use resolver::{Lookup, SystemLookup};
pub use session::{Answer, Authorization, Redirects, Request, Session, is_this_machine};
pub use tls::{Certificates, InvalidCertificates};

use crate::clock::Clock;
use address::AddressRules;
use gate::Gate;
use lane::Lanes;
use proxy::Tunnel;
use resolver::CheckedResolver;
use thread::Thread;

/// How many headers an answer may have.
const MAX_HEADERS: usize = 100;

/// Sent with every request; some services refuse requests without one.
const USER_AGENT: &str = concat!("regcred/", env!("CARGO_PKG_VERSION"));

/// How long things may take. Waiting for a turn at an origin is not part of it.
#[derive(Clone, Copy)]
struct Timeouts {
    /// A TCP and TLS connection, through a proxy too.
    connect: Duration,
    /// One request in all, with the whole answer.
    request: Duration,
}

const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(5), request: REQUEST_TIMEOUT };

/// How long one request may take, with the whole answer, unless it says otherwise.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How the operator reaches the outside: the same for all connections.
pub struct Settings {
    /// Connections to this machine are possible: for tests and the demo.
    pub allow_loopback: bool,
    /// Connections of one namespace may not reach private networks. Their [`Scope`] is where that takes effect.
    pub forbid_private: bool,
    /// Certificate authorities to trust besides the system's.
    pub authorities: Certificates,
    /// Where the API server listens: no connection may be made to these.
    pub api_server: Vec<SocketAddr>,
    /// Through whom https requests go.
    pub proxy: Option<Proxy>,
    /// Who resolves names.
    pub lookup: Arc<dyn Lookup>,
    /// By which the pauses pass that others ask for.
    pub clock: Clock,
}

/// Where the requests of one session may go, and which certificates are trusted there.
pub struct Scope {
    /// Scheme, host and port of everything that may be reached.
    pub origins: Vec<Origin>,
    /// Everything on this machine may be reached too, if the operator connects to loopback addresses at all.
    pub this_machine: bool,
    /// Certificate authorities to trust besides the operator's.
    pub authorities: Option<Certificates>,
    /// Whether addresses of private networks may be reached.
    pub private: bool,
    /// Whose requests these are, where the other side counts them by that; none where it counts those of this operator.
    pub lane: Option<Lane>,
}

/// What all sessions share.
pub struct Http {
    rules: AddressRules,
    forbid_private: bool,
    lookup: Arc<dyn Lookup>,
    proxy: Option<Proxy>,
    roots: RootCertStore,
    tls: ClientConfig,
    gate: Arc<Gate>,
    lanes: Lanes,
    thread: Thread,
    timeouts: Timeouts,
}

impl Http {
    /// What all sessions share.
    ///
    /// # Errors
    /// [`Error`] if the TLS settings cannot be used.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let roots = tls::roots(&settings.authorities);
        let tls = tls::config(roots.clone())?;
        Ok(Self {
            rules: AddressRules::new(settings.allow_loopback, &settings.api_server),
            forbid_private: settings.forbid_private,
            lookup: settings.lookup,
            proxy: settings.proxy,
            roots,
            tls,
            gate: Arc::new(Gate::new(settings.clock)),
            lanes: Lanes::default(),
            thread: Thread::start().map_err(Error::Thread)?,
            timeouts: TIMEOUTS,
        })
    }

    /// Whether the connections of one namespace may not reach private networks, see [`Scope::private`].
    pub fn forbids_private(&self) -> bool {
        self.forbid_private
    }

    /// The lane of whoever proves to be this.
    pub fn lane(&self, whose: Authorization<'_>) -> Lane {
        self.lanes.of(whose)
    }

    /// Whether so many requests to this origin wait already that one more had better come back later.
    pub fn is_crowded(&self, origin: &Origin) -> bool {
        self.gate.is_crowded(origin)
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
        let tunnel = match &self.proxy {
            None => None,
            Some(proxy) => Some(Tunnel::new(proxy, self.client(tls.clone()), &self.lookup, self.timeouts.connect)?),
        };
        let direct = self.client(tls).dns_resolver(Arc::new(resolver)).build().map_err(Error::Build)?;
        Ok(Session {
            direct,
            tunnel,
            rules,
            origins: scope.origins,
            this_machine: scope.this_machine,
            lane: scope.lane,
            gate: Arc::clone(&self.gate),
            thread: self.thread.clone(),
        })
    }

    /// What all clients have in common.
    fn client(&self, tls: ClientConfig) -> reqwest::ClientBuilder {
        #[expect(clippy::disallowed_methods, reason = "this is the one place that builds a client")]
        reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .http1_max_headers(MAX_HEADERS)
            .connect_timeout(self.timeouts.connect)
            .timeout(self.timeouts.request)
            .tls_backend_preconfigured(tls)
    }
}
