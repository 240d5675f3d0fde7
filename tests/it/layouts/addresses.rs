//! Where a registry may be, whatever software it is: at a port, at a private address, under a name that is written in many
//! ways, with an authority of its own, and with a token server below a path or with a query of its own.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use anyhow::Result;
use regcred::api::status::RepositoryVerdict::PullProven;
use testenv::{Listener, Reply, Seen, certificates::Authority};

use super::{
    door::Door,
    fake::{Fake, Login, bare, error, granted},
    layout::{Layout, case},
};
use crate::scenario::{PASSWORD, WRONG};

const HOST: &str = "registry.example.com";

/// A token server as the distribution project describes it.
fn token_server(fake: &Fake, seen: &Seen) -> Reply {
    match fake.login(seen) {
        Login::None => error(401, "UNAUTHORIZED", "authentication required"),
        Login::Wrong | Login::Expired => error(401, "UNAUTHORIZED", "wrong user or password"),
        Login::Of(account) => granted(&fake.issue(Some(account), seen)),
    }
}

fn fake() -> Fake {
    let users = ["alice", "bob", "carol", "dave", "erin", "frank", "grace"];
    let fake = Fake::new().private("team/web");
    users.iter().fold(fake, |fake, user| fake.account((user, PASSWORD), &["team/web"]))
}

/// A registry whose realm is this path, and query, at the name it was asked by.
fn registry(realm: &'static str, fake: &Fake, seen: &Seen) -> Reply {
    let host = seen.header("Host").unwrap_or(HOST);
    let path = realm.split('?').next().unwrap_or_default();
    match seen.path() {
        asked if asked == path => token_server(fake, seen),
        _ => Door::new(&format!("https://{host}{realm}"), "the registry & co").answer(fake, seen),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_the_name_is_part_of_the_name_everywhere() -> Result<()> {
    let mut layout = Layout::prepare("port", fake(), &["/token"]).await?;
    let host = format!("{HOST}:{}", layout.serve(HOST, |fake, seen| registry("/token", fake, seen))?);
    layout.start().await?;
    let cases = [
        case("right", ("alice", PASSWORD), ("True", "LoginProven")),
        case("wrong", ("bob", WRONG), ("False", "InvalidCredentials")),
        case("private", ("carol", PASSWORD), ("True", "RepositoriesProven"))
            .repositories(&["team/web:v1"], &[PullProven]),
    ];
    layout.judge(&layout.generic(&format!("https://{host}"), &[]), &host, &cases).await?;
    let secret = layout.scenario.secrets().get("right").await?;
    let found = layout.scenario.shared.keyring.credentials(&format!("{HOST}/team/web:v1"), &[secret])?;
    assert_eq!(found.len(), 0, "the same host at the usual port is another registry");
    layout.finish(&cases).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_is_the_same_however_its_address_is_written() -> Result<()> {
    let mut layout = Layout::prepare("spelled", fake(), &["/token"]).await?;
    layout.serve(HOST, |fake, seen| registry("/token", fake, seen))?;
    layout.start().await?;
    let written = [
        ("scheme", "alice", "https://registry.example.com"),
        ("slash", "bob", "https://registry.example.com/"),
        ("upper", "carol", "HTTPS://Registry.Example.COM"),
        ("version", "dave", "https://registry.example.com/v2"),
        ("version-slash", "erin", "registry.example.com/v2/"),
        ("port", "frank", "https://registry.example.com:443"),
        ("dot", "grace", "registry.example.com."),
    ];
    let cases = written.map(|(name, user, url)| (case(name, (user, PASSWORD), ("True", "LoginProven")), url));
    for (one, url) in &cases {
        layout.connect(&layout.generic(url, &[]), std::slice::from_ref(one)).await?;
    }
    for (one, url) in &cases {
        let connection = layout.scenario.ready(one.name, "True", "LoginProven").await?;
        let host = connection.status.and_then(|status| status.registry_host);
        assert_eq!(host.as_deref(), Some(HOST), "{url}");
        let secret = layout.scenario.secrets().get(one.name).await?;
        let found = layout.scenario.shared.keyring.credentials("registry.example.com/team/web:v1", &[secret])?;
        assert_eq!(found, [(one.login.0.to_owned(), PASSWORD.to_owned())], "{url}");
        assert_eq!(layout.with(one.login).len(), 1, "{url}");
    }
    layout.finish(&cases.map(|(case, _)| case)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_realm_below_a_path_and_with_a_query_of_its_own_is_used_as_it_is() -> Result<()> {
    const REALM: &str = "/auth/realms/shop/token?tenant=shop%20%26%20co&x";
    let mut layout = Layout::prepare("realm", fake(), &["/auth/realms/shop/token"]).await?;
    layout.serve(HOST, |fake, seen| {
        let is_token = seen.path() == "/auth/realms/shop/token";
        let is_whole = seen.query("tenant") == ["shop & co"] && seen.query("service") == ["the registry & co"];
        if is_token && !is_whole { bare(400) } else { registry(REALM, fake, seen) }
    })?;
    layout.start().await?;
    let cases = [
        case("right", ("alice", PASSWORD), ("True", "LoginProven")),
        case("wrong", ("bob", WRONG), ("False", "InvalidCredentials")),
        case("private", ("carol", PASSWORD), ("True", "RepositoriesProven")).repositories(&["team/web"], &[PullProven]),
    ];
    layout.judge(&layout.generic("https://registry.example.com", &[]), HOST, &cases).await?;
    layout.finish(&cases).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_server_at_a_port_and_below_a_path_may_have_the_login_once_it_is_named() -> Result<()> {
    let mut layout = Layout::prepare("partner", fake(), &["/auth/token"]).await?;
    let port = layout.serve("auth.example.com", |fake, seen| match seen.path() {
        "/auth/token" => token_server(fake, seen),
        _ => bare(404),
    })?;
    let door = Door::new(&format!("https://auth.example.com:{port}/auth/token"), "registry");
    layout.serve(HOST, move |fake, seen| door.answer(fake, seen))?;
    layout.start().await?;
    let untold = case("untold", ("alice", PASSWORD), ("False", "TokenServerNotTrusted"));
    layout.connect(&layout.generic("https://registry.example.com", &["auth.example.com"]), &[untold]).await?;
    layout.scenario.ready("untold", "False", "TokenServerNotTrusted").await?;
    assert_eq!(layout.listener("auth.example.com").connections(), 0, "another port is another server");

    let cases = [
        case("right", ("bob", PASSWORD), ("True", "LoginProven")),
        case("wrong", ("carol", WRONG), ("False", "InvalidCredentials")),
    ];
    let spec = layout.generic("https://registry.example.com", &[&format!("Auth.Example.com:{port}")]);
    layout.judge(&spec, HOST, &cases).await?;
    assert!(!layout.listener(HOST).was_told(PASSWORD));
    layout.finish(&cases).await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_authority_that_is_named_makes_a_registry_trustworthy() -> Result<()> {
    let mut layout = Layout::prepare("authority", fake(), &["/token"]).await?;
    layout.serve(HOST, |fake, seen| registry("/token", fake, seen))?;
    layout.scenario.write_authority("another", Authority::new()?.certificate()).await?;
    layout.start().await?;
    let named = layout.generic("https://registry.example.com", &[]);
    let mut another = named.clone();
    another["provider"]["generic"]["caRef"]["name"] = "another".into();
    let mut none = named.clone();
    none["provider"]["generic"]["caRef"] = serde_json::Value::Null;
    let right = case("named", ("alice", PASSWORD), ("True", "LoginProven"));
    for (name, user, spec) in [("another", "bob", &another), ("none", "carol", &none)] {
        layout.connect(spec, &[case(name, (user, PASSWORD), ("False", "TlsFailed"))]).await?;
    }
    layout.judge(&named, HOST, std::slice::from_ref(&right)).await?;
    for (name, user) in [("another", "bob"), ("none", "carol")] {
        layout.scenario.ready(name, "False", "TlsFailed").await?;
        assert_eq!(layout.with((user, PASSWORD)).len(), 0, "{name}");
    }
    Ok(())
}

/// A private address of this machine, if it has one: the kernel chooses it for a way to its like. Nothing is sent.
fn private_address() -> Option<IpAddr> {
    [("0.0.0.0:0", "10.255.255.254:9"), ("0.0.0.0:0", "192.168.255.254:9"), ("[::]:0", "[fd00::fffe]:9")]
        .iter()
        .filter_map(|(own, other)| {
            let socket = UdpSocket::bind(own).ok()?;
            socket.connect(other).ok()?;
            Some(socket.local_addr().ok()?.ip())
        })
        .find(|address| match address {
            IpAddr::V4(address) => address.is_private(),
            IpAddr::V6(address) => address.is_unique_local(),
        })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_at_a_private_address_is_reached_unless_the_operator_was_told_otherwise() -> Result<()> {
    for is_forbidden in [false, true] {
        let mut layout = Layout::prepare("private", fake(), &["/token"]).await?;
        layout.scenario.arguments.forbid_private_addresses = is_forbidden;
        let right = case("images", ("alice", PASSWORD), ("True", "LoginProven"));
        let spec = layout.generic("https://registry.example.com", &[]);
        // Only a machine with such an address can show a connection; any other shows that one is tried.
        let own = private_address();
        println!("the private address of this machine: {own:?}");
        let elsewhere = SocketAddr::from(([10, 255, 255, 254], 1));
        if let Some(own) = own {
            let fake = std::sync::Arc::clone(&layout.fake);
            let identity = layout.authority.server_named(&[HOST])?;
            let answer = move |seen: &Seen| registry("/token", &fake, seen);
            layout.hosts.push((HOST.to_owned(), Listener::tls_at((own, 0).into(), &identity, answer)?));
        }
        let address = layout.hosts.first().map_or(elsewhere, |(_, listener)| listener.address());
        layout.scenario.names.set(HOST, address);
        layout.start().await?;
        let reason = match (is_forbidden, own) {
            (true, _) => "AddressNotAllowed",
            (false, Some(_)) => {
                layout.judge(&spec, HOST, std::slice::from_ref(&right)).await?;
                layout.finish(&[right]).await?;
                continue;
            }
            (false, None) => "Unreachable",
        };
        layout.connect(&spec, std::slice::from_ref(&right)).await?;
        layout.scenario.ready("images", "False", reason).await?;
        assert_eq!(layout.hosts.iter().map(|(_, listener)| listener.connections()).sum::<usize>(), 0);
        layout.scenario.finish().await?;
    }
    Ok(())
}
