//! The generic provider: any registry, with a login that stands in a Secret.

use super::{CredentialSource, Error, Given, Io, endpoint::Endpoint, login_secret};
use crate::{api::provider::Generic, problem::field};

impl CredentialSource for Generic {
    async fn read(&self, io: &Io<'_>, endpoint: &Endpoint) -> Result<Given, Error> {
        login_secret::read(io, &self.secret_ref, field::SECRET_REF, endpoint).await
    }
}
