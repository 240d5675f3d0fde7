//! Certificates: authorities, server and client certificates under them, also such as a client must refuse, and the key
//! that signs ServiceAccount tokens.
//!
//! All of it is made anew for every control plane and every test; nothing here is ever trusted elsewhere.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};

/// A certificate and its key, both PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// The private key, PKCS #8.
    pub key: String,
    /// The certificate of the authority that has signed it, PEM.
    pub authority: String,
}

impl Identity {
    /// Writes `<name>.crt` and `<name>.key` into `folder` and returns both paths.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, folder: &Path, name: &str) -> Result<(PathBuf, PathBuf)> {
        let certificate = folder.join(format!("{name}.crt"));
        let key = folder.join(format!("{name}.key"));
        fs::write(&certificate, &self.certificate).context("write a certificate")?;
        fs::write(&key, &self.key).context("write a key")?;
        Ok((certificate, key))
    }
}

/// A certificate authority. Each has a key of its own, and all have the same name.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl Authority {
    /// A new authority with a new key.
    ///
    /// # Errors
    /// The key or the certificate cannot be made.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "testenv-authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().context("make the authority's key")?;
        let certificate = params.self_signed(&key).context("sign the authority's certificate")?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// The authority's certificate, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A serving certificate for 127.0.0.1 and the given DNS names.
    ///
    /// # Errors
    /// The key or the certificate cannot be made.
    pub fn server(&self, names: &[&str]) -> Result<Identity> {
        let mut params = serving(names)?;
        params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        self.sign(params)
    }

    /// A serving certificate for exactly these DNS names and IP addresses, and not for 127.0.0.1 unless that is one.
    ///
    /// # Errors
    /// The key or the certificate cannot be made.
    pub fn server_named(&self, names: &[&str]) -> Result<Identity> {
        self.sign(serving(names)?)
    }

    /// As [`Authority::server`], but valid only from `not_before` to `not_after`, both cut to whole seconds.
    ///
    /// # Errors
    /// The key or the certificate cannot be made.
    pub fn server_valid(&self, names: &[&str], not_before: SystemTime, not_after: SystemTime) -> Result<Identity> {
        let mut params = serving(names)?;
        params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        (params.not_before, params.not_after) = (not_before.into(), not_after.into());
        self.sign(params)
    }

    /// A client certificate: the API server takes the user from `user` and, if given, a group from `group`.
    ///
    /// # Errors
    /// The key or the certificate cannot be made.
    pub fn client(&self, user: &str, group: Option<&str>) -> Result<Identity> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, user);
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    fn sign(&self, mut params: CertificateParams) -> Result<Identity> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().context("make a key")?;
        let certificate = params.signed_by(&key, &self.issuer).context("sign a certificate")?.pem();
        Ok(Identity { certificate, key: key.serialize_pem(), authority: self.certificate.clone() })
    }
}

fn serving(names: &[&str]) -> Result<CertificateParams> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).context("names of a serving certificate")?;
    params.distinguished_name.push(DnType::CommonName, "testenv-server");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

/// A fresh key pair to sign ServiceAccount tokens with and to check them by.
#[derive(Clone, Debug)]
pub struct SigningKey {
    /// The private key, PEM.
    pub private: String,
    /// The public key, PEM.
    pub public: String,
}

impl SigningKey {
    /// Makes one.
    ///
    /// # Errors
    /// The key cannot be made.
    pub fn new() -> Result<Self> {
        let pair = KeyPair::generate().context("make the token signing key")?;
        Ok(Self { private: pair.serialize_pem(), public: pair.public_key_pem() })
    }
}
