//! Servers that cannot prove who they are, and those that ask for less than https.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use regcred::api::Reason::{LoginProven, NotARegistry, ProtocolError, TlsFailed, TokenServerNotTrusted};
use testenv::certificates::{Authority, Identity};

use super::{
    MARKER,
    case::{Case, Class, Make},
    court::Court,
    reply::{at_login, first, remote},
};
use crate::scenario::Scenario;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const NAMES: [&str; 1] = ["*.example.com"];

/// As it should be: for every registry here, and every token server.
pub fn good(authority: &Authority) -> Result<Identity> {
    authority.server(&NAMES)
}

/// For the right name, by an authority that nobody knows. It has the name of the one that is known.
pub fn of_another_authority(_: &Authority) -> Result<Identity> {
    Authority::new()?.server(&NAMES)
}

fn of_a_client(authority: &Authority) -> Result<Identity> {
    authority.client("registry.example.com", None)
}

fn for_another_name(authority: &Authority) -> Result<Identity> {
    authority.server_named(&["other.example.com"])
}

fn for_the_parent(authority: &Authority) -> Result<Identity> {
    authority.server_named(&["example.com", "*.com"])
}

fn for_names_only(authority: &Authority) -> Result<Identity> {
    authority.server_named(&NAMES)
}

fn expired(authority: &Authority) -> Result<Identity> {
    authority.server_valid(&NAMES, SystemTime::now() - 2 * DAY, SystemTime::now() - DAY)
}

fn not_yet_valid(authority: &Authority) -> Result<Identity> {
    authority.server_valid(&NAMES, SystemTime::now() + DAY, SystemTime::now() + 2 * DAY)
}

/// A registry with this certificate.
fn registry(class: Class, name: &'static str, make: Make) -> Case {
    Case::new(class, name, TlsFailed, |_, _| None)
        .url("https://{name}.example.com")
        .tls(Some(make), None)
        .says("reach: ")
}

/// A good registry with a trusted token server that has this certificate, or none.
fn tokens(class: Class, name: &'static str, make: Option<Make>) -> Case {
    let realm = format!("https://token-{{name}}.example.com/{MARKER}");
    Case::new(class, name, TlsFailed, move |seen, me| first(seen, || me.challenge(seen, &realm)))
        .url("https://{name}.example.com")
        .tls(Some(good), make)
        .leads("token-{name}.example.com")
        .trusting("token-{name}.example.com")
        .says("login: ")
        .visited()
}

/// A good registry that names a token server by plain http, at a host that is trusted.
fn downgrade(name: &'static str, realm: &'static str) -> Case {
    let address = format!("{realm}/{MARKER}");
    Case::new(Class::SchemeDowngrade, name, TokenServerNotTrusted, move |seen, me| {
        first(seen, || me.challenge(seen, &address))
    })
    .url("https://{name}.example.com")
    .tls(Some(good), None)
    .leads("token-{name}.example.com")
    .trusting("token-{name}.example.com")
    .says("plain http")
}

/// A good registry that redirects to plain http.
fn redirect(name: &'static str, is_login: bool, location: &'static str) -> Case {
    let reason = if is_login { ProtocolError } else { NotARegistry };
    Case::new(Class::SchemeDowngrade, name, reason, move |seen, me| {
        let reply = || remote(307).header("Location", &format!("{}/{MARKER}", me.fill(location, Some(seen))));
        if is_login { at_login(seen, me, reply) } else { first(seen, reply) }
    })
    .url("https://{name}.example.com")
    .tls(Some(good), None)
    .leads("token-{name}.example.com")
    .trusting("token-{name}.example.com")
    .logins(usize::from(is_login))
}

pub fn cases() -> Vec<Case> {
    use Class as C;
    let plain = |name, url, reason| Case::new(C::WrongCertificate, name, reason, |_, _| None).url(url);
    vec![
        registry(C::WrongCertificate, "another-authority", of_another_authority).says("not signed by an authority"),
        registry(C::WrongCertificate, "certificate-of-a-client", of_a_client),
        tokens(C::WrongCertificate, "token-server-of-another-authority", Some(of_another_authority))
            .says("not signed by an authority"),
        tokens(C::WrongCertificate, "token-server-without-tls", None).says("does not speak TLS"),
        plain("http-for-https", "https://{name}.example.com", TlsFailed).says("does not speak TLS"),
        plain("https-for-http", "http://{name}.example.com", ProtocolError).tls(Some(good), None),
        registry(C::WrongName, "another-name", for_another_name).says("another host name"),
        registry(C::WrongName, "name-of-the-parent", for_the_parent).says("another host name"),
        registry(C::WrongName, "no-address", for_names_only).url("https://127.0.0.1:{own}").says("another host name"),
        registry(C::WrongName, "too-deep", good)
            .url("https://too.deep.example.com")
            .script("too.deep.example.com", |own, _| vec![vec![own]])
            .says("another host name"),
        tokens(C::WrongName, "token-server-of-another-name", Some(for_another_name)).says("another host name"),
        registry(C::Expired, "expired", expired).says("has expired"),
        registry(C::Expired, "not-yet-valid", not_yet_valid).says("is not valid"),
        tokens(C::Expired, "token-server-expired", Some(expired)).says("has expired"),
        tokens(C::Expired, "token-server-not-yet-valid", Some(not_yet_valid)).says("is not valid"),
        downgrade("downgrade-of-itself", "http://{registry}"),
        downgrade("downgrade-of-itself-at-a-port", "http://{registry}:{port}"),
        downgrade("downgrade-of-a-trusted-host", "http://token-{name}.example.com"),
        downgrade("downgrade-in-capitals", "HTTP://TOKEN-{name}.EXAMPLE.COM"),
        redirect("downgrade-redirect", false, "http://{registry}"),
        redirect("downgrade-redirect-of-a-login", true, "http://{registry}"),
        redirect("downgrade-redirect-to-a-trusted-host", true, "http://token-{name}.example.com"),
        registry(C::WrongCertificate, "control-registry", good).says("").reason(LoginProven).proven(1),
        tokens(C::WrongCertificate, "control-tokens", Some(good)).says("").reason(LoginProven).proven(1).told(),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_prove_its_name_or_asks_for_plain_http_hears_no_login() -> Result<()> {
    let scenario = Scenario::start("hostile-tls").await?;
    let mut court = Court::open(&scenario, cases()).await?;
    court.judge_first(&scenario).await?;
    court.close(scenario).await
}
