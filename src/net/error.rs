//! What can go wrong before there is an answer, told from the error chains of the HTTP stack.

use std::error::Error as StdError;

pub use super::address::ForbiddenAddress;
use super::resolver::{NotResolved, ResolvedToForbidden};

/// The client could not be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The TLS settings were refused.
    #[error("failed to set up TLS")]
    Tls(#[source] rustls::Error),
    /// The HTTP client was refused.
    #[error("failed to set up the HTTP client")]
    Build(#[source] reqwest::Error),
}

/// Why a request got no answer. The texts hold nothing that the other side sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The host is or resolves to an address that is never connected to.
    #[error("the address is not allowed: {0}")]
    AddressNotAllowed(#[source] ForbiddenAddress),
    /// The host's name has no address.
    #[error("the host name could not be resolved")]
    NotResolved,
    /// No connection within the time limit, or no answer within it.
    #[error("there was no answer in time")]
    TimedOut,
    /// Nobody listens there.
    #[error("the connection was refused")]
    ConnectionRefused,
    /// A connection, but no trusted TLS on it.
    #[error("no trusted TLS connection could be made: {0}")]
    Tls(String),
    /// The answer was longer than it may be.
    #[error("the answer is longer than an answer to this request may be")]
    TooLong,
    /// The address is none that the session was made for; nothing was sent.
    #[error("the address is not one that this connection may reach")]
    OutOfScope,
    /// The connection broke, or what came back was not HTTP.
    #[error("the connection broke off before the end of an answer that follows HTTP")]
    Broken,
}

impl Failure {
    /// Classifies an error of the HTTP stack by what stands in its chain of sources.
    pub(super) fn of(error: &reqwest::Error) -> Self {
        let mut next: Option<&(dyn StdError + 'static)> = Some(error);
        while let Some(current) = next {
            if let Some(ResolvedToForbidden(rule)) = current.downcast_ref() {
                return Self::AddressNotAllowed(*rule);
            }
            if current.is::<NotResolved>() {
                return Self::NotResolved;
            }
            if let Some(tls) = current.downcast_ref::<rustls::Error>() {
                return Self::Tls(tls_text(tls));
            }
            // An io::Error hides its inner error from `source` when it was made from that error alone.
            let inner = current.downcast_ref::<std::io::Error>();
            if inner.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused) {
                return Self::ConnectionRefused;
            }
            next = match inner.and_then(std::io::Error::get_ref) {
                Some(inner) => Some(inner),
                None => current.source(),
            };
        }
        if error.is_timeout() { Self::TimedOut } else { Self::Broken }
    }
}

/// A short text for the user. Only certificate errors are told in detail; none of their texts comes from the peer.
fn tls_text(error: &rustls::Error) -> String {
    use rustls::CertificateError as C;
    match error {
        rustls::Error::InvalidCertificate(C::UnknownIssuer) => {
            "the certificate is not signed by an authority this system trusts".into()
        }
        rustls::Error::InvalidCertificate(C::Expired | C::ExpiredContext { .. }) => {
            "the certificate has expired".into()
        }
        rustls::Error::InvalidCertificate(C::NotValidForName | C::NotValidForNameContext { .. }) => {
            "the certificate is for another host name".into()
        }
        rustls::Error::InvalidCertificate(_) => "the certificate is not valid".into(),
        rustls::Error::InvalidMessage(_) => "the other side does not speak TLS".into(),
        rustls::Error::AlertReceived(_) => "the other side refused the TLS handshake".into(),
        _ => "the TLS handshake failed".into(),
    }
}
