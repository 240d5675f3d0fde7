//! Azure's registry: a token endpoint that takes GET with a login, and a firewall that speaks like a registry.
//!
//! The quirk (reference, 2.1, 2.5 and 7.2): the user name of a refresh token is a null GUID; the token is called
//! `access_token` only; a POST with a password is 400; and an address that the firewall does not let in gets 403 `DENIED` with
//! "client with IP ... is not allowed access", which is the code of a refusal and says nothing of the login.

use anyhow::Result;
use regcred::api::status::RepositoryVerdict::{InsufficientScope, PubliclyReadable, PullProven};
use serde_json::json;
use testenv::{Reply, Seen};

use super::{
    door::Door,
    fake::{Fake, Login, bare, error},
    layout::{Layout, case},
};
use crate::scenario::{PASSWORD, WRONG};

const NULL_GUID: &str = "00000000-0000-0000-0000-000000000000";

fn acr(host: &str, fake: &Fake, seen: &Seen) -> Reply {
    if seen.path() != "/oauth2/token" {
        return Door::new(&format!("https://{host}/oauth2/token"), host).answer(fake, seen);
    }
    if seen.method != "GET" {
        return error(400, "UNSUPPORTED", "unsupported grant type");
    }
    if seen.query("service") != [host] {
        return bare(404);
    }
    let account = match fake.login(seen) {
        Login::None if super::fake::scopes(seen).iter().any(|name| fake.may_pull(None, name)) => None,
        Login::None => return error(401, "UNAUTHORIZED", "authentication required"),
        Login::Wrong | Login::Expired => return error(401, "UNAUTHORIZED", "Invalid clientid or client secret."),
        Login::Of(account) => Some(account),
    };
    Reply::status(200).json(&json!({"access_token": fake.issue(account, seen)}))
}

fn firewall() -> Reply {
    let text = "client with IP '192.0.2.7' is not allowed access. Refer https://aka.ms/acr/firewall to grant access.";
    error(403, "DENIED", text)
}

#[tokio::test(flavor = "multi_thread")]
async fn acr_accepts_a_refresh_token_under_a_null_guid_and_calls_its_own_token_by_one_name_only() -> Result<()> {
    let fake = Fake::new()
        .public("site")
        .private("web")
        .account((NULL_GUID, PASSWORD), &[])
        .account(("reader", PASSWORD), &["web"])
        .account(("stranger", PASSWORD), &[]);
    let mut layout = Layout::prepare("acr", fake, &["/oauth2/token"]).await?;
    layout.serve("shop.azurecr.io", |fake, seen| acr("shop.azurecr.io", fake, seen))?;
    layout.start().await?;
    let cases = [
        case("right", (NULL_GUID, PASSWORD), ("True", "LoginProven")),
        case("wrong", (NULL_GUID, WRONG), ("False", "InvalidCredentials")).repositories(&["site:v1"], &[]),
        case("private", ("reader", PASSWORD), ("True", "RepositoriesProven"))
            .repositories(&["web:v1", "site"], &[PullProven, PubliclyReadable]),
        case("foreign", ("stranger", PASSWORD), ("False", "InsufficientScope"))
            .repositories(&["web:v1"], &[InsufficientScope]),
    ];
    layout.judge(&layout.generic("https://shop.azurecr.io", &[]), "shop.azurecr.io", &cases).await?;
    assert_eq!(layout.strangers(), 0);
    layout.finish(&cases).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_firewall_of_acr_is_told_apart_from_a_refusal_wherever_it_stands() -> Result<()> {
    let fake = Fake::new().account((NULL_GUID, PASSWORD), &[]).account(("second", PASSWORD), &[]);
    let mut layout = Layout::prepare("acr-firewall", fake, &["/oauth2/token"]).await?;
    layout.serve("shut.azurecr.io", |_, _| firewall())?;
    layout.serve("walled.azurecr.io", |fake, seen| match seen.path() {
        "/oauth2/token" => firewall(),
        _ => acr("walled.azurecr.io", fake, seen),
    })?;
    layout.start().await?;
    let walled = case("walled", (NULL_GUID, PASSWORD), ("False", "AccessBlocked"));
    layout.judge(&layout.generic("https://walled.azurecr.io", &[]), "walled.azurecr.io", &[walled]).await?;

    let shut = case("shut", ("second", PASSWORD), ("False", "AccessBlocked"));
    layout.connect(&layout.generic("https://shut.azurecr.io", &[]), std::slice::from_ref(&shut)).await?;
    layout.scenario.ready("shut", "False", "AccessBlocked").await?;
    assert_eq!(layout.with(shut.login).len(), 0, "who is turned away sends no login");
    layout.judge_words().await
}
