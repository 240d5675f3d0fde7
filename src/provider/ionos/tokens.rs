//! Listing and deleting the tokens of a registry, going by what was recorded when they were created. IO.

use http::StatusCode;
use url::Url;

use super::{
    answer::{Tokens, is_id, read},
    ours, recorded, service,
};
use crate::{
    api::Reason,
    domain::ledger::Issuer,
    problem::Problem,
    provider::{
        Io,
        access::Access,
        api_url::below,
        issuing::{Ended, Listed},
        service::{LIST_LIMIT, Service},
    },
};

/// How many pages of tokens are read: ten thousand tokens.
const MAX_PAGES: usize = 100;

/// All tokens of a registry whose names begin so.
///
/// # Errors
/// The [`Problem`] if not all of them could be listed.
pub(in crate::provider) async fn list(
    io: &Io<'_>,
    issuer: &Issuer,
    access: &Access,
    prefix: &str,
) -> Result<Vec<Listed>, Problem> {
    let (service, api, registry_id) = place(io, issuer, access)?;
    let mut listed: Vec<Listed> = vec![];
    let mut offset = 0;
    for _ in 0..MAX_PAGES {
        let mut url = below(&api, &["registries", registry_id, "tokens"]);
        url.query_pairs_mut().append_pair("offset", &offset.to_string()).append_pair("limit", "100");
        let answer = service.get(&url, LIST_LIMIT).await?;
        if !answer.status.is_success() {
            return Err(service.refusal(&answer));
        }
        let Some(page) = read::<Tokens>(answer.body.expose()) else {
            return Err(service.problem(Reason::ProtocolError, &answer, "it lists no tokens"));
        };
        let count = page.count();
        offset += count;
        let is_last = count == 0 || !page.has_more_than(offset);
        let Some(ours) = page.named(prefix) else {
            return Err(service.problem(Reason::ProtocolError, &answer, "the ID of a token cannot be one"));
        };
        for token in ours {
            // What is created or deleted meanwhile moves the others from page to page.
            if listed.iter().all(|known| known.id != token.id) {
                listed.push(token);
            }
        }
        if is_last {
            return Ok(listed);
        }
    }
    Err(Problem::new(
        Reason::ProtocolError,
        format!("{} did not come to the end of the list of tokens within {MAX_PAGES} pages", service.asked.who),
    )
    .hint("delete tokens that nobody needs any more in the console of IONOS"))
}

/// Ends a token.
///
/// # Errors
/// The [`Problem`] if it may work on.
pub(in crate::provider) async fn delete(
    io: &Io<'_>,
    issuer: &Issuer,
    access: &Access,
    id: &str,
) -> Result<Ended, Problem> {
    let (service, api, registry_id) = place(io, issuer, access)?;
    delete_by(&service, &api, registry_id, id).await
}

/// The same by a service at hand.
pub(super) async fn delete_by(service: &Service<'_>, api: &Url, registry_id: &str, id: &str) -> Result<Ended, Problem> {
    if !is_id(id) {
        return Err(ours("the ID recorded for a token of IONOS cannot be one"));
    }
    let answer = service.delete(&below(api, &["registries", registry_id, "tokens", id])).await?;
    match answer.status {
        StatusCode::NOT_FOUND => Ok(Ended::Before),
        status if status.is_success() => Ok(Ended::Now),
        _ => Err(service.refusal(&answer)),
    }
}

/// Where tokens are, as it was recorded.
fn place<'a, 'i>(io: &Io<'a>, issuer: &'i Issuer, access: &'a Access) -> Result<(Service<'a>, Url, &'i str), Problem> {
    let Issuer::Ionos { api_url, registry_id, contract_number, secret: _ } = issuer else {
        return Err(ours("a token of IONOS was looked for at another provider"));
    };
    if !is_id(registry_id) {
        return Err(ours("the ID recorded for a registry of IONOS cannot be one"));
    }
    let api = recorded(api_url)?;
    Ok((service(io, &api, *contract_number, access, None)?, api, registry_id))
}
