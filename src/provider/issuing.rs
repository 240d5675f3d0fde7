//! Providers that issue credentials through an API. What is asked for, in which order and when is the business of
//! `controller::renew`; here is what each step is for a provider.
//!
//! ```text
//! access ─▶ prepare ─▶ issue ─▶ … ─▶ revoke
//! ```

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use url::Url;

use super::{
    Error, Io,
    access::{self, Access},
    api_url, digitalocean,
    endpoint::Endpoint,
    ionos,
};
use crate::{
    api::{
        Reason,
        provider::{IssuedBy, MAX_DIGITALOCEAN_LIFE_SECONDS, MAX_IONOS_LIFE_MINUTES, MIN_LIFE_SECONDS, Provider},
        status::ObservedInput,
    },
    domain::{
        credential::Credential,
        host::RegistryHost,
        ledger::{Entry, Issuer},
        token::Token,
    },
    problem::Problem,
};

/// How long a credential lives at least unless the spec says how long.
const SHORTEST_USUAL_LIFE: Duration = Duration::from_secs(3600);

/// One way to have credentials issued, implemented for the provider's part of the spec.
pub trait Issues {
    /// Finds out what has to be known before a credential is asked for. Issues nothing.
    ///
    /// # Errors
    /// [`Error::Provider`] says who has to move.
    fn prepare(&self, io: &Io<'_>, access: &Access) -> impl Future<Output = Result<Prepared, Error>> + Send;

    /// Has a credential issued: the one call that makes something new. Whatever it made and cannot be used is ended before an
    /// error is returned, as far as it can be.
    ///
    /// # Errors
    /// [`Error::Provider`] says who has to move.
    fn issue(
        &self,
        io: &Io<'_>,
        access: &Access,
        prepared: &Prepared,
        order: &Order<'_>,
    ) -> impl Future<Output = Result<Minted, Error>> + Send;
}

/// What is known before a credential is asked for.
pub struct Prepared {
    /// How what is issued will be ended.
    pub issuer: Issuer,
    /// The registry's host, where the provider tells it beforehand.
    pub registry: Option<RegistryHost>,
    /// Whether the credential gets a name of our choice.
    pub takes_name: bool,
}

/// What is asked for.
pub struct Order<'a> {
    /// The name to give it; none where the provider takes none.
    pub name: Option<&'a str>,
    /// How long it is to live.
    pub life: Duration,
}

/// A credential that was just issued.
pub struct Minted {
    /// The login.
    pub credential: Credential,
    /// The provider's name for it, if it has one.
    pub id: Option<String>,
    /// The registry it is for.
    pub registry: RegistryHost,
    /// When it expires: as the provider says, or else counted from before the call.
    pub expires_at: Timestamp,
}

/// What came of ending a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It works no more.
    Now,
    /// The provider did not know it any more.
    Before,
}

/// A credential that the provider lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The provider's name for it.
    pub id: String,
    /// The name we gave it.
    pub name: String,
    /// When it was created, if the provider says so.
    pub created_at: Option<Timestamp>,
}

impl Provider {
    /// What is asked of the provider, without the Secret: while it stays the same, a credential is as good as another.
    pub fn terms(&self) -> Value {
        let mut terms = serde_json::to_value(self).unwrap_or_default();
        for provider in terms.as_object_mut().into_iter().flat_map(serde_json::Map::values_mut) {
            provider.as_object_mut().map(|fields| fields.remove("secretRef"));
        }
        terms
    }
}

/// Where the API of a provider is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// Its address, without a slash at the end of the path.
    pub url: Url,
    /// It is the provider's own, and not one of the user's choice.
    pub is_usual: bool,
}

impl Api {
    /// The endpoint of a registry that this API issues credentials for. Container clients speak plain http to loopback, so
    /// there it goes by the API.
    pub fn endpoint(&self, registry: &RegistryHost) -> Option<Endpoint> {
        let https = Endpoint::issued(registry, false, vec![], false).ok()?;
        let plain_http = https.registry.is_loopback() && self.url.scheme() == "http";
        let host = RegistryHost::of(&self.url);
        let name = |host: &RegistryHost| Url::parse(&format!("https://{host}")).ok()?.host_str().map(str::to_owned);
        let private = self.is_usual || host.as_ref().is_some_and(|host| name(host) == name(registry));
        Endpoint::issued(registry, plain_http, host.into_iter().collect(), private).ok()
    }
}

/// Where the API of a provider is.
///
/// # Errors
/// A [`Problem`] of reason `InvalidSpec` that names the field `apiUrl`.
pub fn api(provider: IssuedBy<'_>, allow_loopback: bool) -> Result<Api, Problem> {
    api_url::api(provider, allow_loopback)
}

/// Reads what gives access to the API of a provider.
///
/// # Errors
/// [`Error::Unusable`] if the Secret is missing or cannot be used, else as for any read.
pub async fn access(io: &Io<'_>, provider: IssuedBy<'_>) -> Result<(Access, ObservedInput), Error> {
    access::read(io, provider).await
}

/// Reads what gives access to the API that issued something; none if the Secret is gone or cannot be used, for then nothing
/// can be ended with it any more. `io` must be for the namespace of the Secret.
///
/// # Errors
/// An answer of the API server that is no decision; trying again may help.
pub async fn access_at(io: &Io<'_>, issuer: &Issuer) -> Result<Option<Access>, Error> {
    access::read_at(io, issuer).await
}

/// Whether what gives access to the API of a connection's provider now may be sent to the one that issued something: it is the same
/// one, for the same contract. Whoever bound a Secret to a host did not mean another.
pub fn is_at(provider: IssuedBy<'_>, issuer: &Issuer) -> bool {
    match (provider, issuer) {
        (IssuedBy::Ionos(ionos), Issuer::Ionos { api_url, contract_number, registry_id: _, secret: _ }) => {
            let url = api(provider, true).ok().map(|api| api_url::text(&api.url));
            url.as_ref() == Some(api_url) && ionos.contract_number == *contract_number
        }
        // The credential itself gives access.
        (IssuedBy::Digitalocean(_) | IssuedBy::Ionos(_), Issuer::Digitalocean { .. })
        | (IssuedBy::Digitalocean(_), Issuer::Ionos { .. }) => false,
    }
}

/// Whether something was issued with what stands in the Secret that a connection names now.
pub fn is_from(provider: IssuedBy<'_>, issuer: &Issuer) -> bool {
    match (provider, issuer) {
        (IssuedBy::Ionos(ionos), Issuer::Ionos { secret, .. }) => ionos.secret_ref.name == secret.name,
        (IssuedBy::Digitalocean(_) | IssuedBy::Ionos(_), Issuer::Digitalocean { .. })
        | (IssuedBy::Digitalocean(_), Issuer::Ionos { .. }) => false,
    }
}

/// [`Issues::prepare`] of any provider that issues credentials.
///
/// # Errors
/// As there.
pub async fn prepare(io: &Io<'_>, provider: IssuedBy<'_>, access: &Access) -> Result<Prepared, Error> {
    match provider {
        IssuedBy::Digitalocean(digital_ocean) => digital_ocean.prepare(io, access).await,
        IssuedBy::Ionos(ionos) => ionos.prepare(io, access).await,
    }
}

/// [`Issues::issue`] of any provider that issues credentials.
///
/// # Errors
/// As there.
pub async fn issue(
    io: &Io<'_>,
    provider: IssuedBy<'_>,
    access: &Access,
    prepared: &Prepared,
    order: &Order<'_>,
) -> Result<Minted, Error> {
    match provider {
        IssuedBy::Digitalocean(digital_ocean) => digital_ocean.issue(io, access, prepared, order).await,
        IssuedBy::Ionos(ionos) => ionos.issue(io, access, prepared, order).await,
    }
}

/// Ends a credential, going by its entry alone; `access` is none where that is gone and not needed.
///
/// # Errors
/// [`Error::Provider`] if it may work on, and why.
pub async fn revoke(io: &Io<'_>, entry: &Entry, access: Option<&Access>) -> Result<Ended, Error> {
    match &entry.issuer {
        Issuer::Digitalocean { revoke_url } => {
            let token = Token::new(entry.credential.password().to_owned())
                .ok_or_else(|| cannot_end("what is recorded as a token of DigitalOcean cannot be one"))?;
            Ok(digitalocean::revoke(io, revoke_url, &token).await?)
        }
        Issuer::Ionos { .. } => {
            let access =
                access.ok_or_else(|| cannot_end("the access to the API of IONOS is gone that deletes the token"))?;
            let id = entry.id.as_deref().ok_or_else(|| cannot_end("no ID is recorded for a token of IONOS"))?;
            Ok(ionos::delete(io, &entry.issuer, access, id).await?)
        }
    }
}

/// Whether it takes access to the API to end what a provider issued.
pub fn ends_by_access(provider: IssuedBy<'_>) -> bool {
    match provider {
        IssuedBy::Digitalocean(_) => false,
        IssuedBy::Ionos(_) => true,
    }
}

/// All credentials whose names begin so; none where the provider cannot list them.
///
/// # Errors
/// [`Error::Provider`] if it did not list all of them.
pub async fn list(io: &Io<'_>, issuer: &Issuer, access: &Access, prefix: &str) -> Result<Vec<Listed>, Error> {
    match issuer {
        Issuer::Digitalocean { .. } => Ok(vec![]),
        Issuer::Ionos { .. } => Ok(ionos::list(io, issuer, access, prefix).await?),
    }
}

/// Ends a credential that [`list`] showed.
///
/// # Errors
/// [`Error::Provider`] if it may work on, and why.
pub async fn end(io: &Io<'_>, issuer: &Issuer, access: &Access, listed: &Listed) -> Result<Ended, Error> {
    match issuer {
        Issuer::Digitalocean { .. } => Err(cannot_end("DigitalOcean lists no credentials that could be ended").into()),
        Issuer::Ionos { .. } => Ok(ionos::delete(io, issuer, access, &listed.id).await?),
    }
}

fn cannot_end(message: &str) -> Problem {
    Problem::new(Reason::InternalError, message)
        .hint("it runs out by itself; it can be ended in the provider's console")
}

/// How long an issued credential is to live: what the spec says, or three refresh intervals and at least an hour, within what
/// the provider allows.
pub fn life(provider: IssuedBy<'_>, interval: Duration) -> Duration {
    let (wanted, longest) = match provider {
        IssuedBy::Digitalocean(digital_ocean) => (digital_ocean.expiry_seconds, MAX_DIGITALOCEAN_LIFE_SECONDS),
        IssuedBy::Ionos(ionos) => {
            (ionos.token_ttl_minutes.map(|minutes| minutes.saturating_mul(60)), MAX_IONOS_LIFE_MINUTES * 60)
        }
    };
    let seconds = |number: i64| Duration::from_secs(number.unsigned_abs());
    match wanted {
        Some(wanted) => seconds(wanted.clamp(MIN_LIFE_SECONDS, longest)),
        None => interval.saturating_mul(3).max(SHORTEST_USUAL_LIFE).min(seconds(longest)),
    }
}

#[cfg(test)]
mod tests;
