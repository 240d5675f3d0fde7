//! The API server by plain HTTP on loopback, through a client of the test's: so that a fault can meet what a process sends.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use axum::{Router, body::Body, extract::Request, response::Response};
use http::{StatusCode, Uri, header};
use kube::Client;
use serde_json::json;
use tokio::{net::TcpListener, task::JoinHandle};

/// More than any object has, in bytes.
const MAX_BODY: usize = 4 << 20;

/// A running door; it closes when it is dropped.
pub struct Door {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Door {
    /// Opens it for everything that `client` may do.
    pub async fn open(client: Client) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let router = Router::new().fallback(move |request| pass_on(client.clone(), request));
        let task = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self { address, task })
    }

    /// Writes a kubeconfig that leads here.
    pub fn write_kubeconfig(&self, folder: &Path) -> Result<PathBuf> {
        let path = folder.join("kubeconfig");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "door", "users": [{"name": "door", "user": {}}],
            "clusters": [{"name": "door", "cluster": {"server": format!("http://{}", self.address)}}],
            "contexts": [{"name": "door", "context": {"cluster": "door", "user": "door"}}],
        });
        std::fs::write(&path, config.to_string()).context("write a kubeconfig")?;
        Ok(path)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass_on(client: Client, request: Request) -> Response {
    forward(client, request).await.unwrap_or_else(|error| {
        let mut answer = Response::new(Body::from(format!("{error:#}")));
        *answer.status_mut() = StatusCode::BAD_GATEWAY;
        answer
    })
}

async fn forward(client: Client, request: Request) -> Result<Response> {
    let (mut parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, MAX_BODY).await?.to_vec();
    parts.uri = Uri::from(parts.uri.path_and_query().context("no path")?.clone());
    for name in [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::ACCEPT_ENCODING] {
        parts.headers.remove(name);
    }
    let answer = client.send(http::Request::from_parts(parts, kube::client::Body::from(body))).await?;
    let mut answer = answer.map(Body::new);
    for name in [header::CONNECTION, header::TRANSFER_ENCODING] {
        answer.headers_mut().remove(name);
    }
    Ok(answer)
}
