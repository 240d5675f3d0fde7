//! Harbor: its token service takes a wrong login for none.
//!
//! The quirk (reference, 2.2 and 14): asked for a scope, `/service/token` answers 200 to anybody, with a token for what is
//! public; only without a scope is a wrong login 401. The token of a wrong login even opens `/v2/`. The registry itself takes
//! Basic authentication too, and refuses it with a Basic challenge.

use anyhow::Result;
use regcred::api::status::RepositoryVerdict::{InsufficientScope, PubliclyReadable, PullProven};
use serde_json::json;
use testenv::{Reply, Seen};

use super::{
    door::Door,
    fake::{Fake, Login, bare, error, granted},
    layout::{Layout, case},
};
use crate::scenario::{PASSWORD, WRONG};

const HOST: &str = "harbor.example.com";

fn harbor(fake: &Fake, seen: &Seen) -> Reply {
    let account = match fake.login(seen) {
        Login::Of(account) => Some(account),
        Login::None | Login::Wrong | Login::Expired => None,
    };
    match seen.path() {
        "/service/token" if seen.method != "GET" => bare(405),
        "/service/token" if seen.query("service") != ["harbor-registry"] => {
            error(400, "BAD_REQUEST", "unknown service")
        }
        "/service/token" if account.is_none() && seen.query("scope").iter().all(String::is_empty) => {
            error(401, "UNAUTHORIZED", "unauthorized")
        }
        "/service/token" => granted(&fake.issue(account, seen)),
        "/v2/" if seen.basic().is_some() => match account {
            Some(account) => {
                fake.opened(Some(account));
                Reply::status(200).json(&json!({}))
            }
            None => error(401, "UNAUTHORIZED", "unauthorized").header("WWW-Authenticate", "Basic realm=\"harbor\""),
        },
        _ => Door::new(&format!("https://{HOST}/service/token"), "harbor-registry").answer(fake, seen),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn harbor_gives_everybody_a_scoped_token_so_only_the_one_without_a_scope_proves_a_login() -> Result<()> {
    let fake = Fake::new()
        .public("library/nginx")
        .private("shop/web")
        .account(("robot$shop+ci", PASSWORD), &[])
        .account(("robot$reader", PASSWORD), &["shop/web"])
        .account(("robot$stranger", PASSWORD), &[]);
    let mut layout = Layout::prepare("harbor", fake, &["/service/token"]).await?;
    layout.serve(HOST, harbor)?;
    layout.start().await?;
    let cases = [
        case("right", ("robot$shop+ci", PASSWORD), ("True", "LoginProven")),
        case("wrong", ("robot$shop+ci", WRONG), ("False", "InvalidCredentials")),
        case("wrong-public", ("robot$reader", WRONG), ("False", "InvalidCredentials"))
            .repositories(&["library/nginx:v1"], &[]),
        case("wrong-private", ("robot$stranger", WRONG), ("False", "InvalidCredentials"))
            .repositories(&["shop/web:v1"], &[]),
        case("private", ("robot$reader", PASSWORD), ("True", "RepositoriesProven"))
            .repositories(&["shop/web:v1", "library/nginx"], &[PullProven, PubliclyReadable]),
        case("foreign", ("robot$stranger", PASSWORD), ("False", "InsufficientScope"))
            .repositories(&["shop/web"], &[InsufficientScope]),
    ];
    layout.judge(&layout.generic("https://harbor.example.com", &[]), HOST, &cases).await?;
    assert_eq!(layout.strangers(), 0, "who gets no token without a login shows that logins are checked");
    layout.finish(&cases).await
}
