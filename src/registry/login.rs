//! The first rungs: reach, challenge, login, and the token used.

use http::StatusCode;

use super::{
    challenge::challenges,
    control::{Habits, Knowledge, nobody},
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

/// Tests the login.
pub(super) async fn login(ladder: &Ladder<'_>, way: &Way, habits: &Habits) -> Login {
    let result = match way {
        Way::Open => open(ladder, habits).await,
        Way::Basic => basic(ladder).await,
        Way::Token(server) => with_token(ladder, server, habits).await,
    };
    result.unwrap_or_else(Login::Inconclusive)
}

/// A registry that refused the request without a login and accepts it with one has checked it.
async fn basic(ladder: &Ladder<'_>) -> Result<Login, Problem> {
    let place = ladder.registry(Rung::Login);
    let answer = ladder.ask_api(&place, Authorization::Basic(ladder.question.credential)).await?;
    Ok(if is_in(&answer) { Login::Proven } else { refused_or_unclear(ladder, Server::Registry, &place, &answer) })
}

/// One that lets in everybody may still refuse a wrong login.
async fn open(ladder: &Ladder<'_>, habits: &Habits) -> Result<Login, Problem> {
    let place = ladder.registry(Rung::Login);
    let answer = ladder.ask_api(&place, Authorization::Basic(ladder.question.credential)).await?;
    if !is_in(&answer) {
        return Ok(refused_or_unclear(ladder, Server::Registry, &place, &answer));
    }
    let turn = match habits.of(&key(ladder, None), ladder.question.checks_logins, ladder.now).await {
        Knowledge::Known(checks_logins) => return Ok(accepted(checks_logins)),
        Knowledge::Unknown(turn) => turn,
    };
    let answer = ladder.ask_api(&place, Authorization::Basic(&stranger()?)).await?;
    let checks_logins = if is_in(&answer) {
        false
    } else {
        match of_login(Server::Registry, &place, &answer, ladder.now) {
            Said::No => true,
            Said::WhatFor(problem) | Said::Nothing(problem) => return Err(problem),
        }
    };
    turn.found(checks_logins);
    Ok(accepted(checks_logins))
}

async fn with_token(ladder: &Ladder<'_>, server: &TokenServer, habits: &Habits) -> Result<Login, Problem> {
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
        Asked::Other(answer) => return Ok(refused_or_unclear(ladder, server.kind(), &place, &answer)),
    };
    use_token(ladder, server, &scope, token).await?;
    is_checked(ladder, server, &scope, habits).await.map(accepted)
}

/// What to ask a token for from a server that gives none for nothing.
fn named_scope(ladder: &Ladder<'_>, server: &TokenServer) -> Option<TokenScope> {
    let listed = ladder.question.repositories.first().map(|repository| TokenScope::Pull(repository.name.clone()));
    listed.or_else(|| server.bearer.scope.clone().filter(|scope| !scope.is_empty()).map(TokenScope::Offered))
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
) -> Result<bool, Problem> {
    if known(ladder.question.registry.host()).checks_logins {
        return Ok(true);
    }
    let turn = match habits.of(&key(ladder, Some(server)), ladder.question.checks_logins, ladder.now).await {
        Knowledge::Known(checks_logins) => return Ok(checks_logins),
        Knowledge::Unknown(turn) => turn,
    };
    let place = ladder.token_server(Rung::Login, server);
    let gets_token = async |login: Option<&Credential>| match ladder.ask_token(&place, server, scope, login).await? {
        Asked::Token(_) => Ok(true),
        Asked::Other(answer) if answer.status.is_client_error() => {
            match of_login(server.kind(), &place, &answer, ladder.now) {
                Said::Nothing(problem) if problem.reason == Reason::RateLimited => Err(problem),
                // Whatever the words are: who brought no right login was turned away.
                Said::No | Said::WhatFor(_) | Said::Nothing(_) => Ok(false),
            }
        }
        Asked::Other(answer) => Err(unclear(&place, &answer, ladder.now)),
    };
    let lets_in_anybody = if !gets_token(None).await? {
        false
    } else if server.kind() == Server::GitLab {
        // GitLab bans addresses for failed logins, and refuses every wrong one.
        false
    } else if *scope == TokenScope::Login {
        gets_token(Some(&stranger()?)).await?
    } else {
        // Servers that are asked for a scope take a wrong login for none, so nothing can be found out.
        true
    };
    turn.found(!lets_in_anybody);
    Ok(!lets_in_anybody)
}

fn accepted(checks_logins: bool) -> Login {
    if checks_logins { Login::Proven } else { Login::Unverified }
}

fn is_in(answer: &Answer) -> bool {
    answer.status == StatusCode::OK && !is_page(&answer.headers)
}

fn refused_or_unclear(ladder: &Ladder<'_>, server: Server, place: &Place, answer: &Answer) -> Login {
    match of_login(server, place, answer, ladder.now) {
        Said::No => Login::Refused { who: place.who.clone(), status: answer.status.as_u16() },
        Said::WhatFor(problem) | Said::Nothing(problem) => Login::Inconclusive(problem),
    }
}

fn stranger() -> Result<Credential, Problem> {
    nobody().map_err(|error| problem(Reason::ProtocolError, format!("login: no login for a control: {error}")))
}

/// What tells this place from others.
fn key(ladder: &Ladder<'_>, server: Option<&TokenServer>) -> String {
    let realm = server.map(|server| server.realm.origin().ascii_serialization());
    format!("{} {}", ladder.question.registry.origin().ascii_serialization(), realm.unwrap_or_default())
}
