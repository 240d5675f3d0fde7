//! Name servers that change their minds, or say two things at once. Every answer closes its connection, so that each
//! request asks for the name again.

use std::net::SocketAddr;

use anyhow::Result;
use regcred::api::Reason::{AddressNotAllowed, LoginProven, TlsFailed};

use super::{
    MARKER,
    case::{ApiServer, Case, Class},
    court::Court,
    reply::{behaved, first},
    tls,
};
use crate::scenario::Scenario;

const NAME: &str = "{name}.example.com";
const METADATA: [u8; 4] = [169, 254, 169, 254];
const PRIVATE: [u8; 4] = [10, 0, 0, 1];

/// A registry whose name changes its mind.
fn registry(class: Class, name: &'static str) -> Case {
    Case::new(class, name, AddressNotAllowed, |seen, me| Some(behaved(seen, me).header("Connection", "close")))
}

/// A registry with a trusted token server whose name does.
fn tokens(class: Class, name: &'static str, realm: &'static str) -> Case {
    let address = format!("{realm}/{MARKER}");
    Case::new(class, name, AddressNotAllowed, move |seen, me| first(seen, || me.challenge(seen, &address)))
}

fn at(ip: [u8; 4], near: SocketAddr) -> SocketAddr {
    (ip, near.port()).into()
}

pub fn cases() -> Vec<Case> {
    use Class::{DnsMixed, DnsSecondAnswer};
    let then = |name| registry(DnsSecondAnswer, name).says("login: ");
    let mixed = |name| registry(DnsMixed, name).says("reach: ").out_of_reach();
    vec![
        then("then-metadata").script(NAME, |own, _| vec![vec![own], vec![at(METADATA, own)]]).says("link-local"),
        then("then-unspecified").script(NAME, |own, _| vec![vec![own], vec![at([0; 4], own)]]).says("unspecified"),
        then("then-private").script(NAME, |own, _| vec![vec![own], vec![at(PRIVATE, own)]]).says("private"),
        then("then-both").script(NAME, |own, _| vec![vec![own], vec![own, at(METADATA, own)]]),
        then("then-api-server")
            .script(NAME, |own, foreign| vec![vec![own], vec![foreign]])
            .api_server(ApiServer::Foreign)
            .says("API server"),
        registry(DnsSecondAnswer, "later-metadata")
            .script(NAME, |own, _| vec![vec![own], vec![own], vec![at(METADATA, own)]])
            .logins(1)
            .says("token: "),
        tokens(DnsSecondAnswer, "token-server-then-metadata", "http://turning.test")
            .trusting("turning.test")
            .script("turning.test", |_, foreign| vec![vec![foreign], vec![at(METADATA, foreign)]])
            .logins(1)
            .told()
            .says("link-local"),
        // Another server at an address that is allowed cannot prove that it is the one. This is tried again and again.
        registry(DnsSecondAnswer, "then-stranger")
            .url("https://{name}.example.com")
            .tls(Some(tls::good), Some(tls::of_another_authority))
            .script(NAME, |own, foreign| [vec![own], vec![foreign]].into_iter().cycle().take(100).collect())
            .visited()
            .reason(TlsFailed),
        mixed("mixed-metadata").script(NAME, |own, _| vec![vec![own, at(METADATA, own)]]).says("link-local"),
        mixed("mixed-metadata-first").script(NAME, |own, _| vec![vec![at(METADATA, own), own]]).says("link-local"),
        mixed("mixed-private").script(NAME, |own, _| vec![vec![own, at(PRIVATE, own)]]).says("private"),
        mixed("mixed-public")
            .script(NAME, |own, _| vec![vec![at([203, 0, 113, 7], own), at(PRIVATE, own)]])
            .says("private"),
        mixed("mixed-unspecified").script(NAME, |own, _| vec![vec![own, at([0; 4], own)]]).says("unspecified"),
        mixed("mixed-mapped").script(NAME, |own, _| {
            vec![vec![own, (std::net::Ipv4Addr::from(METADATA).to_ipv6_mapped(), own.port()).into()]]
        }),
        tokens(DnsMixed, "token-server-mixed", "http://mixed.test")
            .trusting("mixed.test")
            .script("mixed.test", |_, foreign| vec![vec![foreign, at(METADATA, foreign)]])
            .says("login: "),
        registry(DnsSecondAnswer, "control-steady")
            .script(NAME, |own, _| vec![vec![own], vec![own]])
            .reason(LoginProven)
            .proven(1),
        registry(DnsMixed, "control-two")
            .script(NAME, |own, _| vec![vec![at([127, 0, 0, 2], own), own]])
            .reason(LoginProven)
            .proven(1),
        tokens(DnsMixed, "control-token-server", "http://steady.test")
            .trusting("steady.test")
            .leads("steady.test")
            .reason(LoginProven)
            .proven(1)
            .told(),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_turns_to_a_forbidden_address_or_names_one_beside_others_gets_no_login() -> Result<()> {
    let mut scenario = Scenario::prepare("hostile-dns").await?;
    scenario.arguments.forbid_private_addresses = true;
    let mut court = Court::open(&scenario, cases()).await?;
    scenario.more_api_servers = court.api_servers();
    scenario.start_operator().await?;
    court.judge_first(&scenario).await?;
    court.close(scenario).await
}
