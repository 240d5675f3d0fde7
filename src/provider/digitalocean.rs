//! DigitalOcean Container Registry. Every request for credentials makes a new token of the account, so none is sent that is
//! not meant, and all say when the token ends. A token is revoked with itself.

mod config;

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use url::Url;

use super::{
    Error, Io,
    access::Access,
    api_url,
    issuing::{self, Ended, Issues, Minted, Order, Prepared},
    refusal::Dialect,
    service::{BODY_LIMIT, Place, Service},
};
use crate::{
    api::{
        Reason,
        provider::{DigitalOcean, IssuedBy},
    },
    domain::{ledger::Issuer, token::Token},
    net::{Answer, Authorization, Content},
    problem::{Problem, field},
};

/// Where credentials are revoked: at the console, not at the API (as doctl does).
const REVOKE_ORIGIN: &str = "https://cloud.digitalocean.com";

/// The path for that.
const REVOKE_PATH: &str = "/v1/oauth/revoke";

/// The one registry host there is.
const REGISTRY: &str = "registry.digitalocean.com";

impl Issues for DigitalOcean {
    async fn prepare(&self, _io: &Io<'_>, _access: &Access) -> Result<Prepared, Error> {
        let origin = match &self.api_url {
            None => REVOKE_ORIGIN.to_owned(),
            Some(_) => self.url()?.origin().ascii_serialization(),
        };
        let issuer = Issuer::Digitalocean { revoke_url: format!("{origin}{REVOKE_PATH}") };
        Ok(Prepared { issuer, registry: None, takes_name: false })
    }

    async fn issue(
        &self,
        io: &Io<'_>,
        access: &Access,
        prepared: &Prepared,
        order: &Order<'_>,
    ) -> Result<Minted, Error> {
        let url = self.url()?;
        let place = Place {
            dialect: Dialect::DigitalOcean,
            noun: "DigitalOcean's API",
            url: &url,
            api_url: self.api_url_field(),
        };
        let service = Service::new(io, &place, access.authorization(), true)?;
        let (asked_at, seconds, answer) = self.mint(&service, &url, order).await?;
        let expected = self.api_url.is_none().then_some(REGISTRY);
        match config::read(answer.body.expose(), expected) {
            Ok((credential, registry)) => {
                let expires_at = asked_at.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX);
                Ok(Minted { credential, id: None, registry, expires_at })
            }
            Err(config::Unusable { why, tokens }) => {
                let end = revoke_all(io, &prepared.issuer, &tokens).await;
                let meaning = format!("{why}; {end}");
                Err(service.problem(Reason::ProtocolError, &answer, &meaning).into())
            }
        }
    }
}

impl DigitalOcean {
    fn url(&self) -> Result<Url, Problem> {
        // Whether loopback is meant was decided before; that it is not reached otherwise, `net` sees to.
        issuing::api(IssuedBy::Digitalocean(self), true).map(|api| api.url)
    }

    fn api_url_field(&self) -> Option<&'static str> {
        self.api_url.as_ref().map(|_| field::DIGITALOCEAN_API_URL)
    }

    /// Has a credential issued for the named registry and no other. Returns when it was asked for, for how many seconds, and
    /// the answer, which is a success.
    async fn mint(
        &self,
        service: &Service<'_>,
        api: &Url,
        order: &Order<'_>,
    ) -> Result<(Timestamp, i64, Answer), Problem> {
        let name = self.registry_name.as_str();
        if !is_registry_name(name) {
            return Err(Problem::new(Reason::InvalidSpec, "registryName is no name of a registry at DigitalOcean")
                .at(field::DIGITALOCEAN_REGISTRY_NAME)
                .hint("use at most 63 lower-case letters, digits and -"));
        }
        // None would mean for ever.
        let seconds = i64::try_from(order.life.as_secs()).unwrap_or(i64::MAX).max(1);
        let ask = async |path: &[&str]| {
            let mut url = api_url::below(api, path);
            let read_write = if self.read_write.unwrap_or(false) { "true" } else { "false" };
            let life = seconds.to_string();
            url.query_pairs_mut().append_pair("expiry_seconds", &life).append_pair("read_write", read_write);
            let asked_at = service.clock.now();
            service.get(&url, BODY_LIMIT).await.map(|answer| (asked_at, seconds, answer))
        };
        let asked = ask(&["v2", "registries", name, "docker-credentials"]).await?;
        if asked.2.status.is_success() {
            return Ok(asked);
        }
        if asked.2.status != StatusCode::NOT_FOUND {
            return Err(self.refusal(service, &asked.2));
        }
        // There is no such registry, or no such path at an older API. There the account's only registry is meant, whatever
        // its name.
        self.check_only_registry(service, api).await?;
        let asked = ask(&["v2", "registry", "docker-credentials"]).await?;
        if asked.2.status.is_success() { Ok(asked) } else { Err(self.refusal(service, &asked.2)) }
    }

    /// Makes sure that the account's only registry is the named one.
    async fn check_only_registry(&self, service: &Service<'_>, api: &Url) -> Result<(), Problem> {
        let answer = service.get(&api_url::below(api, &["v2", "registry"]), BODY_LIMIT).await?;
        if !answer.status.is_success() {
            return Err(self.refusal(service, &answer));
        }
        let body: Value = serde_json::from_slice(answer.body.expose()).unwrap_or_default();
        match body.pointer("/registry/name").and_then(Value::as_str) {
            Some(name) if name == self.registry_name => Ok(()),
            Some(_) => Err(self.unknown(service.problem(
                Reason::InvalidSpec,
                &answer,
                &format!("the account's registry is not {:?}", self.registry_name),
            ))),
            None => Err(service.problem(Reason::ProtocolError, &answer, "it names no registry")),
        }
    }

    fn refusal(&self, service: &Service<'_>, answer: &Answer) -> Problem {
        let name = &self.registry_name;
        match answer.status {
            StatusCode::NOT_FOUND | StatusCode::GONE => self.unknown(service.problem(
                Reason::InvalidSpec,
                answer,
                &format!("the account has no registry {name:?}"),
            )),
            StatusCode::PRECONDITION_FAILED => self.unknown(service.problem(
                Reason::InvalidSpec,
                answer,
                &format!("the account has several registries, and none of them is known by the name {name:?}"),
            )),
            _ => service.refusal(answer),
        }
    }

    fn unknown(&self, problem: Problem) -> Problem {
        problem.at(field::DIGITALOCEAN_REGISTRY_NAME).hint(
            "correct registryName: it is the part of image names behind registry.digitalocean.com/, and doctl registry list \
             shows it; the API token must be of the team that owns the registry",
        )
    }
}

/// Ends a credential by its token.
///
/// # Errors
/// The [`Problem`] if it may work on.
pub(super) async fn revoke(io: &Io<'_>, revoke_url: &str, token: &Token) -> Result<Ended, Problem> {
    let url = api_url::read(revoke_url, true).map_err(|error| {
        Problem::new(Reason::InternalError, format!("the address recorded for revoking cannot be used: {error}"))
            .hint(Reason::InternalError.fix())
    })?;
    let place = Place { dialect: Dialect::DigitalOcean, noun: "DigitalOcean's revocation", url: &url, api_url: None };
    // Every revocation carries another token, so a pause that one is told is for all.
    let service = Service::new(io, &place, Authorization::Bearer(token), false)?;
    let answer = service.post(&url, Content::form(&[("token", token.expose())])).await?;
    match answer.status {
        // Only that says that the token is none any more. With another apiUrl there may be nobody at this path.
        StatusCode::UNAUTHORIZED => Ok(Ended::Before),
        status if status.is_success() => Ok(Ended::Now),
        _ => Err(service.refusal(&answer)),
    }
}

/// Ends what was issued and cannot be used, and says what came of it.
async fn revoke_all(io: &Io<'_>, issuer: &Issuer, tokens: &[Token]) -> &'static str {
    let Issuer::Digitalocean { revoke_url } = issuer else { return "nothing was revoked" };
    if tokens.is_empty() {
        return "nothing in it could be revoked";
    }
    let mut are_ended = true;
    for token in tokens {
        are_ended &= revoke(io, revoke_url, token).await.is_ok();
    }
    if are_ended { "what it issued was revoked" } else { "what it issued could not be revoked, and runs out" }
}

/// The names that DigitalOcean gives to registries.
fn is_registry_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests;
