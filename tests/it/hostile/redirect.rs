//! Registries that send the client elsewhere, at every rung. Only what stays at the same place is followed.

use anyhow::Result;
use regcred::api::Reason::{self, LoginProven, NotARegistry, ProtocolError, RepositoriesProven};
use testenv::Seen;

use super::{
    MARKER,
    case::{Case, Class},
    court::Court,
    reply::{Me, is_first, is_for_token, is_stranger, remote},
};
use crate::scenario::Scenario;

/// Which request is sent elsewhere.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// The first one.
    Api,
    /// The registry asks for Basic authentication, and redirects who comes with it.
    BasicLogin,
    /// The login at the token server.
    Login,
    /// The token, at the registry.
    Token,
    /// The manifest, with a token for it.
    Manifest,
    /// The same with Basic authentication.
    BasicManifest,
}

impl At {
    fn is_it(self, seen: &Seen, me: &Me) -> bool {
        match self {
            Self::Api => is_first(seen),
            Self::BasicLogin => seen.path() == "/v2/" && me.knows(seen),
            Self::Login => is_for_token(seen) && seen.path().starts_with(&format!("/{MARKER}/")) && me.knows(seen),
            Self::Token => seen.path() == "/v2/" && seen.bearer().is_some(),
            Self::Manifest | Self::BasicManifest => seen.path() == "/v2/team/web/manifests/v1",
        }
    }

    fn is_basic(self) -> bool {
        matches!(self, Self::BasicLogin | Self::BasicManifest)
    }

    fn class(self) -> Class {
        match self {
            Self::Api | Self::BasicLogin | Self::Token => Class::RedirectAtApi,
            Self::Login => Class::RedirectAtTokenServer,
            Self::Manifest | Self::BasicManifest => Class::RedirectAtManifest,
        }
    }

    fn reason(self) -> Reason {
        if self == Self::Api { NotARegistry } else { ProtocolError }
    }

    /// How many logins it takes to come there, with the one that is redirected.
    fn logins(self) -> usize {
        match self {
            Self::Api => 0,
            Self::BasicLogin | Self::Login | Self::Token => 1,
            Self::Manifest | Self::BasicManifest => 2,
        }
    }
}

/// A registry that redirects there.
fn redirect(at: At, name: &'static str, status: u16, location: &'static str) -> Case {
    let case = Case::new(at.class(), name, at.reason(), move |seen, me| {
        if at.is_it(seen, me) {
            return Some(remote(status).header("Location", &me.fill(location, Some(seen))));
        }
        (at.is_basic() && is_stranger(seen, me)).then(|| remote(401).header("WWW-Authenticate", "Basic realm=\"x\""))
    });
    let case = case.logins(at.logins()).leads("evil.test").leads("token.test");
    if matches!(at, At::Manifest | At::BasicManifest) { case.repository() } else { case }
}

pub fn cases() -> Vec<Case> {
    // A place of its own to which the login may not be taken, though it may go there by itself.
    let trusted =
        |at, name, status| redirect(at, name, status, "http://token.test/remote-marker-7f3a").trusting("token.test");
    let mut cases = vec![
        redirect(At::Api, "api-to-address", 307, "http://127.0.0.1:{port}/remote-marker-7f3a/v2/"),
        redirect(At::Api, "api-to-name", 301, "http://evil.test/remote-marker-7f3a/v2/"),
        redirect(At::Api, "api-to-port", 308, "http://{registry}:{port}/v2/"),
        redirect(At::Api, "api-without-scheme", 302, "//evil.test/remote-marker-7f3a"),
        redirect(At::Api, "api-to-metadata", 303, "http://169.254.169.254/remote-marker-7f3a"),
        redirect(At::Api, "api-with-user", 307, "http://remote-marker-7f3a:x@{registry}/v2/"),
        redirect(At::Api, "api-nowhere", 302, "http://[remote-marker-7f3a"),
        redirect(At::Api, "api-round-and-round", 307, "/v2/"),
        redirect(At::BasicLogin, "basic-login-to-name", 307, "http://evil.test/v2/"),
        redirect(At::BasicLogin, "basic-login-to-suffix", 308, "http://{registry}.evil.test/v2/")
            .leads("{name}.example.com.evil.test"),
        redirect(At::Token, "token-to-name", 307, "http://evil.test/v2/"),
        redirect(At::Login, "login-to-address", 307, "http://127.0.0.1:{port}/remote-marker-7f3a"),
        redirect(At::Login, "login-to-name", 302, "http://evil.test/remote-marker-7f3a"),
        redirect(At::Login, "login-to-scheme", 308, "https://{registry}/remote-marker-7f3a"),
        redirect(At::Login, "login-to-metadata", 303, "http://169.254.169.254/remote-marker-7f3a"),
        trusted(At::Login, "login-to-trusted", 307),
        trusted(At::Api, "api-to-trusted", 307),
        redirect(At::Manifest, "manifest-to-address", 307, "http://127.0.0.1:{port}/remote-marker-7f3a"),
        redirect(At::Manifest, "manifest-to-name", 302, "http://evil.test/remote-marker-7f3a"),
        redirect(At::BasicManifest, "basic-manifest-to-name", 307, "http://evil.test/remote-marker-7f3a"),
        trusted(At::BasicManifest, "basic-manifest-to-trusted", 301),
    ];
    // At the same place every one is followed, with the login where there is one.
    for (at, name, location, logins) in [
        (At::Api, "control-api", "/v2/moved/", 1),
        (At::BasicLogin, "control-basic-login", "/v2/moved/", 2),
        (At::Login, "control-login", "http://{registry}/moved/token", 2),
        (At::Token, "control-token", "moved/", 1),
        (At::Manifest, "control-manifest", "moved", 2),
        (At::BasicManifest, "control-basic-manifest", "/v2/moved/", 3),
    ] {
        let case = redirect(at, name, 307, location).proven(logins);
        let is_manifest = matches!(at, At::Manifest | At::BasicManifest);
        cases.push(case.reason(if is_manifest { RepositoriesProven } else { LoginProven }));
    }
    cases
}

#[tokio::test(flavor = "multi_thread")]
async fn no_login_follows_a_redirect_to_another_place() -> Result<()> {
    let scenario = Scenario::start("hostile-redirect").await?;
    let mut court = Court::open(&scenario, cases()).await?;
    court.judge_first(&scenario).await?;
    court.close(scenario).await
}
