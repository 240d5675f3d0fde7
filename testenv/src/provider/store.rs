//! The real registry behind a provider, and its owner, who pushes what others pull.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use super::{door, hex};
use crate::registry::{Options, Registry};
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
}

/// Who judges the logins at such a registry.
pub(super) fn office() -> Result<Arc<Office>> {
    Ok(Arc::new(Office::new(Accounts::patient(), TOKEN_LIFETIME)?))
}

impl Store {
    /// A registry that sends its clients to `realm`, where `office` answers.
    pub(super) async fn start(office: &Office, realm: String, service: &str) -> Result<Self> {
        let trust = office.trust(realm, service.to_owned());
        let registry = Registry::start_with(Options { authentication: (&trust).into(), tls: None }).await?;
        let text = hex(32);
        let rights = Some(vec![Right::everywhere(&["pull", "push", "delete"])]);
        office.accounts().issue(OWNER, Password { text: text.clone(), begins: None, expires: None, rights });
        Ok(Self { registry: Arc::new(registry), password: text })
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
