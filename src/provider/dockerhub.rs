//! Docker Hub, with a login that stands in a Secret. What is special about it stands in [`Endpoint`] and `registry::known`.

use super::{CredentialSource, Error, Given, Io, endpoint::Endpoint, login_secret};
use crate::{api::provider::DockerHub, problem::field};

impl CredentialSource for DockerHub {
    async fn read(&self, io: &Io<'_>, endpoint: &Endpoint) -> Result<Given, Error> {
        login_secret::read(io, &self.secret_ref, field::DOCKERHUB_SECRET_REF, endpoint).await
    }
}
