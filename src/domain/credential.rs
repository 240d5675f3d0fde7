//! A user name and a password, and the promise that neither is ever printed.

use std::hash::{BuildHasher, RandomState};

use secrecy::{ExposeSecret, SecretString};

use super::host::RegistryUrl;

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

    /// The password.
    pub fn password(&self) -> &str {
        self.password.expose_secret()
    }
}

/// Stands for one credential at one registry within this process, so that two can be compared without being kept. It
/// is keyed anew in every process and must not leave it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(u64);

/// Makes [`Fingerprint`]s that can be compared with each other.
#[derive(Clone, Default)]
pub struct Fingerprints(RandomState);

impl Fingerprints {
    /// The fingerprint of a credential used at a registry.
    pub fn of(&self, registry: &RegistryUrl, credential: &Credential) -> Fingerprint {
        Fingerprint(self.0.hash_one((registry, credential.username(), credential.password())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn fingerprints_differ_by_registry_user_and_password() {
        let fingerprints = Fingerprints::default();
        let of = |url: &str, username: &str, password: &str| {
            fingerprints
                .of(&RegistryUrl::parse(url).unwrap(), &Credential::new(username.into(), password.into()).unwrap())
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
