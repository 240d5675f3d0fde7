//! A login at a registry, as every client does it: ask, be sent to the token server, log in there, come back with the token.

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Whether the registry at `host` lets in this user name with this password, with plain http.
pub(super) async fn accepts(host: &str, user: &str, password: &str) -> Result<bool> {
    let (_, challenge, _) = get(host, "/v2/", "").await?;
    let realm = parameter(&challenge, "realm").context("a challenge without a realm")?;
    let service = parameter(&challenge, "service").unwrap_or_default();
    let (server, path) = realm
        .strip_prefix("http://")
        .and_then(|rest| rest.split_once('/'))
        .with_context(|| format!("a realm that cannot be reached: {realm}"))?;
    let login = BASE64_STANDARD.encode(format!("{user}:{password}"));
    let target = format!("/{path}?service={service}");
    let (status, _, body) = get(server, &target, &format!("Authorization: Basic {login}\r\n")).await?;
    match status {
        401 => return Ok(false),
        200 => {}
        status => bail!("the token server answered {status}"),
    }
    let body: Value = serde_json::from_slice(&body).context("read a token")?;
    let token = body["token"].as_str().context("an answer without a token")?;
    let (status, ..) = get(host, "/v2/", &format!("Authorization: Bearer {token}\r\n")).await?;
    match status {
        200 => Ok(true),
        401 => Ok(false),
        status => bail!("the registry answered {status}"),
    }
}

/// Status, challenge and body of an answer.
async fn get(host: &str, target: &str, headers: &str) -> Result<(u16, String, Vec<u8>)> {
    let mut stream = TcpStream::connect(host).await.with_context(|| format!("connect to {host}"))?;
    let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.context("ask")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.context("read an answer")?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").context("half an answer")?;
    let head = String::from_utf8_lossy(&answer[..end]);
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("an answer without a status")?;
    let challenge = head.lines().filter_map(|line| line.split_once(": "));
    let challenge = challenge.filter(|(name, _)| name.eq_ignore_ascii_case("www-authenticate")).map(|(_, value)| value);
    Ok((status, challenge.collect(), answer[end + 4..].to_vec()))
}

fn parameter<'a>(challenge: &'a str, name: &str) -> Option<&'a str> {
    challenge.split_once(&format!("{name}=\""))?.1.split('"').next()
}
