//! One connection of a listener: requests are read and recorded, answers are sent.
//!
//! Reads on while an answer that ends the connection goes out, so that nothing the client sends is lost and the answer is
//! not cut off by a reset. What is answered is not decided here.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};

use super::reply::{Outgoing, Then};
use super::{Record, Reply, Script, Seen};

/// More headers than any client has.
const MAX_HEADERS: usize = 256;

/// How much is read at once. In bytes.
const PIECE: usize = 1 << 14;

/// Where the bytes of one connection are recorded.
pub(super) struct Tape {
    record: Arc<Record>,
    connection: usize,
}

impl Tape {
    /// Begins the record of the next connection.
    pub(super) fn new(record: Arc<Record>) -> Self {
        let mut arrived = record.arrived();
        let connection = arrived.connections.len();
        arrived.connections.push(Vec::new());
        drop(arrived);
        Self { record, connection }
    }

    fn bytes(&self, bytes: &[u8]) {
        self.record.arrived().connections[self.connection].extend(bytes);
    }

    fn request(&self, request: &Seen) {
        self.record.arrived().requests.push(request.clone());
    }
}

/// The client has gone, or what it has sent is no request.
enum Unread {
    Gone,
    NoRequest,
}

impl From<io::Error> for Unread {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// The client's side.
struct Incoming<S> {
    stream: ReadHalf<S>,
    /// What was read but is not yet part of a request.
    buffer: Vec<u8>,
    tape: Tape,
}

/// Serves one connection to its end.
pub(super) async fn serve<S: AsyncRead + AsyncWrite>(stream: S, script: &Script, tape: Tape) {
    let (stream, mut writer) = tokio::io::split(stream);
    let mut incoming = Incoming { stream, buffer: Vec::new(), tape };
    loop {
        let outgoing = match script {
            Script::Connections(reply) => reply.outgoing(None, true),
            Script::Requests(reply) => match incoming.request().await {
                Ok((request, last)) => {
                    incoming.tape.request(&request);
                    reply(&request).outgoing(Some(&request), last)
                }
                Err(Unread::NoRequest) => Reply::bad_request().outgoing(None, true),
                Err(Unread::Gone) => return,
            },
        };
        if outgoing.then == Then::Next {
            if send_first(&mut writer, &outgoing).await.is_err() {
                return;
            }
        } else {
            tokio::join!(finish(writer, outgoing), incoming.drain());
            return;
        }
    }
}

impl<S: AsyncRead> Incoming<S> {
    /// The next request, and whether the client wants no other on this connection.
    async fn request(&mut self) -> Result<(Seen, bool), Unread> {
        let (mut request, length, old) = loop {
            if let Some(head) = head(&self.buffer)? {
                break head;
            }
            self.more().await?;
        };
        self.buffer.drain(..length);
        let is = |name: &str, value: &str| request.header(name).is_some_and(|sent| sent.eq_ignore_ascii_case(value));
        let last = is("Connection", "close") || (old && !is("Connection", "keep-alive"));
        if is("Transfer-Encoding", "chunked") {
            request.body = self.chunks().await?;
        } else if let Some(length) = request.header("Content-Length") {
            let length = length.parse().map_err(|_| Unread::NoRequest)?;
            request.body = self.take(length).await?;
        }
        Ok((request, last))
    }

    async fn chunks(&mut self) -> Result<Vec<u8>, Unread> {
        let mut body = Vec::new();
        loop {
            match httparse::parse_chunk_size(&self.buffer).map_err(|_| Unread::NoRequest)? {
                httparse::Status::Partial => self.more().await?,
                httparse::Status::Complete((head, 0)) => {
                    // Trailers are passed over: nobody sends any.
                    self.take(head).await?;
                    while self.line().await? != b"\r\n" {}
                    return Ok(body);
                }
                httparse::Status::Complete((head, size)) => {
                    let size = usize::try_from(size).map_err(|_| Unread::NoRequest)?;
                    self.take(head).await?;
                    body.extend(self.take(size).await?);
                    self.take(2).await?;
                }
            }
        }
    }

    async fn line(&mut self) -> Result<Vec<u8>, Unread> {
        loop {
            if let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
                return self.take(end + 1).await;
            }
            self.more().await?;
        }
    }

    async fn take(&mut self, length: usize) -> Result<Vec<u8>, Unread> {
        while self.buffer.len() < length {
            self.more().await?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    async fn more(&mut self) -> Result<(), Unread> {
        let mut piece = vec![0; PIECE];
        let length = self.stream.read(&mut piece).await?;
        if length == 0 {
            return Err(Unread::Gone);
        }
        self.tape.bytes(&piece[..length]);
        self.buffer.extend(&piece[..length]);
        Ok(())
    }

    /// Records what still comes, until the client has ended its side.
    async fn drain(&mut self) {
        while self.more().await.is_ok() {
            self.buffer.clear();
        }
    }
}

/// A request without its body, the length of its head, and whether it is older than HTTP/1.1. `None` until it is whole.
fn head(bytes: &[u8]) -> Result<Option<(Seen, usize, bool)>, Unread> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(length) = parsed.parse(bytes).map_err(|_| Unread::NoRequest)? else {
        return Ok(None);
    };
    let headers = parsed.headers.iter();
    let seen = Seen {
        method: parsed.method.unwrap_or_default().to_owned(),
        target: parsed.path.unwrap_or_default().to_owned(),
        headers: headers.map(|one| (one.name.to_owned(), String::from_utf8_lossy(one.value).into_owned())).collect(),
        body: Vec::new(),
    };
    Ok(Some((seen, length, parsed.version == Some(0))))
}

/// Sends an answer after which nothing else is answered.
async fn finish<S: AsyncWrite>(mut writer: WriteHalf<S>, outgoing: Outgoing) {
    if send_first(&mut writer, &outgoing).await.is_err() {
        return;
    }
    match &outgoing.then {
        Then::Hang => {}
        Then::Repeat(bytes) => while send(&mut writer, bytes, &outgoing).await.is_ok() {},
        // The client sees the end at once; its own side is read to its end.
        Then::Next | Then::Close => drop(writer.shutdown().await),
    }
}

async fn send_first<S: AsyncWrite>(writer: &mut WriteHalf<S>, outgoing: &Outgoing) -> io::Result<()> {
    tokio::time::sleep(outgoing.delay).await;
    send(writer, &outgoing.bytes, outgoing).await
}

async fn send<S: AsyncWrite>(writer: &mut WriteHalf<S>, bytes: &[u8], outgoing: &Outgoing) -> io::Result<()> {
    let Some(every) = outgoing.every else {
        writer.write_all(bytes).await?;
        return writer.flush().await;
    };
    for byte in bytes {
        writer.write_all(&[*byte]).await?;
        writer.flush().await?;
        tokio::time::sleep(every).await;
    }
    Ok(())
}
