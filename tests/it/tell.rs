//! Short forms of what an object or an endpoint says, for assertions.

use anyhow::{Context as _, Result};
use regcred::api::{ConditionType, RegistryConnection, condition};

/// Whether the Ready condition has this value and reason and is about the current generation.
pub fn is_ready(connection: &RegistryConnection, status: &str, reason: &str) -> bool {
    let Some(observed) = &connection.status else { return false };
    observed.observed_generation == connection.metadata.generation
        && condition::find(&observed.conditions, ConditionType::Ready)
            .is_some_and(|ready| ready.status == status && ready.reason == reason)
}

/// The value of a condition as `True/Reason`, or `-` if it is absent.
pub fn tell(connection: &RegistryConnection, kind: ConditionType) -> String {
    let conditions = connection.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    condition::find(conditions, kind).map_or_else(|| "-".into(), |found| format!("{}/{}", found.status, found.reason))
}

/// All conditions at a glance: Ready, CredentialsValid, Delivered, Reconciling, Stalled.
pub fn tell_all(connection: &RegistryConnection) -> [String; 5] {
    use ConditionType::{CredentialsValid, Delivered, Ready, Reconciling, Stalled};
    [Ready, CredentialsValid, Delivered, Reconciling, Stalled].map(|kind| tell(connection, kind))
}

/// One HTTP GET on loopback: status code and body.
pub async fn get(address: std::net::SocketAddr, path: &str) -> Result<(u16, String)> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: test\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no head")?;
    let status = head.split_whitespace().nth(1).context("no status")?.parse()?;
    Ok((status, body.to_owned()))
}
