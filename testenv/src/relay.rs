//! Stands between a client and a server that speaks HTTP/1.1, and lets a chosen request meet with a fault.
//!
//! Every request goes to the server over a connection of its own and is answered over one that ends with it, so that no
//! client's pool hides a fault by a try of its own. Which request meets with what, says [`Faults`].

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use crate::fault::{Fault, Faults};

/// More headers than any client has.
const MAX_HEADERS: usize = 64;

/// The longest head of a request. In bytes.
const MAX_HEAD: usize = 1 << 16;

/// A running relay. It ends, with all its connections, when it is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    faults: Faults,
    task: JoinHandle<()>,
}

impl Relay {
    /// Begins to listen on a free port of loopback, for the server at `server` (host and port).
    ///
    /// # Errors
    /// There is no free port.
    pub async fn start(server: &str) -> Result<Self> {
        Self::start_with(server, Faults::new()).await
    }

    /// The same with a count that may be shared: of the requests of several relays, each has its place in one row.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn start_with(server: &str, faults: Faults) -> Result<Self> {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("listen for a relay")?;
        let address = socket.local_addr().context("ask for an address")?;
        let task = tokio::spawn(accept(socket, server.to_owned(), faults.clone()));
        Ok(Self { address, faults, task })
    }

    /// Address and port, as they begin an image name.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The port of [`Relay::host`].
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What counts the requests. Each is named by method and path, with the word `login` if it carries one.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(socket: TcpListener, server: String, faults: Faults) {
    let mut connections = JoinSet::new();
    loop {
        // What fails here is one connection.
        let Ok((stream, _)) = socket.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let (server, faults) = (server.clone(), faults.clone());
        connections.spawn(async move { drop(pass_on(stream, &server, &faults).await) });
    }
}

/// One request and its answer; the connection ends with it.
async fn pass_on(mut client: TcpStream, server: &str, faults: &Faults) -> io::Result<()> {
    let life = faults.life();
    let Some(request) = Request::read(&mut client).await? else { return Ok(()) };
    let fault = faults.meet(life, &request.words);
    match fault {
        Some(Fault::StopBefore | Fault::NeverAnswered) => {
            faults.has_happened(request.words);
            return std::future::pending().await;
        }
        Some(Fault::NotSent) => {
            drop(client);
            faults.has_happened(request.words);
            return Ok(());
        }
        Some(Fault::Answer(status)) => {
            faults.has_happened(request.words);
            let answer =
                format!("HTTP/1.1 {status} Fault\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            client.write_all(answer.as_bytes()).await?;
            return client.shutdown().await;
        }
        Some(Fault::StopAfter | Fault::AnswerLost) => {}
        None => faults.hold_if_stopped(life).await,
    }
    let mut upstream = TcpStream::connect(server).await?;
    upstream.write_all(&request.bytes).await?;
    let mut answer = vec![];
    upstream.read_to_end(&mut answer).await?;
    match fault {
        Some(Fault::StopAfter) => {
            faults.has_happened(request.words);
            return std::future::pending().await;
        }
        Some(Fault::AnswerLost) => {
            drop(client);
            faults.has_happened(request.words);
            return Ok(());
        }
        Some(Fault::StopBefore | Fault::NeverAnswered | Fault::NotSent | Fault::Answer(_)) | None => {}
    }
    client.write_all(&answer).await?;
    client.shutdown().await
}

/// A whole request as it is passed on.
struct Request {
    bytes: Vec<u8>,
    words: String,
}

impl Request {
    /// Reads one; none if the client goes before it is whole, or what it sends is no request.
    async fn read(client: &mut TcpStream) -> io::Result<Option<Self>> {
        let mut arrived = vec![];
        loop {
            if client.read_buf(&mut arrived).await? == 0 || arrived.len() > MAX_HEAD {
                return Ok(None);
            }
            let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
            let mut parsed = httparse::Request::new(&mut headers);
            let length = match parsed.parse(&arrived) {
                Ok(httparse::Status::Complete(length)) => length,
                Ok(httparse::Status::Partial) => continue,
                Err(_) => return Ok(None),
            };
            let find = |name: &str| {
                let found = parsed.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
                found.map(|header| String::from_utf8_lossy(header.value).into_owned())
            };
            let body: usize = find("content-length").and_then(|length| length.trim().parse().ok()).unwrap_or(0);
            let login = if find("authorization").is_some() { " login" } else { "" };
            let (method, path) = (parsed.method.unwrap_or_default(), parsed.path.unwrap_or_default());
            let words = format!("{method} {path}{login}");
            let mut bytes = format!("{method} {path} HTTP/1.1\r\n").into_bytes();
            for header in parsed.headers.iter().filter(|header| !header.name.eq_ignore_ascii_case("connection")) {
                bytes.extend([header.name.as_bytes(), b": ", header.value, b"\r\n"].concat());
            }
            bytes.extend(b"Connection: close\r\n\r\n");
            let mut rest = arrived.split_off(length);
            let missing = body.saturating_sub(rest.len());
            let before = rest.len();
            rest.resize(before + missing, 0);
            client.read_exact(&mut rest[before..]).await?;
            bytes.extend(rest);
            return Ok(Some(Self { bytes, words }));
        }
    }
}
