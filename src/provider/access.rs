//! What gives access to a provider's API: a token, or a user name and a password, from a Secret of the user.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Secret;
use sha2::{Digest, Sha256};

use super::{
    Error, Io, api_url, secret_not_found,
    secret_values::{Binds, check_bound_host, key_missing, login, malformed, text},
};
use crate::{
    api::{
        names::{FIELD_MANAGER, LEDGER_TYPE, MANAGED_BY_LABEL},
        provider::{IssuedBy, SecretReference},
        status::ObservedInput,
    },
    domain::{
        credential::{Credential, Fingerprint, Fingerprints},
        host::RegistryHost,
        ledger::Issuer,
        token::Token,
    },
    net::Authorization,
    problem::{Problem, field},
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
enum Kinds {
    /// A token.
    Token,
    /// A token, or else a user name and a password.
    TokenOrLogin,
}

impl Access {
    /// Stands for it within this process.
    pub fn fingerprint(&self, fingerprints: &Fingerprints) -> Fingerprint {
        match self {
            Self::Token(token) => fingerprints.of_token(token),
            Self::Login(login) => fingerprints.of("api", login),
        }
    }

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

/// See [`issuing::access`](super::issuing::access).
pub(super) async fn read(io: &Io<'_>, provider: IssuedBy<'_>) -> Result<(Access, ObservedInput), Error> {
    // Whether loopback is meant was decided when the spec was read.
    let host = api_url::api(provider, true)
        .and_then(|api| RegistryHost::of(&api.url).ok_or_else(|| api_url::invalid(provider, api_url::Invalid::NotAUrl)))
        .map_err(|problem| Error::Unusable { problem: Box::new(problem), inputs: vec![] })?;
    let (reference, kinds, field) = match provider {
        IssuedBy::Digitalocean(digital_ocean) => {
            (&digital_ocean.secret_ref, Kinds::Token, field::DIGITALOCEAN_SECRET_REF)
        }
        IssuedBy::Ionos(ionos) => (&ionos.secret_ref, Kinds::TokenOrLogin, field::IONOS_SECRET_REF),
    };
    let unusable = |problem: Problem, input: Option<ObservedInput>| Error::Unusable {
        problem: Box::new(problem.at(field)),
        inputs: input.into_iter().collect(),
    };
    let name = &reference.name;
    let Some((secret, input)) = io.secret(name).await.map_err(|error| error.at(field))? else {
        return Err(unusable(secret_not_found(field, io.namespace(), name), None));
    };
    match access_in(&secret, reference, kinds, (&host, io.binds())) {
        Ok(access) => Ok((access, input)),
        Err(problem) => Err(unusable(problem, Some(input))),
    }
}

/// See [`issuing::access_at`](super::issuing::access_at).
pub(super) async fn read_at(io: &Io<'_>, issuer: &Issuer) -> Result<Option<Access>, Error> {
    let (api_url, place) = match issuer {
        Issuer::Digitalocean { .. } => return Ok(None),
        Issuer::Ionos { api_url, secret, .. } => (api_url, secret),
    };
    let host = api_url::read(api_url, true).ok().and_then(|url| RegistryHost::of(&url));
    let Some(host) = host else { return Ok(None) };
    let reference = SecretReference {
        name: place.name.clone(),
        username_key: place.username_key.clone(),
        password_key: place.password_key.clone(),
        token_key: place.token_key.clone(),
    };
    let Some((secret, _)) = io.secret(&place.name).await? else { return Ok(None) };
    Ok(access_in(&secret, &reference, Kinds::TokenOrLogin, (&host, Binds::IfItSays)).ok())
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
fn access_in(
    secret: &Secret,
    reference: &SecretReference,
    kinds: Kinds,
    (host, binds): (&RegistryHost, Binds),
) -> Result<Access, Problem> {
    let name = reference.name.as_str();
    check_type(secret, name, kinds)?;
    check_bound_host(secret, name, host, binds).map_err(|problem| match problem.hint {
        Some(_) => problem,
        None => problem.hint("refer to a Secret made for this API, or correct the annotation or apiUrl"),
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn reference(token_key: Option<&str>) -> SecretReference {
        SecretReference {
            name: "api".into(),
            username_key: None,
            password_key: None,
            token_key: token_key.map(str::to_owned),
        }
    }

    fn read(secret: &serde_json::Value, token_key: Option<&str>, kinds: Kinds) -> Result<String, Problem> {
        let secret: Secret = serde_json::from_value(secret.clone()).unwrap_or_else(|error| panic!("{error}"));
        let host = RegistryHost::parse("api.example").unwrap_or_else(|error| panic!("{error}"));
        access_in(&secret, &reference(token_key), kinds, (&host, Binds::IfItSays)).map(|access| match access {
            Access::Token(token) => token.expose().to_owned(),
            Access::Login(login) => format!("{} {}", login.username(), login.password()),
        })
    }

    fn secret(type_: &str, data: &[(&str, &str)]) -> serde_json::Value {
        crate::provider::fixture::secret("api", type_, data)
    }

    fn marked(annotation: Option<&str>, label: Option<&str>) -> serde_json::Value {
        let mut secret = secret("Opaque", &[("token", "canary")]);
        secret["metadata"]["annotations"] = json!({"regcred.dev/registry-host": annotation.unwrap_or("api.example")});
        secret["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": label.unwrap_or("Helm")});
        secret
    }

    const LOGIN: [(&str, &str); 2] = [("username", "me"), ("password", "canary")];

    #[test]
    fn reads_a_token_and_for_some_a_login() {
        use Kinds::{Token, TokenOrLogin};
        let both = [("token", "canary"), ("username", "me"), ("password", "other")];
        for (name, secret, token_key, kinds, expected) in [
            ("token", secret("Opaque", &[("token", "canary")]), None, Token, "canary"),
            ("no type", secret("", &[("token", "canary")]), None, Token, "canary"),
            ("from a file", secret("Opaque", &[("token", " canary\r\n")]), None, Token, "canary"),
            ("another key", secret("Opaque", &[("t", "canary"), ("token", "x")]), Some("t"), Token, "canary"),
            ("both", secret("Opaque", &both), None, TokenOrLogin, "canary"),
            ("login", secret("Opaque", &LOGIN), None, TokenOrLogin, "me canary"),
            ("basic-auth", secret("kubernetes.io/basic-auth", &LOGIN), None, TokenOrLogin, "me canary"),
            ("bound", marked(Some("other.example, API.example"), None), None, Token, "canary"),
        ] {
            assert_eq!(read(&secret, token_key, kinds).as_deref(), Ok(expected), "{name}");
        }
    }

    #[test]
    fn names_what_is_wrong_and_never_a_value() {
        use crate::api::Reason as R;
        use Kinds::{Token, TokenOrLogin};
        let token = |text: &str| secret("Opaque", &[("token", text)]);
        for (name, secret, token_key, kinds, expected) in [
            ("nothing", secret("Opaque", &[]), None, Token, R::SecretKeyMissing),
            ("a login", secret("Opaque", &LOGIN), None, Token, R::SecretKeyMissing),
            ("no named token", secret("Opaque", &LOGIN), Some("t"), TokenOrLogin, R::SecretKeyMissing),
            ("no password", secret("Opaque", &LOGIN[..1]), None, TokenOrLogin, R::SecretKeyMissing),
            ("no user", secret("Opaque", &LOGIN[1..]), None, TokenOrLogin, R::SecretKeyMissing),
            ("nothing at all", secret("Opaque", &[]), None, TokenOrLogin, R::SecretKeyMissing),
            ("empty", token(""), None, Token, R::SecretMalformed),
            ("white space", token(" \n"), None, TokenOrLogin, R::SecretMalformed),
            ("two lines", token("canary\ncanary"), None, Token, R::SecretMalformed),
            ("no ASCII", token("canary\u{e4}"), None, Token, R::SecretMalformed),
            (
                "a line break in a password",
                secret("Opaque", &[("username", "me"), ("password", "canary\n")]),
                None,
                TokenOrLogin,
                R::SecretMalformed,
            ),
            (
                "a registry login",
                secret("kubernetes.io/dockerconfigjson", &LOGIN),
                None,
                TokenOrLogin,
                R::SecretMalformed,
            ),
            ("basic-auth for a token", secret("kubernetes.io/basic-auth", &LOGIN), None, Token, R::SecretMalformed),
            ("a ledger", secret("regcred.dev/ledger", &[("token", "canary")]), None, Token, R::SecretMalformed),
            ("ours", marked(None, Some("regcred")), None, TokenOrLogin, R::SecretMalformed),
            ("bound elsewhere", marked(Some("other.example"), None), None, Token, R::HostMismatch),
            ("bound to nonsense", marked(Some("a b"), None), None, Token, R::HostMismatch),
        ] {
            let problem = read(&secret, token_key, kinds).unwrap_err();
            assert_eq!(problem.reason, expected, "{name}");
            assert_eq!(problem.message.contains("writes itself"), ["a ledger", "ours"].contains(&name), "{name}");
            assert!(problem.hint.is_some(), "{name}");
            assert!(!format!("{problem:?}").contains("canary"), "{name}: {problem:?}");
        }
    }

    #[test]
    fn a_digest_stands_for_a_token_under_its_salt_and_for_no_password() {
        let token = |text: &str| Access::Token(Token::new(text.into()).unwrap());
        let digest = token("canary").digest("r-1").unwrap();
        assert_eq!(digest.len(), 44);
        assert_eq!(token("canary").digest("r-1").as_deref(), Some(digest.as_str()));
        for other in [token("canary").digest("r-2"), token("other").digest("r-1"), token("1canary").digest("r-")] {
            assert!(other.is_some_and(|other| other != digest));
        }
        let login = Access::Login(Credential::new("me".into(), "canary".into()).unwrap());
        assert_eq!(login.digest("r-1"), None);
    }
}
