//! Amazon's private registry: no token server, no strangers, and a login that ends after twelve hours.
//!
//! The quirk (reference, 4.2, end): Basic authentication on `/v2/` itself. A wrong password is 401 in plain text; one that was
//! right is 403 `DENIED`, "Your authorization token has expired"; a missing right is 403 `DENIED` too, but on a repository.

use anyhow::Result;
use regcred::api::status::RepositoryVerdict::{InsufficientScope, PullProven, RepositoryNotFound, TagMissing};
use serde_json::json;
use testenv::{Reply, Seen};

use super::{
    fake::{Fake, Login, bare, error, repository},
    layout::{Layout, case},
};
use crate::scenario::WRONG;

const HOST: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
const USER: &str = "AWS";

fn ecr(fake: &Fake, seen: &Seen) -> Reply {
    let found = repository(seen.path());
    if found.is_none() && seen.path() != "/v2/" {
        return bare(404);
    }
    let account = match fake.login(seen) {
        Login::None | Login::Wrong => {
            let challenge = format!("Basic realm=\"https://{HOST}/\",service=\"ecr.amazonaws.com\"");
            return bare(401).header("WWW-Authenticate", &challenge);
        }
        Login::Expired => {
            return error(403, "DENIED", "Your authorization token has expired. Reauthenticate and try again.");
        }
        Login::Of(account) => account,
    };
    match found {
        None => {
            fake.opened(Some(account));
            Reply::status(200).json(&json!({}))
        }
        Some((name, _)) if !fake.exists(name) => {
            error(404, "NAME_UNKNOWN", &format!("The repository with name '{name}' does not exist in the registry"))
        }
        Some((name, _)) if !fake.may_pull(Some(account), name) => {
            error(403, "DENIED", "User: arn:aws:sts::1:assumed-role/x is not authorized to perform: ecr:BatchGetImage")
        }
        Some((_, part)) => fake.content(seen, part),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ecr_takes_the_login_itself_and_an_expired_one_is_refused_with_403() -> Result<()> {
    let fake = Fake::new()
        .private("shop/web")
        .account((USER, "token-of-one"), &[])
        .account((USER, "token-of-a-reader"), &["shop/web"])
        .account((USER, "token-of-a-stranger"), &[])
        .account((USER, "token-of-a-dreamer"), &[])
        .expired((USER, "token-of-yesterday"));
    let mut layout = Layout::prepare("ecr", fake, &[]).await?;
    layout.serve(HOST, ecr)?;
    layout.start().await?;
    let refused = ("False", "InvalidCredentials");
    let cases = [
        case("right", (USER, "token-of-one"), ("True", "LoginProven")),
        case("wrong", (USER, WRONG), refused).repositories(&["shop/web:v1"], &[]),
        case("expired", (USER, "token-of-yesterday"), refused),
        case("private", (USER, "token-of-a-reader"), ("True", "RepositoriesProven"))
            .repositories(&["shop/web:v1", "shop/web", "shop/web:v9"], &[PullProven, PullProven, TagMissing]),
        case("foreign", (USER, "token-of-a-stranger"), ("False", "InsufficientScope"))
            .repositories(&["shop/web:v1"], &[InsufficientScope]),
        case("missing", (USER, "token-of-a-dreamer"), ("False", "RepositoryNotFound"))
            .repositories(&["shop/dream:v1"], &[RepositoryNotFound]),
    ];
    layout.judge(&layout.generic(&format!("https://{HOST}"), &[]), HOST, &cases).await?;
    assert_eq!(layout.strangers(), 0);
    for (name, status) in [("wrong", "(401)"), ("expired", "(403)")] {
        let error = layout.scenario.connections().get(name).await?.status.and_then(|status| status.last_error);
        assert!(error.is_some_and(|error| error.message.contains(status)), "{name}");
    }
    layout.finish(&cases).await
}
