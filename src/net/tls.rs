//! Whom to trust: the system's root certificates, the operator's own, and those a connection names.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::Error;

/// More certificates than any bundle of a system has.
const MAX_CERTIFICATES: usize = 512;

/// Certificates of certificate authorities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificates(Vec<CertificateDer<'static>>);

impl std::hash::Hash for Certificates {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        for certificate in &self.0 {
            certificate.as_ref().hash(state);
        }
    }
}

/// Why a text is no list of certificates. The texts never quote the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCertificates {
    /// Not PEM, or a broken block in it.
    #[error("it is not PEM text")]
    NotPem,
    /// PEM, but no certificate in it.
    #[error("it holds no certificate (a block that begins with -----BEGIN CERTIFICATE-----)")]
    None,
    /// A block that is no certificate a client could trust.
    #[error("one of its certificates cannot be read")]
    Unreadable,
    /// Beyond [`MAX_CERTIFICATES`].
    #[error("it holds more than 512 certificates")]
    TooMany,
}

impl Certificates {
    /// The certificates of a PEM text; blocks of other kinds are passed over.
    ///
    /// # Errors
    /// [`InvalidCertificates`] if there is none, or one that cannot be read.
    pub fn parse(pem: &[u8]) -> Result<Self, InvalidCertificates> {
        let mut found = Vec::new();
        let mut store = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|_| InvalidCertificates::NotPem)?;
            store.add(certificate.clone()).map_err(|_| InvalidCertificates::Unreadable)?;
            found.push(certificate);
            if found.len() > MAX_CERTIFICATES {
                return Err(InvalidCertificates::TooMany);
            }
        }
        if found.is_empty() { Err(InvalidCertificates::None) } else { Ok(Self(found)) }
    }
}

/// The system's root certificates and these. A system without any is not an error at start: https fails then with an
/// unknown issuer, which names the cause where it matters.
pub(super) fn roots(own: &Certificates) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "failed to read some of the system's root certificates");
    }
    roots.add_parsable_certificates(found.certs);
    let roots = with(roots, own);
    if roots.is_empty() {
        tracing::warn!("no root certificates found on this system; https registries will not be trusted");
    }
    roots
}

/// These roots and the certificates, which were read before.
pub(super) fn with(mut roots: RootCertStore, authorities: &Certificates) -> RootCertStore {
    roots.add_parsable_certificates(authorities.0.iter().cloned());
    roots
}

/// TLS by ring with these roots.
pub(super) fn config(roots: RootCertStore) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
