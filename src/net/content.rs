//! What a request carries besides its headers.

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use url::form_urlencoded::Serializer;

/// The body of a request. It may hold a secret, so it has no Debug, and is wiped when dropped.
pub struct Content {
    media_type: &'static str,
    text: SecretString,
}

impl Content {
    /// The fields of a form.
    pub fn form(fields: &[(&str, &str)]) -> Self {
        let text = Serializer::new(String::new()).extend_pairs(fields).finish();
        Self { media_type: "application/x-www-form-urlencoded", text: text.into() }
    }

    /// A value as JSON.
    ///
    /// # Errors
    /// The value has no form in JSON.
    pub fn json(value: &impl Serialize) -> serde_json::Result<Self> {
        Ok(Self { media_type: "application/json", text: serde_json::to_string(value)?.into() })
    }

    /// What kind of text it is.
    pub(super) fn media_type(&self) -> &'static str {
        self.media_type
    }

    /// The text.
    pub(super) fn expose(&self) -> &str {
        self.text.expose_secret()
    }
}
