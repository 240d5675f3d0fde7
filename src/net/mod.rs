//! The one way out of the cluster: an HTTP client that connects to checked addresses only, follows no redirect, uses no
//! proxy of the environment, and gives up in time.
//!
//! `clippy.toml` forbids building any other client.

mod address;
mod error;
mod resolver;

use std::{net::IpAddr, sync::Arc, time::Duration};

use http::{HeaderMap, StatusCode};
use rustls::{ClientConfig, RootCertStore};
use url::{Host, Url};

pub use error::{Error, Failure};

use crate::domain::credential::Credential;
use address::AddressRules;
use resolver::CheckedResolver;

/// How long a TCP and TLS connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one request may take in all.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Sent with every request; some services refuse requests without one.
const USER_AGENT: &str = concat!("regcred/", env!("CARGO_PKG_VERSION"));

/// The guarded HTTP client. Cheap to clone; all clones share one connection pool.
#[derive(Clone)]
pub struct Http {
    client: reqwest::Client,
    rules: AddressRules,
}

/// Status and headers of an answer. The body is never read: nothing in it may decide anything yet.
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
}

impl Http {
    /// A client that trusts the system's root certificates. With `allow_loopback` it also connects to this machine.
    ///
    /// # Errors
    /// [`Error`] if the TLS settings cannot be used.
    pub fn new(allow_loopback: bool) -> Result<Self, Error> {
        let rules = AddressRules { allow_loopback };
        #[expect(clippy::disallowed_methods, reason = "this is the one place that builds a client")]
        let client = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .dns_resolver(Arc::new(CheckedResolver { rules }))
            .tls_backend_preconfigured(tls_config()?)
            .build()
            .map_err(Error::Build)?;
        Ok(Self { client, rules })
    }

    /// One GET, with Basic authentication if a credential is given.
    ///
    /// # Errors
    /// [`Failure`] says what went wrong before there was an answer; every status code is an answer.
    pub async fn get(&self, url: &Url, login: Option<&Credential>) -> Result<Answer, Failure> {
        self.check_literal(url)?;
        let mut request = self.client.get(url.clone());
        if let Some(login) = login {
            // reqwest marks the header as sensitive, so no layer below prints it.
            request = request.basic_auth(login.username(), Some(login.password()));
        }
        let response = request.send().await.map_err(|error| Failure::of(&error))?;
        Ok(Answer { status: response.status(), headers: response.headers().clone() })
    }

    /// Addresses written as numbers never reach the resolver, so they are checked here.
    fn check_literal(&self, url: &Url) -> Result<(), Failure> {
        let address = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            Some(Host::Domain(_)) | None => return Ok(()),
        };
        self.rules.check(address).map_err(Failure::AddressNotAllowed)
    }
}

/// TLS by ring with the system's root certificates. A system without any is not an error at start: https fails then
/// with an unknown issuer, which names the cause where it matters.
fn tls_config() -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "failed to read some of the system's root certificates");
    }
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        tracing::warn!("no root certificates found on this system; https registries will not be trusted");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
