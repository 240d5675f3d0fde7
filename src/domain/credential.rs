//! A user name and a password, and the promise that neither is ever printed.

use std::hash::{BuildHasher, Hash, RandomState};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use secrecy::{ExposeSecret, SecretString};

use super::token::Token;

/// The longest user name or password, in bytes. Real ones reach a few KiB (tokens); more is a mistake or an attack.
pub const MAX_LENGTH: usize = 16 * 1024;

/// A login. It has no Debug, Display or Serialize; the user name counts as secret too, because some providers put a
/// token there.
#[derive(Clone)]
pub struct Credential {
    username: SecretString,
    password: SecretString,
}

/// Why two texts are not a login. The texts name the rule, never the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCredential {
    /// Nothing in it.
    #[error("the user name is empty")]
    EmptyUsername,
    /// Nothing in it.
    #[error("the password is empty")]
    EmptyPassword,
    /// Basic authentication splits at the first colon (RFC 7617, section 2).
    #[error("the user name contains a colon")]
    ColonInUsername,
    /// Control characters are not allowed (RFC 7617, section 2); a line break at the end is the usual case.
    #[error("the user name contains a line break or another control character")]
    ControlInUsername,
    /// The same in the password.
    #[error("the password contains a line break or another control character")]
    ControlInPassword,
    /// Beyond [`MAX_LENGTH`].
    #[error("the user name or password is longer than 16 KiB")]
    TooLong,
}

impl Credential {
    /// A login of these two parts.
    ///
    /// # Errors
    /// [`InvalidCredential`] if no registry could ever accept it.
    pub fn new(username: String, password: String) -> Result<Self, InvalidCredential> {
        let (username, password) = (SecretString::from(username), SecretString::from(password));
        let (name, word) = (username.expose_secret(), password.expose_secret());
        if name.is_empty() {
            Err(InvalidCredential::EmptyUsername)
        } else if word.is_empty() {
            Err(InvalidCredential::EmptyPassword)
        } else if name.len() > MAX_LENGTH || word.len() > MAX_LENGTH {
            Err(InvalidCredential::TooLong)
        } else if name.contains(':') {
            Err(InvalidCredential::ColonInUsername)
        } else if name.chars().any(char::is_control) {
            Err(InvalidCredential::ControlInUsername)
        } else if word.chars().any(char::is_control) {
            Err(InvalidCredential::ControlInPassword)
        } else {
            Ok(Self { username, password })
        }
    }

    /// The user name.
    pub fn username(&self) -> &str {
        self.username.expose_secret()
    }

    /// Whether a text quotes the login: as it is, or in a form in which Kubernetes and docker hold it, or cut off. Innocent
    /// texts may be taken for quotes; that errs on the safe side.
    pub fn appears_in(&self, text: &str) -> bool {
        let (username, password) = (self.username(), self.password());
        let escaped = serde_json::Value::from(password).to_string();
        // Go escapes these three as well.
        let escaped_by_go = escaped.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
        let forms = [
            password.to_owned(),
            escaped.trim_matches('"').to_owned(),
            escaped_by_go.trim_matches('"').to_owned(),
            STANDARD_NO_PAD.encode(password),
            STANDARD_NO_PAD.encode(format!("{username}:{password}")),
            // A long user name is a token; a short one is a word like any other.
            if username.len() < TOKEN_LENGTH { String::new() } else { username.to_owned() },
        ];
        let beginnings: Vec<&str> = forms.iter().map(|form| beginning(form)).filter(|form| !form.is_empty()).collect();
        let is_base64 = |character: char| character.is_ascii_alphanumeric() || matches!(character, '+' | '/');
        // The data of a Secret are base64 around a docker config.
        let mut encoded =
            text.split(|character| !is_base64(character)).map(|word| &word[..word.len() - word.len() % 4]);
        beginnings.iter().any(|form| text.contains(form))
            || encoded.any(|word| STANDARD_NO_PAD.decode(word).is_ok_and(|bytes| bytes.starts_with(b"{\"auths\"")))
    }

    /// The password.
    pub fn password(&self) -> &str {
        self.password.expose_secret()
    }
}

/// From this length on, in bytes, a user name may be a token.
const TOKEN_LENGTH: usize = 16;

/// The beginning of a text, by which a quote of it is known even if it is cut off.
fn beginning(text: &str) -> &str {
    let end = (0..=text.len().min(8)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    &text[..end]
}

/// Stands for one credential and what it is used for within this process, so that two can be compared without being
/// kept. It is keyed anew in every process and must not leave it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(u64);

/// Makes [`Fingerprint`]s that can be compared with each other.
#[derive(Clone, Default)]
pub struct Fingerprints(RandomState);

impl Fingerprints {
    /// The fingerprint of a credential and its use: where it is tested, or what is made of it.
    pub fn of(&self, used_for: impl Hash, credential: &Credential) -> Fingerprint {
        Fingerprint(self.0.hash_one((used_for, credential.username(), credential.password())))
    }

    /// The fingerprint of a token.
    pub fn of_token(&self, token: &Token) -> Fingerprint {
        Fingerprint(self.0.hash_one(("token", token.expose())))
    }

    /// The fingerprint of an account: of whoever has this user name at a place, with whatever password.
    pub fn of_account(&self, place: impl Hash, credential: &Credential) -> Fingerprint {
        Fingerprint(self.0.hash_one((place, credential.username())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::host::RegistryUrl;

    #[test]
    fn refuses_logins_that_no_registry_could_accept() {
        use InvalidCredential as E;
        for (username, password, expected) in [
            ("user", "password", Ok(())),
            ("user", "pass:word", Ok(())),
            ("robot$team+ci", "pässwörd ", Ok(())),
            ("", "password", Err(E::EmptyUsername)),
            ("user", "", Err(E::EmptyPassword)),
            ("us:er", "password", Err(E::ColonInUsername)),
            ("user\n", "password", Err(E::ControlInUsername)),
            ("user", "password\n", Err(E::ControlInPassword)),
        ] {
            let result = Credential::new(username.into(), password.into()).map(|_| ());
            assert_eq!(result, expected, "{username:?} {password:?}");
        }
        let long = "x".repeat(MAX_LENGTH + 1);
        assert_eq!(Credential::new("user".into(), long).map(|_| ()), Err(E::TooLong));
    }

    #[test]
    fn finds_itself_in_whatever_form_it_is_quoted() {
        let credential = Credential::new("user".into(), "pass \"word\"".into()).unwrap();
        let config = format!(
            "{{\"auths\":{{\"registry.example.com\":{{\"password\":{}}}}}}}",
            serde_json::Value::from("pass \"word\"")
        );
        let data = STANDARD_NO_PAD.encode(&config);
        for (text, expected) in [
            ("denied: pass \"word\" is weak".to_owned(), true),
            (format!("denied: {config}"), true),
            (format!("denied: {data}=="), true),
            (format!("denied: {}", &data[..40]), true),
            ("denied: pass \"wor".to_owned(), true),
            (format!("denied: {}...", &data[..data.len() - 3]), true),
            (format!("denied: {}", STANDARD_NO_PAD.encode("user:pass \"word\"")), true),
            ("denied: Secrets need the label team".to_owned(), false),
            ("User \"system:serviceaccount:a:b\" cannot create resource".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(credential.appears_in(&text), expected, "{text}");
        }
    }

    #[test]
    fn fingerprints_differ_by_registry_user_and_password() {
        let fingerprints = Fingerprints::default();
        let of = |url: &str, username: &str, password: &str| {
            fingerprints
                .of(RegistryUrl::parse(url).unwrap(), &Credential::new(username.into(), password.into()).unwrap())
        };
        let base = of("https://a", "user", "password");
        assert!(base == of("https://a/", "user", "password"));
        for other in [
            of("http://a", "user", "password"),
            of("https://b", "user", "password"),
            of("https://a", "use", "rpassword"),
            of("https://a", "user", "Password"),
        ] {
            assert!(base != other);
        }
    }
}
