//! Google's registry: the token server itself says what is not allowed, and to whom.
//!
//! The quirk (reference, 2.1 and 8, "GAR probe"): everything it does not like is 403 `DENIED` at the token endpoint. "Unauthenticated
//! request" to somebody who sent a login means that it is no identity; "Permission '...' denied on resource" means that it is
//! one without that right.

use anyhow::Result;
use regcred::api::status::RepositoryVerdict::{InsufficientScope, PubliclyReadable, PullProven};
use testenv::{Reply, Seen};

use super::{
    door::Door,
    fake::{Fake, Login, bare, error, granted, scopes},
    layout::{Layout, case},
};
use crate::scenario::WRONG;

const HOST: &str = "europe-docker.pkg.dev";
const USER: &str = "oauth2accesstoken";

fn artifact_registry(fake: &Fake, seen: &Seen) -> Reply {
    if seen.path() != "/v2/token" {
        return Door::new("https://europe-docker.pkg.dev/v2/token", HOST).answer(fake, seen);
    }
    if seen.method != "GET" || seen.query("service") != [HOST] {
        return bare(404);
    }
    let asked = scopes(seen);
    let is_denied = |account| asked.iter().any(|name| !fake.may_pull(account, name));
    let unauthenticated = "Unauthenticated request. Unauthenticated requests do not have permission \
                           \"artifactregistry.repositories.downloadArtifacts\" on resource (or it may not exist)";
    match fake.login(seen) {
        Login::None if asked.is_empty() || is_denied(None) => error(403, "DENIED", unauthenticated),
        Login::Wrong | Login::Expired => error(403, "DENIED", unauthenticated),
        Login::None => granted(&fake.issue(None, seen)),
        Login::Of(account) if is_denied(Some(account)) => error(
            403,
            "DENIED",
            "Permission 'artifactregistry.repositories.downloadArtifacts' denied on resource (or it may not exist).",
        ),
        Login::Of(account) => granted(&fake.issue(Some(account), seen)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn artifact_registry_says_403_to_no_identity_and_to_one_without_the_right_and_both_are_understood() -> Result<()>
{
    let fake = Fake::new()
        .public("shop/images/site")
        .private("shop/images/web")
        .account((USER, "ya29.one"), &[])
        .account((USER, "ya29.reader"), &["shop/images/web"])
        .account((USER, "ya29.stranger"), &[])
        .account(("_json_key", "{\"type\": \"service_account\"}"), &["shop/images/web"])
        .expired((USER, "ya29.an-hour-ago"));
    let mut layout = Layout::prepare("gar", fake, &["/v2/token"]).await?;
    layout.serve(HOST, artifact_registry)?;
    layout.start().await?;
    let refused = ("False", "InvalidCredentials");
    let cases = [
        case("right", (USER, "ya29.one"), ("True", "LoginProven")),
        case("wrong", (USER, WRONG), refused).repositories(&["shop/images/site:v1"], &[]),
        case("expired", (USER, "ya29.an-hour-ago"), refused),
        case("private", (USER, "ya29.reader"), ("True", "RepositoriesProven"))
            .repositories(&["shop/images/web:v1", "shop/images/site:v1"], &[PullProven, PubliclyReadable]),
        case("key", ("_json_key", "{\"type\": \"service_account\"}"), ("True", "RepositoriesProven"))
            .repositories(&["shop/images/web:v1"], &[PullProven]),
        case("foreign", (USER, "ya29.stranger"), ("False", "InsufficientScope"))
            .repositories(&["shop/images/web:v1", "shop/images/site:v1"], &[InsufficientScope, PubliclyReadable]),
    ];
    layout.judge(&layout.generic("https://europe-docker.pkg.dev", &[]), HOST, &cases).await?;
    assert_eq!(layout.strangers(), 0);
    layout.finish(&cases).await
}
