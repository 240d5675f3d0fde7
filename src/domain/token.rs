//! A token that a token server issued.

use secrecy::{ExposeSecret, SecretString};

/// A bearer token (RFC 6750): opaque, and as secret as a password. No Debug, Display or Serialize.
#[derive(Clone)]
pub struct Token(SecretString);

impl Token {
    /// A token of this text; none if it could not stand in a header: it is empty, or holds anything but visible ASCII.
    pub fn new(text: String) -> Option<Self> {
        let is_sendable = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        let text = SecretString::from(text);
        is_sendable.then_some(Self(text))
    }

    /// The text.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}
