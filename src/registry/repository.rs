//! The last rung: can the login pull from a repository that not everybody can pull from?

use http::StatusCode;

use super::{
    fault::fault,
    grant::TokenScope,
    judge::{Place, Rung, is_page, problem, unclear},
    ladder::{Asked, Ladder, TokenServer},
    login::{Way, way},
};
use crate::{
    api::{Reason, status::RepositoryVerdict},
    domain::{
        credential::Credential,
        image::{Reference, RepositoryName},
        token::Token,
    },
    net::{Answer, Authorization},
    problem::Problem,
};

/// A repository to ask for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Repository {
    /// Its name.
    pub name: RepositoryName,
    /// The tag or digest to ask for; none asks for the list of tags.
    pub reference: Option<Reference>,
}

/// What was found of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: RepositoryName,
    /// What the login can do with it.
    pub verdict: RepositoryVerdict,
    /// What to tell the user, unless it can be pulled from.
    pub problem: Option<Problem>,
}

/// Asks for a repository with the login, and without.
pub(super) async fn check(ladder: &Ladder<'_>, way: &Way, repository: &Repository) -> Found {
    let (verdict, problem) = match judge(ladder, way, repository).await {
        Ok((verdict, problem)) => (verdict, problem),
        Err(problem) => (RepositoryVerdict::Inconclusive, Some(problem)),
    };
    Found { name: repository.name.clone(), verdict, problem }
}

type Judged = (RepositoryVerdict, Option<Problem>);

async fn judge(ladder: &Ladder<'_>, first: &Way, repository: &Repository) -> Result<Judged, Problem> {
    let place = place(ladder, repository);
    let owned;
    let door = match first {
        Way::Basic | Way::Token(_) => first,
        Way::Open => {
            // A registry that lets in everybody may still guard single repositories.
            match look(ladder, &place, repository, Authorization::None).await? {
                Seen::Answer(answer) if answer.status == StatusCode::UNAUTHORIZED => owned = way(ladder, &answer)?,
                seen => return verdict(&place, &seen, RepositoryVerdict::PubliclyReadable, ladder),
            }
            &owned
        }
    };
    let with_login = match enter(ladder, door, repository, Some(ladder.question.credential)).await? {
        Entered::In(seen) => seen,
        Entered::Stopped(answer) => return stopped(&place, answer, ladder),
    };
    let judged = verdict(&place, &with_login, RepositoryVerdict::PullProven, ladder)?;
    if judged.0 != RepositoryVerdict::PullProven {
        return Ok(judged);
    }
    // What everybody can do proves nothing.
    match enter(ladder, door, repository, None).await? {
        Entered::In(Seen::Answer(answer)) if answer.status == StatusCode::OK => {
            Ok((RepositoryVerdict::PubliclyReadable, None))
        }
        Entered::In(Seen::Answer(answer)) | Entered::Stopped(answer) if is_no_answer(&answer) => {
            Err(unclear(&place, &answer, ladder.now))
        }
        Entered::In(_) | Entered::Stopped(_) => Ok(judged),
    }
}

/// Whether the server did not say what it does with somebody who brings no login.
fn is_no_answer(answer: &Answer) -> bool {
    answer.status.is_server_error() || answer.status == StatusCode::TOO_MANY_REQUESTS
}

/// How far a request came.
enum Entered {
    /// To the registry.
    In(Seen),
    /// The token server gave no token.
    Stopped(Answer),
}

/// What the registry showed.
enum Seen {
    /// This.
    Answer(Answer),
    /// The repository, but no such tag or digest in it.
    NoSuchReference,
}

async fn enter(
    ladder: &Ladder<'_>,
    door: &Way,
    repository: &Repository,
    login: Option<&Credential>,
) -> Result<Entered, Problem> {
    let place = place(ladder, repository);
    let token: Token;
    let authorization = match (door, login) {
        (Way::Open, _) | (Way::Basic, None) => Authorization::None,
        (Way::Basic, Some(login)) => Authorization::Basic(login),
        (Way::Token(server), login) => {
            let at_server = token_place(ladder, server, repository);
            let scope = TokenScope::Pull(repository.name.clone());
            match ladder.ask_token(&at_server, server, &scope, login).await? {
                Asked::Token(issued) => token = issued,
                Asked::Other(answer) => return Ok(Entered::Stopped(answer)),
            }
            Authorization::Bearer(&token)
        }
    };
    look(ladder, &place, repository, authorization).await.map(Entered::In)
}

/// Asks for the reference, or for the tags. A HEAD has no body, so where it finds nothing the tags tell whether it is the
/// reference or the repository that is missing.
async fn look(
    ladder: &Ladder<'_>,
    place: &Place,
    repository: &Repository,
    authorization: Authorization<'_>,
) -> Result<Seen, Problem> {
    let name = repository.name.as_str();
    if let Some(reference) = &repository.reference {
        let path = format!("{name}/manifests/{}", reference.as_str());
        let answer = ladder.head_manifest(place, &path, authorization).await?;
        if answer.status != StatusCode::NOT_FOUND {
            return Ok(Seen::Answer(answer));
        }
    }
    let tags = ladder.list_tags(place, name, authorization).await?;
    Ok(match repository.reference {
        Some(_) if tags.status == StatusCode::OK => Seen::NoSuchReference,
        Some(_) | None => Seen::Answer(tags),
    })
}

/// What the registry's answer says of a repository.
fn verdict(place: &Place, seen: &Seen, readable: RepositoryVerdict, ladder: &Ladder<'_>) -> Result<Judged, Problem> {
    let answer = match seen {
        Seen::NoSuchReference => return Ok((RepositoryVerdict::TagMissing, None)),
        Seen::Answer(answer) => answer,
    };
    let found = fault(answer.body.expose());
    match answer.status {
        StatusCode::OK if !is_page(&answer.headers) => Ok((readable, None)),
        StatusCode::NOT_FOUND => Ok(missing(place)),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if found.name_unknown => Ok(missing(place)),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if !found.too_many_requests && !found.is_firewall => {
            Ok(out_of_scope(place, answer))
        }
        _ => Err(unclear(place, answer, ladder.now)),
    }
}

/// What it means that the token server, which accepted the login, gives no token for a repository.
fn stopped(place: &Place, answer: Answer, ladder: &Ladder<'_>) -> Result<Judged, Problem> {
    match answer.status {
        // Some servers refuse a missing permission themselves instead of granting less.
        StatusCode::BAD_REQUEST if fault(answer.body.expose()).denied => Ok(out_of_scope(place, &answer)),
        _ => verdict(place, &Seen::Answer(answer), RepositoryVerdict::PullProven, ladder),
    }
}

fn missing(place: &Place) -> Judged {
    let message = format!("{}: {} does not exist, or is hidden from this login", place.rung, place.who);
    (RepositoryVerdict::RepositoryNotFound, Some(problem(Reason::RepositoryNotFound, message)))
}

fn out_of_scope(place: &Place, answer: &Answer) -> Judged {
    let status = answer.status.as_u16();
    let message =
        format!("{}: {}", place.rung, place.who) + &format!(" cannot be pulled from with this login ({status})");
    (RepositoryVerdict::InsufficientScope, Some(problem(Reason::InsufficientScope, message)))
}

fn place(ladder: &Ladder<'_>, repository: &Repository) -> Place {
    let Place { rung, who } = ladder.registry(Rung::Repository);
    Place { rung, who: format!("{} at {who}", repository.name) }
}

fn token_place(ladder: &Ladder<'_>, server: &TokenServer, repository: &Repository) -> Place {
    let Place { rung, who } = ladder.token_server(Rung::Repository, server);
    Place { rung, who: format!("{who}, asked for {},", repository.name) }
}
