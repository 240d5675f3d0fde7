//! How a registry is configured: who judges logins, and whether it speaks TLS.
//!
//! Writes the files that the configuration names; starting the registry is not done here.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::htpasswd::Htpasswd;
use crate::certificates::Identity;
use crate::token_server::Trust;

/// How a registry is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Who judges logins.
    pub authentication: Authentication,
    /// The certificate it serves with; `None` for plain http.
    pub tls: Option<Identity>,
}

/// Who judges logins.
#[derive(Clone, Debug, Default)]
pub enum Authentication {
    /// The registry itself, by Basic logins with the passwords of [`super::Registry::set_password`]. Who is in may do
    /// anything.
    #[default]
    Htpasswd,
    /// A token server: the registry takes its tokens and nothing else.
    Token(Box<Trust>),
}

impl From<&Trust> for Authentication {
    fn from(trust: &Trust) -> Self {
        Self::Token(Box::new(trust.clone()))
    }
}

impl Options {
    /// The certificates that a client must trust, PEM: the registry's authority and its token server's.
    pub(super) fn authorities(&self) -> Vec<&str> {
        let own = self.tls.as_ref().map(|identity| identity.authority.as_str());
        let other = match &self.authentication {
            Authentication::Htpasswd => None,
            Authentication::Token(trust) => trust.authority.as_deref(),
        };
        own.into_iter().chain(other).collect()
    }
}

/// [`Options`] with what they need on disk.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) login: Login,
    /// Certificate and key.
    pub(super) tls: Option<(PathBuf, PathBuf)>,
    folder: PathBuf,
}

#[derive(Debug)]
pub(super) enum Login {
    Htpasswd(Htpasswd),
    /// With the file of the public keys.
    Token(Box<Trust>, PathBuf),
}

impl Settings {
    /// Writes into `folder` what `options` need.
    pub(super) fn new(options: Options, folder: &Path) -> Result<Self> {
        let tls = options.tls.map(|identity| identity.write(folder, "registry")).transpose()?;
        let login = match options.authentication {
            Authentication::Htpasswd => Login::Htpasswd(Htpasswd::new(folder.join("htpasswd"))?),
            Authentication::Token(trust) => {
                let keys = folder.join("keys.json");
                fs::write(&keys, trust.keys.to_string()).context("write a token server's keys")?;
                Login::Token(trust, keys)
            }
        };
        Ok(Self { login, tls, folder: folder.to_owned() })
    }

    /// The configuration for `port`, as JSON, because every reader of YAML understands it.
    pub(super) fn configuration(&self, port: u16) -> Value {
        let auth = match &self.login {
            Login::Htpasswd(file) => json!({ "htpasswd": { "realm": "testenv", "path": file.path() } }),
            Login::Token(trust, keys) => {
                let Trust { realm, service, issuer, .. } = &**trust;
                json!({ "token": { "realm": realm, "service": service, "issuer": issuer, "jwks": keys } })
            }
        };
        let mut http = json!({ "addr": format!("127.0.0.1:{port}"), "secret": "testenv" });
        if let Some((certificate, key)) = &self.tls {
            http["tls"] = json!({ "certificate": certificate, "key": key });
        }
        let storage = json!({ "rootdirectory": self.folder.join("storage") });
        json!({
            "version": "0.1",
            "log": { "level": "info", "formatter": "json" },
            "storage": { "filesystem": storage, "delete": { "enabled": true } },
            "http": http,
            "auth": auth,
        })
    }
}
