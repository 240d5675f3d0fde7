//! An HTTP/1.1 server that answers by script and records what reaches it: the base of every fake registry.
//!
//! Every byte is kept as it arrives, with TLS taken off, also what never became a request: so a test can prove that a
//! credential was or was not sent. It runs on a thread of its own, so a test that blocks does not stop it. What a
//! registry or a token server says is not known here.

mod connection;
mod disclosed;
mod reply;
mod seen;

use std::net::{Ipv4Addr, SocketAddr, TcpListener as Socket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::certificates::Identity;
use connection::Tape;
pub use reply::Reply;
pub use seen::Seen;

/// What a TLS connection begins with: the record type "handshake" (RFC 8446, 5.1). No HTTP method begins so.
const TLS_HANDSHAKE: u8 = 0x16;

/// A running server, see the module. Dropping it ends it with all its connections.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    tls: bool,
    record: Arc<Record>,
    /// Dropped to end the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What has arrived.
#[derive(Debug, Default)]
struct Record(Mutex<Arrived>);

#[derive(Debug, Default)]
struct Arrived {
    /// The bytes of each connection, in the order of their coming.
    connections: Vec<Vec<u8>>,
    requests: Vec<Seen>,
}

/// When the server speaks.
enum Script {
    /// Once per request.
    Requests(Box<dyn Fn(&Seen) -> Reply + Send + Sync>),
    /// Once per connection, before anything has arrived.
    Connections(Reply),
}

impl Listener {
    /// Plain http on 127.0.0.1 and a free port. `reply` runs on the server's thread and must not block.
    ///
    /// # Errors
    /// There is no free port, or no thread.
    pub fn plain(reply: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Result<Self> {
        Self::plain_at(loopback(), reply)
    }

    /// As [`Listener::plain`], at `address`; port 0 stands for a free one.
    ///
    /// # Errors
    /// The address is taken or not this machine's, or there is no thread.
    pub fn plain_at(address: SocketAddr, reply: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Result<Self> {
        Self::start(address, None, Script::Requests(Box::new(reply)))
    }

    /// As [`Listener::plain`], with TLS 1.2 or 1.3 under `identity`. Of a handshake that fails nothing but the connection
    /// is recorded; of a client that does not speak TLS every byte is, and it is answered 400.
    ///
    /// # Errors
    /// As [`Listener::plain`], or the identity is of no use.
    pub fn tls(identity: &Identity, reply: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Result<Self> {
        Self::tls_at(loopback(), identity, reply)
    }

    /// As [`Listener::tls`], at `address`; port 0 stands for a free one.
    ///
    /// # Errors
    /// As [`Listener::tls`], or the address is taken or not this machine's.
    pub fn tls_at(
        address: SocketAddr,
        identity: &Identity,
        reply: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::start(address, Some(acceptor(identity)?), Script::Requests(Box::new(reply)))
    }

    /// No HTTP at all, on 127.0.0.1 and a free port: every connection gets `reply` at once, whatever the client sends,
    /// and there are no requests. Made for [`Reply::raw`], [`Reply::hang`], [`Reply::close`] and [`Reply::endless`].
    ///
    /// # Errors
    /// There is no free port, or no thread.
    pub fn raw(reply: Reply) -> Result<Self> {
        Self::raw_at(loopback(), reply)
    }

    /// As [`Listener::raw`], at `address`; port 0 stands for a free one.
    ///
    /// # Errors
    /// The address is taken or not this machine's, or there is no thread.
    pub fn raw_at(address: SocketAddr, reply: Reply) -> Result<Self> {
        Self::start(address, None, Script::Connections(reply))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Address and port, as they begin an image name: `127.0.0.1:5000`, `[::1]:5000`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The port alone.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Scheme, address and port: `https://127.0.0.1:5000`.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.address)
    }

    /// Every whole request so far, in the order of their coming. One that a client has its answer to is among them.
    pub fn requests(&self) -> Vec<Seen> {
        self.record.arrived().requests.clone()
    }

    /// Every byte so far, one connection after the other, with TLS taken off.
    pub fn received(&self) -> Vec<u8> {
        self.record.arrived().connections.concat()
    }

    /// Whether `secret` is anywhere in what has arrived: as it is, percent-encoded, or in base64 alone or with other
    /// text around it, as in a Basic login.
    pub fn was_told(&self, secret: &str) -> bool {
        disclosed::holds(&self.received(), secret)
    }

    /// How many connections have come so far, those without a byte and without a handshake too.
    pub fn connections(&self) -> usize {
        self.record.arrived().connections.len()
    }

    fn start(address: SocketAddr, tls: Option<TlsAcceptor>, script: Script) -> Result<Self> {
        let socket = Socket::bind(address).with_context(|| format!("listen at {address}"))?;
        socket.set_nonblocking(true).context("set up a socket")?;
        let address = socket.local_addr().context("ask for an address")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("make a runtime")?;
        let (stop, stopped) = oneshot::channel();
        let record = Arc::<Record>::default();
        let (is_tls, kept) = (tls.is_some(), record.clone());
        let socket = {
            let _context = runtime.enter();
            TcpListener::from_std(socket).context("set up a socket")?
        };
        let thread = thread::Builder::new().name(format!("listener-{}", address.port())).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    () = accept(socket, tls, script, kept) => {}
                }
            });
            // The runtime ends here, and every connection with it.
        });
        let thread = Some(thread.context("start a thread")?);
        Ok(Self { address, tls: is_tls, record, stop: Some(stop), thread })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Record {
    fn arrived(&self) -> MutexGuard<'_, Arrived> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(socket: TcpListener, tls: Option<TlsAcceptor>, script: Script, record: Arc<Record>) {
    let script = Arc::new(script);
    loop {
        // What fails here is one connection, such as one that was reset before it was taken.
        let Ok((stream, _)) = socket.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let (tls, script, tape) = (tls.clone(), script.clone(), Tape::new(record.clone()));
        tokio::spawn(async move {
            // So that a dripping answer really drips.
            let _ = stream.set_nodelay(true);
            match tls {
                None => connection::serve(stream, &script, tape).await,
                Some(tls) => serve_tls(stream, &tls, &script, tape).await,
            }
        });
    }
}

async fn serve_tls(stream: TcpStream, tls: &TlsAcceptor, script: &Script, tape: Tape) {
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(1) if first == [TLS_HANDSHAKE] => {
            if let Ok(stream) = tls.accept(stream).await {
                connection::serve(stream, script, tape).await;
            }
        }
        Ok(1) => connection::serve(stream, &Script::Connections(Reply::bad_request()), tape).await,
        _ => {}
    }
}

/// Offers HTTP/1.1 and nothing newer.
fn acceptor(identity: &Identity) -> Result<TlsAcceptor> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).collect();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).context("read a key")?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .context("choose TLS versions")?
        .with_no_client_auth()
        .with_single_cert(chain.context("read a certificate")?, key)
        .context("use a certificate")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}
