//! The last rung: can the login pull from a repository that not everybody can pull from?

use http::StatusCode;

use super::{
    fault::fault,
    grant::TokenScope,
    judge::{Place, Rung, is_page, is_transient, problem, unclear},
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

/// What came of asking for a repository.
pub(super) enum Checked {
    /// This was found.
    Found(Found),
    /// The login itself was refused: by the token server, or where it was sent to the registry.
    Refused {
        /// Which server said so.
        who: String,
        /// With which status.
        status: u16,
    },
}

impl Found {
    /// A repository for which a login was refused that had been accepted before.
    pub(super) fn refused(repository: &Repository, who: &str, status: u16) -> Self {
        let message = format!("{}: {who} refuses the login for {} ({status})", Rung::Repository, repository.name);
        let problem = Some(problem(Reason::InsufficientScope, message));
        Self { name: repository.name.clone(), verdict: RepositoryVerdict::InsufficientScope, problem }
    }
}

/// Asks for a repository with the login, and without.
pub(super) async fn check(ladder: &Ladder<'_>, way: &Way, repository: &Repository) -> Checked {
    let (verdict, problem) = match judge(ladder, way, repository).await {
        Ok(Judged::Repository(verdict, problem)) => (verdict, problem),
        Ok(Judged::LoginRefused(who, status)) => return Checked::Refused { who, status },
        Err(problem) => (RepositoryVerdict::Inconclusive, Some(problem)),
    };
    Checked::Found(Found { name: repository.name.clone(), verdict, problem })
}

enum Judged {
    Repository(RepositoryVerdict, Option<Problem>),
    /// By whom, and with which status.
    LoginRefused(String, u16),
}

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
        Entered::Stopped(server, answer) => return stopped(&place, server, answer, ladder),
    };
    if let (Way::Basic, Seen::Answer(answer)) = (door, &with_login)
        && answer.status == StatusCode::UNAUTHORIZED
        && !is_transient(answer)
    {
        return Ok(Judged::LoginRefused(ladder.registry(Rung::Repository).who, answer.status.as_u16()));
    }
    let judged = verdict(&place, &with_login, RepositoryVerdict::PullProven, ladder)?;
    if !matches!(judged, Judged::Repository(RepositoryVerdict::PullProven, _)) {
        return Ok(judged);
    }
    // What everybody can do proves nothing.
    match enter(ladder, door, repository, None).await? {
        Entered::In(Seen::Answer(answer)) if answer.status == StatusCode::OK => {
            Ok(Judged::Repository(RepositoryVerdict::PubliclyReadable, None))
        }
        Entered::In(Seen::Answer(answer)) | Entered::Stopped(_, answer) if is_transient(&answer) => {
            Err(unclear(&place, &answer, ladder.now))
        }
        Entered::In(_) | Entered::Stopped(..) => Ok(judged),
    }
}

/// How far a request came.
enum Entered {
    /// To the registry.
    In(Seen),
    /// The token server, which is this one, gave no token.
    Stopped(String, Answer),
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
                Asked::Other(answer) => return Ok(Entered::Stopped(at_server.who, answer)),
            }
            Authorization::Bearer(&token)
        }
    };
    look(ladder, &place, repository, authorization).await.map(Entered::In)
}

/// Asks for the reference, or for the tags. A HEAD has no body, so where it fails the tags tell why: whether it is the
/// reference or the repository that is missing, and whether it is a right that is missing or somebody else who is speaking.
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
        let is_told_why = match answer.status {
            StatusCode::NOT_FOUND => false,
            StatusCode::FORBIDDEN => is_transient(&answer),
            _ => true,
        };
        if is_told_why {
            return Ok(Seen::Answer(answer));
        }
        let tags = ladder.list_tags(place, name, authorization).await?;
        return Ok(match (answer.status, tags.status) {
            (StatusCode::NOT_FOUND, StatusCode::OK) => Seen::NoSuchReference,
            // Who may not list may still pull: the first answer was about that.
            (StatusCode::NOT_FOUND, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) | (_, StatusCode::OK) => {
                Seen::Answer(answer)
            }
            _ => Seen::Answer(tags),
        });
    }
    ladder.list_tags(place, name, authorization).await.map(Seen::Answer)
}

/// What the registry's answer says of a repository.
fn verdict(place: &Place, seen: &Seen, readable: RepositoryVerdict, ladder: &Ladder<'_>) -> Result<Judged, Problem> {
    let answer = match seen {
        Seen::NoSuchReference => return Ok(Judged::Repository(RepositoryVerdict::TagMissing, None)),
        Seen::Answer(answer) => answer,
    };
    let found = fault(answer.body.expose());
    let is_by_somebody_else = found.is_firewall || is_page(&answer.headers);
    match answer.status {
        _ if is_transient(answer) => Err(unclear(place, answer, ladder.now)),
        StatusCode::OK if !is_page(&answer.headers) => Ok(Judged::Repository(readable, None)),
        StatusCode::NOT_FOUND => Ok(missing(place)),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if found.name_unknown => Ok(missing(place)),
        StatusCode::UNAUTHORIZED => Ok(out_of_scope(place, answer)),
        StatusCode::FORBIDDEN if !is_by_somebody_else => Ok(out_of_scope(place, answer)),
        _ => Err(unclear(place, answer, ladder.now)),
    }
}

/// What it means that the token server, which accepted the login, gives no token for a repository.
fn stopped(place: &Place, server: String, answer: Answer, ladder: &Ladder<'_>) -> Result<Judged, Problem> {
    match answer.status {
        StatusCode::UNAUTHORIZED if !is_transient(&answer) => Ok(Judged::LoginRefused(server, answer.status.as_u16())),
        // Some servers refuse a missing permission themselves instead of granting less.
        StatusCode::BAD_REQUEST if fault(answer.body.expose()).denied => Ok(out_of_scope(place, &answer)),
        _ => verdict(place, &Seen::Answer(answer), RepositoryVerdict::PullProven, ladder),
    }
}

fn missing(place: &Place) -> Judged {
    let message = format!("{}: {} does not exist, or is hidden from this login", place.rung, place.who);
    Judged::Repository(RepositoryVerdict::RepositoryNotFound, Some(problem(Reason::RepositoryNotFound, message)))
}

fn out_of_scope(place: &Place, answer: &Answer) -> Judged {
    let status = answer.status.as_u16();
    let message = format!("{}: {} cannot be pulled from with this login ({status})", place.rung, place.who);
    Judged::Repository(RepositoryVerdict::InsufficientScope, Some(problem(Reason::InsufficientScope, message)))
}

fn place(ladder: &Ladder<'_>, repository: &Repository) -> Place {
    let Place { rung, who } = ladder.registry(Rung::Repository);
    Place { rung, who: format!("{} at {who}", repository.name) }
}

fn token_place(ladder: &Ladder<'_>, server: &TokenServer, repository: &Repository) -> Place {
    let Place { rung, who } = ladder.token_server(Rung::Repository, server);
    Place { rung, who: format!("{who}, asked for {},", repository.name) }
}
