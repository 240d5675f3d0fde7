//! Docker Hub's pull quota, read as Docker documents it: with a HEAD, which does not count as a pull.
//! <https://docs.docker.com/docker-hub/usage/pulls/>

use http::HeaderMap;

use super::{
    grant::TokenScope,
    judge::Rung,
    ladder::{Asked, Ladder},
    login::Way,
};
use crate::{domain::image::RepositoryName, net::Authorization};

/// The repository that exists to be asked for.
const REPOSITORY: &str = "ratelimitpreview/test";

/// How many pulls an account has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// In each window.
    pub limit: u32,
    /// Left in this one.
    pub remaining: u32,
}

/// Reads the quota of the login; none if the account has none, or if it cannot be read now, which is nobody's problem.
pub(super) async fn read(ladder: &Ladder<'_>, way: &Way) -> Option<Quota> {
    let Way::Token(server) = way else { return None };
    let place = ladder.token_server(Rung::Repository, server);
    let scope = TokenScope::Pull(RepositoryName::parse(REPOSITORY)?);
    let login = Some(ladder.question.credential);
    let Ok(Asked::Token(token)) = ladder.ask_token(&place, server, &scope, login).await else { return None };
    let path = format!("{REPOSITORY}/manifests/latest");
    let answer = ladder.head_manifest(&place, &path, Authorization::Bearer(&token)).await.ok()?;
    quota(&answer.headers)
}

fn quota(headers: &HeaderMap) -> Option<Quota> {
    // As in `100;w=21600`: the number, and the window in seconds.
    let number = |name: &str| headers.get(name)?.to_str().ok()?.split(';').next()?.trim().parse().ok();
    Some(Quota { limit: number("ratelimit-limit")?, remaining: number("ratelimit-remaining")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_quota_and_takes_its_absence_for_none() {
        for (limit, remaining, expected) in [
            (Some("100;w=21600"), Some("76;w=21600"), Some(Quota { limit: 100, remaining: 76 })),
            (Some("200"), Some("0"), Some(Quota { limit: 200, remaining: 0 })),
            (None, None, None),
            (Some("100"), None, None),
            (Some("many"), Some("-1"), None),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [("ratelimit-limit", limit), ("ratelimit-remaining", remaining)] {
                if let Some(value) = value {
                    headers.insert(name, value.parse().unwrap());
                }
            }
            assert_eq!(quota(&headers), expected, "{limit:?} {remaining:?}");
        }
    }
}
