//! The first rungs: reach, challenge, login, and the token used.

use std::time::Duration;

use http::StatusCode;

use super::{
    challenge::challenges,
    control::{Finding, Habits, Knowledge, Turn, nobody},
    grant::TokenScope,
    judge::{Place, Rung, Said, Server, is_page, of_login, problem, unclear},
    known::known,
    ladder::{Asked, Ladder, TokenServer},
    probe::Login,
    trust::token_server,
};
use crate::{
    api::Reason,
    domain::{credential::Credential, token::Token},
    net::{Answer, Authorization},
    problem::Problem,
};

/// How long the answer to a login that cannot be right is waited for. Some servers keep those waiting who fail.
const CONTROL_LIMIT: Duration = Duration::from_secs(3);

/// How a registry wants to be asked.
pub(super) enum Way {
    /// It lets in who brings nothing.
    Open,
    /// With Basic authentication.
    Basic,
    /// With a token of this server.
    Token(TokenServer),
}

/// Finds out how the registry wants to be asked: `GET /v2/` without a login.
///
/// # Errors
/// The [`Problem`] that keeps it from being asked at all.
pub(super) async fn reach(ladder: &Ladder<'_>) -> Result<Way, Problem> {
    let place = ladder.registry(Rung::Reach);
    let answer = ladder.ask_api(&place, Authorization::None).await?;
    match answer.status {
        StatusCode::OK if !is_page(&answer.headers) => Ok(Way::Open),
        StatusCode::UNAUTHORIZED => way(ladder, &answer),
        _ => Err(unclear(&place, &answer, ladder.now)),
    }
}

/// The way that a 401 asks for: the first token server that may have the login, else Basic authentication.
///
/// # Errors
/// The [`Problem`] of a challenge that cannot be met.
pub(super) fn way(ladder: &Ladder<'_>, refusal: &Answer) -> Result<Way, Problem> {
    let offered = challenges(&refusal.headers);
    let mut unusable = None;
    for bearer in offered.bearer {
        match token_server(bearer.realm.as_deref(), ladder.question.registry, &ladder.trusted) {
            Ok(realm) => return Ok(Way::Token(TokenServer { realm, bearer })),
            Err(problem) => {
                unusable.get_or_insert(problem);
            }
        }
    }
    match unusable {
        // The registry itself may have its own login.
        _ if offered.basic => Ok(Way::Basic),
        Some(problem) => Err(problem),
        None => Err(problem(
            Reason::ProtocolError,
            "challenge: the registry answered 401 without a WWW-Authenticate header that names Basic or Bearer \
             authentication"
                .to_owned(),
        )),
    }
}

/// Tests the login. The second is what the verdict rests on, if it rests on a control.
pub(super) async fn login(ladder: &Ladder<'_>, way: &Way, habits: &Habits) -> (Login, Option<Finding>) {
    let result = match way {
        Way::Open => open(ladder, habits).await,
        Way::Basic => basic(ladder).await.map(|login| (login, None)),
        Way::Token(server) => with_token(ladder, server, habits).await,
    };
    result.unwrap_or_else(|problem| (Login::Inconclusive(problem), None))
}

/// A registry that refused the request without a login and accepts it with one has checked it.
async fn basic(ladder: &Ladder<'_>) -> Result<Login, Problem> {
    let place = ladder.registry(Rung::Login);
    let answer = ladder.ask_api(&place, Authorization::Basic(ladder.question.credential)).await?;
    Ok(if is_in(&answer) { Login::Proven } else { refused_or_unclear(ladder, Server::Registry, &place, &answer) })
}

/// One that lets in everybody may still refuse a wrong login.
async fn open(ladder: &Ladder<'_>, habits: &Habits) -> Result<(Login, Option<Finding>), Problem> {
    let place = ladder.registry(Rung::Login);
    let answer = ladder.ask_api(&place, Authorization::Basic(ladder.question.credential)).await?;
    if !is_in(&answer) {
        return Ok((refused_or_unclear(ladder, Server::Registry, &place, &answer), None));
    }
    if known(ladder.question.registry.host()).checks_logins {
        // It does not answer as it is known to; whoever does instead gets no login that cannot be right.
        return Ok((Login::Unverified, None));
    }
    let mut turn = match habits.of(&door(ladder, None), ladder.question.control.as_ref(), ladder.now).await {
        Knowledge::Known(finding) => return Ok(accepted(finding)),
        Knowledge::Unknown(turn) => turn,
    };
    let refuses = async |stranger: &Credential| {
        let answer = ladder.ask_api(&place, Authorization::Basic(stranger)).await.ok()?;
        let refuses = !is_in(&answer) && of_login(Server::Registry, &place, &answer, ladder.now) == Said::No;
        Some(refuses)
    };
    Ok(accepted(control(&mut turn, refuses).await?))
}

/// Sends a login that cannot be right, once. It is remembered before it is sent: however it is answered, and if it is not,
/// it is not sent again today, and a door that gave no clear answer counts as one that does not check.
async fn control(turn: &mut Turn, refuses: impl AsyncFnOnce(&Credential) -> Option<bool>) -> Result<Finding, Problem> {
    let stranger =
        nobody().map_err(|error| problem(Reason::ProtocolError, format!("login: no login for a control: {error}")))?;
    let unclear = turn.found(false);
    match tokio::time::timeout(CONTROL_LIMIT, refuses(&stranger)).await {
        Ok(Some(refuses)) => Ok(turn.found(refuses)),
        Ok(None) | Err(_) => Ok(unclear),
    }
}

async fn with_token(
    ladder: &Ladder<'_>,
    server: &TokenServer,
    habits: &Habits,
) -> Result<(Login, Option<Finding>), Problem> {
    let place = ladder.token_server(Rung::Login, server);
    let credential = ladder.question.credential;
    let mut scope = TokenScope::Login;
    let mut asked = ladder.ask_token(&place, server, &scope, Some(credential)).await?;
    if let Asked::Other(answer) = &asked
        && let Said::WhatFor(_) = of_login(server.kind(), &place, answer, ladder.now)
        && let Some(named) = named_scope(ladder, server)
    {
        scope = named;
        asked = ladder.ask_token(&place, server, &scope, Some(credential)).await?;
    }
    let token = match asked {
        Asked::Token(token) => token,
        Asked::Other(answer) => {
            let login = match refused_or_unclear(ladder, server.kind(), &place, &answer) {
                Login::Refused { who, status, for_repository: _ } => {
                    Login::Refused { who, status, for_repository: scope != TokenScope::Login }
                }
                other => other,
            };
            return Ok((login, None));
        }
    };
    use_token(ladder, server, &scope, token).await?;
    is_checked(ladder, server, &scope, habits).await
}

/// What to ask a token for from a server that gives none for nothing.
fn named_scope(ladder: &Ladder<'_>, server: &TokenServer) -> Option<TokenScope> {
    let listed = ladder.question.repositories.first().map(|repository| TokenScope::Pull(repository.name.clone()));
    listed.or_else(|| TokenScope::offered(server.bearer.scope.as_deref()?))
}

/// The token must open the registry: one that does not may have been issued to anybody. A fresh one is tried once, because
/// a registry may not yet know a token's time to have begun.
async fn use_token(ladder: &Ladder<'_>, server: &TokenServer, scope: &TokenScope, token: Token) -> Result<(), Problem> {
    let place = ladder.registry(Rung::Token);
    let answer = ladder.ask_api(&place, Authorization::Bearer(&token)).await?;
    if is_in(&answer) {
        return Ok(());
    }
    if answer.status != StatusCode::UNAUTHORIZED {
        return Err(unclear(&place, &answer, ladder.now));
    }
    let at_server = ladder.token_server(Rung::Token, server);
    let fresh = match ladder.ask_token(&at_server, server, scope, Some(ladder.question.credential)).await? {
        Asked::Token(token) => token,
        Asked::Other(answer) => return Err(unclear(&at_server, &answer, ladder.now)),
    };
    let answer = ladder.ask_api(&place, Authorization::Bearer(&fresh)).await?;
    if is_in(&answer) {
        return Ok(());
    }
    if answer.status != StatusCode::UNAUTHORIZED {
        return Err(unclear(&place, &answer, ladder.now));
    }
    let message = format!(
        "token: {} accepted the login, but {} does not accept the token it issued (401)",
        at_server.who, place.who
    );
    Err(Problem::new(Reason::ProtocolError, message).hint(
        "check that the clocks of registry and token server agree, and that the registry trusts this token server",
    ))
}

/// Whether the token server checks logins, or would have given the token to anybody.
async fn is_checked(
    ladder: &Ladder<'_>,
    server: &TokenServer,
    scope: &TokenScope,
    habits: &Habits,
) -> Result<(Login, Option<Finding>), Problem> {
    if known(ladder.question.registry.host()).checks_logins {
        return Ok((Login::Proven, None));
    }
    if *scope != TokenScope::Login {
        // Servers that are asked for a scope take a wrong login for none, so only a refusal of nobody proves anything; and
        // what is true of this scope need not be true of another.
        let anybody = gets_token(ladder, server, scope, None).await?;
        return Ok((if anybody == Some(false) { Login::Proven } else { Login::Unverified }, None));
    }
    let mut turn = match habits.of(&door(ladder, Some(server)), ladder.question.control.as_ref(), ladder.now).await {
        Knowledge::Known(finding) => return Ok(accepted(finding)),
        Knowledge::Unknown(turn) => turn,
    };
    match gets_token(ladder, server, scope, None).await? {
        Some(false) => return Ok(accepted(turn.found(true))),
        // GitLab bans addresses for failed logins, and refuses every wrong one.
        Some(true) if server.kind() == Server::GitLab => return Ok(accepted(turn.found(true))),
        Some(true) => {}
        None => return Ok((Login::Unverified, None)),
    }
    let refuses = async |stranger: &Credential| {
        gets_token(ladder, server, scope, Some(stranger)).await.ok().flatten().map(|gets| !gets)
    };
    Ok(accepted(control(&mut turn, refuses).await?))
}

/// Whether somebody gets a token; none if the answer does not say.
///
/// # Errors
/// The [`Problem`] of a request without an answer, or of a server that asks to be called less often.
async fn gets_token(
    ladder: &Ladder<'_>,
    server: &TokenServer,
    scope: &TokenScope,
    login: Option<&Credential>,
) -> Result<Option<bool>, Problem> {
    let place = ladder.token_server(Rung::Login, server);
    match ladder.ask_token(&place, server, scope, login).await {
        Ok(Asked::Token(_)) => Ok(Some(true)),
        Ok(Asked::Other(answer)) if answer.status.is_client_error() => {
            let problem = unclear(&place, &answer, ladder.now);
            // Whatever the words are: who brought no right login was turned away.
            if problem.reason == Reason::RateLimited { Err(problem) } else { Ok(Some(false)) }
        }
        Ok(Asked::Other(_)) => Ok(None),
        Err(problem) if problem.reason == Reason::ProtocolError => Ok(None),
        Err(problem) => Err(problem),
    }
}

fn accepted(finding: Finding) -> (Login, Option<Finding>) {
    (if finding.checks_logins { Login::Proven } else { Login::Unverified }, Some(finding))
}

fn is_in(answer: &Answer) -> bool {
    answer.status == StatusCode::OK && !is_page(&answer.headers)
}

fn refused_or_unclear(ladder: &Ladder<'_>, server: Server, place: &Place, answer: &Answer) -> Login {
    match of_login(server, place, answer, ladder.now) {
        Said::No => Login::Refused { who: place.who.clone(), status: answer.status.as_u16(), for_repository: false },
        Said::WhatFor(problem) | Said::Nothing(problem) => Login::Inconclusive(problem),
    }
}

/// What tells this door from others.
fn door(ladder: &Ladder<'_>, server: Option<&TokenServer>) -> String {
    let registry = ladder.question.registry.origin().ascii_serialization();
    match server {
        None => format!("{registry} open"),
        Some(server) => format!("{registry} by {}", server.realm.origin().ascii_serialization()),
    }
}
