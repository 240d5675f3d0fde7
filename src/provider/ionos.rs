//! IONOS Container Registry. A token has a name of our choice, shows its password once, and is deleted with the API credential
//! it was created with.

mod answer;
mod registry;
mod tokens;

use http::{HeaderName, HeaderValue, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use url::Url;

use super::{
    Error, Io,
    access::Access,
    api_url,
    issuing::{self, Issues, Minted, Order, Prepared},
    refusal::Dialect,
    service::{Place, Service},
};
use crate::{
    api::{
        Reason,
        provider::{Ionos, IssuedBy},
    },
    clock::whole_seconds,
    domain::ledger::{Issuer, SecretPlace},
    net::{Answer, Content},
    problem::{Problem, field},
};
use answer::Created;
pub(super) use tokens::{delete, list};

/// The header that says whose registry is meant.
const CONTRACT_NUMBER: HeaderName = HeaderName::from_static("x-contract-number");

impl Issues for Ionos {
    async fn prepare(&self, io: &Io<'_>, access: &Access) -> Result<Prepared, Error> {
        let url = self.url()?;
        let service = service(io, &url, self.contract_number, access, self.api_url_field())?;
        let (registry_id, host) = registry::find(&service, &url, self).await?;
        let secret = SecretPlace {
            namespace: io.namespace().to_owned(),
            name: self.secret_ref.name.clone(),
            username_key: self.secret_ref.username_key.clone(),
            password_key: self.secret_ref.password_key.clone(),
            token_key: self.secret_ref.token_key.clone(),
        };
        let issuer =
            Issuer::Ionos { api_url: api_url::text(&url), registry_id, contract_number: self.contract_number, secret };
        Ok(Prepared { issuer, registry: Some(host), takes_name: true })
    }

    async fn issue(
        &self,
        io: &Io<'_>,
        access: &Access,
        prepared: &Prepared,
        order: &Order<'_>,
    ) -> Result<Minted, Error> {
        let (Issuer::Ionos { api_url, registry_id, contract_number, .. }, Some(registry), Some(name)) =
            (&prepared.issuer, &prepared.registry, order.name)
        else {
            return Err(ours("a token of IONOS was asked for without a name or a registry").into());
        };
        let url = recorded(api_url)?;
        let service = service(io, &url, *contract_number, access, self.api_url_field())?;
        let life = SignedDuration::try_from(order.life).unwrap_or(SignedDuration::MAX);
        let asked_at = service.clock.now();
        let expires_at = whole_seconds(asked_at.saturating_add(life).unwrap_or(Timestamp::MAX));
        let content =
            Content::json(&self.wanted(name, expires_at)).map_err(|_| ours("a request has no form in JSON"))?;
        let answer = service.post(&api_url::below(&url, &["registries", registry_id, "tokens"]), content).await?;
        if !answer.status.is_success() {
            return Err(self.refusal(&service, &answer).into());
        }
        let Created { id, token } = Created::read(answer.body.expose(), asked_at);
        match (token, id) {
            (Ok((credential, expires_at)), Some(id)) => {
                Ok(Minted { credential, id: Some(id), registry: registry.clone(), expires_at })
            }
            (token, id) => {
                let end = match &id {
                    None => "it is looked for by its name later",
                    Some(id) => match tokens::delete_by(&service, &url, registry_id, id).await {
                        Ok(_) => "it was deleted",
                        Err(_) => "it could not be deleted, and is looked for by its name later",
                    },
                };
                let why = token.err().unwrap_or("the answer has no usable ID");
                Err(service.problem(Reason::ProtocolError, &answer, &format!("{why}; {end}")).into())
            }
        }
    }
}

impl Ionos {
    fn url(&self) -> Result<Url, Problem> {
        // Whether loopback is meant was decided before; that it is not reached otherwise, `net` sees to.
        issuing::api(IssuedBy::Ionos(self), true).map(|api| api.url)
    }

    fn api_url_field(&self) -> Option<&'static str> {
        self.api_url.as_ref().map(|_| field::IONOS_API_URL)
    }

    /// The token to create.
    fn wanted(&self, name: &str, expires_at: Timestamp) -> Value {
        let scopes = match &self.scopes {
            Some(scopes) => json!(scopes),
            None => json!([{"type": "repository", "name": "*", "actions": ["pull"]}]),
        };
        let expires_at = expires_at.to_string();
        json!({"properties": {"name": name, "expiryDate": expires_at, "status": "enabled", "scopes": scopes}})
    }

    /// What it means that no token was created.
    fn refusal(&self, service: &Service<'_>, answer: &Answer) -> Problem {
        match answer.status {
            StatusCode::NOT_FOUND | StatusCode::GONE => registry::unknown(
                self,
                service.problem(Reason::InvalidSpec, answer, "the registry does not exist any more"),
            ),
            StatusCode::CONFLICT => service
                .problem(Reason::UpstreamError, answer, "a token of the chosen name exists already")
                .hint("wait; the next try chooses another name"),
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY if self.scopes.is_some() => service
                .problem(Reason::ProtocolError, answer, "it does not accept the token that was asked for")
                .at(field::IONOS_SCOPES)
                .hint("check the scopes: types, names and actions; if they are right, report the answer"),
            _ => service.refusal(answer),
        }
    }
}

/// A way to the API.
fn service<'a>(
    io: &Io<'a>,
    url: &Url,
    contract_number: Option<i64>,
    access: &'a Access,
    api_url: Option<&'static str>,
) -> Result<Service<'a>, Problem> {
    let place = Place { dialect: Dialect::Ionos, noun: "the API of IONOS", url, api_url };
    let header = contract_number.map(|number| (CONTRACT_NUMBER, HeaderValue::from(number)));
    Ok(Service::new(io, &place, access.authorization(), true)?.with(header))
}

/// The address of the API as it was written down.
fn recorded(api_url: &str) -> Result<Url, Problem> {
    api_url::read(api_url, true)
        .map_err(|error| ours(&format!("the address recorded for the API cannot be used: {error}")))
}

fn ours(message: &str) -> Problem {
    Problem::new(Reason::InternalError, message).hint(Reason::InternalError.fix())
}

#[cfg(test)]
mod tests;
