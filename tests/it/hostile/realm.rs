//! Token servers that a registry has no business naming. Each listens where its address leads, and most are then trusted,
//! so that the same address hears the login: what kept it away before was trust, and nothing else.

use anyhow::Result;
use regcred::api::Reason::{self, AddressNotAllowed, LoginProven, ProtocolError, TokenServerNotTrusted};
use url::{Host, Url};

use super::{
    MARKER,
    case::{Case, Class},
    court::Court,
    reply::first,
};
use crate::scenario::Scenario;

/// A registry whose 401 names this token server; names in it lead to the foreign listener.
fn realm(class: Class, name: &'static str, reason: Reason, realm: &'static str) -> Case {
    let address = format!("{realm}/{MARKER}/token");
    let case = Case::new(class, name, reason, move |seen, me| first(seen, || me.challenge(seen, &address)));
    let read =
        realm.replace("{registry}", &format!("{name}.example.com")).replace("{name}", name).replace("{port}", "1");
    match Url::parse(&read).ok().and_then(|url| url.host().map(|host| host.to_owned())) {
        Some(Host::Domain(host)) if host != format!("{name}.example.com") => case.leads(String::leak(host)),
        _ => case,
    }
}

fn foreign(class: Class, name: &'static str, address: &'static str) -> Case {
    realm(class, name, TokenServerNotTrusted, address).says("trustedTokenHosts")
}

pub fn cases() -> Vec<Case> {
    use Class as C;
    const V6: &str = "[::1]:0";
    let unusable = |class, name, address| realm(class, name, ProtocolError, address);
    let itself = |name, address| realm(C::UpperCase, name, LoginProven, address).proven(1);
    let mut cases = vec![
        foreign(C::ByName, "name", "http://token.test").says("token.test").then_told("token.test"),
        foreign(C::ByName, "name-with-port", "http://tokens.test:{port}").then_told("tokens.test:{port}"),
        foreign(C::ByName, "name-of-another-registry", "http://auth.docker.io"),
        foreign(C::ByName, "name-of-this-machine", "http://localhost:{port}").then_told("localhost:{port}"),
        foreign(C::ByIpv4, "ipv4", "http://127.0.0.1:{port}").then_told("127.0.0.1:{port}"),
        foreign(C::ByIpv4, "ipv4-next", "http://127.0.0.2:{port}")
            .foreign_at("127.0.0.2:0")
            .then_told("127.0.0.2:{port}"),
        foreign(C::ByIpv6, "ipv6", "http://[::1]:{port}").foreign_at(V6).then_told("[::1]:{port}"),
        foreign(C::ByIpv6, "ipv6-in-full", "http://[0:0:0:0:0:0:0:1]:{port}").foreign_at(V6).then_told("[::1]:{port}"),
        foreign(C::Mapped, "mapped", "http://[::ffff:127.0.0.1]:{port}").then_told("[::ffff:127.0.0.1]:{port}"),
        foreign(C::Mapped, "mapped-in-hex", "http://[::ffff:7f00:1]:{port}").then_told("[::ffff:127.0.0.1]:{port}"),
        foreign(C::Nat64, "nat64", "http://[64:ff9b::7f00:1]:{port}"),
        foreign(C::SixToFour, "6to4", "http://[2002:7f00:1::]:{port}"),
        foreign(C::Decimal, "decimal", "http://2130706433:{port}").then_told("127.0.0.1:{port}"),
        foreign(C::Decimal, "decimal-of-two", "http://127.1:{port}").then_told("127.1:{port}"),
        foreign(C::Decimal, "hexadecimal", "http://0x7f000001:{port}").then_told("0x7f000001:{port}"),
        foreign(C::Octal, "octal", "http://0177.0.0.1:{port}").then_told("127.0.0.1:{port}"),
        foreign(C::Octal, "octal-of-one", "http://017700000001:{port}").then_told("127.0.0.1:{port}"),
        foreign(C::OtherPort, "port", "http://{registry}:{port}").then_told("{name}.example.com:{port}"),
        foreign(C::OtherPort, "port-of-an-address", "http://127.0.0.1:{port}")
            .url("http://127.0.0.1:{own}")
            .then_told("127.0.0.1:{port}"),
        unusable(C::UserInfo, "user", "http://{registry}@user.test:{port}"),
        unusable(C::UserInfo, "user-and-password", "http://user:password@127.0.0.1:{port}"),
        unusable(C::UserInfo, "user-of-itself", "http://user@{registry}"),
        foreign(C::UserInfo, "backslash", "http://backslash.test\\\\\\\\@{registry}").then_told("backslash.test"),
        foreign(C::TrailingDot, "dot", "http://{registry}.").leads("{name}.example.com."),
        foreign(C::TrailingDot, "dot-of-another", "http://dot.test.").then_fails("dot.test", TokenServerNotTrusted),
        foreign(C::LookAlike, "look-alike", "http://evil{registry}").then_told("evil{name}.example.com"),
        foreign(C::LookAlike, "hyphen", "http://{name}-example.com").then_told("{name}-example.com"),
        foreign(C::LookAlike, "path", "http://path.test/{registry}").then_told("path.test"),
        foreign(C::LookAlike, "fragment", "http://fragment.test#@{registry}").then_told("fragment.test"),
        foreign(C::LookAlike, "parent", "http://example.com").then_told("example.com"),
        foreign(C::Suffix, "suffix", "http://{registry}.evil.test").then_told("{name}.example.com.evil.test"),
        foreign(C::Suffix, "suffix-encoded", "http://{registry}%2eevil.test").then_told("{name}.example.com.evil.test"),
        foreign(C::Suffix, "suffix-wide", "http://{registry}\u{ff0e}evil.test")
            .then_told("{name}.example.com.evil.test"),
        foreign(C::UpperCase, "upper", "HTTP://UPPER.TEST").says("upper.test").then_told("upper.test"),
        foreign(C::UpperCase, "upper-suffix", "http://{registry}.EVIL.TEST").then_told("{name}.example.com.evil.test"),
        foreign(C::Idna, "cyrillic", "http://{name}.ex\u{430}mple.com").then_told("{name}.ex\u{430}mple.com"),
        foreign(C::Idna, "umlaut", "http://b\u{fc}cher.test")
            .says("xn--bcher-kva.test")
            .then_told("xn--bcher-kva.test"),
        itself("control-upper", "HTTP://CONTROL-UPPER.EXAMPLE.COM"),
        itself("control-wide", "http://\u{ff43}ontrol-wide.example.com"),
        itself("control-port", "http://{registry}:80"),
    ];
    // Where not even trust helps: the addresses themselves are out of bounds.
    for (class, name, address, host) in [
        (C::Nat64, "nat64-of-metadata", "http://[64:ff9b::a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]"),
        (C::Nat64, "nat64-of-a-network", "http://[64:ff9b:1::a9fe:a9fe]", "[64:ff9b:1::a9fe:a9fe]"),
        (C::SixToFour, "6to4-of-metadata", "http://[2002:a9fe:a9fe::1]", "[2002:a9fe:a9fe::1]"),
        (C::Unspecified, "unspecified", "http://0.0.0.0:{port}", "0.0.0.0:{port}"),
        (C::Unspecified, "unspecified-in-short", "http://0:{port}", "0.0.0.0:{port}"),
        (C::Unspecified, "unspecified-ipv6", "http://[::]:{port}", "[::]:{port}"),
        (C::Unspecified, "unspecified-mapped", "http://[::ffff:0:0]:{port}", "[::ffff:0:0]:{port}"),
        (C::Mapped, "mapped-metadata", "http://[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]"),
        (C::Metadata, "metadata", "http://169.254.169.254", "169.254.169.254"),
        (C::Metadata, "metadata-of-amazon", "http://[fd00:ec2::254]", "[fd00:ec2::254]"),
        (C::Metadata, "metadata-of-alibaba", "http://100.100.100.200", "100.100.100.200"),
        (C::Metadata, "metadata-of-azure", "http://168.63.129.16:{port}", "168.63.129.16:{port}"),
        (C::Decimal, "metadata-decimal", "http://2852039166", "169.254.169.254"),
        (C::Octal, "metadata-octal", "http://0251.0376.0251.0376", "169.254.169.254"),
    ] {
        cases.push(foreign(class, name, address).then_fails(host, AddressNotAllowed));
    }
    let by_name = |_, _| vec![vec!["169.254.169.254:80".parse().unwrap()]];
    let metadata = foreign(C::Metadata, "metadata-by-name", "http://metadata.google.internal");
    cases.push(
        metadata.script("metadata.google.internal", by_name).then_fails("metadata.google.internal", AddressNotAllowed),
    );
    cases
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_server_on_another_host_hears_nothing_however_it_is_spelt_until_it_is_trusted() -> Result<()> {
    let scenario = Scenario::start("hostile-realm").await?;
    let mut court = Court::open(&scenario, cases()).await?;
    court.judge_first(&scenario).await?;
    court.judge_then(&scenario).await?;
    court.close(scenario).await
}
