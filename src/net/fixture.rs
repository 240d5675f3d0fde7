//! Listeners that answer as a test wants, and names that resolve as it wants.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType, date_time_ymd};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;
use url::Url;

use super::{Answer, Authorization, Certificates, Failure, Http, Lookup, Request, Scope, Session, Settings, Timeouts};
use crate::clock::Clock;

/// Stands for anything the other side sends: it must never be shown to anybody.
pub(crate) const SENTINEL: &str = "s3ntinel";

/// Somebody on a port of this machine until dropped.
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Listener {
    /// Gives each connection to `serve`, with what has been asked so far.
    pub(crate) async fn new<F>(serve: impl Fn(TcpStream, Arc<Mutex<Vec<String>>>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, requests) = (Arc::new(AtomicUsize::new(0)), Arc::default());
        let (counted, asked) = (Arc::clone(&connections), Arc::clone(&requests));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, Arc::clone(&asked)));
            }
        });
        Self { address, connections, requests, task }
    }

    /// Reads one request per connection, answers it with these bytes and closes.
    pub(crate) async fn saying(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = Arc::new(bytes.into());
        Self::new(move |mut stream, asked| {
            let bytes = Arc::clone(&bytes);
            async move {
                let head = head(&mut stream).await;
                asked.lock().unwrap().push(head);
                let _ = stream.write_all(&bytes).await;
            }
        })
        .await
    }

    /// Answers the requests that begin so, each row once and in this order among those that fit, and any other with 418.
    pub(crate) async fn scripted(rows: Vec<(&'static str, String)>) -> Self {
        let rows = Arc::new(Mutex::new(rows));
        Self::new(move |mut stream, asked| {
            let rows = Arc::clone(&rows);
            async move {
                let request = request(&mut stream).await;
                let text = {
                    let mut rows = rows.lock().unwrap();
                    let row = rows.iter().position(|(beginning, _)| request.starts_with(beginning));
                    row.map_or_else(|| says("418 I'm a teapot", &[], ""), |row| rows.remove(row).1)
                };
                asked.lock().unwrap().push(request);
                let _ = stream.write_all(text.as_bytes()).await;
            }
        })
        .await
    }

    /// Reads a request and never answers.
    pub(crate) async fn silent() -> Self {
        Self::new(|mut stream, _| async move {
            head(&mut stream).await;
            std::future::pending().await
        })
        .await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The heads of the requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads up to the end of the headers.
pub(crate) async fn head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => bytes.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads a request with its body.
pub(crate) async fn request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let head = head(stream).await;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    let _ = stream.read_exact(&mut body).await;
    head + &String::from_utf8_lossy(&body)
}

/// An answer with this status line, these further header lines and this body, after which the connection ends.
pub(crate) fn says(status: &str, headers: &[&str], body: &str) -> String {
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

/// An answer with this status line and these further header lines, after which the connection ends.
pub(crate) fn answer(status: &str, headers: &[&str]) -> String {
    says(status, headers, SENTINEL)
}

/// A port on which nobody listens.
pub(crate) async fn deserted() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Names with addresses for each time they are asked for; the last answer stands for all further times.
#[derive(Default)]
pub(crate) struct Names(Mutex<Vec<(String, VecDeque<Vec<IpAddr>>)>>);

impl Names {
    pub(crate) fn new(names: &[(&str, &[&[&str]])]) -> Arc<Self> {
        let addresses = |list: &&[&str]| list.iter().map(|ip| ip.parse().unwrap()).collect();
        let names = names.iter().map(|(name, answers)| ((*name).to_owned(), answers.iter().map(addresses).collect()));
        Arc::new(Self(Mutex::new(names.collect())))
    }
}

impl Lookup for Names {
    fn lookup(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let mut names = self.0.lock().unwrap();
        let found = names.iter_mut().find(|(known, _)| known == name).map(|(_, answers)| match answers.len() {
            1 => answers[0].clone(),
            _ => answers.pop_front().unwrap(),
        });
        let found = found.ok_or_else(|| io::Error::other(SENTINEL));
        Box::pin(async move { Ok(found?.into_iter().map(|ip| SocketAddr::new(ip, 0)).collect()) })
    }
}

/// Settings that reach this machine and know no names.
pub(crate) fn settings() -> Settings {
    Settings {
        allow_loopback: true,
        forbid_private: false,
        authorities: Certificates::default(),
        api_server: vec![],
        proxy: None,
        lookup: Names::new(&[]),
        clock: Clock::system(),
    }
}

pub(crate) fn http(settings: Settings) -> Http {
    Http::new(settings).unwrap()
}

/// As [`http`], but nothing may take longer than this. What has to come in time needs seconds on a busy machine.
pub(crate) fn hasty(settings: Settings, patience: Duration) -> Http {
    Http { timeouts: Timeouts { connect: patience, request: patience }, ..http(settings) }
}

/// A session that reaches the origin of this URL.
pub(crate) fn session(http: &Http, url: &str) -> Session {
    let origins = vec![url.parse::<Url>().unwrap().origin()];
    http.session(Scope { origins, this_machine: false, authorities: None, private: true, lane: None }).unwrap()
}

pub(crate) async fn get_by(session: &Session, url: &str) -> Result<Answer, Failure> {
    let url = url.parse().unwrap();
    session.send(Request::get(&url, Authorization::None, 1 << 16)).await
}

pub(crate) async fn get(http: &Http, url: &str) -> Result<Answer, Failure> {
    get_by(&session(http, url), url).await
}

/// The failure of a request, whose text has to be one clear sentence without anything that was sent.
pub(crate) fn failed(result: Result<Answer, Failure>) -> Failure {
    let Err(failure) = result else { panic!("the request was answered with {}", result.unwrap().status) };
    for text in [failure.to_string(), format!("{failure:?}")] {
        assert!(!text.contains(SENTINEL), "{text}");
    }
    let text = failure.to_string();
    assert!(text.len() < 160 && text.starts_with(char::is_lowercase) && !text.contains(['\n', '{']), "{text}");
    assert!(!text.contains("127.0.0.1"), "{text}");
    failure
}

/// An authority, and a listener with a certificate of it for these names until this year.
pub(crate) async fn secured(name: &str, until: i32) -> (String, Listener) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);

    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![match name.parse() {
        Ok(ip) => SanType::IpAddress(ip),
        Err(_) => SanType::DnsName(name.try_into().unwrap()),
    }];
    params.not_after = date_time_ymd(until, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = Listener::new(move |stream, asked| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let head = head(&mut stream).await;
            asked.lock().unwrap().push(head);
            let _ = stream.write_all(answer("200 OK", &[]).as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    (authority, listener.await)
}

/// [`settings`] that trust this authority.
pub(crate) fn trusting(authority: &str) -> Settings {
    Settings { authorities: Certificates::parse(authority.as_bytes()).unwrap(), ..settings() }
}

/// A proxy that connects to `target`, whatever it is asked for.
pub(crate) async fn tunnelling(target: SocketAddr) -> Listener {
    Listener::new(move |mut stream, asked| async move {
        let head = head(&mut stream).await;
        asked.lock().unwrap().push(head);
        let mut target = TcpStream::connect(target).await.unwrap();
        let _ = stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await;
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut target).await;
    })
    .await
}
