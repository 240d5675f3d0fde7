//! What is wrong, told to the user: what, where, and what to do.

use std::time::Duration;

use crate::api::{Reason, status::LastError};

/// The longest message, in bytes: an event takes no longer one.
pub const MAX_MESSAGE: usize = 1024;

/// The longest hint, in bytes.
const MAX_HINT: usize = 512;

/// Something that keeps a connection from being good. Its texts are the operator's own words, with names, hosts and
/// status codes, never with a value from a Secret or a text from a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The cause.
    pub reason: Reason,
    /// What happened, in a sentence.
    pub message: String,
    /// The path of the field to change.
    pub field: Option<&'static str>,
    /// What to do.
    pub hint: Option<String>,
    /// The pause the other side asked for.
    pub retry_after: Option<Duration>,
    /// The provider's own name for the request that failed, for its support.
    pub request_id: Option<String>,
}

/// Paths of fields that messages point to.
pub mod field {
    /// Where the registry is.
    pub const REGISTRY_URL: &str = "spec.provider.generic.registryUrl";
    /// Which Secret holds the login.
    pub const SECRET_REF: &str = "spec.provider.generic.secretRef";
    /// Which Secret holds the login to Docker Hub.
    pub const DOCKERHUB_SECRET_REF: &str = "spec.provider.dockerhub.secretRef";
    /// Which Secret holds the API token of DigitalOcean.
    pub const DIGITALOCEAN_SECRET_REF: &str = "spec.provider.digitalocean.secretRef";
    /// Which registry of DigitalOcean it is.
    pub const DIGITALOCEAN_REGISTRY_NAME: &str = "spec.provider.digitalocean.registryName";
    /// Where DigitalOcean's API is.
    pub const DIGITALOCEAN_API_URL: &str = "spec.provider.digitalocean.apiUrl";
    /// How long DigitalOcean's credentials live.
    pub const DIGITALOCEAN_EXPIRY_SECONDS: &str = "spec.provider.digitalocean.expirySeconds";
    /// Which Secret gives access to the API of IONOS.
    pub const IONOS_SECRET_REF: &str = "spec.provider.ionos.secretRef";
    /// Which registry of IONOS it is, by name.
    pub const IONOS_REGISTRY_NAME: &str = "spec.provider.ionos.registryName";
    /// Which registry of IONOS it is, by ID.
    pub const IONOS_REGISTRY_ID: &str = "spec.provider.ionos.registryId";
    /// Whose registry of IONOS it is.
    pub const IONOS_CONTRACT_NUMBER: &str = "spec.provider.ionos.contractNumber";
    /// What tokens of IONOS may do.
    pub const IONOS_SCOPES: &str = "spec.provider.ionos.scopes";
    /// How long tokens of IONOS live.
    pub const IONOS_TOKEN_TTL: &str = "spec.provider.ionos.tokenTtlMinutes";
    /// Where the API of IONOS is.
    pub const IONOS_API_URL: &str = "spec.provider.ionos.apiUrl";
    /// Which host image names begin with.
    pub const IMAGE_HOST: &str = "spec.provider.generic.imageHost";
    /// Which object holds the registry's certificate authority.
    pub const CA_REF: &str = "spec.provider.generic.caRef";
    /// Whether plain http is meant.
    pub const INSECURE: &str = "spec.provider.generic.insecure";
    /// Which other hosts may have the login.
    pub const TRUSTED_TOKEN_HOSTS: &str = "spec.provider.generic.trustedTokenHosts";
    /// Which repositories are served.
    pub const REPOSITORY_PREFIX: &str = "spec.repositoryPrefix";
    /// Which repositories are asked for.
    pub const TEST_REPOSITORIES: &str = "spec.test.repositories";
    /// How long a test may take.
    pub const TEST_TIMEOUT: &str = "spec.test.timeoutSeconds";
    /// Which Secret is written.
    pub const SECRET_NAME: &str = "spec.secret.name";
    /// The user's labels on the Secret that is written.
    pub const SECRET_LABELS: &str = "spec.secret.labels";
    /// The user's annotations on the Secret that is written.
    pub const SECRET_ANNOTATIONS: &str = "spec.secret.annotations";
    /// How often a refresh happens.
    pub const REFRESH_INTERVAL: &str = "spec.refreshIntervalMinutes";
    /// The connection's own name.
    pub const NAME: &str = "metadata.name";
    /// Which namespaces are served.
    pub const VISIBILITY: &str = "spec.visibility";
    /// Which labels they have.
    pub const NAMESPACE_SELECTOR: &str = "spec.namespaceSelector";
    /// Which names they have.
    pub const NAMESPACES: &str = "spec.namespaces";
    /// Which are not served.
    pub const EXCLUDE_NAMESPACES: &str = "spec.excludeNamespaces";
    /// How many are served.
    pub const MAX_TARGETS: &str = "spec.maxTargets";
    /// Whether the account that Pods have by default names the Secret.
    pub const IS_DEFAULT: &str = "spec.isDefault";
    /// Which ServiceAccounts name the Secret.
    pub const SERVICE_ACCOUNTS: &str = "spec.serviceAccounts";
    /// Which images the Secret goes with.
    pub const AUTO_LINK_PATTERN: &str = "spec.autoLinkPattern";
    /// All paths, so that one read back from a status is known again.
    pub const ALL: [&str; 34] = [
        REGISTRY_URL,
        SECRET_REF,
        DOCKERHUB_SECRET_REF,
        DIGITALOCEAN_SECRET_REF,
        DIGITALOCEAN_REGISTRY_NAME,
        DIGITALOCEAN_API_URL,
        DIGITALOCEAN_EXPIRY_SECONDS,
        IONOS_SECRET_REF,
        IONOS_REGISTRY_NAME,
        IONOS_REGISTRY_ID,
        IONOS_CONTRACT_NUMBER,
        IONOS_SCOPES,
        IONOS_TOKEN_TTL,
        IONOS_API_URL,
        IMAGE_HOST,
        CA_REF,
        INSECURE,
        TRUSTED_TOKEN_HOSTS,
        REPOSITORY_PREFIX,
        TEST_REPOSITORIES,
        TEST_TIMEOUT,
        SECRET_NAME,
        SECRET_LABELS,
        SECRET_ANNOTATIONS,
        REFRESH_INTERVAL,
        NAME,
        VISIBILITY,
        NAMESPACE_SELECTOR,
        NAMESPACES,
        EXCLUDE_NAMESPACES,
        MAX_TARGETS,
        IS_DEFAULT,
        SERVICE_ACCOUNTS,
        AUTO_LINK_PATTERN,
    ];
}

impl Problem {
    /// A problem without field and hint.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: shortened(message.into(), MAX_MESSAGE),
            field: None,
            hint: None,
            retry_after: None,
            request_id: None,
        }
    }

    /// The same, pointing to a field.
    pub fn at(mut self, field: &'static str) -> Self {
        self.field = Some(field);
        self
    }

    /// The same, with what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(shortened(hint.into(), MAX_HINT));
        self
    }

    /// The same, with the provider's name for the request.
    pub fn of_request(mut self, id: Option<String>) -> Self {
        self.request_id = id;
        self
    }

    /// True if it is of a repository, which a login that was accepted cannot pull from.
    pub fn is_of_a_repository(&self) -> bool {
        let is_of_an_api = matches!(self.field, Some(field::DIGITALOCEAN_SECRET_REF | field::IONOS_SECRET_REF));
        self.reason.is_of_a_repository() && !is_of_an_api
    }

    /// As it stands in the status.
    pub fn to_last_error(&self) -> LastError {
        LastError {
            code: self.reason,
            message: self.message.clone(),
            field: self.field.map(str::to_owned),
            hint: self.hint.clone(),
            request_id: self.request_id.clone(),
        }
    }

    /// As it was before it went into the status.
    pub fn from_last_error(error: &LastError) -> Self {
        Self {
            reason: error.code,
            message: error.message.clone(),
            field: error.field.as_deref().and_then(|path| field::ALL.into_iter().find(|known| *known == path)),
            hint: error.hint.clone(),
            retry_after: None,
            request_id: error.request_id.clone(),
        }
    }
}

/// The text within `limit` bytes, cut at a character.
pub fn shortened(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        let end = (0..=limit.saturating_sub(3)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_cut_at_a_character() {
        let problem = Problem::new(Reason::ProtocolError, "ä".repeat(2000));
        assert!(problem.message.len() <= MAX_MESSAGE);
        assert!(problem.message.ends_with("ä..."));
    }

    #[test]
    fn survives_the_way_through_the_status() {
        let problem = Problem::new(Reason::HostMismatch, "m").at(field::SECRET_REF).hint("h");
        assert_eq!(Problem::from_last_error(&problem.to_last_error()), problem);
    }
}
