//! Registries that are themselves where the operator never connects to. Their listeners are where the address leads; an
//! operator that has no such rule then reaches those that are on this machine.

use anyhow::Result;
use regcred::api::Reason::{self, AddressNotAllowed, InvalidSpec};
use serde_json::Value;

use super::{
    MARKER,
    case::{ApiServer, Case, Class, Outcome},
    court::Court,
    reply::first,
};
use crate::scenario::Scenario;

/// A registry at this address, to which no connection is made.
fn at(class: Class, name: &'static str, reason: Reason, url: &'static str) -> Case {
    Case::new(class, name, reason, |_, _| None).url(url).out_of_reach()
}

/// Registries that an operator must not reach which may not connect to this machine.
fn of_this_machine() -> Vec<Case> {
    use Class as C;
    let here = |class, name, reason, url| at(class, name, reason, url).then(Value::Null, Outcome::proven(1));
    // Where these lead without the rule is for the network to say.
    let nowhere = |class, name, url| at(class, name, AddressNotAllowed, url).says("loopback");
    let never =
        |class, name, url| at(class, name, AddressNotAllowed, url).then(Value::Null, Outcome::fails(AddressNotAllowed));

    vec![
        here(C::ByIpv4, "loopback", InvalidSpec, "http://127.0.0.1:{own}"),
        here(C::Decimal, "loopback-decimal", InvalidSpec, "http://2130706433:{own}"),
        here(C::Octal, "loopback-octal", InvalidSpec, "http://0177.1:{own}"),
        here(C::ByName, "loopback-name", InvalidSpec, "http://localhost:{own}")
            .script("localhost", |own, _| vec![vec![own]]),
        here(C::Mapped, "loopback-mapped", AddressNotAllowed, "http://[::ffff:127.0.0.1]:{own}").says("loopback"),
        here(C::ByName, "loopback-by-name", AddressNotAllowed, "http://{name}.example.com").says("loopback"),
        never(C::Unspecified, "registry-unspecified", "http://0.0.0.0:{own}").says("unspecified"),
        never(C::Unspecified, "registry-unspecified-ipv6", "http://[::]:{own}").says("unspecified"),
        never(C::Unspecified, "registry-unspecified-by-name", "http://{name}.example.com")
            .script("{name}.example.com", |own, _| vec![vec![([0, 0, 0, 0], own.port()).into()]]),
        nowhere(C::Nat64, "registry-nat64", "http://[64:ff9b::7f00:1]:{own}"),
        nowhere(C::SixToFour, "registry-6to4", "http://[2002:7f00:1::]:{own}"),
        nowhere(C::Mapped, "registry-compatible", "http://[::127.0.0.1]:{own}"),
        never(C::Metadata, "registry-metadata", "http://169.254.169.254").says("link-local"),
        never(C::Metadata, "registry-metadata-decimal", "http://2852039166").says("link-local"),
        never(C::Metadata, "registry-metadata-mapped", "http://[::ffff:a9fe:a9fe]").says("link-local"),
        never(C::Metadata, "registry-metadata-nat64", "http://[64:ff9b::a9fe:a9fe]").says("link-local"),
        never(C::Metadata, "registry-metadata-6to4", "http://[2002:a9fe:a9fe::]").says("link-local"),
        never(C::Metadata, "registry-metadata-of-amazon", "https://[fd00:ec2::254]").says("metadata"),
        never(C::Metadata, "registry-metadata-by-name", "http://{name}.example.com")
            .script("{name}.example.com", |own, _| vec![vec![([169, 254, 169, 254], own.port()).into()]]),
    ]
}

/// Registries and token servers that are the API server, or listeners that are taken for it.
fn of_the_api_server() -> Vec<Case> {
    let api = |name, url| at(Class::ApiServer, name, AddressNotAllowed, url).says("API server");
    let taken = |name, url| api(name, url).api_server(ApiServer::Registry).then(Value::Null, Outcome::proven(1));
    let realm = |realm: &'static str| {
        let realm = format!("{realm}/{MARKER}");
        let name =
            if realm.contains("127") { "api-server-as-token-server" } else { "api-server-as-named-token-server" };
        Case::new(Class::ApiServer, name, AddressNotAllowed, move |seen, me| first(seen, || me.challenge(seen, &realm)))
            .says("API server")
            .leads("tokens.test")
            .api_server(ApiServer::Foreign)
            .then(Value::Null, Outcome { told: true, ..Outcome::proven(1) })
    };
    vec![
        api("api-server", "https://127.0.0.1:{api}"),
        api("api-server-mapped", "https://[::ffff:127.0.0.1]:{api}"),
        api("api-server-decimal", "https://2130706433:{api}"),
        api("api-server-of-localhost", "https://localhost:{api}")
            .script("localhost", |_, _| vec![vec![([127, 0, 0, 1], 0).into()]]),
        taken("api-server-taken", "http://127.0.0.1:{own}"),
        taken("api-server-taken-mapped", "http://[::ffff:7f00:1]:{own}"),
        taken("api-server-by-name", "http://{name}.example.com"),
        taken("api-server-by-name-and-port", "http://{name}.example.com:{own}")
            .script("{name}.example.com", |own, _| vec![vec![(own.ip(), 0).into()]]),
        taken("api-server-among-others", "http://{name}.example.com")
            .script("{name}.example.com", |own, _| vec![vec![([127, 0, 0, 2], own.port()).into(), own]]),
        realm("http://127.0.0.1:{port}").trusting("127.0.0.1:{port}"),
        realm("http://tokens.test").trusting("tokens.test"),
    ]
}

pub fn cases() -> Vec<Case> {
    of_this_machine().into_iter().chain(of_the_api_server()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_on_this_machine_or_on_a_metadata_address_is_not_connected_to_however_it_is_spelt() -> Result<()> {
    let mut scenario = Scenario::prepare("hostile-address").await?;
    scenario.arguments.allow_loopback = false;
    scenario.start_operator().await?;
    let mut court = Court::open(&scenario, of_this_machine()).await?;
    court.judge_first(&scenario).await?;
    court.dismiss_the_settled(&scenario).await?;

    scenario.stop_operator().await?;
    scenario.arguments.allow_loopback = true;
    scenario.start_operator().await?;
    court.judge_then(&scenario).await?;
    court.close(scenario).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_is_neither_a_registry_nor_a_token_server_under_any_name() -> Result<()> {
    let mut scenario = Scenario::prepare("hostile-api").await?;
    let mut court = Court::open(&scenario, of_the_api_server()).await?;
    scenario.more_api_servers = court.api_servers();
    scenario.start_operator().await?;
    court.judge_first(&scenario).await?;

    scenario.stop_operator().await?;
    scenario.more_api_servers.clear();
    scenario.start_operator().await?;
    court.judge_then(&scenario).await?;
    court.close(scenario).await
}
