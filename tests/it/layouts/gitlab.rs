//! GitLab: the token server is GitLab itself, on another host, and its 403 has many meanings.
//!
//! The quirk (reference, 2.2 and 12): a wrong login is 401; a login without the right to registries, a request for a
//! repository it may not read, and one without a login are all 403 `DENIED`, "access forbidden", at the token server; and who
//! failed too often gets a bare 403 everywhere. So a 403 is no verdict on a login, and no wrong login is ever sent on purpose.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::Result;
use regcred::api::status::RepositoryVerdict::{InsufficientScope, PubliclyReadable, PullProven};
use testenv::{Reply, Seen};

use super::{
    door::Door,
    fake::{Fake, Login, bare, error, granted, scopes},
    layout::{Layout, case},
};
use crate::scenario::{PASSWORD, WRONG};

/// The user of a token that may do much, but not with registries.
const WITHOUT_REGISTRY: &str = "issues-bot";

/// A user to whom GitLab gives a token that is good for nothing, as some of its versions do, instead of a 403.
const GUEST: &str = "guest";

fn token_server(path: &str, fake: &Fake, seen: &Seen) -> Reply {
    if (seen.method.as_str(), seen.path()) != ("GET", path) || seen.query("service") != ["container_registry"] {
        return bare(404);
    }
    let account = match fake.login(seen) {
        Login::None => None,
        Login::Wrong | Login::Expired => {
            return error(401, "UNAUTHORIZED", "HTTP Basic: Access denied.");
        }
        Login::Of(account) => Some(account),
    };
    let asked = scopes(seen);
    let is_known = account.is_some_and(|account| fake.user(account) != WITHOUT_REGISTRY);
    let is_guest = account.is_some_and(|account| fake.user(account) == GUEST);
    let is_allowed = asked.iter().any(|name| fake.may_pull(account, name));
    let is_served = is_allowed || is_guest || (is_known && asked.is_empty());
    if is_served { granted(&fake.issue(account, seen)) } else { error(403, "DENIED", "access forbidden") }
}

fn fake() -> Fake {
    Fake::new()
        .public("group/site")
        .private("group/web")
        .account(("gitlab+deploy-token-1", PASSWORD), &[])
        .account(("reader", PASSWORD), &["group/web"])
        .account(("stranger", PASSWORD), &[])
        .account((GUEST, PASSWORD), &[])
        .account((WITHOUT_REGISTRY, PASSWORD), &["group/web"])
}

/// A GitLab whose registry is at `registry`, and whose token server is at `gitlab` and `path`. Returns the switch of the ban.
fn serve(layout: &mut Layout, registry: &str, gitlab: &str, path: &'static str) -> Result<Arc<AtomicBool>> {
    let is_banned = Arc::<AtomicBool>::default();
    let (first, second) = (Arc::clone(&is_banned), Arc::clone(&is_banned));
    let door = Door::new(&format!("https://{gitlab}{path}"), "container_registry");
    layout.serve(
        registry,
        move |fake, seen| if first.load(Ordering::Relaxed) { bare(403) } else { door.answer(fake, seen) },
    )?;
    layout.serve(
        gitlab,
        move |fake, seen| {
            if second.load(Ordering::Relaxed) { bare(403) } else { token_server(path, fake, seen) }
        },
    )?;
    Ok(is_banned)
}

#[tokio::test(flavor = "multi_thread")]
async fn gitlab_com_accepts_a_right_login_at_its_other_host_and_a_403_for_a_repository_is_a_missing_right() -> Result<()>
{
    let mut layout = Layout::prepare("gitlab", fake(), &["/jwt/auth"]).await?;
    serve(&mut layout, "registry.gitlab.com", "gitlab.com", "/jwt/auth")?;
    layout.start().await?;
    let cases = [
        case("right", ("gitlab+deploy-token-1", PASSWORD), ("True", "LoginProven")),
        case("wrong", ("gitlab+deploy-token-1", WRONG), ("False", "InvalidCredentials"))
            .repositories(&["group/site:v1"], &[]),
        case("private", ("reader", PASSWORD), ("True", "RepositoriesProven"))
            .repositories(&["group/web:v1", "group/site"], &[PullProven, PubliclyReadable]),
        case("foreign", ("stranger", PASSWORD), ("False", "InsufficientScope"))
            .repositories(&["group/web:v1", "group/site:v1"], &[InsufficientScope, PubliclyReadable]),
        case("narrowed", (GUEST, PASSWORD), ("False", "InsufficientScope"))
            .repositories(&["group/web:v1"], &[InsufficientScope]),
    ];
    // No host is named as trusted: the pair is known.
    layout.judge(&layout.generic("https://registry.gitlab.com", &[]), "registry.gitlab.com", &cases).await?;
    assert_eq!(layout.strangers(), 0, "GitLab bans addresses for failed logins");
    assert!(!layout.listener("registry.gitlab.com").was_told(PASSWORD));
    layout.finish(&cases).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gitlab_of_ones_own_below_a_path_is_asked_without_a_control_login() -> Result<()> {
    let mut layout = Layout::prepare("gitlab-own", fake(), &["/gitlab/jwt/auth"]).await?;
    serve(&mut layout, "registry.example.com", "gitlab.example.com", "/gitlab/jwt/auth")?;
    layout.start().await?;
    let cases = [
        case("right", ("gitlab+deploy-token-1", PASSWORD), ("True", "LoginProven")),
        case("wrong", ("reader", WRONG), ("False", "InvalidCredentials")),
        case("private", ("reader", PASSWORD), ("True", "RepositoriesProven"))
            .repositories(&["group/web:v1"], &[PullProven]),
    ];
    let spec = layout.generic("https://registry.example.com", &["gitlab.example.com"]);
    layout.judge(&spec, "registry.example.com", &cases).await?;
    assert_eq!(layout.strangers(), 0);
    layout.finish(&cases).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gitlab_whose_registry_is_only_another_port_has_to_be_named_as_token_server() -> Result<()> {
    const HOST: &str = "gitlab.example.com";
    let mut layout = Layout::prepare("gitlab-port", fake(), &["/jwt/auth"]).await?;
    let door = Door::new(&format!("https://{HOST}/jwt/auth"), "container_registry");
    let registry = format!("{HOST}:{}", layout.serve(HOST, move |fake, seen| door.answer(fake, seen))?);
    // Served last, so that it is what the name without a port stands for.
    layout.serve(HOST, |fake, seen| token_server("/jwt/auth", fake, seen))?;
    layout.start().await?;
    let url = format!("https://{registry}");
    let unnamed = case("unnamed", ("stranger", PASSWORD), ("False", "TokenServerNotTrusted"));
    layout.connect(&layout.generic(&url, &[]), std::slice::from_ref(&unnamed)).await?;
    let cases = [
        case("right", ("gitlab+deploy-token-1", PASSWORD), ("True", "LoginProven")),
        case("wrong", ("reader", WRONG), ("False", "InvalidCredentials")),
        case("private", ("reader", PASSWORD), ("True", "RepositoriesProven"))
            .repositories(&["group/web:v1"], &[PullProven]),
    ];
    layout.judge(&layout.generic(&url, &[HOST]), &registry, &cases).await?;
    layout.scenario.ready("unnamed", "False", "TokenServerNotTrusted").await?;
    assert_eq!(layout.with(unnamed.login).len(), 0);
    assert_eq!(layout.strangers(), 0);
    layout.finish(&cases).await
}

#[tokio::test(flavor = "multi_thread")]
async fn gitlabs_403_to_a_login_is_no_refusal_because_it_may_be_a_ban() -> Result<()> {
    let mut layout = Layout::prepare("gitlab-403", fake(), &["/jwt/auth"]).await?;
    serve(&mut layout, "registry.gitlab.com", "gitlab.com", "/jwt/auth")?;
    layout.start().await?;
    let cases = [case("denied", (WITHOUT_REGISTRY, PASSWORD), ("False", "AccessBlocked"))];
    layout.judge(&layout.generic("https://registry.gitlab.com", &[]), "registry.gitlab.com", &cases).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_banned_operator_sends_gitlab_no_login_and_comes_back_when_the_ban_is_over() -> Result<()> {
    // Fifteen minutes pass in a second and a half.
    let mut layout = Layout::prepare("gitlab-ban", fake(), &["/jwt/auth"]).await?;
    let is_banned = serve(&mut layout, "registry.gitlab.com", "gitlab.com", "/jwt/auth")?;
    is_banned.store(true, Ordering::Relaxed);
    layout.scenario.set_speed(600);
    layout.start().await?;
    let banned = case("banned", ("reader", PASSWORD), ("False", "AccessBlocked"));
    let spec = layout.generic("https://registry.gitlab.com", &[]);
    layout.connect(&spec, std::slice::from_ref(&banned)).await?;
    let blocked = layout.scenario.ready("banned", "False", "AccessBlocked").await?;
    let error = blocked.status.and_then(|status| status.last_error).unwrap_or_else(|| panic!("no error"));
    assert!(error.message.starts_with("reach: the registry registry.gitlab.com"), "{}", error.message);
    assert_eq!(layout.with(banned.login).len(), 0, "nothing is sent that could make the ban longer");
    is_banned.store(false, Ordering::Relaxed);
    layout.scenario.ready("banned", "True", "LoginProven").await?;
    layout.judge_words().await
}
