//! GitHub's registry: a wrong login is 403, and a right one may still be of no use.
//!
//! The quirk (reference, 2.1, 2.2 and 11): the token endpoint answers 403 `DENIED` to a wrong or expired login, even for what
//! is public. The challenge at `/v2/` names a scope that stands for nothing, so it must not be sent back. A token of a GitHub
//! App logs in, but is denied private packages by the registry.

use anyhow::Result;
use regcred::api::status::RepositoryVerdict::{InsufficientScope, PubliclyReadable, PullProven};
use testenv::{Reply, Seen};

use super::{
    door::Door,
    fake::{Fake, Login, bare, error, granted, scopes},
    layout::{Layout, case},
};
use crate::scenario::{PASSWORD, WRONG};

const HOST: &str = "ghcr.io";

/// By this name GitHub Apps log in.
const APP: &str = "x-access-token";

fn ghcr(fake: &Fake, seen: &Seen) -> Reply {
    if seen.path() != "/token" {
        let door = Door::new("https://ghcr.io/token", HOST).placeholder("repository:user/image:pull");
        let denied = |_: &Door, _: &Fake, _: &str| {
            error(403, "DENIED", "permission_denied: installation not allowed to Read organization package")
        };
        return door.narrow(denied).answer(fake, seen);
    }
    if seen.method != "GET" || seen.query("service") != [HOST] {
        return bare(404);
    }
    let asked = scopes(seen);
    let is_denied = |account| asked.iter().any(|name| !fake.may_pull(account, name));
    match fake.login(seen) {
        Login::Wrong | Login::Expired => error(403, "DENIED", "denied"),
        Login::None if is_denied(None) => error(403, "DENIED", "requested access to the resource is denied"),
        Login::None => granted(&fake.issue(None, seen)),
        // To an App the token endpoint says yes to every repository there is.
        Login::Of(at) if fake.user(at) == APP && asked.iter().all(|name| fake.exists(name)) => {
            granted(&fake.issue(Some(at), seen))
        }
        Login::Of(at) if is_denied(Some(at)) => error(403, "DENIED", "requested access to the resource is denied"),
        Login::Of(at) => granted(&fake.issue(Some(at), seen)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ghcr_refuses_a_wrong_login_with_403_and_its_placeholder_scope_is_not_asked_for() -> Result<()> {
    let fake = Fake::new()
        .public("shop/site")
        .private("shop/web")
        .account(("octocat", PASSWORD), &[])
        .expired(("octocat", "ghp-of-last-year"))
        .account(("reader", PASSWORD), &["shop/web"])
        .account(("stranger", PASSWORD), &[])
        .account((APP, PASSWORD), &[])
        .account((APP, "ghs-second"), &[]);
    let mut layout = Layout::prepare("ghcr", fake, &["/token"]).await?;
    layout.serve(HOST, ghcr)?;
    layout.start().await?;
    let refused = ("False", "InvalidCredentials");
    let cases = [
        case("right", ("octocat", PASSWORD), ("True", "LoginProven")),
        case("wrong", ("octocat", WRONG), refused).repositories(&["shop/site:v1"], &[]),
        case("expired", ("octocat", "ghp-of-last-year"), refused),
        case("private", ("reader", PASSWORD), ("True", "RepositoriesProven"))
            .repositories(&["shop/web:v1", "shop/site:v1"], &[PullProven, PubliclyReadable]),
        case("foreign", ("stranger", PASSWORD), ("False", "InsufficientScope"))
            .repositories(&["shop/web:v1"], &[InsufficientScope]),
        case("app", (APP, PASSWORD), ("False", "InsufficientScope"))
            .repositories(&["shop/web:v1", "shop/site:v1"], &[InsufficientScope, PubliclyReadable]),
        case("app-unlisted", (APP, "ghs-second"), ("True", "LoginProven")),
    ];
    layout.judge(&layout.generic("https://ghcr.io", &[]), HOST, &cases).await?;
    assert_eq!(layout.strangers(), 0);
    for name in ["wrong", "expired"] {
        let error = layout.scenario.connections().get(name).await?.status.and_then(|status| status.last_error);
        assert!(
            error.is_some_and(|error| error.message.contains("refused the login") && error.message.contains("(403)")),
            "{name}"
        );
    }
    layout.finish(&cases).await
}
