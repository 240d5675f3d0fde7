//! Amazon's public registry: everybody may pull, and a wrong login is 400.
//!
//! The quirk (reference, 2.2 and 5): Basic authentication works at the token endpoint only. A wrong or expired login there, a
//! token it did not issue, and any Basic login on `/v2/` are 400 `DENIED`, "Your Authorization Token is invalid.", without a
//! challenge. The challenge at `/v2/` names the scope `aws`. There is no private repository.

use anyhow::Result;
use regcred::api::status::RepositoryVerdict::{PubliclyReadable, RepositoryNotFound};
use testenv::{Reply, Seen};

use super::{
    door::Door,
    fake::{Fake, Login, bare, error, granted},
    layout::{Layout, case},
};
use crate::scenario::WRONG;

const HOST: &str = "public.ecr.aws";
const USER: &str = "AWS";

fn invalid() -> Reply {
    error(400, "DENIED", "Your Authorization Token is invalid.")
}

fn ecr_public(fake: &Fake, seen: &Seen) -> Reply {
    if seen.path() != "/token/" {
        let door = Door::new("https://public.ecr.aws/token/", HOST).placeholder("aws").invalid(|_| invalid());
        return door.narrow(|_, _, _| error(404, "NAME_UNKNOWN", "repository not found")).answer(fake, seen);
    }
    if seen.method != "GET" || seen.query("service") != [HOST] {
        return bare(404);
    }
    match fake.login(seen) {
        Login::None => granted(&fake.issue(None, seen)),
        Login::Of(account) => granted(&fake.issue(Some(account), seen)),
        Login::Wrong | Login::Expired => invalid(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ecr_public_refuses_a_wrong_login_with_400_at_the_only_place_that_takes_one() -> Result<()> {
    let fake = Fake::new()
        .public("nginx/nginx")
        .account((USER, "token-of-one"), &[])
        .account((USER, "token-of-a-puller"), &[])
        .account((USER, "token-of-a-dreamer"), &[])
        .expired((USER, "token-of-yesterday"));
    let mut layout = Layout::prepare("ecr-public", fake, &["/token/"]).await?;
    layout.serve(HOST, ecr_public)?;
    layout.start().await?;
    let refused = ("False", "InvalidCredentials");
    let cases = [
        case("right", (USER, "token-of-one"), ("True", "LoginProven")),
        case("wrong", (USER, WRONG), refused).repositories(&["nginx/nginx:v1"], &[]),
        case("expired", (USER, "token-of-yesterday"), refused),
        case("public", (USER, "token-of-a-puller"), ("True", "LoginProven"))
            .repositories(&["nginx/nginx:v1"], &[PubliclyReadable]),
        case("missing", (USER, "token-of-a-dreamer"), ("False", "RepositoryNotFound"))
            .repositories(&["nginx/dream:v1"], &[RepositoryNotFound]),
    ];
    layout.judge(&layout.generic("https://public.ecr.aws", &[]), HOST, &cases).await?;
    assert_eq!(layout.strangers(), 0, "everybody gets a token, but it is known that logins are checked");
    layout.finish(&cases).await
}
