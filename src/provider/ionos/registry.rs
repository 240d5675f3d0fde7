//! Finding the registry that tokens are for. IO.

use http::StatusCode;
use url::Url;

use super::answer::{Registries, Registry, State, is_id, read};
use crate::{
    api::{Reason, provider::Ionos},
    domain::host::RegistryHost,
    net::Answer,
    problem::{Problem, field},
    provider::{
        api_url::below,
        service::{BODY_LIMIT, LIST_LIMIT, Service},
    },
};

/// How many pages of registries are read.
const MAX_PAGES: usize = 20;

/// The ID and the host of the registry that the spec names.
///
/// # Errors
/// A [`Problem`]: it does not exist, or is not ready, or the API did not say.
pub(super) async fn find(service: &Service<'_>, api: &Url, spec: &Ionos) -> Result<(String, RegistryHost), Problem> {
    let (answer, registry) = match (&spec.registry_id, &spec.registry_name) {
        (Some(id), None) => by_id(service, api, spec, id).await?,
        (None, Some(name)) => by_name(service, api, spec, name).await?,
        (Some(_), Some(_)) | (None, None) => {
            return Err(Problem::new(Reason::InvalidSpec, "exactly one of registryName and registryId must be given")
                .at(field::IONOS_REGISTRY_NAME)
                .hint("name the registry, or give its ID"));
        }
    };
    let Some(id) = registry.id() else {
        return Err(service.problem(Reason::ProtocolError, &answer, "the ID of the registry cannot be one"));
    };
    match registry.state() {
        State::Running(host) => Ok((id.to_owned(), host)),
        State::Nowhere => {
            Err(service.problem(Reason::ProtocolError, &answer, "the registry's host name cannot be one"))
        }
        State::NotReady(why) => {
            let meaning = format!("the registry exists, but is not ready: {why}");
            Err(service.problem(Reason::RegistryNotReady, &answer, &meaning))
        }
    }
}

async fn by_id(service: &Service<'_>, api: &Url, spec: &Ionos, id: &str) -> Result<(Answer, Registry), Problem> {
    if !is_id(id) {
        return Err(Problem::new(Reason::InvalidSpec, "registryId is no ID of a registry")
            .at(field::IONOS_REGISTRY_ID)
            .hint("use at most 64 letters, digits and -, as the console shows it"));
    }
    let answer = service.get(&below(api, &["registries", id]), BODY_LIMIT).await?;
    match answer.status {
        // The API says 400 to an ID that is no UUID.
        StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::BAD_REQUEST => {
            Err(unknown(spec, service.problem(Reason::InvalidSpec, &answer, "there is no registry with this ID")))
        }
        status if status.is_success() => match read::<Registry>(answer.body.expose()) {
            Some(registry) if registry.id() == Some(id) => Ok((answer, registry)),
            Some(_) => Err(service.problem(Reason::ProtocolError, &answer, "it shows another registry")),
            None => Err(service.problem(Reason::ProtocolError, &answer, "it shows no registry")),
        },
        _ => Err(service.refusal(&answer)),
    }
}

/// A filter may be ignored, and may find more than was meant, so every page is gone through for the very name.
async fn by_name(service: &Service<'_>, api: &Url, spec: &Ionos, name: &str) -> Result<(Answer, Registry), Problem> {
    let mut mark: Option<String> = None;
    for _ in 0..MAX_PAGES {
        let mut url = below(api, &["registries"]);
        url.query_pairs_mut().append_pair("filter.name", name).append_pair("limit", "100");
        if let Some(mark) = &mark {
            url.query_pairs_mut().append_pair("pagination.token", mark);
        }
        let answer = service.get(&url, LIST_LIMIT).await?;
        if !answer.status.is_success() {
            return Err(service.refusal(&answer));
        }
        let Some(page) = read::<Registries>(answer.body.expose()) else {
            return Err(service.problem(Reason::ProtocolError, &answer, "it lists no registries"));
        };
        let next = page.next().filter(|next| mark.as_deref() != Some(*next)).map(str::to_owned);
        if let Some(registry) = page.items.into_iter().find(|registry| registry.is_named(name)) {
            return Ok((answer, registry));
        }
        if next.is_none() {
            let meaning = format!("there is no registry {name:?} that this user can see");
            return Err(unknown(spec, service.problem(Reason::InvalidSpec, &answer, &meaning)));
        }
        mark = next;
    }
    Err(Problem::new(
        Reason::ProtocolError,
        format!("{} did not come to the end of the list of registries within {MAX_PAGES} pages", service.asked.who),
    )
    .hint("set registryId instead of registryName"))
}

/// The problem of a registry that does not exist.
pub(super) fn unknown(spec: &Ionos, problem: Problem) -> Problem {
    let (field, what) = match &spec.registry_id {
        Some(_) => (field::IONOS_REGISTRY_ID, "registryId"),
        None => (field::IONOS_REGISTRY_NAME, "registryName"),
    };
    problem.at(field).hint(format!(
        "correct {what}, or set contractNumber if the registry belongs to another contract than the user's own"
    ))
}
