//! What gives access to a provider's API: a token, or a user name and a password.

use crate::domain::{credential::Credential, token::Token};

/// See the module. No Debug, Display or Serialize.
#[derive(Clone)]
pub enum Access {
    /// An API token.
    Token(Token),
    /// An account.
    Login(Credential),
}

impl Access {
    /// Stands for it within this process.
    pub fn fingerprint(
        &self,
        fingerprints: &crate::domain::credential::Fingerprints,
    ) -> crate::domain::credential::Fingerprint {
        let _ = fingerprints;
        todo!()
    }

    /// Stands for a token, salted; none for a password, which a digest would give away to who guesses.
    pub fn digest(&self, salt: &str) -> Option<String> {
        let _ = salt;
        todo!()
    }
}
