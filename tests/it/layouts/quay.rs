//! Quay: strict about logins and scopes, generous with narrow tokens, and 405 for whoever was disabled.
//!
//! The quirk (reference, 2.5 and 13): a wrong login is 401 even for what is public, and so is a request with neither a login
//! nor a scope; a scope it cannot parse is 400; a missing right only makes the token narrower; a disabled namespace is 405
//! `DENIED`, which is no method problem and no refusal.

use anyhow::Result;
use regcred::api::status::RepositoryVerdict::{InsufficientScope, PubliclyReadable, PullProven};
use testenv::{Reply, Seen};

use super::{
    door::Door,
    fake::{Fake, Login, bare, error, granted, scopes},
    layout::{Layout, case},
};
use crate::scenario::{PASSWORD, WRONG};

const HOST: &str = "quay.io";

/// A robot of a namespace that was disabled.
const DISABLED: &str = "closed+ci";

fn disabled() -> Reply {
    error(405, "DENIED", "Namespace closed has been disabled. Please contact a system administrator.")
}

fn quay(fake: &Fake, seen: &Seen) -> Reply {
    if seen.path() != "/v2/auth" {
        return Door::new("https://quay.io/v2/auth", HOST).answer(fake, seen);
    }
    let sent: Vec<String> = seen.query("scope").into_iter().filter(|scope| !scope.is_empty()).collect();
    let asked = scopes(seen);
    match fake.login(seen) {
        _ if seen.method != "GET" => bare(405),
        Login::Wrong | Login::Expired => error(401, "UNAUTHORIZED", "Specified credentials are invalid"),
        Login::None if sent.is_empty() => {
            error(401, "UNAUTHORIZED", "access to the requested resource is not authorized")
        }
        Login::Of(account) if fake.user(account) == DISABLED => disabled(),
        _ if asked.len() < sent.len() => error(400, "INVALID_REQUEST", "Unable to decode repository and actions"),
        _ if asked.iter().any(|name| name.starts_with("closed/")) => disabled(),
        Login::None => granted(&fake.issue(None, seen)),
        Login::Of(account) => granted(&fake.issue(Some(account), seen)),
    }
}

fn fake() -> Fake {
    Fake::new()
        .public("shop/site")
        .private("shop/web")
        .private("closed/web")
        .account(("shop+ci", PASSWORD), &[])
        .account(("shop+reader", PASSWORD), &["shop/web"])
        .account(("shop+stranger", PASSWORD), &[])
        .account(("shop+late", PASSWORD), &["closed/web"])
        .account((DISABLED, PASSWORD), &["closed/web"])
}

#[tokio::test(flavor = "multi_thread")]
async fn quay_refuses_a_wrong_login_even_for_what_is_public_and_narrows_the_token_of_a_right_one() -> Result<()> {
    let mut layout = Layout::prepare("quay", fake(), &["/v2/auth"]).await?;
    layout.serve(HOST, quay)?;
    layout.start().await?;
    let cases = [
        case("right", ("shop+ci", PASSWORD), ("True", "LoginProven")),
        case("wrong", ("shop+ci", WRONG), ("False", "InvalidCredentials")).repositories(&["shop/site:v1"], &[]),
        case("private", ("shop+reader", PASSWORD), ("True", "RepositoriesProven"))
            .repositories(&["shop/web:v1", "shop/site:v1"], &[PullProven, PubliclyReadable]),
        case("foreign", ("shop+stranger", PASSWORD), ("False", "InsufficientScope"))
            .repositories(&["shop/web:v1"], &[InsufficientScope]),
    ];
    layout.judge(&layout.generic("https://quay.io", &[]), HOST, &cases).await?;
    assert_eq!(layout.strangers(), 0);
    layout.finish(&cases).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_quay_has_disabled_is_no_refusal_of_the_login() -> Result<()> {
    let mut layout = Layout::prepare("quay-disabled", fake(), &["/v2/auth"]).await?;
    layout.serve(HOST, quay)?;
    layout.start().await?;
    let blocked = ("False", "AccessBlocked");
    let cases = [
        case("robot", (DISABLED, PASSWORD), blocked),
        case("repository", ("shop+late", PASSWORD), blocked).repositories(&["closed/web:v1"], &[]),
    ];
    layout.judge(&layout.generic("https://quay.io", &[]), HOST, &cases).await
}
