//! The generic provider: any registry, with a login that stands in a Secret.

use super::{CredentialSource, Error, Io, Issued, endpoint::Endpoint, login_secret};
use crate::{api::provider::Generic, problem::field};

impl CredentialSource for Generic {
    async fn issue(&self, io: &Io<'_>, endpoint: &Endpoint) -> Result<Issued, Error> {
        login_secret::read(io, &self.secret_ref, field::SECRET_REF, endpoint).await
    }
}
