//! The real registry behind a provider, and its owner, who pushes what others pull.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use super::{door, hex};
use crate::fault::Faults;
use crate::registry::{Options, Registry};
use crate::relay::Relay;
use crate::token_server::{Accounts, Office, Password, Right};

/// The shortest that the specification of tokens has.
const TOKEN_LIFETIME: Duration = Duration::from_secs(60);

/// The owner's user name. Nobody issues a credential of this name.
const OWNER: &str = "_owner";

/// See the module.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) registry: Arc<Registry>,
    password: String,
    relay: Option<Relay>,
}

/// What stands in front of a server (host and port) whose requests are to meet with faults.
pub(super) async fn relay(server: &str, faults: Option<&Faults>) -> Result<Option<Relay>> {
    match faults {
        Some(faults) => Ok(Some(Relay::start_with(server, faults.clone()).await?)),
        None => Ok(None),
    }
}

/// Who judges the logins at such a registry.
pub(super) fn office() -> Result<Arc<Office>> {
    Ok(Arc::new(Office::new(Accounts::patient(), TOKEN_LIFETIME)?))
}

impl Store {
    /// A registry that sends its clients to `realm`, where `office` answers. With `faults`, it is reached through a relay.
    pub(super) async fn start(office: &Office, realm: String, service: &str, faults: Option<&Faults>) -> Result<Self> {
        let trust = office.trust(realm, service.to_owned());
        let registry = Registry::start_with(Options { authentication: (&trust).into(), tls: None }).await?;
        let relay = relay(&registry.host(), faults).await?;
        let text = hex(32);
        let rights = Some(vec![Right::everywhere(&["pull", "push", "delete"])]);
        office.accounts().issue(OWNER, Password { text: text.clone(), begins: None, expires: None, rights });
        Ok(Self { registry: Arc::new(registry), password: text, relay })
    }

    /// Where clients reach it.
    pub(super) fn host(&self) -> String {
        self.relay.as_ref().map_or_else(|| self.registry.host(), Relay::host)
    }

    /// Pushes a small image as the owner and returns its digest.
    pub(super) async fn push(&self, image: &str) -> Result<String> {
        self.registry.crane().push(image, OWNER, &self.password).await
    }

    /// Whether the registry lets in this user name with this password.
    pub(super) async fn accepts(&self, user: &str, password: &str) -> Result<bool> {
        door::accepts(&self.registry.host(), user, password).await
    }
}
