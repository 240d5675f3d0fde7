//! What gives access to a provider's API: a token, or a user name and a password, from a Secret of the user.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Secret;
use sha2::{Digest, Sha256};

use super::secret_values::{check_bound_host, key_missing, login, malformed, text};
use crate::{
    api::{
        Reason,
        names::{FIELD_MANAGER, LEDGER_TYPE, MANAGED_BY_LABEL},
        provider::SecretReference,
    },
    domain::{credential::Credential, host::RegistryHost, token::Token},
    net::Authorization,
    problem::Problem,
};

/// From this length on, in bytes, a part of a token is told from an ordinary word.
const TELLING: usize = 12;

/// See the module. No Debug, Display or Serialize.
#[derive(Clone)]
pub enum Access {
    /// An API token.
    Token(Token),
    /// An account.
    Login(Credential),
}

/// What a Secret may hold for an API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kinds {
    /// A token.
    Token,
    /// A token, or else a user name and a password.
    TokenOrLogin,
}

impl Access {
    /// Stands for a token, salted; none for a password, which a digest would give away to who guesses.
    pub fn digest(&self, salt: &str) -> Option<String> {
        match self {
            Self::Token(token) => {
                let digest = Sha256::new().chain_update(salt).chain_update([0]).chain_update(token.expose());
                Some(STANDARD.encode(digest.finalize()))
            }
            Self::Login(_) => None,
        }
    }

    /// As requests carry it. It also says which requests count together, see [`Http::lane`](crate::net::Http::lane).
    pub fn authorization(&self) -> Authorization<'_> {
        match self {
            Self::Token(token) => Authorization::Bearer(token),
            Self::Login(login) => Authorization::Basic(login),
        }
    }
}

/// Whether a text quotes what a request carried. Innocent texts may be taken for quotes; that errs on the safe side.
pub(super) fn is_quoted(carried: Authorization<'_>, text: &str) -> bool {
    match carried {
        Authorization::None => false,
        Authorization::Basic(login) => login.appears_in(text),
        Authorization::Bearer(token) => {
            // Tokens are ASCII, so they can be cut anywhere.
            let token = token.expose();
            text.contains(&token[..token.len().min(TELLING)]) || (text.len() >= TELLING && token.contains(text))
        }
    }
}

/// What a Secret holds for an API at this host. White space around a token is dropped: `--from-file` keeps the line break at
/// the end of a file, and no token can hold any.
///
/// # Errors
/// A [`Problem`] without a field.
pub(super) fn access_in(
    secret: &Secret,
    reference: &SecretReference,
    kinds: Kinds,
    host: &RegistryHost,
) -> Result<Access, Problem> {
    let name = reference.name.as_str();
    check_type(secret, name, kinds)?;
    check_bound_host(secret, name, host).map_err(|message| {
        Problem::new(Reason::HostMismatch, message)
            .hint("refer to a Secret made for this API, or correct the annotation or apiUrl")
    })?;
    let token_key = reference.token_key.as_deref().unwrap_or("token");
    if let Some(text) = text(secret, name, token_key)? {
        let token = Token::new(text.trim().to_owned()).ok_or_else(|| {
            malformed(format!(
                "the value of key {token_key:?} in Secret {name:?} is no API token: it is empty, or holds more than visible \
                 ASCII characters"
            ))
            .hint("put the token there as the provider shows it, and nothing else")
        })?;
        return Ok(Access::Token(token));
    }
    let username_key = reference.username_key.as_deref().unwrap_or("username");
    let password_key = reference.password_key.as_deref().unwrap_or("password");
    let missing = |key: &str, hint: &str| Err(key_missing(secret, name, key).hint(hint));
    match kinds {
        Kinds::Token => missing(token_key, "add the key with an API token, or name the right one in tokenKey"),
        // Whoever names the key of a token means a token.
        Kinds::TokenOrLogin if reference.token_key.is_some() => {
            missing(token_key, "add the key with an API token, or remove tokenKey to use a user name and a password")
        }
        Kinds::TokenOrLogin => match (text(secret, name, username_key)?, text(secret, name, password_key)?) {
            (Some(username), Some(password)) => login(name, username, password).map(Access::Login),
            (None, None) => missing(
                token_key,
                "add an API token under that key, or user name and password, or name the right keys in tokenKey, or in \
                 usernameKey and passwordKey",
            ),
            (None, Some(_)) => missing(username_key, "add the key, or name the right one in usernameKey"),
            (Some(_), None) => missing(password_key, "add the key, or name the right one in passwordKey"),
        },
    }
}

/// Refuses what cannot be meant, and whatever this operator wrote itself: an issued credential is no access to an API, and a
/// ledger may hold those of others.
fn check_type(secret: &Secret, name: &str, kinds: Kinds) -> Result<(), Problem> {
    let type_ = secret.type_.as_deref().unwrap_or_default();
    let managed_by = secret.metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY_LABEL));
    if type_ == LEDGER_TYPE || managed_by.is_some_and(|manager| manager == FIELD_MANAGER) {
        return Err(malformed(format!("Secret {name:?} is one that regcred writes itself"))
            .hint("refer to a Secret of your own, with access to the provider's API"));
    }
    let (is_accepted, accepted) = match kinds {
        Kinds::Token => (matches!(type_, "" | "Opaque"), "use type Opaque"),
        Kinds::TokenOrLogin => {
            (matches!(type_, "" | "Opaque" | "kubernetes.io/basic-auth"), "use type Opaque or kubernetes.io/basic-auth")
        }
    };
    if is_accepted {
        return Ok(());
    }
    Err(malformed(format!("Secret {name:?} has type {type_:?}, which holds no access to a provider's API"))
        .hint(accepted))
}
