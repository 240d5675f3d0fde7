//! A wire between one Pod and the API server that can be cut, and mended: what was on it meanwhile arrives late.

use std::net::Ipv4Addr;

use anyhow::Result;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// See the module. It ends, with all its connections, when it is dropped.
pub struct Wire {
    pub port: u16,
    is_whole: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Wire {
    /// One to this port of this machine.
    pub async fn to(server: u16) -> Result<Self> {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = socket.local_addr()?.port();
        let (is_whole, state) = watch::channel(true);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = socket.accept().await {
                let state = state.clone();
                connections.spawn(async move {
                    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await else { return };
                    let ((from, to), (back_from, back_to)) = (client.into_split(), server.into_split());
                    tokio::join!(carry(from, back_to, state.clone()), carry(back_from, to, state));
                });
            }
        });
        Ok(Self { port, is_whole, task })
    }

    pub fn cut(&self) {
        self.is_whole.send_replace(false);
    }

    pub fn mend(&self) {
        self.is_whole.send_replace(true);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Until one of both ends hangs up.
async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut state: watch::Receiver<bool>) {
    let mut bytes = vec![0; 1 << 14];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if state.wait_for(|is_whole| *is_whole).await.is_err() || to.write_all(&bytes[..count]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}
