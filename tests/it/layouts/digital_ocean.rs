//! DigitalOcean's registry: the login is one token, twice, and goes to the host of the API.
//!
//! The quirk (reference, 16): the token server is `api.digitalocean.com`, which is known to belong to the registry. User name
//! and password of its docker credentials may be the same text.

use anyhow::Result;
use regcred::api::status::RepositoryVerdict::{InsufficientScope, PullProven};
use testenv::{Reply, Seen};

use super::{
    door::Door,
    fake::{Fake, Login, bare, error, granted},
    layout::{Layout, case},
};
use crate::scenario::WRONG;

const REGISTRY: &str = "registry.digitalocean.com";
const API: &str = "api.digitalocean.com";
const TOKENS: &str = "/v2/registry/auth";

fn token_server(fake: &Fake, seen: &Seen) -> Reply {
    if (seen.method.as_str(), seen.path()) != ("GET", TOKENS) || seen.query("service") != [REGISTRY] {
        return bare(404);
    }
    match fake.login(seen) {
        Login::None | Login::Wrong | Login::Expired => error(401, "UNAUTHORIZED", "authentication required"),
        Login::Of(account) => granted(&fake.issue(Some(account), seen)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn digitalocean_gets_its_login_at_the_host_of_its_api() -> Result<()> {
    let fake = Fake::new()
        .private("shop/web")
        .account(("dop-one", "dop-one"), &[])
        .account(("dop-reader", "dop-reader"), &["shop/web"])
        .account(("dop-stranger", "dop-stranger"), &[]);
    let mut layout = Layout::prepare("docr", fake, &[TOKENS]).await?;
    let door = Door::new(&format!("https://{API}{TOKENS}"), REGISTRY);
    layout.serve(REGISTRY, move |fake, seen| door.answer(fake, seen))?;
    layout.serve(API, token_server)?;
    layout.start().await?;
    let cases = [
        case("right", ("dop-one", "dop-one"), ("True", "LoginProven")),
        case("wrong", ("dop-one", WRONG), ("False", "InvalidCredentials")),
        case("private", ("dop-reader", "dop-reader"), ("True", "RepositoriesProven"))
            .repositories(&["shop/web:v1"], &[PullProven]),
        case("foreign", ("dop-stranger", "dop-stranger"), ("False", "InsufficientScope"))
            .repositories(&["shop/web:v1"], &[InsufficientScope]),
    ];
    // No host is named as trusted: the pair is known.
    layout.judge(&layout.generic("https://registry.digitalocean.com", &[]), REGISTRY, &cases).await?;
    assert_eq!(layout.strangers(), 0);
    assert!(!layout.listener(REGISTRY).was_told("dop-one"));
    layout.finish(&cases).await
}
